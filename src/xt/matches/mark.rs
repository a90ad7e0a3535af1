//! `-m mark`: the packet's mark (`struct xt_mark_mtinfo1`).

use super::{Condition, Extension, Given, Matching, Words};
use crate::packet::Field;
use crate::xt::bytes::Layout;

/// The mark under a mask equals a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// `!`
    pub negated: bool,
    /// Value.
    pub value: u32,
    /// Mask.
    pub mask: u32,
}

impl Mark {
    /// `0x539/0xfff`, the mask left off when it is whole.
    #[must_use]
    pub(super) fn text(&self) -> String {
        if self.mask == u32::MAX { format!("{:#x}", self.value) } else { format!("{:#x}/{:#x}", self.value, self.mask) }
    }

    /// Mark and connmark share layout and text.
    pub(super) fn decode_layout(data: &[u8]) -> Option<Self> {
        let layout = Layout(data);
        Some(Self { value: layout.u32(0)?, mask: layout.u32(4)?, negated: layout.u8(8)? != 0 })
    }

    pub(super) fn parse_option(options: &[Given]) -> Option<Self> {
        let given = options.first()?;
        let (value, mask) = given.masked()?;
        Some(Self { negated: given.negated, value, mask })
    }

    pub(super) fn save_option(&self, out: &mut String) {
        out.push_str(if self.negated { " ! --mark " } else { " --mark " });
        out.push_str(&self.text());
    }

    /// `ct mark and 0xff != 0x1`
    pub(super) fn nft_text(&self, word: &str) -> String {
        let Self { negated, value, mask } = self;
        match (mask, negated) {
            (&u32::MAX, false) => format!("{word} {value:#x}"),
            (&u32::MAX, true) => format!("{word} != {value:#x}"),
            (mask, negated) => format!("{word} and {mask:#x} {} {value:#x}", if *negated { "!=" } else { "==" }),
        }
    }

    /// `with mark 0x1`, `without a mark`; `of`: whose mark it is.
    pub(super) fn explain_as(&self, of: &str, words: &mut Words) {
        let Self { negated, value, mask } = *self;
        match (value, mask, negated) {
            (0, u32::MAX, false) => words.also(format!("without a {of}")),
            (0, u32::MAX, true) => words.also(format!("with a {of}")),
            (0, mask, false) => words.also(format!("with none of the {of} bits {mask:#x}")),
            (0, mask, true) => words.also(format!("with some of the {of} bits {mask:#x}")),
            _ => words.who(negated, &format!("{of} {}", self.text())),
        }
    }

    pub(super) fn ask(&self, field: Field) -> Condition {
        Condition::Masked { field, mask: self.mask.into(), value: self.value.into() }.negated_if(self.negated)
    }
}

impl Extension for Mark {
    const NAMES: &'static [&'static str] = &["mark"];
    const OPTIONS: &'static [(&'static str, usize)] = &[("--mark", 1)];

    fn decode(revision: u8, data: &[u8], _ipv6: bool) -> Option<Self> {
        (revision == 1).then(|| Self::decode_layout(data))?
    }

    fn parse(_name: &str, options: &[Given], _ipv6: bool) -> Option<Self> {
        Self::parse_option(options)
    }

    fn save(&self, out: &mut String) {
        self.save_option(out);
    }
}

impl Matching for Mark {
    fn condition(&self) -> Condition {
        self.ask(Field::Mark)
    }

    fn explain(&self, words: &mut Words) {
        self.explain_as("mark", words);
    }

    fn nft(&self, _protocol: Option<u8>) -> Option<String> {
        Some(self.nft_text("mark"))
    }
}
