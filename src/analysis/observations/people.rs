//! Who stands behind what: proxies of the node, clients behind a proxy, the node itself; and which connections may belong together.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::super::join::{Connection, Direction, Way};
use super::{Ground, Kind, Observation, names};
use crate::model::{Endpoint, Flow, Process, Protocol, Socket, SocketState};

/// The port of HBONE, which no rule redirects to: it is dialled (istio.io, "Application Requirements").
const HBONE: u16 = 15_008;
/// From where Istio's sidecar hands inbound calls to the application (istio.io, "Application Requirements").
const PASSTHROUGH: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(127, 0, 0, 6)), IpAddr::V6(Ipv6Addr::new(0, 0, 0, 0, 0, 0, 0, 6))];
/// What ambient mode makes of the kubelet's address (istio.io, "Ambient and Kubernetes NetworkPolicy").
const PROBES: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(169, 254, 7, 127)),
    IpAddr::V6(Ipv6Addr::new(0xfd16, 0x9254, 0x7127, 0x1337, 0xffff, 0xffff, 0xffff, 0xffff)),
];
/// Observations of one kind before it is enough.
const MOST: usize = 20;

/// Who waits on the ports that rules redirect to, where that is a process of another network namespace (K15).
pub(super) fn elsewhere(ground: &Ground<'_>) -> Vec<Observation> {
    let mut held: BTreeMap<u32, (&Process, Vec<&Socket>)> = BTreeMap::new();
    for socket in ground.waiting.values().flatten() {
        for process in ground.holders.get(&socket.inode).into_iter().flatten() {
            if process.elsewhere && ground.proxies.contains(&process.pid) {
                held.entry(process.pid).or_insert_with(|| (process, Vec::new())).1.push(socket);
            }
        }
    }
    let say = |(process, sockets): (&Process, Vec<&Socket>)| {
        let ports: BTreeSet<u16> = sockets.iter().map(|socket| socket.local.port).collect();
        let ports = ports.iter().take(8).map(u16::to_string).collect::<Vec<_>>().join(", ");
        let marks: BTreeSet<u32> = sockets.iter().filter_map(|socket| socket.mark).filter(|mark| *mark != 0).collect();
        let marks: Vec<String> = marks.iter().take(3).map(|mark| format!("{mark:#x}")).collect();
        let marked = match marks.as_slice() {
            [] => String::new(),
            some => format!("; its sockets carry the mark {}", some.join(", ")),
        };
        Observation {
            kind: Kind::Elsewhere,
            words: format!(
                "{} of another network namespace waits here on {ports}, where rules redirect to: it is the proxy{marked}.",
                names::process(process),
            ),
            connections: sockets.iter().map(|socket| socket.inode).collect(),
            flows: Vec::new(),
        }
    };
    held.into_values().map(say).collect()
}

/// An application whose client is the proxy, under an address of this namespace (RDR707), and who may be behind it.
pub(super) fn hidden_clients(ground: &Ground<'_>) -> Vec<Observation> {
    // By application, proxy, end that was called, and address seen: the two halves.
    type Hidden<'a> = BTreeMap<(u32, u32, Endpoint, IpAddr), Vec<(&'a Connection, &'a Connection)>>;
    let mut hidden = Hidden::new();
    for accepted in ground.going(Direction::In).filter(|one| !ground.is_proxys(one)) {
        let Some((peer, other)) = accepted.peer.zip(ground.twin(accepted)) else { continue };
        if let Some((app, proxy)) = accepted.process().zip(other.process()).filter(|_| ground.is_proxys(other)) {
            let key = (app.pid, proxy.pid, accepted.local, peer.address);
            hidden.entry(key).or_default().push((accepted, other));
        }
    }
    let mut found = Vec::new();
    for ((_, pid, local, seen), pairs) in hidden.into_iter().take(MOST) {
        let Some((accepted, proxy)) = pairs.first() else { continue };
        let candidates = || {
            ground.going(Direction::In).filter(move |one| {
                let here =
                    |to: &Endpoint| ground.snapshot.is_local(to.address) && [local.port, HBONE].contains(&to.port);
                let called = one.original_destination.as_ref().is_some_and(here);
                called && one.local != local && one.process().is_some_and(|owner| owner.pid == pid)
            })
        };
        let behind = match names::list(candidates().filter_map(|one| one.peer)) {
            none if none.is_empty() => "Who is behind it cannot be told: the proxy has no call open.".to_owned(),
            some => format!("Candidates for who is behind it: {some}."),
        };
        let known = if PASSTHROUGH.contains(&seen) { ", as which Istio hands inbound calls on" } else { "" };
        found.push(Observation {
            kind: Kind::HiddenClient,
            words: format!(
                "{} sees {seen} as its client on {}: it is {}{known}. {behind}",
                names::holder(accepted),
                local.port,
                names::holder(proxy),
            ),
            connections: pairs
                .iter()
                .flat_map(|(one, other)| [one.inode, other.inode])
                .chain(candidates().map(|one| one.inode))
                .collect(),
            flows: Vec::new(),
        });
    }
    found
}

