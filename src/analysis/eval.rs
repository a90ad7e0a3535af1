//! What the rules of one hook do to a packet: left alone, redirected, dropped, or undecided with the reason.
//!
//! It follows a packet through the base chains of a hook by priority, up to the first redirect. Routing, and what later hooks
//! see of a redirected packet, are not its business.

use std::cell::Cell;

use crate::model::{Backend, Body, Chain, Hook, Policy, Rule, RuleRef, Ruleset, Table};
use crate::packet::{Answer, Known, Packet};
use crate::xt::{Action, Effect};

/// What becomes of the packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// No rule sends it elsewhere; `by` is the RETURN or ACCEPT that took it out of a chain that redirects.
    Untouched {
        /// The rule that left it alone.
        by: Option<RuleRef>,
    },
    /// A rule sends it elsewhere.
    Redirected {
        /// That rule.
        by: RuleRef,
        /// To this port; `None` when the port stays or is one of several.
        port: Option<u16>,
    },
    /// A rule or policy ends it.
    Dropped {
        /// That rule; `None` for a policy.
        by: Option<RuleRef>,
    },
    /// It hangs on something that is not known.
    Undecided {
        /// What it hangs on.
        because: String,
    },
}

impl End {
    /// Whether both are the same for the packet, whichever rule decided it.
    #[must_use]
    pub fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Redirected { port, .. }, Self::Redirected { port: other, .. }) => port == other,
            (Self::Untouched { .. }, Self::Untouched { .. }) | (Self::Dropped { .. }, Self::Dropped { .. }) => true,
            _ => false,
        }
    }
}

/// Rules asked about one packet before the answer is given up: a bound against rule sets that fork without end.
const BUDGET: u32 = 100_000;
/// Chains within chains; the kernel allows 16 for nf_tables.
const DEPTH: usize = 64;

/// A base chain to run through.
#[derive(Clone, Copy)]
struct Base<'a> {
    ruleset: &'a Ruleset,
    table: &'a Table,
    chain: &'a Chain,
}

struct Evaluator {
    budget: Cell<u32>,
}

/// Where a packet stands: chains entered, each with the place of the next rule.
#[derive(Clone)]
struct Walk<'a> {
    stack: Vec<(&'a Chain, usize)>,
    packet: Packet,
    left_by: Option<RuleRef>,
}

/// Runs a packet through all chains of a hook.
#[must_use]
pub fn at_hook(rulesets: &[Ruleset], hook: Hook, packet: &Packet, ipv6: bool) -> End {
    let mut bases: Vec<Base<'_>> = Vec::new();
    for ruleset in rulesets.iter().filter(|ruleset| ruleset.family.sees(ipv6)) {
        for table in &ruleset.tables {
            let chains = table.chains.iter().filter(|chain| chain.hook == Some(hook));
            bases.extend(chains.map(|chain| Base { ruleset, table, chain }));
        }
    }
    bases.sort_by_key(|base| base.chain.priority);
    Evaluator { budget: Cell::new(BUDGET) }.run(&bases, packet.clone(), None)
}

