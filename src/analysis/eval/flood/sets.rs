//! Which packets fulfil what a rule asks, as sets: the same conditions that are asked of one packet.

use foldhash::{HashMap, HashMapExt};

use super::Ready;
use super::cell::{Cell, Form};
use super::pieces::{Bounds, Pieces, masked, width};
use crate::analysis::diagram::{Bit, Diagrams, Set, Values};
use crate::packet::{Answer, Condition, Field};

/// The fields by which packets at the beginning of their way are told apart, with the first bit of each; addresses come last, since
/// those of IPv4 have fewer bits.
pub(super) const FIELDS: [(Field, Bit); 7] = [
    (Field::Uid, 0),
    (Field::Gid, 32),
    (Field::Mark, 64),
    (Field::Destination, 96),
    (Field::DestinationPort, 224),
    (Field::Source, 240),
    (Field::SourcePort, 368),
];

/// The first bit behind all fields: from here on each stands for something that cannot be known, and is set where that holds.
pub(super) const UNKNOWN: Bit = 384;

/// Conditions with more parts are worked out once for all cells that look alike to them.
const FEW: usize = 4;

/// Sets of packets of one family, for the rules of one snapshot.
#[derive(Debug)]
pub(in crate::analysis) struct Sets {
    pub(in crate::analysis) diagrams: Diagrams,
    ipv6: bool,
    /// The pieces of each field that is not kept in its own bits.
    pieces: [Option<Pieces>; FIELDS.len()],
    /// Bounds that were asked for and are none: what came out since is worth nothing.
    pub(in crate::analysis) missing: Bounds,
    /// Of tests that were asked before.
    tests: HashMap<(Form, Test), Set>,
    pub(super) memory: Memory,
}

/// What is known of the rules and routes of one snapshot.
#[derive(Debug, Default)]
pub(in crate::analysis) struct Memory {
    /// What rules ask, by table and chain. It lives as long as what is known of it by where it stands.
    pub(super) ready: HashMap<(u32, usize), Ready>,
    /// Of groups of addresses that routes treat alike.
    groups: HashMap<(Form, usize), Set>,
    /// Of several of them.
    unions: HashMap<(Form, Vec<usize>), Set>,
    /// Of many of them at once, by where they stand and by what the fields come from.
    many: HashMap<(usize, Vec<Form>), Set>,
    /// The fields that such a condition asks about; `None` where it asks something else too.
    about: HashMap<usize, Option<Vec<Field>>>,
}

/// A test of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Test {
    Range(u128, u128),
    Masked { mask: u128, value: u128 },
}

/// Those that fulfil a condition, and those of which that cannot be known.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    pub(super) yes: Set,
    pub(super) maybe: Set,
}

impl Sets {
    /// With every field in its own bits.
    pub(in crate::analysis) fn new(ipv6: bool) -> Self {
        Self::of(ipv6, &Bounds::raw())
    }

    /// With fields by the pieces between these bounds.
    pub(in crate::analysis) fn of(ipv6: bool, bounds: &Bounds) -> Self {
        Self {
            diagrams: Diagrams::default(),
            ipv6,
            pieces: bounds.pieces(),
            missing: Bounds::none(),
            tests: HashMap::new(),
            memory: Memory::default(),
        }
    }

    /// They are packets of IPv6.
    pub(in crate::analysis) fn is_ipv6(&self) -> bool {
        self.ipv6
    }

    /// First bit and number of bits of a field that is kept in its own.
    pub(super) fn bits(&self, field: Field) -> (Bit, u16) {
        (place(field).and_then(|place| FIELDS.get(place)).map_or(0, |(_, first)| *first), width(field, self.ipv6))
    }

    pub(super) fn pieces(&self, field: Field) -> Option<&Pieces> {
        place(field).and_then(|place| self.pieces.get(place)).and_then(Option::as_ref)
    }