/// Which connections of a proxy lead to where the ones that it accepted wanted to go. Nothing outside of the proxy knows which
/// belong together: it may keep and share them.
pub(super) fn upstream(ground: &Ground<'_>) -> Vec<Observation> {
    type Halves<'a> = (Vec<&'a Connection>, Vec<&'a Connection>);
    let mut groups: BTreeMap<(u32, Endpoint), Halves<'_>> = BTreeMap::new();
    for connection in ground.connections.iter().filter(|one| one.is_live() && ground.is_proxys(one)) {
        let Some((owner, dialled)) = connection.process().zip(connection.original_destination) else { continue };
        let (accepted, opened) = groups.entry((owner.pid, dialled)).or_default();
        match (connection.direction, connection.way) {
            (Some(Direction::In), Way::Intercepted) => accepted.push(connection),
            (Some(Direction::Out), Way::Direct | Way::Exempt) => opened.push(connection),
            _ => {}
        }
    }
    let both = groups.into_iter().filter(|(_, (accepted, opened))| !accepted.is_empty() && !opened.is_empty());
    both.take(MOST)
        .map(|((_, dialled), (accepted, opened))| {
            let calls: BTreeSet<u64> = accepted.iter().filter_map(|one| one.age).collect();
            let near = |age: u64| calls.range(age.saturating_sub(NEAR)..=age.saturating_add(NEAR)).next().is_some();
            let near = opened.iter().filter_map(|one| one.age).filter(|age| near(*age)).count();
            let near = match near {
                0 => String::new(),
                some => format!("; {some} of them began within {NEAR} s of a call"),
            };
            Observation {
                kind: Kind::Upstream,
                words: format!(
                    "{} took {} for {dialled} and has {} of its own to there (from {}){near}: candidates, no more, for a proxy \
                     shares and keeps them.",
                    accepted.first().map_or_else(String::new, |one| names::holder(one)),
                    names::connections(accepted.len()),
                    opened.len(),
                    names::list(opened.iter().map(|one| one.local)),
                ),
                connections: accepted.iter().chain(&opened).map(|one| one.inode).collect(),
                flows: Vec::new(),
            }
        })
        .collect()
}

/// Seconds between a call and what a proxy opens for it.
const NEAR: u64 = 5;

/// How many of the connections with other machines are tunnelled by their port (HBONE), and which are not.
pub(super) fn tunnelled(ground: &Ground<'_>) -> Vec<Observation> {
    let waits = ground.waiting.contains_key(&(Protocol::Tcp, HBONE));
    let outside = |one: &&Connection| one.protocol == Protocol::Tcp && one.is_live() && is_outside(ground, one);
    let (mut through, mut beside) = (Vec::new(), Vec::new());
    for connection in ground.connections.iter().filter(outside) {
        let port = match connection.direction {
            Some(Direction::Out) => connection.peer.map(|peer| peer.port),
            _ => Some(connection.local.port),
        };
        if port == Some(HBONE) { through.push(connection) } else { beside.push(connection) }
    }
    if through.is_empty() && (!waits || beside.is_empty()) {
        return Vec::new();
    }
    let incoming = through.iter().filter(|one| one.direction == Some(Direction::In)).count();
    let word = |one: &Connection| {
        let to = one.original_destination.or(one.peer).unwrap_or(one.local);
        format!("{to} ({})", if one.direction == Some(Direction::In) { "in" } else { "out" })
    };
    let rest = match beside.len() {
        0 => String::new(),
        some => format!("; {some} in plain: {}", names::list(beside.iter().map(|one| word(one)))),
    };
    vec![Observation {
        kind: Kind::Tunnelled,
        words: format!(
            "{} of {} with other machines on the port of HBONE, {HBONE} ({incoming} in, {} out){rest}.",
            through.len(),
            names::connections(through.len() + beside.len()),
            through.len() - incoming,
        ),
        connections: through.iter().chain(&beside).map(|one| one.inode).collect(),
        flows: Vec::new(),
    }]
}

