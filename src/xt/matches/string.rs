//! `-m string`: bytes anywhere in the packet (`struct xt_string_info`).

use std::fmt::Write;

use super::span::bang;
use super::{Condition, Extension, Given, Matching, Words};
use crate::packet::{exact_bytes, hex, unhex};
use crate::xt::bytes::Layout;
use crate::xt::text::word;

/// The packet holds these bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Search {
    /// `!`
    pub negated: bool,
    /// What is looked for.
    pub pattern: Vec<u8>,
    /// `--algo`: `bm`, `kmp`.
    pub algorithm: String,
    /// `--from`: the first offset.
    pub from: u16,
    /// `--to`: the last one.
    pub to: u16,
    /// `--icase`: whatever their case.
    pub ignore_case: bool,
}

/// What the kernel's structure holds.
const MOST: usize = 128;
const ALGORITHM: usize = 16;

impl Search {
    /// iptables writes digits for bytes that are no printable ASCII, and for a text that ends with a backslash.
    fn is_text(&self) -> bool {
        self.pattern.iter().all(|byte| (b' '..=b'~').contains(byte)) && self.pattern.last() != Some(&b'\\')
    }

    fn text(&self) -> String {
        if !self.is_text() {
            return format!("\"|{}|\"", hex(&self.pattern));
        }
        let mut text = String::from('"');
        for character in self.pattern.iter().map(|byte| char::from(*byte)) {
            if matches!(character, '"' | '\\') {
                text.push('\\');
            }
            text.push(character);
        }
        text + "\""
    }

    /// `abc|0d 0a|d\|e`: digits between bars, a backslash before what is meant as it stands.
    fn parse_hex(text: &str) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut rest = text.chars();
        while let Some(character) = rest.next() {
            let literal = match character {
                '|' => {
                    let digits: String = rest.by_ref().take_while(|digit| *digit != '|').collect();
                    bytes.extend(unhex(&digits.split(' ').collect::<String>())?);
                    continue;
                }
                '\\' => rest.next()?,
                other => other,
            };
            bytes.extend(exact_bytes(literal.encode_utf8(&mut [0; 4])).iter());
        }
        Some(bytes)
    }
}

impl Extension for Search {
    const NAMES: &'static [&'static str] = &["string"];
    const OPTIONS: &'static [(&'static str, usize)] =
        &[("--from", 1), ("--to", 1), ("--algo", 1), ("--string", 1), ("--hex-string", 1), ("--icase", 0)];

    fn decode(revision: u8, data: &[u8], _ipv6: bool) -> Option<Self> {
        let layout = Layout(data);
        let (length, flags) = (usize::from(layout.u8(148)?), layout.u8(149)?);
        let known = match revision {
            0 => flags <= 1,
            1 => flags <= 3,
            _ => false,
        };
        let algorithm = layout.text(4, ALGORITHM)?;
        if !known || length == 0 || length > MOST || !algorithm.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return None;
        }
        Some(Self {
            negated: flags & 1 != 0,
            pattern: data.get(20..20 + length)?.to_vec(),
            algorithm: Some(algorithm).filter(|name| !name.is_empty())?,
            from: layout.u16(0)?,
            to: layout.u16(2)?,
            ignore_case: flags & 2 != 0,
        })
    }

    fn parse(_name: &str, options: &[Given], _ipv6: bool) -> Option<Self> {
        let mut found = Self {
            negated: false,
            pattern: Vec::new(),
            algorithm: String::new(),
            from: 0,
            to: u16::MAX,
            ignore_case: false,
        };
        for given in options {
            let offset = || u16::try_from(given.number()?).ok();
            match given.name {
                "--from" => found.from = offset()?,
                "--to" => found.to = offset()?,
                "--algo" => found.algorithm = given.value().to_owned(),
                "--icase" => found.ignore_case = true,
                name => {
                    found.negated = given.negated;
                    found.pattern = match name {
                        "--string" => exact_bytes(given.value()).into_owned(),
                        _ => Self::parse_hex(given.value())?,
                    };
                }
            }
        }
        let possible = !found.pattern.is_empty() && found.pattern.len() <= MOST && !found.algorithm.is_empty();
        possible.then_some(found)
    }

    fn save(&self, out: &mut String) {
        let option = if self.is_text() { "--string" } else { "--hex-string" };
        // Writing to a String cannot fail.
        write!(out, "{} {option} {} --algo {}", bang(self.negated), self.text(), word(&self.algorithm)).ok();
        if self.from != 0 {
            write!(out, " --from {}", self.from).ok();
        }
        if self.to != u16::MAX {
            write!(out, " --to {}", self.to).ok();
        }
        out.push_str(if self.ignore_case { " --icase" } else { "" });
    }
}

impl Matching for Search {
    fn condition(&self) -> Condition {
        Condition::Opaque(format!("the text {}", self.text())).negated_if(self.negated)
    }

    fn explain(&self, words: &mut Words) {
        let kind = if self.is_text() { "the text" } else { "the bytes" };
        let mut phrase = format!("{} {kind} {}", if self.negated { "without" } else { "with" }, self.text());
        phrase.push_str(if self.ignore_case { " in any case" } else { "" });
        match (self.from, self.to) {
            (0, u16::MAX) => {}
            (from, u16::MAX) => phrase.push_str(&format!(" from byte {from} on")),
            (from, to) => phrase.push_str(&format!(" in bytes {from}–{to}")),
        }
        words.also(format!("{phrase} (by {})", self.algorithm));
    }
}
