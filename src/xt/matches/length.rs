//! `-m length`: bytes of the whole packet, the IP header included (`struct xt_length_info`).

use super::{Condition, Extension, Given, Matching, Span, Words};
use crate::packet::Field;
use crate::xt::bytes::Layout;

/// A range of lengths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Length(
    /// Bytes.
    pub Span,
);

impl Extension for Length {
    const NAMES: &'static [&'static str] = &["length"];
    const OPTIONS: &'static [(&'static str, usize)] = &[("--length", 1)];

    fn decode(revision: u8, data: &[u8], _ipv6: bool) -> Option<Self> {
        let layout = Layout(data);
        let span = Span { negated: layout.u8(4)? != 0, from: layout.u16(0)?.into(), to: layout.u16(2)?.into() };
        (revision == 0).then_some(Self(span))
    }

    fn parse(_name: &str, options: &[Given], _ipv6: bool) -> Option<Self> {
        Span::parse(options.last()?, u16::MAX.into()).map(Self)
    }

    fn save(&self, out: &mut String) {
        self.0.save("--length", out);
    }
}

impl Matching for Length {
    fn condition(&self) -> Condition {
        self.0.condition(Field::Length)
    }

    fn explain(&self, words: &mut Words) {
        let Span { negated, .. } = self.0;
        words.also(format!("of {}{} bytes", super::span::other(negated), self.0.text('–')));
    }

    fn nft(&self, _protocol: Option<u8>) -> Option<String> {
        Some(self.0.nft("meta length"))
    }
}
