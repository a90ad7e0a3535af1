//! What differs in what becomes of new connections: of all packets at once, by the sets of them that `coverage` splits.
//!
//! Both snapshots are asked within one system of sets, so that what is alike is the same set. What cannot be known of one rule cannot be
//! known of the same rule of the other side either: it is one unknown of both, and they differ only where they make different things
//! of it. An address of the first one's own stands for that of the second.

mod example;
mod ground;
mod pairs;
mod parity;
mod side;
mod told;

use std::net::IpAddr;

use foldhash::HashMap;

pub use ground::on_common_ground;
use pairs::Pairs;
pub use parity::parity;
use side::{Ended, Side, Unknowns};
use told::Told;

use crate::analysis::coverage::{Area, Kind, Narrow, Outcome, areas, first};
use crate::analysis::diagram::{Bit, Set};
use crate::analysis::eval::Doubt;
use crate::analysis::eval::flood::{Bounds, Sets};
use crate::analysis::trace::{Question, Tracer};
use crate::model::{Protocol, Snapshot};
use crate::packet::{DeviceName, Field};

/// What differs.
#[derive(Debug, Clone, Default)]
pub struct Effects<'a> {
    /// Packets that end otherwise.
    pub differences: Vec<Difference<'a>>,
    /// Kinds of packets of which there are more parts than can be followed.
    pub given_up: Vec<Kind>,
    /// Addresses of the first workload, each with that of the second for which it stands.
    pub stands_for: Vec<(IpAddr, IpAddr)>,
    /// Devices by which packets come in to one of the two only: those are not compared.
    pub alone: [Vec<DeviceName>; 2],
    /// Kinds of packets that were compared.
    pub kinds: usize,
}

/// Packets of which something else becomes.
#[derive(Debug, Clone)]
pub struct Difference<'a> {
    /// What they have in common, as the first one counts.
    pub kind: Kind,
    /// Which of these they are, likewise.
    pub area: Area,
    /// What becomes of them in the first: one outcome, or every one that there may be.
    pub before: Vec<Outcome<'a>>,
    /// What becomes of them in the second.
    pub after: Vec<Outcome<'a>>,
    /// What it hangs on where there are several.
    pub because: Vec<Doubt>,
    /// It is certain that they end otherwise; else it cannot be told.
    pub certain: bool,
    /// One of them, as each of the two sees it.
    pub example: [Question; 2],
}

impl Effects<'_> {
    /// Whether it is certain that something differs.
    #[must_use]
    pub fn differs(&self) -> bool {
        self.differences.iter().any(|difference| difference.certain)
    }

    /// Whether something remains of which it cannot be told.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.given_up.is_empty() || self.differences.iter().any(|difference| !difference.certain)
    }
}

/// Beginnings before fields are kept in their own bits, as for `coverage`.
const BEGINNINGS: usize = 8;

/// What differs in effect, of the packets that are asked about. Both should stand [on common ground](on_common_ground).
#[must_use]
pub fn effects<'a>(before: &'a Snapshot, after: &'a Snapshot, narrow: &Narrow) -> Effects<'a> {
    let tracers = [Tracer::of(before), Tracer::of(after)];
    let pairs = Pairs::of(before, after);
    let [first, second] = tracers.each_ref().map(first::kinds);
    let kinds = pairs.kinds(&first, &second);
    let mut found = Effects { stands_for: pairs.addresses(), alone: pairs.alone.clone(), ..Effects::default() };
    for ipv6 in [false, true] {
        let wanted = |kind: &&Kind| kind.ipv6 == ipv6 && narrow.has_kind(kind);
        let of_family: Vec<Kind> = kinds.iter().filter(wanted).copied().collect();
        if !of_family.is_empty() {
            let comparison = Comparison { tracers: &tracers, pairs: &pairs, narrow, kinds: &of_family, all: &kinds };
            comparison.of_family(ipv6, &mut found);
        }
    }
    found
}

/// What is compared of one family.
struct Comparison<'c, 'a> {
    tracers: &'c [Tracer<'a>; 2],
    pairs: &'c Pairs,
    narrow: &'c Narrow,
    kinds: &'c [Kind],
    all: &'c [Kind],
}

