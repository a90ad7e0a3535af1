//! How the ends of a packet's connection are translated: each is bound once, by the first chain of nat that has something to say.

use std::net::IpAddr;

use super::ground::{self, Ground};
use super::journey::Way;
use super::path::Place;
use super::traveller::Traveller;
use super::{End, Target};
use crate::model::{Hook, RuleRef};
use crate::packet::{Answer, Known, number, state};
use crate::xt::{NatRange, PortRange};

/// `NF_NAT_RANGE_PROTO_RANDOM` and `NF_NAT_RANGE_PROTO_RANDOM_FULLY`: a source gets any port.
pub(super) const RANDOM: u32 = 4 | 16;
/// `XT_CONNTRACK_STATE_BIT` of related and of new connections.
const BEGINS: u32 = state::RELATED | state::NEW;

/// What an end of the connection becomes.
struct New {
    address: Known<IpAddr>,
    local: Known<bool>,
    port: Known<u16>,
    /// It is another than before.
    other: Answer,
}

impl Traveller {
    /// Whether nat chains of a hook are asked: for what begins a connection, once for the destination and once for the source (K5, K28),
    /// and not when the packet comes in again (K23).
    pub(super) fn translates(&self, hook: Hook) -> bool {
        let bound = match hook {
            Hook::Prerouting | Hook::Output => self.destination_bound,
            _ => self.source_bound,
        };
        let begins = match self.tracked_state() {
            Known::Is(state) => state & BEGINS != 0,
            _ => true,
        };
        self.tracked && begins && !bound && !self.is_again()
    }

    /// The packet's destination becomes this machine (K2): loopback for packets of its `own`, else the receiving device's address. No
    /// where there is none, and the packet is dropped.
    pub(super) fn redirect(
        &mut self,
        own: bool,
        by: Place,
        ports: Option<PortRange>,
        ground: Option<&Ground<'_>>,
    ) -> bool {
        let address = match (self.packet.destination, ground, self.packet.input) {
            (Known::Is(dialled), _, _) if own => Known::Is(ground::loopback(dialled.is_ipv6())),
            (Known::Is(dialled), Some(ground), Known::Is(device)) => match ground.redirect_address(device, dialled) {
                Some(address) => Known::Is(address),
                None => return false,
            },
            (dialled, None, _) if self.bare => dialled,
            _ => Known::Unknown,
        };
        let differs = differs(&self.packet.destination, &address);
        let (port, other) = ported(&self.packet.destination_port, ports);
        let to = Target { port: ports.and_then(one), ..Target::default() };
        self.destined(by, to, New { address, local: Known::Is(true), port, other: either(differs, other) });
        true
    }

    /// The packet's destination becomes one of these, as far as they are said.
    pub(super) fn send(&mut self, by: Place, range: &NatRange, ground: Option<&Ground<'_>>) {
        let ports = self.chosen_ports(range);
        let (port, other) = ported(&self.packet.destination_port, ports);
        // Shifted ports hang on the packet's own: what is told is for others, too.
        let told = ports.filter(|_| range.base.is_none()).and_then(one);
        let Some(addresses) = range.addresses else {
            let (address, local) = (self.packet.destination, self.packet.destination_local);
            let to = Target { port: told, stays: true, ..Target::default() };
            return self.destined(by, to, New { address, local, port, other });
        };
        let address = Some(addresses.0).filter(|first| *first == addresses.1);
        let other = either(outside(&self.packet.destination, addresses), other);
        let local = self.locality(address, ground);
        let to = Target { port: told, address, several: address.is_none(), ..Target::default() };
        self.destined(by, to, New { address: Known::from_option(address), local, port, other });
    }

