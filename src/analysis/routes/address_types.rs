//! What the routing tables call an address: asked by `-m addrtype` and by nft's `fib`.
//!
//! Sources: net/ipv4/fib_frontend.c (`inet_dev_addr_type`), net/netfilter/xt_addrtype.c (`match_type6`),
//! net/ipv6/netfilter/nft_fib_ipv6.c (`__nft_fib6_eval_type`), net/ipv6/addrconf.c (`ipv6_chk_addr`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::flow::Flow;
use super::policy::Looked;
use super::{Decision, End, Kind, Query, Routes, Why, ipv4};
use crate::model::{Route, RouteKind};

/// A bit for each `RTN_*`.
pub(in crate::analysis) const UNSPECIFIED: u32 = 1;
pub(in crate::analysis) const UNICAST: u32 = 1 << 1;
pub(in crate::analysis) const LOCAL: u32 = 1 << 2;
pub(in crate::analysis) const BROADCAST: u32 = 1 << 3;
pub(in crate::analysis) const ANYCAST: u32 = 1 << 4;
pub(in crate::analysis) const MULTICAST: u32 = 1 << 5;
pub(in crate::analysis) const BLACKHOLE: u32 = 1 << 6;
pub(in crate::analysis) const UNREACHABLE: u32 = 1 << 7;
pub(in crate::analysis) const PROHIBIT: u32 = 1 << 8;

/// `RT_TABLE_LOCAL`
const LOCAL_TABLE: u32 = 255;
/// `IFA_F_TENTATIVE` and `IFA_F_OPTIMISTIC`.
const TENTATIVE: u32 = 0x40;
const OPTIMISTIC: u32 = 0x04;

/// The type of an address of IPv4 that no table is asked about.
pub(in crate::analysis) fn by_itself(address: Ipv4Addr) -> Option<u32> {
    match address {
        _ if address.octets().first() == Some(&0) || address.is_broadcast() => Some(BROADCAST),
        _ if address.is_multicast() => Some(MULTICAST),
        _ => None,
    }
}

/// What an address of IPv6 is whatever the tables say (`ipv6_addr_type`).
fn told(address: Ipv6Addr) -> u32 {
    match address {
        _ if address.is_unspecified() => UNSPECIFIED,
        _ if address.is_multicast() => MULTICAST,
        _ if address.to_ipv4_mapped().is_some() => 0,
        _ => UNICAST,
    }
}

