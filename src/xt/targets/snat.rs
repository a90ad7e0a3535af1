//! `SNAT`: the source becomes another.

use super::{Effect, Extension, Given, NatRange, Targeting};

/// `SNAT`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Snat(
    /// The new source.
    pub NatRange,
);

impl Extension for Snat {
    const NAMES: &'static [&'static str] = &["SNAT"];
    const OPTIONS: &'static [(&'static str, usize)] =
        &[("--to-source", 1), ("--random", 0), ("--random-fully", 0), ("--persistent", 0)];

    fn decode(revision: u8, data: &[u8], ipv6: bool) -> Option<Self> {
        NatRange::decode_end(revision, data, ipv6).map(Self)
    }

    fn parse(_name: &str, options: &[Given], _ipv6: bool) -> Option<Self> {
        let range = NatRange::parse_end(options, "--to-source")?;
        // iptables takes the base of the ports, and gives the kernel a zero.
        Some(Self(NatRange { base: range.base.map(|_| 0), ..range }))
    }

    fn save(&self, out: &mut String) {
        self.0.save_end("--to-source", out);
    }
}

impl Targeting for Snat {
    fn effect(&self) -> Effect {
        Effect::Source(self.0)
    }

    fn explain(&self) -> String {
        let words = self.0.words();
        match words.strip_prefix("port ") {
            Some(port) => format!("source port becomes {port}"),
            None => format!("source becomes {words}"),
        }
    }

    fn nft(&self) -> Option<String> {
        self.0.nft_text("snat")
    }
}
