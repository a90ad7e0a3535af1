//! `-m icmp` and `-m icmp6`: type and code (`struct ipt_icmp`, `ip6t_icmp`).

use super::{Condition, Extension, Given, Matching, Words};
use crate::xt::bytes::Layout;

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
        // Of any type a code cannot be said.
        let writable = writable && (ipv6 || kind != ANY || codes == EVERY_CODE);
        (revision == 0 && flags <= 1 && writable).then_some(Self { ipv6, negated: flags == 1, kind, codes })
    }

    fn parse(name: &str, options: &[Given], ipv6: bool) -> Option<Self> {
        let [given] = options else { return None };
        if (name == "icmp") == ipv6 {
            return None;
        }
        let named = |text: &str| {
            let names = if ipv6 { V6 } else { V4 };
            names.iter().find(|(_, name)| *name == text).map(|(kind, _)| *kind)
        };
        let (kind, codes) = match given.value() {
            "any" if !ipv6 => (ANY, EVERY_CODE),
            value => match value.split_once('/') {
                Some((kind, code)) => {
                    let code = code.parse().ok()?;
                    (kind.parse().ok()?, (code, code))
                }
                None => (value.parse().ok().or_else(|| named(value))?, EVERY_CODE),
            },
        };
        let writable = ipv6 || kind != ANY || codes == EVERY_CODE;
        writable.then_some(Self { ipv6, negated: given.negated, kind, codes })
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
        Condition::Opaque("type of ICMP message".into())
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
