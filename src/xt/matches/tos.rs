//! `-m tos`: the TOS byte, or the traffic class of IPv6 (`struct xt_tos_match_info`; of revision 0 `struct ipt_tos_info`).

use super::span::{bang, other};
use super::{Condition, Extension, Given, Matching, Words};
use crate::packet::Field;
use crate::xt::bytes::Layout;
use crate::xt::extension::parse_number;

/// The byte under a mask equals a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tos {
    /// `!`
    pub negated: bool,
    /// Value.
    pub value: u8,
    /// Mask.
    pub mask: u8,
}

/// By name, as RFC 1349 called them; each asks for six bits.
const NAMES: [(&str, u8); 5] = [
    ("Minimize-Delay", 0x10),
    ("Maximize-Throughput", 0x08),
    ("Maximize-Reliability", 0x04),
    ("Minimize-Cost", 0x02),
    ("Normal-Service", 0x00),
];
const NAMED_MASK: u8 = 0x3f;

/// `0x10`, `0x10/0x3f`, `Minimize-Delay`; value and mask.
pub(in crate::xt) fn value_and_mask(text: &str) -> Option<(u8, u8)> {
    if let Some((_, value)) = NAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)) {
        return Some((*value, NAMED_MASK));
    }
    let byte = |text: &str| u8::try_from(parse_number(text)?).ok();
    let (value, mask) = text.split_once('/').unwrap_or((text, "0xff"));
    byte(value).zip(byte(mask))
}

impl Extension for Tos {
    const NAMES: &'static [&'static str] = &["tos"];
    const OPTIONS: &'static [(&'static str, usize)] = &[("--tos", 1)];

    fn decode(revision: u8, data: &[u8], _ipv6: bool) -> Option<Self> {
        let layout = Layout(data);
        match revision {
            // No kernel of this decade has it; it asks for the whole byte.
            0 => Some(Self { negated: layout.u8(1)? != 0, value: layout.u8(0)?, mask: 0xff }),
            1 => Some(Self { negated: layout.u8(2)? != 0, value: layout.u8(1)?, mask: layout.u8(0)? }),
            _ => None,
        }
    }

    fn parse(_name: &str, options: &[Given], _ipv6: bool) -> Option<Self> {
        let given = options.last()?;
        let (value, mask) = value_and_mask(given.value())?;
        Some(Self { negated: given.negated, value, mask })
    }

    fn save(&self, out: &mut String) {
        out.push_str(&format!("{} --tos 0x{:02x}/0x{:02x}", bang(self.negated), self.value, self.mask));
    }
}

impl Matching for Tos {
    fn condition(&self) -> Condition {
        let (mask, value) = (self.mask.into(), self.value.into());
        Condition::Masked { field: Field::TrafficClass, mask, value }.negated_if(self.negated)
    }

    fn explain(&self, words: &mut Words) {
        let mask = if self.mask == 0xff { String::new() } else { format!("/{:#x}", self.mask) };
        words.also(format!("with TOS {}{:#x}{mask}", other(self.negated), self.value));
    }
}
