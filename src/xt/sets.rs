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
    (name == "set").then(|| Set::decode_named(revision, data, names))?.map(|set| Match::Set(Box::new(set)))
}

/// The same of a target.
#[must_use]
pub fn named_target(name: &str, revision: u8, data: &[u8], names: &SetNames) -> Option<Target> {
    (name == "SET").then(|| SetTarget::decode_named(revision, data, names))?.map(|set| Target::SetTarget(Box::new(set)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> SetNames {
        [(3, "a".to_owned()), (4, "b".to_owned()), (5, "c".to_owned())].into()
    }

    fn bytes(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_ne_bytes()).collect()
    }

    /// `struct xt_set_info`
    fn info(index: u16, dimensions: u8, flags: u8) -> u32 {
        let [i0, i1] = index.to_ne_bytes();
        u32::from_ne_bytes([i0, i1, dimensions, flags])
    }

    fn saved(revision: u8, data: &[u8]) -> Option<String> {
        let mut out = String::new();
        named_match("set", revision, data, &names())?.save(&mut out);
        Some(out)
    }

    fn target(revision: u8, data: &[u8]) -> Option<String> {
        let mut out = String::new();
        named_target("SET", revision, data, &names())?.save(&mut out);
        Some(out)
    }

    #[test]
    fn every_revision_of_the_match_is_read() {
        // Revision 0 has a word for each dimension, and the kernel's own form behind them.
        let zero = |first: u32| bytes(&[3, first, 2, 0, 0, 0, 0, u32::from_ne_bytes([2, 2, 0, 0])]);
        assert_eq!(saved(0, &zero(1)).as_deref(), Some(" -m set --match-set a src,dst"));
        assert_eq!(saved(0, &zero(1 | 4)).as_deref(), Some(" -m set ! --match-set a src,dst"));
        assert_eq!(saved(0, &zero(8)), None);
        let one = bytes(&[info(3, 2, 0b101), 0]);
        assert_eq!(saved(1, &one).as_deref(), Some(" -m set ! --match-set a dst,src"));
        assert_eq!(saved(2, &one[..4]).as_deref(), Some(" -m set ! --match-set a dst,src"));
        let nomatch = bytes(&[info(3, 1, 0x82), 0]);
        assert_eq!(saved(2, &nomatch).as_deref(), Some(" -m set --match-set a src --return-nomatch"));
        assert_eq!(saved(1, &nomatch), None, "revision 1 had no such flag");
        // Revision 3 has operation and value, revision 4 value and operation.
        let three = bytes(&[info(4, 1, 2), 0, 3, 0, 7, 0, 2, 0, 9, 0, 1 << 3, 0]);
        let text = " -m set --match-set b src ! --update-counters --packets-lt 7 ! --bytes-eq 9";
        assert_eq!(saved(3, &three).as_deref(), Some(text));
        let four = bytes(&[info(4, 1, 2), 0, 7, 0, 3, 0, 9, 0, 2, 0, 1 << 3, 0]);
        assert_eq!(saved(4, &four).as_deref(), Some(text));
        assert_eq!(saved(5, &four), None);
    }

    #[test]
    fn what_is_not_understood_stays_bytes() {
        let unknown_name = bytes(&[info(9, 1, 2), 0]);
        assert_eq!(saved(1, &unknown_name), None);
        assert_eq!(set_indices(false, "set", 1, &unknown_name), [9]);
        for (index, dimensions, flags) in [(3, 0, 0), (3, 7, 0), (3, 1, 4), (u16::MAX, 1, 2)] {
            assert_eq!(saved(1, &bytes(&[info(index, dimensions, flags), 0])), None);
        }
        let flags = bytes(&[info(4, 1, 2), 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]);
        assert_eq!(saved(4, &flags), None);
        let operation = bytes(&[info(4, 1, 2), 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(saved(4, &operation), None);
        for length in 0..48 {
            assert_eq!(saved(4, &operation[..length]), None);
            // No length makes either panic.
            assert!(set_indices(false, "set", 4, &operation[..length]).len() <= 1);
            assert!(set_indices(true, "SET", 0, &operation[..length]).len() <= 2);
        }
    }

    #[test]
    fn every_revision_of_the_target_is_read() {
        let none = info(u16::MAX, 0, 0);
        let zero = bytes(&[3, 1, 0, 0, 0, 0, 0, 0, 0xffff, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(target(0, &zero).as_deref(), Some(" -j SET --add-set a src"));
        assert_eq!(target(1, &bytes(&[none, info(4, 1, 0)])).as_deref(), Some(" -j SET --del-set b dst"));
        let two = |flags, time| bytes(&[info(3, 1, 2), none, flags, time]);
        assert_eq!(target(2, &two(1, 5)).as_deref(), Some(" -j SET --add-set a src --exist --timeout 5"));
        assert_eq!(target(2, &two(0, u32::MAX)).as_deref(), Some(" -j SET --add-set a src"));
        assert_eq!(target(2, &two(1 << 8, u32::MAX)), None, "revision 2 maps nothing");
        let three = |flags| bytes(&[none, none, info(5, 1, 0), flags, u32::MAX]);
        assert_eq!(target(3, &three(1 << 8)).as_deref(), Some(" -j SET --map-set c dst --map-mark"));
        for flags in [0, 1 << 11, 1 << 8 | 1] {
            assert_eq!(target(3, &three(flags)), None);
        }
        assert_eq!(target(1, &bytes(&[none, none])), None, "it says nothing");
        assert_eq!(target(1, &bytes(&[info(3, 1, 3), none])), None, "no target is negated");
    }
}
