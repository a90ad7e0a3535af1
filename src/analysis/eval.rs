//! What the rules of a hook, or of several, do to a packet: left alone, redirected, dropped, or undecided with the reason.
//!
//! It follows a packet through the base chains of a hook by priority; the first translation binds, later chains see its result.
//! Routing is not its business, nor what comes after the hooks that it is given.

use std::cell::Cell;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::model::{Body, Chain, Hook, Policy, Rule, RuleRef, Ruleset, Table};
use crate::packet::{Answer, Condition, Known, Packet};
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
/// Base chains and unknown matches one within the other: a bound against the end of the stack.
const FORKS: u32 = 200;

/// The rules of a snapshot, prepared for many questions: what each rule asks, and chains by name.
#[derive(Debug)]
pub struct Rulebase<'a> {
    tables: Vec<Prepared<'a>>,
}

#[derive(Debug)]
struct Prepared<'a> {
    ruleset: &'a Ruleset,
    table: &'a Table,
    by_name: HashMap<&'a str, usize>,
    /// For each chain, for each rule, what it asks; `None` for what is not understood.
    conditions: Vec<Vec<Option<Condition>>>,
}

/// A base chain to run through.
#[derive(Clone, Copy)]
struct Base<'r> {
    table: &'r Prepared<'r>,
    chain: &'r Chain,
    index: usize,
}

struct Evaluator {
    budget: Cell<u32>,
    forks: Cell<u32>,
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
struct Walk {
    stack: Vec<(usize, usize)>,
    traveller: Traveller,
}

/// A rule that a packet has reached.
#[derive(Clone, Copy)]
struct Reached<'r> {
    base: Base<'r>,
    chain: usize,
    at: usize,
}

impl<'a> Rulebase<'a> {
    /// Prepares rule sets.
    #[must_use]
    pub fn of(rulesets: &'a [Ruleset]) -> Self {
        let tables = rulesets.iter().flat_map(|ruleset| ruleset.tables.iter().map(move |table| (ruleset, table)));
        let ask = |rule: &Rule| match &rule.body {
            Body::Xt(body) => Some(body.condition()),
            Body::Nft(_) => None,
        };
        let prepare = |(ruleset, table): (&'a Ruleset, &'a Table)| Prepared {
            ruleset,
            table,
            by_name: table.chains.iter().enumerate().map(|(index, chain)| (chain.name.as_str(), index)).collect(),
            conditions: table.chains.iter().map(|chain| chain.rules.iter().map(ask).collect()).collect(),
        };
        Self { tables: tables.map(prepare).collect() }
    }

    /// Runs a packet through all chains of these hooks, one hook after the other.
    #[must_use]
    pub fn through(&self, hooks: &[Hook], packet: &Packet, ipv6: bool) -> End {
        self.walk(hooks, packet, ipv6, false)
    }

    /// The same up to the first redirect: what later chains do to a redirected packet is not asked.
    #[must_use]
    pub fn until_redirect(&self, hook: Hook, packet: &Packet, ipv6: bool) -> End {
        self.walk(&[hook], packet, ipv6, true)
    }

