//! `coverage`: what happens to all new connections at once, as the exact partition of them into classes with one outcome each.
//!
//! It asks of whole sets of packets what [`Tracer`] asks of one: the same conditions, the same routes and sockets. A class is an area, the
//! product of what its packets have in each field; areas are disjoint, and together they are everything.

mod area;
pub(in crate::analysis) mod first;
mod outcomes;
mod rows;
mod usual;

use foldhash::{HashMap, HashMapExt};

pub(in crate::analysis) use area::areas;
pub use area::{Area, Narrow, others};
pub use outcomes::{Becomes, Outcome, is_about_takers};
pub use rows::{Row, meets, rows, together};
pub use usual::usual;

use super::diagram::{Set, Values};
use super::eval::Doubt;
use super::eval::flood::{Bounds, Flooded, NUMBERED, Sets};
use super::trace::Tracer;
use crate::model::{Protocol, RuleRef, Snapshot};
use crate::packet::DeviceName;

/// Which packets are asked about together: those that differ in numbers alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Kind {
    /// They come in from outside; else processes of the namespace send them.
    pub incoming: bool,
    /// They are of IPv6.
    pub ipv6: bool,
    /// Their protocol; `None` for all that are not named.
    pub protocol: Option<Protocol>,
    /// The device by which they come in.
    pub interface: Option<DeviceName>,
}

/// New connections with one outcome.
#[derive(Debug, Clone)]
pub struct Class<'a> {
    /// What they have in common.
    pub kind: Kind,
    /// Which of these they are.
    pub area: Area,
    /// What becomes of them: one, or every outcome that there may be.
    pub outcomes: Vec<Outcome<'a>>,
    /// What it hangs on where there are several.
    pub because: Vec<Doubt>,
}

/// The partition.
#[derive(Debug, Clone)]
pub struct Coverage<'a> {
    /// The classes of each kind, one kind after the other.
    pub classes: Vec<Class<'a>>,
    /// Kinds of which there are more parts than can be followed.
    pub given_up: Vec<Kind>,
    /// Rules of chains to which some of the connections come, and that take none of them: those of IPv4, then those of IPv6.
    pub untaken: [Vec<RuleRef>; 2],
}

/// Packets of a kind that share what becomes of them.
pub(in crate::analysis) struct Part {
    pub(super) space: Set,
    /// Places among all outcomes of the kind.
    outcomes: Vec<usize>,
    pub(super) doubts: Vec<Doubt>,
}

/// All outcomes of a kind, each once.
#[derive(Default)]
struct All<'a> {
    outcomes: Vec<Outcome<'a>>,
    known: HashMap<u64, Vec<usize>>,
}

impl<'a> All<'a> {
    fn place(&mut self, outcome: Outcome<'a>) -> usize {
        let places = self.known.entry(outcome.key()).or_default();
        if let Some(same) = places.iter().copied().find(|at| self.outcomes.get(*at) == Some(&outcome)) {
            return same;
        }
        self.outcomes.push(outcome);
        places.push(self.outcomes.len() - 1);
        self.outcomes.len() - 1
    }

    /// Whether both are the same for a packet.
    fn alike(&self, one: usize, other: usize) -> bool {
        matches!((self.outcomes.get(one), self.outcomes.get(other)), (Some(one), Some(other)) if one.alike(other))
    }

    /// What becomes of packets that are left alone by one rule or by another is nobody's doing.
    fn nobodys(&mut self, one: usize, other: usize) -> usize {
        let Some((first, second)) = self.outcomes.get(one).zip(self.outcomes.get(other)) else { return one };
        if first.rule == second.rule || !(first.left_alone && second.left_alone) {
            return one;
        }
        let alone = Outcome { rule: None, ..first.clone() };
        self.place(alone)
    }
}

/// Beginnings before fields are kept in their own bits: each finds bounds that were not foreseen, and ends with the kind that needs them.
const BEGINNINGS: usize = 8;