    /// The packet's destination becomes the same place in another network.
    pub(super) fn move_to(&mut self, by: Place, network: IpAddr, mask: IpAddr, ground: Option<&Ground<'_>>) {
        let address = moved(&self.packet.destination, network, mask);
        let other = differs(&self.packet.destination, &Known::from_option(address));
        let (local, port) = (self.locality(address, ground), self.packet.destination_port);
        let to = Target { address, several: address.is_none(), ..Target::default() };
        self.destined(by, to, New { address: Known::from_option(address), local, port, other });
    }

    fn destined(&mut self, by: Place, to: Target, new: New) {
        let packet = &mut self.packet;
        (packet.destination, packet.destination_local, packet.destination_port) = (new.address, new.local, new.port);
        (packet.output_group, packet.realm) = (Known::Unknown, Known::Unknown);
        self.destination_bound = true;
        self.moved |= self.way == Way::Own && new.other != Answer::No;
        // A transparent socket that has got it keeps it (K26).
        self.redirected.get_or_insert((by, to));
        self.translated_anew(state::DESTINATION_CHANGED, new.other);
    }

    /// The packet's source becomes one of these.
    pub(super) fn come_from(
        &mut self,
        addresses: Option<(IpAddr, IpAddr)>,
        range: &NatRange,
        ground: Option<&Ground<'_>>,
    ) {
        let packet = &self.packet;
        let (address, local, differs) = match addresses {
            None => (packet.source, packet.source_local, Answer::No),
            Some(addresses) => {
                let address = Some(addresses.0).filter(|first| *first == addresses.1);
                (Known::from_option(address), self.locality(address, ground), outside(&packet.source, addresses))
            }
        };
        self.begin_at(address, local, differs, range);
    }

    /// The packet's source becomes the address of the device by which it leaves.
    pub(super) fn come_from_device(&mut self, range: &NatRange, ground: Option<&Ground<'_>>) {
        let gateway = self.route.and_then(|route| route.gateway);
        let address = match (ground, self.packet.output, self.packet.destination) {
            (Some(ground), Known::Is(device), Known::Is(to)) => ground.outgoing_source(device, gateway, to),
            _ => Known::Unknown,
        };
        let differs = differs(&self.packet.source, &address);
        self.begin_at(address, Known::Is(true), differs, range);
    }

    fn begin_at(&mut self, address: Known<IpAddr>, local: Known<bool>, differs: Answer, range: &NatRange) {
        let (port, other) = match range.ports {
            None if range.flags & RANDOM != 0 => (Known::Unknown, Answer::CannotKnow),
            ports => ported(&self.packet.source_port, ports),
        };
        self.begun_at(New { address, local, port, other: either(differs, other) });
    }

    /// The packet's source becomes the same place in another network.
    pub(super) fn move_from(&mut self, network: IpAddr, mask: IpAddr, ground: Option<&Ground<'_>>) {
        let address = moved(&self.packet.source, network, mask);
        let other = differs(&self.packet.source, &Known::from_option(address));
        let (local, port) = (self.locality(address, ground), self.packet.source_port);
        self.begun_at(New { address: Known::from_option(address), local, port, other });
    }

    fn begun_at(&mut self, new: New) {
        let packet = &mut self.packet;
        (packet.source, packet.source_local, packet.source_port) = (new.address, new.local, new.port);
        self.source_bound = true;
        self.translated_anew(state::SOURCE_CHANGED, new.other);
    }

    /// What conntrack holds of the replies changes with a translation; what comes later sees a translated connection.
    fn translated_anew(&mut self, bit: u32, other: Answer) {
        let packet = &mut self.packet;
        match (other, &mut packet.state) {
            (Answer::Yes, Known::Is(state)) => *state |= bit,
            (Answer::CannotKnow, _) => packet.doubtful_states |= bit,
            _ => {}
        }
        let connection = &mut packet.connection;
        (connection.reply_source, connection.reply_destination) = (packet.destination, packet.source);
        (connection.reply_source_port, connection.reply_destination_port) =
            (packet.destination_port, packet.source_port);
        // Bits of the status are two below those of the state.
        connection.status = match (connection.status, other) {
            (Known::Is(status), Answer::Yes) => Known::Is(status | bit >> 2),
            (known, Answer::No) => known,
            _ => Known::Unknown,
        };
    }

