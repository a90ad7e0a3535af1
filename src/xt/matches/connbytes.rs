//! `-m connbytes`: how much a connection has carried (`struct xt_connbytes_info`).

use std::fmt::Write;

use super::{Condition, Extension, Given, Matching, Words};
use crate::xt::bytes::Layout;
use crate::xt::extension::parse_whole;

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// `packets`
    Packets,
    /// `bytes`
    Bytes,
    /// `avgpkt`: bytes for each packet.
    Average,
}

/// Whose packets are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// `original`
    Original,
    /// `reply`
    Reply,
    /// `both`
    Both,
}

/// How much a connection has carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connbytes {
    /// `!`
    pub negated: bool,
    /// Least.
    pub from: u64,
    /// Most.
    pub to: u64,
    /// What is counted.
    pub counted: Counted,
    /// In which direction.
    pub flow: Flow,
}

const COUNTED: [(Counted, &str); 3] =
    [(Counted::Packets, "packets"), (Counted::Bytes, "bytes"), (Counted::Average, "avgpkt")];
const FLOWS: [(Flow, &str); 3] = [(Flow::Original, "original"), (Flow::Reply, "reply"), (Flow::Both, "both")];

impl Connbytes {
    fn counted_word(self) -> &'static str {
        COUNTED.iter().find(|(counted, _)| *counted == self.counted).map_or("", |(_, word)| word)
    }

    fn flow_word(self) -> &'static str {
        FLOWS.iter().find(|(flow, _)| *flow == self.flow).map_or("", |(_, word)| word)
    }
}

impl Extension for Connbytes {
    const NAMES: &'static [&'static str] = &["connbytes"];
    const OPTIONS: &'static [(&'static str, usize)] =
        &[("--connbytes", 1), ("--connbytes-dir", 1), ("--connbytes-mode", 1)];

    fn decode(revision: u8, data: &[u8], _ipv6: bool) -> Option<Self> {
        let layout = Layout::of(data, 18)?;
        let (first, second) = (layout.u64(0)?, layout.u64(8)?);
        let counted = COUNTED.get(usize::from(layout.u8(16)?))?.0;
        let flow = FLOWS.get(usize::from(layout.u8(17)?))?.0;
        // Ends in the wrong order are how the kernel keeps a negation.
        let negated = first > second;
        let (from, to) = (first.min(second), first.max(second));
        (revision == 0).then_some(Self { negated, from, to, counted, flow })
    }

    fn parse(_name: &str, options: &[Given], _ipv6: bool) -> Option<Self> {
        let given = |name: &str| options.iter().find(|given| given.name == name);
        let range = given("--connbytes")?;
        let (from, to) = range.value().split_once(':').unwrap_or((range.value(), ""));
        let from = if from.is_empty() && range.value() != "" { 0 } else { parse_whole(from)? };
        let to = if to.is_empty() { u64::MAX } else { parse_whole(to).filter(|to| *to >= from)? };
        let word = |name: &str| given(name).map(Given::value);
        let counted = COUNTED.iter().find(|(_, known)| word("--connbytes-mode") == Some(known))?.0;
        let flow = FLOWS.iter().find(|(_, known)| word("--connbytes-dir") == Some(known))?.0;
        // Of a single value the kernel keeps no negation.
        Some(Self { negated: range.negated && from != to, from, to, counted, flow })
    }

    fn save(&self, out: &mut String) {
        let Self { negated, from, to, .. } = *self;
        out.push_str(if negated { " !" } else { "" });
        // Writing to a String cannot fail.
        write!(out, " --connbytes {from}").ok();
        // iptables leaves out an end of 0, too.
        if to != u64::MAX && to != 0 {
            write!(out, ":{to}").ok();
        }
        write!(out, " --connbytes-mode {} --connbytes-dir {}", self.counted_word(), self.flow_word()).ok();
    }
}

impl Matching for Connbytes {
    fn condition(&self) -> Condition {
        Condition::Opaque("what the connection has carried".into())
    }

    fn explain(&self, words: &mut Words) {
        let Self { negated, from, to, .. } = *self;
        let what = match self.counted {
            Counted::Packets => "packets",
            Counted::Bytes => "bytes",
            Counted::Average => "bytes a packet",
        };
        let way = match self.flow {
            Flow::Original => " from its first sender",
            Flow::Reply => " in reply",
            Flow::Both => "",
        };
        let not = if negated { "not " } else { "" };
        words.also(match to {
            u64::MAX => format!("of connections {not}with {from} or more {what}{way}"),
            to if to == from => format!("of connections {not}with {from} {what}{way}"),
            to => format!("of connections {not}with {from}–{to} {what}{way}"),
        });
    }

    fn nft(&self, _protocol: Option<u8>) -> Option<String> {
        let Self { negated, from, to, .. } = *self;
        let flow = if self.flow == Flow::Both { String::new() } else { format!(" {}", self.flow_word()) };
        let not = if negated { "!= " } else { "" };
        let range = match to {
            to if to == from => format!("{not}{from}"),
            u64::MAX => format!("{} {from}", if negated { "lt" } else { "ge" }),
            to => format!("{not}{from}-{to}"),
        };
        Some(format!("ct{flow} {} {range}", self.counted_word()))
    }
}
