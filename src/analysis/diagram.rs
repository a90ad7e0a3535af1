//! Sets of numbers written in bits, as reduced ordered decision diagrams: equal sets are equal diagrams.
//!
//! Bryant 1986, without complement edges. A crate was weighed: the well-kept ones are made for many threads or copy a diagram with each
//! step; rules need one table, three operations and a look at the values of one field.

use std::collections::BTreeSet;

use foldhash::{HashMap, HashMapExt, HashSet, HashSetExt};

/// A set: a node of its [`Diagrams`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Set(u32);

/// A bit of a number: those asked first come first.
pub type Bit = u16;

impl Set {
    /// No number.
    pub const NONE: Self = Self(0);
    /// Every number.
    pub const ALL: Self = Self(1);

    /// Whether no number is in it.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self == Self::NONE
    }
}

/// A bit that is asked, and the sets of those that have it not and have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Node {
    bit: Bit,
    /// The last bit that is asked in it.
    last: Bit,
    without: Set,
    with: Set,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    And,
    Or,
    Without,
}

/// An operation that was done, and what came of it.
#[derive(Debug, Clone, Copy)]
struct Done {
    of: (Operation, Set, Set),
    is: Set,
}

/// Nodes that are made before it is given up: 200 MB with what finds them.
const MOST: usize = 6_000_000;
/// Operations remembered at first and at last, in bits.
const REMEMBERED: (u32, u32) = (13, 20);
/// Behind the last bit.
const LEAF: Bit = Bit::MAX;

/// All sets of one question.
#[derive(Debug)]
pub struct Diagrams {
    nodes: Vec<Node>,
    /// Places of nodes by what they are; 0 where none is.
    places: Vec<u32>,
    done: Vec<Done>,
    exhausted: bool,
}

impl Default for Diagrams {
    fn default() -> Self {
        let leaf = |set| Node { bit: LEAF, last: 0, without: set, with: set };
        Self {
            nodes: vec![leaf(Set::NONE), leaf(Set::ALL)],
            places: vec![0; 1 << 13],
            done: vec![NOTHING; 1 << REMEMBERED.0],
            exhausted: false,
        }
    }
}

const NOTHING: Done = Done { of: (Operation::And, Set::NONE, Set::NONE), is: Set::NONE };

/// Fowler, Noll and Vo would do as well: a few multiplications spread what is close together.
fn spread(one: u32, two: u32, three: u32) -> usize {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let mixed = (u64::from(one) << 32 | u64::from(two)).wrapping_mul(ODD) ^ u64::from(three).wrapping_mul(ODD << 1 | 1);
    usize::try_from((mixed.wrapping_mul(ODD) >> 24) & 0xffff_ffff).unwrap_or_default()
}

impl Diagrams {
    /// There were too many nodes: what came out since is worth nothing.
    #[must_use]
    pub fn exhausted(&self) -> bool {
        self.exhausted
    }

    /// How many nodes were made.
    #[must_use]
    pub fn size(&self) -> usize {
        self.nodes.len()
    }

    fn node(&self, set: Set) -> Node {
        self.nodes.get(set.0 as usize).copied().unwrap_or(Node {
            bit: LEAF,
            last: 0,
            without: Set::NONE,
            with: Set::NONE,
        })
    }

    /// Those of `without` that have the bit not, and those of `with` that have it; both ask later bits only.
    pub fn choose(&mut self, bit: Bit, without: Set, with: Set) -> Set {
        if without == with {
            return with;
        }
        let same = |node: &Node| (node.bit, node.without, node.with) == (bit, without, with);
        let mask = self.places.len() - 1;
        let mut place = spread(bit.into(), without.0, with.0) & mask;
        loop {
            match self.places.get(place).copied().unwrap_or_default() {
                0 => break,
                known if self.nodes.get(known as usize).is_some_and(same) => return Set(known),
                _ => place = (place + 1) & mask,
            }
        }
        let number = u32::try_from(self.nodes.len()).unwrap_or_default();
        if self.nodes.len() >= MOST {
            self.exhausted = true;
            return Set::NONE;
        }
        let last = bit.max(self.node(without).last).max(self.node(with).last);
        self.nodes.push(Node { bit, last, without, with });
        if let Some(free) = self.places.get_mut(place) {
            *free = number;
        }
        if self.nodes.len() * 2 > self.places.len() {
            self.grow();
        }
        Set(number)
    }

