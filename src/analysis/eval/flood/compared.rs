//! Sets of packets of two snapshots side by side: what is an address or an unknown of one is another of the other.

use super::pieces::width;
use super::sets::{Memory, Sets, UNKNOWN};
use crate::analysis::diagram::{Bit, Set};
use crate::packet::Field;

/// The first of the bits that stand for unknowns under names of both; those before are numbered by who found them.
const NAMED: Bit = 40_000;

impl Sets {
    /// Goes on with what is known of another snapshot, and hands out what is known of this one.
    pub(in crate::analysis) fn exchange(&mut self, other: &mut Memory) {
        std::mem::swap(&mut self.memory, other);
    }

    /// The bit of a named unknown; `None` for more than are kept apart.
    pub(in crate::analysis) fn named(number: usize) -> Option<Bit> {
        u16::try_from(number).ok()?.checked_add(NAMED).filter(|bit| *bit < Bit::MAX)
    }

    /// Whether so many unknowns of one finder have bits of their own.
    pub(in crate::analysis) fn are_few(unknowns: usize) -> bool {
        unknowns < usize::from(NAMED - UNKNOWN)
    }

    /// The same with unknowns under their names: `names` has the bit of each number.
    pub(in crate::analysis) fn with_names(&mut self, set: Set, names: &[Bit]) -> Set {
        if !self.is_open(set) {
            return set;
        }
        let name = |bit: Bit| names.get(usize::from(bit - UNKNOWN)).copied().unwrap_or(bit);
        self.diagrams.renamed(set, UNKNOWN, &name)
    }

    /// The same with two values of a field in each other's place.
    pub(in crate::analysis) fn swapped(&mut self, set: Set, field: Field, (one, other): (u128, u128)) -> Set {
        let (first, width) = self.own_bits(field);
        let [here, there] = [one, other].map(|value| self.range(field, value, value));
        let own = |bit: Bit| (first..first + width).contains(&bit);
        let [at_one, at_other] = [here, there].map(|place| {
            let part = self.diagrams.and(set, place);
            self.diagrams.forget(part, &own)
        });
        let both = self.diagrams.or(here, there);
        let (rest, moved) = (self.diagrams.without(set, both), self.diagrams.and(at_one, there));
        let moved_back = self.diagrams.and(at_other, here);
        self.diagrams.union(vec![rest, moved, moved_back])
    }

    /// First bit and number of bits by which values of a field are told apart.
    fn own_bits(&self, field: Field) -> (Bit, u16) {
        let (first, _) = self.bits(field);
        (first, self.pieces(field).map_or_else(|| width(field, self.is_ipv6()), |pieces| pieces.width))
    }
}
