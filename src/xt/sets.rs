//! How rules name ipsets (`struct xt_set_info`, `include/uapi/linux/netfilter/xt_set.h`).
//!
//! The kernel's bytes hold a set's index, which says nothing to anybody: its name has to be asked for beside the bytes. Without it
//! the match or target stays what it is to a reader: not understood, kept by its bytes.

use std::collections::BTreeMap;

use super::bytes::Layout;
use super::matches::{Match, Set};
use super::targets::{SetTarget, Target};
use super::text::word;

/// Names of the namespace's ipsets by their index (`ip_set_id_t`).
pub type SetNames = BTreeMap<u16, String>;

/// Most dimensions that a set can have (`IPSET_DIM_MAX`).
const DIMENSIONS: usize = 6;
/// Bytes of a name without its closing zero (`IPSET_MAXNAMELEN`).
const LONGEST: usize = 31;
/// The index that stands for no set (`IPSET_INVALID_ID`).
const NONE: u16 = u16::MAX;

/// An end of the packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Way {
    /// `src`
    Source,
    /// `dst`
    Destination,
}

/// A set, and which ends of the packet make the key that is looked up in it: one for each dimension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetKey {
    /// The set's name.
    pub name: String,
    /// `src,dst`
    pub ways: Vec<Way>,
}

/// A reference as the bytes have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RawKey {
    pub(super) index: u16,
    pub(super) ways: Vec<Way>,
    /// `IPSET_INV_MATCH`
    pub(super) negated: bool,
    /// `IPSET_RETURN_NOMATCH`, of revision 2
    pub(super) nomatch: bool,
}

impl RawKey {
    /// Bytes of `struct xt_set_info`.
    pub(super) const SIZE: usize = 4;
    /// Bytes of `struct xt_set_info_v0`.
    pub(super) const SIZE_0: usize = 32;

    /// `struct xt_set_info`: index, number of dimensions, and a bit for each that is `src`; `None` within where no set is named.
    pub(super) fn read(layout: &Layout<'_>, offset: usize) -> Option<Option<Self>> {
        let (index, dimensions, flags) = (layout.u16(offset)?, layout.u8(offset + 2)?, layout.u8(offset + 3)?);
        if index == NONE {
            return Some(None);
        }
        let dimensions = usize::from(dimensions);
        if !(1..=DIMENSIONS).contains(&dimensions) || (flags & 0x7f) >> (dimensions + 1) != 0 {
            return None;
        }
        let way = |at: usize| if flags & (1 << at) != 0 { Way::Source } else { Way::Destination };
        let ways = (1..=dimensions).map(way).collect();
        Some(Some(Self { index, ways, negated: flags & 1 != 0, nomatch: flags & 0x80 != 0 }))
    }

    /// `struct xt_set_info_v0`: index, and a word for each dimension until one is zero.
    pub(super) fn read_0(layout: &Layout<'_>, offset: usize) -> Option<Option<Self>> {
        const SOURCE: u32 = 1;
        const DESTINATION: u32 = 2;
        const NEGATED: u32 = 4;
        let index = layout.u16(offset)?;
        if index == NONE {
            return Some(None);
        }
        let first = layout.u32(offset + 4)?;
        let mut ways = Vec::new();
        // The last of the six words is overwritten by the kernel's own form of the same.
        for at in 0..DIMENSIONS {
            match layout.u32(offset + 4 + 4 * at)? & if at == 0 { !NEGATED } else { u32::MAX } {
                0 => break,
                SOURCE => ways.push(Way::Source),
                DESTINATION => ways.push(Way::Destination),
                _ => return None,
            }
        }
        (!ways.is_empty()).then_some(Some(Self { index, ways, negated: first & NEGATED != 0, nomatch: false }))
    }

    /// With the name in the index's place.
    pub(super) fn named(self, names: &SetNames) -> Option<SetKey> {
        Some(SetKey { name: names.get(&self.index)?.clone(), ways: self.ways })
    }
}

impl SetKey {
    /// From the two values of `--match-set NAME src,dst`.
    pub(super) fn parse(values: &[String]) -> Option<Self> {
        let [name, ways] = values else { return None };
        let ways: Option<Vec<Way>> = ways.split(',').map(Way::parse).collect();
        let ways = ways.filter(|ways| ways.len() <= DIMENSIONS)?;
        (1..=LONGEST).contains(&name.len()).then(|| Self { name: name.clone(), ways })
    }

    /// `NAME src,dst`
    pub(super) fn text(&self) -> String {
        let ways: Vec<&str> = self.ways.iter().map(|way| way.word()).collect();
        format!("{} {}", word(&self.name), ways.join(","))
    }

    /// What is looked up, in plain words: `source`, `source and destination`.
    pub(super) fn words(&self) -> String {
        let ways: Vec<&str> = self.ways.iter().map(|way| way.long()).collect();
        match ways.as_slice() {
            [only] => (*only).to_owned(),
            [first, second] => format!("{first} and {second}"),
            several => format!("({})", several.join(", ")),
        }
    }
}

impl Way {
    /// iptables looks at the first three letters only.
    fn parse(text: &str) -> Option<Self> {
        match text.get(..3)? {
            "src" => Some(Self::Source),
            "dst" => Some(Self::Destination),
            _ => None,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Source => "src",
            Self::Destination => "dst",
        }
    }

    fn long(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Destination => "destination",
        }
    }
}

/// The indices of the sets that the bytes of a match or target name; none for other matches and targets.
#[must_use]
pub fn set_indices(target: bool, name: &str, revision: u8, data: &[u8]) -> Vec<u16> {
    let layout = Layout(data);
    let keys: Vec<_> = match (target, name, revision) {
        (false, "set", 0) => vec![RawKey::read_0(&layout, 0)],
        (false, "set", _) => vec![RawKey::read(&layout, 0)],
        (true, "SET", 0) => vec![RawKey::read_0(&layout, 0), RawKey::read_0(&layout, RawKey::SIZE_0)],
        (true, "SET", 1 | 2) => vec![RawKey::read(&layout, 0), RawKey::read(&layout, 4)],
        (true, "SET", _) => vec![RawKey::read(&layout, 0), RawKey::read(&layout, 4), RawKey::read(&layout, 8)],
        _ => Vec::new(),
    };
    keys.into_iter().flatten().flatten().map(|key| key.index).collect()
}

/// A match whose bytes hold a set by index, with the set's name; `None` for other matches, and where the name is not known.
#[must_use]
pub fn named_match(name: &str, revision: u8, data: &[u8], names: &SetNames) -> Option<Match> {
    (name == "set").then(|| Set::decode_named(revision, data, names))?.map(Match::Set)
}

/// The same of a target.
#[must_use]
pub fn named_target(name: &str, revision: u8, data: &[u8], names: &SetNames) -> Option<Target> {
    (name == "SET").then(|| SetTarget::decode_named(revision, data, names))?.map(Target::SetTarget)
}
