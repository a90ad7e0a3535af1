//! Where queries for names go that somebody of the workload might ask, and in which zones of tracking they travel.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::capture::Stopped;
use super::case::Case;
use crate::analysis::ask::Asker;
use crate::analysis::mesh::{Setting, Stated, Variant, is_bystander};
use crate::analysis::native::{Branch, branches};
use crate::analysis::trace::{Identity, Outcome, Question, Verdict};
use crate::model::{Endpoint, Hook, Protocol, Resolver, RuleRef, Socket, SocketState, Subject};
use crate::packet::{Field, Known, state};
use crate::xt::{Action, Effect};

/// The port of DNS.
pub const DOMAIN: u16 = 53;
/// The port that the made-up queries come from.
const FROM: u16 = 40_002;
/// Name servers that the C library asks (`MAXNS`).
const NAMESERVERS: usize = 3;
/// The bystander that answers names in containers.
const DOCKER: &str = "Docker's embedded DNS";

/// What becomes of a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Query {
    /// A rule for DNS sends it elsewhere than it was asked.
    Captured {
        /// Where to; `None` where that is not one place.
        to: Option<Endpoint>,
        /// The rule.
        rule: Option<RuleRef>,
        /// Somebody waits there; `None` where it leaves the namespace, and where that is not known.
        received: Option<bool>,
    },
    /// It goes to the proxy as any other connection does, not to what answers names.
    Proxied(Option<RuleRef>),
    /// A program that is no mesh sends it there.
    Foreign(Option<Endpoint>, Option<RuleRef>),
    /// It goes to whom it was asked; by the rule that leaves it alone, where one does.
    Direct(Option<RuleRef>),
    /// It is dropped or rejected, or no route leads there.
    Ended,
    /// Cannot be told, and why.
    Unclear(String),
}

/// A resolver that programs of the workload ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asks {
    /// The resolver.
    pub resolver: IpAddr,
    /// What names it (hostile text).
    pub by: String,
}

/// A query that an application would send.
#[derive(Debug, Clone)]
pub struct Lookup {
    /// To whom.
    pub asks: Asks,
    /// UDP or TCP.
    pub protocol: Protocol,
    /// What becomes of it.
    pub query: Query,
}

/// In which zone the tracking of a packet begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ZoneOf {
    /// In this one; by this rule, where one gives it.
    Is(u16, Option<RuleRef>),
    /// Cannot be told.
    Unclear,
}

impl Asks {
    /// The resolver; one that only stands for all is not named.
    #[must_use]
    pub fn whom(&self, case: &Case<'_>) -> String {
        match self.resolver == case.outside(self.resolver.is_ipv6()) {
            true => "any resolver".to_owned(),
            false => self.resolver.to_string(),
        }
    }
}

impl Lookup {
    /// `UDP to 10.96.0.10 (resolv.conf of container app)`. Not escaped.
    #[must_use]
    pub fn words(&self) -> String {
        let protocol = if self.protocol == Protocol::Tcp { "TCP" } else { "UDP" };
        format!("{protocol} to {} ({})", Endpoint::new(self.asks.resolver, DOMAIN), self.asks.by)
    }
}

