//! Routes, policy rules and addresses as routing netlink gives them.
//!
//! Source of the layouts: `include/uapi/linux/rtnetlink.h` (`rtmsg`, `RTA_*`, `rtnexthop`), `fib_rules.h` (`fib_rule_hdr`, `FRA_*`),
//! `if_addr.h` (`ifaddrmsg`, `IFA_*`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::address::ip;
use super::attribute::{Attribute, attributes};
use super::rtnetlink::RtnetlinkError;
use crate::model::{Network, NextHop, OwnAddress, PolicyRule, Route, RouteKind, RuleAction, UnknownPart};

/// `RTM_GETROUTE`: request for routes.
pub const GET_ROUTE: u16 = 26;
/// `RTM_NEWROUTE`: a route.
pub const NEW_ROUTE: u16 = 24;
/// `RTM_GETRULE`: request for policy rules.
pub const GET_RULE: u16 = 34;
/// `RTM_NEWRULE`: a policy rule.
pub const NEW_RULE: u16 = 32;

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
/// Bytes of `struct rtmsg`, and of `struct fib_rule_hdr`.
const HEAD: usize = 12;
/// Bytes of `struct ifaddrmsg`.
const ADDRESS: usize = 8;
/// Bytes of `struct rtnexthop`.
const HOP: usize = 8;

const RTA_GATEWAY: u16 = 5;
const RTA_VIA: u16 = 18;

/// The payload of a dump request for all routes, or all rules, of one family.
#[must_use]
pub fn request(ipv6: bool) -> Vec<u8> {
    let mut head = vec![0; HEAD];
    if let Some(family) = head.first_mut() {
        *family = if ipv6 { AF_INET6 } else { AF_INET };
    }
    head
}

/// The head of a message, the family of which is the wanted one: a kernel without IPv6 answers for every family it has.
fn head<'a>(payload: &'a [u8], ipv6: bool, what: &'static str) -> Result<Option<&'a [u8; HEAD]>, RtnetlinkError> {
    let short = RtnetlinkError::Short { what, length: payload.len() };
    let head: &[u8; HEAD] = payload.first_chunk().ok_or(short)?;
    let [family, ..] = *head;
    Ok((family == if ipv6 { AF_INET6 } else { AF_INET }).then_some(head))
}

/// An address, whose length has to be that of the family.
fn address(attribute: &Attribute<'_>, ipv6: bool) -> Option<IpAddr> {
    ip(attribute).filter(|address| address.is_ipv6() == ipv6)
}

/// `struct rtvia`: the family, then the address.
fn via(attribute: &Attribute<'_>) -> Option<IpAddr> {
    let (family, bytes) = attribute.value.split_first_chunk::<2>()?;
    match (u16::from_ne_bytes(*family), bytes.len()) {
        (2, 4) => bytes.first_chunk::<4>().map(|bytes| Ipv4Addr::from(*bytes).into()),
        (10, 16) => bytes.first_chunk::<16>().map(|bytes| Ipv6Addr::from(*bytes).into()),
        _ => None,
    }
}

/// Exactly four bytes.
fn word(attribute: &Attribute<'_>) -> Option<u32> {
    attribute.u32().filter(|_| attribute.value.len() == 4)
}

/// Exactly one byte.
fn byte(attribute: &Attribute<'_>) -> Option<u8> {
    attribute.u8().filter(|_| attribute.value.len() == 1)
}

