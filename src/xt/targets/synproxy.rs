//! `SYNPROXY`: answers SYNs in the server's place until the client has shown that it is there (`struct xt_synproxy_info`).

use std::fmt::Write;

use super::{Effect, Extension, Given, Targeting};
use crate::xt::bytes::Layout;

/// The TCP options that the answer names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Synproxy {
    /// `--sack-perm`
    pub selective: bool,
    /// `--timestamp`
    pub timestamp: bool,
    /// `--ecn`
    pub ecn: bool,
    /// `--wscale`
    pub window_scale: Option<u8>,
    /// `--mss`
    pub segment: Option<u16>,
}

/// `XT_SYNPROXY_OPT_*`
const MSS: u8 = 1;
const WSCALE: u8 = 2;
const SACK_PERM: u8 = 4;
const TIMESTAMP: u8 = 8;
const ECN: u8 = 16;

impl Synproxy {
    /// The options as words, `wscale 7` and the like.
    fn words(self, prefix: &str) -> String {
        let mut out = String::new();
        out.push_str(&if self.selective { format!(" {prefix}sack-perm") } else { String::new() });
        out.push_str(&if self.timestamp { format!(" {prefix}timestamp") } else { String::new() });
        // Writing to a String cannot fail.
        if let Some(scale) = self.window_scale {
            write!(out, " {prefix}wscale {scale}").ok();
        }
        if let Some(segment) = self.segment {
            write!(out, " {prefix}mss {segment}").ok();
        }
        out.push_str(&if self.ecn { format!(" {prefix}ecn") } else { String::new() });
        out
    }
}

impl Extension for Synproxy {
    const NAMES: &'static [&'static str] = &["SYNPROXY"];
    const OPTIONS: &'static [(&'static str, usize)] =
        &[("--sack-perm", 0), ("--timestamp", 0), ("--wscale", 1), ("--mss", 1), ("--ecn", 0)];

    fn decode(revision: u8, data: &[u8], _ipv6: bool) -> Option<Self> {
        let layout = Layout::of(data, 4)?;
        let options = layout.u8(0)?;
        let has = |bit: u8| options & bit != 0;
        let (scale, segment) = (layout.u8(1)?, layout.u16(2)?);
        (revision == 0 && options & !(MSS | WSCALE | SACK_PERM | TIMESTAMP | ECN) == 0).then(|| Self {
            selective: has(SACK_PERM),
            timestamp: has(TIMESTAMP),
            ecn: has(ECN),
            window_scale: has(WSCALE).then_some(scale),
            segment: has(MSS).then_some(segment),
        })
    }

    fn parse(_name: &str, options: &[Given], _ipv6: bool) -> Option<Self> {
        let mut synproxy = Self::default();
        for given in options {
            match given.name {
                "--sack-perm" => synproxy.selective = true,
                "--timestamp" => synproxy.timestamp = true,
                "--ecn" => synproxy.ecn = true,
                "--wscale" => synproxy.window_scale = Some(given.number()?.try_into().ok()?),
                _ => synproxy.segment = Some(given.number()?.try_into().ok()?),
            }
        }
        Some(synproxy)
    }

    fn save(&self, out: &mut String) {
        out.push_str(&self.words("--"));
    }
}

impl Targeting for Synproxy {
    fn effect(&self) -> Effect {
        Effect::AnsweredForServer
    }

    fn explain(&self) -> String {
        let words = self.words("");
        let with = if words.is_empty() { String::new() } else { format!(" with{words}") };
        format!("answered in the server's place first (SYNPROXY){with}")
    }

    fn nft(&self) -> Option<String> {
        Some(format!("synproxy{}", self.words("")))
    }
}
