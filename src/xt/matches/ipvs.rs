//! `-m ipvs`: the kernel's load balancer has the connection (`struct xt_ipvs_mtinfo`).

use std::fmt::Write;
use std::net::IpAddr;

use super::{Condition, Extension, Given, Matching, Words};
use crate::xt::bytes::{Layout, prefix_length, prefix_mask};
use crate::xt::extension::parse_whole;
use crate::xt::ip::{address_text, protocol_number};
use crate::xt::services::service;

/// How the balancer passes packets on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// `GATE`: routed.
    Gate,
    /// `IPIP`: in a tunnel.
    Tunnel,
    /// `MASQ`: translated.
    Masquerade,
}

/// A test that may be negated.
type Test<T> = Option<(bool, T)>;

/// The connection of the balancer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ipvs {
    /// `! --ipvs`: it has none.
    pub none: bool,
    /// `--vproto`
    pub protocol: Test<u8>,
    /// `--vaddr`: address and mask.
    pub address: Test<(IpAddr, IpAddr)>,
    /// `--vport`
    pub port: Test<u16>,
    /// `--vdir`: replies rather than the original direction.
    pub reply: Option<bool>,
    /// `--vmethod`
    pub method: Test<Method>,
    /// `--vportctl`
    pub control_port: Test<u16>,
}

/// `XT_IPVS_*`
const PROPERTY: u8 = 1;
const PROTOCOL: u8 = 2;
const ADDRESS: u8 = 4;
const PORT: u8 = 8;
const DIRECTION: u8 = 16;
const METHOD: u8 = 32;
const CONTROL: u8 = 64;

/// By iptables' name, with the kernel's number (`IP_VS_CONN_F_*`).
const METHODS: [(Method, &str, u8); 3] =
    [(Method::Masquerade, "MASQ", 0), (Method::Tunnel, "IPIP", 2), (Method::Gate, "GATE", 3)];

fn mask_text(mask: IpAddr) -> String {
    match prefix_length(mask) {
        Some(32) if mask.is_ipv4() => String::new(),
        Some(128) => String::new(),
        Some(length) => format!("/{length}"),
        None => format!("/{}", address_text(mask)),
    }
}

fn method_word(method: Method) -> &'static str {
    METHODS.iter().find(|(known, ..)| *known == method).map_or("", |(_, word, _)| word)
}

fn masked(address: IpAddr, mask: IpAddr) -> Option<IpAddr> {
    Some(match (address, mask) {
        (IpAddr::V4(address), IpAddr::V4(mask)) => (address & mask).into(),
        (IpAddr::V6(address), IpAddr::V6(mask)) => (address & mask).into(),
        _ => return None,
    })
}

fn parse_network(text: &str, ipv6: bool) -> Option<(IpAddr, IpAddr)> {
    let (address, mask) = text.split_once('/').map_or((text, None), |(address, mask)| (address, Some(mask)));
    let mask = match mask.map(|mask| (mask, parse_whole(mask))) {
        None => prefix_mask(if ipv6 { 128 } else { 32 }, ipv6)?,
        Some((_, Some(length))) => prefix_mask(length, ipv6)?,
        Some((mask, None)) => mask.parse().ok()?,
    };
    let address: IpAddr = address.parse().ok().filter(|address: &IpAddr| address.is_ipv6() == ipv6)?;
    Some((masked(address, mask)?, mask))
}

impl Ipvs {
    fn tests(&self) -> Vec<(bool, &'static str, String)> {
        let mut tests = Vec::new();
        let mut add = |test: Test<String>, name| tests.extend(test.map(|(negated, text)| (negated, name, text)));
        add(self.protocol.map(|(not, number)| (not, number.to_string())), "vproto");
        let address = self.address.map(|(not, (address, mask))| (not, address_text(address) + &mask_text(mask)));
        add(address, "vaddr");
        add(self.port.map(|(not, port)| (not, port.to_string())), "vport");
        add(self.reply.map(|reply| (false, if reply { "REPLY" } else { "ORIGINAL" }.to_owned())), "vdir");
        add(self.method.map(|(not, method)| (not, method_word(method).to_owned())), "vmethod");
        add(self.control_port.map(|(not, port)| (not, port.to_string())), "vportctl");
        tests
    }
}