    /// The biggest number that a field can have.
    pub(in crate::analysis) fn most(&self, field: Field) -> u128 {
        u128::MAX >> (128 - width(field, self.ipv6))
    }

    /// Packets whose field, as it was at first, lies between both.
    pub(in crate::analysis) fn range(&mut self, field: Field, from: u128, to: u128) -> Set {
        self.test(Form::of(field), Test::Range(from, to))
    }

    /// Packets whose field, as it was at first, has these bits under the mask.
    pub(in crate::analysis) fn masked(&mut self, field: Field, mask: u128, value: u128) -> Set {
        self.test(Form::of(field), Test::Masked { mask, value })
    }

    /// The same for the field as it is now.
    pub(super) fn range_now(&mut self, form: Form, from: u128, to: u128) -> Set {
        self.test(form, Test::Range(from, to))
    }

    pub(super) fn masked_now(&mut self, form: Form, mask: u128, value: u128) -> Set {
        self.test(form, Test::Masked { mask, value })
    }

    /// Those whose address lies in a group, which has this place among all.
    pub(super) fn group(&mut self, form: Form, at: usize, group: &[(u128, u128)]) -> Set {
        if let Some(known) = self.memory.groups.get(&(form, at)) {
            return *known;
        }
        let sets = group.iter().map(|(from, to)| self.range_now(form, *from, *to)).collect();
        let set = self.diagrams.union(sets);
        self.memory.groups.insert((form, at), set);
        set
    }

    /// Those whose address lies in one of these groups.
    pub(super) fn one_of_groups(&mut self, form: Form, which: &[usize], groups: &[Vec<(u128, u128)>]) -> Set {
        let key = (form, which.to_vec());
        if let Some(known) = self.memory.unions.get(&key) {
            return *known;
        }
        let each = which.iter().filter_map(|at| Some((*at, groups.get(*at)?)));
        let sets = each.map(|(at, group)| self.group(form, at, group)).collect();
        let set = self.diagrams.union(sets);
        self.memory.unions.insert(key, set);
        set
    }

    fn test(&mut self, form: Form, test: Test) -> Set {
        if let Some(known) = self.tests.get(&(form, test)) {
            return *known;
        }
        let most = self.most(form.of);
        let set = match test {
            test if self.pieces(form.of).is_some() => self.test_of_pieces(form, test, most),
            Test::Range(from, to) if from > to || from > most => Set::NONE,
            Test::Range(from, to) => {
                let (least, most) = (self.bound(form, from, true), self.bound(form, to.min(most), false));
                self.diagrams.and(least, most)
            }
            // What has bits outside of the mask is never found.
            Test::Masked { mask, value } if value & !(mask & most) != 0 => Set::NONE,
            Test::Masked { mask, value } => self.equal(form, mask, value),
        };
        self.tests.insert((form, test), set);
        set
    }

    /// Packets whose piece of a field is one of those that a test takes.
    fn test_of_pieces(&mut self, form: Form, test: Test, most: u128) -> Set {
        let field = form.of;
        let range = match test {
            _ if form != Form::of(field) => None,
            Test::Range(from, to) if from > to || from > most => return Set::NONE,
            Test::Range(from, to) => Some((from, to)),
            Test::Masked { mask, value } if value & !(mask & most) != 0 => return Set::NONE,
            Test::Masked { mask, value } => masked(mask, value, width(field, self.ipv6)),
        };
        let Some(((from, to), pieces)) = range.zip(self.pieces(field)) else {
            self.missing.keep(field);
            return Set::NONE;
        };
        match pieces.codes(from, to, most) {
            Ok((first, last)) => {
                let (least, width) = (self.bits(field).0, pieces.width);
                let (least, most) = (self.code(least, width, first, true), self.code(least, width, last, false));
                self.diagrams.and(least, most)
            }
            Err(_) => {
                self.missing.add_range(field, from, to);
                Set::NONE
            }
        }
    }

