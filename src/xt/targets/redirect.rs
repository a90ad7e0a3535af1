//! `REDIRECT`: the destination becomes this machine; by OUTPUT 127.0.0.1 or ::1, by PREROUTING the receiving interface's address.

use super::{Effect, Extension, Given, NatPorts, Targeting};

/// `REDIRECT`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Redirect(
    /// Ports and flags.
    pub NatPorts,
);

impl Extension for Redirect {
    const NAMES: &'static [&'static str] = &["REDIRECT"];
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

impl Targeting for Redirect {
    fn effect(&self) -> Effect {
        Effect::Redirect(self.0.ports)
    }

    fn explain(&self) -> String {
        match self.0.ports {
            Some(ports) => format!("proxy at {}{}", ports.text(), self.0.range().manner()),
            None => format!("this namespace itself, same port{}", self.0.range().manner()),
        }
    }

    fn nft(&self) -> Option<String> {
        self.0.range().nft_text("redirect")
    }
}
