//! The source address that the kernel chooses for a packet of the namespace's own.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Routes, Why};
use crate::model::OwnAddress;
use crate::packet::Known;

/// `IFA_F_*`.
const SECONDARY: u32 = 0x01;
const OPTIMISTIC: u32 = 0x04;
const DEPRECATED: u32 = 0x20;
const TENTATIVE: u32 = 0x40;
const HOME: u32 = 0x10;

/// `RT_SCOPE_*`.
const HOST: u8 = 254;
const LINK: u8 = 253;

/// Scopes of IPv6 (RFC 4291, 2.7).
pub(in crate::analysis) const LINK_LOCAL: u8 = 2;
const SITE_LOCAL: u8 = 5;
const GLOBAL: u8 = 14;

impl Routes<'_> {
    /// `inet_select_addr`: the first address of a device whose scope does, best one that has the router in its network; else one of
    /// another device. 0.0.0.0 where there is none.
    pub(super) fn select4(&self, device: u32, near: Option<IpAddr>, scope: u8) -> Result<IpAddr, Why> {
        let primary = |own: &&OwnAddress| own.address.is_ipv4() && own.flags & SECONDARY == 0;
        let highest = match self.addresses.iter().any(|own| own.interface == device && own.scope > LINK) {
            // It matters to addresses of the host's own only.
            true if self.of_device(device, "route_localnet")? != 0 => LINK,
            _ => HOST,
        };
        let mut fitting = self
            .addresses
            .iter()
            .filter(primary)
            .filter(|own| own.interface == device && own.scope.min(highest) <= scope);
        let first = fitting.clone().next();
        let beside = near.and_then(|near| fitting.find(|own| own.network.holds(near)));
        if let Some(own) = beside.or(first) {
            return Ok(own.address);
        }
        let elsewhere = |own: &&OwnAddress| own.scope != LINK && own.scope <= scope;
        let mut others = self.addresses.iter().filter(primary).filter(elsewhere);
        let Some(first) = others.next() else { return Ok(Ipv4Addr::UNSPECIFIED.into()) };
        // The kernel goes by the age of the devices, which it does not tell; the loopback is the oldest.
        match self.is_loopback(first.interface) || others.all(|other| other.interface == first.interface) {
            true => Ok(first.address),
            false => Err(Why::Device),
        }
    }

    /// `ipv6_dev_get_saddr` as far as the device, the scopes and the age of addresses decide (RFC 6724, rules 1 to 5). Where labels or
    /// prefixes would, it is not known.
    pub(super) fn select6(&self, device: Option<u32>, destination: Ipv6Addr) -> Known<IpAddr> {
        let wanted = scope_of(destination);
        let near = wanted <= LINK_LOCAL || destination.is_multicast();
        let only = device.filter(|device| {
            let name = self.interface(*device).map(|interface| interface.name.as_str()).unwrap_or_default();
            near || self.settings.ipv6(name, "use_oif_addrs_only").is_some_and(|value| value != 0)
                || self.settings.ipv6("all", "use_oif_addrs_only").is_some_and(|value| value != 0)
        });
        let fit = |own: &&OwnAddress| {
            let up = own.flags & TENTATIVE == 0 || own.flags & OPTIMISTIC != 0;
            own.address.is_ipv6() && up && only.is_none_or(|device| device == own.interface)
        };
        let score = |own: &OwnAddress| {
            let IpAddr::V6(address) = own.address else { return (false, 0, false, false) };
            let scope = i32::from(scope_of(address));
            let scope = if scope >= i32::from(wanted) { -scope } else { scope - 128 };
            let fresh = own.flags & (DEPRECATED | OPTIMISTIC) == 0;
            (address == destination, scope, fresh, device == Some(own.interface))
        };
        let candidates: Vec<&OwnAddress> = self.addresses.iter().filter(fit).collect();
        let Some(best) = candidates.iter().map(|own| score(own)).max() else { return Known::Absent };
        let mut winners = candidates.into_iter().filter(|own| score(own) == best);
        match (winners.next(), winners.next()) {
            (Some(only), None) if only.flags & HOME == 0 => Known::Is(only.address),
            _ => Known::Unknown,
        }
    }
}

/// `__ipv6_addr_src_scope`; the loopback's is that of a link.
pub(in crate::analysis) fn scope_of(address: Ipv6Addr) -> u8 {
    let [first, second, ..] = address.octets();
    match (first, second) {
        (0xff, second) => second & 0xf,
        (0xfe, second) if second & 0xc0 == 0x80 => LINK_LOCAL,
        (0xfe, second) if second & 0xc0 == 0xc0 => SITE_LOCAL,
        _ if address.is_loopback() => LINK_LOCAL,
        _ => GLOBAL,
    }
}
