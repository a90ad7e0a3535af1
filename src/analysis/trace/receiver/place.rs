//! Devices by which packets come in, with their addresses: sockets are bound to them.

use std::net::IpAddr;

use crate::model::{Interface, OwnAddress, Snapshot, Socket};
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
    /// There are VRFs: what comes in by a device of one is for the sockets of that one, and which it is of is not known.
    vrf: bool,
}

impl<'a> Devices<'a> {
    pub(super) fn of(snapshot: &'a Snapshot) -> Self {
        let routing = snapshot.routes.as_ref();
        Self {
            interfaces: snapshot.interfaces.as_deref().unwrap_or_default(),
            addresses: routing.and_then(|routing| routing.addresses.as_deref()),
            vrf: routing.and_then(|routing| routing.rules.as_ref()).is_some_and(|rules| rules.iter().any(|rule| rule.vrf)),
        }
    }

    fn index(&self, packet: &Packet) -> Option<u32> {
        let Known::Is(name) = packet.input else { return None };
        let named = self.interfaces.iter().find(|interface| interface.name == name.as_str());
        named.map(|interface| interface.index)
    }

    /// Whether a socket takes what comes in by the packet's device (`inet_sk_bound_dev_eq`).
    pub(super) fn passes(&self, socket: &Socket, packet: &Packet) -> Answer {
        match (socket.interface, self.index(packet)) {
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
