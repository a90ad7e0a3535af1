//! `-m connlabel`: a label of the connection (`struct xt_connlabel_mtinfo`).

use std::fmt::Write;

use super::{Condition, Extension, Given, Matching, Words};
use crate::xt::bytes::Layout;
use crate::xt::extension::parse_whole;

/// A label of the connection. Names for the numbers stand in a file of each machine, so that they are not looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connlabel {
    /// `!`
    pub negated: bool,
    /// Its number, 0 to 127.
    pub label: u16,
    /// `--set`: the label is set, and it is asked whether that was done.
    pub set: bool,
}

const INVERT: u16 = 1;
const SET: u16 = 2;
const LABELS: u16 = 128;

impl Extension for Connlabel {
    const NAMES: &'static [&'static str] = &["connlabel"];
    const OPTIONS: &'static [(&'static str, usize)] = &[("--label", 1), ("--set", 0)];

    fn decode(revision: u8, data: &[u8], _ipv6: bool) -> Option<Self> {
        let layout = Layout::of(data, 4)?;
        let (label, options) = (layout.u16(0)?, layout.u16(2)?);
        let known = options & !(INVERT | SET) == 0 && label < LABELS;
        (revision == 0 && known).then_some(Self { negated: options & INVERT != 0, label, set: options & SET != 0 })
    }

    fn parse(_name: &str, options: &[Given], _ipv6: bool) -> Option<Self> {
        let given = |name: &str| options.iter().find(|given| given.name == name);
        let label = given("--label")?;
        let number = parse_whole(label.value()).filter(|label| *label < LABELS)?;
        Some(Self { negated: label.negated, label: number, set: given("--set").is_some() })
    }

    fn save(&self, out: &mut String) {
        out.push_str(if self.negated { " !" } else { "" });
        // Writing to a String cannot fail.
        write!(out, " --label \"{}\"", self.label).ok();
        out.push_str(if self.set { " --set" } else { "" });
    }
}

impl Matching for Connlabel {
    fn condition(&self) -> Condition {
        Condition::Opaque("a label of the connection".into())
    }

    fn explain(&self, words: &mut Words) {
        let (not, label) = (if self.negated { "out" } else { "" }, self.label);
        words.also(match self.set {
            false => format!("of connections with{not} label {label}"),
            true => format!("of connections with{not} label {label}, which is set now"),
        });
    }

    fn nft(&self, _protocol: Option<u8>) -> Option<String> {
        let label = self.label;
        let set = if self.set { format!("ct label set {label} ") } else { String::new() };
        Some(match self.negated {
            false => format!("{set}ct label {label}"),
            true => format!("{set}ct label and {label} != {label}"),
        })
    }
}
