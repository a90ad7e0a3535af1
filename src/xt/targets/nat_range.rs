//! What an end of a connection may be translated to: shared by the targets that translate
//! (`struct nf_nat_ipv4_multi_range_compat`, `nf_nat_range`, `nf_nat_range2`, `include/uapi/linux/netfilter/nf_nat.h`).

use std::fmt::Write;
use std::net::IpAddr;

use super::Given;
use crate::xt::bytes::Layout;
use crate::xt::ip::{address_text, put_number};
use crate::xt::services::port;

/// Ports, ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortRange {
    /// First.
    pub from: u16,
    /// Last.
    pub to: u16,
}

impl PortRange {
    /// `15001` or `15001-15006`.
    #[must_use]
    pub fn text(self) -> String {
        if self.from == self.to { self.from.to_string() } else { format!("{}-{}", self.from, self.to) }
    }

    fn parse(text: &str) -> Option<Self> {
        if let Some(port) = port(text) {
            return Some(Self { from: port, to: port });
        }
        // Names of services have hyphens too.
        text.match_indices('-')
            .find_map(|(at, _)| Some(Self { from: port(text.get(..at)?)?, to: port(text.get(at + 1..)?)? }))
    }
}

/// What an end may be translated to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NatRange {
    /// First and last address.
    pub addresses: Option<(IpAddr, IpAddr)>,
    /// Ports.
    pub ports: Option<PortRange>,
    /// `NF_NAT_RANGE_*` bits beyond those that say which of the others are there.
    pub flags: u32,
    /// The port that becomes the first one, the next one the second and so on (`--to-destination :1000-2000/5000`).
    pub base: Option<u16>,
}

/// What the ports may become where the kernel chooses the address (REDIRECT, MASQUERADE): a small part of a [`NatRange`], since nearly
/// every rule of some tables has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NatPorts {
    /// Ports.
    pub ports: Option<PortRange>,
    /// As in [`NatRange`].
    pub flags: u32,
}

/// `NF_NAT_RANGE_*`.
const MAP_IPS: u32 = 1;
const PROTO_SPECIFIED: u32 = 2;
const RANDOM: u32 = 4;
const PERSISTENT: u32 = 8;
const FULLY_RANDOM: u32 = 16;
const PROTO_OFFSET: u32 = 32;

impl NatRange {
    /// The IPv4 structure: a count (1), then flags, addresses and ports.
    fn decode_v4(data: &[u8]) -> Option<Self> {
        let layout = Layout::of(data, 20)?;
        if layout.u32(0)? != 1 {
            return None;
        }
        let addresses = (layout.v4(8)?, layout.v4(12)?);
        Self::from_parts(layout.u32(4)?, addresses, (layout.be16(16)?, layout.be16(18)?), 0)
    }

    /// The structure for both families: flags, two addresses of sixteen bytes, ports, and in its second form the base.
    fn decode_any(data: &[u8], ipv6: bool, second: bool) -> Option<Self> {
        let layout = Layout::of(data, if second { 42 } else { 40 })?;
        let address = |at| layout.address(at, ipv6);
        // The first forms have no place for the base, for which the kernel then takes 0.
        let base = if second { layout.be16(40)? } else { 0 };
        let ports = (layout.be16(36)?, layout.be16(38)?);
        Self::from_parts(layout.u32(0)?, (address(4)?, address(20)?), ports, base)
    }

    fn from_parts(flags: u32, addresses: (IpAddr, IpAddr), ports: (u16, u16), base: u16) -> Option<Self> {
        if flags & !(MAP_IPS | PROTO_SPECIFIED | RANDOM | PERSISTENT | FULLY_RANDOM | PROTO_OFFSET) != 0 {
            return None;
        }
        let shifted = flags & PROTO_OFFSET != 0;
        // A base is written behind a range of ports.
        if shifted && (flags & PROTO_SPECIFIED == 0 || ports.0 >= ports.1) {
            return None;
        }
        Some(Self {
            addresses: (flags & MAP_IPS != 0).then_some(addresses),
            ports: (flags & PROTO_SPECIFIED != 0).then_some(PortRange { from: ports.0, to: ports.1 }),
            flags: flags & !(MAP_IPS | PROTO_SPECIFIED | PROTO_OFFSET),
            base: shifted.then_some(base),
        })
    }

    /// The range, where it says something that DNAT and SNAT can write.
    fn with_an_end(self) -> Option<Self> {
        (self.addresses.is_some() || self.ports.is_some()).then_some(self)
    }

    /// Its ports, where it has no address: REDIRECT and MASQUERADE write none.
    pub(crate) fn without_address(self) -> Option<NatPorts> {
        let Self { addresses, ports, flags, base } = self;
        (addresses.is_none() && base.is_none()).then_some(NatPorts { ports, flags })
    }

    /// `10.0.0.1-10.0.0.9:80-90`, `[fd00::1]:80`, `:80`.
    #[must_use]
    pub fn text(&self) -> String {
        let address = self.addresses.map_or(String::new(), |(from, to)| {
            let (first, last) = (address_text(from), address_text(to));
            let range = if from == to { first } else { format!("{first}-{last}") };
            if from.is_ipv6() && self.ports.is_some() { format!("[{range}]") } else { range }
        });
        match self.ports {
            Some(ports) => {
                format!("{address}:{}{}", ports.text(), self.base.map_or(String::new(), |base| format!("/{base}")))
            }
            None => address,
        }
    }

