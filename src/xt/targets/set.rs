//! `SET`: adds to and deletes from ipsets, and takes marks from them (`struct xt_set_info_target_v3` and its forerunners).

use std::fmt::Write;

use super::{Effect, Extension, Given, Targeting};
use crate::xt::bytes::Layout;
use crate::xt::sets::{RawKey, SetKey, SetNames};

/// What of the element goes to the packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mapped {
    /// `--map-mark`: its mark.
    pub mark: bool,
    /// `--map-prio`: its priority, that is the class of traffic control.
    pub priority: bool,
    /// `--map-queue`: its hardware queue.
    pub queue: bool,
}

/// Work on ipsets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetTarget {
    /// `--add-set`
    pub add: Option<SetKey>,
    /// `--del-set`
    pub delete: Option<SetKey>,
    /// `--map-set`
    pub map: Option<SetKey>,
    /// `--exist`: what is there already begins its time anew.
    pub exist: bool,
    /// `--timeout`: seconds that what is added stays; `None` for the set's own time.
    pub timeout: Option<u32>,
    /// What is taken from the set of `--map-set`.
    pub mapped: Mapped,
}

/// `IPSET_FLAG_*`
const EXIST: u32 = 1;
const MAP_MARK: u32 = 1 << 8;
const MAP_PRIORITY: u32 = 1 << 9;
const MAP_QUEUE: u32 = 1 << 10;
/// The time that stands for none given.
const NO_TIME: u32 = u32::MAX;

impl SetTarget {
    /// From the kernel's bytes and the names of its sets; `None` where a name is not known, too.
    #[must_use]
    pub fn decode_named(revision: u8, data: &[u8], names: &SetNames) -> Option<Self> {
        let layout = Layout(data);
        let (length, sets) = match revision {
            0 => (2 * RawKey::SIZE_0, 2),
            1 => (8, 2),
            2 => (16, 2),
            3 => (20, 3),
            _ => return None,
        };
        // The payload may be padded to the eight bytes of its header.
        if data.len() != length && data.len() != length.next_multiple_of(8) {
            return None;
        }
        let key = |at: usize| -> Option<Option<SetKey>> {
            let raw = match revision {
                0 => RawKey::read_0(&layout, at * RawKey::SIZE_0),
                _ => RawKey::read(&layout, at * RawKey::SIZE),
            }?;
            match raw {
                None => Some(None),
                Some(raw) if raw.negated || raw.nomatch => None,
                Some(raw) => raw.named(names).map(Some),
            }
        };
        let (add, delete) = (key(0)?, key(1)?);
        let map = if sets == 3 { key(2)? } else { None };
        let (flags, timeout) = match revision {
            2 => (layout.u32(8)?, layout.u32(12)?),
            3 => (layout.u32(12)?, layout.u32(16)?),
            _ => (0, NO_TIME),
        };
        let maps = if sets == 3 { MAP_MARK | MAP_PRIORITY | MAP_QUEUE } else { 0 };
        let target = Self {
            add,
            delete,
            map,
            exist: flags & EXIST != 0,
            timeout: (timeout != NO_TIME).then_some(timeout),
            mapped: Mapped {
                mark: flags & MAP_MARK != 0,
                priority: flags & MAP_PRIORITY != 0,
                queue: flags & MAP_QUEUE != 0,
            },
        };
        (flags & !(EXIST | maps) == 0 && target.is_possible()).then_some(target)
    }

    /// It says something, and each option has the set that it speaks of: iptables takes no other, and prints no other whole.
    fn is_possible(&self) -> bool {
        let maps = self.mapped.mark || self.mapped.priority || self.mapped.queue;
        let any = self.add.is_some() || self.delete.is_some() || self.map.is_some();
        any && maps == self.map.is_some() && (self.add.is_some() || !self.exist && self.timeout.is_none())
    }
}

impl Extension for SetTarget {
    const NAMES: &'static [&'static str] = &["SET"];
    const OPTIONS: &'static [(&'static str, usize)] = &[
        ("--add-set", 2),
        ("--del-set", 2),
        ("--map-set", 2),
        ("--exist", 0),
        ("--timeout", 1),
        ("--map-mark", 0),
        ("--map-prio", 0),
        ("--map-queue", 0),
    ];

    /// Never: the bytes hold an index, and [`SetTarget::decode_named`] wants the names.
    fn decode(_revision: u8, _data: &[u8], _ipv6: bool) -> Option<Self> {
        None
    }

    fn parse(_name: &str, options: &[Given], _ipv6: bool) -> Option<Self> {
        let mut target = Self {
            add: None,
            delete: None,
            map: None,
            exist: false,
            timeout: None,
            mapped: Mapped { mark: false, priority: false, queue: false },
        };
        for given in options {
            let place = match given.name {
                _ if given.negated => return None,
                "--add-set" => &mut target.add,
                "--del-set" => &mut target.delete,
                "--map-set" => &mut target.map,
                "--timeout" => {
                    target.timeout = Some(given.number().filter(|seconds| *seconds != NO_TIME)?);
                    continue;
                }
                flag => {
                    let place = match flag {
                        "--exist" => &mut target.exist,
                        "--map-mark" => &mut target.mapped.mark,
                        "--map-prio" => &mut target.mapped.priority,
                        _ => &mut target.mapped.queue,
                    };
                    *place = true;
                    continue;
                }
            };
            if place.replace(SetKey::parse(&given.values)?).is_some() {
                return None;
            }
        }
        target.is_possible().then_some(target)
    }

    fn save(&self, out: &mut String) {
        save_key("--add-set", self.add.as_ref(), out);
        if self.exist {
            out.push_str(" --exist");
        }
        if let Some(seconds) = self.timeout {
            write!(out, " --timeout {seconds}").ok();
        }
        save_key("--del-set", self.delete.as_ref(), out);
        save_key("--map-set", self.map.as_ref(), out);
        let Mapped { mark, priority, queue } = self.mapped;
        for (said, option) in [(mark, " --map-mark"), (priority, " --map-prio"), (queue, " --map-queue")] {
            out.push_str(if said { option } else { "" });
        }
    }
}

fn save_key(option: &str, key: Option<&SetKey>, out: &mut String) {
    if let Some(key) = key {
        // Writing to a String cannot fail.
        write!(out, " {option} {}", key.text()).ok();
    }
}

impl Targeting for SetTarget {
    fn effect(&self) -> Effect {
        match &self.map {
            Some(key) if self.mapped.mark => Effect::Opaque(format!("the mark from ipset {}", key.name)),
            _ => Effect::Continue,
        }
    }

    fn explain(&self) -> String {
        let mut parts = Vec::new();
        if let Some(key) = &self.add {
            let time = self.timeout.map_or(String::new(), |seconds| match seconds {
                0 => " for good".to_owned(),
                seconds => format!(" for {seconds} s"),
            });
            let exist = if self.exist { ", anew if there" } else { "" };
            parts.push(format!("{} is added to set {}{time}{exist}", key.words(), key.name));
        }
        if let Some(key) = &self.delete {
            parts.push(format!("{} is deleted from set {}", key.words(), key.name));
        }
        if let Some(key) = &self.map {
            let Mapped { mark, priority, queue } = self.mapped;
            let taken = [(mark, "mark"), (priority, "priority"), (queue, "queue")];
            let taken: Vec<&str> = taken.iter().filter(|(said, _)| *said).map(|(_, word)| *word).collect();
            parts.push(format!("packet gets {} of {} from set {}", taken.join(" and "), key.words(), key.name));
        }
        parts.join("; ")
    }
}
