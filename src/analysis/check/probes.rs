//! The kubelet's probes of a workload whose proxy is the node's: from which address they come, and whether that one is let through.

use std::net::IpAddr;

use super::case::Case;
use super::going::Going;
use crate::analysis::native::{Branch, branches};
use crate::analysis::trace::{Outcome, Question, Tracer};
use crate::model::{Body, Endpoint, Hook, Protocol, Rule, RuleRef, Ruleset, Snapshot, Table};
use crate::nft;
use crate::packet::{Known, state};
use crate::xt::{self, Action, Effect};

/// How the node's own calls come to the workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// Past the proxy, or nothing that comes in is captured.
    Passes,
    /// The node gives them this address, and the workload captures that one too.
    Unknown(IpAddr, Option<RuleRef>),
    /// No rule of the node gives them an address that the workload lets through.
    Plain(IpAddr),
    /// A rule of the node would, and this other rule is faster; `None` for what cannot be named.
    Outranked {
        /// The address that they keep, or get.
        source: IpAddr,
        /// The rule that would give the right one.
        wanted: RuleRef,
        /// The rule that comes before.
        by: Option<RuleRef>,
    },
    /// A rule of the node would, and its set has not the workload's address.
    NotInSet {
        /// The rule.
        wanted: RuleRef,
        /// The sets that it asks.
        sets: Vec<String>,
    },
    /// The node's rules were not read.
    NotRead,
    /// Cannot be told.
    Unclear(String),
}

/// A rule of the node that gives packets another source.
struct Gives<'n> {
    name: RuleRef,
    address: IpAddr,
    rule: &'n Rule,
}

impl Case<'_> {
    /// How a call of the node's own to one of the workload's ports comes in; `None` where the workload has no address of the family.
    #[must_use]
    pub fn probe(&self, ipv6: bool) -> Option<Probe> {
        let to = self.served(ipv6).into_iter().next()?;
        if !self.comes(Protocol::Tcp, to).is_captured() {
            return Some(Probe::Passes);
        }
        let Some(node) = self.snapshot.node_state.as_deref().filter(|node| node.rulesets.is_some()) else {
            return Some(Probe::NotRead);
        };
        Some(match sources(node, to) {
            Err(why) => Probe::Unclear(why),
            Ok(source) => self.probed(node, to, source),
        })
    }

    fn probed(&self, node: &Snapshot, to: Endpoint, source: IpAddr) -> Probe {
        let rule = match self.comes_from(source, to) {
            Going::Proxy { rule, .. } => rule,
            Going::Unclear(why) => return Probe::Unclear(why),
            _ => return Probe::Passes,
        };
        let gives = gives(node, to.address.is_ipv6());
        let Some(right) = gives.iter().find(|one| !self.comes_from(one.address, to).is_captured()) else {
            // Rules that publish ports or hide networks are no rules for probes.
            let meant = gives.iter().any(|one| one.address == source) && !is_of(node, source);
            return if meant { Probe::Unknown(source, rule) } else { Probe::Plain(source) };
        };
        let sets = sets(right.rule);
        let held = with_member(node, &sets, to.address);
        if sources(&held, to) == Ok(right.address) {
            return Probe::NotInSet { wanted: right.name.clone(), sets };
        }
        Probe::Outranked { source, wanted: right.name.clone(), by: bound_by(&held, to) }
    }

    /// Where a connection goes that comes in from outside, from this address.
    fn comes_from(&self, source: IpAddr, to: Endpoint) -> Going {
        self.going(&Question { incoming: true, source: Some(source), state: Some(state::NEW), ..Question::to(to) })
    }
}

/// The kubelet's call as the node sends it.
fn call(node: &Snapshot, to: Endpoint) -> Question {
    let kubelet = node.processes.iter().flatten().find(|process| process.name == "kubelet");
    let (uid, gid) = kubelet.map_or((0, 0), |process| (process.uid, process.gid));
    Question { uid: Some(uid), gid: Some(gid), groups: Some(Vec::new()), state: Some(state::NEW), ..Question::to(to) }
}

