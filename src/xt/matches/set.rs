//! `-m set`: what the packet has is in an ipset (`struct xt_set_info_match_v4` and its forerunners).

use std::fmt::Write;

use super::{Condition, Extension, Given, Matching, Words};
use crate::xt::bytes::Layout;
use crate::xt::extension::parse_whole;
use crate::xt::sets::{RawKey, SetKey, SetNames};

/// How an element's counter is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Than {
    /// `-eq`
    Equal,
    /// `! …-eq`
    Other,
    /// `-lt`
    Less,
    /// `-gt`
    More,
}

/// A test of the element's packets or bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// How.
    pub than: Than,
    /// With what.
    pub value: u64,
}

/// A look into an ipset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Set {
    /// `!`
    pub negated: bool,
    /// Set and key.
    pub key: SetKey,
    /// `--return-nomatch`: only elements that are exceptions (`nomatch`) count.
    pub nomatch: bool,
    /// `! --update-counters`: the element's counters stay as they are.
    pub keeps_counters: bool,
    /// `! --update-subcounters`: of a list of sets, those of the member's element stay.
    pub keeps_subcounters: bool,
    /// `--packets-…`
    pub packets: Option<Count>,
    /// `--bytes-…`
    pub bytes: Option<Count>,
}

/// `IPSET_FLAG_*` of revisions 3 and 4.
const SKIP_COUNTERS: u32 = 1 << 3;
const SKIP_SUBCOUNTERS: u32 = 1 << 4;
/// Said again by the counters' own tests.
const MATCH_COUNTERS: u32 = 1 << 5;
const RETURN_NOMATCH: u32 = 1 << 7;

/// What revisions 3 and 4 have beside the set.
#[derive(Default)]
struct More {
    packets: Option<Count>,
    bytes: Option<Count>,
    flags: u32,
}

impl Than {
    /// `IPSET_COUNTER_*`
    fn from_number(number: u8) -> Option<Self> {
        [Self::Equal, Self::Other, Self::Less, Self::More].get(usize::from(number.checked_sub(1)?)).copied()
    }
}

impl Count {
    /// `struct ip_set_counter_match` (revision 4), and `…_match0` (3), which has operation and value the other way round.
    fn read(layout: &Layout<'_>, offset: usize, revision: u8) -> Option<Option<Self>> {
        let (operation, value) = if revision == 3 { (offset, offset + 8) } else { (offset + 8, offset) };
        let value = u64::from_ne_bytes(*layout.0.get(value..)?.first_chunk()?);
        match layout.u8(operation)? {
            0 => Some(None),
            number => Some(Some(Self { than: Than::from_number(number)?, value })),
        }
    }

    fn save(self, what: &str, out: &mut String) {
        let (not, option) = match self.than {
            Than::Equal => ("", "eq"),
            Than::Other => (" !", "eq"),
            Than::Less => ("", "lt"),
            Than::More => ("", "gt"),
        };
        // Writing to a String cannot fail.
        write!(out, "{not} --{what}-{option} {}", self.value).ok();
    }

    fn parse(given: &Given) -> Option<Self> {
        let than = match (given.name.rsplit('-').next()?, given.negated) {
            ("eq", false) => Than::Equal,
            ("eq", true) => Than::Other,
            ("lt", false) => Than::Less,
            ("gt", false) => Than::More,
            _ => return None,
        };
        Some(Self { than, value: parse_whole(given.value())? })
    }

    fn words(self, what: &str) -> String {
        let than = match self.than {
            Than::Equal => "counts",
            Than::Other => "does not count",
            Than::Less => "counts fewer than",
            Than::More => "counts more than",
        };
        format!("whose element {than} {} {what}", self.value)
    }
}

