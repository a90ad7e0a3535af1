//! `-m nfacct`: counts in an accounting object (`struct xt_nfacct_match_info`, `_v1`).

use super::{Condition, Extension, Given, Matching, Words};
use crate::xt::bytes::Layout;
use crate::xt::text::quote;

/// An accounting object. Where it has a quota, packets match only above it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nfacct {
    /// Its name (hostile).
    pub name: String,
}

impl Extension for Nfacct {
    const NAMES: &'static [&'static str] = &["nfacct"];
    const OPTIONS: &'static [(&'static str, usize)] = &[("--nfacct-name", 1)];

    fn decode(revision: u8, data: &[u8], _ipv6: bool) -> Option<Self> {
        let name = Layout::of(data, 40)?.text(0, 32).filter(|name| !name.is_empty())?;
        (revision <= 1).then_some(Self { name })
    }

    fn parse(_name: &str, options: &[Given], _ipv6: bool) -> Option<Self> {
        let name = options.first()?.cut(32);
        (!name.is_empty()).then_some(Self { name })
    }

    fn save(&self, out: &mut String) {
        // The second blank is iptables' own.
        out.push_str(" --nfacct-name  ");
        out.push_str(&quote(&self.name));
    }
}

impl Matching for Nfacct {
    fn condition(&self) -> Condition {
        Condition::Opaque("an accounting object".into())
    }

    fn explain(&self, words: &mut Words) {
        words.also(format!("counted as “{}”", self.name));
    }
}
