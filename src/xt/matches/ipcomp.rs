//! `-m ipcomp`: the index of a compressed payload (`struct xt_ipcomp`).

use super::{Condition, Extension, Given, Matching, Span, Words};
use crate::packet::Field;
use crate::xt::bytes::Layout;

/// Tests of a compressed payload's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ipcomp {
    /// `--ipcompspi`; iptables asks for index 0 where none is given.
    pub index: Span,
    /// `--compres`, at which the kernel does not look (net/netfilter/xt_ipcomp.c).
    pub reserved: bool,
}

impl Extension for Ipcomp {
    const NAMES: &'static [&'static str] = &["ipcomp"];
    const OPTIONS: &'static [(&'static str, usize)] = &[("--ipcompspi", 1), ("--compres", 0)];

    fn decode(revision: u8, data: &[u8], _ipv6: bool) -> Option<Self> {
        let layout = Layout(data);
        let (inverted, reserved) = (layout.u8(8)?, layout.u8(9)?);
        let index = Span { negated: inverted != 0, from: layout.u32(0)?, to: layout.u32(4)? };
        (revision == 0 && inverted <= 1).then_some(Self { index, reserved: reserved != 0 })
    }

    fn parse(_name: &str, options: &[Given], _ipv6: bool) -> Option<Self> {
        let mut found = Self::default();
        for given in options {
            match given.name {
                "--ipcompspi" => found.index = Span::parse(given, u32::MAX)?,
                _ => found.reserved = true,
            }
        }
        Some(found)
    }

    fn save(&self, out: &mut String) {
        // iptables forgets the whole range, negated or not.
        if !self.index.is_whole(u32::MAX) {
            self.index.save("--ipcompspi", out);
        }
        out.push_str(if self.reserved { " --compres" } else { "" });
    }
}

impl Matching for Ipcomp {
    fn condition(&self) -> Condition {
        self.index.condition_where_present(Field::CompressionIndex)
    }

    fn explain(&self, words: &mut Words) {
        let unread = if self.reserved { " (and a reserved field that the kernel leaves unread)" } else { "" };
        words.also(format!("{}{unread}", self.index.words("IPComp CPI")));
    }

    fn nft(&self, _protocol: Option<u8>) -> Option<String> {
        (!self.reserved).then(|| self.index.nft("comp cpi"))
    }
}
