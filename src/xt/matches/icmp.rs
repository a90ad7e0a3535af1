//! `-m icmp` and `-m icmp6`: type and code (`struct ipt_icmp`, `ip6t_icmp`).

use super::{Condition, Extension, Given, Matching, Words};
use crate::packet::Field;
use crate::xt::bytes::Layout;
use crate::xt::extension::parse_number;

/// Type and codes of an ICMP message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Icmp {
    /// ICMPv6.
    pub ipv6: bool,
    /// `!`
    pub negated: bool,
    /// Type; 255 is any of ICMP.
    pub kind: u8,
    /// First and last code.
    pub codes: (u8, u8),
}

/// Name, type and code, as iptables takes them.
type Typed = (&'static str, u8, Option<u8>);

const TYPED_V4: &[Typed] = &[
    ("echo-reply", 0, None),
    ("pong", 0, None),
    ("destination-unreachable", 3, None),
    ("network-unreachable", 3, Some(0)),
    ("host-unreachable", 3, Some(1)),
    ("protocol-unreachable", 3, Some(2)),
    ("port-unreachable", 3, Some(3)),
    ("fragmentation-needed", 3, Some(4)),
    ("source-route-failed", 3, Some(5)),
    ("network-unknown", 3, Some(6)),
    ("host-unknown", 3, Some(7)),
    ("network-prohibited", 3, Some(9)),
    ("host-prohibited", 3, Some(10)),
    ("TOS-network-unreachable", 3, Some(11)),
    ("TOS-host-unreachable", 3, Some(12)),
    ("communication-prohibited", 3, Some(13)),
    ("host-precedence-violation", 3, Some(14)),
    ("precedence-cutoff", 3, Some(15)),
    ("source-quench", 4, None),
    ("redirect", 5, None),
    ("network-redirect", 5, Some(0)),
    ("host-redirect", 5, Some(1)),
    ("TOS-network-redirect", 5, Some(2)),
    ("TOS-host-redirect", 5, Some(3)),
    ("echo-request", 8, None),
    ("ping", 8, None),
    ("router-advertisement", 9, None),
    ("router-solicitation", 10, None),
    ("time-exceeded", 11, None),
    ("ttl-exceeded", 11, None),
    ("ttl-zero-during-transit", 11, Some(0)),
    ("ttl-zero-during-reassembly", 11, Some(1)),
    ("parameter-problem", 12, None),
    ("ip-header-bad", 12, Some(0)),
    ("required-option-missing", 12, Some(1)),
    ("timestamp-request", 13, None),
    ("timestamp-reply", 14, None),
    ("address-mask-request", 17, None),
    ("address-mask-reply", 18, None),
];

const TYPED_V6: &[Typed] = &[
    ("destination-unreachable", 1, None),
    ("no-route", 1, Some(0)),
    ("communication-prohibited", 1, Some(1)),
    ("beyond-scope", 1, Some(2)),
    ("address-unreachable", 1, Some(3)),
    ("port-unreachable", 1, Some(4)),
    ("failed-policy", 1, Some(5)),
    ("reject-route", 1, Some(6)),
    ("packet-too-big", 2, None),
    ("time-exceeded", 3, None),
    ("ttl-exceeded", 3, None),
    ("ttl-zero-during-transit", 3, Some(0)),
    ("ttl-zero-during-reassembly", 3, Some(1)),
    ("parameter-problem", 4, None),
    ("bad-header", 4, Some(0)),
    ("unknown-header-type", 4, Some(1)),
    ("unknown-option", 4, Some(2)),
    ("echo-request", 128, None),
    ("ping", 128, None),
    ("echo-reply", 129, None),
    ("pong", 129, None),
    ("router-solicitation", 133, None),
    ("router-advertisement", 134, None),
    ("neighbour-solicitation", 135, None),
    ("neighbor-solicitation", 135, None),
    ("neighbour-advertisement", 136, None),
    ("neighbor-advertisement", 136, None),
    ("redirect", 137, None),
];

type Names = &'static [(u8, &'static str)];

/// The types by the names that iptables and nft share.
const V4: Names = &[
    (0, "echo-reply"),
    (3, "destination-unreachable"),
    (4, "source-quench"),
    (5, "redirect"),
    (8, "echo-request"),
    (9, "router-advertisement"),
    (10, "router-solicitation"),
    (11, "time-exceeded"),
    (12, "parameter-problem"),
    (13, "timestamp-request"),
    (14, "timestamp-reply"),
    (17, "address-mask-request"),
    (18, "address-mask-reply"),
];

/// The same of ICMPv6, as nft calls them.
const V6: Names = &[
    (1, "destination-unreachable"),
    (2, "packet-too-big"),
    (3, "time-exceeded"),
    (4, "parameter-problem"),
    (128, "echo-request"),
    (129, "echo-reply"),
    (133, "nd-router-solicit"),
    (134, "nd-router-advert"),
    (135, "nd-neighbor-solicit"),
    (136, "nd-neighbor-advert"),
    (137, "nd-redirect"),
];

