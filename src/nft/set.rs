//! Sets and maps with their elements, and named objects: what rules look into.

use std::collections::{HashMap, HashSet};
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use super::user_data::number_of;
use super::{Expression, Rule, UnknownAttribute, Verdict, comment_of};
use crate::packet::hexadecimal;

/// A set or a map (`NFTA_SET_*`).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Set {
    /// Name.
    pub name: String,
    /// Handle: sets were made in the order of theirs.
    pub handle: Option<u64>,
    /// `NFT_SET_*`
    pub flags: u32,
    /// nft's number of the key's type.
    pub key: u32,
    /// Bytes of the key.
    pub key_length: u32,
    /// nft's number of the data's type; [`Set::VERDICT`] for verdicts.
    pub data: Option<u32>,
    /// `NFT_OBJECT_*` of a map of objects.
    pub object: Option<u32>,
    /// Milliseconds that an element stays.
    pub timeout: Option<u64>,
    /// Milliseconds between collections.
    pub collection: Option<u32>,
    /// `NFT_SET_POL_*`
    pub policy: Option<u32>,
    /// Most elements.
    pub size: Option<u32>,
    /// What nft noted for itself.
    #[serde(default, with = "hexadecimal::text")]
    pub user_data: Vec<u8>,
    /// What each element has beside its key.
    pub expressions: Vec<Expression>,
    /// Elements that the kernel counts (since Linux 6.17) where they were not read; of ranges each end may count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
    /// Its elements were not read: that `elements` is empty says nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unread: bool,
    /// Elements in the kernel's order.
    pub elements: Vec<Element>,
    /// What is not known of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<UnknownAttribute>,
}

/// What a map's key leads to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Data {
    /// A value.
    Value(#[serde(with = "hexadecimal::text")] Vec<u8>),
    /// A verdict.
    Verdict(Verdict),
    /// An object of the table.
    Object(String),
}

/// An element (`NFTA_SET_ELEM_*`).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Element {
    /// Key; the first of a range, where `end` is there.
    #[serde(with = "hexadecimal::text")]
    pub key: Vec<u8>,
    /// Last key of a range (concatenations).
    pub end: Option<KeyEnd>,
    /// What it leads to.
    pub data: Option<Data>,
    /// `NFT_SET_ELEM_*`
    pub flags: u32,
    /// Milliseconds.
    pub timeout: Option<u64>,
    /// Milliseconds left.
    pub expiration: Option<u64>,
    /// Its own counters and the like.
    pub expressions: Vec<Expression>,
    /// What nft noted for itself: comments.
    #[serde(default, with = "hexadecimal::text")]
    pub user_data: Vec<u8>,
    /// What is not known of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<UnknownAttribute>,
}

/// Last key of a range.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyEnd(
    /// Its bytes.
    #[serde(with = "hexadecimal::text")]
    pub Vec<u8>,
);

impl Element {
    /// `NFT_SET_ELEM_INTERVAL_END`
    const END: u32 = 1;
    /// `NFT_SET_ELEM_CATCHALL`
    const CATCHALL: u32 = 2;

    /// It says where a range ends: the first key that is no longer in it.
    #[must_use]
    pub fn ends(&self) -> bool {
        self.flags & Self::END != 0
    }

    /// It stands for every key that has no element.
    #[must_use]
    pub fn catches_all(&self) -> bool {
        self.flags & Self::CATCHALL != 0
    }

    /// Its key is known, and it stands for that alone.
    #[must_use]
    pub fn has_key(&self) -> bool {
        !self.catches_all() && (!self.key.is_empty() || self.unknown.is_empty())
    }

    /// Bits of its flags that are not known.
    #[must_use]
    pub fn unknown_flags(&self) -> u32 {
        self.flags & !(Self::END | Self::CATCHALL)
    }

    /// Something of it is not known.
    #[must_use]
    pub fn is_strange(&self) -> bool {
        !self.unknown.is_empty() || self.unknown_flags() != 0
    }

    /// The words of a text that were not understood as an element.
    #[must_use]
    pub fn words(&self) -> Option<String> {
        let alone = !self.catches_all() && !self.has_key();
        alone.then(|| self.unknown.iter().map(UnknownAttribute::text).collect::<Vec<_>>().join(" "))
    }

    /// Its comment (hostile text).
    #[must_use]
    pub fn comment(&self) -> Option<String> {
        comment_of(&self.user_data, 0)
    }
}

impl Set {
    /// `NFT_DATA_VERDICT`: the data's type where a map leads to verdicts.
    pub const VERDICT: u32 = 0xffff_ff00;
    const ANONYMOUS: u32 = 1;
    const INTERVAL: u32 = 4;
    const MAP: u32 = 8;

    /// It belongs to one rule and has no name of its own.
    #[must_use]
    pub fn is_anonymous(&self) -> bool {
        self.flags & Self::ANONYMOUS != 0
    }

    /// Its elements are ranges.
    #[must_use]
    pub fn is_interval(&self) -> bool {
        self.flags & Self::INTERVAL != 0
    }

