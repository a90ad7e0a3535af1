//! `AUDIT`: tells the audit system of the packet (`struct xt_audit_info`).

use super::{Effect, Extension, Given, Targeting};
use crate::xt::bytes::Layout;

/// What the audit record says of the packet; nothing comes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    /// `accept`
    Accept,
    /// `drop`
    Drop,
    /// `reject`
    Reject,
}

/// A record for the audit system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Audit {
    /// What it says.
    pub recorded: Recorded,
}

impl Audit {
    fn word(self) -> &'static str {
        match self.recorded {
            Recorded::Accept => "accept",
            Recorded::Drop => "drop",
            Recorded::Reject => "reject",
        }
    }
}

impl Extension for Audit {
    const NAMES: &'static [&'static str] = &["AUDIT"];
    const OPTIONS: &'static [(&'static str, usize)] = &[("--type", 1)];

    fn decode(revision: u8, data: &[u8], _ipv6: bool) -> Option<Self> {
        let recorded = match Layout::of(data, 1)?.u8(0)? {
            0 => Recorded::Accept,
            1 => Recorded::Drop,
            2 => Recorded::Reject,
            _ => return None,
        };
        (revision == 0).then_some(Self { recorded })
    }

    fn parse(_name: &str, options: &[Given], _ipv6: bool) -> Option<Self> {
        let recorded = match options.first()?.value().to_ascii_lowercase().as_str() {
            "accept" => Recorded::Accept,
            "drop" => Recorded::Drop,
            "reject" => Recorded::Reject,
            _ => return None,
        };
        Some(Self { recorded })
    }

    fn save(&self, out: &mut String) {
        out.push_str(" --type ");
        out.push_str(self.word());
    }
}

impl Targeting for Audit {
    fn effect(&self) -> Effect {
        Effect::Continue
    }

    fn explain(&self) -> String {
        format!("recorded by the audit system, as “{}”", self.word())
    }
}
