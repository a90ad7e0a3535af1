//! What rules ask of the routing tables, answered when a packet comes to such a rule: its address, device or mark may have become
//! another since the last.

use std::net::IpAddr;

use super::ground::Ground;
use super::traveller::Traveller;
use crate::analysis::routes::{Query, Routes, types};
use crate::model::Hook;
use crate::packet::{By, DeviceName, Known, Lookup, Packet, Wanted};

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
        _ if lookup.wanted == Wanted::Device => None,
        (IpAddr::V4(address), Some(routes)) => routes.type_of(address, name),
        (IpAddr::V4(address), None) => {
            types::by_itself(address).or((name.is_none() && local == Known::Is(true)).then_some(types::LOCAL))
        }
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

/// What nft's `fib` asks the routes of IPv6.
fn query(packet: &Packet, address: IpAddr, other: Known<IpAddr>, lookup: Lookup) -> Option<Query> {
    let Known::Is(other) = other else { return None };
    let mark = if lookup.mark { packet.mark } else { Known::Is(0) };
    Some(Query { source: Some(other), mark, protocol: packet.protocol, any_source: true, ..Query::to(address) })
}
