//! `NETMAP`: moves an address to the same place in another network (`struct nf_nat_ipv4_multi_range_compat`, `nf_nat_range`).

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Effect, Extension, Given, Targeting};
use crate::xt::bytes::{Layout, prefix_length, prefix_mask};
use crate::xt::extension::parse_whole;
use crate::xt::ip::address_text;

/// Another network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Netmap {
    /// Its address.
    pub network: IpAddr,
    /// Its leading bits.
    pub length: u8,
}

/// `NF_NAT_RANGE_MAP_IPS`
const MAP_IPS: u32 = 1;

/// The address of the network in which this one lies.
fn masked(address: IpAddr, mask: IpAddr) -> Option<IpAddr> {
    Some(match (address, mask) {
        (IpAddr::V4(address), IpAddr::V4(mask)) => (address & mask).into(),
        (IpAddr::V6(address), IpAddr::V6(mask)) => (address & mask).into(),
        _ => return None,
    })
}

impl Extension for Netmap {
    const NAMES: &'static [&'static str] = &["NETMAP"];
    const OPTIONS: &'static [(&'static str, usize)] = &[("--to", 1)];

    fn decode(revision: u8, data: &[u8], ipv6: bool) -> Option<Self> {
        let (flags, first, last) = if ipv6 {
            let layout = Layout::of(data, 40)?;
            (layout.u32(0)?, layout.v6(4)?, layout.v6(20)?)
        } else {
            let layout = Layout::of(data, 20).filter(|layout| layout.u32(0) == Some(1))?;
            (layout.u32(4)?, layout.v4(8)?, layout.v4(12)?)
        };
        let mask: IpAddr = match (first, last) {
            (IpAddr::V4(first), IpAddr::V4(last)) => Ipv4Addr::from_bits(!(first.to_bits() ^ last.to_bits())).into(),
            (IpAddr::V6(first), IpAddr::V6(last)) => Ipv6Addr::from_bits(!(first.to_bits() ^ last.to_bits())).into(),
            _ => return None,
        };
        // Of a mask with holes iptables prints another network.
        let length = prefix_length(mask)?;
        (revision == 0 && flags == MAP_IPS && masked(first, mask)? == first).then_some(Self { network: first, length })
    }

    fn parse(_name: &str, options: &[Given], ipv6: bool) -> Option<Self> {
        let text = options.first()?.value();
        let (address, mask) = text.split_once('/').map_or((text, None), |(address, mask)| (address, Some(mask)));
        let address: IpAddr = address.parse().ok().filter(|address: &IpAddr| address.is_ipv6() == ipv6)?;
        let mask = match mask {
            None => prefix_mask(if ipv6 { 128 } else { 32 }, ipv6)?,
            Some(text) => match parse_whole(text) {
                Some(length) => prefix_mask(length, ipv6)?,
                None => text.parse().ok()?,
            },
        };
        Some(Self { network: masked(address, mask)?, length: prefix_length(mask)? })
    }

    fn save(&self, out: &mut String) {
        // Writing to a String cannot fail.
        write!(out, " --to {}/{}", address_text(self.network), self.length).ok();
    }
}

impl Targeting for Netmap {
    fn effect(&self) -> Effect {
        match prefix_mask(self.length, self.network.is_ipv6()) {
            Some(mask) => Effect::Network { address: self.network, mask },
            None => Effect::Opaque("a network of an impossible length".to_owned()),
        }
    }

    fn explain(&self) -> String {
        format!("moved to the same place in {}/{}", address_text(self.network), self.length)
    }
}
