//! Fields by the pieces that anything tells apart: a field of 128 bits of which forty values are spoken of needs six.
//!
//! A piece is all numbers from one bound to the next. What asks for a bound that is not among them is answered with nothing, and the bound
//! is noted: whoever asked begins anew with it.

use std::collections::BTreeSet;

use super::sets::{FIELDS, place};
use crate::packet::{Condition, Field};

/// The first number of each piece but the one at 0, for each field; `None` for one that has to be kept in its own bits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::analysis) struct Bounds {
    of: [Option<BTreeSet<u128>>; FIELDS.len()],
}

impl Bounds {
    /// None yet. Marks are asked bit by bit, and keep their bits.
    pub(in crate::analysis) fn none() -> Self {
        Self { of: FIELDS.map(|(field, _)| (field != Field::Mark).then(BTreeSet::new)) }
    }

    /// Every field in its own bits.
    pub(in crate::analysis) fn raw() -> Self {
        Self { of: FIELDS.map(|_| None) }
    }

    /// A piece of the field begins with this number.
    pub(in crate::analysis) fn add(&mut self, field: Field, bound: u128) {
        let known = place(first_field(field)).and_then(|place| self.of.get_mut(place));
        if let Some(Some(bounds)) = known.filter(|_| bound > 0) {
            bounds.insert(bound);
        }
    }

    /// So do all numbers between both, taken together.
    pub(in crate::analysis) fn add_range(&mut self, field: Field, from: u128, to: u128) {
        self.add(field, from);
        to.checked_add(1).into_iter().for_each(|after| self.add(field, after));
    }

    /// The field has to be kept in its own bits.
    pub(in crate::analysis) fn keep(&mut self, field: Field) {
        if let Some(of) = place(first_field(field)).and_then(|place| self.of.get_mut(place)) {
            *of = None;
        }
    }

    /// What a condition tells apart.
    pub(in crate::analysis) fn add_condition(&mut self, condition: &Condition, ipv6: bool) {
        condition.visit(&mut |part| match part {
            Condition::Range(field, from, to) => self.add_range(*field, *from, *to),
            Condition::Masked { field, mask, value } => match masked(*mask, *value, width(*field, ipv6)) {
                Some((from, to)) => self.add_range(*field, from, to),
                None => self.keep(*field),
            },
            Condition::AnyBit(field, _) => self.keep(*field),
            _ => {}
        });
    }

    /// All of both.
    pub(in crate::analysis) fn join(&mut self, other: &Self) {
        for (own, other) in self.of.iter_mut().zip(&other.of) {
            match (&mut *own, other) {
                (Some(own), Some(other)) => own.extend(other),
                _ => *own = None,
            }
        }
    }

    /// The bounds of one field are bounds of another one too, where they are no more than so many.
    pub(in crate::analysis) fn lend(&mut self, from: Field, to: Field, most: usize) {
        let at = |field| place(first_field(field));
        let lent = at(from).and_then(|from| self.of.get(from)).cloned().flatten().filter(|lent| lent.len() <= most);
        let own = at(to).and_then(|to| self.of.get_mut(to)).and_then(Option::as_mut);
        if let (Some(own), Some(lent)) = (own, lent) {
            own.extend(lent);
        }
    }

    /// Nothing was noted.
    pub(in crate::analysis) fn is_none(&self) -> bool {
        *self == Self::none()
    }

    pub(super) fn pieces(&self) -> [Option<Pieces>; FIELDS.len()] {
        self.of.each_ref().map(|of| of.as_ref().map(Pieces::of))
    }
}

/// The field at the beginning of the way from which another one comes.
fn first_field(field: Field) -> Field {
    match field {
        Field::OriginalSource | Field::ReplyDestination => Field::Source,
        Field::OriginalSourcePort | Field::ReplyDestinationPort => Field::SourcePort,
        Field::OriginalDestination | Field::ReplySource => Field::Destination,
        Field::OriginalDestinationPort | Field::ReplySourcePort => Field::DestinationPort,
        field => field,
    }
}

/// Bits of a field.
pub(super) fn width(field: Field, ipv6: bool) -> u16 {
    match first_field(field) {
        Field::Source | Field::Destination if ipv6 => 128,
        Field::SourcePort | Field::DestinationPort => 16,
        _ => 32,
    }
}

/// The numbers that have these bits under a mask, where they follow one another.
pub(super) fn masked(mask: u128, value: u128, width: u16) -> Option<(u128, u128)> {
    let most = u128::MAX >> (128 - width);
    let free = !mask & most;
    let from = value & most;
    (free & free.wrapping_add(1) == 0 && from & free == 0).then_some((from, from | free))
}

/// The pieces of a field.
#[derive(Debug)]
pub(super) struct Pieces {
    /// The first number of each.
    starts: Vec<u128>,
    /// Bits that tell them apart.
    pub(super) width: u16,
}

impl Pieces {
    fn of(bounds: &BTreeSet<u128>) -> Self {
        let starts: Vec<u128> = std::iter::once(0).chain(bounds.iter().copied()).collect();
        let last = starts.len() - 1;
        let width = u16::try_from(usize::BITS - last.leading_zeros()).unwrap_or(u16::MAX);
        Self { starts, width }
    }

    /// The piece that begins with a number.
    fn at(&self, start: u128) -> Option<u128> {
        self.starts.binary_search(&start).ok().and_then(|at| u128::try_from(at).ok())
    }

    /// The codes of the pieces that are all numbers between both, or the bound that is missing. Codes behind the last piece stand for it
    /// too.
    pub(super) fn codes(&self, from: u128, to: u128, most: u128) -> Result<(u128, u128), u128> {
        let first = self.at(from).ok_or(from)?;
        if to >= most {
            return Ok((first, self.most()));
        }
        let after = self.at(to + 1).ok_or(to + 1)?;
        // The piece after the last one that is meant begins behind it.
        Ok((first, after - 1))
    }

    /// The biggest code.
    pub(super) fn most(&self) -> u128 {
        (1 << self.width) - 1
    }

    /// The numbers of the pieces with these codes; none for codes that stand for no piece of their own.
    pub(super) fn numbers(&self, first: u128, last: u128, most: u128) -> Option<(u128, u128)> {
        let from = self.starts.get(usize::try_from(first).ok()?)?;
        let next = usize::try_from(last).ok().and_then(|last| self.starts.get(last + 1));
        Some((*from, next.map_or(most, |next| next - 1)))
    }

    /// The first number of the piece that a code stands for.
    pub(super) fn number(&self, code: u128) -> u128 {
        let at = usize::try_from(code).unwrap_or(usize::MAX);
        self.starts.get(at).or(self.starts.last()).copied().unwrap_or_default()
    }
}
