//! What the rules of a hook, or of several, do to a packet: left alone, redirected, dropped, or undecided with the reason.
//!
//! It follows a packet through the base chains of a hook by priority; the first translation binds, later chains see its result.
//! Routing is not its business, nor what comes after the hooks that it is given.

use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::model::{Backend, Body, Chain, Hook, Policy, Rule, RuleRef, Ruleset, Table};
use crate::packet::{Answer, Known, Packet};
use crate::xt::{Action, Effect, PortRange};

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
    until_redirect: bool,
}

/// A packet on its way, and what was decided about it so far.
#[derive(Clone)]
struct Traveller {
    packet: Packet,
    /// The rule that took it out of a chain.
    left_by: Option<RuleRef>,
    /// The rule that sends it elsewhere, and the port.
    redirected: Option<(RuleRef, Option<u16>)>,
}

/// Where a packet stands: chains entered, each with the place of the next rule.
#[derive(Clone)]
struct Walk<'a> {
    stack: Vec<(&'a Chain, usize)>,
    traveller: Traveller,
}

/// Runs a packet through all chains of these hooks, one hook after the other.
#[must_use]
pub fn through(rulesets: &[Ruleset], hooks: &[Hook], packet: &Packet, ipv6: bool) -> End {
    walk(rulesets, hooks, packet, ipv6, false)
}

/// The same up to the first redirect: what later chains do to a redirected packet is not asked.
#[must_use]
pub fn until_redirect(rulesets: &[Ruleset], hook: Hook, packet: &Packet, ipv6: bool) -> End {
    walk(rulesets, &[hook], packet, ipv6, true)
}

fn walk(rulesets: &[Ruleset], hooks: &[Hook], packet: &Packet, ipv6: bool, until_redirect: bool) -> End {
    let mut bases: Vec<Base<'_>> = Vec::new();
    for ruleset in rulesets.iter().filter(|ruleset| ruleset.family.sees(ipv6)) {
        for table in &ruleset.tables {
            let chains = table.chains.iter().filter(|chain| chain.hook.is_some_and(|hook| hooks.contains(&hook)));
            bases.extend(chains.map(|chain| Base { ruleset, table, chain }));
        }
    }
    let place = |hook: Option<Hook>| hooks.iter().position(|known| Some(*known) == hook);
    bases.sort_by_key(|base| (place(base.chain.hook), base.chain.priority));
    let traveller = Traveller { packet: packet.clone(), left_by: None, redirected: None };
    Evaluator { budget: Cell::new(BUDGET), until_redirect }.run(&bases, traveller)
}

impl Evaluator {
    fn run(&self, bases: &[Base<'_>], traveller: Traveller) -> End {
        // A packet is translated once: the nat chains that follow are not asked (K5, K28).
        let translated = traveller.redirected.is_some();
        let passed = match translated && self.until_redirect {
            true => bases.len(),
            false => bases.iter().take_while(|base| translated && is_nat(base)).count(),
        };
        let Some((base, later)) = bases.get(passed..).and_then(<[_]>::split_first) else {
            return match traveller.redirected {
                Some((by, port)) => End::Redirected { by, port },
                None => End::Untouched { by: traveller.left_by },
            };
        };
        self.chain(*base, later, Walk { stack: vec![(base.chain, 0)], traveller })
    }

    fn chain<'a>(&self, base: Base<'a>, later: &[Base<'_>], mut walk: Walk<'a>) -> End {
        loop {
            let Some((chain, at)) = walk.stack.last_mut() else {
                // Back out of the base chain: its policy decides.
                if base.chain.policy == Some(Policy::Drop) {
                    return End::Dropped { by: None };
                }
                return self.run(later, walk.traveller);
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
            match ask(rule, &walk.traveller.packet) {
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
                walk.traveller.left_by = Some(by);
                Some(self.run(later, walk.traveller.clone()))
            }
            Action::Return => {
                walk.traveller.left_by = Some(by);
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
            Action::Target(target) => self.target(base, later, &mut walk.traveller, &target.effect(), by),
        }
    }

    fn target(
        &self,
        base: Base<'_>,
        later: &[Base<'_>],
        traveller: &mut Traveller,
        effect: &Effect,
        by: RuleRef,
    ) -> Option<End> {
        let own = base.chain.hook == Some(Hook::Output);
        match effect {
            Effect::Redirect(ports) => {
                redirect(traveller, own, by, *ports);
                Some(self.run(later, traveller.clone()))
            }
            Effect::Destination(range) => {
                let address = range.addresses.filter(|(first, last)| first == last).map(|(only, _)| only);
                redirect(traveller, own, by, range.ports);
                traveller.packet.destination = Known::from_option(address);
                Some(self.run(later, traveller.clone()))
            }
            // The packet stays as it is, and is given to another socket.
            Effect::Transparent { port, mark, mask, .. } => {
                traveller.redirected = Some((by, Some(*port)));
                set_mark(&mut traveller.packet, *mark, *mask);
                Some(self.run(later, traveller.clone()))
            }
            // A source translation, too, is the last word of its table.
            Effect::Source => Some(self.run(later, traveller.clone())),
            Effect::Stop => Some(End::Dropped { by: Some(by) }),
            // Untracked packets are never translated (K9), so no nat chain is asked about them.
            Effect::Untracked => {
                let rest: Vec<Base<'_>> = later.iter().filter(|base| !is_nat(base)).copied().collect();
                traveller.left_by = Some(by);
                Some(self.run(&rest, traveller.clone()))
            }
            Effect::Mark { value, mask } => {
                set_mark(&mut traveller.packet, *value, *mask);
                None
            }
            Effect::RestoredMark => {
                traveller.packet.mark = Known::Unknown;
                None
            }
            Effect::Continue => None,
            Effect::Opaque(what) => Some(End::Undecided { because: format!("{what} in rule {by}") }),
        }
    }
}

/// The only port of a range, if it has but one.
fn one(range: PortRange) -> Option<u16> {
    (range.from == range.to).then_some(range.from)
}

/// The packet's destination becomes this machine (K2); which of its addresses is known for packets of its `own` only.
fn redirect(traveller: &mut Traveller, own: bool, by: RuleRef, ports: Option<PortRange>) {
    let packet = &mut traveller.packet;
    packet.destination = match &packet.destination {
        Known::Is(IpAddr::V4(_)) if own => Known::Is(Ipv4Addr::LOCALHOST.into()),
        Known::Is(IpAddr::V6(_)) if own => Known::Is(Ipv6Addr::LOCALHOST.into()),
        _ => Known::Unknown,
    };
    packet.destination_local = Known::Is(true);
    let port = ports.and_then(one);
    if ports.is_some() {
        packet.destination_port = Known::from_option(port);
    }
    traveller.redirected = Some((by, port));
}

fn is_nat(base: &Base<'_>) -> bool {
    base.chain.kind.as_deref() == Some("nat")
}

fn set_mark(packet: &mut Packet, value: u32, mask: u32) {
    packet.mark = match packet.mark {
        Known::Is(mark) => Known::Is((mark & !mask) ^ value),
        _ if mask == u32::MAX => Known::Is(value),
        _ => Known::Unknown,
    };
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
