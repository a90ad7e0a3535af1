//! `-m hashlimit`: a rate for each of many groups (`struct xt_hashlimit_mtinfo1` to `3`).

use std::fmt::Write;

use super::limit::{parse_rate, period, rate};
use super::{Condition, Extension, Given, Matching, Words};
use crate::xt::bytes::Layout;
use crate::xt::extension::parse_whole;
use crate::xt::text::word;

/// What is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Packets: millionths of a second between two.
    Packets(u64),
    /// Bytes: what sixteen of them cost, 2³² being a second's worth.
    Bytes(u32),
}

/// A rate for each group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hashlimit {
    /// Above the rate rather than up to it.
    pub above: bool,
    /// The rate.
    pub unit: Unit,
    /// Packets that may come at once; of bytes, how many seconds' worth (0: none given).
    pub burst: u64,
    /// What tells groups apart, `XT_HASHLIMIT_HASH_*` bits.
    pub groups: u8,
    /// Leading bits of the source address that count.
    pub source_length: u8,
    /// The same of the destination address.
    pub destination_length: u8,
    /// The table's name in `/proc/net/ipt_hashlimit` (hostile).
    pub name: String,
    /// Buckets of the table, 0 for the kernel's choice.
    pub size: u32,
    /// Most entries, 0 for the kernel's choice.
    pub max: u32,
    /// Milliseconds between two sweeps.
    pub sweep: u32,
    /// Milliseconds after which an idle entry goes.
    pub expire: u32,
    /// `--hashlimit-rate-match`: rates are compared each so many seconds, and nothing is limited.
    pub interval: Option<u32>,
    /// For IPv6.
    pub ipv6: bool,
}

/// `XT_HASHLIMIT_*` of the mode; the order of the groups is iptables'.
const GROUPS: [(u8, &str, &str); 4] =
    [(4, "srcip", "source"), (8, "srcport", "source port"), (1, "dstip", "destination"), (2, "dstport", "port")];
const GROUP_BITS: u32 = 15;
const ABOVE: u32 = 16;
const BYTES: u32 = 32;
const RATE_MATCH: u32 = 64;

/// Counts in a second of revision 1, and of those after it.
const SCALE_1: u64 = 10_000;
const SCALE: u64 = 1_000_000;
/// What iptables takes when nothing is given.
const BURST: u64 = 5;
const SWEEP: u32 = 1000;
/// Milliseconds after which entries of bytes expire, without and with a burst.
const EXPIRE: u32 = 15_000;
const EXPIRE_BURST: u32 = 60_000;

const UNITS: [(&str, u64); 3] = [("m", 1024 * 1024), ("k", 1024), ("", 1)];

/// Bytes in a second of a cost, and back.
fn bytes_of(cost: u32) -> u64 {
    u64::from(u32::MAX.checked_div(cost).unwrap_or(u32::MAX)).saturating_sub(1) << 4
}

/// iptables counts in 32 bits: of a greater rate it takes what is left.
fn cost_of(bytes: u64) -> Option<u32> {
    let sixteens = u32::try_from((bytes >> 4) & u64::from(u32::MAX)).ok()?.checked_add(1)?;
    Some(u32::MAX / sixteens)
}

/// The rate in the largest unit that says all of it.
fn bytes_text(cost: u32) -> (u64, &'static str) {
    let bytes = bytes_of(cost);
    // iptables masks the number with 32 bits.
    let whole = |unit: u64| bytes & (!(unit - 1) & u64::from(u32::MAX));
    let says = |unit: u64| bytes >= unit && cost_of(whole(unit)) == Some(cost);
    let found = UNITS.into_iter().find(|(_, unit)| says(*unit));
    found.map_or((bytes, ""), |(name, unit)| (bytes / unit, name))
}

/// A burst of bytes in the largest unit.
fn burst_text(cost: u32, seconds: u64) -> (u64, &'static str) {
    let bytes = bytes_of(cost).saturating_mul(seconds);
    let found = UNITS.into_iter().find(|(_, unit)| bytes >= *unit);
    found.map_or((bytes, ""), |(name, unit)| (bytes / unit, name))
}

/// `512kb`, `16mb`, `100b`: the number and its factor, by the letter behind the digits.
fn parse_bytes(text: &str) -> Option<u64> {
    let end = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(end)?;
    number.parse::<u64>().ok()?.checked_mul(factor(unit))
}

fn factor(unit: &str) -> u64 {
    match unit.chars().next() {
        Some('m') => 1024 * 1024,
        Some('k') => 1024,
        _ => 1,
    }
}

