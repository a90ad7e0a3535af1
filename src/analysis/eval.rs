//! What the rules of a hook, or of several, do to a packet: left alone, redirected, dropped, or undecided with the reason.
//!
//! It follows a packet through the base chains of a hook by priority; the first translation binds, later chains see its result.
//! Routing is not its business, nor what comes after the hooks that it is given.

use std::cell::Cell;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::native::{Reading, reading};
use super::paths::Paths;
use crate::model::{Chain, Hook, Policy, Rule, RuleRef, Ruleset, Table};
use crate::packet::{Answer, Condition, Known, Packet};
use crate::xt::{self, Action, Effect, PortRange};

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
        /// Where to.
        to: Target,
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

/// Where a redirect leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Target {
    /// The port; `None` when it stays or is one of several.
    pub port: Option<u16>,
    /// The address; `None` for the machine itself, or one of several.
    pub address: Option<IpAddr>,
}

impl End {
    /// Whether both are the same for the packet, whichever rule decided it.
    #[must_use]
    pub fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Redirected { to, .. }, Self::Redirected { to: other, .. }) => to == other,
            (Self::Untouched { .. }, Self::Untouched { .. }) | (Self::Dropped { .. }, Self::Dropped { .. }) => true,
            _ => false,
        }
    }
}

/// Rules asked about one packet before the answer is given up: a bound against rule sets that fork without end.
const BUDGET: u32 = 100_000;
/// Rules looked at to find those that tell by several properties at once.
const STEPS: u32 = 5_000;
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
    paths: Paths<'a>,
    /// For each chain, for each rule, its reading and what it asks; `None` for what is not understood.
    readings: Vec<Vec<Option<Asking<'a>>>>,
}

