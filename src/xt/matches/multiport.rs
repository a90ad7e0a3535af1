//! `-m multiport`: up to fifteen ports, a range counting two (`struct xt_multiport_v1`).

use super::{Condition, Extension, Given, Matching, Words};
use crate::packet::Field;
use crate::xt::bytes::Layout;
use crate::xt::ip::protocol_name;
use crate::xt::services::port;

/// Which end's port is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// `--sports`
    Source,
    /// `--dports`
    Destination,
    /// `--ports`: either.
    Either,
}

/// A list of ports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Multiport {
    /// `!`
    pub negated: bool,
    /// Which end.
    pub side: Side,
    /// Ranges, ends included.
    pub ports: Vec<(u16, u16)>,
}

/// Ports that fit the kernel's structure.
const MOST: usize = 15;

impl Multiport {
    fn list(&self, join: char) -> String {
        let one = |&(from, to): &(u16, u16)| if from == to { from.to_string() } else { format!("{from}{join}{to}") };
        self.ports.iter().map(one).collect::<Vec<_>>().join(",")
    }
}

impl Extension for Multiport {
    const NAMES: &'static [&'static str] = &["multiport"];
    const OPTIONS: &'static [(&'static str, usize)] =
        &[("--sports", 1), ("--source-ports", 1), ("--dports", 1), ("--destination-ports", 1), ("--ports", 1)];

    fn decode(revision: u8, data: &[u8], _ipv6: bool) -> Option<Self> {
        let layout = Layout(data);
        let count = usize::from(layout.u8(1)?);
        if revision != 1 || count == 0 || count > MOST {
            return None;
        }
        let side = match layout.u8(0)? {
            0 => Side::Source,
            1 => Side::Destination,
            2 => Side::Either,
            _ => return None,
        };
        let mut ports = Vec::new();
        let mut index = 0;
        while index < count {
            let from = layout.u16(2 + 2 * index)?;
            // A flag beside the port says that the next one ends a range.
            let range = layout.u8(32 + index)? != 0;
            index += usize::from(range);
            if index >= count {
                return None;
            }
            ports.push((from, if range { layout.u16(2 + 2 * index)? } else { from }));
            index += 1;
        }
        Some(Self { negated: layout.u8(47)? != 0, side, ports })
    }

    fn parse(_name: &str, options: &[Given], _ipv6: bool) -> Option<Self> {
        let given = options.first()?;
        let side = match given.name {
            "--sports" | "--source-ports" => Side::Source,
            "--dports" | "--destination-ports" => Side::Destination,
            _ => Side::Either,
        };
        let range = |text: &str| {
            let (from, to) = text.split_once(':').unwrap_or((text, text));
            port(from).zip(port(to))
        };
        let ports = given.value().split(',').map(range).collect::<Option<_>>()?;
        Some(Self { negated: given.negated, side, ports })
    }

    fn save(&self, out: &mut String) {
        out.push_str(if self.negated { " !" } else { "" });
        out.push_str(match self.side {
            Side::Source => " --sports ",
            Side::Destination => " --dports ",
            Side::Either => " --ports ",
        });
        out.push_str(&self.list(':'));
    }
}

impl Matching for Multiport {
    fn condition(&self) -> Condition {
        let within = |field| self.ports.iter().map(move |&(from, to)| Condition::Range(field, from.into(), to.into()));
        let first = if self.side == Side::Source { Field::SourcePort } else { Field::DestinationPort };
        let any: Vec<Condition> = match self.side {
            Side::Source => within(Field::SourcePort).collect(),
            Side::Destination => within(Field::DestinationPort).collect(),
            Side::Either => within(Field::SourcePort).chain(within(Field::DestinationPort)).collect(),
        };
        Condition::Any(any).negated_where_present(first, self.negated)
    }

    fn explain(&self, words: &mut Words) {
        let ports = self.list('–');
        let ports = match ports.rsplit_once(',') {
            Some((ports, last)) => format!("{} or {last}", ports.replace(',', ", ")),
            None => ports,
        };
        let not = if self.negated { "not " } else { "" };
        let word = if ports.contains([' ', '–']) { "ports" } else { "port" };
        match self.side {
            Side::Source => words.ports(Some((self.negated, ports)), None),
            Side::Destination => words.ports(None, Some((self.negated, ports))),
            Side::Either => words.also(format!("{not}from or to {word} {ports}")),
        }
    }

    fn nft(&self, protocol: Option<u8>) -> Option<String> {
        let header = protocol_name(protocol?);
        let side = match self.side {
            Side::Source => "sport",
            Side::Destination => "dport",
            // Of ranges and of a negation iptables' translation keeps nothing.
            Side::Either if self.negated || self.ports.iter().any(|(from, to)| from != to) => return None,
            Side::Either => {
                let either = |&(port, _): &(u16, u16)| format!("0-65535 . {port}, {port} . 0-65535");
                let pairs: Vec<String> = self.ports.iter().map(either).collect();
                return Some(format!("{header} sport . {header} dport {{ {} }}", pairs.join(", ")));
            }
        };
        let list = self.list('-').replace(',', ", ");
        let list = if self.ports.len() > 1 { format!("{{ {list} }}") } else { list };
        Some(format!("{header} {side} {}{list}", if self.negated { "!= " } else { "" }))
    }
}