/// The same of a burst, where the number may be hexadecimal or octal.
fn parse_burst(text: &str) -> Option<u64> {
    let (radix, start) = match text.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, 2),
        [b'0', ..] => (8, 0),
        _ => (10, 0),
    };
    let digits = text.get(start..)?;
    let end = start + digits.find(|character: char| !character.is_digit(radix)).unwrap_or(digits.len());
    let (number, unit) = text.split_at_checked(end)?;
    parse_whole::<u64>(number)?.checked_mul(factor(unit))
}

/// How many seconds' worth of a rate a burst is, rounded up.
fn burst_seconds(cost: u32, bytes: u64) -> Option<u64> {
    let rate = bytes_of(cost);
    (rate != 0 && bytes >= rate).then(|| bytes.div_ceil(rate))
}

/// What all revisions hold, where each has it.
struct Places {
    average: u64,
    burst: u64,
    /// Mode, size, most entries, sweep, expiry follow one another.
    mode: usize,
    lengths: usize,
    interval: Option<usize>,
}

impl Hashlimit {
    fn places(revision: u8, data: &[u8]) -> Option<(Layout<'_>, Places, String)> {
        let size = match revision {
            1 => 56,
            2 => 304,
            3 => 312,
            _ => return None,
        };
        let layout = Layout::of(data, size)?;
        let places = match revision {
            1 => {
                let (average, burst) = (layout.u32(20)?.into(), layout.u32(24)?.into());
                return Some((
                    layout,
                    Places { average, burst, mode: 16, lengths: 44, interval: None },
                    layout.text(0, 16)?,
                ));
            }
            2 => Places { average: layout.u64(256)?, burst: layout.u64(264)?, mode: 272, lengths: 292, interval: None },
            _ => {
                let (average, burst) = (layout.u64(256)?, layout.u64(264)?);
                Places { average, burst, mode: 272, lengths: 296, interval: Some(292) }
            }
        };
        let name = layout.text(0, 255)?;
        Some((layout, places, name))
    }

    /// The rate, if its text says all of it.
    fn unit(bytes: bool, average: u64, revision: u8) -> Option<Unit> {
        if bytes {
            let cost = u32::try_from(average).ok().filter(|cost| *cost != 0)?;
            return (cost_of(bytes_of(cost)) == Some(cost)).then_some(Unit::Bytes(cost));
        }
        let scale = if revision == 1 { SCALE_1 } else { SCALE };
        let (count, at) = rate(average, scale)?;
        let (seconds, ..) = period(at);
        let again = (seconds * SCALE).checked_div(count)?;
        let same = rate(again, SCALE)? == (count, at) && again / (SCALE / scale) == average;
        same.then_some(Unit::Packets(again))
    }

    /// Milliseconds after which entries go where nothing else is said.
    fn usual_expiry(&self) -> u32 {
        match self.unit {
            Unit::Bytes(_) if self.burst == 0 => EXPIRE,
            Unit::Bytes(_) => EXPIRE_BURST,
            Unit::Packets(average) => {
                let seconds = rate(average, SCALE).map_or(1, |(_, at)| period(at).0);
                u32::try_from(seconds * 1000).unwrap_or(u32::MAX)
            }
        }
    }

    fn width(&self) -> u8 {
        if self.ipv6 { 128 } else { 32 }
    }

    /// `5/min` or `512kb/s`.
    fn rate_text(&self) -> String {
        match self.unit {
            Unit::Packets(average) => {
                let (count, at) = rate(average, SCALE).unwrap_or_default();
                format!("{count}/{}", period(at).1)
            }
            Unit::Bytes(cost) => {
                let (count, unit) = bytes_text(cost);
                format!("{count}{unit}b/s")
            }
        }
    }

    /// `5`, or in bytes `16mb`; none where none was given.
    fn burst_text(&self) -> Option<String> {
        match self.unit {
            Unit::Packets(_) => Some(self.burst.to_string()),
            Unit::Bytes(_) if self.burst == 0 => None,
            Unit::Bytes(cost) => {
                let (count, unit) = burst_text(cost, self.burst);
                Some(format!("{count}{unit}b"))
            }
        }
    }

    fn parse_mode(list: &str) -> Option<u8> {
        let bit = |name: &str| GROUPS.iter().find(|(_, known, _)| *known == name).map(|(bit, ..)| *bit);
        list.split([',', '|']).try_fold(0, |bits, name| Some(bits | bit(name)?))
    }