/// Reads a [route](NEW_ROUTE); `None` where it is of another family, or a copy that the kernel made of one for its cache.
///
/// # Errors
/// See [`RtnetlinkError`].
pub fn decode_route(payload: &[u8], ipv6: bool) -> Result<Option<Route>, RtnetlinkError> {
    const RTM_F_CLONED: u32 = 0x200;
    let Some([_, bits, source_bits, tos, table, protocol, scope, kind, f0, f1, f2, f3]) = head(payload, ipv6, "route")?
    else {
        return Ok(None);
    };
    let flags = u32::from_ne_bytes([*f0, *f1, *f2, *f3]);
    if flags & RTM_F_CLONED != 0 {
        return Ok(None);
    }
    let mut route = Route {
        kind: RouteKind::from_number(*kind),
        destination: Network { bits: *bits, ..Network::all(ipv6) },
        source: (*source_bits > 0).then(|| Network { bits: *source_bits, ..Network::all(ipv6) }),
        tos: *tos,
        table: (*table).into(),
        protocol: *protocol,
        scope: *scope,
        flags,
        priority: 0,
        preferred_source: None,
        preference: None,
        hops: Vec::new(),
        next_hop_object: None,
        unknown: Vec::new(),
    };
    let [low, ..] = flags.to_le_bytes();
    let mut single = NextHop { interface: 0, gateway: None, weight: 1, flags: low };
    for attribute in attributes(payload.get(HEAD..).unwrap_or_default()) {
        let attribute = attribute?;
        if add_to_route(&mut route, &mut single, &attribute, ipv6).is_none() {
            route.unknown.push(UnknownPart::new(&[attribute.kind], attribute.value));
        }
    }
    if route.hops.is_empty() && (single.interface != 0 || single.gateway.is_some()) {
        route.hops.push(single);
    }
    Ok(Some(route))
}

/// One attribute; `None` where it is not understood.
fn add_to_route(route: &mut Route, single: &mut NextHop, attribute: &Attribute<'_>, ipv6: bool) -> Option<()> {
    match attribute.kind {
        1 => route.destination.address = address(attribute, ipv6)?,
        2 => route.source.as_mut()?.address = address(attribute, ipv6)?,
        4 => single.interface = word(attribute)?,
        RTA_GATEWAY => single.gateway = Some(address(attribute, ipv6)?),
        RTA_VIA => single.gateway = Some(via(attribute)?),
        6 => route.priority = word(attribute)?,
        7 => route.preferred_source = Some(address(attribute, ipv6)?),
        9 => route.hops = hops(attribute, ipv6)?,
        // How long it is in use and unused: changes while nothing does.
        12 => {}
        15 => route.table = word(attribute)?,
        20 => route.preference = Some(byte(attribute)?),
        30 => route.next_hop_object = Some(word(attribute)?),
        _ => return None,
    }
    Some(())
}

