//! `-m sctp`: ports and chunks (`struct xt_sctp_info`).

use std::fmt::Write;

use super::dccp::{ports, ports_at};
use super::span::{bang, not};
use super::{Condition, Extension, Given, Matching, Span, Words};
use crate::packet::Field;
use crate::xt::bytes::Layout;

/// How the chunks of a packet stand to the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantity {
    /// One of them is there.
    Any,
    /// All of them are there.
    All,
    /// All of them are there, and nothing else.
    Only,
}

/// A type of chunk, and which of its flags must be set or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunk {
    /// Its number.
    pub kind: u8,
    /// The flags that are looked at.
    pub mask: u8,
    /// Those of them that are set.
    pub flags: u8,
}

/// The chunks that are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunks {
    /// `!`
    pub negated: bool,
    /// How they are meant.
    pub quantity: Quantity,
    /// By their numbers; `None` for every type there may be.
    pub list: Option<Vec<Chunk>>,
}

/// Tests of an SCTP packet.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sctp {
    /// `--sport`
    pub source: Option<Span>,
    /// `--dport`
    pub destination: Option<Span>,
    /// `--chunk-types`
    pub chunks: Option<Chunks>,
}

/// Number, name, flags from the highest bit down, and the name in nft's words, in the order in which iptables translates them.
const KINDS: [(u8, &str, &str, &str); 22] = [
    (0, "DATA", "----IUBE", "data"),
    (1, "INIT", "", "init"),
    (2, "INIT_ACK", "", "init-ack"),
    (3, "SACK", "", "sack"),
    (4, "HEARTBEAT", "", "heartbeat"),
    (5, "HEARTBEAT_ACK", "", "heartbeat-ack"),
    (6, "ABORT", "-------T", "abort"),
    (7, "SHUTDOWN", "", "shutdown"),
    (8, "SHUTDOWN_ACK", "", "shutdown-ack"),
    (9, "ERROR", "", "error"),
    (10, "COOKIE_ECHO", "", "cookie-echo"),
    (11, "COOKIE_ACK", "", "cookie-ack"),
    (12, "ECN_ECNE", "", "ecne"),
    (13, "ECN_CWR", "", "cwr"),
    (14, "SHUTDOWN_COMPLETE", "-------T", "shutdown-complete"),
    (64, "I_DATA", "----IUBE", "i-data"),
    (130, "RE_CONFIG", "", "re-config"),
    (132, "PAD", "", "pad"),
    (193, "ASCONF", "", "asconf"),
    (128, "ASCONF_ACK", "", "asconf-ack"),
    (192, "FORWARD_TSN", "", "forward-tsn"),
    (194, "I_FORWARD_TSN", "", "i-forward-tsn"),
];

const SOURCE: u32 = 1;
const DESTINATION: u32 = 2;
const CHUNKS: u32 = 4;
/// Chunk types with flags that the kernel's structure holds.
const MOST: usize = 4;

impl Chunk {
    /// A flag's letter by its bit.
    fn letter(kind: u8, bit: u8) -> Option<char> {
        let (.., letters, _) = KINDS.iter().find(|(known, ..)| *known == kind)?;
        letters.as_bytes().get(usize::from(7 - bit)).map(|letter| char::from(*letter)).filter(|letter| *letter != '-')
    }

    fn name(self) -> &'static str {
        KINDS.iter().find(|(known, ..)| *known == self.kind).map_or("", |(_, name, ..)| *name)
    }

    /// `DATA:Ub`
    fn text(self) -> String {
        let mut text = self.name().to_owned();
        for bit in (0..8).rev().filter(|bit| self.mask & (1 << bit) != 0) {
            let letter = Self::letter(self.kind, bit).unwrap_or('?');
            let letter = if self.flags & (1 << bit) != 0 { letter } else { letter.to_ascii_lowercase() };
            text.push_str(if text.contains(':') { "" } else { ":" });
            text.push(letter);
        }
        text
    }

    fn parse(text: &str) -> Option<Self> {
        let (name, letters) = text.split_once(':').unwrap_or((text, ""));
        let (kind, ..) = KINDS.iter().find(|(_, known, ..)| known.eq_ignore_ascii_case(name))?;
        let mut chunk = Self { kind: *kind, mask: 0, flags: 0 };
        for letter in letters.chars() {
            let upper = Some(letter.to_ascii_uppercase());
            let bit = (0..8).find(|bit| Self::letter(*kind, *bit) == upper)?;
            chunk.mask |= 1 << bit;
            if letter.is_ascii_uppercase() {
                chunk.flags |= 1 << bit;
            }
        }
        Some(chunk)
    }
}

