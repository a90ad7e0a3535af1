//! `ULOG`: copies packets to a listening program, as it was before `NFLOG`. Only texts have it: no kernel since 3.17 does.

use std::fmt::Write;

use super::{Effect, Extension, Given, Targeting};
use crate::xt::text::quote;

/// Copies packets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ulog {
    /// Text for people (hostile).
    pub prefix: String,
    /// Netlink group, 1 to 32.
    pub group: u32,
    /// Bytes copied, 0 for all.
    pub range: u32,
    /// Packets gathered before the program gets them.
    pub threshold: u32,
}

/// What iptables takes when no threshold is given.
const THRESHOLD: u32 = 1;

impl Extension for Ulog {
    const NAMES: &'static [&'static str] = &["ULOG"];
    const OPTIONS: &'static [(&'static str, usize)] =
        &[("--ulog-prefix", 1), ("--ulog-nlgroup", 1), ("--ulog-cprange", 1), ("--ulog-qthreshold", 1)];

    fn decode(_revision: u8, _data: &[u8], _ipv6: bool) -> Option<Self> {
        None
    }

    fn parse(_name: &str, options: &[Given], _ipv6: bool) -> Option<Self> {
        let mut ulog = Self { prefix: String::new(), group: 1, range: 0, threshold: THRESHOLD };
        for given in options {
            match given.name {
                "--ulog-prefix" => ulog.prefix = given.cut(32),
                "--ulog-nlgroup" => ulog.group = given.number().filter(|group| (1..=32).contains(group))?,
                "--ulog-cprange" => ulog.range = given.number()?,
                _ => ulog.threshold = given.number().filter(|count| (1..=50).contains(count))?,
            }
        }
        Some(ulog)
    }

    fn save(&self, out: &mut String) {
        // Writing to a String cannot fail.
        if !self.prefix.is_empty() {
            write!(out, " --ulog-prefix {}", quote(&self.prefix)).ok();
        }
        if self.group != 1 {
            write!(out, " --ulog-nlgroup {}", self.group).ok();
        }
        if self.range != 0 {
            write!(out, " --ulog-cprange {}", self.range).ok();
        }
        if self.threshold != THRESHOLD {
            write!(out, " --ulog-qthreshold {}", self.threshold).ok();
        }
    }
}

impl Targeting for Ulog {
    fn effect(&self) -> Effect {
        Effect::Continue
    }

    fn explain(&self) -> String {
        let mut out = format!("copied to listeners of ULOG group {}", self.group);
        // Writing to a String cannot fail.
        if self.range != 0 {
            write!(out, ", at most {} bytes", self.range).ok();
        }
        if self.threshold != THRESHOLD {
            write!(out, ", {} at a time", self.threshold).ok();
        }
        if !self.prefix.is_empty() {
            write!(out, ", as “{}”", self.prefix).ok();
        }
        out
    }
}
