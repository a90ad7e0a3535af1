//! `-m cpu`: which CPU handles the packet (`struct xt_cpu_info`).

use super::span::{bang, not, unequal};
use super::{Condition, Extension, Given, Matching, Words};
use crate::packet::Field;
use crate::xt::bytes::Layout;

/// The CPU is this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cpu {
    /// `!`
    pub negated: bool,
    /// Its number, from 0.
    pub cpu: u32,
}

impl Extension for Cpu {
    const NAMES: &'static [&'static str] = &["cpu"];
    const OPTIONS: &'static [(&'static str, usize)] = &[("--cpu", 1)];

    fn decode(revision: u8, data: &[u8], _ipv6: bool) -> Option<Self> {
        let layout = Layout(data);
        (revision == 0).then_some(Self { negated: layout.u32(4)? != 0, cpu: layout.u32(0)? })
    }

    fn parse(_name: &str, options: &[Given], _ipv6: bool) -> Option<Self> {
        let given = options.last()?;
        Some(Self { negated: given.negated, cpu: given.number()? })
    }

    fn save(&self, out: &mut String) {
        out.push_str(&format!("{} --cpu {}", bang(self.negated), self.cpu));
    }
}

impl Matching for Cpu {
    fn condition(&self) -> Condition {
        Condition::equals(Field::Cpu, self.cpu).negated_if(self.negated)
    }

    fn explain(&self, words: &mut Words) {
        words.also(format!("{}handled by CPU {}", not(self.negated), self.cpu));
    }

    fn nft(&self, _protocol: Option<u8>) -> Option<String> {
        Some(format!("cpu {}{}", unequal(self.negated), self.cpu))
    }
}
