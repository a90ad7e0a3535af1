//! `-m mac`: the Ethernet source address (`struct xt_mac_info`).

use super::span::{bang, not, unequal};
use super::{Condition, Extension, Given, Matching, Words};
use crate::packet::Field;
use crate::xt::bytes::Layout;

/// The Ethernet source address is this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mac {
    /// `!`
    pub negated: bool,
    /// The address.
    pub address: [u8; 6],
}

impl Mac {
    fn text(self) -> String {
        self.address.map(|byte| format!("{byte:02x}")).join(":")
    }
}

impl Extension for Mac {
    const NAMES: &'static [&'static str] = &["mac"];
    const OPTIONS: &'static [(&'static str, usize)] = &[("--mac-source", 1)];

    fn decode(revision: u8, data: &[u8], _ipv6: bool) -> Option<Self> {
        let negated = Layout(data).u32(8)? != 0;
        (revision == 0).then_some(Self { negated, address: *data.first_chunk()? })
    }

    fn parse(_name: &str, options: &[Given], _ipv6: bool) -> Option<Self> {
        let given = options.last()?;
        let byte = |text: &str| u8::from_str_radix(text, 16).ok();
        let bytes: Vec<u8> = given.value().split(':').map(byte).collect::<Option<_>>()?;
        Some(Self { negated: given.negated, address: bytes.try_into().ok()? })
    }

    fn save(&self, out: &mut String) {
        out.push_str(&format!("{} --mac-source {}", bang(self.negated), self.text()));
    }
}

impl Matching for Mac {
    fn condition(&self) -> Condition {
        let value = self.address.iter().fold(0, |value, byte| value << 8 | u128::from(*byte));
        Condition::equals(Field::SourceMac, value).negated_where_present(Field::SourceMac, self.negated)
    }

    fn explain(&self, words: &mut Words) {
        words.also(format!("{}from Ethernet address {}", not(self.negated), self.text()));
    }

    fn nft(&self, _protocol: Option<u8>) -> Option<String> {
        Some(format!("ether saddr {}{}", unequal(self.negated), self.text()))
    }
}
