//! `LOG`: writes to the kernel's log (`struct ipt_log_info`, `ip6t_log_info`).

use std::fmt::Write;

use super::{Effect, Extension, Given, Targeting};
use crate::xt::bytes::Layout;
use crate::xt::extension::parse_whole;
use crate::xt::text::quote;

/// Writes to the kernel's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// syslog level, 4 (warning) by default.
    pub level: u8,
    /// `IPT_LOG_*` bits.
    pub flags: u8,
    /// Text for people (hostile).
    pub prefix: String,
}

const FLAGS: [(u8, &str); 5] = [
    (1, "--log-tcp-sequence"),
    (2, "--log-tcp-options"),
    (4, "--log-ip-options"),
    (8, "--log-uid"),
    (32, "--log-macdecode"),
];

/// The same in words.
const DETAILS: [(u8, &str); 5] =
    [(1, "TCP sequence numbers"), (2, "TCP options"), (4, "IP options"), (8, "UID"), (32, "MAC addresses")];

/// All of them.
const ALL: u8 = 0x2f;

/// Bytes of the field, the zero behind the prefix included.
const PREFIX: usize = 30;

/// The level that is meant where none is named.
const WARNING: u8 = 4;

const LEVELS: [&str; 8] = ["emerg", "alert", "crit", "error", "warning", "notice", "info", "debug"];

impl Extension for Log {
    const NAMES: &'static [&'static str] = &["LOG"];
    const OPTIONS: &'static [(&'static str, usize)] = &[
        ("--log-level", 1),
        ("--log-prefix", 1),
        ("--log-tcp-sequence", 0),
        ("--log-tcp-options", 0),
        ("--log-ip-options", 0),
        ("--log-uid", 0),
        ("--log-macdecode", 0),
    ];

    fn decode(revision: u8, data: &[u8], _ipv6: bool) -> Option<Self> {
        let layout = Layout::of(data, 32)?;
        let flags = layout.u8(1)?;
        let level = layout.u8(0).filter(|level| *level < 8)?;
        (revision == 0 && flags & !ALL == 0).then(|| Some(Self { level, flags, prefix: layout.text(2, PREFIX)? }))?
    }

    fn parse(_name: &str, options: &[Given], _ipv6: bool) -> Option<Self> {
        let mut log = Self { level: WARNING, flags: 0, prefix: String::new() };
        for given in options {
            match given.name {
                "--log-prefix" => log.prefix = given.cut(PREFIX),
                "--log-level" => {
                    let name = given.value();
                    let named = if name == "panic" { Some(0) } else { LEVELS.iter().position(|known| *known == name) };
                    let level = named.map_or_else(|| parse_whole(name), |level| u8::try_from(level).ok());
                    log.level = level.filter(|level| *level < 8)?;
                }
                flag => log.flags |= FLAGS.iter().find(|(_, name)| *name == flag)?.0,
            }
        }
        Some(log)
    }

    fn save(&self, out: &mut String) {
        // Writing to a String cannot fail.
        if !self.prefix.is_empty() {
            write!(out, " --log-prefix {}", quote(&self.prefix)).ok();
        }
        if self.level != WARNING {
            write!(out, " --log-level {}", self.level).ok();
        }
        for (_, name) in FLAGS.iter().filter(|(bit, _)| self.flags & bit != 0) {
            write!(out, " {name}").ok();
        }
    }
}

impl Targeting for Log {
    fn effect(&self) -> Effect {
        Effect::Continue
    }

    fn explain(&self) -> String {
        let mut out = "logged by the kernel".to_owned();
        if !self.prefix.is_empty() {
            out.push_str(&format!(" as “{}”", self.prefix));
        }
        if let Some(level) = LEVELS.get(usize::from(self.level)).filter(|_| self.level != WARNING) {
            out.push_str(&format!(", level {level}"));
        }
        let with: Vec<&str> =
            DETAILS.into_iter().filter(|(bit, _)| self.flags & bit != 0).map(|(_, name)| name).collect();
        if !with.is_empty() {
            out.push_str(&format!(", with {}", with.join(", ")));
        }
        out
    }

    fn nft(&self) -> Option<String> {
        const LEVELS: [&str; 8] = ["emerg", "alert", "crit", "err", "warn", "notice", "info", "debug"];
        let mut out = "log".to_owned();
        if !self.prefix.is_empty() {
            out.push_str(&format!(" prefix \"{}\"", self.prefix));
        }
        if self.level != WARNING {
            out.push_str(&format!(" level {}", LEVELS.get(usize::from(self.level))?));
        }
        if self.flags == ALL {
            out.push_str(" flags all");
            return Some(out);
        }
        out.push_str(match self.flags & 3 {
            1 => " flags tcp sequence",
            2 => " flags tcp options",
            3 => " flags tcp sequence,options",
            _ => "",
        });
        for (bit, words) in [(4, " flags ip options"), (8, " flags skuid"), (32, " flags ether")] {
            out.push_str(if self.flags & bit != 0 { words } else { "" });
        }
        Some(out)
    }
}
