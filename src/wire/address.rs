//! Addresses that stand alone in a netlink attribute: the length tells the family.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::attribute::Attribute;

/// Four bytes are an IPv4 address, sixteen an IPv6 one, anything else is none.
pub(super) fn ip(attribute: &Attribute<'_>) -> Option<IpAddr> {
    match attribute.value.len() {
        4 => attribute.value.first_chunk::<4>().map(|bytes| Ipv4Addr::from(*bytes).into()),
        16 => attribute.value.first_chunk::<16>().map(|bytes| Ipv6Addr::from(*bytes).into()),
        _ => None,
    }
}
