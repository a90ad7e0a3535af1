//! nf_tables: rules, sets and objects as the kernel holds them, and their reading in nft's own words.
//!
//! Rules of iptables-nft are read as iptables rules in `wire`. What is not understood stays as name and bytes.

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

pub use expression::Expression;
pub use extension::OptionField;
pub use extra::{Extra, UnknownAttribute};
pub use family::Family;
pub use header::Field;
pub use kind::{Kind, Order};
pub use load::{HeaderOption, Load, Span};
pub use object_text::{flow_table_text, object_text};
pub use print::{Xtables, rule_text, statement_text};
pub use reading::read as statements;
pub use rule::Rule;
pub use set::{Data, Element, FlowTable, KeyEnd, Object, Set};
pub use set_text::{elements_text, ranges, set_text, set_types};
pub use statement::{Ends, Right, Statement};
pub use term::{Slot, Term};
pub use user_data::comment_of;
pub use verdict::{Comparison, Verdict};

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
    /// Devices of the namespace.
    pub devices: &'a [(u32, String)],
    /// Names of ipsets by their index, which is what the bytes of xtables' matches hold.
    pub ipsets: &'a BTreeMap<u16, String>,
    /// With what has been counted.
    pub counted: bool,
}
