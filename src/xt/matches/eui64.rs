//! `-m eui64`: the IPv6 source address ends with what the Ethernet source address makes (RFC 4291, appendix A).

use super::{Condition, Extension, Given, Matching, Words};

/// The interface identifier is made of the Ethernet address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Eui64;

impl Extension for Eui64 {
    const NAMES: &'static [&'static str] = &["eui64"];
    const OPTIONS: &'static [(&'static str, usize)] = &[];

    fn decode(revision: u8, _data: &[u8], ipv6: bool) -> Option<Self> {
        (ipv6 && revision == 0).then_some(Self)
    }

    fn parse(_name: &str, _options: &[Given], ipv6: bool) -> Option<Self> {
        ipv6.then_some(Self)
    }

    fn save(&self, _out: &mut String) {}
}

impl Matching for Eui64 {
    fn condition(&self) -> Condition {
        Condition::Opaque("an address made of the Ethernet address".into())
    }

    fn explain(&self, words: &mut Words) {
        words.also("with a source made of its Ethernet address (EUI-64)");
    }
}
