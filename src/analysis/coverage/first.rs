//! The packets that begin connections, before their first hook.

use super::{Kind, Narrow};
use crate::analysis::diagram::Set;
use crate::analysis::eval::Sockets as _;
use crate::analysis::eval::Start;
use crate::analysis::eval::flood::{Bounds, Form, Forms, Sets, address};
use crate::analysis::trace::{Question, Tracer};
use crate::model::{Endpoint, Protocol};
use crate::packet::{Condition, DeviceName, Field, Known, number};
use crate::xt::{Action, Effect};

/// ICMP of both families.
const ICMP: [u8; 2] = [1, 58];
/// Protocols with ports beside TCP and UDP: DCCP, SCTP, UDP-Lite.
const WITH_PORTS: [u8; 3] = [33, 132, 136];

/// All kinds of packets: outgoing ones, and incoming ones by each device.
pub(in crate::analysis) fn kinds(tracer: &Tracer<'_>) -> Vec<Kind> {
    let mut found = Vec::new();
    let of_family = [false, true].map(|ipv6| (ipv6, protocols(tracer, ipv6)));
    for incoming in [false, true] {
        for (ipv6, protocols) in &of_family {
            let ipv6 = *ipv6;
            let devices = if incoming { devices(tracer) } else { vec![None] };
            for interface in devices {
                let of = |protocol: &Option<u8>| Kind {
                    incoming,
                    ipv6,
                    protocol: protocol.map(Protocol::from_number),
                    interface,
                };
                found.extend(protocols.iter().map(of));
            }
        }
    }
    found
}

/// Bounds of sources that are those of destinations too; of more those that are needed are found in a second beginning.
const LENT: usize = 64;

/// Where fields are cut into pieces: at all that rules, routes and sockets of a family speak of.
pub(in crate::analysis) fn bounds(tracer: &Tracer<'_>, narrow: &Narrow, ipv6: bool) -> Bounds {
    let mut bounds = Bounds::none();
    tracer.rules.each(ipv6, |rule, condition| {
        bounds.add_condition(condition, ipv6);
        if let Action::Target(target) = &rule.action {
            add_effect(&mut bounds, &target.effect());
        }
    });
    // A packet to an address of the namespace's own has it as its source as well, and rules ask for that.
    bounds.lend(Field::Source, Field::Destination, LENT);
    // Addresses of no network, of groups, of all; loopback; what is dialled at `::1` itself.
    let special: &[u128] = if ipv6 {
        &[1, 2]
    } else {
        &[1, 2, 1 << 24, 0x7f00_0000, 0x7f00_0001, 0x7f00_0002, 0x8000_0000, 0xe000_0000, 0xf000_0000, 0xffff_ffff]
    };
    let routed = tracer.ground.as_ref().map(|ground| ground.bounds(ipv6)).unwrap_or_default();
    for bound in special.iter().chain(routed) {
        bounds.add(Field::Destination, *bound);
        bounds.add(Field::Source, *bound);
    }
    for protocol in [Known::Is(6), Known::Is(17), Known::Unknown] {
        let (addresses, ports) = tracer.receivers.bounds(protocol, ipv6, true);
        addresses.into_iter().for_each(|bound| bounds.add(Field::Destination, bound));
        ports.into_iter().for_each(|bound| bounds.add(Field::DestinationPort, bound));
    }
    let one = |value: Option<u32>| value.map(u128::from);
    one(narrow.uid).into_iter().for_each(|uid| bounds.add_range(Field::Uid, uid, uid));
    one(narrow.gid).into_iter().for_each(|gid| bounds.add_range(Field::Gid, gid, gid));
    bounds
}

/// What a rule's work tells apart.
fn add_effect(bounds: &mut Bounds, effect: &Effect) {
    let (range, address, port) = match effect {
        Effect::Destination(range) => (range, Field::Destination, Field::DestinationPort),
        Effect::Source(range) | Effect::OutgoingSource(range) => (range, Field::Source, Field::SourcePort),
        Effect::Redirect(Some(ports)) => {
            return bounds.add_range(Field::DestinationPort, ports.from.into(), ports.to.into());
        }
        // What is moved to another network is told bit by bit.
        Effect::Network { .. } => {
            bounds.keep(Field::Destination);
            return bounds.keep(Field::Source);
        }
        _ => return,
    };
    if let Some((first, last)) = range.addresses {
        bounds.add_range(address, number(first), number(last));
    }
    if let Some(ports) = range.ports {
        bounds.add_range(port, ports.from.into(), ports.to.into());
    }
}

/// The protocols that some rule, route or socket tells apart, and `None` for the rest.
fn protocols(tracer: &Tracer<'_>, ipv6: bool) -> Vec<Option<u8>> {
    let [of_ipv4, of_ipv6] = ICMP;
    let mut named = vec![6, 17, if ipv6 { of_ipv6 } else { of_ipv4 }];
    let mut portless = false;
    tracer.rules.each(ipv6, |_, condition| {
        let mut asks = (false, false);
        condition.visit(&mut |part| match part {
            Condition::Range(Field::Protocol, from, to) => {
                asks.0 = true;
                if to.saturating_sub(*from) < 16 {
                    named.extend((*from..=*to).filter_map(|number| u8::try_from(number).ok()));
                }
            }
            Condition::Masked { field: Field::Protocol, value, .. } => named.extend(u8::try_from(*value)),
            Condition::Range(Field::DestinationPort | Field::SourcePort, ..) => asks.1 = true,
            Condition::Masked { field: Field::DestinationPort | Field::SourcePort, .. } => asks.1 = true,
            _ => {}
        });
        portless |= asks == (false, true);
    });
    if portless {
        named.extend(WITH_PORTS);
    }
    for rule in tracer.snapshot.routes.iter().flat_map(|routes| routes.rules.iter().flatten()) {
        named.extend(rule.protocol);
    }
    let sockets = tracer.snapshot.sockets.iter().flatten().map(|socket| socket.protocol.number());
    named.extend(sockets.filter(|number| WITH_PORTS.contains(number)));
    // What is no protocol of packets, or that of the other family's messages.
    let mut found = Vec::new();
    for number in named {
        if number != 0 && !found.contains(&Some(number)) {
            found.push(Some(number));
        }
    }
    found.push(None);
    found
}

