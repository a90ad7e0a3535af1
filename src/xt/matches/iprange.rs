//! `-m iprange`: addresses from one to another (`struct xt_iprange_mtinfo`; of revision 0 `struct ipt_iprange_info`).

use std::net::IpAddr;

use super::span::{bang, not, unequal};
use super::{Condition, Extension, Given, Matching, Words};
use crate::packet::{Field, number};
use crate::xt::bytes::Layout;
use crate::xt::ip::address_text;

/// Addresses from one to another, ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Between {
    /// `!`
    pub negated: bool,
    /// First.
    pub from: IpAddr,
    /// Last.
    pub to: IpAddr,
}

/// Ranges of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Iprange {
    /// `--src-range`
    pub source: Option<Between>,
    /// `--dst-range`
    pub destination: Option<Between>,
}

const SOURCE: u8 = 1;
const DESTINATION: u8 = 2;
const NOT_SOURCE: u8 = 0x10;
const NOT_DESTINATION: u8 = 0x20;

impl Between {
    fn parse(given: &Given, ipv6: bool) -> Option<Self> {
        let (from, to) = given.value().split_once('-').unwrap_or((given.value(), given.value()));
        let address = |text: &str| text.parse().ok().filter(|address: &IpAddr| address.is_ipv6() == ipv6);
        Some(Self { negated: given.negated, from: address(from)?, to: address(to)? })
    }

    fn text(self, join: char) -> String {
        format!("{}{join}{}", address_text(self.from), address_text(self.to))
    }

    fn condition(self, field: Field) -> Condition {
        Condition::Range(field, number(self.from), number(self.to)).negated_if(self.negated)
    }
}

impl Extension for Iprange {
    const NAMES: &'static [&'static str] = &["iprange"];
    const OPTIONS: &'static [(&'static str, usize)] = &[("--src-range", 1), ("--dst-range", 1)];

    fn decode(revision: u8, data: &[u8], ipv6: bool) -> Option<Self> {
        let layout = Layout(data);
        // Revision 0 holds addresses of IPv4 in four bytes each, the newer one any in sixteen.
        let width = match revision {
            0 if !ipv6 => 4,
            1 => 16,
            _ => return None,
        };
        let flags = layout.u8(4 * width)?;
        if flags & !(SOURCE | DESTINATION | NOT_SOURCE | NOT_DESTINATION) != 0 {
            return None;
        }
        let address = |index: usize| if ipv6 { layout.v6(index * width) } else { layout.v4(index * width) };
        let between = |first: usize, asked: u8, negated: u8| -> Option<Option<Between>> {
            let (from, to) = (address(first)?, address(first + 1)?);
            Some((flags & asked != 0).then_some(Between { negated: flags & negated != 0, from, to }))
        };
        Some(Self { source: between(0, SOURCE, NOT_SOURCE)?, destination: between(2, DESTINATION, NOT_DESTINATION)? })
    }

    fn parse(_name: &str, options: &[Given], ipv6: bool) -> Option<Self> {
        let mut found = Self::default();
        for given in options {
            let between = Some(Between::parse(given, ipv6)?);
            match given.name {
                "--src-range" => found.source = between,
                _ => found.destination = between,
            }
        }
        Some(found)
    }

    fn save(&self, out: &mut String) {
        for (option, between) in [("--src-range", self.source), ("--dst-range", self.destination)] {
            if let Some(between) = between {
                out.push_str(&format!("{} {option} {}", bang(between.negated), between.text('-')));
            }
        }
    }
}

impl Matching for Iprange {
    fn condition(&self) -> Condition {
        let mut all = Vec::new();
        all.extend(self.source.map(|between| between.condition(Field::Source)));
        all.extend(self.destination.map(|between| between.condition(Field::Destination)));
        Condition::All(all)
    }

    fn explain(&self, words: &mut Words) {
        for (end, between) in [("from", self.source), ("to", self.destination)] {
            if let Some(between) = between {
                words.also(format!("{}{end} {}", not(between.negated), between.text('–')));
            }
        }
    }

    fn nft(&self, _protocol: Option<u8>) -> Option<String> {
        let one = |end: &str, between: Option<Between>| {
            let Between { negated, from, .. } = between?;
            let header = if from.is_ipv6() { "ip6" } else { "ip" };
            Some(format!("{header} {end} {}{}", unequal(negated), between?.text('-')))
        };
        let parts = [one("saddr", self.source), one("daddr", self.destination)];
        Some(parts.into_iter().flatten().collect::<Vec<_>>().join(" "))
    }
}
