//! Addresses as `-s` and `-d` take them.

use std::net::IpAddr;

use super::ip::AddressMatch;

/// `10.0.0.0/8`, `10.0.0.0/255.0.0.0`, `10.0.0.5`; host bits are cleared, as when it is loaded. Host names are not looked up.
pub(super) fn parse_address(text: &str, negated: bool, ipv6: bool) -> Option<AddressMatch> {
    let (address, mask) = text.split_once('/').map_or((text, None), |(address, mask)| (address, Some(mask)));
    let address: IpAddr = address.parse().ok().filter(|address: &IpAddr| address.is_ipv6() == ipv6)?;
    let width = if ipv6 { 128 } else { 32 };
    let bits = match mask {
        None => width,
        Some(mask) if mask.parse::<IpAddr>().is_ok_and(|mask| mask.is_ipv6() == ipv6) => {
            return Some(masked(address, mask.parse().ok()?, negated));
        }
        Some(length) => length.parse().ok().filter(|length| *length <= width)?,
    };
    let mask = match ipv6 {
        true => IpAddr::from(u128::MAX.checked_shl(128 - bits).unwrap_or(0).to_be_bytes()),
        false => IpAddr::from(u32::MAX.checked_shl(32 - bits).unwrap_or(0).to_be_bytes()),
    };
    Some(masked(address, mask, negated))
}

fn masked(address: IpAddr, mask: IpAddr, negated: bool) -> AddressMatch {
    let address = match (address, mask) {
        (IpAddr::V4(address), IpAddr::V4(mask)) => IpAddr::from((u32::from(address) & u32::from(mask)).to_be_bytes()),
        (IpAddr::V6(address), IpAddr::V6(mask)) => IpAddr::from((u128::from(address) & u128::from(mask)).to_be_bytes()),
        (address, _) => address,
    };
    AddressMatch { negated, address, mask }
}