    fn walk(&self, hooks: &[Hook], packet: &Packet, ipv6: bool, until_redirect: bool) -> End {
        let mut bases: Vec<Base<'_>> = Vec::new();
        for table in self.tables.iter().filter(|table| table.ruleset.family.sees(ipv6)) {
            let chains = table.table.chains.iter().enumerate();
            let chains = chains.filter(|(_, chain)| chain.hook.is_some_and(|hook| hooks.contains(&hook)));
            bases.extend(chains.map(|(index, chain)| Base { table, chain, index }));
        }
        let place =
            |base: &Base<'_>| (hooks.iter().position(|known| Some(*known) == base.chain.hook), base.chain.priority);
        bases.sort_by_key(place);
        let run = |bases: &[Base<'_>]| {
            let traveller = Traveller { packet: packet.clone(), left_by: None, redirected: None };
            Evaluator { budget: Cell::new(BUDGET), forks: Cell::new(0), until_redirect }.run(bases, traveller)
        };
        let end = run(&bases);
        // At equal priority the chain that was registered last runs first, and nobody can tell which that was (K5).
        let rivals = bases.windows(2).any(|pair| matches!(pair, [a, b] if place(a) == place(b)));
        if rivals {
            bases.reverse();
            bases.sort_by_key(place);
            if !run(&bases).same(&end) {
                return End::Undecided { because: "the unknown order of chains at the same priority".to_owned() };
            }
        }
        end
    }
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
        self.chain(*base, later, Walk { stack: vec![(base.index, 0)], traveller })
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
            let Some((rule, condition)) = reached.rule() else {
                walk.stack.pop();
                continue;
            };
            *at += 1;
            if self.budget.get() == 0 {
                return End::Undecided { because: TOO_MUCH.to_owned() };
            }
            self.budget.set(self.budget.get() - 1);
            let Some(condition) = condition else {
                return End::Undecided { because: format!("nf_tables expressions in rule {}", reached.name()) };
            };
            match condition.ask(&walk.traveller.packet) {
                Answer::No => {}
                Answer::Yes => {
                    if let Some(end) = self.matched(reached, later, &mut walk, rule) {
                        return end;
                    }
                }
                Answer::CannotKnow => return self.both(reached, later, walk, rule),
            }
        }
    }

    /// Follows the packet as if the rule matched, and as if it did not.
    fn both(&self, reached: Reached<'_>, later: &[Base<'_>], walk: Walk, rule: &Rule) -> End {
        let mut matching = walk.clone();
        let yes = self.matched(reached, later, &mut matching, rule);
        let yes = yes.unwrap_or_else(|| self.chain(reached.base, later, matching));
        let no = match yes {
            End::Undecided { .. } => return yes,
            _ => self.chain(reached.base, later, walk),
        };
        match &no {
            End::Undecided { .. } => no,
            _ if yes.same(&no) => yes,
            _ => End::Undecided { because: format!("whether rule {} matches", reached.name()) },
        }
    }

    /// What a match does; `None`: the packet goes on at the walk's place.
    fn matched(&self, reached: Reached<'_>, later: &[Base<'_>], walk: &mut Walk, rule: &Rule) -> Option<End> {
        let Body::Xt(body) = &rule.body else {
            return Some(End::Undecided { because: format!("rule {} is not understood", reached.name()) });
        };
        match &body.action {
            Action::None => None,
            Action::Drop => Some(End::Dropped { by: Some(reached.name()) }),
            Action::Queue => Some(End::Undecided { because: format!("rule {} asks a program", reached.name()) }),
            Action::Accept => {
                walk.traveller.left_by = Some(reached.name());
                Some(self.run(later, walk.traveller.clone()))
            }
            Action::Return => {
                walk.traveller.left_by = Some(reached.name());
                walk.stack.pop();
                None
            }
            Action::Jump(to) | Action::Goto(to) => {
                if matches!(body.action, Action::Goto(_)) {
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
            Action::Target(target) => self.target(reached, later, &mut walk.traveller, &target.effect()),
        }
    }

    fn target(
        &self,
        reached: Reached<'_>,
        later: &[Base<'_>],
        traveller: &mut Traveller,
        effect: &Effect,
    ) -> Option<End> {
        let own = reached.base.chain.hook == Some(Hook::Output);
        match effect {
            Effect::Redirect(ports) => {
                redirect(traveller, own, reached.name(), *ports);
                Some(self.run(later, traveller.clone()))
            }
            Effect::Destination(range) => {
                let address = range.addresses.filter(|(first, last)| first == last).map(|(only, _)| only);
                redirect(traveller, own, reached.name(), range.ports);
                traveller.packet.destination = Known::from_option(address);
                traveller.packet.destination_local = Known::Unknown;
                Some(self.run(later, traveller.clone()))
            }
            // The packet stays as it is, and is given to another socket.
            Effect::Transparent { port, mark, mask, .. } => {
                traveller.redirected = Some((reached.name(), Some(*port)));
                set_mark(&mut traveller.packet, *mark, *mask);
                Some(self.run(later, traveller.clone()))
            }
            // A source translation, too, is the last word of its table.
            Effect::Source => Some(self.run(later, traveller.clone())),
            Effect::Stop => Some(End::Dropped { by: Some(reached.name()) }),
            // Untracked packets are never translated (K9), so no nat chain is asked about them.
            Effect::Untracked => {
                let rest: Vec<Base<'_>> = later.iter().filter(|base| !is_nat(base)).copied().collect();
                traveller.left_by = Some(reached.name());
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
            Effect::Opaque(what) => Some(End::Undecided { because: format!("{what} in rule {}", reached.name()) }),
        }
    }
}

/// Why a packet was not followed to its end.
const TOO_MUCH: &str = "more unknowns than can be followed";

impl<'r> Reached<'r> {
    /// The rule and what it asks.
    fn rule(self) -> Option<(&'r Rule, &'r Option<Condition>)> {
        let Prepared { table, conditions, .. } = self.base.table;
        Some((table.chains.get(self.chain)?.rules.get(self.at)?, conditions.get(self.chain)?.get(self.at)?))
    }

    fn name(self) -> RuleRef {
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

/// The rule of this name.
#[must_use]
pub fn find<'a>(rulesets: &'a [Ruleset], name: &RuleRef) -> Option<&'a Rule> {
    let ruleset = rulesets.iter().find(|ruleset| ruleset.backend == name.backend && ruleset.family == name.family)?;
    ruleset.table(&name.table)?.chain(&name.chain)?.rules.get(name.number.checked_sub(1)?)
}
