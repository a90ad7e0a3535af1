//! `DNPT`: gives the destination another prefix, without tracking (`struct ip6t_npt_tginfo`; RFC 6296).

use std::fmt::Write;
use std::net::{IpAddr, Ipv6Addr};

use super::{Effect, Extension, Given, Targeting};
use crate::xt::bytes::Layout;
use crate::xt::extension::parse_whole;
use crate::xt::ip::address_text;

/// From one prefix to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefixes {
    /// The old one; it is not asked for.
    pub from: (Ipv6Addr, u8),
    /// The new one.
    pub to: (Ipv6Addr, u8),
}

/// `DNPT`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dnpt(
    /// The prefixes.
    pub Prefixes,
);

fn text((address, length): (Ipv6Addr, u8)) -> String {
    format!("{}/{length}", address_text(IpAddr::V6(address)))
}

impl Prefixes {
    pub(super) const OPTIONS: &'static [(&'static str, usize)] = &[("--src-pfx", 1), ("--dst-pfx", 1)];

    pub(super) fn decode(revision: u8, data: &[u8], ipv6: bool) -> Option<Self> {
        let layout = Layout::of(data, 36)?;
        let prefix = |at, length_at| {
            let IpAddr::V6(address) = layout.v6(at)? else { return None };
            Some((address, layout.u8(length_at).filter(|length| (1..=64).contains(length))?))
        };
        (revision == 0 && ipv6).then(|| Some(Self { from: prefix(0, 32)?, to: prefix(16, 33)? }))?
    }

    pub(super) fn parse(options: &[Given]) -> Option<Self> {
        let prefix = |name: &str| {
            let (address, length) = options.iter().find(|given| given.name == name)?.value().split_once('/')?;
            let length = parse_whole(length).filter(|length: &u8| (1..=64).contains(length))?;
            Some((address.parse().ok()?, length))
        };
        Some(Self { from: prefix("--src-pfx")?, to: prefix("--dst-pfx")? })
    }

    pub(super) fn save(&self, out: &mut String) {
        // Writing to a String cannot fail.
        write!(out, " --src-pfx {} --dst-pfx {}", text(self.from), text(self.to)).ok();
    }

    pub(super) fn explain(&self, end: &str) -> String {
        format!("{end} moves from {} to {}, untracked", text(self.from), text(self.to))
    }
}

impl Extension for Dnpt {
    const NAMES: &'static [&'static str] = &["DNPT"];
    const OPTIONS: &'static [(&'static str, usize)] = Prefixes::OPTIONS;

    fn decode(revision: u8, data: &[u8], ipv6: bool) -> Option<Self> {
        Prefixes::decode(revision, data, ipv6).map(Self)
    }

    fn parse(_name: &str, options: &[Given], _ipv6: bool) -> Option<Self> {
        Prefixes::parse(options).map(Self)
    }

    fn save(&self, out: &mut String) {
        self.0.save(out);
    }
}

impl Targeting for Dnpt {
    fn effect(&self) -> Effect {
        Effect::Prefix { destination: true, prefix: self.0.to }
    }

    fn explain(&self) -> String {
        self.0.explain("destination")
    }
}