impl Evaluator {
    fn run(&self, bases: &[Base<'_>], packet: Packet, left_by: Option<RuleRef>) -> End {
        let Some((base, later)) = bases.split_first() else {
            return End::Untouched { by: left_by };
        };
        self.chain(*base, later, Walk { stack: vec![(base.chain, 0)], packet, left_by })
    }

    fn chain<'a>(&self, base: Base<'a>, later: &[Base<'_>], mut walk: Walk<'a>) -> End {
        loop {
            let Some((chain, at)) = walk.stack.last_mut() else {
                // Back out of the base chain: its policy decides.
                if base.chain.policy == Some(Policy::Drop) {
                    return End::Dropped { by: None };
                }
                return self.run(later, walk.packet, walk.left_by);
            };
            let (chain, index) = (*chain, *at);
            let Some(rule) = chain.rules.get(index) else {
                walk.stack.pop();
                continue;
            };
            *at += 1;
            if self.budget.get() == 0 {
                return End::Undecided { because: "too many unknowns to follow".to_owned() };
            }
            self.budget.set(self.budget.get() - 1);
            let by = reference(base, chain, index);
            match ask(rule, &walk.packet) {
                Ok(Answer::No) => {}
                Ok(Answer::Yes) => {
                    if let Some(end) = self.matched(base, later, &mut walk, rule, by) {
                        return end;
                    }
                }
                Ok(Answer::CannotKnow) => return self.both(base, later, walk, rule, by),
                Err(because) => return End::Undecided { because: format!("{because} in rule {by}") },
            }
        }
    }

    /// Follows the packet as if the rule matched, and as if it did not.
    fn both<'a>(&self, base: Base<'a>, later: &[Base<'_>], walk: Walk<'a>, rule: &'a Rule, by: RuleRef) -> End {
        let mut matching = walk.clone();
        let because = format!("whether rule {by} matches");
        let yes = self.matched(base, later, &mut matching, rule, by);
        let yes = yes.unwrap_or_else(|| self.chain(base, later, matching));
        let no = self.chain(base, later, walk);
        match (&yes, &no) {
            (End::Undecided { .. }, _) => yes,
            (_, End::Undecided { .. }) => no,
            _ if yes.same(&no) => yes,
            _ => End::Undecided { because },
        }
    }

    /// What a match does; `None`: the packet goes on at the walk's place.
    fn matched<'a>(
        &self,
        base: Base<'a>,
        later: &[Base<'_>],
        walk: &mut Walk<'a>,
        rule: &'a Rule,
        by: RuleRef,
    ) -> Option<End> {
        let Body::Xt(body) = &rule.body else {
            return Some(End::Undecided { because: format!("rule {by} is not understood") });
        };
        match &body.action {
            Action::None => None,
            Action::Drop => Some(End::Dropped { by: Some(by) }),
            Action::Queue => Some(End::Undecided { because: format!("rule {by} asks a program") }),
            Action::Accept => {
                walk.left_by = Some(by);
                Some(self.run(later, walk.packet.clone(), walk.left_by.take()))
            }
            Action::Return => {
                walk.left_by = Some(by);
                walk.stack.pop();
                None
            }
            Action::Jump(to) | Action::Goto(to) => {
                if matches!(body.action, Action::Goto(_)) {
                    walk.stack.pop();
                }
                let Some(chain) = base.table.chain(to).filter(|_| walk.stack.len() < DEPTH) else {
                    return Some(End::Undecided { because: format!("rule {by} jumps into nothing or too deep") });
                };
                walk.stack.push((chain, 0));
                None
            }
            Action::Target(target) => self.target(base, later, walk, &target.effect(), by),
        }
    }

    fn target(
        &self,
        _base: Base<'_>,
        later: &[Base<'_>],
        walk: &mut Walk<'_>,
        effect: &Effect,
        by: RuleRef,
    ) -> Option<End> {
        let one = |range: crate::xt::PortRange| (range.from == range.to).then_some(range.from);
        match effect {
            Effect::Redirect(ports) => Some(End::Redirected { by, port: ports.and_then(one) }),
            Effect::Destination(range) => Some(End::Redirected { by, port: range.ports.and_then(one) }),
            Effect::Transparent { port, .. } => Some(End::Redirected { by, port: Some(*port) }),
            // A source translation, too, is the last word of its table.
            Effect::Source => Some(self.run(later, walk.packet.clone(), walk.left_by.take())),
            Effect::Stop => Some(End::Dropped { by: Some(by) }),
            // Untracked packets are never translated (K9), so no nat chain is asked about them.
            Effect::Untracked => {
                let rest: Vec<Base<'_>> =
                    later.iter().filter(|base| base.chain.kind.as_deref() != Some("nat")).copied().collect();
                walk.left_by = Some(by);
                Some(self.run(&rest, walk.packet.clone(), walk.left_by.take()))
            }
            Effect::Mark { value, mask } => {
                if let Known::Is(mark) = walk.packet.mark {
                    walk.packet.mark = Known::Is((mark & !mask) ^ value);
                } else if *mask == u32::MAX {
                    walk.packet.mark = Known::Is(*value);
                }
                None
            }
            Effect::RestoredMark => {
                walk.packet.mark = Known::Unknown;
                None
            }
            Effect::Continue => None,
            Effect::Opaque(what) => Some(End::Undecided { because: format!("{what} in rule {by}") }),
        }
    }
}

fn ask(rule: &Rule, packet: &Packet) -> Result<Answer, String> {
    match &rule.body {
        Body::Xt(body) => Ok(body.condition().ask(packet)),
        Body::Nft(_) => Err("nf_tables expressions".to_owned()),
    }
}

fn reference(base: Base<'_>, chain: &Chain, index: usize) -> RuleRef {
    let (backend, family): (Backend, _) = (base.ruleset.backend, base.ruleset.family);
    RuleRef { backend, family, table: base.table.name.clone(), chain: chain.name.clone(), number: index + 1 }
}

/// The rule of this name.
#[must_use]
pub fn find<'a>(rulesets: &'a [Ruleset], name: &RuleRef) -> Option<&'a Rule> {
    let ruleset = rulesets.iter().find(|ruleset| ruleset.backend == name.backend && ruleset.family == name.family)?;
    ruleset.table(&name.table)?.chain(&name.chain)?.rules.get(name.number.checked_sub(1)?)
}
