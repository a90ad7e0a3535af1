//! What the rules of a hook, or of several, do to a packet: left alone, redirected, dropped, or undecided with the reason.
//!
//! It follows a packet through the base chains of a hook by priority; the first translation binds, later chains see its result.
//! Routing is not its business, nor what comes after the hooks that it is given.

mod blind;
pub(super) mod flood;
mod ground;
mod headers;
mod index;
mod journey;
mod leads;
mod line;
mod lookups;
mod order;
mod path;
mod reached;
mod sockets;
mod translation;
mod traveller;
mod unmatched;
mod wakes;
mod walk;
mod ways;

use std::cell::{OnceCell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::rc::Rc;

pub use ground::Ground;
pub use journey::Routed;
use journey::Way;
use line::{Does, Line, Making};
use order::orders;
pub use path::{Met, Path, Place};
use reached::Reached;
pub use sockets::{Sockets, Taken};
pub use traveller::Belongs;
use traveller::Traveller;
use wakes::wakes;
use walk::{Asked, Base, DEPTH, Evaluator};
pub use ways::{Doubt, Every, Gone};

use super::ipsets::IpSets;
use super::paths::Paths;
use crate::model::{Chain, Hook, Policy, Rule, RuleRef, Ruleset, Snapshot, Table};
use crate::packet::{Condition, DeviceName, Packet};
use crate::xt::{self, Action};

/// What becomes of the packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End<R = RuleRef> {
    /// No rule sends it elsewhere; `by` is the RETURN or ACCEPT that took it out of a chain that redirects.
    Untouched {
        /// The rule that left it alone.
        by: Option<R>,
    },
    /// A rule sends it elsewhere.
    Redirected {
        /// That rule.
        by: R,
        /// Where to.
        to: Target,
    },
    /// A rule or policy ends it.
    Dropped {
        /// That rule; `None` for a policy.
        by: Option<R>,
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

impl<R: PartialEq> End<R> {
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

impl End<Place> {
    /// The same with the rules' names.
    fn named(self, rules: &Rulebase<'_>) -> End {
        let name = |by: Place| rules.at(by).and_then(|at| at.name());
        match self {
            Self::Untouched { by } => End::Untouched { by: by.and_then(name) },
            Self::Dropped { by } => End::Dropped { by: by.and_then(name) },
            Self::Undecided { because } => End::Undecided { because },
            Self::Redirected { by, to } => match name(by) {
                Some(by) => End::Redirected { by, to },
                None => End::Undecided { because: "a rule that is there no more".to_owned() },
            },
        }
    }
}

/// What is not known where chains stand at the same priority (K5).
pub(super) const ORDER: &str = "the unknown order of chains at the same priority";

/// Rules looked at to find those that tell by several properties at once.
const STEPS: u32 = 5_000;

/// The rules of a snapshot, prepared for many questions: what each rule asks, and chains by name.
#[derive(Debug)]
pub struct Rulebase<'a> {
    tables: Vec<Prepared<'a>>,
    /// Whether connections of IPv4 and of IPv6 are tracked, once that was asked.
    tracks: [OnceCell<Option<bool>>; 2],
    /// Rules of all tables.
    size: u32,
    /// The orders of chains for hooks and family, once they were asked for.
    orders: RefCell<Vec<(Entered, Rc<Vec<Order>>)>>,
}

/// Hooks in the order of a way, and whether packets of IPv6 pass them.
type Entered = (Vec<Hook>, bool);

/// Base chains by the places of their tables and of themselves.
type Order = Vec<(usize, usize)>;

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
    number: u32,
    ruleset: &'a Ruleset,
    table: &'a Table,
    sets: Rc<IpSets<'a>>,
    by_name: HashMap<&'a str, usize>,
    /// For each chain its rules, once a packet came to it.
    lines: Vec<OnceCell<Line>>,
    /// For each chain whether it leads to a redirect, once that was asked.
    redirecting: OnceCell<Vec<bool>>,
    /// Whether some rule asks for sockets, once that was asked.
    sockets: OnceCell<bool>,
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
        let (rulesets, sets) = (snapshot.rulesets(), Rc::new(IpSets::of(snapshot)));
        let tables = rulesets.iter().flat_map(|ruleset| ruleset.tables.iter().map(move |table| (ruleset, table)));
        let prepare = |(number, (ruleset, table)): (u32, (&'a Ruleset, &'a Table))| Prepared {
            number,
            ruleset,
            table,
            sets: Rc::clone(&sets),
            by_name: table.chains.iter().enumerate().map(|(index, chain)| (chain.name.as_str(), index)).collect(),
            lines: table.chains.iter().map(|_| OnceCell::new()).collect(),
            redirecting: OnceCell::new(),
            sockets: OnceCell::new(),
        };
        let size = rulesets.iter().map(Ruleset::rule_count).sum::<usize>();
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        Self {
            tables: (0..).zip(tables).map(prepare).collect(),
            tracks: Default::default(),
            size,
            orders: RefCell::default(),
        }
    }

    /// How many rules there are, each element of a map that a rule looks into counted as one.
    pub(super) fn count(&self) -> usize {
        let lines = self.tables.iter().flat_map(Prepared::all_lines);
        lines.map(|(chain, line)| (0..chain.rules.len()).map(|at| line.count(chain, at).max(1)).sum::<usize>()).sum()
    }

    /// Calls `each` with every rule that packets of the family can meet and that is understood.
    pub(super) fn each(&self, ipv6: bool, mut each: impl FnMut(&xt::Rule, &Condition)) {
        for prepared in self.tables.iter().filter(|table| table.ruleset.family.sees(ipv6) && !table.table.dormant) {
            for (chain, line) in prepared.all_lines() {
                let made = prepared.making(chain);
                let all = (0..chain.rules.len()).flat_map(|at| line.all(chain, at));
                for does in all.filter(|does| does.ipv6.is_none_or(|only| only == ipv6)) {
                    each(does.rule, &made.condition(does));
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
                    let Some((rules, line)) = prepared.line(chain) else { continue };
                    let made = prepared.making(rules);
                    let all = (0..rules.rules.len()).flat_map(|at| line.all(rules, at).map(move |does| (at, does)));
                    for (at, does) in all {
                        if steps == 0 {
                            return false;
                        }
                        steps -= 1;
                        let fitting = fit(&made.condition(does), &packet).filter(|_| does.unread.is_none());
                        let Some(made) = fitting else { continue };
                        match does.rule.jumps_to().and_then(|to| prepared.by_name.get(to)) {
                            Some(to) if depth < DEPTH => waiting.push_back((*to, made, depth + 1)),
                            Some(_) => {}
                            None => each(&Reached { base, chain, at }.name(), &made),
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
        let (hooks, traveller) = (Self::hooks(start), || self.traveller(start, ground));
        let orders = self.orders(hooks, start.ipv6);
        let mut orders = orders.iter();
        let run = |order: &Order| {
            Evaluator::new(Asked::EveryEnd, ground, self.size).asking(sockets).run(&self.in_order(order), traveller())
        };
        let first = run(orders.next().unwrap_or(&Order::new()));
        let doubt = || Doubt { rule: None, why: ORDER.to_owned() };
        let several = orders.len() > 0;
        let every = orders.fold(first, |ways, order| ways.or(run(order), doubt)).every();
        let told = every.doubts.iter().any(|doubt| doubt.rule.is_none() && doubt.why == ORDER);
        Every { same_in_any_order: several && !told, ..every }
    }

    /// The hooks in the order in which a packet may meet them.
    fn hooks(start: &Start) -> &'static [Hook] {
        const OUT: [Hook; 6] =
            [Hook::Output, Hook::Postrouting, Hook::Egress, Hook::Ingress, Hook::Prerouting, Hook::Input];
        const IN: [Hook; 6] =
            [Hook::Ingress, Hook::Prerouting, Hook::Input, Hook::Forward, Hook::Postrouting, Hook::Egress];
        if start.incoming { &IN } else { &OUT }
    }

    /// A packet before its first hook.
    fn traveller(&self, start: &Start, ground: Option<&Ground<'_>>) -> Traveller {
        let mut traveller = Traveller::new(start.packet, !start.incoming).traced();
        if ground.is_some() && !start.incoming {
            traveller.way = Way::Unsent;
        }
        (traveller.bound, traveller.belongs, traveller.bare) = (start.bound, start.belongs, start.bare);
        traveller.tracked = self.tracks(start.ipv6) != Some(false);
        traveller
    }

    /// Whether some rule makes the kernel track connections of a family (K22); `None` where that hangs on one that is not understood.
    #[must_use]
    pub fn tracks(&self, ipv6: bool) -> Option<bool> {
        let [of_ipv4, of_ipv6] = &self.tracks;
        *if ipv6 { of_ipv6 } else { of_ipv4 }.get_or_init(|| {
            let mut unknown = false;
            let tables = self.tables.iter().filter(|table| table.ruleset.family.sees(ipv6));
            for (chain, line) in tables.flat_map(Prepared::all_lines) {
                for does in (0..chain.rules.len()).flat_map(|at| line.all(chain, at)) {
                    match wakes(does, ipv6) {
                        Some(true) => return Some(true),
                        Some(false) => {}
                        None => unknown = true,
                    }
                }
            }
            (!unknown).then_some(false)
        })
    }

    /// The rule at this place, or the chain whose policy it is.
    #[must_use]
    pub fn at(&self, place: Place) -> Option<At<'a>> {
        let prepared = self.tables.get(place.table as usize)?;
        let chain = prepared.table.chains.get(place.chain as usize)?;
        let rule = place.rule.and_then(|at| Some((at as usize + 1, chain.rules.get(at as usize)?)));
        Some(At { ruleset: prepared.ruleset, table: prepared.table, chain, rule })
    }

    /// Whether the rule at this place tells the sender of what it drops.
    #[must_use]
    pub fn rejects(&self, place: Place) -> bool {
        let found = self.tables.get(place.table as usize).and_then(|table| table.line(place.chain as usize));
        let (Some((chain, line)), Some(at)) = (found, place.rule) else { return false };
        let rejects = |action: &Action| matches!(action, Action::Target(xt::Target::Reject(_)));
        line.all(chain, at as usize).flat_map(Does::actions).any(rejects)
    }

    /// The orders in which packets of a family may meet the base chains of these hooks.
    fn orders(&self, hooks: &[Hook], ipv6: bool) -> Rc<Vec<Order>> {
        let mut known = self.orders.borrow_mut();
        if let Some((_, orders)) = known.iter().find(|((of, family), _)| of == hooks && *family == ipv6) {
            return Rc::clone(orders);
        }
        let places = |order: Vec<Base<'_>>| order.iter().map(|base| (base.table.number as usize, base.index)).collect();
        let orders = Rc::new(orders(self.bases(hooks, ipv6), hooks).into_iter().map(places).collect());
        known.push(((hooks.to_vec(), ipv6), Rc::clone(&orders)));
        orders
    }

    fn in_order(&self, order: &Order) -> Vec<Base<'_>> {
        let base = |(table, index): &(usize, usize)| {
            let table = self.tables.get(*table)?;
            Some(Base { table, chain: table.table.chains.get(*index)?, index: *index })
        };
        order.iter().filter_map(base).collect()
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
        let run = |order: &Order| {
            Evaluator::new(asked, None, self.size)
                .run(&self.in_order(order), Traveller::new(*packet, hooks.first() == Some(&Hook::Output)))
                .one_end()
                .0
        };
        let orders = self.orders(hooks, ipv6);
        let mut orders = orders.iter();
        let end = run(orders.next().unwrap_or(&Order::new()));
        for order in orders.filter(|_| !matches!(end, End::Undecided { .. })) {
            match run(order) {
                // What one order leaves open is open for a reason of its own.
                open @ End::Undecided { .. } => return open.named(self),
                other if other.same(&end) => {}
                _ => {
                    let because = ORDER.to_owned();
                    return End::Undecided { because };
                }
            }
        }
        end.named(self)
    }
}

impl<'a> Prepared<'a> {
    /// A chain and its rules.
    fn line(&self, index: usize) -> Option<(&'a Chain, &Line)> {
        let chain = self.table.chains.get(index)?;
        let line = self.lines.get(index)?.get_or_init(|| Line::of(self.ruleset.family, self.table, chain));
        Some((chain, line))
    }

    fn all_lines(&self) -> impl Iterator<Item = (&'a Chain, &Line)> {
        (0..self.lines.len()).filter_map(|index| self.line(index))
    }

    /// The name of a rule, by places from 0.
    fn name_of(&self, chain: usize, at: usize) -> Option<RuleRef> {
        let chain = self.table.chains.get(chain)?;
        Some(RuleRef {
            backend: self.ruleset.backend,
            family: self.ruleset.family,
            table: self.table.name.clone(),
            chain: chain.name.clone(),
            number: at + 1,
        })
    }

    /// What its chains are made ready with.
    fn making<'m>(&'m self, chain: &'m Chain) -> Making<'m> {
        Making { sets: &self.sets, family: self.ruleset.family, chain, by_name: &self.by_name }
    }

    /// Whether a packet that enters the chain may be redirected.
    fn redirects(&self, chain: usize) -> bool {
        let redirecting = self.redirecting.get_or_init(|| {
            let paths = Paths::of(self.table);
            self.table.chains.iter().map(|chain| paths.redirects(&chain.name)).collect()
        });
        redirecting.get(chain).copied().unwrap_or_default()
    }
}
