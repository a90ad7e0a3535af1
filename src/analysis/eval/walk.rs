//! The walk of one packet through chains: jumps, verdicts, and both ways where a match cannot be known.

use std::cell::Cell;
use std::ops::ControlFlow;

use super::ground::Ground;
use super::journey::Advance;
use super::line::{Does, Next, What};
use super::path::{Place, Then, small};
use super::reached::Reached;
use super::traveller::{Outcome, Traveller};
use super::ways::{Doubt, Ways, alike};
use super::{End, Prepared, Sockets, Taken};
use crate::analysis::native::NotFollowed;
use crate::model::{Chain, Policy};
use crate::packet::{Answer, Known};
use crate::xt::{Action, Effect, Match, Rule, Target};

/// Rules asked about one packet before the answer is given up, beside all that there are: a bound against rule sets that fork without
/// end.
const BUDGET: u32 = 100_000;
/// Chains within chains; the kernel allows 16 for nf_tables.
pub(super) const DEPTH: usize = 64;
/// Base chains and unknown matches one within the other: a bound against the end of the stack.
const FORKS: u32 = 200;
/// Why a packet was not followed to its end.
pub(super) const TOO_MUCH: &str = "more unknowns than can be followed";

/// A base chain to run through.
#[derive(Clone, Copy)]
pub(super) struct Base<'r> {
    pub(super) table: &'r Prepared<'r>,
    pub(super) chain: &'r Chain,
    pub(super) index: usize,
}

/// What is asked of a walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// The one end: that there are two is enough to know.
    OneEnd,
    /// The same, up to the first redirect.
    FirstRedirect,
    /// Every end that there may be, with the way there.
    EveryEnd,
}

pub(super) struct Evaluator<'e> {
    budget: Cell<u32>,
    forks: Cell<u32>,
    asked: Asked,
    ground: Option<&'e Ground<'e>>,
    sockets: Option<&'e dyn Sockets>,
}

/// Where a packet stands: chains entered, each with the place of the next rule, and the branch of it that is asked next.
#[derive(Clone, PartialEq)]
struct Walk {
    stack: Vec<(usize, usize)>,
    branch: usize,
    traveller: Traveller,
}

impl<'e> Evaluator<'e> {
    /// For rule sets of so many rules.
    pub(super) fn new(asked: Asked, ground: Option<&'e Ground<'e>>, size: u32) -> Self {
        let budget = size.saturating_mul(4).saturating_add(BUDGET);
        Self { budget: Cell::new(budget), forks: Cell::new(0), asked, ground, sockets: None }
    }

    /// The same, with sockets to which rules may give packets.
    pub(super) fn asking(self, sockets: Option<&'e dyn Sockets>) -> Self {
        Self { sockets, ..self }
    }

    /// Runs a packet through base chains that stand in the order of its way.
    pub(super) fn run(&self, bases: &[Base<'_>], mut traveller: Traveller) -> Ways {
        let stops = self.asked == Asked::FirstRedirect && traveller.redirected.is_some();
        for (at, base) in bases.iter().enumerate().filter(|_| !stops) {
            let later = bases.get(at + 1..).unwrap_or_default();
            match traveller.advance(Some(base), self.ground) {
                Advance::On => {}
                Advance::Past => continue,
                Advance::Ends(end) => return Ways::one(end, traveller),
                Advance::Forks(ways, why) => return self.apart(bases.get(at..).unwrap_or_default(), ways, why),
            }
            let meets = traveller.meets(base, self.ground);
            traveller.be_looked_up(base, self.sockets);
            let into = |traveller| self.enter(*base, later, traveller);
            match meets {
                Answer::No => {}
                Answer::Yes => return into(traveller),
                Answer::CannotKnow => {
                    let why = || format!("whether it passes the device of chain {}", base.chain.name);
                    let past = self.run(later, traveller.clone());
                    return self.either(past, || into(traveller), || Doubt { rule: None, why: why() });
                }
            }
        }
        if self.asked == Asked::EveryEnd {
            match traveller.advance(None, self.ground) {
                Advance::On | Advance::Past => {}
                Advance::Ends(end) => return Ways::one(end, traveller),
                Advance::Forks(ways, why) => return self.apart(&[], ways, why),
            }
            if traveller.comes_in() == Known::Unknown {
                let because = traveller.why_unknown().to_owned();
                return Ways::one(End::Undecided { because }, traveller);
            }
        }
        let end = match traveller.redirected {
            Some((by, to)) => End::Redirected { by, to },
            None => End::Untouched { by: traveller.left_by },
        };
        Ways::one(end, traveller)
    }

    /// The ends of a packet that may be one of several, for what is not known.
    fn apart(&self, bases: &[Base<'_>], ways: Vec<Traveller>, why: &'static str) -> Ways {
        let mut ways = ways.into_iter();
        let Some(first) = ways.next() else {
            let nowhere = Traveller::new(crate::packet::Packet::default(), true);
            return Ways::one(End::Undecided { because: why.to_owned() }, nowhere);
        };
        let doubt = || Doubt { rule: None, why: why.to_owned() };
        ways.fold(self.run(bases, first), |ends, other| self.either(ends, || self.run(bases, other), doubt))
    }

    /// Goes on where the walk stands, within bounds.
    fn chain(&self, base: Base<'_>, later: &[Base<'_>], walk: Walk) -> Ways {
        if self.forks.get() >= FORKS {
            return too_much(walk.traveller);
        }
        self.forks.set(self.forks.get() + 1);
        let ways = self.follow(base, later, walk);
        self.forks.set(self.forks.get() - 1);
        ways
    }

    /// Comes to the first rule of a base chain.
    fn enter(&self, base: Base<'_>, later: &[Base<'_>], mut traveller: Traveller) -> Ways {
        if self.notes() {
            traveller.path.see(&traveller.packet);
        }
        self.chain(base, later, Walk { stack: vec![(base.index, 0)], branch: 0, traveller })
    }