    /// Those whose code, which begins with this bit, is not below the bound (`least`), or not above it.
    fn code(&mut self, first: Bit, width: u16, bound: u128, least: bool) -> Set {
        (0..width).fold(Set::ALL, |rest, place| {
            let bit = first + (width - 1 - place);
            match (bound >> place & 1 != 0, least) {
                (true, true) => self.diagrams.choose(bit, Set::NONE, rest),
                (false, true) => self.diagrams.choose(bit, rest, Set::ALL),
                (true, false) => self.diagrams.choose(bit, Set::ALL, rest),
                (false, false) => self.diagrams.choose(bit, rest, Set::NONE),
            }
        })
    }

    /// The bits of a field from the last to the first: each with its number among bits and its place in the number.
    fn last_first(&self, field: Field) -> impl Iterator<Item = (Bit, u128)> + use<> {
        let (first, width) = self.bits(field);
        (0..width).map(move |place| (first + (width - 1 - place), 1_u128 << place))
    }

    /// Those whose bit of a form is set, and those where it is not.
    fn choose(&mut self, form: Form, (bit, own): (Bit, u128), unset: Set, set: Set) -> Set {
        match (form.keep & own != 0, form.flip & own != 0) {
            (true, false) => self.diagrams.choose(bit, unset, set),
            (true, true) => self.diagrams.choose(bit, set, unset),
            (false, true) => set,
            (false, false) => unset,
        }
    }

    /// Those that are not below the bound (`least`), or not above it.
    fn bound(&mut self, form: Form, bound: u128, least: bool) -> Set {
        self.last_first(form.of).fold(Set::ALL, |rest, (bit, own)| match (bound & own != 0, least) {
            (true, true) => self.choose(form, (bit, own), Set::NONE, rest),
            (false, true) => self.choose(form, (bit, own), rest, Set::ALL),
            (true, false) => self.choose(form, (bit, own), Set::ALL, rest),
            (false, false) => self.choose(form, (bit, own), rest, Set::NONE),
        })
    }

    fn equal(&mut self, form: Form, mask: u128, value: u128) -> Set {
        let asked: Vec<(Bit, u128)> = self.last_first(form.of).filter(|(_, own)| mask & own != 0).collect();
        asked.into_iter().fold(Set::ALL, |rest, (bit, own)| match value & own != 0 {
            true => self.choose(form, (bit, own), Set::NONE, rest),
            false => self.choose(form, (bit, own), rest, Set::NONE),
        })
    }

    /// What packets of a cell, these of them, say to a condition.
    pub(super) fn ask(&mut self, cell: &Cell, condition: &Condition, within: Set) -> Asked {
        if within.is_empty() {
            return Asked { yes: Set::NONE, maybe: Set::NONE };
        }
        // A rule's own set is small, and is laid over the packets at one stroke.
        if let Some(set) = self.certain(cell, condition) {
            return Asked { yes: self.diagrams.and(within, set), maybe: Set::NONE };
        }
        match condition {
            Condition::Not(inner) => {
                let asked = self.ask(cell, inner, within);
                let no = self.diagrams.without(within, asked.yes);
                Asked { yes: self.diagrams.without(no, asked.maybe), maybe: asked.maybe }
            }
            Condition::All(parts) => self.all(cell, parts, within),
            Condition::Any(parts) => self.any(cell, parts, within),
            other => match other.ask(&cell.traveller.packet) {
                Answer::Yes => Asked { yes: within, maybe: Set::NONE },
                Answer::No => Asked { yes: Set::NONE, maybe: Set::NONE },
                Answer::CannotKnow => Asked { yes: Set::NONE, maybe: within },
            },
        }
    }

