//! `SNPT`: gives the source another prefix, without tracking (`struct ip6t_npt_tginfo`; RFC 6296).

use super::{Effect, Extension, Given, Prefixes, Targeting};

/// `SNPT`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Snpt(
    /// The prefixes.
    pub Prefixes,
);

impl Extension for Snpt {
    const NAMES: &'static [&'static str] = &["SNPT"];
    const OPTIONS: &'static [(&'static str, usize)] = Prefixes::OPTIONS;

    fn decode(revision: u8, data: &[u8], ipv6: bool) -> Option<Self> {
        Prefixes::decode(revision, data, ipv6).map(Self)
    }

    fn parse(_name: &str, options: &[Given], _ipv6: bool) -> Option<Self> {
        Prefixes::parse(options).map(Self)
    }

    fn save(&self, out: &mut String) {
        self.0.save(out);
    }
}

impl Targeting for Snpt {
    fn effect(&self) -> Effect {
        Effect::Prefix { destination: false, prefix: self.0.to }
    }

    fn explain(&self) -> String {
        self.0.explain("source")
    }
}