    /// The same, and how the choice among several is made.
    pub(super) fn words(&self) -> String {
        let ports = self.ports.map(|ports| {
            let base = self.base.map_or(String::new(), |base| format!(", shifted from {base} on"));
            match self.addresses {
                None => format!("port {}{base}", ports.text()),
                Some(_) => base,
            }
        });
        let plain = Self { base: None, ..*self }.text();
        let ends = match (self.addresses, ports) {
            (None, Some(ports)) => ports,
            (Some(_), Some(base)) => format!("{plain}{base}"),
            _ => plain,
        };
        format!("{ends}{}", self.manner())
    }

    /// `, at random`
    pub(super) fn manner(&self) -> String {
        const MANNERS: [(u32, &str); 3] = [
            (RANDOM, ", port at random"),
            (FULLY_RANDOM, ", port fully at random"),
            (PERSISTENT, ", the same for each client"),
        ];
        MANNERS.into_iter().filter(|(bit, _)| self.flags & bit != 0).map(|(_, words)| words).collect()
    }

    /// `dnat to 10.0.0.1:80 random,persistent`; nft has no words for shifted ports.
    pub(super) fn nft_text(&self, word: &str) -> Option<String> {
        if self.base.is_some() {
            return None;
        }
        let to = self.text();
        let to = if to.is_empty() { to } else { format!(" to {to}") };
        let flags = [(RANDOM, "random"), (FULLY_RANDOM, "fully-random"), (PERSISTENT, "persistent")];
        let flags: Vec<&str> =
            flags.into_iter().filter(|(bit, _)| self.flags & bit != 0).map(|(_, name)| name).collect();
        let flags = if flags.is_empty() { String::new() } else { format!(" {}", flags.join(",")) };
        Some(format!("{word}{to}{flags}"))
    }

    fn parse_text(text: &str) -> Option<Self> {
        if let Ok(whole) = text.parse::<IpAddr>() {
            return Some(Self { addresses: Some((whole, whole)), ..Self::default() });
        }
        let (address, ports) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((address, rest)) => (address, rest.strip_prefix(':')),
            None if text.matches(':').count() > 1 => (text, None),
            None => text.split_once(':').map_or((text, None), |(address, ports)| (address, Some(ports))),
        };
        let addresses = match address {
            "" => None,
            range => {
                let (from, to) = range.split_once('-').unwrap_or((range, range));
                Some((from.parse().ok()?, to.parse().ok()?))
            }
        };
        let (ports, base) = match ports.map(|ports| ports.split_once('/').unwrap_or((ports, ""))) {
            None => (None, None),
            Some((ports, "")) => (Some(PortRange::parse(ports)?), None),
            // A base shifts a range of ports.
            Some((ports, base)) => (Some(PortRange::parse(ports).filter(|it| it.from < it.to)?), port(base)),
        };
        let parsed = Self { addresses, ports, flags: 0, base };
        (text.contains('/') == base.is_some()).then_some(parsed)
    }

    /// Of a target that names an end (DNAT, SNAT).
    pub(super) fn decode_end(revision: u8, data: &[u8], ipv6: bool) -> Option<Self> {
        match revision {
            0 if !ipv6 => Self::decode_v4(data)?.with_an_end(),
            1 | 2 => Self::decode_any(data, ipv6, revision == 2)?.with_an_end(),
            _ => None,
        }
    }

    /// From the options of a target that names an end; `main` is the option that does.
    pub(super) fn parse_end(options: &[Given], main: &str) -> Option<Self> {
        let mut range = Self::default();
        for given in options {
            match given.name {
                name if name == main => range = Self { flags: range.flags, ..Self::parse_text(given.value())? },
                option => range.flags |= flag(option),
            }
        }
        range.with_an_end()
    }

    /// Appends the option that names the end, and the flags.
    pub(super) fn save_end(&self, option: &str, out: &mut String) {
        // Writing to a String cannot fail.
        write!(out, " {option} {}", self.text()).ok();
        save_flags(self.flags, out);
    }
}

impl NatPorts {
    /// Of a target whose address the kernel chooses (REDIRECT, MASQUERADE).
    pub(super) fn decode(revision: u8, data: &[u8], ipv6: bool) -> Option<Self> {
        match (revision, ipv6) {
            (0, false) => NatRange::decode_v4(data)?.without_address(),
            (0, true) => NatRange::decode_any(data, true, false)?.without_address(),
            _ => None,
        }
    }

    /// From the options of a target whose address the kernel chooses.
    pub(super) fn parse(options: &[Given]) -> Option<Self> {
        let mut found = Self::default();
        for given in options {
            match given.name {
                "--to-ports" => found.ports = Some(PortRange::parse(given.value())?),
                option => found.flags |= flag(option),
            }
        }
        Some(found)
    }

    /// Appends the ports, where there are some, and the flags.
    pub(super) fn save(&self, out: &mut String) {
        if let Some(ports) = self.ports {
            out.push_str(" --to-ports ");
            put_number(ports.from.into(), out);
            if ports.from != ports.to {
                out.push('-');
                put_number(ports.to.into(), out);
            }
        }
        save_flags(self.flags, out);
    }

    /// The same as a range without addresses.
    pub(super) fn range(self) -> NatRange {
        NatRange { ports: self.ports, flags: self.flags, ..NatRange::default() }
    }
}

fn save_flags(flags: u32, out: &mut String) {
    out.push_str(if flags & RANDOM != 0 { " --random" } else { "" });
    out.push_str(if flags & FULLY_RANDOM != 0 { " --random-fully" } else { "" });
    out.push_str(if flags & PERSISTENT != 0 { " --persistent" } else { "" });
}

fn flag(option: &str) -> u32 {
    match option {
        "--random" => RANDOM,
        "--random-fully" => FULLY_RANDOM,
        "--persistent" => PERSISTENT,
        _ => 0,
    }
}