impl Extension for Ipvs {
    const NAMES: &'static [&'static str] = &["ipvs"];
    const OPTIONS: &'static [(&'static str, usize)] = &[
        ("--ipvs", 0),
        ("--vproto", 1),
        ("--vaddr", 1),
        ("--vport", 1),
        ("--vdir", 1),
        ("--vmethod", 1),
        ("--vportctl", 1),
    ];

    fn decode(revision: u8, data: &[u8], ipv6: bool) -> Option<Self> {
        let layout = Layout::of(data, 40)?;
        let (inverted, asked) = (layout.u8(38)?, layout.u8(39)?);
        // Whatever else is asked, the connection must be the balancer's.
        if revision != 0 || asked & PROPERTY == 0 || asked > 0x7f || inverted & !asked != 0 {
            return None;
        }
        let none = inverted & PROPERTY != 0;
        if none && asked != PROPERTY {
            return None;
        }
        let not = |bit: u8| (asked & bit != 0).then_some(inverted & bit != 0);
        let method = METHODS.iter().find(|(.., number)| Some(*number) == layout.u8(35)).map(|(method, ..)| *method);
        let (network, mask) = (layout.address(0, ipv6)?, layout.address(16, ipv6)?);
        if asked & ADDRESS != 0 && masked(network, mask)? != network || asked & METHOD != 0 && method.is_none() {
            return None;
        }
        Some(Self {
            none,
            protocol: not(PROTOCOL).zip(layout.u8(34)),
            address: not(ADDRESS).map(|not| (not, (network, mask))),
            port: not(PORT).zip(layout.be16(32)),
            reply: not(DIRECTION),
            method: not(METHOD).zip(method),
            control_port: not(CONTROL).zip(layout.be16(36)),
        })
    }

    fn parse(_name: &str, options: &[Given], ipv6: bool) -> Option<Self> {
        let mut ipvs = Self::default();
        for given in options {
            let port = || Some((given.negated, service(given.value())?));
            match given.name {
                "--ipvs" => ipvs.none = given.negated,
                "--vproto" => ipvs.protocol = Some((given.negated, protocol_number(given.value())?)),
                "--vaddr" => ipvs.address = Some((given.negated, parse_network(given.value(), ipv6)?)),
                "--vport" => ipvs.port = Some(port()?),
                "--vdir" => {
                    let words = ["original", "reply"];
                    let at = words.iter().position(|word| word.eq_ignore_ascii_case(given.value()))?;
                    ipvs.reply = Some(at == 1);
                }
                "--vmethod" => {
                    let named = METHODS.iter().find(|(_, word, _)| word.eq_ignore_ascii_case(given.value()))?;
                    ipvs.method = Some((given.negated, named.0));
                }
                _ => ipvs.control_port = Some(port()?),
            }
        }
        let others = !ipvs.tests().is_empty();
        (!options.is_empty()).then_some(ipvs).filter(|ipvs| !ipvs.none || !others)
    }

    fn save(&self, out: &mut String) {
        let tests = self.tests();
        if tests.is_empty() {
            out.push_str(if self.none { " ! --ipvs" } else { " --ipvs" });
        }
        for (negated, name, text) in tests {
            // Writing to a String cannot fail.
            write!(out, "{} --{name} {text}", if negated { " !" } else { "" }).ok();
        }
    }
}

impl Matching for Ipvs {
    fn condition(&self) -> Condition {
        Condition::Opaque("a connection of the load balancer".into())
    }

    fn explain(&self, words: &mut Words) {
        if self.none {
            words.also("of no connection of the load balancer (IPVS)");
            return;
        }
        let tests: Vec<String> = self
            .tests()
            .into_iter()
            .map(|(negated, name, text)| {
                let what = match name {
                    "vproto" => "protocol",
                    "vaddr" => "virtual address",
                    "vport" => "virtual port",
                    "vdir" => "direction",
                    "vmethod" => "method",
                    _ => "control port",
                };
                format!("{}{what} {text}", if negated { "not " } else { "" })
            })
            .collect();
        let tests = if tests.is_empty() { String::new() } else { format!(", {}", tests.join(", ")) };
        words.also(format!("of a connection of the load balancer (IPVS{tests})"));
    }
}
