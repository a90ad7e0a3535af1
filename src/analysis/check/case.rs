//! What every finding looks at: one workload, what is expected of it, and what packets, sockets and processes tell, worked out once.

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::net::IpAddr;

use super::Asked;
use super::people::{Person, people};
use crate::analysis::ask::Asker;
use crate::analysis::coverage::{Becomes, Coverage, Narrow, Outcome, coverage};
use crate::analysis::join::{self, Connection};
use crate::analysis::mesh::{Expected, expected, is_bystander};
use crate::analysis::observations::{self, Observation};
use crate::analysis::paths::Paths;
use crate::analysis::rulebook::SnapshotRules;
use crate::analysis::trace::{Identity, Question, Trace, Tracer, Verdict};
use crate::model::{Body, Chain, Endpoint, Protocol, RuleRef, Snapshot, Socket, SocketState, Subject, Table};
use crate::xt::{Action, Target as Xtables};

/// A place in the namespace to which rules send packets that were meant for others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Packets of IPv6.
    pub ipv6: bool,
    /// Packets that come in from outside; else those of the namespace's own processes.
    pub incoming: bool,
    /// Their protocol; `None` for all that no rule names.
    pub protocol: Option<Protocol>,
    /// The address that they are given; `None` where it is not one.
    pub address: Option<IpAddr>,
    /// The port that they are given.
    pub port: u16,
    /// The rule.
    pub rule: RuleRef,
    /// Somebody waits there, for some of them at least.
    pub received: bool,
    /// Nobody waits there, for some of them at least.
    pub refused: bool,
}

/// A workload that is judged.
pub struct Case<'a> {
    /// What was read of it.
    pub snapshot: &'a Snapshot,
    /// What was asked for beside it.
    pub asked: Asked<'a>,
    /// What is expected of it.
    pub expected: Expected,
    /// Answers where a packet goes.
    pub tracer: Tracer<'a>,
    /// Everybody who runs there.
    pub people: Vec<Person<'a>>,
    coverage: OnceCell<Coverage<'a>>,
    targets: OnceCell<Vec<Target>>,
    connections: OnceCell<Vec<Connection>>,
    observations: OnceCell<Vec<Observation>>,
    pub(super) outsides: [OnceCell<IpAddr>; 2],
    pub(super) unnamed_port: OnceCell<u16>,
    unnamed_id: OnceCell<u32>,
}

impl<'a> Case<'a> {
    /// Prepares a workload.
    #[must_use]
    pub fn of(snapshot: &'a Snapshot, asked: Asked<'a>) -> Self {
        let expected = expected(snapshot);
        let people = people(snapshot, &expected);
        Self {
            snapshot,
            asked,
            expected,
            tracer: Tracer::of(snapshot),
            people,
            coverage: OnceCell::new(),
            targets: OnceCell::new(),
            connections: OnceCell::new(),
            observations: OnceCell::new(),
            outsides: Default::default(),
            unnamed_port: OnceCell::new(),
            unnamed_id: OnceCell::new(),
        }
    }