    fn grow(&mut self) {
        let size = self.places.len() * 4;
        let mut places = vec![0_u32; size];
        for (number, node) in (0_u32..).zip(&self.nodes).skip(2) {
            let mut place = spread(node.bit.into(), node.without.0, node.with.0) & (size - 1);
            while places.get(place).is_some_and(|taken| *taken != 0) {
                place = (place + 1) & (size - 1);
            }
            if let Some(free) = places.get_mut(place) {
                *free = number;
            }
        }
        self.places = places;
        let remembered = size.min(1 << REMEMBERED.1);
        if remembered > self.done.len() {
            self.done = vec![NOTHING; remembered];
        }
    }

    /// Those that are in both.
    pub fn and(&mut self, one: Set, other: Set) -> Set {
        self.apply(Operation::And, one.min(other), one.max(other))
    }

    /// Those that are in one of them.
    pub fn or(&mut self, one: Set, other: Set) -> Set {
        self.apply(Operation::Or, one.min(other), one.max(other))
    }

    /// Those of the first that are not in the second.
    pub fn without(&mut self, one: Set, other: Set) -> Set {
        self.apply(Operation::Without, one, other)
    }

    /// The union of many, two by two.
    pub fn union(&mut self, mut sets: Vec<Set>) -> Set {
        while sets.len() > 1 {
            sets = sets.chunks(2).map(|pair| pair.iter().fold(Set::NONE, |all, set| self.or(all, *set))).collect();
        }
        sets.first().copied().unwrap_or(Set::NONE)
    }

    fn apply(&mut self, operation: Operation, one: Set, other: Set) -> Set {
        const NONE: Set = Set::NONE;
        const ALL: Set = Set::ALL;
        match (operation, one, other) {
            (Operation::And, NONE, _) | (Operation::Without, NONE, _) | (Operation::Without, _, ALL) => return NONE,
            (Operation::And, ALL, same) | (Operation::Or, NONE, same) | (Operation::Without, same, NONE) => {
                return same;
            }
            (Operation::Or, ALL, _) => return ALL,
            (Operation::Without, ..) if one == other => return NONE,
            _ if one == other => return one,
            _ => {}
        }
        let place = spread(operation as u32, one.0, other.0) & (self.done.len() - 1);
        if let Some(done) = self.done.get(place)
            && done.of == (operation, one, other)
        {
            return done.is;
        }
        let (first, second) = (self.node(one), self.node(other));
        let bit = first.bit.min(second.bit);
        let sides = |node: Node, set: Set| if node.bit == bit { (node.without, node.with) } else { (set, set) };
        let (mine, others) = (sides(first, one), sides(second, other));
        let without = self.apply_ordered(operation, mine.0, others.0);
        let with = self.apply_ordered(operation, mine.1, others.1);
        let is = self.choose(bit, without, with);
        let place = spread(operation as u32, one.0, other.0) & (self.done.len() - 1);
        if let Some(done) = self.done.get_mut(place) {
            *done = Done { of: (operation, one, other), is };
        }
        is
    }

    fn apply_ordered(&mut self, operation: Operation, one: Set, other: Set) -> Set {
        match operation {
            Operation::Without => self.apply(operation, one, other),
            _ => self.apply(operation, one.min(other), one.max(other)),
        }
    }

    /// Whether a bit from this one on is asked in a set.
    #[must_use]
    pub fn asks_from(&self, set: Set, from: Bit) -> bool {
        self.node(set).last >= from
    }

    /// Whatever the bits from this one on may be: those that are in the set with some of them.
    pub fn whatever(&mut self, set: Set, from: Bit) -> Set {
        let mut known = HashMap::new();
        self.project(set, from, &mut known)
    }