/// What happens to all new connections that a question names.
#[must_use]
pub fn coverage<'a>(tracer: &Tracer<'a>, narrow: &Narrow) -> Coverage<'a> {
    let kinds = first::kinds(tracer);
    let [ipv4, ipv6] = [false, true].map(|ipv6| of_family(tracer, narrow, &kinds, ipv6));
    let place = |kind: &Kind| kinds.iter().position(|one| one == kind);
    let mut classes = ipv4.classes;
    classes.extend(ipv6.classes);
    classes.sort_by_key(|class| place(&class.kind));
    let mut given_up = ipv4.given_up;
    given_up.extend(ipv6.given_up);
    given_up.sort_by_key(place);
    Coverage { classes, given_up, untaken: [ipv4.untaken, ipv6.untaken] }
}

/// What is found of one family.
struct OfFamily<'a> {
    classes: Vec<Class<'a>>,
    given_up: Vec<Kind>,
    untaken: Vec<RuleRef>,
}

/// Packets of a family meet nothing of the other one: neither's bounds are the other's.
fn of_family<'a>(tracer: &Tracer<'a>, narrow: &Narrow, kinds: &[Kind], ipv6: bool) -> OfFamily<'a> {
    let mut bounds = first::bounds(tracer, narrow, ipv6);
    for _ in 0..BEGINNINGS {
        match attempt(tracer, narrow, (kinds, ipv6), &bounds) {
            Ok(found) => return found,
            Err(missing) => bounds.join(&missing),
        }
    }
    attempt(tracer, narrow, (kinds, ipv6), &Bounds::raw()).unwrap_or_else(|_| OfFamily {
        classes: Vec::new(),
        given_up: kinds.iter().copied().filter(|kind| kind.ipv6 == ipv6).collect(),
        untaken: Vec::new(),
    })
}

/// The same with fields by the pieces between these bounds; `Err` for bounds that are missing.
fn attempt<'a>(
    tracer: &Tracer<'a>,
    narrow: &Narrow,
    (kinds, ipv6): (&[Kind], bool),
    bounds: &Bounds,
) -> Result<OfFamily<'a>, Box<Bounds>> {
    let mut found = OfFamily { classes: Vec::new(), given_up: Vec::new(), untaken: Vec::new() };
    let mut sets = Sets::of(ipv6, bounds);
    let other = first::any_other(kinds, ipv6);
    for kind in kinds.iter().copied().filter(|kind| kind.ipv6 == ipv6 && narrow.has_kind(kind)) {
        let protocol = kind.protocol.unwrap_or(other);
        of_kind(tracer, narrow, &mut sets, (kind, protocol), &mut found.classes);
        if sets.diagrams.exhausted() {
            found.classes.retain(|class| class.kind != kind);
            let missing = std::mem::replace(&mut sets.missing, Bounds::none());
            sets = Sets::of(ipv6, bounds);
            sets.missing = missing;
            found.given_up.push(kind);
        }
        if !sets.missing.is_none() {
            return Err(Box::new(sets.missing));
        }
    }
    found.untaken = sets.never_taken(&tracer.rules);
    Ok(found)
}

fn of_kind<'a>(
    tracer: &Tracer<'a>,
    narrow: &Narrow,
    sets: &mut Sets,
    (kind, protocol): (Kind, Protocol),
    classes: &mut Vec<Class<'a>>,
) {
    let asked = narrow.space(sets, &kind);
    let mut reached = Reached::of(tracer, sets, (&kind, protocol), asked);
    for part in reached.parts(sets) {
        let outcomes: Vec<Outcome<'a>> = reached.outcomes(&part);
        for area in areas(sets, part.space) {
            let because = if outcomes.len() > 1 { part.doubts.clone() } else { Vec::new() };
            classes.push(Class { kind, area, outcomes: outcomes.clone(), because });
        }
    }
}

/// What becomes of packets of a kind, in every case of what cannot be known.
pub(in crate::analysis) struct Reached<'a> {
    all: All<'a>,
    /// For each part of the packets, and there for each order of chains.
    pub(super) starts: Vec<Vec<Places>>,
}

/// Where packets end: places among all outcomes, each with its packets and cases; and what cannot be known, by its number.
pub(in crate::analysis) struct Places {
    pub(super) of: Vec<(usize, Set)>,
    pub(super) doubts: Vec<Doubt>,
}

