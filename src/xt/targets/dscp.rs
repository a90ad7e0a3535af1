//! `DSCP`: sets the six bits of DSCP (`struct xt_DSCP_info`).

use std::fmt::Write;

use super::{Effect, Extension, Given, Targeting};
use crate::xt::bytes::Layout;

/// A new DSCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DscpTarget {
    /// 0 to 63.
    pub value: u8,
    /// For IPv6.
    pub ipv6: bool,
}

/// The value of a class' name: EF, BE, CS0–CS7, AF11–AF43 (RFC 2474, 2597, 3246).
fn class(name: &str) -> Option<u8> {
    let name = name.to_ascii_uppercase();
    let digit = |text: &str, at: usize| text.chars().nth(at)?.to_digit(10).and_then(|digit| u8::try_from(digit).ok());
    match name.as_str() {
        "EF" => Some(0x2e),
        "BE" => Some(0),
        other => match (other.get(..2)?, other.get(2..)?) {
            ("CS", selector) if selector.len() == 1 => digit(selector, 0).filter(|at| *at <= 7).map(|at| at * 8),
            ("AF", parts) if parts.len() == 2 => {
                let (group, drops) = (digit(parts, 0)?, digit(parts, 1)?);
                ((1..=4).contains(&group) && (1..=3).contains(&drops)).then(|| group * 8 + drops * 2)
            }
            _ => None,
        },
    }
}

impl Extension for DscpTarget {
    const NAMES: &'static [&'static str] = &["DSCP"];
    const OPTIONS: &'static [(&'static str, usize)] = &[("--set-dscp", 1), ("--set-dscp-class", 1)];

    fn decode(revision: u8, data: &[u8], ipv6: bool) -> Option<Self> {
        let value = Layout::of(data, 1)?.u8(0)?;
        (revision == 0 && value < 64).then_some(Self { value, ipv6 })
    }

    fn parse(_name: &str, options: &[Given], ipv6: bool) -> Option<Self> {
        let given = options.first()?;
        let value = match given.name {
            "--set-dscp" => given.number().and_then(|value| u8::try_from(value).ok()).filter(|value| *value < 64)?,
            _ => class(given.value())?,
        };
        Some(Self { value, ipv6 })
    }

    fn save(&self, out: &mut String) {
        // Writing to a String cannot fail.
        write!(out, " --set-dscp {:#04x}", self.value).ok();
    }
}

impl Targeting for DscpTarget {
    fn effect(&self) -> Effect {
        Effect::TrafficClass { value: self.value << 2, mask: 0xfc }
    }

    fn explain(&self) -> String {
        format!("gets DSCP {:#04x}", self.value)
    }

    fn nft(&self) -> Option<String> {
        Some(format!("{} dscp set {:#04x}", if self.ipv6 { "ip6" } else { "ip" }, self.value))
    }
}
