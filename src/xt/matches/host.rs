//! An address with the length of its prefix, as conntrack, policy and srh are given one. Unlike that of `-s`, it keeps the bits behind
//! the prefix, and iptables takes a mask with holes for a whole one.

use std::net::IpAddr;

use super::Condition;
use crate::packet::{Field, number};
use crate::xt::extension::parse_whole;
use crate::xt::ip::{AddressMatch, address_text};

/// An address and the length of its prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Host {
    /// The address.
    pub address: IpAddr,
    /// How many of its bits are compared.
    pub prefix: u8,
}

impl Host {
    fn width(address: IpAddr) -> u8 {
        if address.is_ipv4() { 32 } else { 128 }
    }

    /// `None` for a mask with holes: no text says one.
    pub(super) fn new(address: IpAddr, mask: IpAddr) -> Option<Self> {
        let prefix = AddressMatch { negated: false, address, mask }.prefix()?;
        Some(Self { address, prefix: u8::try_from(prefix).ok()? })
    }

    pub(super) fn parse(text: &str, ipv6: bool) -> Option<Self> {
        let (address, mask) = text.split_once('/').map_or((text, None), |(address, mask)| (address, Some(mask)));
        let address: IpAddr = address.parse().ok().filter(|address: &IpAddr| address.is_ipv6() == ipv6)?;
        let width = Self::width(address);
        let prefix = match mask {
            None => width,
            Some(mask) => match mask.parse::<IpAddr>() {
                Ok(mask) if mask.is_ipv6() == ipv6 => Self::new(address, mask).map_or(width, |host| host.prefix),
                _ => parse_whole(mask).filter(|prefix| *prefix <= width)?,
            },
        };
        Some(Self { address, prefix })
    }

    /// `10.0.0.0/8`, `10.0.0.1`
    pub(super) fn text(self) -> String {
        if self.prefix == Self::width(self.address) { address_text(self.address) } else { self.whole_text() }
    }

    /// `10.0.0.1/32`
    pub(super) fn whole_text(self) -> String {
        format!("{}/{}", address_text(self.address), self.prefix)
    }

    pub(super) fn condition(self, field: Field) -> Condition {
        let behind = u32::from(Self::width(self.address) - self.prefix);
        let width = u32::from(Self::width(self.address));
        let whole = if width == 128 { u128::MAX } else { (1 << width) - 1 };
        let mask = whole & u128::MAX.checked_shl(behind).unwrap_or(0);
        Condition::Masked { field, mask, value: number(self.address) & mask }
    }
}
