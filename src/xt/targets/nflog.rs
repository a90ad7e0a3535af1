//! `NFLOG`: copies packets to a listening program (`struct xt_nflog_info`).

use std::fmt::Write;

use super::{Effect, Extension, Given, Targeting};
use crate::xt::bytes::Layout;
use crate::xt::extension::parse_whole;
use crate::xt::text::quote;

/// Copies packets.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Nflog {
    /// Netlink group.
    pub group: u16,
    /// Text for people (hostile).
    pub prefix: String,
    /// `--nflog-size`: bytes copied.
    pub size: Option<u32>,
    /// `--nflog-range`: the older form of it, without effect.
    pub range: Option<u32>,
    /// `--nflog-threshold`, 0 by default.
    pub threshold: u16,
}

/// The length field limits what is copied.
const COPY_LENGTH: u16 = 1;

/// Bytes of a prefix as nf_tables takes it, the zero behind it included (`NF_LOG_PREFIXLEN`); the structure holds half of that.
const PREFIX: usize = 128;

impl Extension for Nflog {
    const NAMES: &'static [&'static str] = &["NFLOG"];
    const OPTIONS: &'static [(&'static str, usize)] = &[
        ("--nflog-group", 1),
        ("--nflog-prefix", 1),
        ("--nflog-size", 1),
        ("--nflog-range", 1),
        ("--nflog-threshold", 1),
    ];

    fn decode(revision: u8, data: &[u8], _ipv6: bool) -> Option<Self> {
        let layout = Layout::of(data, 80)?;
        let (length, flags) = (layout.u32(0)?, layout.u16(8)?);
        let limited = flags & COPY_LENGTH != 0;
        (revision == 0 && flags & !COPY_LENGTH == 0).then(|| {
            Some(Self {
                group: layout.u16(4)?,
                prefix: layout.text(12, 64)?,
                size: limited.then_some(length),
                range: (!limited && length != 0).then_some(length),
                threshold: layout.u16(6)?,
            })
        })?
    }

    fn parse(_name: &str, options: &[Given], _ipv6: bool) -> Option<Self> {
        let mut nflog = Self::default();
        for given in options {
            match given.name {
                "--nflog-group" => nflog.group = parse_whole(given.value())?,
                "--nflog-prefix" => nflog.prefix = given.cut(PREFIX),
                "--nflog-size" => nflog.size = Some(given.number()?),
                "--nflog-range" => nflog.range = Some(given.number()?).filter(|range| *range != 0),
                _ => nflog.threshold = parse_whole(given.value())?,
            }
        }
        Some(nflog)
    }

    fn save(&self, out: &mut String) {
        // Writing to a String cannot fail.
        if !self.prefix.is_empty() {
            write!(out, " --nflog-prefix {}", quote(&self.prefix)).ok();
        }
        if self.group != 0 {
            write!(out, " --nflog-group {}", self.group).ok();
        }
        if let Some(size) = self.size {
            write!(out, " --nflog-size {size}").ok();
        }
        if let Some(range) = self.range {
            write!(out, " --nflog-range {range}").ok();
        }
        if self.threshold != 0 {
            write!(out, " --nflog-threshold {}", self.threshold).ok();
        }
    }
}

impl Targeting for Nflog {
    fn effect(&self) -> Effect {
        Effect::Continue
    }

    fn explain(&self) -> String {
        let mut out = format!("logged to group {}", self.group);
        // Writing to a String cannot fail.
        if !self.prefix.is_empty() {
            write!(out, " as “{}”", self.prefix).ok();
        }
        if let Some(size) = self.size {
            write!(out, ", at most {size} bytes").ok();
        }
        if let Some(range) = self.range {
            write!(out, ", whole (a range of {range} has no effect)").ok();
        }
        if self.threshold != 0 {
            write!(out, ", {} at a time", self.threshold).ok();
        }
        out
    }

    fn nft(&self) -> Option<String> {
        let mut out = "log".to_owned();
        if !self.prefix.is_empty() {
            out.push_str(&format!(" prefix \"{}\"", self.prefix));
        }
        out.push_str(&format!(" group {}", self.group));
        if let Some(size) = self.size {
            out.push_str(&format!(" snaplen {size}"));
        }
        if self.threshold != 0 {
            out.push_str(&format!(" queue-threshold {}", self.threshold));
        }
        self.range.is_none().then_some(out)
    }
}
