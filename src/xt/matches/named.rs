//! A number under a mask of which iproute2 has names: device groups and realms.

use super::span::{bang, not, unequal};
use super::{Condition, Given};
use crate::packet::Field;
use crate::xt::extension::parse_number;

/// A number under a mask equals a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Named {
    /// `!`
    pub negated: bool,
    /// Value.
    pub value: u32,
    /// Mask.
    pub mask: u32,
}

impl Named {
    /// `name` is what iproute2 calls 0 everywhere; other names are a machine's own.
    pub(super) fn parse(given: &Given, name: &str) -> Option<Self> {
        let (value, mask) = match given.value().split_once('/') {
            Some((value, mask)) => (parse_number(value)?, parse_number(mask)?),
            None if given.value() == name => (0, u32::MAX),
            None => (given.number()?, u32::MAX),
        };
        Some(Self { negated: given.negated, value, mask })
    }

    /// `0x1`, `0x1/0xff`, `default`
    pub(super) fn text(self, name: &str) -> String {
        match (self.value, self.mask) {
            (0, u32::MAX) => name.to_owned(),
            (value, u32::MAX) => format!("{value:#x}"),
            (value, mask) => format!("{value:#x}/{mask:#x}"),
        }
    }

    pub(super) fn save(self, option: &str, name: &str, out: &mut String) {
        out.push_str(&format!("{} {option} {}", bang(self.negated), self.text(name)));
    }

    pub(super) fn words(self, what: &str, name: &str) -> String {
        format!("{}{what} {}", not(self.negated), self.text(name))
    }

    pub(super) fn nft(self, what: &str, name: &str) -> String {
        match self.mask {
            u32::MAX => format!("{what} {}{}", unequal(self.negated), self.text(name)),
            mask => format!("{what} and {mask:#x} {} {:#x}", if self.negated { "!=" } else { "==" }, self.value),
        }
    }

    pub(super) fn condition(self, field: Field) -> Condition {
        Condition::Masked { field, mask: self.mask.into(), value: self.value.into() }.negated_if(self.negated)
    }
}
