//! `-m tcp`: ports, flags and options (`struct xt_tcp`, revision 0).

use std::fmt::Write;

use super::{Condition, Extension, Given, Matching, Words};
use crate::packet::Field;
use crate::xt::bytes::Layout;
use crate::xt::ip::put_number;
use crate::xt::services::port;

/// A range of ports, ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    /// `!`
    pub negated: bool,
    /// First.
    pub from: u16,
    /// Last.
    pub to: u16,
}

impl Ports {
    /// The whole range means that nothing is asked, unless it is negated (then nothing matches, though no text says so).
    pub(super) fn new(negated: bool, from: u16, to: u16) -> Option<Self> {
        (negated || (from, to) != (0, u16::MAX)).then_some(Self { negated, from, to })
    }

    pub(super) fn parse(given: &Given) -> Option<Option<Self>> {
        let (from, to) = given.value().split_once(':').unwrap_or((given.value(), given.value()));
        let end = |text: &str, open: u16| if text.is_empty() { Some(open) } else { port(text) };
        Some(Self::new(given.negated, end(from, 0)?, end(to, u16::MAX)?))
    }

    pub(super) fn save(self, option: &str, out: &mut String) {
        if (self.from, self.to) == (0, u16::MAX) {
            return;
        }
        out.push_str(if self.negated { " ! " } else { " " });
        out.push_str(option);
        out.push(' ');
        put_number(self.from.into(), out);
        if self.from != self.to {
            out.push(':');
            put_number(self.to.into(), out);
        }
    }

    pub(super) fn text(self, join: char) -> String {
        if self.from == self.to { self.from.to_string() } else { format!("{}{join}{}", self.from, self.to) }
    }

    pub(super) fn condition(self, field: Field) -> Condition {
        Condition::Range(field, self.from.into(), self.to.into()).negated_where_present(field, self.negated)
    }
}

/// What two tests of ports ask, `pair` as in [`Tcp`].
pub(super) fn port_conditions(source: Option<Ports>, destination: Option<Ports>, pair: bool) -> Vec<Condition> {
    let all = [(source, Field::SourcePort), (destination, Field::DestinationPort)];
    let all = all.into_iter().filter_map(|(ports, field)| Some((ports?, field)));
    if pair {
        let both = all.map(|(ports, field)| Ports { negated: false, ..ports }.condition(field)).collect();
        let present = Condition::Has(Field::SourcePort);
        return vec![present, Condition::All(both).negated_if(true)];
    }
    all.map(|(ports, field)| ports.condition(field)).collect()
}

pub(super) fn port_words(source: Option<Ports>, destination: Option<Ports>, pair: bool, words: &mut Words) {
    if let (true, Some(source), Some(destination)) = (pair, source, destination) {
        return words.also(format!("not both from port {} and to port {}", source.text('–'), destination.text('–')));
    }
    words.ports(
        source.map(|ports| (ports.negated, ports.text('–'))),
        destination.map(|ports| (ports.negated, ports.text('–'))),
    );
}

/// Tests of a TCP header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tcp {
    /// `--sport`
    pub source: Option<Ports>,
    /// `--dport`
    pub destination: Option<Ports>,
    /// `--tcp-flags`: negated, mask, set.
    pub flags: Option<(bool, u8, u8)>,
    /// `--tcp-option`: negated, kind.
    pub option: Option<(bool, u8)>,
    /// Both ports are negated, and a packet fails that has both: iptables-nft compares them in one go.
    pub pair: bool,
}

const FLAGS: [(u8, &str); 6] = [(1, "FIN"), (2, "SYN"), (4, "RST"), (8, "PSH"), (16, "ACK"), (32, "URG")];

/// Flags by name, `NONE` for none.
/// `--syn`: of FIN, SYN, RST and ACK only SYN.
const OPENING: (u8, u8) = (0x17, 2);

fn flag_names(bits: u8) -> String {
    let names: Vec<&str> = FLAGS.iter().filter(|(bit, _)| bits & bit != 0).map(|(_, name)| *name).collect();
    if names.is_empty() { "NONE".to_owned() } else { names.join(",") }
}

fn flag_bits(text: &str) -> Option<u8> {
    let bit = |name: &str| match name.to_ascii_uppercase().as_str() {
        "NONE" => Some(0),
        "ALL" => Some(0x3f),
        name => FLAGS.iter().find(|(_, known)| *known == name).map(|(bit, _)| *bit),
    };
    text.split(',').try_fold(0, |bits, name| Some(bits | bit(name)?))
}