    fn project(&mut self, set: Set, from: Bit, known: &mut HashMap<Set, Set>) -> Set {
        let Some((bit, without, with)) = self.asks(set).filter(|_| self.asks_from(set, from)) else { return set };
        if bit >= from {
            return Set::ALL;
        }
        if let Some(found) = known.get(&set) {
            return *found;
        }
        let (without, with) = (self.project(without, from, known), self.project(with, from, known));
        let found = self.choose(bit, without, with);
        known.insert(set, found);
        found
    }

    /// Those that are in the set with some of the bits that `which` names, whatever they have there.
    pub fn forget(&mut self, set: Set, which: &dyn Fn(Bit) -> bool) -> Set {
        let mut known = HashMap::new();
        self.without_bits(set, which, &mut known)
    }

    fn without_bits(&mut self, set: Set, which: &dyn Fn(Bit) -> bool, known: &mut HashMap<Set, Set>) -> Set {
        let Some((bit, without, with)) = self.asks(set) else { return set };
        if let Some(found) = known.get(&set) {
            return *found;
        }
        let (without, with) = (self.without_bits(without, which, known), self.without_bits(with, which, known));
        let found = if which(bit) { self.or(without, with) } else { self.choose(bit, without, with) };
        known.insert(set, found);
        found
    }

    /// The same with other bits in the place of those from this one on.
    pub fn renamed(&mut self, set: Set, from: Bit, name: &dyn Fn(Bit) -> Bit) -> Set {
        let mut known = HashMap::new();
        self.rename(set, from, name, &mut known)
    }

    fn rename(&mut self, set: Set, from: Bit, name: &dyn Fn(Bit) -> Bit, known: &mut HashMap<Set, Set>) -> Set {
        let Some((bit, without, with)) = self.asks(set).filter(|_| self.asks_from(set, from)) else { return set };
        if let Some(found) = known.get(&set) {
            return *found;
        }
        let (without, with) = (self.rename(without, from, name, known), self.rename(with, from, name, known));
        let found = if bit < from {
            self.choose(bit, without, with)
        } else {
            // The new one may come before or behind those that are asked below.
            let holds = self.choose(name(bit), Set::NONE, Set::ALL);
            let (with, without) = (self.and(with, holds), self.without(without, holds));
            self.or(with, without)
        };
        known.insert(set, found);
        found
    }

    /// A set that has of `care` just what this one has, and asks as little as it can: what is outside of that may be in it or not
    /// (Coudert and Madre 1990).
    pub fn where_it_matters(&mut self, set: Set, care: Set) -> Set {
        let mut known = HashMap::new();
        self.restrict(set, care, &mut known)
    }

    fn restrict(&mut self, set: Set, care: Set, known: &mut HashMap<(Set, Set), Set>) -> Set {
        let (Some((bit, without, with)), Some((asked, outside, inside))) = (self.asks(set), self.asks(care)) else {
            return set;
        };
        if let Some(found) = known.get(&(set, care)) {
            return *found;
        }
        let found = if asked < bit {
            let either = self.or(outside, inside);
            self.restrict(set, either, known)
        } else {
            let (outside, inside) = if asked == bit { (outside, inside) } else { (care, care) };
            match (outside.is_empty(), inside.is_empty()) {
                (true, _) => self.restrict(with, inside, known),
                (_, true) => self.restrict(without, outside, known),
                _ => {
                    let (without, with) = (self.restrict(without, outside, known), self.restrict(with, inside, known));
                    self.choose(bit, without, with)
                }
            }
        };
        known.insert((set, care), found);
        found
    }

    /// The bits from this one on that are asked anywhere in a set, in order.
    #[must_use]
    pub fn asked(&self, set: Set, from: Bit) -> Vec<Bit> {
        let (mut waiting, mut seen, mut found) = (vec![set], HashSet::new(), BTreeSet::new());
        while let Some(set) = waiting.pop() {
            if let Some((bit, without, with)) = self.asks(set).filter(|_| self.asks_from(set, from))
                && seen.insert(set)
            {
                found.extend((bit >= from).then_some(bit));
                waiting.extend([without, with]);
            }
        }
        found.into_iter().collect()
    }

