//! `MARK`: sets the packet's mark (`struct xt_mark_tginfo2`).

use std::fmt::Write;

use super::{Effect, Extension, Given, Targeting};
use crate::xt::bytes::Layout;

/// The mark becomes `(mark & !mask) ^ value`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MarkTarget {
    /// Bits flipped in.
    pub value: u32,
    /// Bits cleared first.
    pub mask: u32,
}

impl Extension for MarkTarget {
    const NAMES: &'static [&'static str] = &["MARK"];
    const OPTIONS: &'static [(&'static str, usize)] =
        &[("--set-xmark", 1), ("--set-mark", 1), ("--and-mark", 1), ("--or-mark", 1), ("--xor-mark", 1)];

    fn decode(revision: u8, data: &[u8], _ipv6: bool) -> Option<Self> {
        let layout = Layout::of(data, 8)?;
        (revision == 2).then(|| Some(Self { value: layout.u32(0)?, mask: layout.u32(4)? }))?
    }

    fn parse(_name: &str, options: &[Given], _ipv6: bool) -> Option<Self> {
        set_mark(options.last()?).map(|(value, mask)| Self { value, mask })
    }

    fn save(&self, out: &mut String) {
        // Writing to a String cannot fail.
        write!(out, " --set-xmark {:#x}/{:#x}", self.value, self.mask).ok();
    }
}

/// The five ways to say what a mark becomes, as value and mask (iptables-extensions(8), MARK).
pub(super) fn set_mark(given: &Given) -> Option<(u32, u32)> {
    Some(match given.name {
        "--set-xmark" => given.masked()?,
        // Bits of the value outside the mask are set too.
        "--set-mark" => given.masked().map(|(value, mask)| (value, mask | value))?,
        "--and-mark" => (0, !given.number()?),
        "--or-mark" => (given.number()?, given.number()?),
        _ => (given.number()?, 0),
    })
}

/// What a mark becomes by `(mark & !mask) ^ value`: `gets mark 0x1`.
pub(super) fn becomes(value: u32, mask: u32) -> String {
    match (value, mask) {
        (value, u32::MAX) => format!("gets mark {value:#x}"),
        (0, 0) => "keeps its mark".to_owned(),
        (0, mask) => format!("loses mark bits {mask:#x}"),
        (value, 0) => format!("has mark bits {value:#x} flipped"),
        (value, mask) if value == mask => format!("gets mark bits {value:#x}"),
        (value, mask) if value & !mask == 0 => format!("gets mark bits {value:#x}/{mask:#x}"),
        (value, mask) => format!("gets mark bits {:#x}/{mask:#x}, and {:#x} flipped", value & mask, value & !mask),
    }
}

impl Targeting for MarkTarget {
    fn effect(&self) -> Effect {
        Effect::Mark { value: self.value, mask: self.mask }
    }

    fn explain(&self) -> String {
        becomes(self.value, self.mask)
    }

    fn nft(&self) -> Option<String> {
        let Self { value, mask } = *self;
        Some(match (value, mask) {
            (value, u32::MAX) => format!("meta mark set {value:#x}"),
            (0, mask) => format!("meta mark set mark and {:#x}", !mask),
            (value, mask) if value == mask => format!("meta mark set mark or {value:#x}"),
            (value, 0) => format!("meta mark set mark xor {value:#x}"),
            (value, mask) => format!("meta mark set mark and {:#x} xor {value:#x}", !mask),
        })
    }
}
