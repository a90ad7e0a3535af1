//! `-m statistic`: every so many packets, or a share of them at random (`struct xt_statistic_info`).

use std::fmt::Write;

use super::{Condition, Extension, Given, Matching, Words};
use crate::xt::bytes::Layout;
use crate::xt::extension::parse_number;

/// Which packets are picked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pick {
    /// At random: so many of 2³¹.
    Random(u32),
    /// One of `every`, namely the one of this number, counted from 0.
    Nth {
        /// How many packets make a turn.
        every: u32,
        /// Which of them.
        packet: u32,
    },
}

/// A share of the packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Statistic {
    /// `!`
    pub negated: bool,
    /// Which.
    pub pick: Pick,
}

/// What stands for all packets.
const WHOLE: f64 = 2_147_483_648.0;

impl Extension for Statistic {
    const NAMES: &'static [&'static str] = &["statistic"];
    const OPTIONS: &'static [(&'static str, usize)] =
        &[("--mode", 1), ("--probability", 1), ("--every", 1), ("--packet", 1)];

    fn decode(revision: u8, data: &[u8], _ipv6: bool) -> Option<Self> {
        let layout = Layout(data);
        let (mode, flags) = (layout.u16(0)?, layout.u16(2)?);
        let pick = match mode {
            0 => Pick::Random(layout.u32(4).filter(|share| *share <= 1 << 31)?),
            // The kernel keeps the number of packets between, one less than is written.
            1 => Pick::Nth { every: layout.u32(4)?.checked_add(1)?, packet: layout.u32(8)? },
            _ => return None,
        };
        (revision == 0 && flags <= 1).then_some(Self { negated: flags == 1, pick })
    }

    fn parse(_name: &str, options: &[Given], _ipv6: bool) -> Option<Self> {
        let given = |name: &str| options.iter().find(|given| given.name == name);
        let negated = options.iter().any(|given| given.negated);
        let pick = match given("--mode")?.value() {
            "random" => {
                let share: f64 = given("--probability")?.value().parse().ok()?;
                if !(0.0..=1.0).contains(&share) {
                    return None;
                }
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 2³¹")]
                let share = (share * WHOLE).round() as u32;
                Pick::Random(share)
            }
            "nth" => {
                let every = parse_number(given("--every")?.value())?;
                let packet = given("--packet").map_or(Some(0), |given| parse_number(given.value()))?;
                Pick::Nth { every, packet }
            }
            _ => return None,
        };
        Some(Self { negated, pick })
    }

    fn save(&self, out: &mut String) {
        let not = if self.negated { " !" } else { "" };
        // Writing to a String cannot fail.
        match self.pick {
            Pick::Random(share) => {
                write!(out, " --mode random{not} --probability {:.11}", f64::from(share) / WHOLE).ok()
            }
            Pick::Nth { every, packet } => write!(out, " --mode nth{not} --every {every} --packet {packet}").ok(),
        };
    }
}

impl Matching for Statistic {
    fn condition(&self) -> Condition {
        Condition::Opaque("a share of the packets".into()).negated_if(self.negated)
    }

    fn explain(&self, words: &mut Words) {
        words.also(match (self.pick, self.negated) {
            (Pick::Random(share), negated) => {
                let percent = f64::from(if negated { (1 << 31) - share } else { share }) / WHOLE * 100.0;
                // Exact only as far as it takes to tell shares apart.
                let digits = (0..10).find(|digits| {
                    let shown: f64 = format!("{percent:.digits$}").parse().unwrap_or_default();
                    (shown / 100.0 * WHOLE).round() == (percent / 100.0 * WHOLE).round()
                });
                let digits = digits.unwrap_or(10);
                format!("with a chance of {percent:.digits$} %{}", if negated { " (the others)" } else { "" })
            }
            (Pick::Nth { every, packet }, negated) => {
                format!("for {} packet {packet} of every {every}", if negated { "all but" } else { "only" })
            }
        });
    }

    fn nft(&self, _protocol: Option<u8>) -> Option<String> {
        Some(match (self.pick, self.negated) {
            (Pick::Random(share), negated) => {
                format!("meta random & 2147483647 {} {share}", if negated { ">=" } else { "<" })
            }
            (Pick::Nth { every, packet }, false) => format!("numgen inc mod {every} {packet}"),
            (Pick::Nth { every, packet }, true) => format!("numgen inc mod {every} != {packet}"),
        })
    }
}
