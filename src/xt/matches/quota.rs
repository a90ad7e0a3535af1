//! `-m quota`: until so many bytes have passed (`struct xt_quota_info`).

use std::fmt::Write;

use super::{Condition, Extension, Given, Matching, Words};
use crate::xt::bytes::Layout;
use crate::xt::extension::parse_whole;

/// So many bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// `!`: once they have passed.
    pub negated: bool,
    /// Bytes.
    pub bytes: u64,
}

impl Extension for Quota {
    const NAMES: &'static [&'static str] = &["quota"];
    const OPTIONS: &'static [(&'static str, usize)] = &[("--quota", 1)];

    fn decode(revision: u8, data: &[u8], _ipv6: bool) -> Option<Self> {
        let layout = Layout::of(data, 24)?;
        let (flags, bytes) = (layout.u32(0)?, layout.u64(8)?);
        (revision == 0 && flags <= 1).then_some(Self { negated: flags == 1, bytes })
    }

    fn parse(_name: &str, options: &[Given], _ipv6: bool) -> Option<Self> {
        let given = options.first()?;
        Some(Self { negated: given.negated, bytes: parse_whole(given.value())? })
    }

    fn save(&self, out: &mut String) {
        out.push_str(if self.negated { " !" } else { "" });
        // Writing to a String cannot fail.
        write!(out, " --quota {}", self.bytes).ok();
    }
}

impl Matching for Quota {
    fn condition(&self) -> Condition {
        Condition::Opaque("a quota".into())
    }

    fn explain(&self, words: &mut Words) {
        words.also(match self.negated {
            false => format!("until {} bytes have passed", self.bytes),
            true => format!("once {} bytes have passed", self.bytes),
        });
    }

    fn nft(&self, _protocol: Option<u8>) -> Option<String> {
        Some(format!("quota {}{} bytes", if self.negated { "over " } else { "" }, self.bytes))
    }
}