    /// Nobody may change it any more.
    #[must_use]
    pub fn is_constant(&self) -> bool {
        self.flags & 2 != 0
    }

    /// Rules or time change its elements: they are state, not what somebody wrote.
    #[must_use]
    pub fn changes(&self) -> bool {
        self.flags & 0x30 != 0
    }

    /// Bits of its flags that have no word.
    #[must_use]
    pub fn unknown_flags(&self) -> u32 {
        const KNOWN: u32 = 0x1ff;
        self.flags & !KNOWN
    }

    /// nft's words for its flags.
    #[must_use]
    pub fn flag_words(&self) -> Vec<&'static str> {
        const FLAGS: [(u32, &str); 4] = [(2, "constant"), (4, "interval"), (0x20, "dynamic"), (0x10, "timeout")];
        FLAGS.iter().filter(|(bit, _)| self.flags & bit != 0).map(|(_, word)| *word).collect()
    }

    /// Its keys lead to something.
    #[must_use]
    pub fn is_map(&self) -> bool {
        self.flags & Self::MAP != 0 || self.object.is_some()
    }

    /// Its keys lead to ranges; nft never declares such a map by `typeof`.
    #[must_use]
    pub fn leads_to_ranges(&self) -> bool {
        /// `NFTNL_UDATA_SET_DATA_INTERVAL`
        const RANGES: u8 = 6;
        number_of(&self.user_data, RANGES).is_some_and(|ranges| ranges != 0)
    }

    /// Its comment (hostile text).
    #[must_use]
    pub fn comment(&self) -> Option<String> {
        // NFTNL_UDATA_SET_COMMENT
        comment_of(&self.user_data, 7)
    }
}

/// Where the sets of a table stand in their list, found out when it is first asked for: rules of large tables ask often.
#[derive(Debug, Default)]
pub struct SetPlaces {
    places: OnceLock<HashMap<String, usize>>,
    /// Those that rules change; `None` within where these may be any.
    changing: OnceLock<Option<HashSet<String>>>,
}

impl SetPlaces {
    /// Those of no sets.
    #[must_use]
    pub fn none() -> &'static Self {
        static NONE: SetPlaces = SetPlaces { places: OnceLock::new(), changing: OnceLock::new() };
        &NONE
    }

    /// The set of this name.
    #[must_use]
    pub fn find<'a>(&self, name: &str, sets: &'a [Set]) -> Option<&'a Set> {
        /// So few are looked through faster.
        const FEW: usize = 16;
        let named = |set: &&Set| set.name == name;
        if sets.len() > FEW {
            let places =
                self.places.get_or_init(|| sets.iter().enumerate().map(|(at, set)| (set.name.clone(), at)).collect());
            if let Some(found) = places.get(name).and_then(|at| sets.get(*at)).filter(named) {
                return Some(found);
            }
        }
        // The list may have become another since.
        sets.iter().find(named)
    }

    /// Whether one of these rules adds to the set of this name, changes it or deletes from it, or may do so.
    #[must_use]
    pub fn changed<'a>(&self, name: &str, rules: impl Iterator<Item = &'a Rule>) -> bool {
        let changing = self.changing.get_or_init(|| {
            let mut names = HashSet::new();
            for expression in rules.flat_map(|rule| &rule.expressions) {
                match expression {
                    Expression::Update { set, .. } => {
                        names.insert(set.clone());
                    }
                    // By the kernel's name, or the words of a text.
                    Expression::Unknown { name, .. } => match name.split(' ').next().unwrap_or_default() {
                        "dynset" | "add" | "update" | "delete" | "set" => return None,
                        _ => {}
                    },
                    _ => {}
                }
            }
            Some(names)
        });
        changing.as_ref().is_none_or(|names| names.contains(name))
    }
}

/// A copy finds out by itself: its list may become another one.
impl Clone for SetPlaces {
    fn clone(&self) -> Self {
        Self::default()
    }
}

/// It says nothing that the list does not say.
impl PartialEq for SetPlaces {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// A counter, a quota and the like under a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Object {
    /// Name.
    pub name: String,
    /// Handle.
    pub handle: Option<u64>,
    /// `NFT_OBJECT_*`
    pub kind: u32,
    /// What it is.
    pub expression: Expression,
    /// What nft noted for itself.
    #[serde(default, with = "hexadecimal::text")]
    pub user_data: Vec<u8>,
    /// What is not known of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<UnknownAttribute>,
}

/// A flow table (`NFTA_FLOWTABLE_*`).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FlowTable {
    /// Name.
    pub name: String,
    /// Handle.
    pub handle: Option<u64>,
    /// `NF_NETDEV_*`
    pub hook: Option<u32>,
    /// Order among the chains of the hook.
    pub priority: Option<i32>,
    /// Devices between which connections are short-cut.
    pub devices: Vec<String>,
    /// `NFT_FLOWTABLE_*`
    pub flags: u32,
    /// What is not known of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<UnknownAttribute>,
}