impl Extension for Tcp {
    const NAMES: &'static [&'static str] = &["tcp"];
    const OPTIONS: &'static [(&'static str, usize)] = &[
        ("--sport", 1),
        ("--source-port", 1),
        ("--dport", 1),
        ("--destination-port", 1),
        ("--tcp-flags", 2),
        ("--syn", 0),
        ("--tcp-option", 1),
    ];

    fn decode(revision: u8, data: &[u8], _ipv6: bool) -> Option<Self> {
        let layout = Layout(data);
        let (option, mask, set, negations) = (layout.u8(8)?, layout.u8(9)?, layout.u8(10)?, layout.u8(11)?);
        if revision != 0 || negations & !0xf != 0 || (mask | set) & !0x3f != 0 {
            return None;
        }
        Some(Self {
            source: Ports::new(negations & 1 != 0, layout.u16(0)?, layout.u16(2)?),
            destination: Ports::new(negations & 2 != 0, layout.u16(4)?, layout.u16(6)?),
            flags: (mask != 0 || negations & 4 != 0).then_some((negations & 4 != 0, mask, set)),
            option: (option != 0 || negations & 8 != 0).then_some((negations & 8 != 0, option)),
            pair: false,
        })
    }

    fn parse(_name: &str, options: &[Given], _ipv6: bool) -> Option<Self> {
        let mut tcp = Self::default();
        for given in options {
            match given.name {
                "--sport" | "--source-port" => tcp.source = Ports::parse(given)?,
                "--dport" | "--destination-port" => tcp.destination = Ports::parse(given)?,
                "--syn" => tcp.flags = Some((given.negated, OPENING.0, OPENING.1)),
                "--tcp-flags" => {
                    let bits = |index: usize| given.values.get(index).and_then(|text| flag_bits(text));
                    let (mask, set) = bits(0).zip(bits(1))?;
                    // The kernel holds nothing for a test that asks nothing.
                    tcp.flags = (mask != 0 || given.negated).then_some((given.negated, mask, set));
                }
                _ => tcp.option = Some((given.negated, u8::try_from(given.number()?).ok()?)),
            }
        }
        Some(tcp)
    }

    fn save(&self, out: &mut String) {
        let not = |negated: bool| if negated { " !" } else { "" };
        if let Some(ports) = self.source {
            ports.save("--sport", out);
        }
        if let Some(ports) = self.destination {
            ports.save("--dport", out);
        }
        // Writing to a String cannot fail.
        if let Some((negated, kind)) = self.option {
            write!(out, "{} --tcp-option {kind}", not(negated)).ok();
        }
        if let Some((negated, mask, set)) = self.flags {
            write!(out, "{} --tcp-flags {} {}", not(negated), flag_names(mask), flag_names(set)).ok();
        }
    }
}

impl Matching for Tcp {
    fn condition(&self) -> Condition {
        let mut all = port_conditions(self.source, self.destination, self.pair);
        all.extend(self.flags.map(|(negated, mask, set)| {
            let condition = Condition::Masked { field: Field::TcpFlags, mask: mask.into(), value: set.into() };
            condition.negated_where_present(Field::TcpFlags, negated)
        }));
        all.extend(
            self.option.map(|(negated, kind)| Condition::Opaque(format!("TCP option {kind}")).negated_if(negated)),
        );
        Condition::All(all)
    }

    fn explain(&self, words: &mut Words) {
        port_words(self.source, self.destination, self.pair, words);
        if let Some((negated, mask, set)) = self.flags {
            let not = if negated { "not " } else { "" };
            words.also(match ((mask, set) == OPENING, negated) {
                (true, false) => "that opens a connection (SYN alone)".to_owned(),
                (true, true) => "that opens no connection (not SYN alone)".to_owned(),
                (false, _) => format!("with {not}{} of flags {}", flag_names(set), flag_names(mask)),
            });
        }
        if let Some((negated, kind)) = self.option {
            words.also(format!("{} TCP option {kind}", if negated { "without" } else { "with" }));
        }
    }

    fn nft(&self, _protocol: Option<u8>) -> Option<String> {
        let not = |negated: bool| if negated { "!= " } else { "" };
        let mut parts: Vec<String> = Vec::new();
        for (side, ports) in [("sport", self.source), ("dport", self.destination)] {
            let ports = ports.filter(|ports| (ports.from, ports.to) != (0, u16::MAX));
            parts.extend(ports.map(|ports| format!("tcp {side} {}{}", not(ports.negated), ports.text('-'))));
        }
        if let Some((negated, kind)) = self.option {
            parts.push(format!("tcp option {kind} {}", if negated { "missing" } else { "exists" }));
        }
        if let Some((negated, mask, set)) = self.flags {
            let names = |bits: u8| match bits {
                0 => "0x0".to_owned(),
                bits => flag_names(bits).to_lowercase(),
            };
            parts.push(match (set, negated, self.option) {
                // Without options iptables-nft writes flags as nft would.
                (0, false, None) => format!("tcp flags ! {}", names(mask)),
                (0, true, None) => format!("tcp flags {}", names(mask)),
                (set, negated, None) if set == mask && mask.is_power_of_two() => {
                    format!("tcp flags & {} {} {}", names(mask), if negated { "!=" } else { "==" }, names(set))
                }
                _ => format!("tcp flags {}{} / {}", not(negated), names(set), names(mask)),
            });
        }
        Some(parts.join(" "))
    }
}
