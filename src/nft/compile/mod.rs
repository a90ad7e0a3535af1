//! From nft's words to the kernel's expressions, as nft 1.0.6 divides a rule into them: the way back of `reading`.
//!
//! What nft adds by itself is added here too: the comparison that a header is there, the set that has no name, the mask of a prefix.

mod act;
mod compare;
mod declare;
mod elements;
mod imply;
mod load;
mod option;
mod tree;
mod value;

use std::collections::HashMap;

use super::{Expression, Family, Rule, Set};
use crate::packet::exact_bytes;

pub use declare::set;
pub use option::option_named;
pub use tree::{Answer, Item, ItemData, Part, RuleTree, SetTree, Value, Written};
pub use value::{duration, number as number_of};

/// What is wrong with a part of a rule.
pub(super) type Fault = String;

/// The sets of a table by name, and the devices of the namespace as far as they are known.
#[derive(Debug)]
pub struct Compiler<'a> {
    /// Family of the table.
    pub family: Family,
    /// Its declared sets.
    pub sets: &'a HashMap<String, Set>,
    /// Sets of single rules, made on the way.
    pub anonymous: Vec<Set>,
    /// Devices of the namespace.
    pub devices: &'a [(u32, String)],
}

/// A rule on its way.
pub(super) struct Draft<'c, 'a> {
    pub(super) table: &'c mut Compiler<'a>,
    pub(super) out: Vec<Expression>,
    /// The network header that the packet has by what was compared.
    pub(super) network: Option<&'static str>,
    /// The transport protocol.
    pub(super) protocol: Option<u8>,
    /// It was asked that frames are those of Ethernet, and for their type.
    pub(super) ether: bool,
    /// Tags of VLANs that were asked for, one behind the other.
    pub(super) vlans: u32,
    /// The type of ICMP message that was asked for; an answer to an echo counts as one.
    pub(super) message: Option<u8>,
    /// The next free register, in words of four bytes.
    pub(super) free: u32,
    /// Fields that do not fill their bytes are shifted to their place.
    pub(super) shifts: bool,
    /// The parts of a concatenation are turned into the order of ranges.
    pub(super) turns: bool,
    /// A comparison of a whole field that the next one may be put together with.
    pub(super) mergeable: Option<compare::Merge>,
}

/// A rule's expressions, and what of it was not understood, each with its place.
#[derive(Debug, Default)]
pub struct Compiled {
    /// The rule; what was not understood stands in its place as an unknown expression.
    pub rule: Rule,
    /// Where the part begins, and what is wrong with it.
    pub faults: Vec<(usize, String)>,
}

impl Compiler<'_> {
    /// The rule in the kernel's form.
    pub fn rule(&mut self, tree: &RuleTree) -> Compiled {
        let mut faults = Vec::new();
        let mut draft = Draft::on(self);
        for Written { part, text, at } in &tree.parts {
            let before = draft.out.len();
            draft.free = 0;
            if let Err(fault) = draft.part(part) {
                draft.out.truncate(before);
                draft.mergeable = None;
                draft.out.push(Expression::Unknown { name: text.clone(), data: Vec::new() });
                faults.push((*at, fault));
            }
        }
        let user_data = tree.comment.as_deref().map(comment_note).unwrap_or_default();
        Compiled { rule: Rule { expressions: draft.out, user_data }, faults }
    }
}

/// A comment as nft notes it.
pub(super) fn comment_note(comment: &str) -> Vec<u8> {
    let mut out = Vec::new();
    note(&mut out, 0, &zero_ended(comment));
    out
}

/// Adds a note of nft's own: type, length, value.
pub(super) fn note(out: &mut Vec<u8>, kind: u8, value: &[u8]) {
    if let Ok(length) = u8::try_from(value.len()) {
        out.extend([kind, length]);
        out.extend(value);
    }
}

pub(super) fn zero_ended(text: &str) -> Vec<u8> {
    [&exact_bytes(text), &[0][..]].concat()
}

/// The kernel's number of a register that begins at this word.
pub(super) fn register(word: u32) -> u32 {
    const WORDS: u32 = 4;
    const FIRST_WORD: u32 = 8;
    if word.is_multiple_of(WORDS) { word / WORDS + 1 } else { word + FIRST_WORD }
}

impl<'c, 'a> Draft<'c, 'a> {
    /// A rule of which nothing is known yet.
    pub(super) fn on(table: &'c mut Compiler<'a>) -> Self {
        let (network, ether) = match table.family {
            Family::Ip => (Some("ip"), false),
            Family::Ip6 => (Some("ip6"), false),
            Family::Arp => (Some("arp"), false),
            Family::Inet | Family::Netdev => (None, false),
            Family::Bridge => (None, true),
        };
        Self {
            table,
            out: Vec::new(),
            network,
            protocol: None,
            ether,
            vlans: 0,
            message: None,
            free: 0,
            shifts: false,
            turns: false,
            mergeable: None,
        }
    }

    /// Registers for a value: four words, or as many as a concatenation needs.
    pub(super) fn claim(&mut self, value: &Value) -> u32 {
        let word = self.free;
        self.free += match value {
            Value::Concat(_) => self.shapes(value).map_or(4, |shapes| {
                shapes.iter().map(|shape| shape.bytes.div_ceil(4)).sum::<usize>().try_into().unwrap_or(4)
            }),
            _ => 4,
        };
        word
    }
}
