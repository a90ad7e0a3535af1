//! `-m connlimit`: how many connections one host or network has (`struct xt_connlimit_info`).

use std::fmt::Write;

use super::{Condition, Extension, Given, Matching, Words};
use crate::xt::bytes::{Layout, prefix_length};
use crate::xt::extension::parse_whole;

/// How many connections there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connlimit {
    /// More than `limit` rather than up to it.
    pub above: bool,
    /// So many.
    pub limit: u32,
    /// So many leading bits of the address make a group.
    pub length: u8,
    /// Of the destination rather than the source.
    pub destination: bool,
}

/// `XT_CONNLIMIT_*`
const UP_TO: u32 = 1;
const DESTINATION: u32 = 2;

impl Extension for Connlimit {
    const NAMES: &'static [&'static str] = &["connlimit"];
    const OPTIONS: &'static [(&'static str, usize)] = &[
        ("--connlimit-upto", 1),
        ("--connlimit-above", 1),
        ("--connlimit-mask", 1),
        ("--connlimit-saddr", 0),
        ("--connlimit-daddr", 0),
    ];

    fn decode(revision: u8, data: &[u8], ipv6: bool) -> Option<Self> {
        let layout = Layout::of(data, 32)?;
        let (length, limit, flags) = (prefix_length(layout.address(0, ipv6)?)?, layout.u32(16)?, layout.u32(20)?);
        // Revision 0 only has the first flag.
        let known = if revision == 1 { UP_TO | DESTINATION } else { UP_TO };
        let (above, destination) = (flags & UP_TO == 0, flags & DESTINATION != 0);
        (revision <= 1 && flags & !known == 0).then_some(Self { above, limit, length, destination })
    }

    fn parse(_name: &str, options: &[Given], ipv6: bool) -> Option<Self> {
        let given = |name: &str| options.iter().find(|given| given.name == name);
        let width = if ipv6 { 128 } else { 32 };
        let limit = given("--connlimit-upto").or(given("--connlimit-above"))?;
        let length = given("--connlimit-mask").map_or(Some(width), |given| parse_whole(given.value()));
        Some(Self {
            above: (limit.name == "--connlimit-above") != limit.negated,
            limit: limit.number()?,
            length: length.filter(|length| *length <= width)?,
            destination: given("--connlimit-daddr").is_some(),
        })
    }

    fn save(&self, out: &mut String) {
        let Self { above, limit, length, destination } = *self;
        let (side, end) = (if above { "above" } else { "upto" }, if destination { "daddr" } else { "saddr" });
        // Writing to a String cannot fail.
        write!(out, " --connlimit-{side} {limit} --connlimit-mask {length} --connlimit-{end}").ok();
    }
}

impl Matching for Connlimit {
    fn condition(&self) -> Condition {
        Condition::Opaque("a number of connections".into())
    }

    fn explain(&self, words: &mut Words) {
        let Self { above, limit, length, destination } = *self;
        let side = if above { "more than" } else { "up to" };
        let end = if destination { "destination" } else { "source" };
        words.also(format!("while its {end} (/{length}) has {side} {limit} connections"));
    }
}
