//! The walk of one packet through chains: jumps, verdicts, and both ways where a match cannot be known.

use std::cell::Cell;

use super::index::Branches;
use super::traveller::{Outcome, Traveller};
use super::{End, Prepared};
use crate::analysis::native::{Branch, NotFollowed};
use crate::model::{Chain, Policy, RuleRef};
use crate::packet::{Answer, Known};
use crate::xt::Action;

/// Rules asked about one packet before the answer is given up: a bound against rule sets that fork without end.
const BUDGET: u32 = 100_000;
/// Chains within chains; the kernel allows 16 for nf_tables.
pub(super) const DEPTH: usize = 64;
/// Base chains and unknown matches one within the other: a bound against the end of the stack.
const FORKS: u32 = 200;
/// Why a packet was not followed to its end.
const TOO_MUCH: &str = "more unknowns than can be followed";

/// A base chain to run through.
#[derive(Clone, Copy)]
pub(super) struct Base<'r> {
    pub(super) table: &'r Prepared<'r>,
    pub(super) chain: &'r Chain,
    pub(super) index: usize,
}

pub(super) struct Evaluator {
    budget: Cell<u32>,
    forks: Cell<u32>,
    until_redirect: bool,
}

/// Where a packet stands: chains entered, each with the place of the next rule, and the branch of it that is asked next.
#[derive(Clone)]
struct Walk {
    stack: Vec<(usize, usize)>,
    branch: usize,
    traveller: Traveller,
}

/// A rule that a packet has reached.
#[derive(Clone, Copy)]
pub(super) struct Reached<'r> {
    pub(super) base: Base<'r>,
    pub(super) chain: usize,
    pub(super) at: usize,
}

impl Evaluator {
    pub(super) fn new(until_redirect: bool) -> Self {
        Self { budget: Cell::new(BUDGET), forks: Cell::new(0), until_redirect }
    }

    /// Runs a packet through base chains that stand in the order of its way.
    pub(super) fn run(&self, bases: &[Base<'_>], mut traveller: Traveller) -> End {
        let mut waiting = bases.iter().enumerate();
        let stops = self.until_redirect && traveller.redirected.is_some();
        for (at, base) in waiting.by_ref().filter(|_| !stops) {
            let later = bases.get(at + 1..).unwrap_or_default();
            if let Some([here, elsewhere]) = traveller.here_and_elsewhere(base.chain) {
                let rest = bases.get(at..).unwrap_or_default();
                let ends = (self.run(rest, elsewhere), self.run(rest, here));
                return alike(ends, || traveller.why_unknown().to_owned());
            }
            let meets = traveller.meets(base);
            let into =
                |traveller| self.chain(*base, later, Walk { stack: vec![(base.index, 0)], branch: 0, traveller });
            match meets {
                Answer::No => {}
                Answer::Yes => return into(traveller),
                Answer::CannotKnow => {
                    let ends = (self.run(later, traveller.clone()), into(traveller));
                    return alike(ends, || format!("whether it passes the device of chain {}", base.chain.name));
                }
            }
        }
        match traveller.redirected {
            Some((by, to)) => End::Redirected { by, to },
            None => End::Untouched { by: traveller.left_by },
        }
    }

    /// Goes on where the walk stands, within bounds.
    fn chain(&self, base: Base<'_>, later: &[Base<'_>], walk: Walk) -> End {
        if self.forks.get() >= FORKS {
            return End::Undecided { because: TOO_MUCH.to_owned() };
        }
        self.forks.set(self.forks.get() + 1);
        let end = self.follow(base, later, walk);
        self.forks.set(self.forks.get() - 1);
        end
    }