    /// What is asked first of a set, where it is not all or nothing: the bit, and both sides.
    fn asks(&self, set: Set) -> Option<(Bit, Set, Set)> {
        let node = self.node(set);
        (node.bit != LEAF).then_some((node.bit, node.without, node.with))
    }

    /// Some number of a set: `taken` is told every bit that it has; bits of which it is not told may be either.
    pub fn one_of(&self, set: Set, taken: &mut impl FnMut(Bit)) {
        let mut at = set;
        while let Some((bit, without, with)) = self.asks(at) {
            at = without;
            if without.is_empty() {
                taken(bit);
                at = with;
            }
        }
    }

    /// The values that a number of `width` bits beginning at this one takes in a set, each with what is left to be asked of the rest. No
    /// bit before these may be asked.
    #[must_use]
    pub fn values(&self, set: Set, first: Bit, width: u16) -> Vec<(Values, Set)> {
        let (masked, ranges) = self.told(set, (first, width), HOLES);
        let masked = masked.into_iter().map(|(value, mask, rest)| (Values::Masked { value, mask }, rest));
        masked.chain(ranges.into_iter().map(|((from, to), rest)| (Values::Range { from, to }, rest))).collect()
    }

    /// The same as ranges alone, however many these are.
    #[must_use]
    pub fn ranges(&self, set: Set, first: Bit, width: u16) -> Vec<((u128, u128), Set)> {
        self.told(set, (first, width), u32::MAX).1
    }

    /// The values as masks, of those with more holes than these, and as ranges.
    fn told(&self, set: Set, (first, width): (Bit, u16), holes_at_most: u32) -> (Vec<(u128, u128, Set)>, Ranges) {
        let mut cubes = Vec::new();
        self.cubes(set, (first, width), (0, 0), &mut cubes);
        let mut ranges: Vec<(Set, u128, u128)> = Vec::new();
        let mut masks = Vec::new();
        let all = if width >= 128 { u128::MAX } else { (1 << width) - 1 };
        for (value, mask, rest) in cubes {
            let below = if mask == 0 { all } else { (1 << mask.trailing_zeros()) - 1 };
            let holes = all & !mask & !below;
            if holes.count_ones() > holes_at_most {
                masks.push((value, mask, rest));
                continue;
            }
            // Every number that fits into the holes (Carry-Rippler).
            let mut hole = 0_u128;
            loop {
                ranges.push((rest, value | hole, value | hole | below));
                hole = hole.wrapping_sub(holes) & holes;
                if hole == 0 {
                    break;
                }
            }
        }
        ranges.sort_unstable();
        let mut found: Ranges = Vec::new();
        for (rest, from, to) in ranges {
            match found.last_mut() {
                Some(((_, before), same)) if *same == rest && before.checked_add(1) == Some(from) => *before = to,
                _ => found.push(((from, to), rest)),
            }
        }
        (masks, found)
    }

    fn cubes(
        &self,
        set: Set,
        (bit, left): (Bit, u16),
        (value, mask): (u128, u128),
        found: &mut Vec<(u128, u128, Set)>,
    ) {
        match self.asks(set).filter(|(asked, ..)| *asked < bit + left) {
            _ if set.is_empty() => {}
            None => found.push((value, mask, set)),
            Some((asked, without, with)) => {
                let left = left.saturating_sub(asked - bit + 1);
                let own = 1_u128 << left;
                self.cubes(without, (asked + 1, left), (value, mask | own), found);
                self.cubes(with, (asked + 1, left), (value | own, mask | own), found);
            }
        }
    }
}

/// Bits in the midst of a number that are not asked, up to which ranges are told rather than a mask.
const HOLES: u32 = 8;

/// Ranges of values, each with what is left to be asked.
type Ranges = Vec<((u128, u128), Set)>;

/// Values that a number may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Values {
    /// From one to another, both included.
    Range {
        /// The first.
        from: u128,
        /// The last.
        to: u128,
    },
    /// Those whose bits under the mask are these.
    Masked {
        /// The bits.
        value: u128,
        /// Which bits.
        mask: u128,
    },
}

#[cfg(test)]
mod tests;
