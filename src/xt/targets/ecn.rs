//! `ECN`: sets or clears bits of explicit congestion notification (`struct ipt_ECN_info`).

use std::fmt::Write;

use super::{Effect, Extension, Given, Targeting};
use crate::xt::bytes::Layout;
use crate::xt::extension::parse_whole;

/// Bits of ECN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EcnTarget {
    /// The TCP flag ECE.
    pub ece: Option<bool>,
    /// The TCP flag CWR.
    pub cwr: Option<bool>,
    /// The two bits of the IP header.
    pub codepoint: Option<u8>,
}

/// `IPT_ECN_OP_*`
const SET_IP: u8 = 1;
const SET_ECE: u8 = 0x10;
const SET_CWR: u8 = 0x20;

/// The flags' bits in the TCP header.
const ECE: u8 = 0x40;
const CWR: u8 = 0x80;

impl EcnTarget {
    fn removes(self) -> bool {
        self == Self { ece: Some(false), cwr: Some(false), codepoint: None }
    }
}

impl Extension for EcnTarget {
    const NAMES: &'static [&'static str] = &["ECN"];
    const OPTIONS: &'static [(&'static str, usize)] =
        &[("--ecn-tcp-remove", 0), ("--ecn-tcp-ece", 1), ("--ecn-tcp-cwr", 1), ("--ecn-ip-ect", 1)];

    fn decode(revision: u8, data: &[u8], ipv6: bool) -> Option<Self> {
        let layout = Layout::of(data, 3)?;
        let (operation, codepoint, flags) = (layout.u8(0)?, layout.u8(1)?, layout.u8(2)?);
        let known = operation & !(SET_IP | SET_ECE | SET_CWR) == 0 && operation != 0 && codepoint <= 3;
        (revision == 0 && !ipv6 && known).then(|| Self {
            ece: (operation & SET_ECE != 0).then_some(flags & 1 != 0),
            cwr: (operation & SET_CWR != 0).then_some(flags & 2 != 0),
            codepoint: (operation & SET_IP != 0).then_some(codepoint),
        })
    }

    fn parse(_name: &str, options: &[Given], _ipv6: bool) -> Option<Self> {
        let mut ecn = Self::default();
        for given in options {
            let flag = || given.number().filter(|value| *value <= 1).map(|value| value == 1);
            match given.name {
                "--ecn-tcp-remove" => (ecn.ece, ecn.cwr) = (Some(false), Some(false)),
                "--ecn-tcp-ece" => ecn.ece = Some(flag()?),
                "--ecn-tcp-cwr" => ecn.cwr = Some(flag()?),
                _ => ecn.codepoint = Some(parse_whole(given.value()).filter(|value| *value <= 3)?),
            }
        }
        (!options.is_empty()).then_some(ecn)
    }

    fn save(&self, out: &mut String) {
        if self.removes() {
            out.push_str(" --ecn-tcp-remove");
            return;
        }
        let flags = [("--ecn-tcp-ece", self.ece.map(u8::from)), ("--ecn-tcp-cwr", self.cwr.map(u8::from))];
        for (option, value) in flags.into_iter().chain([("--ecn-ip-ect", self.codepoint)]) {
            if let Some(value) = value {
                // Writing to a String cannot fail.
                write!(out, " {option} {value}").ok();
            }
        }
    }
}

impl Targeting for EcnTarget {
    fn effect(&self) -> Effect {
        let flags = |wanted: bool| {
            let of = |flag: Option<bool>, bit| if flag == Some(wanted) { bit } else { 0 };
            of(self.ece, ECE) | of(self.cwr, CWR)
        };
        Effect::Congestion { codepoint: self.codepoint, set: flags(true), cleared: flags(false) }
    }

    fn explain(&self) -> String {
        if self.removes() {
            return "loses the ECN flags of TCP".to_owned();
        }
        let flag = |name: &str, value: bool| format!("{name} {}", if value { "set" } else { "cleared" });
        let parts = [self.ece.map(|value| flag("ECE", value)), self.cwr.map(|value| flag("CWR", value))];
        let codepoint = self.codepoint.map(|value| format!("ECN codepoint {value}"));
        let parts: Vec<String> = parts.into_iter().chain([codepoint]).flatten().collect();
        format!("gets {}", parts.join(", "))
    }
}