/// `RTA_MULTIPATH`: `struct rtnexthop` and attributes, one behind the other.
fn hops(attribute: &Attribute<'_>, ipv6: bool) -> Option<Vec<NextHop>> {
    let (mut rest, mut hops) = (attribute.value, Vec::new());
    while !rest.is_empty() {
        let [l0, l1, flags, weight, i0, i1, i2, i3] = *rest.first_chunk::<HOP>()?;
        let length = usize::from(u16::from_ne_bytes([l0, l1]));
        let inside = rest.get(HOP..length)?;
        let interface = u32::from_ne_bytes([i0, i1, i2, i3]);
        let mut hop = NextHop { interface, gateway: None, weight: u16::from(weight) + 1, flags };
        for attribute in attributes(inside) {
            let attribute = attribute.ok()?;
            match attribute.kind {
                RTA_GATEWAY => hop.gateway = Some(address(&attribute, ipv6)?),
                RTA_VIA => hop.gateway = Some(via(&attribute)?),
                _ => {}
            }
        }
        hops.push(hop);
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Some(hops)
}

/// Reads a [policy rule](NEW_RULE); `None` where it is of another family.
///
/// # Errors
/// See [`RtnetlinkError`].
pub fn decode_rule(payload: &[u8], ipv6: bool) -> Result<Option<PolicyRule>, RtnetlinkError> {
    const FIB_RULE_INVERT: u32 = 2;
    let Some([_, to, from, tos, table, _, _, action, f0, f1, f2, f3]) = head(payload, ipv6, "policy rule")? else {
        return Ok(None);
    };
    let flags = u32::from_ne_bytes([*f0, *f1, *f2, *f3]);
    let network = |bits: u8| (bits > 0).then(|| Network { bits, ..Network::all(ipv6) });
    let mut rule = PolicyRule {
        ipv6,
        priority: 0,
        action: RuleAction::Nop,
        invert: flags & FIB_RULE_INVERT != 0,
        from: network(*from),
        to: network(*to),
        input: None,
        output: None,
        mark: None,
        users: None,
        protocol: None,
        source_ports: None,
        destination_ports: None,
        tos: *tos,
        vrf: false,
        suppress_prefix: None,
        suppress_group: None,
        flags,
        maker: 0,
        unknown: Vec::new(),
    };
    let mut end = (u32::from(*table), None);
    for attribute in attributes(payload.get(HEAD..).unwrap_or_default()) {
        let attribute = attribute?;
        if add_to_rule(&mut rule, &mut end, &attribute).is_none() {
            rule.unknown.push(UnknownPart::new(&[attribute.kind], attribute.value));
        }
    }
    let (table, target) = end;
    rule.action = match (action, target) {
        (1, _) => RuleAction::Lookup(table),
        (2, Some(target)) => RuleAction::Goto(target),
        (3, _) => RuleAction::Nop,
        (6, _) => RuleAction::Blackhole,
        (7, _) => RuleAction::Unreachable,
        (8, _) => RuleAction::Prohibit,
        (other, _) => RuleAction::Other(*other),
    };
    Ok(Some(rule))
}

/// One attribute, and the table and the rule that it leads to; `None` where it is not understood.
fn add_to_rule(rule: &mut PolicyRule, end: &mut (u32, Option<u32>), attribute: &Attribute<'_>) -> Option<()> {
    // It says "none" with all bits.
    let some = |value: u32| (value != u32::MAX).then_some(value);
    match attribute.kind {
        1 => rule.to.as_mut()?.address = address(attribute, rule.ipv6)?,
        2 => rule.from.as_mut()?.address = address(attribute, rule.ipv6)?,
        3 => rule.input = Some(attribute.text()),
        4 => end.1 = Some(word(attribute)?),
        6 => rule.priority = word(attribute)?,
        10 => rule.mark = Some((word(attribute)?, rule.mark.map_or(u32::MAX, |(_, mask)| mask))),
        13 => rule.suppress_group = some(word(attribute)?),
        14 => rule.suppress_prefix = some(word(attribute)?).map(|bits| u8::try_from(bits).unwrap_or(u8::MAX)),
        15 => end.0 = word(attribute)?,
        16 => rule.mark = Some((rule.mark.map_or(0, |(mark, _)| mark), word(attribute)?)),
        17 => rule.output = Some(attribute.text()),
        18 => {}
        19 => rule.vrf = byte(attribute)? != 0,
        20 => {
            let [a, b, c, d, e, f, g, h] = *attribute.value.first_chunk::<8>()?;
            rule.users = Some((u32::from_ne_bytes([a, b, c, d]), u32::from_ne_bytes([e, f, g, h])));
        }
        21 => rule.maker = byte(attribute)?,
        22 => rule.protocol = Some(byte(attribute)?),
        23 => rule.source_ports = Some(ports(attribute)?),
        24 => rule.destination_ports = Some(ports(attribute)?),
        // Masks of the ports (since Linux 6.15): all their bits.
        28 | 29 if attribute.value == [0xff, 0xff] => {}
        _ => return None,
    }
    Some(())
}

/// `struct fib_rule_port_range`.
fn ports(attribute: &Attribute<'_>) -> Option<(u16, u16)> {
    let [a, b, c, d] = *attribute.value.first_chunk::<4>()?;
    Some((u16::from_ne_bytes([a, b]), u16::from_ne_bytes([c, d])))
}

/// Reads an [address](super::rtnetlink::NEW_ADDRESS) with all that decides whether packets are sent from it.
///
/// # Errors
/// See [`RtnetlinkError`].
pub fn decode_own(payload: &[u8]) -> Result<OwnAddress, RtnetlinkError> {
    let short = RtnetlinkError::Short { what: "address", length: payload.len() };
    let [_, bits, flags, scope, i0, i1, i2, i3] = *payload.first_chunk::<ADDRESS>().ok_or(short)?;
    let interface = u32::from_ne_bytes([i0, i1, i2, i3]);
    let (mut far, mut local, mut flags) = (None, None, u32::from(flags));
    for attribute in attributes(payload.get(ADDRESS..).unwrap_or_default()) {
        let attribute = attribute?;
        match attribute.kind {
            1 => far = ip(&attribute),
            2 => local = ip(&attribute),
            // More bits than the head has room for.
            8 => flags = attribute.u32().unwrap_or(flags),
            _ => {}
        }
    }
    let address = local.or(far).ok_or(RtnetlinkError::Addressless(interface))?;
    let network = Network { address: far.unwrap_or(address), bits };
    Ok(OwnAddress { interface, address, network, scope, flags })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::attribute::Builder;
    use super::*;

    fn route() -> Builder {
        Builder::after(&[2, 24, 0, 0, 254, 4, 0, 1, 0, 0, 0, 0]).put(1, &[10, 9, 8, 0]).put(15, &300_u32.to_ne_bytes())
    }

    #[test]
    fn a_route_with_a_router_of_the_other_family() {
        let router: Ipv6Addr = "fe80::1".parse().expect("an address");
        let value = [&10_u16.to_ne_bytes()[..], &router.octets()].concat();
        let message = route().put(4, &7_u32.to_ne_bytes()).put(18, &value).put(99, &[1, 2]).finish();
        let route = decode_route(&message, false).expect("a route").expect("of IPv4");
        assert_eq!((route.table, route.kind, route.destination.bits), (300, RouteKind::Unicast, 24));
        assert_eq!(route.hops, [NextHop { interface: 7, gateway: Some(router.into()), weight: 1, flags: 0 }]);
        assert_eq!(route.unknown, [UnknownPart::new(&[99], &[1, 2])]);
        assert_eq!(decode_route(&message, true), Ok(None));
        assert!(decode_route(&message[..HEAD - 1], false).is_err());
    }

    #[test]
    fn next_hops_that_do_not_divide_are_kept_as_they_are() {
        let cut = [16, 0, 0, 0, 7, 0, 0, 0];
        let route = decode_route(&route().put(9, &cut).finish(), false).expect("a route").expect("of IPv4");
        assert_eq!((route.hops, route.unknown), (Vec::new(), vec![UnknownPart::new(&[9], &cut)]));
    }

    #[test]
    fn a_rule_whose_parts_have_other_lengths_is_not_understood() {
        let head = [2, 0, 0, 0, 254, 0, 0, 1, 2, 0, 0, 0];
        let message = Builder::after(&head).put(23, &[1]).put(10, &5_u32.to_ne_bytes()).put(16, &[255, 0, 0, 0]);
        let rule = decode_rule(&message.finish(), false).expect("a rule").expect("of IPv4");
        assert_eq!((rule.action, rule.invert, rule.mark), (RuleAction::Lookup(254), true, Some((5, 255))));
        assert_eq!(rule.unknown, [UnknownPart::new(&[23], &[1])]);
    }

    proptest! {
        #[test]
        fn any_bytes_give_an_answer(bytes in proptest::collection::vec(any::<u8>(), 0..128)) {
            for ipv6 in [false, true] {
                let _ = (decode_route(&bytes, ipv6), decode_rule(&bytes, ipv6));
            }
            let _ = decode_own(&bytes);
        }
    }
}
