//! `-m comment`: text for people (`struct xt_comment_info`, 256 bytes).

use super::{Condition, Extension, Given, Matching, Words};
use crate::xt::bytes::Layout;
use crate::xt::text::quote;

/// A comment. Its text is hostile: escaped wherever it reaches a terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comment {
    /// The text.
    pub text: String,
}

/// Bytes of the field, the zero behind the text included.
const SIZE: usize = 256;

impl Extension for Comment {
    const NAMES: &'static [&'static str] = &["comment"];
    const OPTIONS: &'static [(&'static str, usize)] = &[("--comment", 1)];

    fn decode(revision: u8, data: &[u8], _ipv6: bool) -> Option<Self> {
        (revision == 0).then(|| Layout(data).text(0, SIZE).map(|text| Self { text }))?
    }

    fn parse(_name: &str, options: &[Given], _ipv6: bool) -> Option<Self> {
        Some(Self { text: options.first().map(|given| given.cut(SIZE)).unwrap_or_default() })
    }

    fn save(&self, out: &mut String) {
        out.push_str(" --comment ");
        out.push_str(&quote(&self.text));
    }
}

impl Matching for Comment {
    fn condition(&self) -> Condition {
        Condition::Always
    }

    fn explain(&self, words: &mut Words) {
        words.comment(&self.text);
    }

    fn nft(&self, _protocol: Option<u8>) -> Option<String> {
        // nft leaves the comments of iptables-nft out; what is left of one is the blank behind it.
        Some(String::new())
    }
}
