//! `-m policy`: the IPsec policy that a packet came through or will go through (`struct xt_policy_info`).

use std::fmt::Write;

use super::host::Host;
use super::span::{bang, not};
use super::{Condition, Extension, Given, Matching, Words};
use crate::xt::bytes::Layout;
use crate::xt::ip::{protocol_name, protocol_number};

/// A value and its negation.
type Test<T> = Option<(bool, T)>;

/// What is asked of one transformation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Element {
    /// `--reqid`
    pub reqid: Test<u32>,
    /// `--spi`
    pub spi: Test<u32>,
    /// `--proto`: AH, ESP or IPComp.
    pub protocol: Test<u8>,
    /// `--mode`: whether it is a tunnel.
    pub tunnel: Test<bool>,
    /// `--tunnel-dst`
    pub destination: Test<Host>,
    /// `--tunnel-src`
    pub source: Test<Host>,
}

/// A test of the IPsec policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// `--dir out` rather than `in`.
    pub outward: bool,
    /// `--pol ipsec` rather than `none`.
    pub ipsec: bool,
    /// `--strict`: the elements are the whole policy.
    pub strict: bool,
    /// What is asked of its transformations, in order.
    pub elements: Vec<Element>,
}

const IN: u16 = 1;
const OUT: u16 = 2;
const NONE: u16 = 4;
const STRICT: u16 = 8;
/// Elements that the kernel's structure holds, and bytes of one.
const MOST: u16 = 4;
const ELEMENT: usize = 76;

impl Element {
    fn decode(layout: Layout<'_>, at: usize, ipv6: bool) -> Option<Self> {
        let (tests, inverted) = (layout.u8(at + 74)?, layout.u8(at + 75)?);
        if (tests | inverted) & !0x3f != 0 {
            return None;
        }
        let address = |offset: usize| if ipv6 { layout.v6(at + offset) } else { layout.v4(at + offset) };
        let test = |bit: u8| (tests & (1 << bit) != 0).then_some(inverted & (1 << bit) != 0);
        let host = |bit: u8, offset| match test(bit) {
            Some(negated) => Some(Some((negated, Host::new(address(offset)?, address(offset + 16)?)?))),
            None => Some(None),
        };
        let (spi, reqid) = (layout.u32(at + 64)?, layout.u32(at + 68)?);
        let (protocol, mode) = (layout.u8(at + 72)?, layout.u8(at + 73)?);
        if test(3).is_some() && mode > 1 {
            return None;
        }
        Some(Self {
            reqid: test(5).map(|negated| (negated, reqid)),
            spi: test(4).map(|negated| (negated, spi)),
            protocol: test(2).map(|negated| (negated, protocol)),
            tunnel: test(3).map(|negated| (negated, mode == 1)),
            destination: host(1, 32)?,
            source: host(0, 0)?,
        })
    }

    fn set(&mut self, given: &Given, ipv6: bool) -> Option<()> {
        let negated = given.negated;
        match given.name {
            "--reqid" => self.reqid = Some((negated, given.number()?)),
            "--spi" => self.spi = Some((negated, given.number()?)),
            "--proto" => self.protocol = Some((negated, protocol_number(given.value())?)),
            "--mode" => {
                let tunnel = match given.value() {
                    "tunnel" => true,
                    "transport" => false,
                    _ => return None,
                };
                self.tunnel = Some((negated, tunnel));
            }
            "--tunnel-src" => self.source = Some((negated, Host::parse(given.value(), ipv6)?)),
            _ => self.destination = Some((negated, Host::parse(given.value(), ipv6)?)),
        }
        Some(())
    }

    /// Negation, name and value of each test, in the order in which iptables prints them.
    fn tests(&self) -> Vec<(bool, &'static str, String)> {
        let mode = |tunnel: bool| if tunnel { "tunnel" } else { "transport" }.to_owned();
        let mut all = Vec::new();
        all.extend(self.reqid.map(|(negated, reqid)| (negated, "reqid", reqid.to_string())));
        all.extend(self.spi.map(|(negated, spi)| (negated, "spi", format!("{spi:#x}"))));
        all.extend(self.protocol.map(|(negated, protocol)| (negated, "proto", protocol_name(protocol))));
        all.extend(self.tunnel.map(|(negated, tunnel)| (negated, "mode", mode(tunnel))));
        all.extend(self.destination.map(|(negated, host)| (negated, "tunnel-dst", host.text())));
        all.extend(self.source.map(|(negated, host)| (negated, "tunnel-src", host.text())));
        all
    }
}