    fn follow(&self, base: Base<'_>, later: &[Base<'_>], mut walk: Walk) -> End {
        loop {
            let Some((chain, at)) = walk.stack.last_mut() else {
                // Back out of the base chain: its policy decides.
                if base.chain.policy == Some(Policy::Drop) {
                    return End::Dropped { by: None };
                }
                return self.run(later, walk.traveller);
            };
            let reached = Reached { base, chain: *chain, at: *at };
            let Some(branches) = reached.asking() else {
                walk.stack.pop();
                continue;
            };
            if walk.branch == 0 {
                if self.budget.get() == 0 {
                    return End::Undecided { because: TOO_MUCH.to_owned() };
                }
                self.budget.set(self.budget.get() - 1);
            }
            walk.branch = branches.next(walk.branch, &walk.traveller.packet);
            let asked =
                branches.all.get(walk.branch).filter(|(branch, _)| branches.all.len() > 1 || !idle(base, branch));
            let Some((branch, condition)) = asked else {
                // No element is for this packet: it goes on with the next rule.
                (*at, walk.branch) = (*at + 1, 0);
                continue;
            };
            if base.table.restores && branch.rule().restores_mark() {
                // Whether the rest of the rule matches or not (net/netfilter/xt_socket.c).
                walk.traveller.packet.mark = Known::Unknown;
            }
            match condition.ask(&walk.traveller.packet) {
                Answer::No => walk.branch += 1,
                Answer::Yes => {
                    (*at, walk.branch) = (*at + 1, 0);
                    if let Some(end) = self.matched(reached, later, &mut walk, branch) {
                        return end;
                    }
                }
                Answer::CannotKnow => return self.both(reached, later, walk, branch),
            }
        }
    }

    /// Follows the packet as if the rule matched by this branch, and as if it did not.
    fn both(&self, reached: Reached<'_>, later: &[Base<'_>], mut walk: Walk, branch: &Branch<'_>) -> End {
        let mut matching = walk.clone();
        matching.pass_rule();
        let yes = self.matched(reached, later, &mut matching, branch);
        let yes = yes.unwrap_or_else(|| self.chain(reached.base, later, matching));
        if let End::Undecided { .. } = yes {
            return yes;
        }
        walk.branch += 1;
        let no = self.chain(reached.base, later, walk);
        let map = reached.asking().is_some_and(|branches| branches.all.len() > 1);
        match (yes, no) {
            (End::Redirected { by, to }, End::Redirected { by: or, to: other })
                if to != other && (map || to.is_elsewhere() && other.is_elsewhere()) =>
            {
                let by = match (to.several, other.several) {
                    _ if by == or => by,
                    (true, _) => by,
                    (_, true) => or,
                    _ => reached.name(),
                };
                End::Redirected { by, to: to.or(other) }
            }
            // Whichever it gives, the packet is dropped: by one of several.
            (End::Dropped { by }, End::Dropped { by: or }) if map && by != or => {
                End::Dropped { by: Some(reached.name()) }
            }
            ends if map => alike(ends, || format!("what the map gives that rule {} looks into", reached.name())),
            ends => alike(ends, || format!("whether rule {} matches", reached.name())),
        }
    }

    /// What a match does; `None`: the packet goes on at the walk's place.
    fn matched(&self, reached: Reached<'_>, later: &[Base<'_>], walk: &mut Walk, branch: &Branch<'_>) -> Option<End> {
        let done = branch.before.iter().find_map(|action| self.act(reached, later, walk, action));
        done.or_else(|| match &branch.unread {
            None => self.act(reached, later, walk, &branch.rule().action),
            Some(NotFollowed::Rule) => {
                Some(End::Undecided { because: format!("rule {}, which is shown but not followed", reached.name()) })
            }
            Some(NotFollowed::Map(map)) => Some(End::Undecided {
                because: format!(
                    "what is in map {map}, into which rule {} looks: that was not read, or changes",
                    reached.name()
                ),
            }),
        })
    }

    fn act(&self, reached: Reached<'_>, later: &[Base<'_>], walk: &mut Walk, action: &Action) -> Option<End> {
        match action {
            Action::None => None,
            Action::Drop => Some(End::Dropped { by: Some(reached.name()) }),
            Action::Queue => Some(End::Undecided { because: format!("rule {} asks a program", reached.name()) }),
            Action::Accept => {
                reached.leaves(&mut walk.traveller);
                Some(self.run(later, walk.traveller.clone()))
            }
            Action::Return => {
                reached.leaves(&mut walk.traveller);
                walk.stack.pop();
                None
            }
            Action::Jump(to) | Action::Goto(to) => {
                if matches!(action, Action::Goto(_)) {
                    walk.stack.pop();
                }
                let chain = reached.base.table.by_name.get(to.as_str()).filter(|_| walk.stack.len() < DEPTH);
                let Some(chain) = chain else {
                    let because = format!("rule {}, which jumps into nothing or too deep", reached.name());
                    return Some(End::Undecided { because });
                };
                walk.stack.push((*chain, 0));
                None
            }
            Action::Target(target) => match walk.traveller.gets(target, reached.base.chain, || reached.name()) {
                Outcome::Stays => None,
                Outcome::Leaves => Some(self.run(later, walk.traveller.clone())),
                Outcome::Ends(end) => Some(end),
            },
        }
    }
}

/// Whether it makes no difference whether a packet takes the branch.
fn idle(base: Base<'_>, branch: &Branch<'_>) -> bool {
    branch.is_idle() && !(base.table.restores && branch.rule().restores_mark())
}

impl Walk {
    /// Behind the rule at which it stands.
    fn pass_rule(&mut self) {
        self.branch = 0;
        if let Some((_, at)) = self.stack.last_mut() {
            *at += 1;
        }
    }
}

/// The end that the packet has either way; where there are two, it hangs on what cannot be known.
fn alike((one, other): (End, End), because: impl FnOnce() -> String) -> End {
    match (&one, &other) {
        (End::Undecided { .. }, _) => one,
        (_, End::Undecided { .. }) => other,
        _ if one == other => one,
        // The same end by another rule is nobody's doing.
        (End::Untouched { .. }, End::Untouched { .. }) => End::Untouched { by: None },
        _ if one.same(&other) => one,
        _ => End::Undecided { because: because() },
    }
}

impl<'r> Reached<'r> {
    /// The branches of the rule, if there is one.
    pub(super) fn asking(self) -> Option<&'r Branches<'r>> {
        self.base.table.rules.get(self.chain)?.get(self.at)
    }

    /// Takes the packet out of its chain: worth a note only where staying could have redirected it.
    fn leaves(self, traveller: &mut Traveller) {
        if self.base.table.paths.redirects(&self.base.chain.name) {
            traveller.left_by = Some(self.name());
        }
    }

    pub(super) fn name(self) -> RuleRef {
        let Prepared { ruleset, table, .. } = self.base.table;
        RuleRef {
            backend: ruleset.backend,
            family: ruleset.family,
            table: table.name.clone(),
            chain: table.chains.get(self.chain).map(|chain| chain.name.clone()).unwrap_or_default(),
            number: self.at + 1,
        }
    }
}