impl<'a> Reached<'a> {
    pub(super) fn of(tracer: &Tracer<'a>, sets: &mut Sets, kind: (&Kind, Protocol), asked: Set) -> Self {
        let (mut all, mut starts) = (All::default(), Vec::new());
        if asked.is_empty() {
            return Self { all, starts };
        }
        for (start, space, forms) in first::packets(tracer, sets, kind, asked) {
            let flooded = tracer.rules.flood(sets, (&start, space, forms), tracer.ground.as_ref(), &tracer.receivers);
            starts.push(flooded.into_iter().map(|flooded| places(tracer, sets, flooded, &mut all)).collect());
        }
        Self { all, starts }
    }

    /// Disjoint parts of the packets, each with all that may become of it.
    pub(super) fn parts(&mut self, sets: &mut Sets) -> Vec<Part> {
        let mut parts = Vec::new();
        for orders in &self.starts {
            let of_orders = orders.iter().map(|places| parted(sets, places, &mut self.all)).collect();
            parts.extend(in_any_order(sets, of_orders, &mut self.all));
        }
        joined(sets, parts)
    }

    /// All outcomes, each at its place.
    pub(super) fn all(&self) -> &[Outcome<'a>] {
        &self.all.outcomes
    }

    /// Those of a part.
    pub(super) fn outcomes(&self, part: &Part) -> Vec<Outcome<'a>> {
        part.outcomes.iter().filter_map(|at| self.all.outcomes.get(*at).cloned()).collect()
    }
}

/// The same for a snapshot, of everything.
#[must_use]
pub fn of<'a>(snapshot: &'a Snapshot) -> Coverage<'a> {
    coverage(&Tracer::of(snapshot), &Narrow::default())
}

/// What was reached, by what becomes of it.
fn places<'a>(tracer: &Tracer<'a>, sets: &mut Sets, flooded: Flooded, all: &mut All<'a>) -> Places {
    let Flooded { reaches, doubts } = flooded;
    let mut reached: HashMap<usize, Vec<Set>> = HashMap::new();
    for reach in reaches {
        for (space, outcome) in outcomes::of_reach(tracer, sets, &reach) {
            reached.entry(all.place(outcome)).or_default().push(space);
        }
    }
    let mut of: Vec<(usize, Set)> = reached.into_iter().map(|(at, spaces)| (at, sets.diagrams.union(spaces))).collect();
    of.sort_unstable_by_key(|(at, _)| *at);
    Places { of, doubts }
}

/// Splits it so that each packet is in one part, whatever is so of what cannot be known.
fn parted(sets: &mut Sets, Places { of: reached, doubts }: &Places, all: &mut All<'_>) -> Vec<Part> {
    let part = |(at, space)| Part { space, outcomes: vec![at], doubts: Vec::new() };
    // Of what is known each packet goes one way: nothing else is laid over it.
    let (open, known): (Vec<_>, Vec<_>) = reached.iter().copied().partition(|(_, space)| sets.is_open(*space));
    let mut parts: Overlaid = Overlaid::default();
    for (at, space) in open {
        let packets = sets.packets(space);
        parts.overlay(sets, part((at, packets)), all);
    }
    let mut parts = parts.parts;
    parts.extend(known.into_iter().map(part));
    for part in parts.iter_mut().filter(|part| part.outcomes.len() > 1) {
        for (_, space) in reached.iter().filter(|(at, _)| part.outcomes.contains(at)) {
            let here = sets.diagrams.and(*space, part.space);
            for doubt in sets.unknowns(here).into_iter().filter_map(|number| doubts.get(number)) {
                let why = doubt.why.split(NUMBERED).next().unwrap_or_default().to_owned();
                let doubt = Doubt { rule: doubt.rule.clone(), why };
                if !part.doubts.contains(&doubt) {
                    part.doubts.push(doubt);
                }
            }
        }
    }
    parts
}

/// Parts that share no packet.
#[derive(Default)]
struct Overlaid {
    parts: Vec<Part>,
    /// All packets of all of them.
    covered: Set,
}

