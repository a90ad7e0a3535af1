//! nf_tables: rules, sets and objects as the kernel holds them, and their reading in nft's own words.
//!
//! Rules of iptables-nft are read as iptables rules in `wire`. What is not understood stays as name and bytes.

mod compile;
mod constant;
mod expression;
mod extension;
mod extra;
mod family;
mod fields;
mod header;
mod implied;
mod kind;
mod load;
mod noted;
mod object_text;
mod print;
mod reading;
mod rule;
mod set;
mod set_text;
mod statement;
mod term;
mod user_data;
mod verdict;

use std::collections::BTreeMap;

pub use compile::{
    Answer, Compiled, Compiler, Item, ItemData, Part, RuleTree, SetTree, Value, Written, duration, number_of,
    option_named, set as compile_set,
};
pub use expression::Expression;
pub use extension::OptionField;
pub use extra::{Extra, UnknownAttribute};
pub use family::Family;
pub use header::{Field, named as field_named};
pub use kind::{Kind, Order};
pub use load::{HeaderOption, Load, Span};
pub use noted::raw;
pub use object_text::{all_timeouts, flow_table_text, object_text, timeout_number};
pub use print::{Xtables, rule_text, statement_text};
pub use reading::{read as statements, read_for_text as written};
pub use rule::Rule;
pub use set::{Data, Element, FlowTable, KeyEnd, Object, Set, SetPlaces};
pub use set_text::{elements_text, intervals, ranges, set_properties, set_text, set_types};
pub use statement::{Ends, Right, Statement};
pub use term::{Slot, Term, ct_named, meta_named, transform_named};
pub use user_data::comment_of;
pub use verdict::{Comparison, Verdict};

/// The code of an ICMP answer by its kind (`icmp`, `icmpv6`, `icmpx`) and nft's word.
#[must_use]
pub fn icmp_code(kind: &str, name: &str) -> Option<u8> {
    let kind = match kind {
        "icmp" => Kind::IcmpCode,
        "icmpv6" => Kind::Icmpv6Code,
        "icmpx" => Kind::IcmpxCode,
        _ => return None,
    };
    u8::try_from(constant::named(kind, name).or_else(|| number_of(name))?).ok()
}

/// A comment as nft notes it beside rules, chains, elements and objects.
#[must_use]
pub fn comment_note(comment: &str) -> Vec<u8> {
    compile::comment_note(comment)
}

/// The first register, which most rules use alone.
fn first() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
fn is_first(register: &u32) -> bool {
    *register == first()
}

/// Where rules are read: the family of their table, its sets, and the devices' names by index.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// Family of the table.
    pub family: Family,
    /// Sets of the table.
    pub sets: &'a [Set],
    /// Where they stand in that list.
    pub places: &'a SetPlaces,
    /// Devices of the namespace.
    pub devices: &'a [(u32, String)],
    /// Names of ipsets by their index, which is what the bytes of xtables' matches hold.
    pub ipsets: &'a BTreeMap<u16, String>,
    /// With what has been counted.
    pub counted: bool,
}
