//! `-m rateest`: compares measured rates (`struct xt_rateest_match_info`).

use std::fmt::Write;

use super::{Condition, Extension, Given, Matching, Words};
use crate::xt::bytes::Layout;
use crate::xt::extension::OPTIONAL;
use crate::xt::text::word;

/// How rates are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// `--rateest-eq`
    Equal,
    /// `--rateest-lt`
    Less,
    /// `--rateest-gt`
    Greater,
}

/// Bytes or packets a second, of the first and of the second side.
type Rates = (u32, u32);

/// A comparison of measured rates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rateest {
    /// The first estimator (hostile).
    pub first: String,
    /// The second; `None` where it is compared with numbers.
    pub second: Option<String>,
    /// `--rateest-delta`: how far it is below its number is compared.
    pub delta: bool,
    /// Bytes a second are compared, with these numbers where there are any.
    pub bytes: Option<Rates>,
    /// The same of packets.
    pub packets: Option<Rates>,
    /// `!`
    pub negated: bool,
    /// How.
    pub comparison: Relation,
}

/// `XT_RATEEST_MATCH_*`
const INVERT: u16 = 1;
const ABSOLUTE: u16 = 2;
const RELATIVE: u16 = 4;
const DELTA: u16 = 8;
const BYTES: u16 = 16;
const PACKETS: u16 = 32;

const COMPARISONS: [(Relation, &str, &str); 3] =
    [(Relation::Equal, "eq", "equal to"), (Relation::Less, "lt", "below"), (Relation::Greater, "gt", "above")];

/// Suffixes of rates in bits a second, as iproute2 has them.
const SUFFIXES: [(&str, f64); 18] = [
    ("bit", 1.0),
    ("kibit", 1024.0),
    ("kbit", 1e3),
    ("mibit", 1_048_576.0),
    ("mbit", 1e6),
    ("gibit", 1_073_741_824.0),
    ("gbit", 1e9),
    ("tibit", 1_099_511_627_776.0),
    ("tbit", 1e12),
    ("bps", 8.0),
    ("kibps", 8192.0),
    ("kbps", 8e3),
    ("mibps", 8_388_608.0),
    ("mbps", 8e6),
    ("gibps", 8_589_934_592.0),
    ("gbps", 8e9),
    ("tibps", 8_796_093_022_208.0),
    ("tbps", 8e12),
];

/// Bytes a second as the save program writes them, in rounded bits.
fn rate_text(bytes: u32) -> String {
    let bits = f64::from(bytes) * 8.0;
    if bits >= 1e9 {
        format!("{:.0}Mbit", bits / 1e6)
    } else if bits >= 1e6 {
        format!("{:.0}Kbit", bits / 1e3)
    } else {
        format!("{bits:.0}bit")
    }
}

fn parse_bytes(text: &str) -> Option<u32> {
    let end = text.find(|character: char| !(character.is_ascii_digit() || character == '.')).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(end)?;
    let unit = unit.to_ascii_lowercase();
    let scale = if unit.is_empty() { 1.0 } else { SUFFIXES.iter().find(|(name, _)| *name == unit)?.1 };
    let bytes = number.parse::<f64>().ok()? * scale / 8.0;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within the range")]
    (0.0..=f64::from(u32::MAX)).contains(&bytes).then_some(bytes as u32)
}

/// The rate that the text of this one says.
fn said(bytes: u32) -> Option<u32> {
    parse_bytes(&rate_text(bytes))
}

impl Rateest {
    /// Only the numbers that are compared.
    fn compared(self) -> Self {
        let numbers = |(first, second): Rates| {
            (if self.delta { first } else { 0 }, if self.delta || self.second.is_none() { second } else { 0 })
        };
        Self { bytes: self.bytes.map(numbers), packets: self.packets.map(numbers), ..self }
    }

    fn words(&self) -> (&'static str, &'static str) {
        let found = COMPARISONS.iter().find(|(comparison, ..)| *comparison == self.comparison);
        found.map_or(("", ""), |(_, option, words)| (option, words))
    }

    /// Both sides, `bps` and `pps`, with their numbers as text.
    fn sides(&self) -> impl Iterator<Item = (&'static str, String, String)> {
        let bytes = self.bytes.map(|(first, second)| ("bps", rate_text(first), rate_text(second)));
        let packets = self.packets.map(|(first, second)| ("pps", first.to_string(), second.to_string()));
        bytes.into_iter().chain(packets)
    }
}

