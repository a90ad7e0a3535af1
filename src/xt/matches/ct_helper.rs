//! `-m helper`: which helper follows the connection (`struct xt_helper_info`).

use super::{Condition, Extension, Given, Matching, Words};
use crate::xt::bytes::Layout;
use crate::xt::text::quote;

/// The connection's helper.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Helper {
    /// `!`
    pub negated: bool,
    /// Its name, with `-PORT` for another than the usual port; empty for any (hostile).
    pub name: String,
}

impl Extension for Helper {
    const NAMES: &'static [&'static str] = &["helper"];
    const OPTIONS: &'static [(&'static str, usize)] = &[("--helper", 1)];

    fn decode(revision: u8, data: &[u8], _ipv6: bool) -> Option<Self> {
        let layout = Layout::of(data, 34)?;
        let inverted = layout.u32(0)?;
        let name = layout.text(4, 30)?;
        (revision == 0 && inverted <= 1).then_some(Self { negated: inverted == 1, name })
    }

    fn parse(_name: &str, options: &[Given], _ipv6: bool) -> Option<Self> {
        let given = options.first()?;
        Some(Self { negated: given.negated, name: given.cut(30) })
    }

    fn save(&self, out: &mut String) {
        out.push_str(if self.negated { " ! --helper " } else { " --helper " });
        out.push_str(&quote(&self.name));
    }
}

impl Matching for Helper {
    fn condition(&self) -> Condition {
        Condition::Opaque("the connection's helper".into())
    }

    fn explain(&self, words: &mut Words) {
        words.also(match (self.name.as_str(), self.negated) {
            ("", false) => "that a helper expected".to_owned(),
            ("", true) => "that no helper expected".to_owned(),
            (name, false) => format!("that helper “{name}” expected"),
            (name, true) => format!("that helper “{name}” did not expect"),
        });
    }

    fn nft(&self, _protocol: Option<u8>) -> Option<String> {
        // nft has no words for any helper at all.
        let not = if self.negated { "!= " } else { "" };
        (!self.name.is_empty()).then(|| format!("ct helper {not}\"{}\"", self.name))
    }
}
