//! `-m devgroup`: groups of the devices (`struct xt_devgroup_info`).

use super::named::Named;
use super::{Condition, Extension, Given, Matching, Words};
use crate::packet::Field;
use crate::xt::bytes::Layout;

/// Tests of device groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Devgroup {
    /// `--src-group`: of the device by which the packet came in.
    pub input: Option<Named>,
    /// `--dst-group`: of the device by which it leaves.
    pub output: Option<Named>,
}

/// Group 0.
const ZERO: &str = "default";

impl Extension for Devgroup {
    const NAMES: &'static [&'static str] = &["devgroup"];
    const OPTIONS: &'static [(&'static str, usize)] = &[("--src-group", 1), ("--dst-group", 1)];

    fn decode(revision: u8, data: &[u8], _ipv6: bool) -> Option<Self> {
        let layout = Layout(data);
        let flags = layout.u32(0)?;
        let group = |at, asked: u32| -> Option<Option<Named>> {
            let named = Named { negated: flags & (asked << 1) != 0, value: layout.u32(at)?, mask: layout.u32(at + 4)? };
            Some((flags & asked != 0).then_some(named))
        };
        (revision == 0 && flags & !0xf == 0).then_some(Self { input: group(4, 1)?, output: group(12, 4)? })
    }

    fn parse(_name: &str, options: &[Given], _ipv6: bool) -> Option<Self> {
        let mut found = Self::default();
        for given in options {
            let group = Some(Named::parse(given, ZERO)?);
            match given.name {
                "--src-group" => found.input = group,
                _ => found.output = group,
            }
        }
        Some(found)
    }

    fn save(&self, out: &mut String) {
        for (option, group) in [("--src-group", self.input), ("--dst-group", self.output)] {
            if let Some(group) = group {
                group.save(option, ZERO, out);
            }
        }
    }
}

impl Matching for Devgroup {
    fn condition(&self) -> Condition {
        let mut all = Vec::new();
        // Of the number, too, the kernel compares no bits beside the mask (net/netfilter/xt_devgroup.c).
        let of = |group: Named, field| Named { value: group.value & group.mask, ..group }.condition(field);
        all.extend(self.input.map(|group| of(group, Field::InputGroup)));
        all.extend(self.output.map(|group| of(group, Field::OutputGroup)));
        Condition::All(all)
    }

    fn explain(&self, words: &mut Words) {
        let ways = [("coming in by device group", self.input), ("leaving by device group", self.output)];
        for (way, group) in ways {
            if let Some(group) = group {
                words.also(group.words(way, ZERO));
            }
        }
    }

    /// iptables' translation carries a negation of the first over to the second.
    fn nft(&self, _protocol: Option<u8>) -> Option<String> {
        let negated = |group: Option<Named>| group.map(|group| group.negated);
        if (negated(self.input), negated(self.output)) == (Some(true), Some(false)) {
            return None;
        }
        let mut parts = Vec::new();
        parts.extend(self.input.map(|group| group.nft("iifgroup", ZERO)));
        parts.extend(self.output.map(|group| group.nft("oifgroup", ZERO)));
        Some(parts.join(" "))
    }
}
