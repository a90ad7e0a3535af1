//! `DNAT`: the destination becomes another.

use super::{Effect, Extension, Given, NatRange, Targeting};

/// `DNAT`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dnat(
    /// The new destination.
    pub NatRange,
);

impl Extension for Dnat {
    const NAMES: &'static [&'static str] = &["DNAT"];
    const OPTIONS: &'static [(&'static str, usize)] =
        &[("--to-destination", 1), ("--random", 0), ("--random-fully", 0), ("--persistent", 0)];

    fn decode(revision: u8, data: &[u8], ipv6: bool) -> Option<Self> {
        NatRange::decode_end(revision, data, ipv6).map(Self)
    }

    fn parse(_name: &str, options: &[Given], _ipv6: bool) -> Option<Self> {
        NatRange::parse_end(options, "--to-destination").map(Self)
    }

    fn save(&self, out: &mut String) {
        self.0.save_end("--to-destination", out);
    }
}

impl Targeting for Dnat {
    fn effect(&self) -> Effect {
        Effect::Destination(self.0)
    }

    fn explain(&self) -> String {
        format!("sent to {}", self.0.words())
    }

    fn nft(&self) -> Option<String> {
        self.0.nft_text("dnat")
    }
}