impl Quantity {
    fn word(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::All => "all",
            Self::Only => "only",
        }
    }
}

impl Chunks {
    fn decode(layout: Layout<'_>, negated: bool) -> Option<Self> {
        const MAP: usize = 8;
        const WORDS: usize = 64;
        let quantity = match layout.u32(264)? {
            1 => Quantity::Any,
            2 => Quantity::All,
            4 => Quantity::Only,
            _ => return None,
        };
        let map: Vec<u32> = (0..WORDS).map(|word| layout.u32(MAP + 4 * word)).collect::<Option<_>>()?;
        if map.iter().all(|word| *word == u32::MAX) {
            return Some(Self { negated, quantity, list: None });
        }
        let has = |kind: u8| map.get(usize::from(kind / 32)).is_some_and(|word| word & (1 << (kind % 32)) != 0);
        let named = |kind: u8| KINDS.iter().any(|(known, ..)| *known == kind);
        let kinds: Vec<u8> = (0..=u8::MAX).filter(|kind| has(*kind)).collect();
        let count = usize::try_from(layout.u32(280)?).ok().filter(|count| *count <= MOST)?;
        if map.iter().skip(8).any(|word| *word != 0) || !kinds.iter().all(|kind| named(*kind)) {
            return None;
        }
        let mut list: Vec<Chunk> = kinds.into_iter().map(|kind| Chunk { kind, mask: 0, flags: 0 }).collect();
        for index in 0..count {
            let at = 268 + 3 * index;
            let (kind, flags, mask) = (layout.u8(at)?, layout.u8(at + 1)?, layout.u8(at + 2)?);
            // The kernel looks at flags of listed types only; iptables writes those of I_DATA for another.
            if !list.iter().any(|chunk| chunk.kind == kind) {
                continue;
            }
            let chunk = list.iter_mut().find(|chunk| chunk.kind == kind && chunk.mask == 0)?;
            let known = (0..8).all(|bit| mask & (1 << bit) == 0 || Chunk::letter(kind, bit).is_some());
            if mask == 0 || flags & !mask != 0 || !known {
                return None;
            }
            (chunk.flags, chunk.mask) = (flags, mask);
        }
        Some(Self { negated, quantity, list: Some(list) })
    }

    fn parse(given: &Given) -> Option<Self> {
        let [quantity, list] = given.values.as_slice() else { return None };
        let quantities = [Quantity::Any, Quantity::All, Quantity::Only];
        let quantity = quantities.into_iter().find(|known| known.word().eq_ignore_ascii_case(quantity))?;
        let list = match list.to_ascii_uppercase().as_str() {
            "ALL" => None,
            "NONE" => Some(Vec::new()),
            _ => {
                let mut all: Vec<Chunk> = list.split(',').map(Chunk::parse).collect::<Option<_>>()?;
                all.sort_by_key(|chunk| chunk.kind);
                all.dedup_by_key(|chunk| chunk.kind);
                let flagged = all.iter().filter(|chunk| chunk.mask != 0).count();
                Some(all).filter(|_| flagged <= MOST)
            }
            .map(Some)?,
        };
        Some(Self { negated: given.negated, quantity, list })
    }

    fn text(&self, join: &str) -> String {
        match &self.list {
            None => "ALL".to_owned(),
            Some(list) if list.is_empty() => "NONE".to_owned(),
            Some(list) => list.iter().map(|chunk| chunk.text()).collect::<Vec<_>>().join(join),
        }
    }