/// The address from which the node's own calls come when they leave it.
fn sources(node: &Snapshot, to: Endpoint) -> Result<IpAddr, String> {
    let tracer = Tracer::of(node);
    let mut question = call(node, to);
    // Its own source first: what rules make of an address that is not known is not known either.
    if let Known::Is(own) = tracer.trace(&question).packet.source {
        question.source = Some(own);
    }
    let trace = tracer.trace(&question);
    let source = |outcome: &Outcome<'_>| match (outcome.lost, outcome.packet.source) {
        (Some(_), _) => Err("the node has no route to it".to_owned()),
        (None, Known::Is(source)) => Ok(source),
        _ => Err(outcome.why.clone().unwrap_or_else(|| "from which address the node calls".to_owned())),
    };
    let mut found = trace.outcomes.iter().map(source);
    let first = found.next().unwrap_or_else(|| Err("nothing came of it".to_owned()));
    if found.all(|other| other == first) {
        return first;
    }
    Err(trace.doubts.last().map_or_else(|| "several things".to_owned(), |doubt| doubt.why.clone()))
}

/// The rule of the node that settles the source of its calls, or lets them through before.
fn bound_by(node: &Snapshot, to: Endpoint) -> Option<RuleRef> {
    let tracer = Tracer::of(node);
    let trace = tracer.trace(&call(node, to));
    let met = trace.outcomes.first()?.met.iter().filter(|met| met.hook == Hook::Postrouting && met.matched);
    let ends = met.filter_map(|met| tracer.rules().at(met.place)).filter(|at| {
        let nat = at.chain.kind.as_deref() == Some("nat") || at.table.name == "nat";
        nat && at.rule.is_some_and(|(_, rule)| {
            branches(at.ruleset.family, at.table, rule).iter().flat_map(Branch::actions).any(settles)
        })
    });
    ends.filter_map(|at| at.name()).next()
}

fn settles(action: &Action) -> bool {
    match action {
        Action::Accept | Action::Return => true,
        Action::Target(target) => {
            matches!(target.effect(), Effect::Source(_) | Effect::OutgoingSource(_) | Effect::Network { .. })
        }
        _ => false,
    }
}

/// Rules of the node that give packets one other source.
fn gives(node: &Snapshot, ipv6: bool) -> Vec<Gives<'_>> {
    let tables = node.rulesets().iter().filter(|ruleset| ruleset.family.sees(ipv6));
    let tables = tables.flat_map(|ruleset| ruleset.tables.iter().map(move |table| (ruleset, table)));
    tables.filter(|(_, table)| !table.dormant).flat_map(|(ruleset, table)| of_table(ruleset, table, ipv6)).collect()
}

fn of_table<'n>(ruleset: &'n Ruleset, table: &'n Table, ipv6: bool) -> Vec<Gives<'n>> {
    let mut found = Vec::new();
    for chain in &table.chains {
        for (at, rule) in chain.rules.iter().enumerate() {
            let all = branches(ruleset.family, table, rule);
            let address = all.iter().flat_map(Branch::actions).find_map(|action| match action {
                Action::Target(target) => match target.effect() {
                    Effect::Source(range) => range.addresses.map(|(first, _)| first),
                    _ => None,
                },
                _ => None,
            });
            if let Some(address) = address.filter(|address| address.is_ipv6() == ipv6) {
                found.push(Gives { name: super::named(ruleset, table, chain, at), address, rule });
            }
        }
    }
    found
}

/// The sets that a rule asks.
fn sets(rule: &Rule) -> Vec<String> {
    match &rule.body {
        Body::Xt(body) => body.set_names().into_iter().map(str::to_owned).collect(),
        Body::Nft(native) => {
            let asked = native.expressions.iter().filter_map(|part| match part {
                nft::Expression::Lookup { set, .. } => Some(set.clone()),
                _ => None,
            });
            asked.collect()
        }
    }
}

/// The node as it would be were this address in these sets.
fn with_member(node: &Snapshot, sets: &[String], address: IpAddr) -> Snapshot {
    let mut node = node.clone();
    let family = if address.is_ipv6() { 10 } else { 2 };
    for set in node.ipsets.iter_mut().filter(|set| set.family == family && sets.contains(&set.name)) {
        let entry = xt::ipset::Entry { address: Some(address), ..xt::ipset::Entry::default() };
        set.elements.get_or_insert_default().push(entry);
    }
    let bytes = match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let tables = node.rulesets.iter_mut().flatten().flat_map(|ruleset| &mut ruleset.tables);
    for set in tables.flat_map(|table| &mut table.sets).filter(|set| sets.contains(&set.name)) {
        if set.key_length as usize == bytes.len() {
            set.elements.push(nft::Element { key: bytes.clone(), ..nft::Element::default() });
        }
    }
    node
}

/// Whether an address is the node's.
fn is_of(node: &Snapshot, address: IpAddr) -> bool {
    node.is_local(address) || node.node_addresses.contains(&address)
}
