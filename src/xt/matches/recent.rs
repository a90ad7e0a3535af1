//! `-m recent`: addresses seen before (`struct xt_recent_mtinfo`, `_v1`).

use std::fmt::Write;
use std::net::IpAddr;

use super::{Condition, Extension, Given, Matching, Words};
use crate::xt::bytes::Layout;
use crate::xt::extension::parse_number;
use crate::xt::ip::address_text;
use crate::xt::text::word;

/// What is done with the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// `--set`: the address enters it.
    Set,
    /// `--rcheck`: is it in?
    Check,
    /// `--update`: the same, and it is seen anew.
    Update,
    /// `--remove`: the same, and it leaves.
    Remove,
}

/// A list of addresses seen before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recent {
    /// `!`
    pub negated: bool,
    /// What is done.
    pub task: Task,
    /// Seen within so many seconds; 0 for ever.
    pub seconds: u32,
    /// `--reap`: older ones go.
    pub reap: bool,
    /// Seen so many times; 0 for any.
    pub hits: u32,
    /// `--rttl`: with the same TTL.
    pub same_ttl: bool,
    /// The list (hostile).
    pub name: String,
    /// The bits that count.
    pub mask: IpAddr,
    /// The destination's address rather than the source's.
    pub destination: bool,
}

/// `XT_RECENT_*`
const TASKS: [(u8, Task, &str); 4] = [
    (2, Task::Set, "--set"),
    (1, Task::Check, "--rcheck"),
    (4, Task::Update, "--update"),
    (8, Task::Remove, "--remove"),
];
const SAME_TTL: u8 = 16;
const REAP: u8 = 32;

/// The mask under which the whole address counts.
fn whole(ipv6: bool) -> IpAddr {
    if ipv6 { IpAddr::from([255; 16]) } else { IpAddr::from([255; 4]) }
}

/// A count as the save program writes it: as a signed number.
fn parse_count(text: &str) -> Option<u32> {
    parse_number(text).or_else(|| text.parse::<i32>().map(i32::cast_unsigned).ok())
}

impl Extension for Recent {
    const NAMES: &'static [&'static str] = &["recent"];
    const OPTIONS: &'static [(&'static str, usize)] = &[
        ("--set", 0),
        ("--rcheck", 0),
        ("--update", 0),
        ("--remove", 0),
        ("--seconds", 1),
        ("--reap", 0),
        ("--hitcount", 1),
        ("--rttl", 0),
        ("--name", 1),
        ("--rsource", 0),
        ("--rdest", 0),
        ("--mask", 1),
    ];

    fn decode(revision: u8, data: &[u8], ipv6: bool) -> Option<Self> {
        let layout = match revision {
            0 => Layout::of(data, 212)?,
            1 => Layout::of(data, 228)?,
            _ => return None,
        };
        let (check, inverted, side) = (layout.u8(8)?, layout.u8(9)?, layout.u8(210)?);
        let (_, task, _) = *TASKS.iter().find(|(bit, ..)| check & 15 == *bit)?;
        let recent = Self {
            negated: inverted == 1,
            task,
            seconds: layout.u32(0)?,
            reap: check & REAP != 0,
            hits: layout.u32(4)?,
            same_ttl: check & SAME_TTL != 0,
            name: layout.text(10, 200)?,
            // Before revision 1 all of them did.
            mask: if revision == 1 { layout.address(212, ipv6)? } else { whole(ipv6) },
            destination: side == 1,
        };
        (check >> 6 == 0 && inverted <= 1 && side <= 1 && !recent.name.is_empty()).then_some(recent)
    }

    fn parse(_name: &str, options: &[Given], ipv6: bool) -> Option<Self> {
        let given = |name: &str| options.iter().find(|given| given.name == name);
        let (task, chosen) = TASKS.iter().find_map(|(_, task, option)| Some((*task, given(option)?)))?;
        let count = |name: &str| given(name).map_or(Some(0), |given| parse_count(given.value()));
        let mask = match given("--mask") {
            Some(mask) => mask.value().parse().ok().filter(|mask: &IpAddr| mask.is_ipv6() == ipv6)?,
            None => whole(ipv6),
        };
        Some(Self {
            negated: chosen.negated,
            task,
            seconds: count("--seconds")?,
            reap: given("--reap").is_some(),
            hits: count("--hitcount")?,
            same_ttl: given("--rttl").is_some(),
            name: given("--name").map_or("DEFAULT", Given::value).to_owned(),
            mask,
            destination: given("--rdest").is_some(),
        })
    }

    fn save(&self, out: &mut String) {
        out.push_str(if self.negated { " ! " } else { " " });
        out.push_str(TASKS.iter().find(|(_, task, _)| *task == self.task).map_or("", |(.., option)| option));
        // Writing to a String cannot fail.
        if self.seconds != 0 {
            write!(out, " --seconds {}", self.seconds.cast_signed()).ok();
        }
        out.push_str(if self.reap { " --reap" } else { "" });
        if self.hits != 0 {
            write!(out, " --hitcount {}", self.hits.cast_signed()).ok();
        }
        out.push_str(if self.same_ttl { " --rttl" } else { "" });
        write!(out, " --name {}", word(&self.name)).ok();
        write!(out, " --mask {}", address_text(self.mask)).ok();
        out.push_str(if self.destination { " --rdest" } else { " --rsource" });
    }
}

impl Matching for Recent {
    fn condition(&self) -> Condition {
        Condition::Opaque(format!("whether an address is in the list {}", self.name))
    }

    fn explain(&self, words: &mut Words) {
        let end = if self.destination { "destination" } else { "source" };
        let mask = match self.mask == whole(self.mask.is_ipv6()) {
            true => String::new(),
            false => format!(" (mask {})", address_text(self.mask)),
        };
        let (name, not) = (&self.name, if self.negated { "not " } else { "" });
        let mut out = match self.task {
            Task::Set if self.negated => format!("never, but its {end}{mask} is put into list “{name}”"),
            Task::Set => format!("whose {end}{mask} is put into list “{name}”"),
            Task::Check => format!("whose {end}{mask} is {not}in list “{name}”"),
            Task::Update => format!("whose {end}{mask} is {not}in list “{name}”, which is renewed"),
            Task::Remove => format!("whose {end}{mask} is {not}in list “{name}”, which it leaves"),
        };
        // Writing to a String cannot fail.
        if self.seconds != 0 {
            write!(out, ", within {} s", self.seconds).ok();
        }
        if self.hits != 0 {
            write!(out, ", {} times or more", self.hits).ok();
        }
        out.push_str(if self.same_ttl { ", with the same TTL" } else { "" });
        out.push_str(if self.reap { ", older ones going" } else { "" });
        words.also(out);
    }
}
