//! `-m rpfilter`: whether the answer would leave by the way the packet came (`struct xt_rpfilter_info`).

use super::{Condition, Extension, Given, Matching, Words};
use crate::xt::bytes::Layout;

/// The reverse path test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rpfilter {
    /// `--loose`: by any device.
    pub loose: bool,
    /// `--validmark`: routed with the packet's mark.
    pub with_mark: bool,
    /// `--accept-local`: sources of this namespace pass too.
    pub accept_local: bool,
    /// `--invert`: packets that fail it.
    pub inverted: bool,
}

impl Extension for Rpfilter {
    const NAMES: &'static [&'static str] = &["rpfilter"];
    const OPTIONS: &'static [(&'static str, usize)] =
        &[("--loose", 0), ("--validmark", 0), ("--accept-local", 0), ("--invert", 0)];

    fn decode(revision: u8, data: &[u8], _ipv6: bool) -> Option<Self> {
        let flags = Layout(data).u8(0)?;
        let bit = |bit: u8| flags & bit != 0;
        (revision == 0 && flags & !0xf == 0).then(|| Self {
            loose: bit(1),
            with_mark: bit(2),
            accept_local: bit(4),
            inverted: bit(8),
        })
    }

    fn parse(_name: &str, options: &[Given], _ipv6: bool) -> Option<Self> {
        let has = |name: &str| options.iter().any(|given| given.name == name);
        Some(Self {
            loose: has("--loose"),
            with_mark: has("--validmark"),
            accept_local: has("--accept-local"),
            inverted: has("--invert"),
        })
    }

    fn save(&self, out: &mut String) {
        out.push_str(if self.loose { " --loose" } else { "" });
        out.push_str(if self.with_mark { " --validmark" } else { "" });
        out.push_str(if self.accept_local { " --accept-local" } else { "" });
        out.push_str(if self.inverted { " --invert" } else { "" });
    }
}

impl Matching for Rpfilter {
    fn condition(&self) -> Condition {
        Condition::Opaque("the reverse path test".into()).negated_if(self.inverted)
    }

    fn explain(&self, words: &mut Words) {
        let mut phrase =
            if self.inverted { "from a source that is not routed back" } else { "from a source routed back" }
                .to_owned();
        phrase.push_str(if self.loose { " by any device" } else { " by the same device" });
        phrase.push_str(if self.with_mark { " with its mark" } else { "" });
        phrase.push_str(match (self.accept_local, self.inverted) {
            (false, _) => "",
            (true, false) => " or from this namespace",
            (true, true) => " nor from this namespace",
        });
        words.also(phrase);
    }

    fn nft(&self, _protocol: Option<u8>) -> Option<String> {
        // Of `or` iptables' translation makes nothing, of `and` two tests.
        if self.accept_local && !self.inverted {
            return None;
        }
        let local = if self.accept_local { "fib saddr type != local " } else { "" };
        let mark = if self.with_mark { " . mark" } else { "" };
        let device = if self.loose { "" } else { " . iif" };
        let found = if self.inverted { "0" } else { "!= 0" };
        Some(format!("{local}fib saddr{mark}{device} oif {found}"))
    }
}
