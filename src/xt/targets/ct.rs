//! `CT`: how the packet is to be tracked, and `NOTRACK` (`struct xt_ct_target_info`, `_v1`).

use std::fmt::Write;

use super::{Effect, Extension, Given, Targeting};
use crate::xt::bytes::Layout;
use crate::xt::text::word;

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

/// A zone of tracking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Zone {
    /// Its number, never 0; `None` for the packet's mark.
    pub number: Option<u16>,
    /// Which direction it is for.
    pub direction: Direction,
}

/// Tracking options.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ct {
    /// `--notrack`
    pub untracked: bool,
    /// Written as `-j NOTRACK`.
    pub short: bool,
    /// The zone, unless it is the usual one.
    pub zone: Option<Zone>,
    /// `--helper`; empty for none (hostile).
    pub helper: String,
    /// `--timeout`: the policy's name; empty for none (hostile). Kernels hand back its first four bytes only, as they give back no
    /// more of the structure than its first version had.
    pub timeout: String,
    /// `--ctevents`: only these are told, one bit each; 0 for all.
    pub events: u32,
    /// `--expevents`: the same for expected connections.
    pub expected_events: u32,
}

/// `XT_CT_*` flags (`include/uapi/linux/netfilter/xt_CT.h`).
const NOTRACK: u16 = 1;
const NOTRACK_ALIAS: u16 = 2;
const ZONE_ORIGINAL: u16 = 4;
const ZONE_REPLY: u16 = 8;
const ZONE_MARK: u16 = 16;

/// By bit number (`enum ip_conntrack_events`).
const EVENTS: [&str; 10] =
    ["new", "related", "destroy", "reply", "assured", "protoinfo", "helper", "mark", "natseqinfo", "secmark"];
/// The same of expected connections.
const EXPECTED: [&str; 1] = ["new"];

fn event_list(names: &[&str], bits: u32) -> String {
    let named = names.iter().enumerate().filter(|(bit, _)| bits & (1 << bit) != 0);
    named.map(|(_, name)| *name).collect::<Vec<_>>().join(",")
}

fn parse_events(names: &[&str], list: &str) -> Option<u32> {
    let bit = |name: &str| names.iter().position(|known| *known == name).map(|bit| 1 << bit);
    list.split(',').try_fold(0, |bits, name| Some(bits | bit(name)?))
}

impl Zone {
    fn decode(flags: u16, number: u16) -> Option<Option<Self>> {
        let direction = match flags & (ZONE_ORIGINAL | ZONE_REPLY) {
            0 => Direction::Both,
            ZONE_ORIGINAL => Direction::Original,
            ZONE_REPLY => Direction::Reply,
            _ => return None,
        };
        Some(match (flags & ZONE_MARK != 0, number) {
            (true, 0) => Some(Self { number: None, direction }),
            (true, _) => return None,
            (false, 0) => None,
            (false, number) => Some(Self { number: Some(number), direction }),
        })
    }

    fn option(self) -> &'static str {
        match self.direction {
            Direction::Both => "--zone",
            Direction::Original => "--zone-orig",
            Direction::Reply => "--zone-reply",
        }
    }

    fn text(self) -> String {
        self.number.map_or("mark".to_owned(), |number| number.to_string())
    }
}

