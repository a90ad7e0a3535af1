//! `-m physdev`: ports of a bridge (`struct xt_physdev_info`).

use super::span::{bang, not};
use super::{Condition, Extension, Given, Matching, Words};
use crate::packet::{Device, exact_bytes};
use crate::xt::bytes::Layout;
use crate::xt::ip::DeviceMatch;
use crate::xt::text::word;

/// Tests of a packet that crosses a bridge; a flag is its negation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Physdev {
    /// `--physdev-in`
    pub input: Option<DeviceMatch>,
    /// `--physdev-out`
    pub output: Option<DeviceMatch>,
    /// `--physdev-is-in`: it came in by a bridge's port.
    pub is_in: Option<bool>,
    /// `--physdev-is-out`: it leaves by a bridge's port.
    pub is_out: Option<bool>,
    /// `--physdev-is-bridged`: it is bridged and not routed.
    pub is_bridged: Option<bool>,
}

const IN: u8 = 1;
const OUT: u8 = 2;
const BRIDGED: u8 = 4;
const IS_IN: u8 = 8;
const IS_OUT: u8 = 16;
/// `IFNAMSIZ`
const NAME: usize = 16;

/// A name and its mask; `None` where the mask is none that iptables makes.
fn device(layout: Layout<'_>, at: usize, negated: bool) -> Option<DeviceMatch> {
    let name = layout.text(at, NAME)?;
    let mask = layout.0.get(at + NAME..at + 2 * NAME)?;
    let covered = mask.iter().take_while(|byte| **byte == u8::MAX).count();
    let clean = mask.iter().skip(covered).all(|byte| *byte == 0);
    let length = exact_bytes(&name).len();
    let named = length < NAME;
    match name.strip_suffix('+') {
        Some(beginning) if covered + 1 == length => {
            (clean && named).then(|| DeviceMatch { negated, name: beginning.to_owned(), prefix: true })
        }
        _ => (clean && named && covered == length + 1).then_some(DeviceMatch { negated, name, prefix: false }),
    }
}

impl Extension for Physdev {
    const NAMES: &'static [&'static str] = &["physdev"];
    const OPTIONS: &'static [(&'static str, usize)] = &[
        ("--physdev-in", 1),
        ("--physdev-out", 1),
        ("--physdev-is-in", 0),
        ("--physdev-is-out", 0),
        ("--physdev-is-bridged", 0),
    ];

    fn decode(revision: u8, data: &[u8], _ipv6: bool) -> Option<Self> {
        let layout = Layout(data);
        let (inverted, tests) = (layout.u8(64)?, layout.u8(65)?);
        if revision != 0 || (tests | inverted) & !(IN | OUT | BRIDGED | IS_IN | IS_OUT) != 0 {
            return None;
        }
        let test = |bit: u8| (tests & bit != 0).then_some(inverted & bit != 0);
        let named = |bit: u8, at| match test(bit) {
            Some(negated) => device(layout, at, negated).map(Some),
            None => Some(None),
        };
        Some(Self {
            input: named(IN, 0)?,
            output: named(OUT, 2 * NAME)?,
            is_in: test(IS_IN),
            is_out: test(IS_OUT),
            is_bridged: test(BRIDGED),
        })
    }

    fn parse(_name: &str, options: &[Given], _ipv6: bool) -> Option<Self> {
        let mut found = Self::default();
        for given in options {
            let device = || {
                let (name, prefix) =
                    given.value().strip_suffix('+').map_or((given.value(), false), |name| (name, true));
                DeviceMatch { negated: given.negated, name: name.to_owned(), prefix }
            };
            match given.name {
                "--physdev-in" => found.input = Some(device()),
                "--physdev-out" => found.output = Some(device()),
                "--physdev-is-in" => found.is_in = Some(given.negated),
                "--physdev-is-out" => found.is_out = Some(given.negated),
                _ => found.is_bridged = Some(given.negated),
            }
        }
        Some(found)
    }

    fn save(&self, out: &mut String) {
        let flag = |option: &str, test: Option<bool>| {
            test.map_or_else(String::new, |negated| format!("{} {option}", bang(negated)))
        };
        let named = |option: &str, device: &Option<DeviceMatch>| {
            let text = |device: &DeviceMatch| format!("{} {option} {}", bang(device.negated), word(&device.text()));
            device.as_ref().map_or_else(String::new, text)
        };
        out.push_str(&flag("--physdev-is-in", self.is_in));
        out.push_str(&named("--physdev-in", &self.input));
        out.push_str(&flag("--physdev-is-out", self.is_out));
        out.push_str(&named("--physdev-out", &self.output));
        out.push_str(&flag("--physdev-is-bridged", self.is_bridged));
    }
}

impl Matching for Physdev {
    fn condition(&self) -> Condition {
        let on = |device, name: &str, prefix| Condition::Device { device, name: name.to_owned(), prefix };
        let mut all = Vec::new();
        for (device, named) in [(Device::BridgeInput, &self.input), (Device::BridgeOutput, &self.output)] {
            all.extend(named.as_ref().map(|part| on(device, &part.name, part.prefix).negated_if(part.negated)));
        }
        for (device, test) in [(Device::BridgeInput, self.is_in), (Device::BridgeOutput, self.is_out)] {
            all.extend(test.map(|negated| on(device, "", true).negated_if(negated)));
        }
        all.extend(self.is_bridged.map(|negated| Condition::Opaque("bridged, not routed".into()).negated_if(negated)));
        Condition::All(all)
    }

    fn explain(&self, words: &mut Words) {
        for (way, named) in [("coming in by bridge port", &self.input), ("leaving by bridge port", &self.output)] {
            if let Some(part) = named {
                words.also(format!("{}{way} {}", not(part.negated), part.text()));
            }
        }
        let flags = [
            ("coming in by a bridge", self.is_in),
            ("leaving by a bridge", self.is_out),
            ("bridged rather than routed", self.is_bridged),
        ];
        for (phrase, test) in flags {
            if let Some(negated) = test {
                words.also(format!("{}{phrase}", not(negated)));
            }
        }
    }
}
