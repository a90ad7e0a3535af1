//! `-m srh`: the segment routing header of IPv6 (`struct ip6t_srh`, and `struct ip6t_srh1` with segments; RFC 8754).

use std::fmt::Write;

use super::host::Host;
use super::span::{bang, not};
use super::{Condition, Extension, Given, Matching, Words};
use crate::xt::bytes::Layout;

/// Tests of a segment routing header.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Srh {
    /// `IP6T_SRH_*` bits: what is asked.
    pub tests: u16,
    /// The same bits: what is negated.
    pub negated: u16,
    /// `--srh-next-hdr`
    pub next_header: u8,
    /// `--srh-hdr-len-eq` and so on, all with one value.
    pub length: u8,
    /// `--srh-segs-left-eq` and so on.
    pub segments_left: u8,
    /// `--srh-last-entry-eq` and so on.
    pub last_entry: u8,
    /// `--srh-tag`
    pub tag: u16,
    /// `--srh-psid`, `--srh-nsid`, `--srh-lsid`: previous, next and last segment.
    pub segments: [Option<Host>; 3],
}

/// By bit, with the words for people.
const TESTS: [(&str, &str); 14] = [
    ("--srh-next-hdr", "next header"),
    ("--srh-hdr-len-eq", "header length"),
    ("--srh-hdr-len-gt", "header length above"),
    ("--srh-hdr-len-lt", "header length below"),
    ("--srh-segs-left-eq", "segments left"),
    ("--srh-segs-left-gt", "segments left above"),
    ("--srh-segs-left-lt", "segments left below"),
    ("--srh-last-entry-eq", "last entry"),
    ("--srh-last-entry-gt", "last entry above"),
    ("--srh-last-entry-lt", "last entry below"),
    ("--srh-tag", "tag"),
    ("--srh-psid", "previous segment"),
    ("--srh-nsid", "next segment"),
    ("--srh-lsid", "last segment"),
];
const FIRST_SEGMENT: usize = 11;
const NUMBERS: u16 = (1 << FIRST_SEGMENT) - 1;
const ALL: u16 = (1 << TESTS.len()) - 1;

impl Srh {
    /// What the test of this index compares with.
    fn value(&self, index: usize) -> String {
        match index {
            0 => self.next_header.to_string(),
            1..=3 => self.length.to_string(),
            4..=6 => self.segments_left.to_string(),
            7..=9 => self.last_entry.to_string(),
            10 => self.tag.to_string(),
            _ => {
                let segment = index.checked_sub(FIRST_SEGMENT).and_then(|index| self.segments.get(index));
                segment.copied().flatten().map_or_else(String::new, Host::whole_text)
            }
        }
    }

    fn set(&mut self, index: usize, given: &Given) -> Option<()> {
        let byte = || u8::try_from(given.number()?).ok();
        match index {
            0 => self.next_header = byte()?,
            1..=3 => self.length = byte()?,
            4..=6 => self.segments_left = byte()?,
            7..=9 => self.last_entry = byte()?,
            10 => self.tag = u16::try_from(given.number()?).ok()?,
            _ => *self.segments.get_mut(index.checked_sub(FIRST_SEGMENT)?)? = Some(Host::parse(given.value(), true)?),
        }
        self.tests |= 1 << index;
        if given.negated {
            self.negated |= 1 << index;
        }
        Some(())
    }

    fn asked(&self) -> impl Iterator<Item = (usize, bool, &'static str, &'static str)> {
        let (tests, negated) = (self.tests, self.negated);
        let each = TESTS.iter().enumerate().filter(move |(index, _)| tests & (1 << index) != 0);
        each.map(move |(index, (option, words))| (index, negated & (1 << index) != 0, *option, *words))
    }
}

impl Extension for Srh {
    const NAMES: &'static [&'static str] = &["srh"];
    const OPTIONS: &'static [(&'static str, usize)] = &[
        ("--srh-next-hdr", 1),
        ("--srh-hdr-len-eq", 1),
        ("--srh-hdr-len-gt", 1),
        ("--srh-hdr-len-lt", 1),
        ("--srh-segs-left-eq", 1),
        ("--srh-segs-left-gt", 1),
        ("--srh-segs-left-lt", 1),
        ("--srh-last-entry-eq", 1),
        ("--srh-last-entry-gt", 1),
        ("--srh-last-entry-lt", 1),
        ("--srh-tag", 1),
        ("--srh-psid", 1),
        ("--srh-nsid", 1),
        ("--srh-lsid", 1),
    ];

    fn decode(revision: u8, data: &[u8], ipv6: bool) -> Option<Self> {
        let layout = Layout(data);
        let (flags_at, known) = match revision {
            0 => (6, NUMBERS),
            1 => (104, ALL),
            _ => return None,
        };
        let (tests, negated) = (layout.u16(flags_at)?, layout.u16(flags_at + 2)?);
        if !ipv6 || (tests | negated) & !known != 0 {
            return None;
        }
        // What is not asked counts for nothing.
        let asked = |bits: u16, value: u8| if tests & bits == 0 { 0 } else { value };
        let mut found = Self {
            tests,
            negated: negated & tests,
            next_header: asked(1, layout.u8(0)?),
            length: asked(0xe, layout.u8(1)?),
            segments_left: asked(0x70, layout.u8(2)?),
            last_entry: asked(0x380, layout.u8(3)?),
            tag: if tests & (1 << 10) == 0 { 0 } else { layout.u16(4)? },
            segments: [None; 3],
        };
        for (index, segment) in found.segments.iter_mut().enumerate() {
            if tests & (1 << (FIRST_SEGMENT + index)) != 0 {
                let (address, mask) = (layout.v6(8 + 16 * index)?, layout.v6(56 + 16 * index)?);
                *segment = Some(Host::new(address, mask)?);
            }
        }
        Some(found)
    }

    fn parse(_name: &str, options: &[Given], ipv6: bool) -> Option<Self> {
        let mut found = Self::default();
        for given in options {
            found.set(TESTS.iter().position(|(option, _)| *option == given.name)?, given)?;
        }
        ipv6.then_some(found)
    }

    fn save(&self, out: &mut String) {
        for (index, negated, option, _) in self.asked() {
            // Writing to a String cannot fail.
            write!(out, "{} {option} {}", bang(negated), self.value(index)).ok();
        }
    }
}

impl Matching for Srh {
    fn condition(&self) -> Condition {
        Condition::Opaque("a segment routing header".into())
    }

    fn explain(&self, words: &mut Words) {
        let each =
            self.asked().map(|(index, negated, _, what)| format!("{}{what} {}", not(negated), self.value(index)));
        let each: Vec<String> = each.collect();
        let joint = if each.is_empty() { "" } else { ": " };
        words.also(format!("with a segment routing header{joint}{}", each.join(", ")));
    }
}
