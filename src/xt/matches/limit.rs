//! `-m limit`: so many packets in a time (`struct xt_rateinfo`).

use std::fmt::Write;

use super::{Condition, Extension, Given, Matching, Words};
use crate::xt::bytes::Layout;

/// A limited rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// Time between two packets, in ten-thousandths of a second.
    pub average: u32,
    /// Packets that may come at once.
    pub burst: u32,
}

/// What iptables takes when no burst is given.
const BURST: u32 = 5;
/// What it takes when no rate is given: three an hour.
const AVERAGE: u32 = 12_000_000;
/// Ten-thousandths of a second.
const SCALE: u64 = 10_000;

/// Seconds of the periods, the longest first, with the names that iptables and nft print.
const PERIODS: [(u64, &str, &str); 4] =
    [(86_400, "day", "day"), (3_600, "hour", "hour"), (60, "min", "minute"), (1, "sec", "second")];

/// A rate as so many in a period: the shortest period in which the number is still (nearly) whole, as iptables looks for it. `scale`
/// is what `average` counts in a second.
pub(super) fn rate(average: u64, scale: u64) -> Option<(u64, usize)> {
    let fits = |(seconds, ..): &&(u64, &str, &str)| {
        let period = seconds * scale;
        average <= period && period / average >= period % average
    };
    let at = (average != 0).then(|| PERIODS.iter().skip(1).take_while(fits).count())?;
    Some(((PERIODS.get(at)?.0 * scale) / average, at))
}

/// Period number `at`: its seconds, and its names.
pub(super) fn period(at: usize) -> (u64, &'static str, &'static str) {
    PERIODS.get(at).copied().unwrap_or((1, "sec", "second"))
}

/// A rate as iptables takes it, `5/min`, `3/s`, `7`: what stands between two packets, and the seconds of the period.
pub(super) fn parse_rate(text: &str, scale: u64) -> Option<(u64, u64)> {
    let (number, unit) = text.split_once('/').unwrap_or((text, "second"));
    let unit = unit.to_ascii_lowercase();
    let named = [(1, "second"), (60, "minute"), (3_600, "hour"), (86_400, "day")];
    let (seconds, _) = named.into_iter().find(|(_, name)| !unit.is_empty() && name.starts_with(&unit))?;
    let average = (scale * seconds).checked_div(number.parse().ok()?)?;
    (average != 0).then_some((average, seconds))
}

impl Limit {
    /// A rate whose text says all of it.
    pub(crate) fn new(average: u32, burst: u32) -> Option<Self> {
        let (count, at) = rate(average.into(), SCALE)?;
        let (seconds, ..) = period(at);
        ((seconds * SCALE).checked_div(count)? == u64::from(average)).then_some(Self { average, burst })
    }

    fn rate(&self) -> (u64, &'static str, &'static str) {
        let (count, at) = rate(self.average.into(), SCALE).unwrap_or_default();
        let (_, short, long) = period(at);
        (count, short, long)
    }
}

impl Extension for Limit {
    const NAMES: &'static [&'static str] = &["limit"];
    const OPTIONS: &'static [(&'static str, usize)] = &[("--limit", 1), ("--limit-burst", 1)];

    fn decode(revision: u8, data: &[u8], _ipv6: bool) -> Option<Self> {
        let layout = Layout::of(data, 40)?;
        let (average, burst) = (layout.u32(0)?, layout.u32(4)?);
        (revision == 0).then(|| Self::new(average, burst))?
    }

    fn parse(_name: &str, options: &[Given], _ipv6: bool) -> Option<Self> {
        let mut limit = Self { average: AVERAGE, burst: BURST };
        for given in options {
            match given.name {
                _ if given.negated => return None,
                "--limit" => limit.average = u32::try_from(parse_rate(given.value(), SCALE)?.0).ok()?,
                _ => limit.burst = given.number()?,
            }
        }
        Some(limit)
    }

    fn save(&self, out: &mut String) {
        let (count, name, _) = self.rate();
        // Writing to a String cannot fail.
        write!(out, " --limit {count}/{name}").ok();
        if self.burst != BURST {
            write!(out, " --limit-burst {}", self.burst).ok();
        }
    }
}

impl Matching for Limit {
    fn condition(&self) -> Condition {
        Condition::Opaque("a rate".into())
    }

    fn explain(&self, words: &mut Words) {
        let (count, _, name) = self.rate();
        let article = if name == "hour" { "an" } else { "a" };
        words.also(format!("up to {count} {article} {name} (burst {})", self.burst));
    }

    fn nft(&self, _protocol: Option<u8>) -> Option<String> {
        let (count, _, name) = self.rate();
        let burst = if self.burst == BURST { String::new() } else { format!(" burst {} packets", self.burst) };
        Some(format!("limit rate {count}/{name}{burst}"))
    }
}