    fn follow(&self, base: Base<'_>, later: &[Base<'_>], mut walk: Walk) -> Ways {
        loop {
            let Some((chain, at)) = walk.stack.last_mut() else {
                // Back out of the base chain: its policy decides.
                let drops = base.chain.policy == Some(Policy::Drop);
                self.note(base, base.policy_place(), (true, false), &mut walk.traveller);
                if drops {
                    return Ways::one(End::Dropped { by: None }, walk.traveller);
                }
                return self.run(later, walk.traveller);
            };
            let Some((rules, line)) = base.table.line(*chain) else {
                walk.stack.pop();
                continue;
            };
            let next = match walk.branch {
                0 => {
                    let Some(left) = self.budget.get().checked_sub(1) else { return too_much(walk.traveller) };
                    let mut asked = 0;
                    let packet = &walk.traveller.packet;
                    let next = line.next(*at, packet, (self.notes(), &mut asked), &base.table.making(rules));
                    self.budget.set(left.saturating_sub(asked));
                    next
                }
                // In the midst of a rule that looks into a map.
                _ => Some(Next { at: *at, what: What::Special }),
            };
            let Some(Next { at: found, what }) = next else {
                walk.stack.pop();
                continue;
            };
            *at = found;
            let reached = Reached { base, chain: *chain, at: found };
            let (branch, answer) = match what {
                What::Asked(answer) => (0, answer),
                What::Idle(answer) => {
                    let known = answer == Answer::Yes;
                    self.note(base, reached.place(), (known, !known), &mut walk.traveller);
                    walk.pass_rule();
                    continue;
                }
                What::Special => {
                    let first = line.does(rules, found, 0);
                    if first.is_some_and(|does| restores(does.rule, &walk.traveller)) {
                        // Whether the rest of the rule matches or not (net/netfilter/xt_socket.c).
                        walk.traveller.packet.mark = Known::Unknown;
                        self.see(&mut walk.traveller);
                    }
                    let lookups = line.lookups(found);
                    if !lookups.is_empty() {
                        walk.traveller.look_up(lookups, base.chain.hook, self.ground);
                        self.see(&mut walk.traveller);
                    }
                    let Some(found) = line.branch(found, walk.branch, &walk.traveller.packet) else {
                        // No element is for this packet: it goes on with the next rule.
                        walk.pass_rule();
                        continue;
                    };
                    found
                }
            };
            walk.branch = branch;
            let Some(does) = line.does(rules, found, branch) else { return too_much(walk.traveller) };
            match answer {
                Answer::No => walk.pass_rule(),
                Answer::Yes => {
                    walk.pass_rule();
                    if let Some(ways) = self.matched((reached, false), later, &mut walk, does) {
                        return ways;
                    }
                }
                Answer::CannotKnow => {
                    let map = line.count(rules, found) > 1;
                    if !map && does.is_idle() {
                        self.note(base, reached.place(), (false, true), &mut walk.traveller);
                        walk.pass_rule();
                        continue;
                    }
                    return self.both(reached, later, walk, (does, map));
                }
            }
        }
    }

    /// Follows the packet as if the rule matched by this branch, of several in a `map`, and as if it did not.
    fn both(&self, reached: Reached<'_>, later: &[Base<'_>], mut walk: Walk, (does, map): (Does<'_>, bool)) -> Ways {
        let mut matching = walk.clone();
        matching.pass_rule();
        let yes = self.matched((reached, true), later, &mut matching, does);
        let yes = yes.unwrap_or_else(|| self.chain(reached.base, later, matching));
        walk.pass(map);
        let doubt = || {
            let name = reached.name();
            let why = match map {
                true => format!("what the map gives that rule {name} looks into"),
                false => format!("whether rule {name} matches"),
            };
            Doubt { rule: Some(name), why }
        };
        if self.asked == Asked::EveryEnd {
            if !map {
                self.note(reached.base, reached.place(), (false, true), &mut walk.traveller);
            }
            return yes.or(self.chain(reached.base, later, walk), doubt);
        }
        let (yes, traveller) = yes.one_end();
        if let End::Undecided { .. } = yes {
            return Ways::one(yes, traveller);
        }
        let (no, _) = self.chain(reached.base, later, walk).one_end();
        Ways::one(either_way(reached, map, (yes, no), || doubt().why), traveller)
    }

    /// The ends of both ways, the second of which is only gone where it can make a difference.
    fn either(&self, one: Ways, other: impl FnOnce() -> Ways, doubt: impl FnOnce() -> Doubt) -> Ways {
        if self.asked == Asked::EveryEnd {
            return one.or(other(), doubt);
        }
        let (one, traveller) = one.one_end();
        if let End::Undecided { .. } = one {
            return Ways::one(one, traveller);
        }
        let ends = (one, other().one_end().0);
        Ways::one(alike(ends, || doubt().why), traveller)
    }

    /// Whether it is asked what packets meet.
    fn notes(&self) -> bool {
        self.asked == Asked::EveryEnd
    }

    /// Writes down what the packet met, where that is asked for: whether it matched, and whether that is only supposed.
    fn note(&self, base: Base<'_>, place: Place, how: (bool, bool), traveller: &mut Traveller) {
        if let (true, Some(hook)) = (self.notes(), base.chain.hook) {
            traveller.path.met(hook, place, how);
        }
    }

    /// Writes down where it goes on behind what it met last.
    fn then(&self, walk: &mut Walk, then: Then) {
        if self.notes() {
            walk.traveller.path.then(then);
        }
    }

    /// Writes down what the packet has become.
    fn see(&self, traveller: &mut Traveller) {
        if self.notes() {
            traveller.path.see(&traveller.packet);
        }
    }

    /// Writes down a rule that may have changed the packet.
    fn changed(&self, (reached, supposed): (Reached<'_>, bool), traveller: &mut Traveller) {
        if let (true, Some(hook)) = (self.notes(), reached.base.chain.hook) {
            traveller.path.became(hook, reached.place(), (true, supposed), &traveller.packet);
        }
    }

    /// What a match does, which is known or `supposed`; `None`: the packet goes on at the walk's place.
    fn matched(
        &self,
        (reached, supposed): (Reached<'_>, bool),
        later: &[Base<'_>],
        walk: &mut Walk,
        does: Does<'_>,
    ) -> Option<Ways> {
        let end = |because: String, walk: &Walk| Some(Ways::one(End::Undecided { because }, walk.traveller.clone()));
        for action in does.before {
            // nft's own tproxy lets the packet go on.
            if let Action::Target(target @ Target::Tproxy(_)) = action {
                if let ControlFlow::Break(ways) = self.give((reached, supposed), walk, action) {
                    return ways;
                }
                walk.traveller.gets(target, reached, self.ground);
                self.changed((reached, supposed), &mut walk.traveller);
                continue;
            }
            if let Some(ways) = self.act((reached, supposed), later, walk, action) {
                return Some(ways);
            }
        }
        match does.unread {
            None => self.act((reached, supposed), later, walk, &does.rule.action),
            Some(NotFollowed::Rule) => end(format!("rule {}, which is shown but not followed", reached.name()), walk),
            Some(NotFollowed::Map(map)) => end(
                format!(
                    "what is in map {map}, into which rule {} looks: that was not read, or changes",
                    reached.name()
                ),
                walk,
            ),
        }
    }

    /// Looks for the transparent socket to which an action gives the packet, where sockets are asked; goes on where one takes it, and
    /// where the action does something else.
    fn give(
        &self,
        (reached, supposed): (Reached<'_>, bool),
        walk: &mut Walk,
        action: &Action,
    ) -> ControlFlow<Option<Ways>> {
        let (Action::Target(target), Some(sockets)) = (action, self.sockets) else { return ControlFlow::Continue(()) };
        let Effect::Transparent { port, address, .. } = target.effect() else { return ControlFlow::Continue(()) };
        let end = |end, walk: &Walk| ControlFlow::Break(Some(Ways::one(end, walk.traveller.clone())));
        // iptables' target drops what nobody takes; nft goes on with the next rule (xt_TPROXY.c, nft_tproxy.c).
        let drops = !reached.is_native();
        match sockets.taking(&walk.traveller.packet, Some(address), port) {
            Taken::Unknown(why) => {
                self.note(reached.base, reached.place(), (true, supposed), &mut walk.traveller);
                end(End::Undecided { because: format!("{why}, for rule {}", reached.name()) }, walk)
            }
            Taken::Nobody => {
                self.note(reached.base, reached.place(), (drops, supposed), &mut walk.traveller);
                if drops { end(End::Dropped { by: Some(reached.place()) }, walk) } else { ControlFlow::Break(None) }
            }
            taken => {
                walk.traveller.taken = Some(taken);
                ControlFlow::Continue(())
            }
        }
    }

    fn act(
        &self,
        (reached, supposed): (Reached<'_>, bool),
        later: &[Base<'_>],
        walk: &mut Walk,
        action: &Action,
    ) -> Option<Ways> {
        let end = |end, walk: &Walk| Some(Ways::one(end, walk.traveller.clone()));
        if let ControlFlow::Break(ways) = self.give((reached, supposed), walk, action) {
            return ways;
        }
        let traveller = &mut walk.traveller;
        let got = match action {
            Action::Target(target) => {
                let got = traveller.gets(target, reached, self.ground);
                self.changed((reached, supposed), traveller);
                got
            }
            _ => {
                self.note(reached.base, reached.place(), (true, supposed), traveller);
                Outcome::Stays
            }
        };
        match action {
            Action::None => None,
            Action::Drop => end(End::Dropped { by: Some(reached.place()) }, walk),
            Action::Queue => end(End::Undecided { because: format!("rule {} asks a program", reached.name()) }, walk),
            Action::Accept => {
                reached.leaves(&mut walk.traveller);
                self.then(walk, Then::Leaves);
                Some(self.run(later, walk.traveller.clone()))
            }
            Action::Return => {
                reached.leaves(&mut walk.traveller);
                self.then(walk, Then::Returns);
                walk.stack.pop();
                None
            }
            Action::Jump(to) | Action::Goto(to) => {
                if matches!(action, Action::Goto(_)) {
                    walk.stack.pop();
                }
                let chain = reached.leads_to(to).filter(|_| walk.stack.len() < DEPTH);
                let Some(chain) = chain else {
                    let because = format!("rule {}, which jumps into nothing or too deep", reached.name());
                    return end(End::Undecided { because }, walk);
                };
                self.then(walk, if matches!(action, Action::Goto(_)) { Then::Goes } else { Then::Jumps }(small(chain)));
                walk.stack.push((chain, 0));
                None
            }
            Action::Target(_) => match got {
                Outcome::Stays => None,
                Outcome::Leaves => {
                    self.then(walk, Then::Leaves);
                    Some(self.run(later, walk.traveller.clone()))
                }
                Outcome::Ends(decided) => end(decided, walk),
            },
        }
    }
}

/// The one end of a packet that takes a branch of a rule or does not.
fn either_way(
    reached: Reached<'_>,
    map: bool,
    (yes, no): (End<Place>, End<Place>),
    why: impl FnOnce() -> String,
) -> End<Place> {
    match (yes, no) {
        (End::Redirected { by, to }, End::Redirected { by: or, to: other })
            if to != other && (map || to.is_elsewhere() && other.is_elsewhere()) =>
        {
            let by = match (to.several, other.several) {
                _ if by == or => by,
                (true, _) => by,
                (_, true) => or,
                _ => reached.place(),
            };
            End::Redirected { by, to: to.or(other) }
        }
        // Whichever it gives, the packet is dropped: by one of several.
        (End::Dropped { by }, End::Dropped { by: or }) if map && by != or => End::Dropped { by: Some(reached.place()) },
        ends => alike(ends, why),
    }
}

/// Whether a match of the rule gives the packet the mark of a socket, or may (net/netfilter/xt_socket.c).
fn restores(rule: &Rule, traveller: &Traveller) -> bool {
    let may = |part: &Match| part.condition().ask(&traveller.packet) != Answer::No;
    rule.matches.iter().any(|part| matches!(part, Match::Socket(socket) if socket.restore_mark) && may(part))
}

fn too_much(traveller: Traveller) -> Ways {
    Ways::one(End::Undecided { because: TOO_MUCH.to_owned() }, traveller)
}

impl Walk {
    /// Behind one element of a map, or behind the rule at which it stands.
    fn pass(&mut self, map: bool) {
        if map {
            self.branch += 1;
        } else {
            self.pass_rule();
        }
    }

    /// Behind the rule at which it stands.
    fn pass_rule(&mut self) {
        self.branch = 0;
        if let Some((_, at)) = self.stack.last_mut() {
            *at += 1;
        }
    }
}