/// Whether the packets of a connection leave the namespace or come from outside: the half that an application has with a proxy here
/// does neither.
fn is_outside(ground: &Ground<'_>, connection: &Connection) -> bool {
    let local = |end: Option<Endpoint>| end.is_some_and(|end| ground.snapshot.is_local(end.address));
    let far = match connection.direction {
        Some(Direction::Out) => connection.actual_destination.or(connection.peer),
        Some(Direction::In) => connection.peer,
        None => return false,
    };
    far.is_some() && !local(far)
}

/// Redirected connections that were dialled to a machine on the pod's own network: that is no address of a service (RDR207).
pub(super) fn endpoints(ground: &Ground<'_>) -> Vec<Observation> {
    let redirected: Vec<&Connection> = ground.going(Direction::Out).filter(|one| one.way == Way::Redirected).collect();
    let own: Vec<(IpAddr, u8)> =
        ground.snapshot.interfaces.iter().flatten().flat_map(|one| one.addresses.clone()).collect();
    let neighbour = |address: IpAddr| {
        !ground.snapshot.is_local(address) && own.iter().any(|(base, length)| within(address, *base, *length))
    };
    let dialled: Vec<(&Connection, Endpoint)> = redirected
        .iter()
        .filter_map(|one| Some((*one, one.original_destination.filter(|end| neighbour(end.address))?)))
        .collect();
    if dialled.is_empty() {
        return Vec::new();
    }
    vec![Observation {
        kind: Kind::Endpoints,
        words: format!(
            "{} of {} redirected were dialled to a machine on the pod's own network, no service: {}. A headless service, or a \
             balancer at connect time (eBPF): which, cannot be told here.",
            dialled.len(),
            names::connections(redirected.len()),
            names::list(dialled.iter().map(|(_, end)| *end)),
        ),
        connections: dialled.iter().map(|(one, _)| one.inode).collect(),
        flows: Vec::new(),
    }]
}

/// Whether an address is in the network of another; a network of one address has none.
pub(super) fn within(address: IpAddr, base: IpAddr, length: u8) -> bool {
    let same = |one: u128, other: u128, bits: u8| {
        length > 0 && length < bits && (one ^ other).checked_shr(u32::from(bits - length)) == Some(0)
    };
    match (address, base) {
        (IpAddr::V4(one), IpAddr::V4(other)) => same(u32::from(one).into(), u32::from(other).into(), 32),
        (IpAddr::V6(one), IpAddr::V6(other)) => same(one.into(), other.into(), 128),
        _ => false,
    }
}

/// Whether it is the node that speaks from this address.
pub(super) fn is_node(ground: &Ground<'_>, address: IpAddr) -> bool {
    PROBES.contains(&address) || ground.snapshot.node_addresses.contains(&address)
}

/// What the node, or its kubelet, called: connections that live, and tracked ones that are over.
#[derive(Default)]
struct Called {
    inodes: Vec<u32>,
    flows: Vec<u32>,
    redirected: usize,
    ports: BTreeSet<u16>,
}

/// Clients that are the node itself: probes of the kubelet, as a rule.
pub(super) fn nodes(ground: &Ground<'_>) -> Vec<Observation> {
    let of_node = |address: IpAddr| is_node(ground, address);
    let mut calls: BTreeMap<IpAddr, Called> = BTreeMap::new();
    let incoming = |flow: &&Flow| {
        flow.protocol == Protocol::Tcp
            && of_node(flow.original.0.address)
            && ground.snapshot.is_local(flow.original.1.address)
    };
    for flow in ground.snapshot.flows.iter().flatten().filter(incoming) {
        let called = calls.entry(flow.original.0.address).or_default();
        called.flows.push(flow.id);
        called.redirected += usize::from(flow.reply.0 != flow.original.1);
        called.ports.insert(flow.original.1.port);
    }
    for connection in ground.going(Direction::In).filter(|one| one.state != SocketState::SynRecv) {
        let Some(peer) = connection.peer.filter(|peer| of_node(peer.address)) else { continue };
        let called = calls.entry(peer.address).or_default();
        called.inodes.push(connection.inode);
        called.ports.extend(connection.original_destination.map(|end| end.port));
    }
    let say = |(address, called): (IpAddr, Called)| {
        let what = if PROBES.contains(&address) {
            "Istio's address for the kubelet's probes in ambient mode"
        } else {
            "an address of the node: its kubelet's probes, as a rule"
        };
        let redirected = match called.redirected {
            0 => String::new(),
            some => format!("; {some} of {} went to the proxy", called.flows.len()),
        };
        Observation {
            kind: Kind::Node,
            words: format!(
                "The client {address} on {} is {what}{redirected}.",
                names::list(called.ports.iter().copied()),
            ),
            connections: called.inodes,
            flows: called.flows,
        }
    };
    calls.into_iter().take(MOST).map(say).collect()
}
