//! `REDIRECT`: the destination becomes this machine; by OUTPUT 127.0.0.1 or ::1, by PREROUTING the receiving interface's address.

use std::fmt::Write;

use super::nat::NatRange;
use super::{Effect, Extension, Given, PortRange, Targeting};

/// To a local port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Redirect(
    /// Ports and flags; never an address.
    pub NatRange,
);

impl Extension for Redirect {
    const NAMES: &'static [&'static str] = &["REDIRECT"];
    const OPTIONS: &'static [(&'static str, usize)] = &[("--to-ports", 1), ("--random", 0), ("--random-fully", 0)];

    fn decode(revision: u8, data: &[u8], ipv6: bool) -> Option<Self> {
        match (revision, ipv6) {
            (0, false) => NatRange::decode_v4(data)?.without_address().map(Self),
            (0, true) => NatRange::decode_any(data, true)?.without_address().map(Self),
            _ => None,
        }
    }

    fn parse(_name: &str, options: &[Given], _ipv6: bool) -> Option<Self> {
        let mut range = NatRange::default();
        for given in options {
            match given.name {
                "--to-ports" => range.ports = Some(PortRange::parse(given.value())?),
                flag => range.flags |= NatRange::flag(flag),
            }
        }
        Some(Self(range))
    }

    fn save(&self, out: &mut String) {
        if let Some(ports) = self.0.ports {
            // Writing to a String cannot fail.
            write!(out, " --to-ports {}", ports.text()).ok();
        }
        self.0.save_flags(out);
    }
}

impl Targeting for Redirect {
    fn effect(&self) -> Effect {
        Effect::Redirect(self.0.ports)
    }

    fn explain(&self) -> String {
        match self.0.ports {
            Some(ports) => format!("proxy at {}", ports.text()),
            None => "this pod itself, same port".to_owned(),
        }
    }
}
