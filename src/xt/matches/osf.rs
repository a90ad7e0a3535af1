//! `-m osf`: which system's TCP begins connections like this (`struct nf_osf_info`).

use std::fmt::Write;

use super::span::{bang, not};
use super::{Condition, Extension, Given, Matching, Words};
use crate::xt::bytes::Layout;
use crate::xt::text::word;

/// The sender's system looks like this one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Osf {
    /// `!`
    pub negated: bool,
    /// `--genre`
    pub genre: String,
    /// `--ttl`: how the TTL is compared.
    pub ttl: Option<u8>,
    /// `--log`: which are logged.
    pub log: Option<u8>,
}

const GENRE: u32 = 1;
const TTL: u32 = 2;
const LOG: u32 = 4;
const INVERT: u32 = 8;
/// `MAXGENRELEN`
const MOST: usize = 32;

impl Extension for Osf {
    const NAMES: &'static [&'static str] = &["osf"];
    const OPTIONS: &'static [(&'static str, usize)] = &[("--genre", 1), ("--ttl", 1), ("--log", 1)];

    fn decode(revision: u8, data: &[u8], _ipv6: bool) -> Option<Self> {
        let layout = Layout(data);
        let flags = layout.u32(36)?;
        let level = |bit: u32, at| -> Option<Option<u8>> {
            let level = layout.u32(at)?;
            if flags & bit == 0 {
                Some(None)
            } else {
                Some(Some(u8::try_from(level).ok().filter(|level| *level <= 2)?))
            }
        };
        let genre = layout.text(0, MOST)?;
        let known = flags & !(GENRE | TTL | LOG | INVERT) == 0 && genre.len() < MOST;
        (revision == 0 && known).then_some(Self {
            negated: flags & INVERT != 0,
            genre,
            ttl: level(TTL, 44)?,
            log: level(LOG, 40)?,
        })
    }

    fn parse(_name: &str, options: &[Given], _ipv6: bool) -> Option<Self> {
        let mut found = Self::default();
        for given in options {
            let level = || u8::try_from(given.number()?).ok().filter(|level| *level <= 2);
            match given.name {
                "--genre" => (found.negated, found.genre) = (given.negated, given.value().to_owned()),
                "--ttl" => found.ttl = Some(level()?),
                _ => found.log = Some(level()?),
            }
        }
        options.iter().any(|given| given.name == "--genre").then_some(found)
    }

    fn save(&self, out: &mut String) {
        // Writing to a String cannot fail.
        write!(out, "{} --genre {}", bang(self.negated), word(&self.genre)).ok();
        for (option, level) in [("--ttl", self.ttl), ("--log", self.log)] {
            if let Some(level) = level {
                write!(out, " {option} {level}").ok();
            }
        }
    }
}

impl Matching for Osf {
    fn condition(&self) -> Condition {
        Condition::Opaque(format!("a system that looks like {}", self.genre)).negated_if(self.negated)
    }

    fn explain(&self, words: &mut Words) {
        let ttl = match self.ttl {
            None => "",
            Some(0) => " by its exact TTL too",
            Some(1) => " by a TTL no larger too",
            Some(_) => " whatever its TTL",
        };
        let log = match self.log {
            None => "",
            Some(0) => " (all are logged)",
            Some(1) => " (the first is logged)",
            Some(_) => " (known ones are logged)",
        };
        words.also(format!("{}from a system that looks like {}{ttl}{log}", not(self.negated), word(&self.genre)));
    }
}
