//! `-m udp`: ports (`struct xt_udp`, revision 0).

use super::tcp::{port_conditions, port_words};
use super::{Condition, Extension, Given, Matching, Ports, Words};
use crate::xt::bytes::Layout;

/// Tests of a UDP header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Udp {
    /// `--sport`
    pub source: Option<Ports>,
    /// `--dport`
    pub destination: Option<Ports>,
    /// Both ports are negated, and a packet fails that has both: iptables-nft compares them in one go.
    pub pair: bool,
}

impl Extension for Udp {
    const NAMES: &'static [&'static str] = &["udp"];
    const OPTIONS: &'static [(&'static str, usize)] =
        &[("--sport", 1), ("--source-port", 1), ("--dport", 1), ("--destination-port", 1)];

    fn decode(revision: u8, data: &[u8], _ipv6: bool) -> Option<Self> {
        let layout = Layout(data);
        let negations = layout.u8(8)?;
        if revision != 0 || negations & !3 != 0 {
            return None;
        }
        Some(Self {
            source: Ports::new(negations & 1 != 0, layout.u16(0)?, layout.u16(2)?),
            destination: Ports::new(negations & 2 != 0, layout.u16(4)?, layout.u16(6)?),
            pair: false,
        })
    }

    fn parse(_name: &str, options: &[Given], _ipv6: bool) -> Option<Self> {
        let mut udp = Self::default();
        for given in options {
            match given.name {
                "--sport" | "--source-port" => udp.source = Ports::parse(given)?,
                _ => udp.destination = Ports::parse(given)?,
            }
        }
        Some(udp)
    }

    fn save(&self, out: &mut String) {
        if let Some(ports) = self.source {
            ports.save("--sport", out);
        }
        if let Some(ports) = self.destination {
            ports.save("--dport", out);
        }
    }
}

impl Matching for Udp {
    fn condition(&self) -> Condition {
        Condition::All(port_conditions(self.source, self.destination, self.pair))
    }

    fn explain(&self, words: &mut Words) {
        port_words(self.source, self.destination, self.pair, words);
    }

    fn nft(&self, _protocol: Option<u8>) -> Option<String> {
        let not = |negated: bool| if negated { "!= " } else { "" };
        let sides = [("sport", self.source), ("dport", self.destination)];
        let parts = sides.into_iter().filter_map(|(side, ports)| {
            let ports = ports.filter(|ports| (ports.from, ports.to) != (0, u16::MAX));
            ports.map(|ports| format!("udp {side} {}{}", not(ports.negated), ports.text('-')))
        });
        Some(parts.collect::<Vec<_>>().join(" "))
    }
}
