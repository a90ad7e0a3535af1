//! Whether what rules are written for really happens: connections of a direction that some rule would send to the proxy, and what keeps
//! them from it.

use std::collections::HashSet;

use super::case::Case;
use super::going::Going;
use super::people::Person;
use crate::analysis::mesh::{Captured, Lane};
use crate::analysis::paths::Paths;
use crate::model::{Chain, Endpoint, Protocol, RuleRef, Ruleset, SocketState, Table};

/// What keeps all connections of a direction from the proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stopped {
    /// Nothing: some are sent to it at least.
    Not,
    /// No rule is written for them.
    Unwritten,
    /// A chain that chooses which are redirected stands there, and no hook leads to it: its first rule that would redirect.
    Unhooked(RuleRef),
    /// A chain that redirects stands there, and nothing leads to it: its rule.
    Unused(RuleRef),
    /// A rule leaves all of them alone before.
    By(RuleRef),
    /// A rule or a policy ends them before.
    Ended(Option<RuleRef>),
    /// Cannot be told.
    Unclear(String),
}

/// A port that an application serves, and that is not captured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uncaptured {
    /// The port, at the workload's own address.
    pub to: Endpoint,
    /// Who serves it (hostile text).
    pub who: String,
    /// The rule that leaves connections to it alone; `None` where none is written for them.
    pub rule: Option<RuleRef>,
    /// That rule, where it asks for this port.
    pub excluded: Option<RuleRef>,
}

impl Case<'_> {
    /// What the rules of a family do in a direction.
    #[must_use]
    pub fn lane(&self, ipv6: bool, incoming: bool) -> Option<&Lane> {
        let family = self.expected.family(ipv6)?;
        Some(if incoming { &family.inbound } else { &family.outbound })
    }

    /// What keeps the connections of a direction from the proxy.
    #[must_use]
    pub fn stopped(&self, ipv6: bool, incoming: bool) -> Stopped {
        let Some(lane) = self.lane(ipv6, incoming) else { return Stopped::Unwritten };
        if matches!(lane.captured, Captured::All | Captured::Some) {
            return Stopped::Not;
        }
        let goings: Vec<Going> = if incoming {
            self.served(ipv6).into_iter().map(|to| self.comes(Protocol::Tcp, to)).collect()
        } else {
            let to = Endpoint::new(self.outside(ipv6), self.port());
            self.identities().iter().map(|who| self.dials(who.as_ref(), Protocol::Tcp, to)).collect()
        };
        // What is dropped after it was sent to the proxy is told by what asks for drops.
        let sent = |going: &Going| going.is_captured() || matches!(going, Going::Ended { moved: Some(_), .. });
        if goings.iter().any(sent) {
            return Stopped::Not;
        }
        if let Some(rule) = self.without_way(ipv6, incoming) {
            return rule;
        }
        match goings.into_iter().next() {
            _ if lane.written.is_empty() => Stopped::Unwritten,
            Some(Going::Direct(Some(rule))) => Stopped::By(rule),
            Some(Going::Ended { rule, .. }) => Stopped::Ended(rule),
            Some(Going::Unclear(why)) => Stopped::Unclear(why),
            _ if lane.captured == Captured::Undecided => {
                Stopped::Unclear("the rules hang on what is not known".to_owned())
            }
            _ if lane.captured == Captured::Dropped => Stopped::Ended(None),
            _ => Stopped::Unwritten,
        }
    }

    /// A chain that leads to a redirect of this direction, and to which nothing leads.
    fn without_way(&self, ipv6: bool, incoming: bool) -> Option<Stopped> {
        let lane = self.lane(ipv6, incoming)?;
        let mut unused = None;
        for (ruleset, table) in self.tables(ipv6) {
            let paths = Paths::of(table);
            let called: HashSet<&str> =
                table.chains.iter().flat_map(|chain| &chain.rules).flat_map(|rule| paths.leads_to(rule)).collect();
            let alone = |chain: &&Chain| chain.hook.is_none() && !called.contains(chain.name.as_str());
            for chain in table.chains.iter().filter(alone).filter(|chain| paths.redirects(&chain.name)) {
                let sends = |at: usize| {
                    self.expected.sends.iter().find(|(rule, port)| {
                        rule.table == table.name
                            && rule.chain == chain.name
                            && rule.number == at + 1
                            && lane.written.contains(port)
                    })
                };
                // One that redirects by itself chooses nothing: whoever left it out may have meant to.
                let own = (0..chain.rules.len()).find(|at| sends(*at).is_some());
                if let Some(at) = own {
                    unused = unused.or(Some(Stopped::Unused(named(ruleset, table, chain, at))));
                    continue;
                }
                let leads = |rule: &crate::model::Rule| {
                    paths.leads_to(rule).into_iter().any(|to| {
                        self.expected.sends.iter().any(|(rule, port)| {
                            rule.table == table.name && rule.chain == to && lane.written.contains(port)
                        })
                    })
                };
                if let Some(at) = chain.rules.iter().position(leads) {
                    return Some(Stopped::Unhooked(named(ruleset, table, chain, at)));
                }
            }
        }
        unused
    }

    /// Ports that applications serve, and that are not captured where others are.
    #[must_use]
    pub fn uncaptured(&self) -> Vec<Uncaptured> {
        let mut found: Vec<Uncaptured> = Vec::new();
        for ipv6 in self.families() {
            let captures = |lane: &Lane| matches!(lane.captured, Captured::All | Captured::Some);
            if !self.lane(ipv6, true).is_some_and(captures) {
                continue;
            }
            for to in self.served(ipv6) {
                let known = found.iter().any(|known| known.to.port == to.port);
                let Going::Direct(rule) = self.comes(Protocol::Tcp, to) else { continue };
                let owners = self.snapshot.sockets.iter().flatten();
                let mut owners =
                    owners.filter(|socket| socket.state == SocketState::Listen && socket.local.port == to.port);
                let Some(socket) = owners.next().filter(|_| !known) else { continue };
                let who = self.owners(socket).next().map_or_else(|| "somebody".to_owned(), Person::words);
                // What leaves the other ports alone too does not name this one.
                let other = self.comes(Protocol::Tcp, Endpoint { port: self.port(), ..to });
                let excluded = rule.clone().filter(|_| other != Going::Direct(rule.clone()));
                found.push(Uncaptured { to, who, rule, excluded });
            }
        }
        found
    }

    /// The tables that packets of a family may meet.
    pub fn tables(&self, ipv6: bool) -> impl Iterator<Item = (&Ruleset, &Table)> {
        let seen = move |ruleset: &&Ruleset| ruleset.family.sees(ipv6);
        let rulesets = self.snapshot.rulesets().iter().filter(seen);
        rulesets
            .flat_map(|ruleset| ruleset.tables.iter().filter(|table| !table.dormant).map(move |table| (ruleset, table)))
    }
}

/// The name of a rule by its place in its chain, counted from 0.
#[must_use]
pub fn named(ruleset: &Ruleset, table: &Table, chain: &Chain, at: usize) -> RuleRef {
    RuleRef {
        backend: ruleset.backend,
        family: ruleset.family,
        table: table.name.clone(),
        chain: chain.name.clone(),
        number: at + 1,
    }
}
