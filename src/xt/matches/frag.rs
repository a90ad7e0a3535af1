//! `-m frag`: the fragment header of IPv6 (`struct ip6t_frag`).

use std::fmt::Write;

use super::span::{bang, other};
use super::{Condition, Extension, Given, Matching, Span, Words};
use crate::xt::bytes::Layout;

/// Tests of a fragment header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Frag {
    /// `--fragid`
    pub id: Option<Span>,
    /// `--fraglen`, with its negation.
    pub length: Option<(bool, u32)>,
    /// `--fragres`: the reserved fields are zero.
    pub reserved: bool,
    /// `--fragfirst`
    pub first: bool,
    /// `--fragmore`
    pub more: bool,
    /// `--fraglast`
    pub last: bool,
}

const IDS: u8 = 1;
const LENGTH: u8 = 2;
const RESERVED: u8 = 4;
const FIRST: u8 = 8;
const MORE: u8 = 16;
const LAST: u8 = 32;

impl Extension for Frag {
    const NAMES: &'static [&'static str] = &["frag"];
    const OPTIONS: &'static [(&'static str, usize)] = &[
        ("--fragid", 1),
        ("--fraglen", 1),
        ("--fragres", 0),
        ("--fragfirst", 0),
        ("--fragmore", 0),
        ("--fraglast", 0),
    ];

    fn decode(revision: u8, data: &[u8], ipv6: bool) -> Option<Self> {
        let layout = Layout(data);
        let (flags, inverted) = (layout.u8(12)?, layout.u8(13)?);
        let known = IDS | LENGTH | RESERVED | FIRST | MORE | LAST;
        if !ipv6 || revision != 0 || flags & !known != 0 || inverted & !(IDS | LENGTH) != 0 {
            return None;
        }
        let id = Span { negated: inverted & IDS != 0, from: layout.u32(0)?, to: layout.u32(4)? };
        Some(Self {
            id: id.unless_whole(u32::MAX),
            length: (flags & LENGTH != 0).then_some((inverted & LENGTH != 0, layout.u32(8)?)),
            reserved: flags & RESERVED != 0,
            first: flags & FIRST != 0,
            more: flags & MORE != 0,
            last: flags & LAST != 0,
        })
    }

    fn parse(_name: &str, options: &[Given], ipv6: bool) -> Option<Self> {
        let mut found = Self::default();
        for given in options {
            match given.name {
                "--fragid" => found.id = Span::parse(given, u32::MAX)?.unless_whole(u32::MAX),
                "--fraglen" => found.length = Some((given.negated, given.number()?)),
                "--fragres" => found.reserved = true,
                "--fragfirst" => found.first = true,
                "--fragmore" => found.more = true,
                _ => found.last = true,
            }
        }
        ipv6.then_some(found)
    }

    fn save(&self, out: &mut String) {
        // iptables forgets that the whole range was negated.
        if let Some(id) = self.id.filter(|id| !id.is_whole(u32::MAX)) {
            id.save("--fragid", out);
        }
        if let Some((negated, length)) = self.length {
            // Writing to a String cannot fail.
            write!(out, "{} --fraglen {length}", bang(negated)).ok();
        }
        out.push_str(if self.reserved { " --fragres" } else { "" });
        out.push_str(if self.first { " --fragfirst" } else { "" });
        out.push_str(if self.more { " --fragmore" } else { "" });
        out.push_str(if self.last { " --fraglast" } else { "" });
    }
}

impl Matching for Frag {
    fn condition(&self) -> Condition {
        Condition::Opaque("a fragment header".into())
    }

    fn explain(&self, words: &mut Words) {
        let kind = match (self.first, self.more, self.last) {
            (false, false, false) => "in a fragment",
            (true, false, false) => "in a first fragment",
            (false, true, false) => "in a fragment that others follow",
            (true, true, false) => "in a first fragment that others follow",
            (false, false, true) => "in a last fragment",
            (true, false, true) => "in a fragment that is both first and last",
            (false, true, true) => "in a fragment that others follow and do not",
            (true, true, true) => "in a first fragment that others follow and do not",
        };
        words.also(kind);
        if let Some(id) = self.id {
            words.also(id.words("fragment ID"));
        }
        if let Some((negated, length)) = self.length {
            words.also(format!("with a fragment header of {}{length} bytes", other(negated)));
        }
        if self.reserved {
            words.also("with the fragment header's reserved fields zero");
        }
    }

    fn nft(&self, _protocol: Option<u8>) -> Option<String> {
        // Of the length iptables' translation says nothing.
        if self.length.is_some() {
            return None;
        }
        let mut parts = Vec::new();
        parts.extend(self.id.filter(|id| !id.is_whole(u32::MAX)).map(|id| id.nft("frag id")));
        parts.extend(self.reserved.then(|| "frag reserved 1".to_owned()));
        parts.extend(self.first.then(|| "frag frag-off 0".to_owned()));
        parts.extend(self.more.then(|| "frag more-fragments 1".to_owned()));
        parts.extend(self.last.then(|| "frag more-fragments 0".to_owned()));
        Some(parts.join(" "))
    }
}