impl Set {
    /// From the kernel's bytes and the names of its sets; `None` where the name is not known, too.
    #[must_use]
    pub fn decode_named(revision: u8, data: &[u8], names: &SetNames) -> Option<Self> {
        let layout = Layout(data);
        let length = match revision {
            0 => RawKey::SIZE_0,
            1 | 2 => RawKey::SIZE,
            3 | 4 => 48,
            _ => return None,
        };
        // The payload may be padded to the eight bytes of its header.
        if data.len() != length && data.len() != length.next_multiple_of(8) {
            return None;
        }
        let raw = if revision == 0 { RawKey::read_0(&layout, 0) } else { RawKey::read(&layout, 0) }??;
        let more = match revision {
            3 | 4 => More {
                packets: Count::read(&layout, 8, revision)?,
                bytes: Count::read(&layout, 24, revision)?,
                flags: layout.u32(40)?,
            },
            _ => More::default(),
        };
        let known = SKIP_COUNTERS | SKIP_SUBCOUNTERS | MATCH_COUNTERS | RETURN_NOMATCH;
        if more.flags & !known != 0 || raw.nomatch && revision != 2 {
            return None;
        }
        Some(Self {
            negated: raw.negated,
            nomatch: raw.nomatch || more.flags & RETURN_NOMATCH != 0,
            key: raw.named(names)?,
            keeps_counters: more.flags & SKIP_COUNTERS != 0,
            keeps_subcounters: more.flags & SKIP_SUBCOUNTERS != 0,
            packets: more.packets,
            bytes: more.bytes,
        })
    }
}

impl Extension for Set {
    const NAMES: &'static [&'static str] = &["set"];
    const OPTIONS: &'static [(&'static str, usize)] = &[
        ("--match-set", 2),
        ("--set", 2),
        ("--return-nomatch", 0),
        ("--update-counters", 0),
        ("--update-subcounters", 0),
        ("--packets-eq", 1),
        ("--packets-lt", 1),
        ("--packets-gt", 1),
        ("--bytes-eq", 1),
        ("--bytes-lt", 1),
        ("--bytes-gt", 1),
    ];

    /// Never: the bytes hold an index, and [`Set::decode_named`] wants the names.
    fn decode(_revision: u8, _data: &[u8], _ipv6: bool) -> Option<Self> {
        None
    }

    fn parse(_name: &str, options: &[Given], _ipv6: bool) -> Option<Self> {
        let of_set = |given: &&Given| matches!(given.name, "--match-set" | "--set");
        let mut sets = options.iter().filter(of_set);
        let (given, None) = (sets.next()?, sets.next()) else { return None };
        let mut set = Self {
            negated: given.negated,
            key: SetKey::parse(&given.values)?,
            nomatch: false,
            keeps_counters: false,
            keeps_subcounters: false,
            packets: None,
            bytes: None,
        };
        for given in options.iter().filter(|given| !of_set(given)) {
            let count = match given.name {
                "--return-nomatch" if given.negated => return None,
                "--return-nomatch" => {
                    set.nomatch = true;
                    continue;
                }
                "--update-counters" => {
                    set.keeps_counters |= given.negated;
                    continue;
                }
                "--update-subcounters" => {
                    set.keeps_subcounters |= given.negated;
                    continue;
                }
                packets if packets.starts_with("--packets") => &mut set.packets,
                _ => &mut set.bytes,
            };
            if count.replace(Count::parse(given)?).is_some() {
                return None;
            }
        }
        Some(set)
    }

    fn save(&self, out: &mut String) {
        let parts = [
            (self.nomatch, " --return-nomatch"),
            (self.keeps_counters, " ! --update-counters"),
            (self.keeps_subcounters, " ! --update-subcounters"),
        ];
        // Writing to a String cannot fail.
        write!(out, "{} --match-set {}", if self.negated { " !" } else { "" }, self.key.text()).ok();
        parts.iter().filter(|(said, _)| *said).for_each(|(_, text)| out.push_str(text));
        for (what, count) in [("packets", self.packets), ("bytes", self.bytes)] {
            if let Some(count) = count {
                count.save(what, out);
            }
        }
    }
}

impl Matching for Set {
    fn condition(&self) -> Condition {
        Condition::Opaque(format!("ipset {}", self.key.name)).negated_if(self.negated)
    }

    fn explain(&self, words: &mut Words) {
        let not = if self.negated { "not " } else { "" };
        let exception = if self.nomatch { " as an exception" } else { "" };
        let mut phrase = format!("with {} {not}in set {}{exception}", self.key.words(), self.key.name);
        for (what, count) in [("packets", self.packets), ("bytes", self.bytes)] {
            if let Some(count) = count {
                phrase.push_str(&format!(" {}", count.words(what)));
            }
        }
        match (self.keeps_counters, self.keeps_subcounters) {
            (false, false) => {}
            (true, false) => phrase.push_str(" (its counters stay)"),
            (false, true) => phrase.push_str(" (its members' counters stay)"),
            (true, true) => phrase.push_str(" (all counters stay)"),
        }
        words.also(phrase);
    }
}
