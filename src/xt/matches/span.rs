//! A range of numbers as many matches ask for one: ends included, perhaps negated. And how a negation is written.

use std::fmt::Write;

use super::{Condition, Given};
use crate::packet::Field;
use crate::xt::extension::parse_number;

/// A range of numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    /// `!`
    pub negated: bool,
    /// First.
    pub from: u32,
    /// Last.
    pub to: u32,
}

/// What stands before a negated option in a saved rule.
pub(super) fn bang(negated: bool) -> &'static str {
    if negated { " !" } else { "" }
}

/// What stands before a negated phrase.
pub(super) fn not(negated: bool) -> &'static str {
    if negated { "not " } else { "" }
}

/// What stands before a value that is not the one.
pub(super) fn other(negated: bool) -> &'static str {
    if negated { "other than " } else { "" }
}

/// What stands before a negated value in nft's words.
pub(super) fn unequal(negated: bool) -> &'static str {
    if negated { "!= " } else { "" }
}

impl Span {
    /// `7`, `7:9`, `:9`, `7:`; numbers up to `top`.
    pub(super) fn parse(given: &Given, top: u32) -> Option<Self> {
        Self::parse_named(given, top, parse_number)
    }

    /// The same where an end may be a name.
    pub(super) fn parse_named(given: &Given, top: u32, number: impl Fn(&str) -> Option<u32>) -> Option<Self> {
        let (from, to) = given.value().split_once(':').unwrap_or((given.value(), given.value()));
        let end = |text: &str, open| if text.is_empty() { Some(open) } else { number(text).filter(|end| *end <= top) };
        // An empty value is no open range.
        let (from, to) = if given.value().is_empty() { return None } else { (end(from, 0)?, end(to, top)?) };
        Some(Self { negated: given.negated, from, to })
    }

    /// Every number up to `top` lies in it.
    pub(super) fn is_whole(self, top: u32) -> bool {
        (self.from, self.to) == (0, top)
    }

    /// It asks something.
    pub(super) fn unless_whole(self, top: u32) -> Option<Self> {
        (self.negated || !self.is_whole(top)).then_some(self)
    }

    pub(super) fn save(self, option: &str, out: &mut String) {
        // Writing to a String cannot fail.
        write!(out, "{} {option} {}", bang(self.negated), self.text(':')).ok();
    }

    pub(super) fn text(self, join: char) -> String {
        if self.from == self.to { self.from.to_string() } else { format!("{}{join}{}", self.from, self.to) }
    }

    /// `meta length != 5-9`
    pub(super) fn nft(self, what: &str) -> String {
        format!("{what} {}{}", unequal(self.negated), self.text('-'))
    }

    /// `with MSS other than 5–9`
    pub(super) fn words(self, what: &str) -> String {
        format!("with {what} {}{}", other(self.negated), self.text('–'))
    }

    pub(super) fn condition(self, field: Field) -> Condition {
        self.range(field).negated_if(self.negated)
    }

    /// For a field that a packet may lack, so that nothing can be said of it either way.
    pub(super) fn condition_where_present(self, field: Field) -> Condition {
        self.range(field).negated_where_present(field, self.negated)
    }

    fn range(self, field: Field) -> Condition {
        Condition::Range(field, self.from.into(), self.to.into())
    }
}
