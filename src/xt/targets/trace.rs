//! `TRACE`: the kernel tells of every rule that the packet meets. It takes no options.

use super::{Effect, Extension, Given, Targeting};

/// `TRACE`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trace;

impl Extension for Trace {
    const NAMES: &'static [&'static str] = &["TRACE"];
    const OPTIONS: &'static [(&'static str, usize)] = &[];

    fn decode(revision: u8, data: &[u8], _ipv6: bool) -> Option<Self> {
        (revision == 0 && data.is_empty()).then_some(Self)
    }

    fn parse(_name: &str, options: &[Given], _ipv6: bool) -> Option<Self> {
        options.is_empty().then_some(Self)
    }

    fn save(&self, _out: &mut String) {}
}

impl Targeting for Trace {
    fn effect(&self) -> Effect {
        Effect::Continue
    }

    fn explain(&self) -> String {
        "traced by the kernel".to_owned()
    }

    fn nft(&self) -> Option<String> {
        Some("meta nftrace set 1".to_owned())
    }
}