    fn groups_text(&self) -> String {
        let named = GROUPS.iter().filter(|(bit, ..)| self.groups & bit != 0);
        named.map(|(_, name, _)| *name).collect::<Vec<_>>().join(",")
    }

    /// One number of the table or of a prefix.
    fn take(&mut self, given: &Given) -> Option<()> {
        let width = self.width();
        let length = || parse_whole::<u8>(given.value()).filter(|length| *length <= width);
        match given.name {
            "--hashlimit-mode" => self.groups = Self::parse_mode(given.value())?,
            "--hashlimit-srcmask" => self.source_length = length()?,
            "--hashlimit-dstmask" => self.destination_length = length()?,
            "--hashlimit-htable-size" => self.size = given.number()?,
            "--hashlimit-htable-max" => self.max = given.number()?,
            "--hashlimit-htable-gcinterval" => self.sweep = given.number()?,
            "--hashlimit-htable-expire" => self.expire = given.number()?,
            _ => {}
        }
        Some(())
    }
}

impl Extension for Hashlimit {
    const NAMES: &'static [&'static str] = &["hashlimit"];
    const OPTIONS: &'static [(&'static str, usize)] = &[
        ("--hashlimit-upto", 1),
        ("--hashlimit-above", 1),
        ("--hashlimit", 1),
        ("--hashlimit-srcmask", 1),
        ("--hashlimit-dstmask", 1),
        ("--hashlimit-burst", 1),
        ("--hashlimit-htable-size", 1),
        ("--hashlimit-htable-max", 1),
        ("--hashlimit-htable-gcinterval", 1),
        ("--hashlimit-htable-expire", 1),
        ("--hashlimit-mode", 1),
        ("--hashlimit-name", 1),
        ("--hashlimit-rate-match", 0),
        ("--hashlimit-rate-interval", 1),
    ];

    fn decode(revision: u8, data: &[u8], ipv6: bool) -> Option<Self> {
        let (layout, places, name) = Self::places(revision, data)?;
        let mode = layout.u32(places.mode)?;
        let after = |words: usize| layout.u32(places.mode + if revision == 1 { 8 } else { 0 } + words * 4);
        let rate_match = mode & RATE_MATCH != 0;
        let known = GROUP_BITS | ABOVE | BYTES | if revision == 3 { RATE_MATCH } else { 0 };
        let hashlimit = Self {
            above: mode & ABOVE != 0,
            unit: Self::unit(mode & BYTES != 0, places.average, revision)?,
            burst: places.burst,
            groups: u8::try_from(mode & GROUP_BITS).ok()?,
            source_length: layout.u8(places.lengths)?,
            destination_length: layout.u8(places.lengths + 1)?,
            name,
            size: after(1)?,
            max: after(2)?,
            sweep: after(3)?,
            expire: after(4)?,
            interval: if rate_match { layout.u32(places.interval?) } else { None },
            ipv6,
        };
        // A burst of bytes is printed rounded, and must be the same when it is read again.
        let burst = match hashlimit.unit {
            Unit::Bytes(cost) if hashlimit.burst != 0 => {
                let read = parse_bytes(&hashlimit.burst_text()?).and_then(|bytes| burst_seconds(cost, bytes));
                read == Some(hashlimit.burst)
            }
            _ => true,
        };
        let width = hashlimit.width();
        let lengths = hashlimit.source_length <= width && hashlimit.destination_length <= width;
        let whole = burst && lengths && !hashlimit.name.is_empty() && hashlimit.interval != Some(0);
        (mode & !known == 0 && whole).then_some(hashlimit)
    }

    fn parse(_name: &str, options: &[Given], ipv6: bool) -> Option<Self> {
        let given = |name: &str| options.iter().find(|given| given.name == name);
        let rated = ["--hashlimit-upto", "--hashlimit-above", "--hashlimit"].into_iter().find_map(given)?;
        let rate = rated.value();
        let (unit, mut seconds) = match rate.find("b/s").filter(|at| *at > 0) {
            Some(_) => {
                let bytes = parse_bytes(rate)?;
                (Unit::Bytes(cost_of(bytes)?), 1)
            }
            None => parse_rate(rate, SCALE).map(|(average, seconds)| (Unit::Packets(average), seconds))?,
        };
        let given_burst = given("--hashlimit-burst");
        let burst = match (unit, given_burst) {
            (Unit::Packets(_), None) => BURST,
            (Unit::Packets(_), Some(burst)) => parse_burst(burst.value())?,
            (Unit::Bytes(_), None) => 0,
            (Unit::Bytes(cost), Some(burst)) => burst_seconds(cost, parse_burst(burst.value())?)?,
        };
        let width = if ipv6 { 128 } else { 32 };
        let expire = u32::try_from(seconds * 1000).ok()?;
        let mut hashlimit = Self {
            above: (rated.name == "--hashlimit-above") != rated.negated,
            unit,
            burst,
            groups: 0,
            source_length: width,
            destination_length: width,
            name: given("--hashlimit-name")?.cut(255),
            size: 0,
            max: 0,
            sweep: SWEEP,
            expire: if matches!(unit, Unit::Bytes(_)) { 0 } else { expire },
            interval: None,
            ipv6,
        };
        if matches!(unit, Unit::Bytes(_)) {
            (hashlimit.expire, seconds) = (hashlimit.usual_expiry(), 1);
        }
        if given("--hashlimit-rate-match").is_some() {
            if let Unit::Packets(average) = &mut hashlimit.unit {
                *average /= seconds;
            }
            let wanted = given("--hashlimit-rate-interval").map(|given| given.number().filter(|count| *count > 0));
            hashlimit.interval = Some(wanted.unwrap_or(u32::try_from(seconds).ok())?);
        }
        for given in options {
            hashlimit.take(given)?;
        }
        Some(hashlimit)
    }

    fn save(&self, out: &mut String) {
        let side = if self.above { "above" } else { "upto" };
        // Writing to a String cannot fail.
        write!(out, " --hashlimit-{side} {}", self.rate_text()).ok();
        if let Some(burst) = self.burst_text() {
            write!(out, " --hashlimit-burst {burst}").ok();
        }
        if self.groups != 0 {
            write!(out, " --hashlimit-mode {}", self.groups_text()).ok();
        }
        write!(out, " --hashlimit-name {}", word(&self.name)).ok();
        let width = u32::from(self.width());
        let numbers = [
            ("htable-size", self.size, 0),
            ("htable-max", self.max, 0),
            ("htable-gcinterval", self.sweep, SWEEP),
            ("htable-expire", self.expire, self.usual_expiry()),
            ("srcmask", self.source_length.into(), width),
            ("dstmask", self.destination_length.into(), width),
        ];
        for (option, value, _) in numbers.into_iter().filter(|(_, value, usual)| value != usual) {
            write!(out, " --hashlimit-{option} {value}").ok();
        }
        if let Some(interval) = self.interval {
            out.push_str(" --hashlimit-rate-match");
            if interval != 1 {
                write!(out, " --hashlimit-rate-interval {interval}").ok();
            }
        }
    }
}

