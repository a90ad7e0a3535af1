//! `-m dccp`: ports, packet types and an option (`struct xt_dccp_info`).

use std::fmt::Write;

use super::span::{bang, not, unequal};
use super::{Condition, Extension, Given, Matching, Span, Words};
use crate::packet::Field;
use crate::xt::bytes::Layout;
use crate::xt::services::service;

/// Tests of a DCCP header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Dccp {
    /// `--sport`
    pub source: Option<Span>,
    /// `--dport`
    pub destination: Option<Span>,
    /// `--dccp-types`: negation and a bit for each type.
    pub types: Option<(bool, u16)>,
    /// `--dccp-option`: negation and kind.
    pub option: Option<(bool, u8)>,
}

/// By number; the last stands for all from 10 to 15, and for their bits.
const TYPES: [&str; 11] =
    ["REQUEST", "RESPONSE", "DATA", "ACK", "DATAACK", "CLOSEREQ", "CLOSE", "RESET", "SYNC", "SYNCACK", "INVALID"];
const INVALID: usize = 10;
const INVALID_BITS: u16 = 0xfc00;

const SOURCE: u16 = 1;
const DESTINATION: u16 = 2;
const TYPE: u16 = 4;
const OPTION: u16 = 8;

/// A port by number or by the name of its service.
pub(super) fn ports(given: &Given) -> Option<Span> {
    Span::parse_named(given, u16::MAX.into(), |text| service(text).map(u32::from))
}

/// Two ports in a kernel structure.
pub(super) fn ports_at(layout: Layout<'_>, offset: usize, negated: bool) -> Option<Span> {
    Some(Span { negated, from: layout.u16(offset)?.into(), to: layout.u16(offset + 2)?.into() })
}

fn bits_of(kind: usize) -> u16 {
    if kind == INVALID { INVALID_BITS } else { 1 << kind }
}

fn names(bits: u16) -> impl Iterator<Item = (usize, &'static str)> {
    TYPES.into_iter().enumerate().filter(move |(kind, _)| bits & bits_of(*kind) != 0)
}

impl Extension for Dccp {
    const NAMES: &'static [&'static str] = &["dccp"];
    const OPTIONS: &'static [(&'static str, usize)] = &[
        ("--sport", 1),
        ("--source-port", 1),
        ("--dport", 1),
        ("--destination-port", 1),
        ("--dccp-types", 1),
        ("--dccp-option", 1),
    ];

    fn decode(revision: u8, data: &[u8], _ipv6: bool) -> Option<Self> {
        let layout = Layout(data);
        let (flags, inverted, types, option) = (layout.u16(8)?, layout.u16(10)?, layout.u16(12)?, layout.u8(14)?);
        let known = SOURCE | DESTINATION | TYPE | OPTION;
        let named = flags & TYPE == 0 || (types != 0 && matches!(types & INVALID_BITS, 0 | INVALID_BITS));
        if revision != 0 || (flags | inverted) & !known != 0 || !named {
            return None;
        }
        let negated = |bit: u16| inverted & bit != 0;
        let has = |bit: u16| flags & bit != 0;
        Some(Self {
            source: has(SOURCE).then_some(ports_at(layout, 4, negated(SOURCE))?),
            destination: has(DESTINATION).then_some(ports_at(layout, 0, negated(DESTINATION))?),
            types: has(TYPE).then_some((negated(TYPE), types)),
            option: has(OPTION).then_some((negated(OPTION), option)),
        })
    }

    fn parse(_name: &str, options: &[Given], _ipv6: bool) -> Option<Self> {
        let mut found = Self::default();
        let bit = |name: &str| TYPES.iter().position(|known| known.eq_ignore_ascii_case(name)).map(bits_of);
        for given in options {
            match given.name {
                "--sport" | "--source-port" => found.source = Some(ports(given)?),
                "--dport" | "--destination-port" => found.destination = Some(ports(given)?),
                "--dccp-types" => {
                    let bits = given.value().split(',').try_fold(0, |bits, name| Some(bits | bit(name)?))?;
                    found.types = Some((given.negated, bits));
                }
                _ => found.option = Some((given.negated, u8::try_from(given.number()?).ok()?)),
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
        // Writing to a String cannot fail.
        if let Some((negated, bits)) = self.types {
            let list: Vec<&str> = names(bits).map(|(_, name)| name).collect();
            write!(out, "{} --dccp-types {}", bang(negated), list.join(",")).ok();
        }
        if let Some((negated, kind)) = self.option {
            write!(out, "{} --dccp-option {kind}", bang(negated)).ok();
        }
    }
}

impl Matching for Dccp {
    fn condition(&self) -> Condition {
        let mut all = Vec::new();
        all.extend(self.source.map(|ports| ports.condition_where_present(Field::SourcePort)));
        all.extend(self.destination.map(|ports| ports.condition_where_present(Field::DestinationPort)));
        all.extend(self.types.map(|(negated, bits)| {
            let one = |(kind, _): (usize, &str)| {
                let kind = kind as u128;
                let last = if kind == INVALID as u128 { 15 } else { kind };
                Condition::Range(Field::DccpType, kind, last)
            };
            Condition::Any(names(bits).map(one).collect()).negated_where_present(Field::DccpType, negated)
        }));
        all.extend(
            self.option.map(|(negated, kind)| Condition::Opaque(format!("DCCP option {kind}")).negated_if(negated)),
        );
        Condition::All(all)
    }

    fn explain(&self, words: &mut Words) {
        let port = |ports: Option<Span>| ports.map(|ports| (ports.negated, ports.text('–')));
        words.ports(port(self.source), port(self.destination));
        if let Some((negated, bits)) = self.types {
            let list: Vec<&str> = names(bits).map(|(_, name)| name).collect();
            words.also(format!("{}of DCCP type {}", not(negated), list.join(" or ")));
        }
        if let Some((negated, kind)) = self.option {
            words.also(format!("{} DCCP option {kind}", if negated { "without" } else { "with" }));
        }
    }

    fn nft(&self, _protocol: Option<u8>) -> Option<String> {
        if self.option.is_some() {
            return None;
        }
        let mut parts = Vec::new();
        parts.extend(self.source.map(|ports| ports.nft("dccp sport")));
        parts.extend(self.destination.map(|ports| ports.nft("dccp dport")));
        parts.extend(self.types.map(|(negated, bits)| {
            let one = |(kind, name): (usize, &str)| match kind {
                INVALID => "10-15".to_owned(),
                _ => name.to_lowercase(),
            };
            let list: Vec<String> = names(bits).map(one).collect();
            let list = if list.len() > 1 { format!("{{ {} }}", list.join(", ")) } else { list.concat() };
            format!("dccp type {}{list}", unequal(negated))
        }));
        Some(parts.join(" "))
    }
}
