//! `-m dscp`: the class of service (`struct xt_dscp_info`; classes as in RFC 2474, 2597 and 3246).

use super::span::{bang, other, unequal};
use super::{Condition, Extension, Given, Matching, Words};
use crate::packet::Field;
use crate::xt::bytes::Layout;

/// The six bits of DSCP are these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dscp {
    /// Of IPv6.
    pub ipv6: bool,
    /// `!`
    pub negated: bool,
    /// Value, below 64.
    pub value: u8,
}

const TOP: u8 = 0x3f;

/// `BE`, `EF`, `CS3`, `AF41`
pub(in crate::xt) fn class(name: &str) -> Option<u8> {
    let name = name.to_ascii_uppercase();
    let digit = |text: &str, most| text.parse::<u8>().ok().filter(|digit| *digit <= most);
    match name.as_str() {
        "BE" => Some(0),
        "EF" => Some(0x2e),
        _ => {
            if let Some(class) = name.strip_prefix("CS") {
                return digit(class, 7).map(|class| class << 3);
            }
            let (class, drop) = name.strip_prefix("AF")?.split_at_checked(1)?;
            let (class, drop) = digit(class, 4).zip(digit(drop, 3)).filter(|(class, drop)| *class > 0 && *drop > 0)?;
            Some(class << 3 | drop << 1)
        }
    }
}

impl Extension for Dscp {
    const NAMES: &'static [&'static str] = &["dscp"];
    const OPTIONS: &'static [(&'static str, usize)] = &[("--dscp", 1), ("--dscp-class", 1)];

    fn decode(revision: u8, data: &[u8], ipv6: bool) -> Option<Self> {
        let layout = Layout(data);
        let (value, negated) = (layout.u8(0)?, layout.u8(1)? != 0);
        (revision == 0 && value <= TOP).then_some(Self { ipv6, negated, value })
    }

    fn parse(_name: &str, options: &[Given], ipv6: bool) -> Option<Self> {
        let given = options.last()?;
        let value = match given.name {
            "--dscp" => u8::try_from(given.number()?).ok().filter(|value| *value <= TOP)?,
            _ => class(given.value())?,
        };
        Some(Self { ipv6, negated: given.negated, value })
    }

    fn save(&self, out: &mut String) {
        out.push_str(&format!("{} --dscp 0x{:02x}", bang(self.negated), self.value));
    }
}

impl Matching for Dscp {
    fn condition(&self) -> Condition {
        let value = u128::from(self.value) << 2;
        Condition::Masked { field: Field::TrafficClass, mask: 0xfc, value }.negated_if(self.negated)
    }

    fn explain(&self, words: &mut Words) {
        words.also(format!("with DSCP {}{:#x}", other(self.negated), self.value));
    }

    fn nft(&self, _protocol: Option<u8>) -> Option<String> {
        let header = if self.ipv6 { "ip6" } else { "ip" };
        Some(format!("{header} dscp {}0x{:02x}", unequal(self.negated), self.value))
    }
}
