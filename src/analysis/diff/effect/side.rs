//! One of the two snapshots: where its packets end, told as the first one counts.

use std::borrow::Cow;

use foldhash::{HashMap, HashMapExt};

use super::pairs::Pairs;
use super::told::{Told, without_backend};
use crate::analysis::coverage::{Becomes, Kind, Outcome, Reached};
use crate::analysis::diagram::{Bit, Set};
use crate::analysis::diff::normal;
use crate::analysis::eval::flood::{Memory, Sets};
use crate::analysis::eval::{Doubt, ORDER};
use crate::analysis::trace::Tracer;
use crate::model::{Protocol, RuleRef};
use crate::packet::{Field, number};

/// One of the two.
pub(super) struct Side<'t, 'a> {
    pub(super) tracer: &'t Tracer<'a>,
    pub(super) pairs: &'t Pairs,
    second: bool,
    memory: Memory,
    /// The bits of its unknowns.
    known: HashMap<(Option<RuleRef>, String), Bit>,
    /// How many of its unknowns have a name.
    counted: HashMap<String, usize>,
}

/// Where packets of a kind end.
pub(super) struct Ended<'a> {
    /// As they are told one by one.
    pub(super) reached: Reached<'a>,
    /// With unknowns under their names, as the first counts.
    pub(super) by_told: HashMap<Told, Set>,
}

/// What cannot be known of either side, by names that are the same for both where it is the same.
#[derive(Default)]
pub(super) struct Unknowns {
    numbers: HashMap<(String, usize), usize>,
    /// By number: whether it is one of the first, of the second.
    of: Vec<[bool; 2]>,
}

impl Unknowns {
    fn bit(&mut self, name: String, count: usize, second: bool) -> Option<Bit> {
        let next = self.numbers.len();
        let number = *self.numbers.entry((name, count)).or_insert(next);
        self.of.resize(self.numbers.len(), [false; 2]);
        if let Some(of) = self.of.get_mut(number).and_then(|of| of.get_mut(usize::from(second))) {
            *of = true;
        }
        Sets::named(number)
    }

    /// It is unknown of one of the two only.
    pub(super) fn is_of_one(&self, bit: Bit) -> bool {
        let first = Sets::named(0).unwrap_or(Bit::MAX);
        let number = bit.checked_sub(first).map(usize::from);
        number.and_then(|number| self.of.get(number)).is_some_and(|of| of.contains(&false))
    }
}

impl<'t, 'a> Side<'t, 'a> {
    pub(super) fn new(tracer: &'t Tracer<'a>, pairs: &'t Pairs, second: bool) -> Self {
        Self { tracer, pairs, second, memory: Memory::default(), known: HashMap::new(), counted: HashMap::new() }
    }

    /// The kind as this side counts.
    fn own(&self, kind: Kind) -> Kind {
        let name = |device| if self.second { self.pairs.second(device) } else { device };
        Kind { interface: kind.interface.map(name), ..kind }
    }

    /// Packets as the first counts.
    pub(super) fn seen(&self, sets: &mut Sets, space: Set) -> Set {
        if !self.second {
            return space;
        }
        self.pairs.swaps(sets.is_ipv6()).into_iter().fold(space, |space, swap| {
            let space = sets.swapped(space, Field::Destination, swap);
            sets.swapped(space, Field::Source, swap)
        })
    }

    /// Where packets of a kind end; `None` for more unknowns than are kept apart.
    pub(super) fn ends(
        &mut self,
        sets: &mut Sets,
        unknowns: &mut Unknowns,
        (kind, protocol): (Kind, Protocol),
        asked: Set,
    ) -> Option<Ended<'a>> {
        sets.exchange(&mut self.memory);
        let reached = Reached::of(self.tracer, sets, (&self.own(kind), protocol), asked);
        sets.exchange(&mut self.memory);
        let mut by_told: HashMap<Told, Vec<Set>> = HashMap::new();
        for orders in &reached.starts {
            let mut left = Set::ALL;
            for (at, places) in orders.iter().enumerate() {
                let mut case = left;
                if at + 1 < orders.len() {
                    let why = format!("{ORDER}, {at}");
                    let bit = self.named(unknowns, &Doubt { rule: None, why })?;
                    let holds = sets.diagrams.choose(bit, Set::NONE, Set::ALL);
                    case = sets.diagrams.and(left, holds);
                    left = sets.diagrams.without(left, holds);
                }
                if !Sets::are_few(places.doubts.len()) {
                    return None;
                }
                let names: Option<Vec<Bit>> = places.doubts.iter().map(|doubt| self.named(unknowns, doubt)).collect();
                let names = names?;
                for (outcome, space) in &places.of {
                    let Some(outcome) = reached.all().get(*outcome) else { continue };
                    let named = sets.with_names(*space, &names);
                    let named = sets.diagrams.and(named, case);
                    for (outcome, space) in unchanged(sets, outcome, named) {
                        let told = Told::of(&outcome, self.tracer.snapshot, self.pairs, self.second);
                        by_told.entry(told).or_default().push(space);
                    }
                }
            }
        }
        let mut found = HashMap::new();
        for (told, spaces) in by_told {
            let space = sets.diagrams.union(spaces);
            found.insert(told, self.seen(sets, space));
        }
        Some(Ended { reached, by_told: found })
    }

    /// The bit of an unknown of this side.
    fn named(&mut self, unknowns: &mut Unknowns, doubt: &Doubt) -> Option<Bit> {
        let key = (doubt.rule.clone(), doubt.why.clone());
        if let Some(bit) = self.known.get(&key) {
            return Some(*bit);
        }
        let name = self.name(doubt);
        let count = self.counted.entry(name.clone()).or_default();
        let bit = unknowns.bit(name, *count, self.second)?;
        *count += 1;
        self.known.insert(key, bit);
        Some(bit)
    }

    /// What is unknown, whichever rule of whichever backend it hangs on: what that asks tells it.
    pub(super) fn name(&self, doubt: &Doubt) -> String {
        let asked = doubt.rule.as_ref().and_then(|rule| normal::asked(rule, self.tracer.snapshot.rulesets()));
        match (&doubt.rule, asked) {
            (Some(rule), Some(asked)) => format!("{}\n{asked}", doubt.why.replace(&rule.to_string(), "")),
            _ => without_backend(&doubt.why),
        }
    }
}

/// What is sent to where it was going anyway is not changed.
fn unchanged<'o, 'a>(sets: &mut Sets, outcome: &'o Outcome<'a>, space: Set) -> Vec<(Cow<'o, Outcome<'a>>, Set)> {
    let mut parts = vec![(Cow::Borrowed(outcome), space)];
    let address = match outcome.destination {
        Becomes::Is(address) => Some((Field::Destination, number(address))),
        _ => None,
    };
    let port = match outcome.port {
        Becomes::Is(port) => Some((Field::DestinationPort, u128::from(port))),
        _ => None,
    };
    for (field, value) in address.into_iter().chain(port) {
        let there = sets.range(field, value, value);
        let split = |(outcome, space): (Cow<'o, Outcome<'a>>, Set)| {
            let same = sets.diagrams.and(space, there);
            let mut stays = outcome.clone();
            if !same.is_empty() {
                match field {
                    Field::Destination => stays.to_mut().destination = Becomes::Stays,
                    _ => stays.to_mut().port = Becomes::Stays,
                }
            }
            [(outcome, sets.diagrams.without(space, there)), (stays, same)]
        };
        parts = parts.into_iter().flat_map(split).filter(|(_, space)| !space.is_empty()).collect();
    }
    parts
}
