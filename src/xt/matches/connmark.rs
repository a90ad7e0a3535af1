//! `-m connmark`: the connection's mark (`struct xt_connmark_mtinfo1`, the layout of mark's).

use super::{Condition, Extension, Given, Mark, Matching, Words};
use crate::packet::Field;

/// The connection mark under a mask equals a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connmark(
    /// Value, mask, negation.
    pub Mark,
);

impl Extension for Connmark {
    const NAMES: &'static [&'static str] = &["connmark"];
    const OPTIONS: &'static [(&'static str, usize)] = &[("--mark", 1)];

    fn decode(revision: u8, data: &[u8], _ipv6: bool) -> Option<Self> {
        (revision == 1).then(|| Mark::decode_layout(data).map(Self))?
    }

    fn parse(_name: &str, options: &[Given], _ipv6: bool) -> Option<Self> {
        Mark::parse_option(options).map(Self)
    }

    fn save(&self, out: &mut String) {
        self.0.save_option(out);
    }
}

impl Matching for Connmark {
    fn condition(&self) -> Condition {
        self.0.ask(Field::ConnectionMark)
    }

    fn explain(&self, words: &mut Words) {
        self.0.explain_as("connection mark", words);
    }

    fn nft(&self, _protocol: Option<u8>) -> Option<String> {
        Some(self.0.nft_text("ct mark"))
    }
}
