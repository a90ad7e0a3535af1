//! `MASQUERADE`: the source becomes the outgoing device's address.

use super::{Effect, Extension, Given, NatPorts, Targeting};

/// `MASQUERADE`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Masquerade(
    /// Ports and flags.
    pub NatPorts,
);

impl Extension for Masquerade {
    const NAMES: &'static [&'static str] = &["MASQUERADE"];
    const OPTIONS: &'static [(&'static str, usize)] =
        &[("--to-ports", 1), ("--random", 0), ("--random-fully", 0), ("--persistent", 0)];

    fn decode(revision: u8, data: &[u8], ipv6: bool) -> Option<Self> {
        NatPorts::decode(revision, data, ipv6).map(Self)
    }

    fn parse(_name: &str, options: &[Given], _ipv6: bool) -> Option<Self> {
        NatPorts::parse(options).map(Self)
    }

    fn save(&self, out: &mut String) {
        self.0.save(out);
    }
}

impl Targeting for Masquerade {
    fn effect(&self) -> Effect {
        Effect::OutgoingSource(self.0.range())
    }

    fn explain(&self) -> String {
        let ports = self.0.ports.map_or(String::new(), |ports| format!(", port {}", ports.text()));
        format!("source becomes the outgoing device's address{ports}{}", self.0.range().manner())
    }

    fn nft(&self) -> Option<String> {
        self.0.range().nft_text("masquerade")
    }
}
