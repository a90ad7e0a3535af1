//! `TOS`: changes the byte that holds DSCP and ECN (`struct xt_tos_target_info`).

use std::fmt::Write;

use super::{Effect, Extension, Given, Targeting};
use crate::xt::bytes::Layout;
use crate::xt::extension::parse_number;

/// The byte becomes `(byte & !mask) ^ value`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TosTarget {
    /// Bits flipped in.
    pub value: u8,
    /// Bits cleared first.
    pub mask: u8,
}

/// Names of RFC 1349, whose four bits leave the two upper ones alone.
const NAMES: [(&str, u8); 5] = [
    ("Minimize-Delay", 0x10),
    ("Maximize-Throughput", 0x08),
    ("Maximize-Reliability", 0x04),
    ("Minimize-Cost", 0x02),
    ("Normal-Service", 0),
];
const NAMED: u8 = 0x3f;

impl Extension for TosTarget {
    const NAMES: &'static [&'static str] = &["TOS"];
    const OPTIONS: &'static [(&'static str, usize)] =
        &[("--set-tos", 1), ("--and-tos", 1), ("--or-tos", 1), ("--xor-tos", 1)];

    fn decode(revision: u8, data: &[u8], _ipv6: bool) -> Option<Self> {
        let layout = Layout::of(data, 2)?;
        (revision == 1).then(|| Some(Self { value: layout.u8(0)?, mask: layout.u8(1)? }))?
    }

    fn parse(_name: &str, options: &[Given], _ipv6: bool) -> Option<Self> {
        let [given] = options else { return None };
        let byte = |text: &str| parse_number(text).and_then(|number| u8::try_from(number).ok());
        let named = NAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(given.value()));
        let (value, mask) = match (given.name, named) {
            ("--set-tos", Some((_, value))) => (*value, NAMED),
            ("--set-tos", None) => {
                let (value, mask) = given.value().split_once('/').unwrap_or((given.value(), "0xff"));
                (byte(value)?, byte(mask)?)
            }
            ("--and-tos", _) => (0, !byte(given.value())?),
            ("--or-tos", _) => (byte(given.value())?, byte(given.value())?),
            _ => (byte(given.value())?, 0),
        };
        Some(Self { value, mask })
    }

    fn save(&self, out: &mut String) {
        // Writing to a String cannot fail.
        write!(out, " --set-tos {:#04x}/{:#04x}", self.value, self.mask).ok();
    }
}

impl Targeting for TosTarget {
    fn effect(&self) -> Effect {
        Effect::TrafficClass { value: self.value, mask: self.mask }
    }

    fn explain(&self) -> String {
        match self.mask {
            u8::MAX => format!("gets TOS {:#04x}", self.value),
            mask => format!("gets TOS bits {:#04x}/{mask:#04x}", self.value),
        }
    }

    // iptables' translation shifts the ECN bits away, and says `ip6` for IPv4 too.
}