impl Routes<'_> {
    /// The type of an address, or of a device's (`Some`): then of one to which a route by that device leads. `None` where it is not known.
    pub(in crate::analysis) fn type_of(&self, address: Ipv4Addr, device: Option<&str>) -> Option<u32> {
        if let Some(known) = by_itself(address) {
            return Some(known);
        }
        let device = device.map(|name| self.index_of(Some(name))).transpose().ok()?;
        let flow = Flow::of(&Query::to(address.into()), None, 0);
        let of = |looked: Looked<'_>| {
            let Some(End::Route(route, _)) = looked.ends.first() else {
                // Of a route of which nothing is told it is not known whether it is one.
                return (looked.why.is_none()).then_some(UNICAST);
            };
            let here = device.is_none_or(|device| route.hops.first().is_some_and(|hop| hop.interface == device));
            Some(match route.kind {
                RouteKind::Local if here => LOCAL,
                RouteKind::Broadcast if here => BROADCAST,
                RouteKind::Anycast if here => ANYCAST,
                RouteKind::Multicast if here => MULTICAST,
                _ => UNICAST,
            })
        };
        let found = of(ipv4::look(self.table(false, LOCAL_TABLE), &flow))?;
        // As long as nobody ever touched the rules, the local and the main table are one; the kernel does not tell.
        let one = ipv4::are_default(self.policy(false)).then(|| of(ipv4::look(&self.one_table(), &flow)));
        one.is_none_or(|one| one == Some(found)).then_some(found)
    }

    /// All that iptables' match calls an address of IPv6.
    pub(in crate::analysis) fn types_of(&self, address: Ipv6Addr, device: Option<&str>) -> Option<u32> {
        let query = Query { output: device.map(str::to_owned), ..Query::to(address.into()) };
        let kind = self.only_kind(&query)?;
        // `ipv6_anycast_destination` takes the first address of a network for one.
        if self.begins_a_network(address) {
            return None;
        }
        let by_route = match kind {
            Kind::Local if device.is_none() => LOCAL,
            Kind::Anycast => ANYCAST,
            kind if !kind.leads() => UNREACHABLE,
            _ => 0,
        };
        // Where the lookup fails nothing else is looked at.
        let own = by_route != UNREACHABLE && device.is_some_and(|device| self.has(device, address));
        Some(told(address) | by_route | if own { LOCAL } else { 0 })
    }

    /// The one type that nft has for an address of IPv6.
    pub(in crate::analysis) fn one_type_of(&self, query: &Query, device: Option<&str>) -> Option<u32> {
        let IpAddr::V6(address) = query.destination else { return None };
        if address.is_unicast_link_local() || self.begins_a_network(address) {
            return None;
        }
        Some(match self.only_kind(query)? {
            Kind::Blackhole => BLACKHOLE,
            Kind::Prohibit => PROHIBIT,
            Kind::Unreachable | Kind::NoRoute => UNREACHABLE,
            Kind::Anycast => ANYCAST,
            Kind::Local if device.is_none() => LOCAL,
            kind if kind.leads() && device.is_some_and(|device| self.has(device, address)) => LOCAL,
            kind if kind.leads() => match told(address) {
                0 => UNSPECIFIED,
                told => told,
            },
            _ => return None,
        })
    }

    /// Index of the device to which nft's `fib` sees a route: of any, or of this one alone; 0 for none. `from` is the device that policy
    /// rules of IPv4 see the packet come by.
    pub(in crate::analysis) fn device_to(
        &self,
        query: &Query,
        from: Option<String>,
        device: Option<&str>,
    ) -> Option<u32> {
        let device = device.map(|name| self.index_of(Some(name))).transpose().ok()?;
        let of = |end: End<'_>| match (end, device) {
            (End::Route(route, _), _) if matches!(route.kind, RouteKind::Local) => 0,
            (End::Route(route, hop), None) => hop.and_then(|hop| route.hops.get(hop)).map_or(0, |hop| hop.interface),
            (End::Route(route, _), Some(device)) if route.hops.iter().any(|hop| hop.interface == device) => device,
            _ => 0,
        };
        let found: Vec<u32> = if query.destination.is_ipv4() {
            let from = from.or_else(|| self.loopback().map(|loopback| loopback.name.clone()));
            let ends = self.fib4(&Flow::of(query, from, 0)).ok()?;
            ends.found.iter().map(|found| of(found.end)).collect()
        } else {
            let (decisions, _) = self.ask(query).ok()?;
            let of = |decision: &Decision| match decision.kind {
                Kind::Unicast | Kind::Multicast | Kind::Broadcast => {
                    let index = self.index_of(decision.device.as_deref()).ok()?;
                    Some(if device.is_none_or(|device| device == index) { index } else { 0 })
                }
                _ => Some(0),
            };
            decisions.iter().map(of).collect::<Option<_>>()?
        };
        let first = *found.first()?;
        found.iter().all(|other| *other == first).then_some(first)
    }

    /// What becomes of it, where that is one thing.
    fn only_kind(&self, query: &Query) -> Option<Kind> {
        let (decisions, _): (Vec<Decision>, Option<Why>) = self.ask(query).ok()?;
        let first = decisions.first()?.kind;
        decisions.iter().all(|other| other.kind == first).then_some(first)
    }

    fn begins_a_network(&self, address: Ipv6Addr) -> bool {
        let begins = |route: &&Route| {
            route.destination.address == address && route.destination.bits < 127 && route.kind == RouteKind::Unicast
        };
        self.tables.values().flatten().any(begins)
    }

    /// The device has the address.
    fn has(&self, device: &str, address: Ipv6Addr) -> bool {
        let ready = |flags: u32| flags & TENTATIVE == 0 || flags & OPTIMISTIC != 0;
        let index = self.index_of(Some(device)).ok();
        self.addresses.iter().any(|own| Some(own.interface) == index && own.address == address && ready(own.flags))
    }
}