const ANY: u8 = 255;
const EVERY_CODE: (u8, u8) = (0, 255);

/// `8`, `3/1`, `echo-request`, or the only name that begins so.
fn typed(text: &str, ipv6: bool) -> Option<(u8, (u8, u8))> {
    let byte = |text: &str| u8::try_from(parse_number(text)?).ok();
    let range = |code: Option<u8>| code.map_or(EVERY_CODE, |code| (code, code));
    if text.starts_with(|first: char| first.is_ascii_digit()) {
        return match text.split_once('/') {
            Some((kind, code)) => Some((byte(kind)?, range(Some(byte(code)?)))),
            None => Some((byte(text)?, EVERY_CODE)),
        };
    }
    let names = if ipv6 { TYPED_V6 } else { TYPED_V4 };
    let exact = names.iter().find(|(name, ..)| name.eq_ignore_ascii_case(text));
    let mut beginning = names.iter().filter(|(name, ..)| name.to_ascii_lowercase().starts_with(text));
    let only = beginning.next().filter(|_| beginning.next().is_none());
    exact.or(only).map(|(_, kind, code)| (*kind, range(*code)))
}

impl Icmp {
    fn type_name(&self) -> Option<&'static str> {
        let names = if self.ipv6 { V6 } else { V4 };
        names.iter().find(|(kind, _)| *kind == self.kind).map(|(_, name)| *name)
    }

    /// `any`, `8`, `3/1`
    fn text(&self) -> String {
        match (self.kind, self.codes) {
            (ANY, _) if !self.ipv6 => "any".to_owned(),
            (kind, EVERY_CODE) => kind.to_string(),
            (kind, (code, _)) => format!("{kind}/{code}"),
        }
    }
}

impl Extension for Icmp {
    const NAMES: &'static [&'static str] = &["icmp", "icmp6"];
    const OPTIONS: &'static [(&'static str, usize)] = &[("--icmp-type", 1), ("--icmpv6-type", 1)];

    fn decode(revision: u8, data: &[u8], ipv6: bool) -> Option<Self> {
        let layout = Layout(data);
        let (kind, codes, flags) = (layout.u8(0)?, (layout.u8(1)?, layout.u8(2)?), layout.u8(3)?);
        // One code or all of them: no text says a range.
        let writable = codes == EVERY_CODE || codes.0 == codes.1;
        // Of any type the kernel looks at no code.
        let codes = if kind == ANY && !ipv6 { EVERY_CODE } else { codes };
        (revision == 0 && flags <= 1 && writable).then_some(Self { ipv6, negated: flags == 1, kind, codes })
    }

    fn parse(name: &str, options: &[Given], ipv6: bool) -> Option<Self> {
        let [given] = options else { return None };
        if (name == "icmp") == ipv6 {
            return None;
        }
        let (kind, codes) = match given.value().to_ascii_lowercase().as_str() {
            "any" if !ipv6 => (ANY, EVERY_CODE),
            value => typed(value, ipv6)?,
        };
        let codes = if kind == ANY && !ipv6 { EVERY_CODE } else { codes };
        Some(Self { ipv6, negated: given.negated, kind, codes })
    }

    fn name(&self) -> &'static str {
        if self.ipv6 { "icmp6" } else { "icmp" }
    }

    fn save(&self, out: &mut String) {
        out.push_str(if self.negated { " !" } else { "" });
        out.push_str(if self.ipv6 { " --icmpv6-type " } else { " --icmp-type " });
        out.push_str(&self.text());
    }
}

impl Matching for Icmp {
    fn condition(&self) -> Condition {
        if self.kind == ANY && !self.ipv6 {
            return Condition::Has(Field::IcmpType).negated_if(self.negated);
        }
        let (first, last) = (self.codes.0.into(), self.codes.1.into());
        let mut all = vec![Condition::equals(Field::IcmpType, self.kind)];
        all.extend((self.codes != EVERY_CODE).then_some(Condition::Range(Field::IcmpCode, first, last)));
        Condition::All(all).negated_where_present(Field::IcmpType, self.negated)
    }

    fn explain(&self, words: &mut Words) {
        let not = if self.negated { "not " } else { "" };
        let kind = match (self.type_name(), self.codes) {
            (Some(name), EVERY_CODE) => name.to_owned(),
            _ => self.text(),
        };
        words.also(format!("{not}of type {kind}"));
    }

    fn nft(&self, _protocol: Option<u8>) -> Option<String> {
        let header = if self.ipv6 { "icmpv6" } else { "icmp" };
        let sign = if self.negated { "!= " } else { "" };
        match (self.kind, self.codes) {
            (ANY, EVERY_CODE) if !self.ipv6 && !self.negated => Some("ip protocol icmp".to_owned()),
            (_, EVERY_CODE) => Some(format!("{header} type {sign}{}", self.type_name()?)),
            _ => None,
        }
    }
}