impl Extension for Rateest {
    const NAMES: &'static [&'static str] = &["rateest"];
    const OPTIONS: &'static [(&'static str, usize)] = &[
        ("--rateest1", 1),
        ("--rateest", 1),
        ("--rateest2", 1),
        ("--rateest-bps1", OPTIONAL),
        ("--rateest-pps1", OPTIONAL),
        ("--rateest-bps2", OPTIONAL),
        ("--rateest-pps2", OPTIONAL),
        ("--rateest-bps", OPTIONAL),
        ("--rateest-pps", OPTIONAL),
        ("--rateest-delta", 0),
        ("--rateest-lt", 0),
        ("--rateest-gt", 0),
        ("--rateest-eq", 0),
    ];

    fn decode(revision: u8, data: &[u8], _ipv6: bool) -> Option<Self> {
        let layout = Layout::of(data, 72)?;
        let (flags, mode) = (layout.u16(32)?, layout.u16(34)?);
        let relative = match flags & (ABSOLUTE | RELATIVE) {
            ABSOLUTE => false,
            RELATIVE => true,
            _ => return None,
        };
        let known = INVERT | ABSOLUTE | RELATIVE | DELTA | BYTES | PACKETS;
        if revision != 0 || flags & !known != 0 || flags & (BYTES | PACKETS) == 0 {
            return None;
        }
        let (comparison, ..) = *COMPARISONS.get(usize::from(mode).checked_sub(1)?)?;
        // Rates are kept as their text says them.
        let bytes = (said(layout.u32(36)?)?, said(layout.u32(44)?)?);
        let packets = (layout.u32(40)?, layout.u32(48)?);
        let second = layout.text(16, 16)?;
        let rateest = Self {
            first: layout.text(0, 16)?,
            second: relative.then_some(second),
            delta: flags & DELTA != 0,
            bytes: (flags & BYTES != 0).then_some(bytes),
            packets: (flags & PACKETS != 0).then_some(packets),
            negated: flags & INVERT != 0,
            comparison,
        };
        Some(rateest.compared())
    }

    fn parse(_name: &str, options: &[Given], _ipv6: bool) -> Option<Self> {
        let mut rateest = Self {
            first: String::new(),
            second: None,
            delta: false,
            bytes: None,
            packets: None,
            negated: false,
            comparison: Relation::Equal,
        };
        let mut compared = false;
        for given in options {
            let bytes = || if given.value().is_empty() { Some(0) } else { said(parse_bytes(given.value())?) };
            let packets = || if given.value().is_empty() { Some(0) } else { given.number() };
            match given.name {
                "--rateest1" | "--rateest" => given.value().clone_into(&mut rateest.first),
                "--rateest2" => rateest.second = Some(given.value().to_owned()),
                "--rateest-delta" => rateest.delta = true,
                "--rateest-bps1" => rateest.bytes.get_or_insert_default().0 = bytes()?,
                "--rateest-bps2" | "--rateest-bps" => rateest.bytes.get_or_insert_default().1 = bytes()?,
                "--rateest-pps1" => rateest.packets.get_or_insert_default().0 = packets()?,
                "--rateest-pps2" | "--rateest-pps" => rateest.packets.get_or_insert_default().1 = packets()?,
                name => {
                    let (_, option) = name.rsplit_once('-')?;
                    rateest.comparison = COMPARISONS.iter().find(|(_, known, _)| *known == option)?.0;
                    rateest.negated = given.negated;
                    compared = true;
                }
            }
        }
        let whole = compared && (rateest.bytes.is_some() || rateest.packets.is_some());
        whole.then(|| rateest.compared())
    }

    fn save(&self, out: &mut String) {
        let (option, _) = self.words();
        let not = if self.negated { " !" } else { "" };
        let one = if self.second.is_some() { "1" } else { "" };
        out.push_str(if self.delta { " --rateest-delta" } else { "" });
        // Writing to a String cannot fail.
        write!(out, " --rateest{one} {}", word(&self.first)).ok();
        for (unit, first, second) in self.sides() {
            if self.delta {
                write!(out, " --rateest-{unit}1 {first}{not} --rateest-{option} --rateest-{unit}2 {second}").ok();
            } else if self.second.is_some() {
                write!(out, "{not} --rateest-{option} --rateest-{unit}").ok();
            } else {
                write!(out, "{not} --rateest-{option} --rateest-{unit} {second}").ok();
            }
        }
        if let Some(second) = &self.second {
            write!(out, " --rateest2 {}", word(second)).ok();
        }
    }
}

impl Matching for Rateest {
    fn condition(&self) -> Condition {
        Condition::Opaque("a measured rate".into())
    }

    fn explain(&self, words: &mut Words) {
        let (_, comparison) = self.words();
        let not = if self.negated { "not " } else { "" };
        let all: Vec<String> = self
            .sides()
            .map(|(unit, first, second)| {
                let (a, b) = (&self.first, self.second.as_deref());
                match (b, self.delta) {
                    (None, false) => format!("rate “{a}” is {not}{comparison} {second} ({unit})"),
                    (None, true) => format!("{first} less rate “{a}” is {not}{comparison} {second} ({unit})"),
                    (Some(b), false) => format!("rate “{a}” is {not}{comparison} “{b}” ({unit})"),
                    (Some(b), true) => {
                        format!("{first} less rate “{a}” is {not}{comparison} {second} less “{b}” ({unit})")
                    }
                }
            })
            .collect();
        words.also(format!("while {}", all.join(" and ")));
    }
}