impl Extension for Ct {
    const NAMES: &'static [&'static str] = &["CT", "NOTRACK"];
    const OPTIONS: &'static [(&'static str, usize)] = &[
        ("--notrack", 0),
        ("--helper", 1),
        ("--timeout", 1),
        ("--ctevents", 1),
        ("--expevents", 1),
        ("--zone", 1),
        ("--zone-orig", 1),
        ("--zone-reply", 1),
    ];

    fn decode(revision: u8, data: &[u8], _ipv6: bool) -> Option<Self> {
        // The target `NOTRACK` of its own has no payload.
        if data.is_empty() && revision == 0 {
            return Some(Self { untracked: true, short: true, ..Self::default() });
        }
        let layout = match revision {
            0 => Layout::of(data, 40)?,
            1 | 2 => Layout::of(data, 72)?,
            _ => return None,
        };
        let flags = layout.u16(0)?;
        let known = if revision == 2 { 0x1f } else { NOTRACK | ZONE_ORIGINAL | ZONE_REPLY | ZONE_MARK };
        let ct = Self {
            untracked: flags & NOTRACK != 0,
            short: flags & NOTRACK_ALIAS != 0,
            zone: Zone::decode(flags, layout.u16(2)?)?,
            helper: layout.text(12, 16)?,
            timeout: if revision == 0 { String::new() } else { layout.text(28, 32)? },
            events: layout.u32(4)?,
            expected_events: layout.u32(8)?,
        };
        // The short form says nothing more.
        let whole = !ct.short || ct == Self { untracked: true, short: true, ..Self::default() };
        let named = ct.events >> EVENTS.len() == 0 && ct.expected_events >> EXPECTED.len() == 0;
        (flags & !known == 0 && whole && named).then_some(ct)
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
                "--helper" => {
                    ct.helper = given.cut(16);
                    continue;
                }
                "--timeout" => {
                    ct.timeout = given.cut(32);
                    continue;
                }
                "--ctevents" => {
                    ct.events = parse_events(&EVENTS, given.value())?;
                    continue;
                }
                "--expevents" => {
                    ct.expected_events = parse_events(&EXPECTED, given.value())?;
                    continue;
                }
                "--zone-orig" => Direction::Original,
                "--zone-reply" => Direction::Reply,
                _ => Direction::Both,
            };
            ct.zone = match given.value() {
                "mark" => Some(Zone { number: None, direction }),
                _ => match u16::try_from(given.number()?).ok()? {
                    0 => None,
                    number => Some(Zone { number: Some(number), direction }),
                },
            };
        }
        Some(ct)
    }

    fn name(&self) -> &'static str {
        if self.short { "NOTRACK" } else { "CT" }
    }

    fn save(&self, out: &mut String) {
        out.push_str(if self.untracked && !self.short { " --notrack" } else { "" });
        let names = [("--helper", &self.helper), ("--timeout", &self.timeout)];
        // Writing to a String cannot fail.
        for (option, name) in names.into_iter().filter(|(_, name)| !name.is_empty()) {
            write!(out, " {option} {}", word(name)).ok();
        }
        if self.events != 0 {
            write!(out, " --ctevents {}", event_list(&EVENTS, self.events)).ok();
        }
        if self.expected_events != 0 {
            write!(out, " --expevents {}", event_list(&EXPECTED, self.expected_events)).ok();
        }
        if let Some(zone) = self.zone {
            write!(out, " {} {}", zone.option(), zone.text()).ok();
        }
    }
}

impl Targeting for Ct {
    fn effect(&self) -> Effect {
        if self.untracked { Effect::Untracked } else { Effect::Template { zone: self.zone } }
    }

    fn explain(&self) -> String {
        let mut out = match (self.untracked, self.short) {
            (true, true) => "not tracked: nat rules do not see it".to_owned(),
            (true, false) => "not tracked (CT): nat rules do not see it".to_owned(),
            (false, _) => "tracked".to_owned(),
        };
        // Writing to a String cannot fail.
        if let Some(zone) = self.zone {
            let which = match zone.direction {
                Direction::Both => "",
                Direction::Original => ", for the original direction",
                Direction::Reply => ", for replies",
            };
            let number = zone.number.map_or("by its mark".to_owned(), |number| number.to_string());
            write!(out, "{} in zone {number}{which}", if self.untracked { "," } else { "" }).ok();
        }
        if !self.helper.is_empty() {
            write!(out, ", with helper “{}”", self.helper).ok();
        }
        if !self.timeout.is_empty() {
            write!(out, ", with timeouts “{}”", self.timeout).ok();
        }
        if self.events != 0 {
            write!(out, ", only these events told: {}", event_list(&EVENTS, self.events)).ok();
        }
        if self.expected_events != 0 {
            let list = event_list(&EXPECTED, self.expected_events);
            write!(out, ", of expected connections only: {list}").ok();
        }
        out
    }

    fn nft(&self) -> Option<String> {
        // Nothing else counts for what is not tracked.
        self.untracked.then(|| "notrack".to_owned())
    }
}
