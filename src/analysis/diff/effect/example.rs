//! One packet of an area: such a one as a person would think of, where the area has one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::side::Side;
use crate::analysis::coverage::{Area, Kind, usual};
use crate::analysis::diagram::Values;
use crate::analysis::eval::flood::address;
use crate::analysis::trace::Question;
use crate::model::{Endpoint, Protocol, Snapshot};
use crate::packet::{Field, number, state};

/// Users and groups that are tried first: an application's, root's.
const OWNERS: [u128; 2] = [1000, 0];
/// Ports that are tried first.
const PORTS: [u128; 6] = [80, 443, 8080, 9080, 53, 22];
/// A port from which a program sends.
const SENDS: [u128; 1] = [40_000];
/// Addresses that are nobody's (RFC 5737, RFC 3849).
const FAR: [IpAddr; 4] = [
    IpAddr::V4(Ipv4Addr::new(203, 0, 113, 10)),
    IpAddr::V4(Ipv4Addr::new(198, 51, 100, 10)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x10)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0x10, 0, 0, 0, 0, 0x10)),
];

/// A packet of an area as the first sees it, and as the second does.
pub(super) fn of(
    kind: &Kind,
    protocol: Protocol,
    area: &Area,
    (first, second): (&Side<'_, '_>, &Side<'_, '_>),
) -> [Question; 2] {
    let question = packet(kind, protocol, area, first.tracer.snapshot);
    let across = |end: IpAddr| second.pairs.across(end);
    let seen = Question {
        source: question.source.map(across),
        destination: Endpoint::new(across(question.destination.address), question.destination.port),
        interface: question.interface.map(|device| second.pairs.second(device)),
        ..question.clone()
    };
    [question, seen]
}

/// A packet of an area.
pub(super) fn packet(kind: &Kind, protocol: Protocol, area: &Area, snapshot: &Snapshot) -> Question {
    let usual = area.within(&usual(snapshot, kind, &[]), kind.ipv6);
    let area = usual.as_ref().unwrap_or(area);
    let of = |field: Field, first: &[u128]| {
        let values = area.of(field);
        let wanted = first.iter().copied().find(|number| crate::analysis::coverage::holds(values, *number));
        wanted.unwrap_or_else(|| values.first().map_or(0, least))
    };
    let own: Vec<u128> = snapshot
        .interfaces
        .iter()
        .flatten()
        .filter(|interface| !interface.loopback)
        .flat_map(|interface| &interface.addresses)
        .filter(|(address, _)| address.is_ipv6() == kind.ipv6)
        .map(|(address, _)| number(*address))
        .collect();
    let far: Vec<u128> = FAR.into_iter().filter(|address| address.is_ipv6() == kind.ipv6).map(number).collect();
    let destinations = if kind.incoming { [own, far.clone()].concat() } else { [far.clone(), own].concat() };
    let small = |number: u128| u32::try_from(number).unwrap_or(u32::MAX);
    let port = |number: u128| u16::try_from(number).unwrap_or(u16::MAX);
    let ports = protocol.has_ports();
    let sent = !kind.incoming;
    let uid = of(Field::Uid, &OWNERS);
    let groups = [&[uid][..], &OWNERS].concat();
    Question {
        incoming: kind.incoming,
        protocol,
        source: kind.incoming.then(|| address(of(Field::Source, &far), kind.ipv6)),
        source_port: ports.then(|| port(of(Field::SourcePort, &SENDS))),
        destination: Endpoint::new(
            address(of(Field::Destination, &destinations), kind.ipv6),
            if ports { port(of(Field::DestinationPort, &PORTS)) } else { 0 },
        ),
        uid: sent.then(|| small(uid)),
        gid: sent.then(|| small(of(Field::Gid, &groups))),
        groups: sent.then(Vec::new),
        mark: if sent { small(of(Field::Mark, &[0])) } else { 0 },
        interface: kind.interface.filter(|_| kind.incoming),
        icmp: None,
        state: Some(state::NEW),
    }
}

fn least(values: &Values) -> u128 {
    match values {
        Values::Range { from, .. } => *from,
        Values::Masked { value, .. } => *value,
    }
}