impl Overlaid {
    /// Lays packets over those that are there: where both are, either outcome may be, unless they are alike.
    fn overlay(&mut self, sets: &mut Sets, part: Part, all: &mut All<'_>) {
        let new = sets.diagrams.without(part.space, self.covered);
        let mut twice = sets.diagrams.and(part.space, self.covered);
        self.covered = sets.diagrams.or(self.covered, part.space);
        let mut found = Vec::new();
        // Most often it is one of the last.
        for (at, known) in self.parts.iter_mut().enumerate().rev() {
            if twice.is_empty() {
                break;
            }
            let both = sets.diagrams.and(known.space, twice);
            if both.is_empty() {
                continue;
            }
            twice = sets.diagrams.without(twice, both);
            known.space = sets.diagrams.without(known.space, both);
            let mut outcomes = known.outcomes.clone();
            for other in &part.outcomes {
                match outcomes.iter_mut().find(|one| all.alike(**one, *other)) {
                    Some(one) => *one = all.nobodys(*one, *other),
                    None => outcomes.push(*other),
                }
            }
            let mut doubts = known.doubts.clone();
            doubts.extend(part.doubts.iter().filter(|doubt| !known.doubts.contains(doubt)).cloned());
            found.push((at, Part { space: both, outcomes, doubts }));
        }
        found.sort_unstable_by_key(|(at, _)| *at);
        if !found.is_empty() {
            self.parts.retain(|known| !known.space.is_empty());
        }
        self.parts.extend(found.into_iter().map(|(_, part)| part));
        if !new.is_empty() {
            self.parts.push(Part { space: new, ..part });
        }
    }
}

/// What holds in whichever order chains stand that nobody knows (K5).
fn in_any_order(sets: &mut Sets, orders: Vec<Vec<Part>>, all: &mut All<'_>) -> Vec<Part> {
    let mut orders = orders.into_iter();
    let first = orders.next().unwrap_or_default();
    if orders.len() == 0 {
        return first;
    }
    let spaces = first.iter().map(|part| part.space).collect();
    let mut found = Overlaid { parts: first, covered: sets.diagrams.union(spaces) };
    for mut part in orders.flatten() {
        part.doubts.push(Doubt { rule: None, why: super::eval::ORDER.to_owned() });
        found.overlay(sets, part, all);
    }
    found.parts
}

/// Parts of the same outcomes are one.
fn joined(sets: &mut Sets, parts: Vec<Part>) -> Vec<Part> {
    let mut found: Vec<Part> = Vec::new();
    let mut known: HashMap<Vec<usize>, Vec<(usize, Vec<Set>)>> = HashMap::new();
    for part in parts {
        let places = known.entry(part.outcomes.clone()).or_default();
        let decided = part.outcomes.len() < 2;
        let same = places
            .iter_mut()
            .find(|(at, _)| decided || found.get(*at).is_some_and(|found: &Part| found.doubts == part.doubts));
        match same {
            Some((_, spaces)) => spaces.push(part.space),
            None => {
                places.push((found.len(), vec![part.space]));
                found.push(part);
            }
        }
    }
    for (at, spaces) in known.into_values().flatten() {
        let space = sets.diagrams.union(spaces);
        if let Some(part) = found.get_mut(at) {
            part.space = space;
        }
    }
    found
}

impl Coverage<'_> {
    /// Whether the classes of each kind are disjoint, and together all that was asked about: shown by sets, not by samples.
    ///
    /// # Errors
    /// The kind of which that does not hold, and why.
    pub fn is_exact(&self, narrow: &Narrow) -> Result<(), (Kind, &'static str)> {
        let mut kinds: Vec<Kind> = self.classes.iter().map(|class| class.kind).collect();
        kinds.dedup();
        for kind in kinds {
            let mut sets = Sets::new(kind.ipv6);
            let (asked, mut all) = (narrow.space(&mut sets, &kind), Set::NONE);
            for class in self.classes.iter().filter(|class| class.kind == kind) {
                let space = class.area.space(&mut sets);
                if !sets.diagrams.and(all, space).is_empty() {
                    return Err((kind, "two classes hold the same packet"));
                }
                all = sets.diagrams.or(all, space);
            }
            if all != asked {
                return Err((kind, "a packet is in no class"));
            }
        }
        Ok(())
    }
}

/// Whether a number is one of these; of none, each is.
#[must_use]
pub fn holds(values: &[Values], number: u128) -> bool {
    values.is_empty() || values.iter().any(|values| values.holds(number))
}