/// The devices by which packets come in; one of which nothing is known where there are rules and nothing else.
fn devices(tracer: &Tracer<'_>) -> Vec<Option<DeviceName>> {
    match &tracer.snapshot.interfaces {
        None => vec![None],
        Some(interfaces) => {
            let outer = interfaces.iter().filter(|interface| !interface.loopback && interface.up);
            outer.map(|interface| DeviceName::new(&interface.name)).collect()
        }
    }
}

/// A protocol of a family that stands for all that are not named.
pub(in crate::analysis) fn any_other(kinds: &[Kind], ipv6: bool) -> Protocol {
    let named = |number: u8| {
        let protocol = Some(Protocol::from_number(number));
        kinds.iter().any(|kind| kind.ipv6 == ipv6 && kind.protocol == protocol)
    };
    let free = |number: &u8| !named(*number) && !WITH_PORTS.contains(number) && !ICMP.contains(number);
    // 253 and 254 are for experiments (RFC 3692).
    Protocol::from_number((2..=254).rev().find(free).unwrap_or(253))
}

/// The packets of a kind, in parts that differ in whether their ends are addresses of the namespace.
pub(super) fn packets(
    tracer: &Tracer<'_>,
    sets: &mut Sets,
    (kind, protocol): (&Kind, Protocol),
    asked: Set,
) -> Vec<(Start, Set, Forms)> {
    let own = own(tracer, sets, kind, Field::Destination);
    let [here, elsewhere] = halves(sets, asked, own);
    let mut parts = vec![here, elsewhere];
    if kind.incoming {
        let own = self::own(tracer, sets, kind, Field::Source);
        parts = parts.into_iter().flat_map(|part| halves(sets, part, own)).collect();
    }
    parts
        .into_iter()
        .filter(|part| !part.is_empty())
        .map(|space| first(tracer, sets, (kind, protocol), space))
        .collect()
}

fn halves(sets: &mut Sets, set: Set, by: Set) -> [Set; 2] {
    [sets.diagrams.and(set, by), sets.diagrams.without(set, by)]
}

/// Addresses of the namespace.
fn own(tracer: &Tracer<'_>, sets: &mut Sets, kind: &Kind, field: Field) -> Set {
    let ipv6 = kind.ipv6;
    let mut own = Vec::new();
    match &tracer.ground {
        Some(ground) => {
            let bounds = ground.bounds(ipv6);
            for (at, from) in bounds.iter().enumerate() {
                if ground.is_own(address(*from, ipv6)) {
                    let to = bounds.get(at + 1).map_or(u128::MAX, |next| next - 1);
                    own.push(sets.range(field, *from, to));
                }
            }
        }
        None => {
            own.push(if ipv6 { sets.range(field, 1, 1) } else { sets.masked(field, 0xff00_0000, 0x7f00_0000) });
            for interface in tracer.snapshot.interfaces.iter().flatten() {
                for (address, _) in interface.addresses.iter().filter(|(address, _)| address.is_ipv6() == ipv6) {
                    own.push(sets.range(field, number(*address), number(*address)));
                }
            }
        }
    }
    sets.diagrams.union(own)
}

/// A packet that stands for others of its kind, of which the fields that differ are not known.
fn first(tracer: &Tracer<'_>, sets: &Sets, (kind, protocol): (&Kind, Protocol), space: Set) -> (Start, Set, Forms) {
    let sample = sets.sample(space);
    let end = |field: Field| address(sample.number(field), kind.ipv6);
    let question = Question {
        incoming: kind.incoming,
        protocol,
        source: kind.incoming.then(|| end(Field::Source)),
        source_port: None,
        destination: Endpoint::new(end(Field::Destination), 0),
        uid: None,
        gid: Some(0),
        groups: None,
        mark: 0,
        interface: kind.interface.filter(|_| kind.incoming),
        icmp: None,
        state: Some(crate::packet::state::NEW),
    };
    let (mut start, _) = tracer.start(&question);
    let form = |field: Field, differs: bool| differs.then(|| Form::of(field));
    let (own, ports) = (!kind.incoming, protocol.has_ports());
    let forms = Forms {
        uid: form(Field::Uid, own),
        gid: form(Field::Gid, own),
        mark: form(Field::Mark, own),
        connection_mark: None,
        source: form(Field::Source, kind.incoming),
        source_port: form(Field::SourcePort, ports),
        destination: form(Field::Destination, true),
        destination_port: form(Field::DestinationPort, ports),
    };
    if own {
        start.packet.groups = Known::Unknown;
    }
    (start, space, forms)
}