/// A rule that is understood, and what it asks.
type Asking<'a> = (Reading<'a>, Condition);

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
    /// The rule that sends it elsewhere, and where to.
    redirected: Option<(RuleRef, Target)>,
    /// Not tracked: it is never translated (K9).
    untracked: bool,
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
        let ask = |ruleset: &Ruleset, table: &Table, rule: &'a Rule| {
            let reading = reading(ruleset.family, table, rule)?;
            let condition = reading.condition();
            Some((reading, condition))
        };
        let prepare = |(ruleset, table): (&'a Ruleset, &'a Table)| Prepared {
            ruleset,
            table,
            paths: Paths::of(table),
            by_name: table.chains.iter().enumerate().map(|(index, chain)| (chain.name.as_str(), index)).collect(),
            readings: table
                .chains
                .iter()
                .map(|chain| chain.rules.iter().map(|rule| ask(ruleset, table, rule)).collect())
                .collect(),
        };
        Self { tables: tables.map(prepare).collect() }
    }

    /// Calls `each` with every rule that packets of the family can meet and that is understood.
    pub(super) fn each(&self, ipv6: bool, mut each: impl FnMut(&xt::Rule)) {
        for prepared in self.tables.iter().filter(|table| table.ruleset.family.sees(ipv6) && !table.table.dormant) {
            for (reading, _) in prepared.readings.iter().flatten().flatten() {
                if reading.ipv6.is_none_or(|only| only == ipv6) {
                    each(&reading.rule);
                }
            }
        }
    }

    /// Follows the jumps from a hook, each time with the packet that `fit` makes of the last one for the rule's condition, and calls
    /// `each` with every rule that does not jump and the packet for it.
    pub(super) fn made_for(
        &self,
        hook: Hook,
        ipv6: bool,
        packet: &Packet,
        fit: &mut dyn FnMut(&Condition, &Packet) -> Option<Packet>,
        each: &mut dyn FnMut(&RuleRef, &Packet),
    ) {
        let mut steps = STEPS;
        for prepared in self.tables.iter().filter(|table| table.ruleset.family.sees(ipv6) && !table.table.dormant) {
            let chains = prepared.table.chains.iter().enumerate().filter(|(_, chain)| chain.hook == Some(hook));
            for (index, chain) in chains {
                let base = Base { table: prepared, chain, index };
                let mut waiting = vec![(index, packet.clone(), 0)];
                while let Some((chain, packet, depth)) = waiting.pop() {
                    let reached = (0..).map(|at| Reached { base, chain, at });
                    for (reached, asking) in reached.map_while(|it| it.asking().map(|asking| (it, asking))) {
                        if steps == 0 {
                            return;
                        }
                        steps -= 1;
                        let made =
                            asking.as_ref().and_then(|(reading, condition)| Some((reading, fit(condition, &packet)?)));
                        let Some((reading, made)) = made else { continue };
                        match reading.rule.jumps_to().and_then(|to| prepared.by_name.get(to)) {
                            Some(to) if depth < DEPTH => waiting.push((*to, made, depth + 1)),
                            Some(_) => {}
                            None => each(&reached.name(), &made),
                        }
                    }
                }
            }
        }
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
        let in_force = self.tables.iter().filter(|table| table.ruleset.family.sees(ipv6) && !table.table.dormant);
        for table in in_force {
            let chains = table.table.chains.iter().enumerate();
            let chains = chains.filter(|(_, chain)| chain.hook.is_some_and(|hook| hooks.contains(&hook)));
            bases.extend(chains.map(|(index, chain)| Base { table, chain, index }));
        }
        let place =
            |base: &Base<'_>| (hooks.iter().position(|known| Some(*known) == base.chain.hook), base.chain.priority);
        bases.sort_by_key(place);
        let run = |bases: &[Base<'_>]| {
            let traveller = Traveller { packet: packet.clone(), left_by: None, redirected: None, untracked: false };
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
        let redirected = traveller.redirected.is_some();
        let passed = match redirected && self.until_redirect {
            true => bases.len(),
            false => bases.iter().take_while(|base| (redirected || traveller.untracked) && is_nat(base)).count(),
        };
        let Some((base, later)) = bases.get(passed..).and_then(<[_]>::split_first) else {
            return match traveller.redirected {
                Some((by, to)) => End::Redirected { by, to },
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
            let Some(asking) = reached.asking() else {
                walk.stack.pop();
                continue;
            };
            *at += 1;
            if self.budget.get() == 0 {
                return End::Undecided { because: TOO_MUCH.to_owned() };
            }
            self.budget.set(self.budget.get() - 1);
            let Some((reading, condition)) = asking else {
                return End::Undecided { because: format!("nf_tables expressions in rule {}", reached.name()) };
            };
            match condition.ask(&walk.traveller.packet) {
                Answer::No => {}
                Answer::Yes => {
                    if let Some(end) = self.matched(reached, later, &mut walk, &reading.rule) {
                        return end;
                    }
                }
                Answer::CannotKnow => return self.both(reached, later, walk, &reading.rule),
            }
        }
    }

    /// Follows the packet as if the rule matched, and as if it did not.
    fn both(&self, reached: Reached<'_>, later: &[Base<'_>], walk: Walk, rule: &xt::Rule) -> End {
        let mut matching = walk.clone();
        let yes = self.matched(reached, later, &mut matching, rule);
        let yes = yes.unwrap_or_else(|| self.chain(reached.base, later, matching));
        let no = match yes {
            End::Undecided { .. } => return yes,
            _ => self.chain(reached.base, later, walk),
        };
        match &no {
            End::Undecided { .. } => no,
            // The same end by another rule is nobody's doing.
            _ if yes.same(&no) && yes != no => match yes {
                End::Untouched { .. } => End::Untouched { by: None },
                other => other,
            },
            _ if yes == no => yes,
            _ => End::Undecided { because: format!("whether rule {} matches", reached.name()) },
        }
    }

    /// What a match does; `None`: the packet goes on at the walk's place.
    fn matched(&self, reached: Reached<'_>, later: &[Base<'_>], walk: &mut Walk, rule: &xt::Rule) -> Option<End> {
        match &rule.action {
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
                if matches!(rule.action, Action::Goto(_)) {
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
                redirect(traveller, own, reached.name(), range.ports);
                if let Some((first, last)) = range.addresses {
                    let address = Some(first).filter(|_| first == last);
                    traveller.packet.destination = Known::from_option(address);
                    traveller.packet.destination_local = Known::Unknown;
                    if let Some((_, to)) = &mut traveller.redirected {
                        to.address = address;
                    }
                }
                Some(self.run(later, traveller.clone()))
            }
            // The packet stays as it is, and is given to another socket.
            Effect::Transparent { port, mark, mask, .. } => {
                let target = Target { port: Some(*port).filter(|port| *port != 0), address: None };
                traveller.redirected = Some((reached.name(), target));
                set_mark(&mut traveller.packet, *mark, *mask);
                Some(self.run(later, traveller.clone()))
            }
            // A source translation, too, is the last word of its table.
            Effect::Source => Some(self.run(later, traveller.clone())),
            Effect::Stop => Some(End::Dropped { by: Some(reached.name()) }),
            // The packet goes on in its chain; nat chains will not be asked about it.
            Effect::Untracked => {
                traveller.untracked = true;
                traveller.left_by = Some(reached.name());
                None
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
    /// The rule, if there is one, and its reading, if it has one.
    fn asking(self) -> Option<&'r Option<Asking<'r>>> {
        self.base.table.readings.get(self.chain)?.get(self.at)
    }

    /// Takes the packet out of its chain: worth a note only where staying could have redirected it.
    fn leaves(self, traveller: &mut Traveller) {
        if self.base.table.paths.redirects(&self.base.chain.name) {
            traveller.left_by = Some(self.name());
        }
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
    // What comes later sees a translated connection.
    if let Known::Is(state) = &mut packet.state {
        *state |= DESTINATION_TRANSLATED;
    }
    traveller.redirected = Some((by, Target { port, address: None }));
}

/// `XT_CONNTRACK_STATE_DNAT`
const DESTINATION_TRANSLATED: u32 = 1 << 7;

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

/// The rule of this name, and its table.
#[must_use]
pub fn find<'a>(rulesets: &'a [Ruleset], name: &RuleRef) -> Option<(&'a Table, &'a Rule)> {
    let ruleset = rulesets.iter().find(|ruleset| ruleset.backend == name.backend && ruleset.family == name.family)?;
    let table = ruleset.table(&name.table)?;
    Some((table, table.chain(&name.chain)?.rules.get(name.number.checked_sub(1)?)?))
}