impl<'a> Comparison<'_, 'a> {
    fn of_family(&self, ipv6: bool, found: &mut Effects<'a>) {
        let mut bounds = Bounds::none();
        for tracer in self.tracers {
            bounds.join(&first::bounds(tracer, self.narrow, ipv6));
        }
        for (one, other) in self.pairs.swaps(ipv6) {
            for field in [Field::Source, Field::Destination] {
                bounds.add_range(field, one, one);
                bounds.add_range(field, other, other);
            }
        }
        let mut left = BEGINNINGS;
        loop {
            let (differences, given_up) = (found.differences.len(), found.given_up.len());
            let Err(missing) = self.attempt(ipv6, &bounds, found) else { break };
            found.differences.truncate(differences);
            found.given_up.truncate(given_up);
            left -= 1;
            match left {
                0 if bounds == Bounds::raw() => break found.given_up.extend(self.kinds),
                0 => (left, bounds) = (1, Bounds::raw()),
                _ => bounds.join(&missing),
            }
        }
        found.kinds += self.kinds.len();
    }

    /// The same with fields by the pieces between these bounds; `Err` for bounds that are missing.
    fn attempt(&self, ipv6: bool, bounds: &Bounds, found: &mut Effects<'a>) -> Result<(), Box<Bounds>> {
        let other = first::any_other(self.all, ipv6);
        let mut sets = Sets::of(ipv6, bounds);
        let mut unknowns = Unknowns::default();
        let mut sides = self.sides();
        for kind in self.kinds {
            let before = found.differences.len();
            let done = self.of_kind(&mut sets, (&mut sides, &mut unknowns), (*kind, other), found);
            if !sets.missing.is_none() {
                return Err(Box::new(sets.missing));
            }
            if done.is_none() || sets.diagrams.exhausted() {
                found.differences.truncate(before);
                found.given_up.push(*kind);
                (sets, unknowns, sides) = (Sets::of(ipv6, bounds), Unknowns::default(), self.sides());
            }
        }
        Ok(())
    }

    fn sides(&self) -> [Side<'_, 'a>; 2] {
        let [first, second] = self.tracers;
        [Side::new(first, self.pairs, false), Side::new(second, self.pairs, true)]
    }

    /// Compares one kind of packets; `None` where there is more than can be followed.
    fn of_kind(
        &self,
        sets: &mut Sets,
        (sides, unknowns): (&mut [Side<'_, 'a>; 2], &mut Unknowns),
        (kind, other): (Kind, Protocol),
        found: &mut Effects<'a>,
    ) -> Option<()> {
        let asked = self.narrow.space(sets, &kind);
        let protocol = kind.protocol.unwrap_or(other);
        let [first, second] = sides;
        let before = first.ends(sets, unknowns, (kind, protocol), asked)?;
        let after = second.ends(sets, unknowns, (kind, protocol), asked)?;
        let (certain, open) = compared(sets, unknowns, asked, [&before.by_told, &after.by_told]);
        if certain.is_empty() && open.is_empty() {
            return Some(());
        }
        let mut ended = [before, after];
        for (space, certain) in [(certain, true), (open, false)] {
            if !space.is_empty() {
                self.tell(sets, sides, &mut ended, (kind, protocol, space, certain), found);
            }
        }
        Some(())
    }

    /// Tells what becomes of packets that end otherwise, part by part.
    fn tell(
        &self,
        sets: &mut Sets,
        sides: &[Side<'_, 'a>; 2],
        ended: &mut [Ended<'a>; 2],
        (kind, protocol, space, certain): (Kind, Protocol, Set, bool),
        found: &mut Effects<'a>,
    ) {
        let [first, second] = sides;
        let [before, after] = ended;
        let mut parts = |side: &Side<'_, 'a>, ended: &mut Ended<'a>| -> Vec<(Set, Vec<Outcome<'a>>, Vec<Doubt>)> {
            let parts = ended.reached.parts(sets);
            let here = parts.into_iter().filter_map(|part| {
                let seen = side.seen(sets, part.space);
                let here = sets.diagrams.and(seen, space);
                (!here.is_empty()).then(|| (here, ended.reached.outcomes(&part), part.doubts))
            });
            here.collect()
        };
        let (before, after) = (parts(first, before), parts(second, after));
        for (one, outcomes, doubts) in &before {
            for (other, others, more) in &after {
                let both = sets.diagrams.and(*one, *other);
                for area in areas(sets, both) {
                    let mut because = if outcomes.len() > 1 { doubts.clone() } else { Vec::new() };
                    because.extend(more.iter().filter(|_| others.len() > 1).cloned());
                    let example = example::of(&kind, protocol, &area, (first, second));
                    found.differences.push(Difference {
                        kind,
                        area,
                        before: outcomes.clone(),
                        after: others.clone(),
                        because,
                        certain,
                        example,
                    });
                }
            }
        }
    }
}

/// The packets that end otherwise for certain, in some case of what is unknown of both alike; and those of which it cannot be told.
fn compared(sets: &mut Sets, unknowns: &Unknowns, asked: Set, [one, other]: [&HashMap<Told, Set>; 2]) -> (Set, Set) {
    let mut same = Vec::new();
    for (told, space) in one {
        if let Some(there) = other.get(told) {
            same.push(sets.diagrams.and(*space, *there));
        }
    }
    let same = sets.diagrams.union(same);
    let differs = sets.diagrams.without(asked, same);
    if differs.is_empty() {
        return (Set::NONE, Set::NONE);
    }
    // Whatever is unknown of one alone may be so that both are the same; and so may be what is not told at all.
    let untold: Vec<Set> =
        [one, other].into_iter().flatten().filter(|(told, _)| told.is_open()).map(|(_, at)| *at).collect();
    let untold = sets.diagrams.union(untold);
    let untold = sets.diagrams.and(untold, differs);
    let may = sets.diagrams.or(same, untold);
    let may = sets.diagrams.forget(may, &|bit: Bit| unknowns.is_of_one(bit));
    let never = sets.diagrams.without(asked, may);
    let certain = sets.packets(never);
    let all = sets.packets(differs);
    (certain, sets.diagrams.without(all, certain))
}
