//! `-m tcpmss`: the MSS option of a TCP header (`struct xt_tcpmss_match_info`). A packet without it matches the negation.

use super::{Condition, Extension, Given, Matching, Span, Words};
use crate::packet::Field;
use crate::xt::bytes::Layout;

/// A range of segment sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tcpmss(
    /// Bytes.
    pub Span,
);

impl Extension for Tcpmss {
    const NAMES: &'static [&'static str] = &["tcpmss"];
    const OPTIONS: &'static [(&'static str, usize)] = &[("--mss", 1)];

    fn decode(revision: u8, data: &[u8], _ipv6: bool) -> Option<Self> {
        let layout = Layout(data);
        let span = Span { negated: layout.u8(4)? != 0, from: layout.u16(0)?.into(), to: layout.u16(2)?.into() };
        (revision == 0).then_some(Self(span))
    }

    fn parse(_name: &str, options: &[Given], _ipv6: bool) -> Option<Self> {
        Span::parse(options.last()?, u16::MAX.into()).map(Self)
    }

    fn save(&self, out: &mut String) {
        self.0.save("--mss", out);
    }
}

impl Matching for Tcpmss {
    fn condition(&self) -> Condition {
        self.0.condition(Field::MaximumSegment)
    }

    fn explain(&self, words: &mut Words) {
        words.also(self.0.words("MSS"));
    }

    fn nft(&self, _protocol: Option<u8>) -> Option<String> {
        Some(self.0.nft("tcp option maxseg size"))
    }
}