    /// iptables' translation knows no `any`, and gets the negation of more than one wrong.
    fn nft(&self) -> Option<String> {
        let listed = |kind: u8| match &self.list {
            None => Some(Chunk { kind, mask: 0, flags: 0 }),
            Some(list) => list.iter().find(|chunk| chunk.kind == kind).copied(),
        };
        let single = self.list.as_ref().is_some_and(|list| list.len() == 1) && self.quantity == Quantity::All;
        if self.quantity == Quantity::Any || (self.negated && !single) {
            return None;
        }
        let (there, sign) = if self.negated { ("missing", "!=") } else { ("exists", "==") };
        let one = |(kind, _, _, name): &(u8, &str, &str, &str)| match listed(*kind) {
            Some(Chunk { mask: 0, .. }) => Some(format!("sctp chunk {name} {there}")),
            Some(Chunk { mask, flags, .. }) => Some(format!("sctp chunk {name} flags & {mask:#x} {sign} {flags:#x}")),
            None => (self.quantity == Quantity::Only).then(|| format!("sctp chunk {name} missing")),
        };
        Some(KINDS.iter().filter_map(one).collect::<Vec<_>>().join(" "))
    }
}

impl Extension for Sctp {
    const NAMES: &'static [&'static str] = &["sctp"];
    const OPTIONS: &'static [(&'static str, usize)] =
        &[("--sport", 1), ("--source-port", 1), ("--dport", 1), ("--destination-port", 1), ("--chunk-types", 2)];

    fn decode(revision: u8, data: &[u8], _ipv6: bool) -> Option<Self> {
        let layout = Layout(data);
        let (flags, inverted) = (layout.u32(284)?, layout.u32(288)?);
        if revision != 0 || (flags | inverted) & !(SOURCE | DESTINATION | CHUNKS) != 0 {
            return None;
        }
        let (has, negated) = (|bit: u32| flags & bit != 0, |bit: u32| inverted & bit != 0);
        Some(Self {
            source: has(SOURCE).then_some(ports_at(layout, 4, negated(SOURCE))?),
            destination: has(DESTINATION).then_some(ports_at(layout, 0, negated(DESTINATION))?),
            chunks: if has(CHUNKS) { Some(Chunks::decode(layout, negated(CHUNKS))?) } else { None },
        })
    }

    fn parse(_name: &str, options: &[Given], _ipv6: bool) -> Option<Self> {
        let mut found = Self::default();
        for given in options {
            match given.name {
                "--sport" | "--source-port" => found.source = Some(ports(given)?),
                "--dport" | "--destination-port" => found.destination = Some(ports(given)?),
                _ => found.chunks = Some(Chunks::parse(given)?),
            }
        }
        Some(found)
    }

    fn save(&self, out: &mut String) {
        for (option, ports) in [("--sport", self.source), ("--dport", self.destination)] {
            if let Some(ports) = ports {
                ports.save(option, out);
            }
        }
        if let Some(chunks) = &self.chunks {
            let (quantity, list) = (chunks.quantity.word(), chunks.text(","));
            // Writing to a String cannot fail.
            write!(out, "{} --chunk-types {quantity} {list}", bang(chunks.negated)).ok();
        }
    }
}

impl Matching for Sctp {
    fn condition(&self) -> Condition {
        let mut all = Vec::new();
        all.extend(self.source.map(|ports| ports.condition_where_present(Field::SourcePort)));
        all.extend(self.destination.map(|ports| ports.condition_where_present(Field::DestinationPort)));
        all.extend(self.chunks.as_ref().map(|chunks| {
            let what = format!("SCTP chunks {} {}", chunks.quantity.word(), chunks.text(","));
            Condition::Opaque(what).negated_if(chunks.negated)
        }));
        Condition::All(all)
    }

    fn explain(&self, words: &mut Words) {
        let port = |ports: Option<Span>| ports.map(|ports| (ports.negated, ports.text('–')));
        words.ports(port(self.source), port(self.destination));
        if let Some(chunks) = &self.chunks {
            let quantity = match chunks.quantity {
                Quantity::Any => "any of",
                Quantity::All => "all of",
                Quantity::Only => "exactly",
            };
            words.also(format!("{}with {quantity} the chunks {}", not(chunks.negated), chunks.text(", ")));
        }
    }

    fn nft(&self, _protocol: Option<u8>) -> Option<String> {
        let mut parts = Vec::new();
        parts.extend(self.source.map(|ports| ports.nft("sctp sport")));
        parts.extend(self.destination.map(|ports| ports.nft("sctp dport")));
        if let Some(chunks) = &self.chunks {
            parts.push(chunks.nft()?);
            parts.retain(|part| !part.is_empty());
        }
        (!parts.is_empty()).then(|| parts.join(" "))
    }
}