    /// All packets that fulfil a condition by what a cell's have in common; `None` where that cannot be known of each.
    fn certain(&mut self, cell: &Cell, condition: &Condition) -> Option<Set> {
        Some(match condition {
            Condition::Range(field, from, to) if let Some(form) = cell.form(*field) => {
                self.test(form, Test::Range(*from, *to))
            }
            Condition::Masked { field, mask, value } if let Some(form) = cell.form(*field) => {
                self.test(form, Test::Masked { mask: *mask, value: *value })
            }
            Condition::AnyBit(field, mask) if let Some(form) = cell.form(*field) => {
                let none = self.test(form, Test::Masked { mask: *mask, value: 0 });
                self.diagrams.without(Set::ALL, none)
            }
            Condition::Has(field) if cell.form(*field).is_some() => Set::ALL,
            Condition::Owned if cell.form(Field::Uid).is_some() => Set::ALL,
            Condition::Ipv6(wanted) => {
                if *wanted == self.ipv6 {
                    Set::ALL
                } else {
                    Set::NONE
                }
            }
            Condition::Not(inner) if cell.has_no_connection() && inner.asks_about(Field::ConnectionMark) => Set::NONE,
            Condition::Not(inner) => {
                let set = self.certain(cell, inner)?;
                self.diagrams.without(Set::ALL, set)
            }
            Condition::All(parts) => {
                let mut all = Set::ALL;
                // What is the same for all packets of the cell is asked first.
                for plain in [true, false] {
                    for part in parts.iter().filter(|part| is_plain(part) == plain) {
                        let set = self.certain(cell, part)?;
                        all = self.diagrams.and(all, set);
                        if all.is_empty() {
                            return Some(all);
                        }
                    }
                }
                all
            }
            Condition::Any(parts) => {
                if parts.len() > FEW
                    && let Some(set) = self.one_of_many(cell, parts)
                {
                    return Some(set);
                }
                let mut any = Set::NONE;
                for part in parts {
                    let set = self.certain(cell, part)?;
                    any = self.diagrams.or(any, set);
                }
                any
            }
            other => match other.ask(&cell.traveller.packet) {
                Answer::Yes => Set::ALL,
                Answer::No => Set::NONE,
                Answer::CannotKnow => return None,
            },
        })
    }

    fn all(&mut self, cell: &Cell, parts: &[Condition], within: Set) -> Asked {
        let (mut left, mut maybe) = (within, Set::NONE);
        for part in parts {
            let asked = self.ask(cell, part, left);
            left = self.diagrams.or(asked.yes, asked.maybe);
            maybe = self.diagrams.and(maybe, left);
            maybe = self.diagrams.or(maybe, asked.maybe);
        }
        Asked { yes: self.diagrams.without(left, maybe), maybe }
    }

    fn any(&mut self, cell: &Cell, parts: &[Condition], within: Set) -> Asked {
        let (mut left, mut yes, mut maybe) = (within, Set::NONE, Set::NONE);
        for part in parts {
            let asked = self.ask(cell, part, left);
            yes = self.diagrams.or(yes, asked.yes);
            maybe = self.diagrams.or(maybe, asked.maybe);
            left = self.diagrams.without(left, asked.yes);
        }
        Asked { yes, maybe: self.diagrams.without(maybe, yes) }
    }

    /// Packets that fulfil one of many conditions, where all of them ask about fields alone by which packets are told apart.
    fn one_of_many(&mut self, cell: &Cell, parts: &[Condition]) -> Option<Set> {
        let place = parts.as_ptr() as usize;
        let about = self.memory.about.entry(place).or_insert_with(|| about(parts)).clone()?;
        let forms: Vec<Form> = about.iter().map(|field| cell.form(*field)).collect::<Option<_>>()?;
        let key = (place, forms);
        if let Some(known) = self.memory.many.get(&key) {
            return Some(*known);
        }
        let sets = parts.iter().map(|part| self.certain(cell, part)).collect::<Option<Vec<Set>>>()?;
        let set = self.diagrams.union(sets);
        self.memory.many.insert(key, set);
        Some(set)
    }

