//! Addresses as `-s` and `-d` take them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::extension::parse_number;
use super::ip::AddressMatch;

/// `10.0.0.0/8`, `10.0.0.0/255.0.0.0`, `10.0.0.5`; host bits are cleared, as when it is loaded. Host names are not looked up.
pub(super) fn parse_address(text: &str, negated: bool, ipv6: bool) -> Option<AddressMatch> {
    let (address, mask) = text.split_once('/').map_or((text, None), |(address, mask)| (address, Some(mask)));
    let mask = parse_mask(mask, ipv6)?;
    // iptables does not even look at the name before a mask of zeros (`any/0`).
    if mask.is_unspecified() {
        return Some(AddressMatch { negated, address: mask, mask });
    }
    let address = match ipv6 {
        true => address.parse::<Ipv6Addr>().ok()?.into(),
        false => parse_v4(address)?.into(),
    };
    Some(masked(address, mask, negated))
}

/// A mask or the length of one; the whole address where there is none.
fn parse_mask(mask: Option<&str>, ipv6: bool) -> Option<IpAddr> {
    let width = if ipv6 { 128 } else { 32 };
    let length = match mask.map(|mask| (mask, mask.parse::<IpAddr>())) {
        None => width,
        Some((_, Ok(mask))) => return Some(mask).filter(|mask| mask.is_ipv6() == ipv6),
        Some((length, Err(_))) => Some(parse_number(length)?).filter(|length| *length <= width)?,
    };
    Some(match ipv6 {
        true => IpAddr::from(u128::MAX.checked_shl(128 - length).unwrap_or(0).to_be_bytes()),
        false => IpAddr::from(u32::MAX.checked_shl(32 - length).unwrap_or(0).to_be_bytes()),
    })
}

/// Four numbers, or the first of them: `10.1` is 10.1.0.0, as a network is written. They may be hexadecimal or octal.
fn parse_v4(text: &str) -> Option<Ipv4Addr> {
    let mut octets = [0; 4];
    let mut parts = text.split('.');
    for (octet, part) in octets.iter_mut().zip(&mut parts) {
        *octet = u8::try_from(parse_number(part)?).ok()?;
    }
    parts.next().is_none().then(|| octets.into())
}

fn masked(address: IpAddr, mask: IpAddr, negated: bool) -> AddressMatch {
    let address = match (address, mask) {
        (IpAddr::V4(address), IpAddr::V4(mask)) => IpAddr::from((u32::from(address) & u32::from(mask)).to_be_bytes()),
        (IpAddr::V6(address), IpAddr::V6(mask)) => IpAddr::from((u128::from(address) & u128::from(mask)).to_be_bytes()),
        (address, _) => address,
    };
    AddressMatch { negated, address, mask }
}
