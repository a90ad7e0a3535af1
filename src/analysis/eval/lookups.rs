//! What rules ask of the routing tables, answered when a packet comes to such a rule: its address, device or mark may have become
//! another since the last.

use std::net::IpAddr;

use super::ground::Ground;
use super::traveller::Traveller;
use crate::analysis::routes::{Query, Routes, address_types};
use crate::model::Hook;
use crate::packet::{By, DeviceName, Known, Lookup, Packet, Wanted, state};

impl Traveller {
    /// Asks the routing tables all this, as far as they were read.
    pub(super) fn look_up(&mut self, lookups: &[Lookup], hook: Option<Hook>, ground: Option<&Ground<'_>>) {
        for lookup in lookups {
            let answer = answer(&self.packet, *lookup, hook, ground.map(Ground::routes));
            self.packet.looked_up.set(*lookup, answer);
        }
    }
}

fn answer(packet: &Packet, lookup: Lookup, hook: Option<Hook>, routes: Option<&Routes<'_>>) -> Option<u32> {
    let (asked, other, local) = match lookup.destination {
        true => (packet.destination, packet.source, packet.destination_local),
        false => (packet.source, packet.destination, packet.source_local),
    };
    let Known::Is(address) = asked else { return None };
    let device: Option<DeviceName> = match lookup.by {
        By::Any => None,
        // The device by which a packet came is known to the hooks behind its way in alone, and that by which it leaves to the others.
        By::Input => device(packet.input, hook != Some(Hook::Postrouting))?,
        By::Output => device(packet.output, true)?,
    };
    let name = device.as_ref().map(DeviceName::as_str);
    match (address, routes) {
        (_, Some(routes)) if lookup.wanted == Wanted::Device => {
            device_to(packet, query(packet, address, other, lookup)?, name, (lookup, hook?), routes)
        }
        _ if lookup.wanted == Wanted::Device => None,
        (IpAddr::V4(address), Some(routes)) => routes.type_of(address, name),
        (IpAddr::V4(address), None) => address_types::by_itself(address)
            .or((name.is_none() && local == Known::Is(true)).then_some(address_types::LOCAL)),
        (IpAddr::V6(address), Some(routes)) if lookup.wanted == Wanted::Types => routes.types_of(address, name),
        (IpAddr::V6(_), Some(routes)) => routes.one_type_of(&query(packet, address, other, lookup)?, name),
        (IpAddr::V6(_), None) => None,
    }
}

/// A device that there is, or none; `None` where that is not known.
fn device(known: Known<DeviceName>, told: bool) -> Option<Option<DeviceName>> {
    match known {
        Known::Is(name) if told => Some(Some(name)),
        Known::Absent if told => Some(None),
        _ => None,
    }
}

/// What nft's `fib` asks the routes.
fn query(packet: &Packet, address: IpAddr, other: Known<IpAddr>, lookup: Lookup) -> Option<Query> {
    let Known::Is(other) = other else { return None };
    let mark = if lookup.mark { packet.mark } else { Known::Is(0) };
    // Of IPv4 some kernels tell the protocol, and some do not.
    let protocol = if address.is_ipv4() { Known::Unknown } else { packet.protocol };
    let source =
        Some(other).filter(|other| !matches!(other, IpAddr::V4(other) if address_types::by_itself(*other).is_some()));
    let traffic_class = packet.traffic_class;
    Some(Query { source, mark, protocol, traffic_class, any_source: true, ..Query::to(address) })
}

/// The device to which there is a route, by its number (`nft_fib4_eval`, `nft_fib6_eval`).
fn device_to(
    packet: &Packet,
    query: Query,
    device: Option<&str>,
    (lookup, hook): (Lookup, Hook),
    routes: &Routes<'_>,
) -> Option<u32> {
    let Known::Is(input) = packet.input else { return None };
    let input = routes.index_of(Some(input.as_str())).ok()?;
    match hook {
        // What the namespace sends to itself is not looked up.
        Hook::Prerouting if routes.is_loopback(input) => return Some(input),
        Hook::Prerouting | Hook::Forward => {}
        // There it is, by newer kernels.
        Hook::Input if !routes.is_loopback(input) => {}
        _ => return None,
    }
    let near = |end: Known<IpAddr>| matches!(end, Known::Is(IpAddr::V6(end)) if end.is_unicast_link_local());
    if near(packet.source) || near(packet.destination) || packet.source == Known::Is([0; 4].into()) {
        return None;
    }
    let from = match (hook, lookup.destination, lookup.by, packet.output) {
        (Hook::Forward, false, By::Input, Known::Is(output)) => Some(output.as_str().to_owned()),
        (Hook::Forward, false, By::Input, _) => return None,
        _ => None,
    };
    let found = routes.device_to(&query, from, device)?;
    // Newer kernels spare themselves the lookup for what belongs to a socket that has got packets by this device before.
    let begins = packet.state == Known::Is(state::NEW);
    (hook != Hook::Input || begins || found == input).then_some(found)
}
