//! `CT`: tracking options, here zones and `--notrack` (`struct xt_ct_target_info`, `_v1`).

use std::fmt::Write;

use super::{Effect, Extension, Given, Targeting};
use crate::xt::bytes::Layout;

/// Direction that a zone is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// `--zone`
    Both,
    /// `--zone-orig`
    Original,
    /// `--zone-reply`
    Reply,
}

/// Tracking options.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ct {
    /// `--notrack`
    pub untracked: bool,
    /// Zone, 0 for none.
    pub zone: u16,
    /// Written as `-j NOTRACK`.
    pub short: bool,
    /// Which direction the zone is for.
    pub direction: Option<Direction>,
}

/// `XT_CT_*` flags (`include/uapi/linux/netfilter/xt_CT.h`).
const NOTRACK: u16 = 1;
const NOTRACK_ALIAS: u16 = 2;
const ZONE_ORIGINAL: u16 = 4;
const ZONE_REPLY: u16 = 8;

impl Extension for Ct {
    const NAMES: &'static [&'static str] = &["CT", "NOTRACK"];
    const OPTIONS: &'static [(&'static str, usize)] =
        &[("--notrack", 0), ("--zone", 1), ("--zone-orig", 1), ("--zone-reply", 1)];

    fn decode(revision: u8, data: &[u8], _ipv6: bool) -> Option<Self> {
        let layout = Layout(data);
        let (flags, zone) = (layout.u16(0)?, layout.u16(2)?);
        // Event masks, a helper or a timeout policy make it more than is understood here.
        let plain = layout.u32(4)? == 0 && layout.u32(8)? == 0 && layout.u8(12)? == 0;
        let plain = plain && (revision == 0 || layout.u8(28)? == 0);
        if revision > 2 || !plain || flags & !(NOTRACK | NOTRACK_ALIAS | ZONE_ORIGINAL | ZONE_REPLY) != 0 {
            return None;
        }
        let direction = match flags & (ZONE_ORIGINAL | ZONE_REPLY) {
            ZONE_ORIGINAL => Direction::Original,
            ZONE_REPLY => Direction::Reply,
            _ => Direction::Both,
        };
        let short = flags & NOTRACK_ALIAS != 0;
        // The short form says nothing more.
        let whole = !short || (flags == NOTRACK | NOTRACK_ALIAS && zone == 0);
        let direction = (zone != 0).then_some(direction);
        whole.then_some(Self { untracked: flags & NOTRACK != 0, zone, short, direction })
    }

    fn parse(name: &str, options: &[Given], _ipv6: bool) -> Option<Self> {
        let short = name == "NOTRACK";
        if short && !options.is_empty() {
            return None;
        }
        let mut ct = Self { untracked: short, short, ..Self::default() };
        for given in options {
            let direction = match given.name {
                "--notrack" => {
                    ct.untracked = true;
                    continue;
                }
                "--zone-orig" => Direction::Original,
                "--zone-reply" => Direction::Reply,
                _ => Direction::Both,
            };
            // A zone taken from the mark (`mark`) is kept as text.
            ct.zone = given.value().parse().ok()?;
            ct.direction = (ct.zone != 0).then_some(direction);
        }
        Some(ct)
    }

    fn name(&self) -> &'static str {
        if self.short { "NOTRACK" } else { "CT" }
    }

    fn save(&self, out: &mut String) {
        out.push_str(if self.untracked && !self.short { " --notrack" } else { "" });
        let option = match self.direction {
            None => return,
            Some(Direction::Both) => "--zone",
            Some(Direction::Original) => "--zone-orig",
            Some(Direction::Reply) => "--zone-reply",
        };
        // Writing to a String cannot fail.
        write!(out, " {option} {}", self.zone).ok();
    }
}

impl Targeting for Ct {
    fn effect(&self) -> Effect {
        if self.untracked { Effect::Untracked } else { Effect::Continue }
    }

    fn explain(&self) -> String {
        match (self.untracked, self.zone) {
            (true, _) => "not tracked: no redirect can catch it".to_owned(),
            (false, 0) => "tracked".to_owned(),
            (false, zone) => format!("tracked in zone {zone}"),
        }
    }

    fn nft(&self) -> Option<String> {
        (self.untracked && self.zone == 0).then(|| "notrack".to_owned())
    }
}
