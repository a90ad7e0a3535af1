//! `-m rt`: the routing header of IPv6 (`struct ip6t_rt`).

use std::fmt::Write;
use std::net::IpAddr;

use super::span::{bang, other, unequal};
use super::{Condition, Extension, Given, Matching, Span, Words};
use crate::xt::bytes::Layout;
use crate::xt::ip::address_text;

/// Tests of a routing header.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rt {
    /// `--rt-type`, with its negation.
    pub kind: Option<(bool, u32)>,
    /// `--rt-segsleft`
    pub segments_left: Option<Span>,
    /// `--rt-len`, with its negation; bytes.
    pub length: Option<(bool, u32)>,
    /// `--rt-0-res`: the reserved field is zero.
    pub reserved: bool,
    /// `--rt-0-addrs`
    pub addresses: Vec<IpAddr>,
    /// `--rt-0-not-strict`: the addresses may stand among others.
    pub not_strict: bool,
}

const TYPE: u8 = 1;
const SEGMENTS: u8 = 2;
const LENGTH: u8 = 4;
const RESERVED: u8 = 8;
const ADDRESSES: u8 = 16;
const NOT_STRICT: u8 = 32;
/// Addresses that the kernel's structure holds.
const MOST: usize = 16;

impl Rt {
    fn list(&self) -> String {
        self.addresses.iter().map(|address| address_text(*address)).collect::<Vec<_>>().join(",")
    }
}

impl Extension for Rt {
    const NAMES: &'static [&'static str] = &["rt"];
    const OPTIONS: &'static [(&'static str, usize)] = &[
        ("--rt-type", 1),
        ("--rt-segsleft", 1),
        ("--rt-len", 1),
        ("--rt-0-res", 0),
        ("--rt-0-addrs", 1),
        ("--rt-0-not-strict", 0),
    ];

    fn decode(revision: u8, data: &[u8], ipv6: bool) -> Option<Self> {
        let layout = Layout(data);
        let (flags, inverted, count) = (layout.u8(16)?, layout.u8(17)?, usize::from(layout.u8(276)?));
        let known = TYPE | SEGMENTS | LENGTH | RESERVED | ADDRESSES | NOT_STRICT;
        if !ipv6 || revision != 0 || flags & !known != 0 || inverted & !(TYPE | SEGMENTS | LENGTH) != 0 || count > MOST
        {
            return None;
        }
        let segments_left = Span { negated: inverted & SEGMENTS != 0, from: layout.u32(4)?, to: layout.u32(8)? };
        let listed = flags & ADDRESSES != 0;
        if listed && count == 0 {
            return None;
        }
        let count = if listed { count } else { 0 };
        Some(Self {
            kind: (flags & TYPE != 0).then_some((inverted & TYPE != 0, layout.u32(0)?)),
            segments_left: segments_left.unless_whole(u32::MAX),
            length: (flags & LENGTH != 0).then_some((inverted & LENGTH != 0, layout.u32(12)?)),
            reserved: flags & RESERVED != 0,
            addresses: (0..count).map(|index| layout.v6(20 + 16 * index)).collect::<Option<_>>()?,
            not_strict: flags & NOT_STRICT != 0,
        })
    }

    fn parse(_name: &str, options: &[Given], ipv6: bool) -> Option<Self> {
        let mut found = Self::default();
        for given in options {
            match given.name {
                "--rt-type" => found.kind = Some((given.negated, given.number()?)),
                "--rt-segsleft" => found.segments_left = Span::parse(given, u32::MAX)?.unless_whole(u32::MAX),
                "--rt-len" => found.length = Some((given.negated, given.number()?)),
                "--rt-0-res" => found.reserved = true,
                "--rt-0-addrs" => {
                    let one = |text: &str| text.parse().ok().filter(IpAddr::is_ipv6);
                    found.addresses = given.value().split(',').map(one).collect::<Option<_>>()?;
                }
                _ => found.not_strict = true,
            }
        }
        (ipv6 && found.addresses.len() <= MOST).then_some(found)
    }

    fn save(&self, out: &mut String) {
        // Writing to a String cannot fail.
        if let Some((negated, kind)) = self.kind {
            write!(out, "{} --rt-type {kind}", bang(negated)).ok();
        }
        // iptables forgets that the whole range was negated.
        if let Some(left) = self.segments_left.filter(|left| !left.is_whole(u32::MAX)) {
            left.save("--rt-segsleft", out);
        }
        if let Some((negated, length)) = self.length {
            write!(out, "{} --rt-len {length}", bang(negated)).ok();
        }
        out.push_str(if self.reserved { " --rt-0-res" } else { "" });
        if !self.addresses.is_empty() {
            write!(out, " --rt-0-addrs {}", self.list()).ok();
        }
        out.push_str(if self.not_strict { " --rt-0-not-strict" } else { "" });
    }
}

impl Matching for Rt {
    fn condition(&self) -> Condition {
        Condition::Opaque("a routing header".into())
    }

    fn explain(&self, words: &mut Words) {
        words.also(match self.kind {
            Some((negated, kind)) => format!("with a routing header of type {}{kind}", other(negated)),
            None => "with a routing header".to_owned(),
        });
        if let Some(left) = self.segments_left {
            words.also(format!("with {}{} segments left", other(left.negated), left.text('–')));
        }
        if let Some((negated, length)) = self.length {
            words.also(format!("with a routing header of {}{length} bytes", other(negated)));
        }
        if self.reserved {
            words.also("with the routing header's reserved field zero");
        }
        if !self.addresses.is_empty() || self.not_strict {
            let order = if self.not_strict { "by way of, among others," } else { "by way of" };
            words.also(format!("{order} {}", self.list().replace(',', ", ")));
        }
    }

    fn nft(&self, _protocol: Option<u8>) -> Option<String> {
        if self.reserved || self.not_strict || !self.addresses.is_empty() {
            return None;
        }
        let mut parts = Vec::new();
        parts.extend(self.kind.map(|(negated, kind)| format!("rt type {}{kind}", unequal(negated))));
        let left = self.segments_left.filter(|left| !left.is_whole(u32::MAX));
        parts.extend(left.map(|left| left.nft("rt seg-left")));
        parts.extend(self.length.map(|(negated, length)| format!("rt hdrlength {}{length}", unequal(negated))));
        Some(parts.join(" "))
    }
}
