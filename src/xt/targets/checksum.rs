//! `CHECKSUM`: fills in the checksum that hardware was to compute (`struct xt_CHECKSUM_info`).

use super::{Effect, Extension, Given, Targeting};
use crate::xt::bytes::Layout;

/// `--checksum-fill`, the only operation there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checksum;

impl Extension for Checksum {
    const NAMES: &'static [&'static str] = &["CHECKSUM"];
    const OPTIONS: &'static [(&'static str, usize)] = &[("--checksum-fill", 0)];

    fn decode(revision: u8, data: &[u8], _ipv6: bool) -> Option<Self> {
        (revision == 0 && Layout::of(data, 1)?.u8(0)? == 1).then_some(Self)
    }

    fn parse(_name: &str, options: &[Given], _ipv6: bool) -> Option<Self> {
        (!options.is_empty()).then_some(Self)
    }

    fn save(&self, out: &mut String) {
        out.push_str(" --checksum-fill");
    }
}

impl Targeting for Checksum {
    fn effect(&self) -> Effect {
        Effect::Continue
    }

    fn explain(&self) -> String {
        "checksum filled in".to_owned()
    }
}