impl Extension for Policy {
    const NAMES: &'static [&'static str] = &["policy"];
    const OPTIONS: &'static [(&'static str, usize)] = &[
        ("--dir", 1),
        ("--pol", 1),
        ("--strict", 0),
        ("--reqid", 1),
        ("--spi", 1),
        ("--proto", 1),
        ("--mode", 1),
        ("--tunnel-src", 1),
        ("--tunnel-dst", 1),
        ("--next", 0),
    ];

    fn decode(revision: u8, data: &[u8], ipv6: bool) -> Option<Self> {
        let layout = Layout(data);
        let at = ELEMENT * usize::from(MOST);
        let (flags, count) = (layout.u16(at)?, layout.u16(at + 2)?);
        let one_way = matches!(flags & (IN | OUT), IN | OUT) && flags & (IN | OUT) != IN | OUT;
        if revision != 0 || flags & !(IN | OUT | NONE | STRICT) != 0 || !one_way || count > MOST {
            return None;
        }
        // As iptables makes them: none without IPsec, at least one with it, and more than one only where all are named.
        let possible = match (flags & NONE != 0, flags & STRICT != 0) {
            (true, strict) => count == 0 && !strict,
            (false, true) => count > 0,
            (false, false) => count == 1,
        };
        let elements = (0..usize::from(count)).map(|index| Element::decode(layout, ELEMENT * index, ipv6));
        possible.then_some(Self {
            outward: flags & OUT != 0,
            ipsec: flags & NONE == 0,
            strict: flags & STRICT != 0,
            elements: elements.collect::<Option<_>>()?,
        })
    }

    fn parse(_name: &str, options: &[Given], ipv6: bool) -> Option<Self> {
        let mut found = Self { outward: false, ipsec: true, strict: false, elements: Vec::new() };
        let mut element = Element::default();
        let mut way = false;
        for given in options {
            match (given.name, given.value()) {
                ("--dir", "in") => way = true,
                ("--dir", "out") => (way, found.outward) = (true, true),
                ("--pol", "none") => found.ipsec = false,
                ("--pol", "ipsec") => found.ipsec = true,
                ("--dir" | "--pol", _) => return None,
                ("--strict", _) => found.strict = true,
                ("--next", _) => found.elements.push(std::mem::take(&mut element)),
                _ => element.set(given, ipv6)?,
            }
        }
        found.elements.push(element);
        let possible = if found.ipsec { found.strict || found.elements.len() == 1 } else { !found.strict };
        // Without IPsec iptables takes the tests of one, and forgets them.
        if !found.ipsec {
            found.elements.clear();
        }
        (way && possible && found.elements.len() <= usize::from(MOST)).then_some(found)
    }

    fn save(&self, out: &mut String) {
        out.push_str(if self.outward { " --dir out" } else { " --dir in" });
        out.push_str(if self.ipsec { " --pol ipsec" } else { " --pol none" });
        out.push_str(if self.strict { " --strict" } else { "" });
        for (index, element) in self.elements.iter().enumerate() {
            out.push_str(if index > 0 { " --next" } else { "" });
            for (negated, name, value) in element.tests() {
                // Writing to a String cannot fail.
                write!(out, "{} --{name} {value}", bang(negated)).ok();
            }
        }
    }
}

impl Matching for Policy {
    fn condition(&self) -> Condition {
        Condition::Opaque("its IPsec policy".into())
    }

    fn explain(&self, words: &mut Words) {
        let mut phrase = match (self.outward, self.ipsec) {
            (false, true) => "that came through IPsec",
            (false, false) => "that came without IPsec",
            (true, true) => "that will leave through IPsec",
            (true, false) => "that will leave without IPsec",
        }
        .to_owned();
        let element = |element: &Element| {
            let tests = element.tests().into_iter();
            let each: Vec<String> = tests
                .map(|(negated, name, value)| format!("{}{} {value}", not(negated), name.replace('-', " ")))
                .collect();
            each.join(" and ")
        };
        let elements: Vec<String> = self.elements.iter().map(element).collect();
        if elements.iter().any(|element| !element.is_empty()) || self.strict {
            let exactly = if self.strict { "exactly of" } else { "of" };
            write!(phrase, " {exactly} {}", elements.join(", then ")).ok();
        }
        words.also(phrase);
    }

    fn nft(&self, _protocol: Option<u8>) -> Option<String> {
        let plain = self.elements.iter().all(|element| *element == Element::default());
        (!self.outward && !self.strict && plain)
            .then(|| format!("meta secpath {}", if self.ipsec { "exists" } else { "missing" }))
    }
}
