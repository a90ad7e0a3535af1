//! `HL`: changes the hop limit of IPv6 (`struct ip6t_HL_info`).

use super::{Effect, Extension, Given, Hops, Targeting};

/// A changed hop limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HlTarget(
    /// What happens to it.
    pub Hops,
);

const OPTIONS: [&str; 3] = ["--hl-set", "--hl-inc", "--hl-dec"];

impl Extension for HlTarget {
    const NAMES: &'static [&'static str] = &["HL"];
    const OPTIONS: &'static [(&'static str, usize)] = &[("--hl-set", 1), ("--hl-inc", 1), ("--hl-dec", 1)];

    fn decode(revision: u8, data: &[u8], ipv6: bool) -> Option<Self> {
        Hops::decode(revision, data).map(Self).filter(|_| ipv6)
    }

    fn parse(_name: &str, options: &[Given], _ipv6: bool) -> Option<Self> {
        Hops::parse(options, OPTIONS).map(Self)
    }

    fn save(&self, out: &mut String) {
        self.0.save(OPTIONS, out);
    }
}

impl Targeting for HlTarget {
    fn effect(&self) -> Effect {
        Effect::Hops(self.0)
    }

    fn explain(&self) -> String {
        self.0.explain("hop limit")
    }
}
