//! `-m ecn`: explicit congestion notification (`struct xt_ecn_info`, RFC 3168).

use std::fmt::Write;

use super::span::{bang, other, unequal};
use super::{Condition, Extension, Given, Matching, Words};
use crate::packet::Field;
use crate::xt::bytes::Layout;

/// Tests of the congestion bits; each with its negation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ecn {
    /// Of IPv6.
    pub ipv6: bool,
    /// `--ecn-tcp-ece`
    pub echo: Option<bool>,
    /// `--ecn-tcp-cwr`
    pub reduced: Option<bool>,
    /// `--ecn-ip-ect`, with the two bits.
    pub codepoint: Option<(bool, u8)>,
}

const CODEPOINT: u8 = 1;
const ECHO: u8 = 0x10;
const REDUCED: u8 = 0x20;

impl Extension for Ecn {
    const NAMES: &'static [&'static str] = &["ecn"];
    const OPTIONS: &'static [(&'static str, usize)] =
        &[("--ecn-tcp-cwr", 0), ("--ecn-tcp-ece", 0), ("--ecn-ip-ect", 1)];

    fn decode(revision: u8, data: &[u8], ipv6: bool) -> Option<Self> {
        let layout = Layout(data);
        let (tests, inverted, codepoint) = (layout.u8(0)?, layout.u8(1)?, layout.u8(2)?);
        let known = CODEPOINT | ECHO | REDUCED;
        let test = |bit: u8| (tests & bit != 0).then_some(inverted & bit != 0);
        (revision == 0 && (tests | inverted) & !known == 0 && codepoint <= 3).then(|| Self {
            ipv6,
            echo: test(ECHO),
            reduced: test(REDUCED),
            codepoint: test(CODEPOINT).map(|negated| (negated, codepoint)),
        })
    }

    fn parse(_name: &str, options: &[Given], ipv6: bool) -> Option<Self> {
        let mut found = Self { ipv6, ..Self::default() };
        for given in options {
            match given.name {
                "--ecn-tcp-cwr" => found.reduced = Some(given.negated),
                "--ecn-tcp-ece" => found.echo = Some(given.negated),
                _ => {
                    let bits = u8::try_from(given.number()?).ok().filter(|bits| *bits <= 3)?;
                    found.codepoint = Some((given.negated, bits));
                }
            }
        }
        Some(found)
    }

    fn save(&self, out: &mut String) {
        // Writing to a String cannot fail.
        for (option, test) in [("--ecn-tcp-ece", self.echo), ("--ecn-tcp-cwr", self.reduced)] {
            if let Some(negated) = test {
                write!(out, "{} {option}", bang(negated)).ok();
            }
        }
        if let Some((negated, bits)) = self.codepoint {
            write!(out, "{} --ecn-ip-ect {bits}", bang(negated)).ok();
        }
    }
}

impl Matching for Ecn {
    fn condition(&self) -> Condition {
        let bit =
            |mask, negated| Condition::AnyBit(Field::TcpFlags, mask).negated_where_present(Field::TcpFlags, negated);
        let mut all = Vec::new();
        all.extend(self.echo.map(|negated| bit(0x40, negated)));
        all.extend(self.reduced.map(|negated| bit(0x80, negated)));
        all.extend(self.codepoint.map(|(negated, bits)| {
            Condition::Masked { field: Field::TrafficClass, mask: 3, value: bits.into() }.negated_if(negated)
        }));
        Condition::All(all)
    }

    fn explain(&self, words: &mut Words) {
        for (flag, test) in [("ECE", self.echo), ("CWR", self.reduced)] {
            if let Some(negated) = test {
                words.also(format!("{} flag {flag}", if negated { "without" } else { "with" }));
            }
        }
        if let Some((negated, bits)) = self.codepoint {
            let name = ["not-ECT", "ECT(1)", "ECT(0)", "CE"].get(usize::from(bits)).copied().unwrap_or_default();
            words.also(format!("with ECN {}{name}", other(negated)));
        }
    }

    fn nft(&self, _protocol: Option<u8>) -> Option<String> {
        // iptables' translation compares all flags where one bit is meant, and spreads a negation over every test.
        if self.echo == Some(true) || self.reduced == Some(true) {
            return None;
        }
        let flagged = self.echo.is_some() || self.reduced.is_some();
        let mut parts = Vec::new();
        parts.extend(self.echo.map(|_| "tcp flags ecn".to_owned()));
        parts.extend(self.reduced.map(|_| "tcp flags cwr".to_owned()));
        if let Some((negated, bits)) = self.codepoint {
            // Of IPv6 it takes the header of IPv4.
            if self.ipv6 || (negated && flagged) {
                return None;
            }
            let name = ["not-ect", "ect1", "ect0", "ce"].get(usize::from(bits))?;
            parts.push(format!("ip ecn {}{name}", unequal(negated)));
        }
        Some(parts.join(" "))
    }
}