impl Case<'_> {
    /// Why queries are expected to be captured: metadata, a rule or a listener says so; `None` where nothing does.
    #[must_use]
    pub fn wants_dns(&self) -> Option<String> {
        let expected = &self.expected;
        expected.mesh?;
        let stated = || expected.stated.iter().filter(|stated| stated.setting == Setting::Dns);
        if let Some(said) = stated().find(|stated| stated.switch().is_some()) {
            return Stated::switch(said)?.then(|| format!("{} is {}", said.from, said.value));
        }
        if let Some(dns) = expected.families.iter().find_map(|family| family.dns.as_ref()) {
            return Some(format!("{} captures queries", dns.rule));
        }
        if let Some(rule) = expected.dns_zones.first() {
            return Some(format!("{rule} gives queries a zone of tracking of their own"));
        }
        let listener = self.name_servers().next().filter(|_| expected.variant == Some(Variant::Sidecar))?;
        Some(format!("the proxy waits for queries at {}", listener.local))
    }

    /// Sockets at which the proxy waits for queries of the workload alone: both over UDP and over TCP, on loopback.
    pub fn name_servers(&self) -> impl Iterator<Item = &Socket> {
        let sockets = || self.snapshot.sockets.iter().flatten();
        let proxys = |socket: &Socket| self.owners(socket).any(|person| person.proxy);
        sockets().filter(move |socket| {
            let twin = |other: &Socket| {
                other.protocol == Protocol::Tcp && other.state == SocketState::Listen && other.local == socket.local
            };
            let own = socket.is_unconnected() && socket.local.address.is_loopback() && socket.local.port != 0;
            own && proxys(socket) && sockets().any(twin)
        })
    }

    /// Ports of the namespace to which rules send queries.
    #[must_use]
    pub fn dns_ports(&self) -> BTreeSet<u16> {
        let captured = self.expected.families.iter().filter_map(|family| family.dns.as_ref());
        captured.map(|dns| dns.port.unwrap_or(DOMAIN)).collect()
    }

    /// Whom the applications ask, each once; `None` where that was not read.
    #[must_use]
    pub fn resolvers(&self) -> Option<Vec<Asks>> {
        let snapshot = self.snapshot;
        let proxys = |name: &str| {
            let runs = |person: &super::Person<'_>| person.process.container.as_deref() == Some(name);
            self.expected.proxy_containers.contains(&name) || self.proxies().any(runs)
        };
        let own = snapshot.resolvers.iter().filter(|(name, _)| !proxys(name));
        let mut read: Vec<(String, &Resolver)> =
            own.map(|(name, resolver)| (format!("resolv.conf of container {name}"), resolver)).collect();
        if read.is_empty() {
            read.extend(snapshot.resolver.iter().map(|resolver| ("its resolv.conf".to_owned(), resolver)));
        }
        if read.is_empty() {
            return None;
        }
        let mut found: Vec<Asks> = Vec::new();
        for (by, resolver) in read {
            for address in addresses(resolver) {
                if found.iter().all(|known| known.resolver != address) {
                    found.push(Asks { resolver: address, by: by.clone() });
                }
            }
        }
        Some(found)
    }

    /// What becomes of the queries of applications: over UDP and TCP, to each of their resolvers. Those to Docker's are left out, and
    /// those of a family that is lost as a whole, which has a finding of its own.
    #[must_use]
    pub fn lookups(&self, resolvers: &[Asks]) -> Vec<Lookup> {
        let mut found = Vec::new();
        let judged: Vec<bool> = self.families().into_iter().filter(|ipv6| self.judges_dns(*ipv6)).collect();
        let of = |asks: &&Asks| judged.contains(&asks.resolver.is_ipv6()) && !self.is_dockers(asks.resolver);
        for asks in resolvers.iter().filter(of) {
            for protocol in [Protocol::Udp, Protocol::Tcp] {
                let mut queries: Vec<Query> = Vec::new();
                for who in self.askers() {
                    let query = self.asks(who.as_ref(), protocol, asks.resolver);
                    if !queries.contains(&query) {
                        queries.push(query);
                    }
                }
                let lookup = |query| Lookup { asks: asks.clone(), protocol, query };
                found.extend(queries.into_iter().map(lookup));
            }
        }
        found
    }

    /// The users and groups of those who ask: of all applications but those that answer names themselves.
    fn askers(&self) -> Vec<Option<Identity>> {
        let at_port = |socket: &&Socket| socket.local.port == DOMAIN && socket.is_unconnected();
        let sockets = self.snapshot.sockets.iter().flatten().filter(at_port);
        let answer: Vec<Option<Identity>> =
            sockets.flat_map(|socket| self.owners(socket).map(|person| person.identity.clone())).collect();
        let mut askers = self.identities();
        if askers.iter().any(|who| !answer.contains(who)) {
            askers.retain(|who| !answer.contains(who));
        }
        askers
    }

    /// Whether queries of a family are judged: not where something else keeps all of its connections from the proxy.
    fn judges_dns(&self, ipv6: bool) -> bool {
        match self.stopped(ipv6, false) {
            Stopped::Not => true,
            Stopped::Unwritten => self.stopped(!ipv6, false) != Stopped::Not,
            _ => false,
        }
    }

    /// Whether this is the resolver that Docker puts into its containers.
    #[must_use]
    pub fn is_dockers(&self, resolver: IpAddr) -> bool {
        resolver.is_loopback() && self.expected.bystanders.contains(DOCKER)
    }

    /// What becomes of a query of somebody with these users and groups; of anybody where that is not told.
    #[must_use]
    pub fn asks(&self, who: Option<&Identity>, protocol: Protocol, resolver: IpAddr) -> Query {
        self.asks_as(&self.query(who, 0, protocol, resolver), resolver)
    }

    /// What becomes of this query.
    #[must_use]
    pub fn asks_as(&self, question: &Question, resolver: IpAddr) -> Query {
        let trace = self.trace(question);
        let mut ends = trace.outcomes.iter().map(|outcome| self.query_end(resolver, outcome));
        let Some(first) = ends.next() else { return Query::Unclear("nothing came of it".to_owned()) };
        if ends.all(|end| end == first) {
            return first;
        }
        let why = trace.doubts.last().map_or("several things", |doubt| doubt.why.as_str());
        Query::Unclear(format!("it hangs on {why}"))
    }

    /// The first packet of a query.
    #[must_use]
    pub fn query(&self, who: Option<&Identity>, mark: u32, protocol: Protocol, resolver: IpAddr) -> Question {
        let (uid, gid, groups) = match who {
            Some(who) => (who.uid, who.gid, who.groups.clone()),
            None => {
                let named = Asker::new(self.snapshot, resolver.is_ipv6()).named;
                (named.unnamed_id(Field::Uid), named.unnamed_id(Field::Gid), Vec::new())
            }
        };
        Question {
            protocol,
            mark,
            uid: Some(uid),
            gid: Some(gid),
            groups: Some(groups),
            source_port: Some(FROM),
            state: Some(state::NEW),
            ..Question::to(Endpoint::new(resolver, DOMAIN))
        }
    }

    fn query_end(&self, resolver: IpAddr, outcome: &Outcome<'_>) -> Query {
        let packet = &outcome.packet;
        let rule = outcome.rule.clone();
        let received = match outcome.verdict {
            _ if outcome.lost.is_some() => return Query::Ended,
            // Where it goes is known, and who waits there is not.
            Verdict::Undecided if rule.is_some() && self.unread(&[Subject::Sockets]).is_some() => None,
            Verdict::Undecided => {
                return Query::Unclear(outcome.why.clone().unwrap_or_else(|| "it cannot be decided".to_owned()));
            }
            Verdict::Dropped | Verdict::Rejected => return Query::Ended,
            Verdict::Delivered => Some(true),
            Verdict::Refused => Some(false),
            Verdict::Sent => None,
        };
        let to = match (packet.destination, packet.destination_port) {
            _ if outcome.taken => outcome.receivers.first().map(|socket| socket.local),
            (Known::Is(address), Known::Is(port)) => Some(Endpoint::new(address, port)),
            _ => None,
        };
        if !outcome.taken && to == Some(Endpoint::new(resolver, DOMAIN)) {
            return Query::Direct(rule);
        }
        let connection = packet.protocol == Known::Is(Protocol::Tcp.number());
        let of_rule = |of: &RuleRef| of.find(self.snapshot.rulesets()).map(|(table, _)| table);
        match &rule {
            Some(by) if connection && self.expected.sends.iter().any(|(sends, _)| sends == by) => Query::Proxied(rule),
            Some(by) if of_rule(by).is_some_and(|table| is_bystander(table, &by.chain)) => Query::Foreign(to, rule),
            _ => Query::Captured { to, rule, received },
        }
    }

    /// The zone in which the tracking of a packet begins: the first template counts.
    #[must_use]
    pub fn zone(&self, question: &Question) -> ZoneOf {
        let hook = if question.incoming { Hook::Prerouting } else { Hook::Output };
        let trace = self.trace(question);
        let mut zones = trace.outcomes.iter().map(|outcome| self.zone_of(outcome, hook));
        let Some(first) = zones.next() else { return ZoneOf::Unclear };
        if zones.all(|zone| zone == first) { first } else { ZoneOf::Unclear }
    }

    fn zone_of(&self, outcome: &Outcome<'_>, hook: Hook) -> ZoneOf {
        for met in outcome.met.iter().filter(|met| met.hook == hook) {
            let Some(at) = self.tracer.rules().at(met.place) else { continue };
            let Some((_, rule)) = at.rule else { continue };
            let all = branches(at.ruleset.family, at.table, rule);
            let templates: Vec<Option<u16>> = all
                .iter()
                .flat_map(Branch::actions)
                .filter_map(|action| match action {
                    Action::Target(target) => match target.effect() {
                        Effect::Template { zone: Some(zone) } => Some(zone.number),
                        Effect::Template { zone: None } => Some(Some(0)),
                        _ => None,
                    },
                    _ => None,
                })
                .collect();
            match templates.as_slice() {
                [] => {}
                [Some(zone)] if met.matched && !met.supposed => return ZoneOf::Is(*zone, at.name()),
                _ => return ZoneOf::Unclear,
            }
        }
        ZoneOf::Is(0, None)
    }

    /// Who may ask other resolvers on behalf of the workload, and with which mark: the proxies that are there; where none is, those whom
    /// rules leave alone.
    #[must_use]
    pub fn forwarders(&self) -> Vec<(Option<Identity>, u32)> {
        let exempt = &self.expected.exempt;
        if self.is_ambient() || exempt.uids.is_empty() && !exempt.marks.is_empty() {
            return self.proxy_marks().into_iter().map(|(mark, _)| (None, mark)).collect();
        }
        let mut found: Vec<(Option<Identity>, u32)> = Vec::new();
        for person in self.proxies().filter(|person| person.identity.is_some()) {
            let one = (person.identity.clone(), 0);
            if !found.contains(&one) {
                found.push(one);
            }
        }
        if found.is_empty() {
            let user = |uid: u32| Identity { uid, gid: self.free_id(), groups: Vec::new() };
            found.extend(exempt.uids.iter().map(|(uid, _)| (Some(user(*uid)), 0)));
        }
        found
    }
}

/// The name servers that are asked; the machine itself where none is named.
fn addresses(resolver: &Resolver) -> Vec<IpAddr> {
    let address = |text: &String| text.split('%').next().and_then(|text| text.trim().parse().ok());
    let found: Vec<IpAddr> = resolver.nameservers.iter().filter_map(address).take(NAMESERVERS).collect();
    match resolver.nameservers.is_empty() {
        true => vec![IpAddr::from([127, 0, 0, 1])],
        false => found,
    }
}