    /// The packets of a set by what a field was at first: its values, each with what is left to be asked of the fields behind it.
    pub(in crate::analysis) fn values(&self, set: Set, field: Field) -> Vec<(Values, Set)> {
        let (first, width) = self.bits(field);
        let Some(pieces) = self.pieces(field) else { return self.diagrams.values(set, first, width) };
        let most = self.most(field);
        let codes = self.diagrams.ranges(set, first, pieces.width);
        let numbers = codes.into_iter().filter_map(|((from, to), rest)| {
            let (from, to) = pieces.numbers(from, to, most)?;
            Some((Values::Range { from, to }, rest))
        });
        numbers.collect()
    }

    /// Those in whose case something that cannot be known, of this number, holds; `None` for more of it than is kept apart.
    pub(super) fn where_holds(&mut self, unknown: usize) -> Option<Set> {
        let bit = u16::try_from(unknown).ok()?.checked_add(UNKNOWN)?;
        (bit < Bit::MAX).then(|| self.diagrams.choose(bit, Set::NONE, Set::ALL))
    }

    /// Whether which packets are in a set hangs on something that cannot be known.
    pub(in crate::analysis) fn is_open(&self, set: Set) -> bool {
        self.diagrams.asks_from(set, UNKNOWN)
    }

    /// The packets of a set, whatever is so of what cannot be known.
    pub(in crate::analysis) fn packets(&mut self, set: Set) -> Set {
        self.diagrams.whatever(set, UNKNOWN)
    }

    /// The numbers of what cannot be known and counts in a set.
    pub(in crate::analysis) fn unknowns(&self, set: Set) -> Vec<usize> {
        self.diagrams.asked(set, UNKNOWN).into_iter().map(|bit| usize::from(bit - UNKNOWN)).collect()
    }

    /// A number that the field has in some packet of a set: of that packet which is always chosen.
    pub(in crate::analysis) fn sample(&self, set: Set) -> Sample {
        let mut sample = Sample::default();
        self.diagrams.one_of(set, &mut |bit| {
            if bit >= UNKNOWN {
                return;
            }
            let fields = FIELDS.iter().zip(&mut sample.numbers).zip(&self.pieces).rev();
            if let Some((((field, first), number), pieces)) =
                fields.into_iter().find(|(((_, first), _), _)| bit >= *first)
            {
                let width = pieces.as_ref().map_or_else(|| width(*field, self.ipv6), |pieces| pieces.width);
                *number |= 1 << (width - 1 - (bit - first));
            }
        });
        for (number, pieces) in sample.numbers.iter_mut().zip(&self.pieces) {
            if let Some(pieces) = pieces {
                *number = pieces.number(*number);
            }
        }
        sample
    }
}

/// The place of a field among those by which packets are told apart.
pub(super) fn place(field: Field) -> Option<usize> {
    FIELDS.iter().position(|(known, _)| *known == field)
}

/// One packet of a set: its fields as they were at first.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::analysis) struct Sample {
    numbers: [u128; FIELDS.len()],
}

impl Sample {
    /// What it has.
    pub(in crate::analysis) fn number(&self, field: Field) -> u128 {
        let known = FIELDS.iter().zip(&self.numbers).find(|((known, _), _)| *known == field);
        known.map(|(_, number)| *number).unwrap_or_default()
    }
}

/// It is asked without a look at sets, most of the time.
fn is_plain(condition: &Condition) -> bool {
    match condition {
        Condition::Range(field, ..) | Condition::Masked { field, .. } => {
            !FIELDS.iter().any(|(known, _)| known == field)
        }
        Condition::All(_) | Condition::Any(_) | Condition::Not(_) => false,
        _ => true,
    }
}

fn about(parts: &[Condition]) -> Option<Vec<Field>> {
    let (mut fields, mut only) = (Vec::new(), true);
    for part in parts {
        part.visit(&mut |elementary| match elementary {
            Condition::Range(field, ..) | Condition::Masked { field, .. } => {
                if !fields.contains(field) {
                    fields.push(*field);
                }
            }
            _ => only = false,
        });
    }
    only.then_some(fields)
}
