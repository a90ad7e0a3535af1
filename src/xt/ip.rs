//! The part of a rule that every rule has: addresses, devices, protocol, fragments.

use std::fmt::Write;
use std::net::IpAddr;

use super::extension::parse_whole;
use crate::packet::{Condition, Device, Field, number};

/// `-s` or `-d`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressMatch {
    /// `!`
    pub negated: bool,
    /// Address.
    pub address: IpAddr,
    /// Mask; need not be a prefix.
    pub mask: IpAddr,
}

/// `-i` or `-o`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceMatch {
    /// `!`
    pub negated: bool,
    /// The name, without the `+`.
    pub name: String,
    /// A `+` stands behind it: a beginning.
    pub prefix: bool,
}

/// `-p`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProtocolMatch {
    /// `!`
    pub negated: bool,
    /// IANA number.
    pub number: u8,
}

/// `-f`: second and further fragments (`! -f`: the others).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fragments {
    /// `!`
    pub negated: bool,
}

/// Addresses, devices and protocol of a rule.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IpPart {
    /// `-s`
    pub source: Option<AddressMatch>,
    /// `-d`
    pub destination: Option<AddressMatch>,
    /// `-i`
    pub input: Option<Box<DeviceMatch>>,
    /// `-o`
    pub output: Option<Box<DeviceMatch>>,
    /// `-p`
    pub protocol: Option<ProtocolMatch>,
    /// `-f`
    pub fragments: Option<Fragments>,
}

/// Protocols by the names of Debian's `/etc/protocols`, which iptables prints.
const PROTOCOLS: [(u8, &str); 54] = [
    (1, "icmp"),
    (2, "igmp"),
    (3, "ggp"),
    (4, "ipencap"),
    (5, "st"),
    (6, "tcp"),
    (8, "egp"),
    (9, "igp"),
    (12, "pup"),
    (17, "udp"),
    (20, "hmp"),
    (22, "xns-idp"),
    (27, "rdp"),
    (29, "iso-tp4"),
    (33, "dccp"),
    (36, "xtp"),
    (37, "ddp"),
    (38, "idpr-cmtp"),
    (41, "ipv6"),
    (43, "ipv6-route"),
    (44, "ipv6-frag"),
    (45, "idrp"),
    (46, "rsvp"),
    (47, "gre"),
    (50, "esp"),
    (51, "ah"),
    (57, "skip"),
    (58, "ipv6-icmp"),
    (59, "ipv6-nonxt"),
    (60, "ipv6-opts"),
    (73, "rspf"),
    (81, "vmtp"),
    (88, "eigrp"),
    (89, "ospf"),
    (93, "ax.25"),
    (94, "ipip"),
    (97, "etherip"),
    (98, "encap"),
    (103, "pim"),
    (108, "ipcomp"),
    (112, "vrrp"),
    (115, "l2tp"),
    (124, "isis"),
    (132, "sctp"),
    (133, "fc"),
    (135, "mobility-header"),
    (136, "udplite"),
    (137, "mpls-in-ip"),
    (138, "manet"),
    (139, "hip"),
    (140, "shim6"),
    (141, "wesp"),
    (142, "rohc"),
    (143, "ethernet"),
];

/// The name of an IANA protocol number, or the number itself.
#[must_use]
pub fn protocol_name(number: u8) -> String {
    known_protocol(number).map_or_else(|| number.to_string(), str::to_owned)
}

/// The match that iptables loads by itself for an option behind `-p`.
pub(super) fn protocol_match(number: u8) -> String {
    // Those with shorter names than their protocols.
    match number {
        58 => "icmp6".to_owned(),
        135 => "mh".to_owned(),
        other => protocol_name(other),
    }
}

fn known_protocol(number: u8) -> Option<&'static str> {
    PROTOCOLS.iter().find(|(known, _)| *known == number).map(|(_, name)| *name)
}

/// The IANA number of a protocol as iptables takes it; `all` is 0.
#[must_use]
pub fn protocol_number(text: &str) -> Option<u8> {
    let text = text.to_ascii_lowercase();
    match text.as_str() {
        "all" | "ip" | "hopopt" => Some(0),
        "icmpv6" => Some(58),
        "mh" | "ipv6-mh" => Some(135),
        _ => {
            let named = PROTOCOLS.iter().find(|(_, name)| *name == text).map(|(number, _)| *number);
            named.or_else(|| parse_whole(&text))
        }
    }
}

/// An address as the C library's `inet_ntop` writes it: unlike Rust's own form, `::127.0.0.53` keeps its dots.
pub(crate) fn address_text(address: IpAddr) -> String {
    let mut out = String::new();
    put_address(address, &mut out);
    out
}