    /// The ports among which the packet gets one: where they are shifted, and its own is known, just one.
    fn chosen_ports(&self, range: &NatRange) -> Option<PortRange> {
        let ports = range.ports?;
        let (Some(base), Known::Is(port)) = (range.base, &self.packet.destination_port) else { return Some(ports) };
        let count = u32::from(ports.to.saturating_sub(ports.from)) + 1;
        let offset = u32::from(port.wrapping_sub(base)) % count;
        let port = u16::try_from(u32::from(ports.from) + offset).ok()?;
        Some(PortRange { from: port, to: port })
    }

    /// Whether an address is one of the namespace.
    fn locality(&self, address: Option<IpAddr>, ground: Option<&Ground<'_>>) -> Known<bool> {
        let Some(address) = address else { return Known::Unknown };
        if let Some(ground) = ground {
            return Known::Is(ground.is_own(address));
        }
        let ends = [
            (&self.packet.source, &self.packet.source_local),
            (&self.packet.destination, &self.packet.destination_local),
        ];
        match ends.into_iter().find(|(end, local)| **end == Known::Is(address) && **local != Known::Unknown) {
            Some((_, local)) => *local,
            None if address.is_loopback() => Known::Is(true),
            None => Known::Unknown,
        }
    }

    /// A new prefix leaves the rest of an address to a sum that is not computed here.
    pub(super) fn prefixed(&mut self, destination: bool, by: &RuleRef) -> Option<End<Place>> {
        if destination {
            return Some(End::Undecided { because: format!("the new prefix that rule {by} gives") });
        }
        (self.packet.source, self.packet.source_local) = (Known::Unknown, Known::Unknown);
        None
    }
}

fn either(one: Answer, other: Answer) -> Answer {
    match (one, other) {
        (Answer::Yes, _) | (_, Answer::Yes) => Answer::Yes,
        (Answer::No, Answer::No) => Answer::No,
        _ => Answer::CannotKnow,
    }
}

fn differs<T: PartialEq>(old: &Known<T>, new: &Known<T>) -> Answer {
    match (old, new) {
        (Known::Is(old), Known::Is(new)) => Answer::from(old != new),
        _ => Answer::CannotKnow,
    }
}

/// Whether the address becomes another one where it becomes one of these.
fn outside(old: &Known<IpAddr>, (first, last): (IpAddr, IpAddr)) -> Answer {
    match old {
        Known::Is(old) if !(number(first)..=number(last)).contains(&number(*old)) => Answer::Yes,
        Known::Is(_) if first == last => Answer::No,
        _ => Answer::CannotKnow,
    }
}

/// The port out of a range, and whether it is another one.
fn ported(old: &Known<u16>, ports: Option<PortRange>) -> (Known<u16>, Answer) {
    let Some(ports) = ports else { return (*old, Answer::No) };
    let new = Known::from_option(one(ports));
    let other = match old {
        Known::Is(old) if !(ports.from..=ports.to).contains(old) => Answer::Yes,
        _ => differs(old, &new),
    };
    (new, other)
}

/// The same place in another network.
fn moved(old: &Known<IpAddr>, network: IpAddr, mask: IpAddr) -> Option<IpAddr> {
    Some(match (old, network, mask) {
        (Known::Is(IpAddr::V4(old)), IpAddr::V4(network), IpAddr::V4(mask)) => (*old & !mask | network).into(),
        (Known::Is(IpAddr::V6(old)), IpAddr::V6(network), IpAddr::V6(mask)) => (*old & !mask | network).into(),
        _ => return None,
    })
}

/// The only port of a range, if it has but one.
fn one(range: PortRange) -> Option<u16> {
    (range.from == range.to).then_some(range.from)
}
