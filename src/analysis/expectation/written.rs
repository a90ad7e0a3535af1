//! The expectation that a workload meets today, as a file says it: who it is redirected for, and where to.

use serde_json::{Map, Value, json};

use super::{End, Packet};
use crate::analysis::check::{Allowed, Case};
use crate::analysis::trace::{Identity, Verdict};
use crate::model::Endpoint;
use crate::packet::Known;

/// What is dialled outside.
const PORT: u16 = 443;
/// Where resolvers listen.
const DNS: u16 = 53;

/// The document: its mesh, the families that are redirected, a packet for each user who runs there, each resolver and each port that
/// is served; and what is accepted. What cannot be decided is left out.
#[must_use]
pub fn written(case: &Case<'_>, allow: &[Allowed]) -> Map<String, Value> {
    let expected = &case.expected;
    let families = expected.families.iter().filter(|reach| reach.captures());
    let packets: Vec<Packet> = packets(case).into_iter().filter_map(|packet| packet.really(case)).collect();
    let allow = allow.iter().map(|allowed| json!({"id": allowed.id, "because": allowed.reason}));
    let mut document = Map::new();
    document.insert("mesh".to_owned(), json!(expected.mesh.map_or("none", |mesh| mesh.word())));
    document
        .insert("families".to_owned(), families.map(|reach| json!(if reach.ipv6 { "ip6" } else { "ip" })).collect());
    document.insert("packets".to_owned(), json!(packets));
    document.insert("allow".to_owned(), allow.collect());
    document
}

fn packets(case: &Case<'_>) -> Vec<Packet> {
    let mut packets: Vec<Packet> = Vec::new();
    // What only keeps the namespaces of a pod is in no container of it.
    let contained = case.applications().any(|person| person.process.container.is_some());
    let applications = case.applications().filter(|person| !contained || person.process.container.is_some());
    let applications: Vec<Identity> = applications.filter_map(|person| person.identity.clone()).collect();
    let proxies =
        case.proxies().filter(|person| !person.process.elsewhere).filter_map(|person| person.identity.clone());
    let everybody: Vec<Identity> = applications.iter().cloned().chain(proxies).collect();
    for ipv6 in case.families() {
        let outside = Endpoint::new(case.outside(ipv6), PORT);
        packets.extend(everybody.iter().map(|who| Packet::dialled(who, None, outside)));
        let resolvers = case.snapshot.resolver.iter().flat_map(|resolver| &resolver.nameservers);
        for resolver in
            resolvers.filter_map(|text| text.parse().ok()).filter(|one: &std::net::IpAddr| one.is_ipv6() == ipv6)
        {
            packets
                .extend(applications.iter().map(|who| Packet::dialled(who, Some("udp"), Endpoint::new(resolver, DNS))));
        }
        // One port is asked about of which no rule speaks; it is of use only where nothing is served.
        let mut served = case.served(ipv6);
        if served.len() > 1 {
            served.retain(|end| end.port != case.port());
        }
        let host = if ipv6 { "self6" } else { "self" };
        packets.extend(served.iter().map(|end| Packet {
            direction: Some("in".to_owned()),
            destination: format!("{host}:{}", end.port),
            ..Packet::default()
        }));
    }
    let mut once: Vec<Packet> = Vec::new();
    for packet in packets {
        if !once.contains(&packet) {
            once.push(packet);
        }
    }
    once
}

impl Packet {
    fn dialled(who: &Identity, protocol: Option<&str>, to: Endpoint) -> Self {
        Self {
            protocol: protocol.map(str::to_owned),
            destination: to.to_string(),
            uid: Some(who.uid),
            gid: Some(who.gid),
            groups: Some(who.groups.clone()).filter(|groups| groups.iter().any(|group| *group != who.gid)),
            ..Self::default()
        }
    }

    /// With what becomes of it; `None` where that cannot be told.
    fn really(self, case: &Case<'_>) -> Option<Self> {
        let own = [false, true].map(|ipv6| case.own_address(ipv6));
        let question = self.question(own)?.ok()?;
        let trace = case.trace(&question);
        let [only] = trace.outcomes.as_slice() else { return None };
        let (Known::Is(address), port) = (only.packet.destination, only.packet.destination_port) else { return None };
        if only.verdict == Verdict::Undecided {
            return None;
        }
        let port = if let Known::Is(port) = port { port } else { return None };
        let host = own.iter().position(|own| *own == Some(address)).and_then(|at| ["self", "self6"].get(at));
        let destination =
            host.map_or_else(|| Endpoint::new(address, port).to_string(), |host| format!("{host}:{port}"));
        let receiver_port = only.receivers.first().map(|socket| socket.local.port);
        let expect = End {
            verdict: Some(only.verdict.word().to_owned()),
            destination: Some(destination),
            receiver_port: receiver_port.filter(|_| only.taken),
        };
        Some(Self { expect, ..self })
    }
}