/// Appends it. Every second rule has one or two, so that IPv4 goes without the formatting machinery, which takes longer.
fn put_address(address: IpAddr, out: &mut String) {
    match address {
        IpAddr::V4(v4) => put_octets(&v4.octets(), out),
        IpAddr::V6(v6) if matches!(v6.segments(), [0, 0, 0, 0, 0, 0, high, _] if high != 0) => {
            out.push_str("::");
            put_octets(v6.octets().get(12..).unwrap_or_default(), out);
        }
        // Writing to a String cannot fail.
        IpAddr::V6(v6) => write!(out, "{v6}").unwrap_or_default(),
    }
}

fn put_octets(octets: &[u8], out: &mut String) {
    for (at, octet) in octets.iter().enumerate() {
        if at > 0 {
            out.push('.');
        }
        put_number(u64::from(*octet), out);
    }
}

/// Appends a number in decimal digits.
pub(crate) fn put_number(mut number: u64, out: &mut String) {
    let mut digits = [0_u8; 20];
    let mut used = 0;
    for place in digits.iter_mut().rev() {
        *place = b'0' + (number % 10) as u8;
        (number, used) = (number / 10, used + 1);
        if number == 0 {
            break;
        }
    }
    // One by one: so few bytes are there before a call that copies them has begun (musl's takes 30 ns for one).
    digits.iter().skip(digits.len() - used).for_each(|digit| out.push(char::from(*digit)));
}

impl AddressMatch {
    /// Prefix length, unless the mask has holes.
    #[must_use]
    pub fn prefix(&self) -> Option<u32> {
        let (bits, width) = match self.mask {
            IpAddr::V4(mask) => (u128::from(u32::from(mask)) << 96, 32),
            IpAddr::V6(mask) => (u128::from(mask), 128),
        };
        let ones = bits.leading_ones();
        (ones == 128 || bits << ones == 0).then_some(ones.min(width))
    }

    /// No bit of the address lies outside the mask. The kernel finds every packet different from one that has such bits; no tool
    /// writes it, and no text can.
    #[must_use]
    pub fn is_masked(&self) -> bool {
        number(self.address) & !number(self.mask) == 0
    }

    /// `10.0.0.0/8`, `10.0.0.5/32`, `10.0.0.0/255.0.255.0`.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = String::new();
        self.put(&mut out);
        out
    }

    fn put(&self, out: &mut String) {
        put_address(self.address, out);
        out.push('/');
        match self.prefix() {
            Some(prefix) => put_number(u64::from(prefix), out),
            None => put_address(self.mask, out),
        }
    }

    /// A single address without its length, as people say it.
    #[must_use]
    pub fn words(&self) -> String {
        let whole = if self.address.is_ipv4() { 32 } else { 128 };
        if self.prefix() == Some(whole) { address_text(self.address) } else { self.text() }
    }

    fn condition(&self, field: Field) -> Condition {
        let (value, mask) = (number(self.address), number(self.mask));
        Condition::Masked { field, mask, value }.negated_if(self.negated)
    }
}

impl DeviceMatch {
    /// The name as it is written.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{}{}", self.name, if self.prefix { "+" } else { "" })
    }

    fn condition(&self, device: Device) -> Condition {
        // Of `+` alone the kernel compares nothing, and so finds it where there is no device, too.
        if self.prefix && self.name.is_empty() {
            return Condition::Always.negated_if(self.negated);
        }
        Condition::Device { device, name: self.name.clone(), prefix: self.prefix }.negated_if(self.negated)
    }
}

impl IpPart {
    /// Appends it as iptables-save writes it.
    pub(crate) fn save(&self, out: &mut String) {
        fn option(negated: bool, option: &str, out: &mut String) {
            out.push_str(if negated { " !" } else { "" });
            out.push_str(option);
        }
        for (name, part) in [(" -s ", &self.source), (" -d ", &self.destination)] {
            if let Some(part) = part {
                option(part.negated, name, out);
                part.put(out);
            }
        }
        for (name, part) in [(" -i ", &self.input), (" -o ", &self.output)] {
            if let Some(part) = part {
                option(part.negated, name, out);
                out.push_str(&super::text::word(&part.text()));
            }
        }
        if let Some(part) = self.protocol {
            option(part.negated, " -p ", out);
            match known_protocol(part.number) {
                Some(name) => out.push_str(name),
                None => put_number(part.number.into(), out),
            }
        }
        if let Some(part) = self.fragments {
            option(part.negated, " -f", out);
        }
    }

    /// What it asks.
    #[must_use]
    pub fn conditions(&self) -> Vec<Condition> {
        let mut all = Vec::new();
        all.extend(self.source.iter().map(|part| part.condition(Field::Source)));
        all.extend(self.destination.iter().map(|part| part.condition(Field::Destination)));
        all.extend(self.input.iter().map(|part| part.condition(Device::Input)));
        all.extend(self.output.iter().map(|part| part.condition(Device::Output)));
        all.extend(self.protocol.map(|part| Condition::equals(Field::Protocol, part.number).negated_if(part.negated)));
        all.extend(self.fragments.map(|part| Condition::Opaque("fragments".into()).negated_if(part.negated)));
        all
    }
}
