//! What the rules of a hook, or of several, do to a packet: left alone, redirected, dropped, or undecided with the reason.
//!
//! It follows a packet through the base chains of a hook by priority; the first translation binds, later chains see its result.
//! Routing is not its business, nor what comes after the hooks that it is given.

mod blind;
mod ground;
mod headers;
mod index;
mod journey;
mod order;
mod path;
mod sockets;
mod translation;
mod traveller;
mod wakes;
mod walk;
mod ways;

use std::cell::OnceCell;
use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

pub use ground::Ground;
use index::Branches;
pub use journey::Routed;
use journey::Way;
use order::orders;
pub use path::{Met, Place};
pub use sockets::{Sockets, Taken};
pub use traveller::Belongs;
use traveller::Traveller;
use wakes::wakes;
use walk::{Asked, Base, DEPTH, Evaluator, Reached};
pub use ways::{Doubt, Every, Gone};

use super::ipsets::IpSets;
use super::native::branches;
use super::paths::Paths;
use crate::model::{Body, Chain, Family, Hook, Policy, Rule, RuleRef, Ruleset, Snapshot, Table};
use crate::packet::{Condition, DeviceName, Packet};
use crate::xt;

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
    /// The address stays what it was, and only the port becomes another.
    pub stays: bool,
    /// It is one of several addresses.
    pub several: bool,
}

impl Target {
    /// At another address, or one of several.
    fn is_elsewhere(&self) -> bool {
        self.address.is_some() || self.several
    }

    /// Here or there.
    fn or(self, other: Self) -> Self {
        let same = self.address == other.address && self.stays == other.stays && !self.several && !other.several;
        Self {
            port: self.port.filter(|port| other.port == Some(*port)),
            address: self.address.filter(|_| same),
            stays: self.stays && same,
            several: !same,
        }
    }
}

impl End {
    /// Whether both are the same for the packet, whichever rule decided it.
    #[must_use]
    pub fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Redirected { to, by }, Self::Redirected { to: other, by: and }) => {
                // Which of several is known by the rule alone.
                to == other && (!to.several || by == and)
            }
            (Self::Untouched { .. }, Self::Untouched { .. }) | (Self::Dropped { .. }, Self::Dropped { .. }) => true,
            _ => false,
        }
    }
}

/// Rules looked at to find those that tell by several properties at once.
const STEPS: u32 = 5_000;

/// The rules of a snapshot, prepared for many questions: what each rule asks, and chains by name.
#[derive(Debug)]
pub struct Rulebase<'a> {
    tables: Vec<Prepared<'a>>,
    /// Whether connections of IPv4 and of IPv6 are tracked, once that was asked.
    tracks: [OnceCell<Option<bool>>; 2],
}

/// A packet at the beginning of its way.
#[derive(Debug, Clone, Copy)]
pub struct Start {
    /// The packet.
    pub packet: Packet,
    /// It is one of IPv6.
    pub ipv6: bool,
    /// It comes in from outside; else a socket of the namespace sends it.
    pub incoming: bool,
    /// The device that the socket is bound to.
    pub bound: Option<DeviceName>,
    /// Whether it belongs to a connection that is tracked already.
    pub belongs: Belongs,
    /// Nothing is known but rules: a pod with one address is supposed.
    pub bare: bool,
}

#[derive(Debug)]
struct Prepared<'a> {
    /// Its place among all.
    number: usize,
    ruleset: &'a Ruleset,
    table: &'a Table,
    by_name: HashMap<&'a str, usize>,
    paths: Paths<'a>,
    /// A match of some rule gives packets the mark of a socket.
    restores: bool,
    /// For each chain, for each rule, its branches and what they ask.
    rules: Vec<Vec<Branches<'a>>>,
}

/// A rule, or a base chain's policy.
#[derive(Debug, Clone, Copy)]
pub struct At<'a> {
    /// The rule set.
    pub ruleset: &'a Ruleset,
    /// The table.
    pub table: &'a Table,
    /// The chain.
    pub chain: &'a Chain,
    /// The rule and its number, from 1; `None` for the chain's policy.
    pub rule: Option<(usize, &'a Rule)>,
}

impl At<'_> {
    /// The rule's name.
    #[must_use]
    pub fn name(&self) -> Option<RuleRef> {
        self.rule.map(|(number, _)| RuleRef {
            backend: self.ruleset.backend,
            family: self.ruleset.family,
            table: self.table.name.clone(),
            chain: self.chain.name.clone(),
            number,
        })
    }
}

