//! The made pod in which the grid is asked: lo and eth0 (10.0.0.2, fd00::2) with a default route, and who listens there.
//!
//! Its addresses, routes and settings were read from the pod in which the kernel is asked (`tests/fixtures/grid/pod.json`).

use std::net::Ipv6Addr;
use std::path::{Path, PathBuf};

use nslens::archive::{Loaded, read};
use nslens::model::{
    Endpoint, Family, Network, NextHop, PolicyRule, Protocol, Route, RouteKind, RuleAction, Ruleset, Snapshot, Socket,
    SocketDetails, SocketState, Unread,
};

use super::{Case, Named};

/// Ports of the applications. At 22, 53 and 3306 nobody listens.
const APPLICATIONS: [u16; 5] = [80, 443, 4190, 15020, 15090];
/// Ports of the proxies, beside those to which a rule set redirects.
const PROXIES: [u16; 6] = [4140, 4143, 15001, 15006, 15008, 15053];

/// Ports at which somebody listens, by TCP and UDP, for both families at every address; with transparent sockets, as TPROXY wants it.
pub(crate) fn listening(named: &Named) -> Vec<u16> {
    let mut ports = [APPLICATIONS.as_slice(), &PROXIES, &named.targets].concat();
    ports.sort_unstable();
    ports.dedup();
    ports.retain(|port| ![22, 53, 3306].contains(port));
    ports
}

/// Mark, mask and table of the policy route that the producer of a case sets beside its rules: marked packets come in.
pub(crate) fn policy(case: &Case) -> Option<(u32, u32, u32)> {
    let mesh = case.name.split('/').next().unwrap_or_default();
    let tproxy = case.named().tproxy;
    match mesh {
        "istio-sidecar" | "istio-nft-sidecar" if tproxy => Some((1337, u32::MAX, 133)),
        "istio-ambient" | "istio-nft-ambient" => Some((0x111, 0xfff, 100)),
        "ecs-service-connect" | "mosn" if tproxy => Some((1, u32::MAX, 100)),
        "cilium" => Some((0x200, 0xf00, 2004)),
        _ => None,
    }
}

/// The pod with the rules of a case.
pub(crate) fn with(case: &Case, (rulesets, unread): (Vec<Ruleset>, Vec<Unread>)) -> Snapshot {
    let mut snapshot = bare();
    snapshot.rulesets = Some(rulesets);
    snapshot.unread = unread;
    let ports = listening(&case.named());
    let sockets = ports.iter().flat_map(|port| [Protocol::Tcp, Protocol::Udp].map(|protocol| socket(protocol, *port)));
    snapshot.sockets = Some(sockets.collect());
    if let Some(policy) = policy(case) {
        add_policy(&mut snapshot, policy);
    }
    snapshot
}

/// The file that holds it.
pub(crate) fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/grid/pod.json")
}

/// The pod without rules, and with nobody in it.
pub(crate) fn bare() -> Snapshot {
    let path = path();
    let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    match read(&bytes, Family::Ip) {
        Ok(Loaded::Snapshot(snapshot)) => *snapshot,
        other => panic!("{}: {other:?}", path.display()),
    }
}

fn add_policy(snapshot: &mut Snapshot, (mark, mask, table): (u32, u32, u32)) {
    let routing = snapshot.routes.as_mut().expect("routes");
    for ipv6 in [false, true] {
        let route = Route {
            kind: RouteKind::Local,
            destination: Network::all(ipv6),
            source: None,
            tos: 0,
            table,
            // RTPROT_BOOT, and the scope of local routes; IPv6 has none.
            protocol: 3,
            scope: if ipv6 { 0 } else { 254 },
            flags: 0,
            priority: if ipv6 { 1024 } else { 0 },
            preferred_source: None,
            preference: ipv6.then_some(0),
            hops: vec![NextHop { interface: 1, gateway: None, weight: 1, flags: 0 }],
            next_hop_object: None,
            unknown: Vec::new(),
        };
        routing.routes.as_mut().expect("routes").push(route);
        let like = |rule: &&PolicyRule| rule.ipv6 == ipv6 && rule.action == RuleAction::Lookup(254);
        let rules = routing.rules.as_mut().expect("rules");
        let main = rules.iter().find(like).expect("the rule of the main table").clone();
        rules.push(PolicyRule {
            priority: 32764,
            action: RuleAction::Lookup(table),
            mark: Some((mark, mask)),
            maker: 3,
            ..main
        });
        rules.sort_by_key(|rule| (rule.ipv6, rule.priority));
    }
}

fn socket(protocol: Protocol, port: u16) -> Socket {
    Socket {
        protocol,
        family: Family::Ip6,
        mapped: false,
        state: if protocol == Protocol::Tcp { SocketState::Listen } else { SocketState::Unconnected },
        local: Endpoint::new(Ipv6Addr::UNSPECIFIED.into(), port),
        peer: None,
        uid: 0,
        inode: 10_000 + u32::from(port),
        mark: Some(0),
        interface: 0,
        receive_queue: 0,
        send_queue: 0,
        details: SocketDetails { only_v6: Some(false), transparent: Some(true), ..SocketDetails::default() },
    }
}