impl Matching for Hashlimit {
    fn condition(&self) -> Condition {
        Condition::Opaque("a rate".into())
    }

    fn explain(&self, words: &mut Words) {
        let side = if self.above { "above" } else { "up to" };
        let mut out = format!("{side} {}", self.rate_text());
        let length = |bit: u8| match bit {
            4 if self.source_length != self.width() => format!(" /{}", self.source_length),
            1 if self.destination_length != self.width() => format!(" /{}", self.destination_length),
            _ => String::new(),
        };
        let each = GROUPS.iter().filter(|(bit, ..)| self.groups & bit != 0);
        let each: Vec<String> = each.map(|(bit, _, name)| format!("{name}{}", length(*bit))).collect();
        // Writing to a String cannot fail.
        if !each.is_empty() {
            write!(out, " for each {}", each.join(" and ")).ok();
        }
        let burst = self.burst_text().map_or(String::new(), |burst| format!("burst {burst}, "));
        write!(out, " ({burst}table “{}”", self.name).ok();
        for (what, bit, length) in [("sources", 4, self.source_length), ("destinations", 1, self.destination_length)] {
            if self.groups & bit == 0 && length != self.width() {
                write!(out, ", {what} by /{length}").ok();
            }
        }
        let numbers = [
            ("size", self.size, 0),
            ("at most", self.max, 0),
            ("swept each ms", self.sweep, SWEEP),
            ("expiry in ms", self.expire, self.usual_expiry()),
        ];
        for (what, value, _) in numbers.into_iter().filter(|(_, value, usual)| value != usual) {
            write!(out, ", {what} {value}").ok();
        }
        if let Some(interval) = self.interval {
            write!(out, ", compared each {interval} s").ok();
        }
        words.also(out + ")");
    }

    // nft's words for it, `meter`, make a set of their own in its table: here they would say another thing.
}