    /// What happens to every new connection.
    #[must_use]
    pub fn coverage(&self) -> &Coverage<'a> {
        self.coverage.get_or_init(|| coverage(&self.tracer, &Narrow::default()))
    }

    /// Its sockets with their ways, listeners and all.
    #[must_use]
    pub fn connections(&self) -> &[Connection] {
        self.connections.get_or_init(|| join::connections(self.snapshot, true, &SnapshotRules::of(self.snapshot)))
    }

    /// What there is to say of this kind of its live connections.
    pub fn observed(&self, kind: observations::Kind) -> impl Iterator<Item = &Observation> {
        let all = self.observations.get_or_init(|| {
            observations::observations(self.snapshot, self.connections(), &SnapshotRules::of(self.snapshot))
        });
        all.iter().filter(move |one| one.kind == kind)
    }

    /// Where a packet goes.
    #[must_use]
    pub fn trace(&self, question: &Question) -> Trace<'a> {
        self.tracer.trace(question)
    }

    /// Every place in the namespace to which some rule sends new connections.
    #[must_use]
    pub fn targets(&self) -> &[Target] {
        self.targets.get_or_init(|| self.sent_elsewhere())
    }

    fn sent_elsewhere(&self) -> Vec<Target> {
        let mut targets: Vec<Target> = Vec::new();
        for class in &self.coverage().classes {
            for outcome in &class.outcomes {
                let given_to_nobody = self.given_to_nobody(outcome);
                let port = match (given_to_nobody, outcome.port) {
                    (Some(port), _) | (None, Becomes::Is(port)) => port,
                    _ if outcome.taken => match outcome.receivers.first() {
                        Some(socket) => socket.local.port,
                        None => continue,
                    },
                    _ => continue,
                };
                let address = if let Becomes::Is(address) = outcome.destination { Some(address) } else { None };
                let received = outcome.verdict == Verdict::Delivered;
                let refused = outcome.verdict == Verdict::Refused || given_to_nobody.is_some();
                let Some(rule) = outcome.rule.clone().filter(|_| received || refused) else { continue };
                let kind = class.kind;
                let target = Target {
                    ipv6: kind.ipv6,
                    incoming: kind.incoming,
                    protocol: kind.protocol,
                    address,
                    port,
                    rule,
                    received: false,
                    refused: false,
                };
                let at = targets.iter().position(|known| {
                    *known == Target { received: known.received, refused: known.refused, ..target.clone() }
                });
                let at = at.unwrap_or_else(|| {
                    targets.push(target);
                    targets.len() - 1
                });
                if let Some(known) = targets.get_mut(at) {
                    known.received |= received;
                    known.refused |= refused;
                }
            }
        }
        targets
    }

    /// The port at which a transparent socket was to take what a rule drops, since none waits there (xt_TPROXY.c).
    fn given_to_nobody(&self, outcome: &Outcome<'_>) -> Option<u16> {
        let (Verdict::Dropped, Some(by)) = (outcome.verdict, &outcome.rule) else { return None };
        let (_, rule) = by.find(self.snapshot.rulesets())?;
        let Body::Xt(rule) = &rule.body else { return None };
        if !matches!(rule.action, Action::Target(Xtables::Tproxy(_))) {
            return None;
        }
        self.expected.sends.iter().find(|(rule, _)| rule == by).map(|(_, port)| *port)
    }

    /// Its proxies, those in other namespaces among them.
    pub fn proxies(&self) -> impl Iterator<Item = &Person<'a>> {
        self.people.iter().filter(|person| person.proxy)
    }

    /// The processes that live in its namespace and are no proxies.
    pub fn applications(&self) -> impl Iterator<Item = &Person<'a>> {
        self.people.iter().filter(|person| !person.proxy && !person.process.elsewhere)
    }

    /// Whether all that a base chain leads to is written by programs that are no mesh.
    #[must_use]
    pub fn is_only_bystanders(&self, table: &Table, chain: &Chain) -> bool {
        let paths = Paths::of(table);
        let leads = chain.rules.iter().map(|rule| paths.leads_to(rule));
        let mut leads = leads.map(|to| !to.is_empty() && to.iter().all(|to| is_bystander(table, to)));
        is_bystander(table, &chain.name) || !chain.rules.is_empty() && leads.all(|theirs| theirs)
    }

    /// Whether a rule was written by a program that is no mesh.
    #[must_use]
    pub fn is_bystanders(&self, name: &RuleRef) -> bool {
        name.find(self.snapshot.rulesets()).is_some_and(|(table, _)| is_bystander(table, &name.chain))
    }

    /// Whether a rule stands in a chain to which only jumps lead, and from which connections are sent to the proxy.
    #[must_use]
    pub fn is_of_the_mesh(&self, name: &RuleRef) -> bool {
        let Some((table, _)) = name.find(self.snapshot.rulesets()) else { return false };
        let chain = table.chain(&name.chain);
        chain.is_some_and(|chain| chain.hook.is_none() && Paths::of(table).redirects(&chain.name))
    }

    /// Sockets that wait at a target's port, at whatever address.
    pub fn waiting_at(&self, target: &Target) -> impl Iterator<Item = &'a Socket> {
        let (port, protocol) = (target.port, target.protocol);
        let waits = move |socket: &&Socket| {
            socket.local.port == port
                && matches!(socket.state, SocketState::Listen | SocketState::Unconnected)
                && protocol.is_none_or(|protocol| protocol == socket.protocol)
        };
        self.snapshot.sockets.iter().flatten().filter(waits)
    }

    /// A number that no user or group of a rule has.
    #[must_use]
    pub fn free_id(&self) -> u32 {
        *self.unnamed_id.get_or_init(|| {
            let named = [false, true].map(|ipv6| Asker::new(self.snapshot, ipv6).named);
            let free = |id: &u32| named.iter().all(|named| named.is_free(*id));
            (70_000..80_000).find(free).unwrap_or(70_000)
        })
    }

    /// The users and groups that applications run with, each once; where none is known, one `None`: anybody.
    #[must_use]
    pub fn identities(&self) -> Vec<Option<Identity>> {
        let mut found: Vec<Option<Identity>> = Vec::new();
        for person in self.applications().filter(|person| person.identity.is_some()) {
            if !found.contains(&person.identity) {
                found.push(person.identity.clone());
            }
        }
        if found.is_empty() { vec![None] } else { found }
    }

    /// Where the workload is called from outside: the ports on which applications listen for more than themselves, and one of which no
    /// rule speaks.
    #[must_use]
    pub fn served(&self, ipv6: bool) -> Vec<Endpoint> {
        let Some(own) = self.own_address(ipv6) else { return Vec::new() };
        let waits = |socket: &&Socket| {
            socket.state == SocketState::Listen
                && socket.protocol == Protocol::Tcp
                && !socket.local.address.is_loopback()
                && (socket.local.address.is_ipv6() || !ipv6)
                && !self.owners(socket).any(|person| person.proxy || person.process.elsewhere)
        };
        let mut ports: BTreeSet<u16> =
            self.snapshot.sockets.iter().flatten().filter(waits).map(|socket| socket.local.port).collect();
        ports.insert(self.port());
        ports.into_iter().map(|port| Endpoint::new(own, port)).collect()
    }

    /// The first address by which others reach the workload.
    #[must_use]
    pub fn own_address(&self, ipv6: bool) -> Option<IpAddr> {
        let interfaces =
            self.snapshot.interfaces.iter().flatten().filter(|interface| interface.up && !interface.loopback);
        let mut addresses = interfaces.flat_map(|interface| &interface.addresses).map(|(address, _)| *address);
        addresses.find(|address| match address {
            IpAddr::V4(address) => !ipv6 && !address.is_link_local(),
            IpAddr::V6(address) => ipv6 && !address.is_unicast_link_local(),
        })
    }

    /// Who holds a socket.
    pub fn owners(&self, socket: &Socket) -> impl Iterator<Item = &Person<'a>> {
        let inode = socket.inode;
        self.people.iter().filter(move |person| inode != 0 && person.process.sockets.contains(&inode))
    }

    /// Whether the workload has an address of this family by which it reaches others; `None` where its addresses were not read.
    #[must_use]
    pub fn speaks(&self, ipv6: bool) -> Option<bool> {
        let interfaces = self.snapshot.interfaces.as_ref()?;
        let reaches = |address: &IpAddr| match address {
            IpAddr::V4(address) => !ipv6 && !address.is_loopback() && !address.is_link_local(),
            IpAddr::V6(address) => ipv6 && !address.is_loopback() && !address.is_unicast_link_local(),
        };
        let up = interfaces.iter().filter(|interface| interface.up && !interface.loopback);
        Some(up.flat_map(|interface| &interface.addresses).any(|(address, _)| reaches(address)))
    }

    /// The families that count: those that the workload speaks; where that is not known, those whose rules were read.
    #[must_use]
    pub fn families(&self) -> Vec<bool> {
        let ruled = |ipv6: bool| self.expected.family(ipv6).is_some();
        [false, true].into_iter().filter(|ipv6| self.speaks(*ipv6).unwrap_or_else(|| ruled(*ipv6))).collect()
    }

    /// Why something about these cannot be told: what of them could not be read.
    #[must_use]
    pub fn unread(&self, subjects: &[Subject]) -> Option<String> {
        let absent = |subject: &Subject| match subject {
            Subject::Rules => self.snapshot.rulesets.is_none(),
            Subject::Sockets => self.snapshot.sockets.is_none(),
            Subject::Flows => self.snapshot.flows.is_none(),
            Subject::Processes => self.snapshot.processes.is_none(),
            Subject::Interfaces => self.snapshot.interfaces.is_none(),
            Subject::Routes => self.snapshot.routes.is_none(),
            Subject::Metadata => false,
        };
        if let Some(unread) = self.snapshot.unread_about(subjects).next() {
            return Some(format!("could not read {}: {}", unread.source, unread.error));
        }
        subjects.iter().find(|subject| absent(subject)).map(|subject| format!("{} were not read", words(*subject)))
    }
}

fn words(subject: Subject) -> &'static str {
    match subject {
        Subject::Rules => "rules",
        Subject::Sockets => "sockets",
        Subject::Flows => "tracked connections",
        Subject::Processes => "processes",
        Subject::Interfaces => "interfaces",
        Subject::Routes => "routes",
        Subject::Metadata => "metadata",
    }
}
