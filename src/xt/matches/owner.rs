//! `-m owner`: who owns the socket that sent the packet (`struct xt_owner_match_info`).
//!
//! The kernel compares the file's own UID and GID; a packet without a socket matches negated tests only (net/netfilter/xt_owner.c).

use std::fmt::Write;

use super::{Condition, Extension, Given, Matching, Words};
use crate::packet::Field;
use crate::xt::bytes::Layout;
use crate::xt::extension::parse_number;

/// A range of UIDs or GIDs, ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ids {
    /// `!`
    pub negated: bool,
    /// First.
    pub from: u32,
    /// Last.
    pub to: u32,
}

/// Tests of a packet's owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Owner {
    /// `--socket-exists`, with its negation.
    pub socket_exists: Option<bool>,
    /// `--uid-owner`
    pub uid: Option<Ids>,
    /// `--gid-owner`
    pub gid: Option<Ids>,
    /// `--suppl-groups`: the GID test looks at supplementary groups too.
    pub supplementary: bool,
}

const UID: u8 = 1;
const GID: u8 = 2;
const SOCKET: u8 = 4;
const SUPPLEMENTARY: u8 = 8;

impl Ids {
    fn text(self, join: char) -> String {
        if self.from == self.to { self.from.to_string() } else { format!("{}{join}{}", self.from, self.to) }
    }

    fn parse(given: &Given) -> Option<Self> {
        // Saved rules say 106-108, input may say 106:108. Names are not looked up: they mean something else in the pod.
        let (from, to) = given.value().split_once(['-', ':']).unwrap_or((given.value(), given.value()));
        // The one that is the same everywhere.
        let id = |text: &str| if text == "root" { Some(0) } else { parse_number(text) };
        let ends = id(from).zip(id(to));
        ends.map(|(from, to)| Self { negated: given.negated, from, to })
    }

    fn condition(self, field: Field) -> Condition {
        Condition::Range(field, self.from.into(), self.to.into()).negated_if(self.negated)
    }
}

impl Extension for Owner {
    const NAMES: &'static [&'static str] = &["owner"];
    const OPTIONS: &'static [(&'static str, usize)] =
        &[("--uid-owner", 1), ("--gid-owner", 1), ("--socket-exists", 0), ("--suppl-groups", 0)];

    fn decode(revision: u8, data: &[u8], _ipv6: bool) -> Option<Self> {
        let layout = Layout(data);
        let (tests, negations) = (layout.u8(16)?, layout.u8(17)?);
        if revision != 1 || tests & !(UID | GID | SOCKET | SUPPLEMENTARY) != 0 {
            return None;
        }
        let ids = |bit: u8, offset| -> Option<Option<Ids>> {
            let (from, to) = (layout.u32(offset)?, layout.u32(offset + 4)?);
            Some((tests & bit != 0).then_some(Ids { negated: negations & bit != 0, from, to }))
        };
        Some(Self {
            socket_exists: (tests & SOCKET != 0).then_some(negations & SOCKET != 0),
            uid: ids(UID, 0)?,
            gid: ids(GID, 8)?,
            supplementary: tests & SUPPLEMENTARY != 0,
        })
    }

    fn parse(_name: &str, options: &[Given], _ipv6: bool) -> Option<Self> {
        let mut owner = Self::default();
        for given in options {
            match given.name {
                "--uid-owner" => owner.uid = Some(Ids::parse(given)?),
                "--gid-owner" => owner.gid = Some(Ids::parse(given)?),
                "--socket-exists" => owner.socket_exists = Some(given.negated),
                _ => owner.supplementary = true,
            }
        }
        Some(owner)
    }

    fn save(&self, out: &mut String) {
        let not = |negated: bool| if negated { " !" } else { "" };
        // Writing to a String cannot fail.
        if let Some(negated) = self.socket_exists {
            write!(out, "{} --socket-exists", not(negated)).ok();
        }
        for (option, ids) in [("--uid-owner", self.uid), ("--gid-owner", self.gid)] {
            if let Some(ids) = ids {
                write!(out, "{} {option} {}", not(ids.negated), ids.text('-')).ok();
            }
        }
        if self.supplementary {
            out.push_str(" --suppl-groups");
        }
    }
}

impl Matching for Owner {
    fn condition(&self) -> Condition {
        let mut all = Vec::new();
        all.extend(self.socket_exists.map(|negated| Condition::Owned.negated_if(negated)));
        all.extend(self.uid.map(|ids| ids.condition(Field::Uid)));
        all.extend(self.gid.map(|ids| match self.supplementary {
            // The group itself or any further one; with `!` none of them.
            true => {
                let own = Condition::Range(Field::Gid, ids.from.into(), ids.to.into());
                Condition::Any(vec![own, Condition::InGroup(ids.from, ids.to)]).negated_if(ids.negated)
            }
            false => ids.condition(Field::Gid),
        }));
        Condition::All(all)
    }

    fn explain(&self, words: &mut Words) {
        if let Some(negated) = self.socket_exists {
            words.who(negated, "a socket of this namespace");
        }
        if let Some(ids) = self.uid {
            words.who(ids.negated, &format!("UID {}", ids.text('–')));
        }
        if let Some(ids) = self.gid {
            let groups = if self.supplementary { " or with it as a further group" } else { "" };
            words.who(ids.negated, &format!("GID {}{groups}", ids.text('–')));
        }
    }

    fn nft(&self, _protocol: Option<u8>) -> Option<String> {
        let (word, ids) = match self {
            Self { socket_exists: None, uid: Some(uid), gid: None, supplementary: false } => ("skuid", uid),
            Self { socket_exists: None, uid: None, gid: Some(gid), supplementary: false } => ("skgid", gid),
            _ => return None,
        };
        Some(format!("{word} {}{}", if ids.negated { "!= " } else { "" }, ids.text('-')))
    }
}