impl<'a> Rulebase<'a> {
    /// Prepares a snapshot's rule sets.
    #[must_use]
    pub fn of(snapshot: &'a Snapshot) -> Self {
        let (rulesets, sets) = (snapshot.rulesets(), IpSets::of(snapshot));
        let tables = rulesets.iter().flat_map(|ruleset| ruleset.tables.iter().map(move |table| (ruleset, table)));
        let ask = |ruleset: &Ruleset, table: &Table, rule: &'a Rule| {
            let branches = branches(ruleset.family, table, rule).into_iter();
            let asking = branches.map(|branch| {
                let condition = sets.condition(&branch.reading, ruleset.family);
                (branch, condition)
            });
            Branches::new(asking.collect(), ruleset.family == Family::Ip)
        };
        let prepare = |(number, (ruleset, table)): (usize, (&'a Ruleset, &'a Table))| Prepared {
            number,
            ruleset,
            table,
            paths: Paths::of(table),
            restores: table.chains.iter().flat_map(|chain| &chain.rules).any(restores),
            by_name: table.chains.iter().enumerate().map(|(index, chain)| (chain.name.as_str(), index)).collect(),
            rules: table
                .chains
                .iter()
                .map(|chain| chain.rules.iter().map(|rule| ask(ruleset, table, rule)).collect())
                .collect(),
        };
        Self { tables: tables.enumerate().map(prepare).collect(), tracks: Default::default() }
    }

    /// How many rules there are, each element of a map that a rule looks into counted as one.
    pub(super) fn count(&self) -> usize {
        self.tables.iter().flat_map(|table| &table.rules).flatten().map(|rule| rule.all.len().max(1)).sum()
    }

    /// Calls `each` with every rule that packets of the family can meet and that is understood.
    pub(super) fn each(&self, ipv6: bool, mut each: impl FnMut(&xt::Rule, &Condition)) {
        for prepared in self.tables.iter().filter(|table| table.ruleset.family.sees(ipv6) && !table.table.dormant) {
            for (branch, condition) in prepared.rules.iter().flatten().flat_map(|rule| &rule.all) {
                if branch.reading.ipv6.is_none_or(|only| only == ipv6) {
                    each(branch.rule(), condition);
                }
            }
        }
    }

    /// Follows the jumps from a hook, each time with the packet that `fit` makes of the last one for the rule's condition, and calls
    /// `each` with every rule that does not jump and the packet for it. Says whether there was time for all.
    pub(super) fn made_for(
        &self,
        hook: Hook,
        ipv6: bool,
        packet: &Packet,
        fit: &mut dyn FnMut(&Condition, &Packet) -> Option<Packet>,
        each: &mut dyn FnMut(&RuleRef, &Packet),
    ) -> bool {
        let mut steps = STEPS;
        for prepared in self.tables.iter().filter(|table| table.ruleset.family.sees(ipv6) && !table.table.dormant) {
            let chains = prepared.table.chains.iter().enumerate().filter(|(_, chain)| chain.hook == Some(hook));
            for (index, chain) in chains {
                let base = Base { table: prepared, chain, index };
                // First come, first served: rules are named in the order in which they are listed.
                let mut waiting = VecDeque::from([(index, *packet, 0)]);
                while let Some((chain, packet, depth)) = waiting.pop_front() {
                    let reached = (0..).map(|at| Reached { base, chain, at });
                    let rules = reached.map_while(|it| it.asking().map(|asking| (it, asking)));
                    for (reached, (branch, condition)) in
                        rules.flat_map(|(it, rule)| rule.all.iter().map(move |one| (it, one)))
                    {
                        if steps == 0 {
                            return false;
                        }
                        steps -= 1;
                        let Some(made) = fit(condition, &packet).filter(|_| branch.unread.is_none()) else { continue };
                        match branch.rule().jumps_to().and_then(|to| prepared.by_name.get(to)) {
                            Some(to) if depth < DEPTH => waiting.push_back((*to, made, depth + 1)),
                            Some(_) => {}
                            None => each(&reached.name(), &made),
                        }
                    }
                }
            }
        }
        true
    }

    /// Runs a packet through all chains of these hooks, one hook after the other.
    #[must_use]
    pub fn through(&self, hooks: &[Hook], packet: &Packet, ipv6: bool) -> End {
        self.walk(hooks, packet, ipv6, Asked::OneEnd)
    }

    /// The same up to the first redirect: what later chains do to a redirected packet is not asked.
    #[must_use]
    pub fn until_redirect(&self, hook: Hook, packet: &Packet, ipv6: bool) -> End {
        self.walk(&[hook], packet, ipv6, Asked::FirstRedirect)
    }

    /// All ways that a packet may take, in every order of chains that there may be: from the socket that sends it, or from the device by
    /// which it comes in, to where it ends.
    #[must_use]
    pub fn every_way(&self, start: &Start, ground: Option<&Ground<'_>>, sockets: Option<&dyn Sockets>) -> Every {
        const OUT: [Hook; 6] =
            [Hook::Output, Hook::Postrouting, Hook::Egress, Hook::Ingress, Hook::Prerouting, Hook::Input];
        const IN: [Hook; 6] =
            [Hook::Ingress, Hook::Prerouting, Hook::Input, Hook::Forward, Hook::Postrouting, Hook::Egress];
        let hooks = if start.incoming { &IN } else { &OUT };
        let traveller = || {
            let mut traveller = Traveller::new(start.packet, !start.incoming).traced();
            if ground.is_some() && !start.incoming {
                traveller.way = Way::Unsent;
            }
            (traveller.bound, traveller.belongs, traveller.bare) = (start.bound, start.belongs, start.bare);
            traveller.tracked = self.tracks(start.ipv6) != Some(false);
            traveller
        };
        let mut orders = orders(self.bases(hooks, start.ipv6), hooks).into_iter();
        let run = |bases: &[Base<'_>]| Evaluator::new(Asked::EveryEnd, ground).asking(sockets).run(bases, traveller());
        let first = run(&orders.next().unwrap_or_default());
        let doubt = || Doubt { rule: None, why: "the unknown order of chains at the same priority".to_owned() };
        orders.fold(first, |ways, order| ways.or(run(&order), doubt)).every()
    }

    /// Whether some rule makes the kernel track connections of a family (K22); `None` where that hangs on one that is not understood.
    #[must_use]
    pub fn tracks(&self, ipv6: bool) -> Option<bool> {
        let [of_ipv4, of_ipv6] = &self.tracks;
        *if ipv6 { of_ipv6 } else { of_ipv4 }.get_or_init(|| {
            let mut unknown = false;
            let tables = self.tables.iter().filter(|table| table.ruleset.family.sees(ipv6));
            for (branch, _) in tables.flat_map(|table| &table.rules).flatten().flat_map(|rule| &rule.all) {
                match wakes(branch) {
                    Some(true) => return Some(true),
                    Some(false) => {}
                    None => unknown = true,
                }
            }
            (!unknown).then_some(false)
        })
    }

    /// The rule at this place, or the chain whose policy it is.
    #[must_use]
    pub fn at(&self, place: Place) -> Option<At<'a>> {
        let prepared = self.tables.get(place.table)?;
        let chain = prepared.table.chains.get(place.chain)?;
        let rule = place.rule.and_then(|at| Some((at + 1, chain.rules.get(at)?)));
        Some(At { ruleset: prepared.ruleset, table: prepared.table, chain, rule })
    }

    fn bases(&self, hooks: &[Hook], ipv6: bool) -> Vec<Base<'_>> {
        let mut bases: Vec<Base<'_>> = Vec::new();
        let in_force = self.tables.iter().filter(|table| table.ruleset.family.sees(ipv6) && !table.table.dormant);
        for table in in_force {
            let chains = table.table.chains.iter().enumerate();
            // Where nothing is asked, nothing happens.
            let asks = |chain: &Chain| !chain.rules.is_empty() || chain.policy == Some(Policy::Drop);
            let chains =
                chains.filter(|(_, chain)| asks(chain) && chain.hook.is_some_and(|hook| hooks.contains(&hook)));
            bases.extend(chains.map(|(index, chain)| Base { table, chain, index }));
        }
        bases
    }

    fn walk(&self, hooks: &[Hook], packet: &Packet, ipv6: bool, asked: Asked) -> End {
        let run = |bases: &[Base<'_>]| {
            Evaluator::new(asked, None)
                .run(bases, Traveller::new(*packet, hooks.first() == Some(&Hook::Output)))
                .one_end()
                .0
        };
        let mut orders = orders(self.bases(hooks, ipv6), hooks).into_iter();
        let end = run(&orders.next().unwrap_or_default());
        for order in orders.filter(|_| !matches!(end, End::Undecided { .. })) {
            match run(&order) {
                // What one order leaves open is open for a reason of its own.
                open @ End::Undecided { .. } => return open,
                other if other.same(&end) => {}
                _ => {
                    let because = "the unknown order of chains at the same priority".to_owned();
                    return End::Undecided { because };
                }
            }
        }
        end
    }
}

/// Whether a match of the rule gives the packet the mark of the socket that takes it.
fn restores(rule: &Rule) -> bool {
    matches!(&rule.body, Body::Xt(rule) if rule.restores_mark())
}

/// The rule of this name, and its table.
#[must_use]
pub fn find<'a>(rulesets: &'a [Ruleset], name: &RuleRef) -> Option<(&'a Table, &'a Rule)> {
    let ruleset = rulesets.iter().find(|ruleset| ruleset.backend == name.backend && ruleset.family == name.family)?;
    let table = ruleset.table(&name.table)?;
    Some((table, table.chain(&name.chain)?.rules.get(name.number.checked_sub(1)?)?))
}
