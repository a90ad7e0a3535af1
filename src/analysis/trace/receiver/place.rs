//! Devices by which packets come in, with their addresses: sockets are bound to them.

use std::net::IpAddr;

use crate::model::{Interface, OwnAddress, Route, RouteKind, Snapshot, Socket};
use crate::packet::{Answer, Known, Packet};

/// `IFA_F_SECONDARY`, `IFA_F_DEPRECATED` and `IFA_F_TENTATIVE` (`include/uapi/linux/if_addr.h`).
const SECONDARY: u32 = 0x01;
const DEPRECATED: u32 = 0x20;
const TENTATIVE: u32 = 0x40;

/// The devices of a snapshot.
#[derive(Debug)]
pub(super) struct Devices<'a> {
    interfaces: &'a [Interface],
    addresses: Option<&'a [OwnAddress]>,
    routes: &'a [Route],
    /// There are VRFs: what comes in by a device of one is for the sockets of that one, and which it is of is not known.
    vrf: bool,
}

impl<'a> Devices<'a> {
    pub(super) fn of(snapshot: &'a Snapshot) -> Self {
        let routing = snapshot.routes.as_ref();
        Self {
            interfaces: snapshot.interfaces.as_deref().unwrap_or_default(),
            addresses: routing.and_then(|routing| routing.addresses.as_deref()),
            routes: routing.and_then(|routing| routing.routes.as_deref()).unwrap_or_default(),
            vrf: routing
                .and_then(|routing| routing.rules.as_ref())
                .is_some_and(|rules| rules.iter().any(|rule| rule.vrf)),
        }
    }

    /// Addresses that some device has.
    pub(super) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        let listed = self.interfaces.iter().flat_map(|interface| &interface.addresses).map(|(own, _)| *own);
        listed.chain(self.addresses.unwrap_or_default().iter().map(|own| own.address))
    }

    /// The device by which rules see the packet come in.
    fn index(&self, packet: &Packet) -> Option<u32> {
        let here = |interface: &&Interface| match packet.input {
            Known::Is(name) => interface.name == name.as_str(),
            // What the namespace sends to itself.
            Known::Absent => interface.loopback,
            Known::Unknown => false,
        };
        self.interfaces.iter().find(here).map(|interface| interface.index)
    }

    /// The device by which sockets see it come: what the namespace sends to itself comes by the one that has the address
    /// (`ip_route_output_key_hash_rcu`, net/ipv4/route.c; `ip6_rcv_core`, net/ipv6/ip6_input.c).
    fn seen_by_sockets(&self, packet: &Packet) -> Option<u32> {
        let index = self.index(packet)?;
        let loops = self.interfaces.iter().any(|interface| interface.index == index && interface.loopback);
        let Known::Is(destination) = packet.destination else { return Some(index) };
        let has = |interface: &&Interface| interface.addresses.iter().any(|(own, _)| *own == destination);
        let mut holders = self.interfaces.iter().filter(has).map(|interface| interface.index);
        // One that no device has may be local by a route.
        let led = |route: &Route| {
            let elsewhere = route.hops.iter().any(|hop| hop.interface != index);
            route.kind == RouteKind::Local && elsewhere && route.destination.holds(destination)
        };
        match (loops, holders.next(), holders.next()) {
            (false, ..) => Some(index),
            (true, Some(holder), None) => Some(holder),
            (true, Some(_), Some(_)) => None,
            (true, None, _) => Some(index).filter(|_| !self.routes.iter().any(led)),
        }
    }

    /// Whether a socket takes what comes in by the packet's device (`inet_sk_bound_dev_eq`), as a rule that looks for one has it
    /// (`by_rule`) or behind all hooks.
    pub(super) fn passes(&self, socket: &Socket, packet: &Packet, by_rule: bool) -> Answer {
        let index = if by_rule { self.index(packet) } else { self.seen_by_sockets(packet) };
        match (socket.interface, index) {
            _ if self.vrf => Answer::CannotKnow,
            (0, _) => Answer::Yes,
            (bound, Some(index)) => Answer::from(bound == index),
            (_, None) => Answer::CannotKnow,
        }
    }

    /// The address at which rules look for a transparent socket that name none: the first that the packet's device has, else the
    /// packet's own destination (`nf_tproxy_laddr4` and `6`). `None` where it is not known.
    pub(super) fn first_address(&self, packet: &Packet) -> Option<IpAddr> {
        let (Known::Is(destination), index) = (packet.destination, self.index(packet)?) else { return None };
        let passed_over = if destination.is_ipv6() { TENTATIVE | DEPRECATED } else { SECONDARY };
        let suits = |own: &&OwnAddress| {
            own.interface == index && own.address.is_ipv6() == destination.is_ipv6() && own.flags & passed_over == 0
        };
        Some(self.addresses?.iter().find(suits).map_or(destination, |own| own.address))
    }

    /// Whether what is sent to this address is for several: a group, or all of a network.
    pub(super) fn is_for_several(&self, address: IpAddr) -> bool {
        let IpAddr::V4(v4) = address else { return address.is_multicast() };
        let last = |own: &OwnAddress| match own.network.address {
            IpAddr::V4(first) if own.network.bits < 31 => {
                let rest = u32::MAX.checked_shr(own.network.bits.into()).unwrap_or_default();
                u32::from(first) | rest == u32::from(v4)
            }
            _ => false,
        };
        // Loopback's network has no such address.
        let networks = || self.addresses.unwrap_or_default().iter().filter(|own| !own.address.is_loopback());
        v4.is_multicast() || v4.is_broadcast() || networks().any(last)
    }
}
