//! What differs between the rules of two snapshots: chain by chain, whichever backend holds them and however they are spelled.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use similar::{Algorithm, DiffOp, capture_diff_slices};

use super::Change;
use super::names::Names;
use super::places::{Line, Lines, Place, Places, chains, ipsets, is_untouched};
use crate::model::{Backend, Family, Kind, RuleRef, Snapshot, Syntax};

/// One difference in the rules. A chain's own line (hook, policy) has number 0.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RuleChange {
    /// How.
    pub change: Change,
    /// The rule by its place: in the second for added ones, else in the first.
    pub rule: RuleRef,
    /// Where it stands in the second, of one that has moved.
    pub to: Option<RuleRef>,
    /// How its chain is written; the texts show it, so that JSON does not name it.
    #[serde(skip)]
    pub syntax: Syntax,
    /// Its text in the first.
    pub before: Option<String>,
    /// Its text in the second.
    pub after: Option<String>,
}

/// What differs between the rules.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RuleChanges {
    /// The differences, in the order of chains.
    pub changes: Vec<RuleChange>,
    /// Tables that the second keeps in another backend than the first, with both.
    pub kept_by: Vec<(Family, String, Backend, Backend)>,
}

/// What differs between the rules, insensitive to counters, handles, backends and spelling, sensitive to order.
#[must_use]
pub fn rules(before: &Snapshot, after: &Snapshot) -> RuleChanges {
    let Sides { left, right, names, backends } = Sides::of(before, after);
    let places: BTreeSet<&Place> = left.keys().chain(right.keys()).collect();
    let mut found = Found::default();
    for place in places {
        found.compare(place, left.get(place), right.get(place), &names);
    }
    let file = [before, after].iter().any(|side| side.workload.kind == Kind::File);
    let kept_by =
        backends.into_iter().filter(|_| !file).map(|((own, family, table), other)| (family, table, other, own));
    RuleChanges { changes: found.changes(), kept_by: kept_by.collect() }
}

/// What is compared of both, place by place.
pub(super) struct Sides {
    pub(super) left: Places,
    pub(super) right: Places,
    names: Names,
    backends: BTreeMap<TableOf, Backend>,
}

impl Sides {
    pub(super) fn of(before: &Snapshot, after: &Snapshot) -> Self {
        let backends = backends(before, after);
        let names = Names::of(before, after, &backends);
        let as_first = |table: &TableOf| backends.get(table).copied();
        let (mut left, mut right) =
            (chains(before, &|_| None, &|place| place.3.clone()), chains(after, &as_first, &names.of_second()));
        let known = |snapshot: &Snapshot, name: &str| {
            snapshot.ipsets.iter().any(|set| set.name == name && set.elements.is_some())
        };
        let both = |name: &str| known(before, name) && known(after, name);
        left.extend(ipsets(before, &both, &|_| None));
        right.extend(ipsets(after, &both, &as_first));
        Self { left, right, names, backends }
    }
}

/// A table of one backend.
pub(super) type TableOf = (Backend, Family, String);

/// Tables of the second that stand for one of the first in another backend: where each has written to one backend that the other has not.
fn backends(before: &Snapshot, after: &Snapshot) -> BTreeMap<TableOf, Backend> {
    let used = |snapshot: &Snapshot| -> BTreeMap<(Family, String), BTreeSet<Backend>> {
        let mut found: BTreeMap<(Family, String), BTreeSet<Backend>> = BTreeMap::new();
        for ruleset in snapshot.rulesets() {
            for table in &ruleset.tables {
                let written = table.chains.iter().any(|chain| chain.syntax == Syntax::Iptables && !is_untouched(chain));
                if written {
                    found.entry((ruleset.family, table.name.clone())).or_default().insert(ruleset.backend);
                }
            }
        }
        found
    };
    let (first, second) = (used(before), used(after));
    let mut found = BTreeMap::new();
    for (table, own) in &second {
        let Some(others) = first.get(table) else { continue };
        let (only, theirs): (Vec<_>, Vec<_>) = (own.difference(others).collect(), others.difference(own).collect());
        if let ([own], [other]) = (only.as_slice(), theirs.as_slice()) {
            found.insert((**own, table.0, table.1.clone()), **other);
        }
    }
    found
}

/// A line that one side has and the other has not at this place.
struct Single {
    /// Where it is compared.
    place: Place,
    /// Where it is, as its own side counts.
    own: Place,
    syntax: Syntax,
    at: usize,
    line: Line,
    /// Lines with one number of a difference stand for each other, where they have not moved.
    hunk: usize,
}

/// What was found so far: what only the first has, what only the second has.
#[derive(Default)]
struct Found {
    removed: Vec<Option<Single>>,
    added: Vec<Option<Single>>,
    hunks: usize,
    done: Vec<(usize, RuleChange)>,
}

impl Found {
    fn compare(&mut self, place: &Place, left: Option<&Lines>, right: Option<&Lines>, names: &Names) {
        if let (Some(left), Some(_)) = (left, names.renamed(place)) {
            let to = right.map(|right| named(&right.own, 0));
            let (before, after) = (Some(left.own.3.clone()), right.map(|right| right.own.3.clone()));
            let (rule, syntax) = (named(&left.own, 0), left.syntax);
            self.hunks += 1;
            self.done.push((self.hunks, RuleChange { change: Change::Renamed, rule, to, syntax, before, after }));
        }
        let (old, new) = (left.map_or(&[][..], |left| &left.lines), right.map_or(&[][..], |right| &right.lines));
        let normal = |lines: &[Line]| -> Vec<String> { lines.iter().map(|line| line.normal.clone()).collect() };
        for operation in capture_diff_slices(Algorithm::Myers, &normal(old), &normal(new)) {
            if let DiffOp::Equal { .. } = operation {
                continue;
            }
            self.hunks += 1;
            let hunk = self.hunks;
            let single = |side: Option<&Lines>, at: usize| {
                let Lines { syntax, own, lines } = side?;
                let line = lines.get(at)?.clone();
                Some(Single { place: place.clone(), own: own.clone(), syntax: *syntax, at, line, hunk })
            };
            self.removed.extend(operation.old_range().map(|at| single(left, at)));
            self.added.extend(operation.new_range().map(|at| single(right, at)));
        }
    }

    /// Pairs what only stands elsewhere, then what stands in each other's place; the rest came or went.
    fn changes(mut self) -> Vec<RuleChange> {
        self.pair(|one, other| one.place == other.place && moves(one, other));
        self.pair(|one, other| same_table(&one.place, &other.place) && moves(one, other));
        let mut rest: Vec<Single> = self.added.into_iter().flatten().collect();
        for old in self.removed.into_iter().flatten() {
            let partner = rest.iter().position(|new| new.hunk == old.hunk);
            let order = old.hunk;
            let (change, after) = match partner.map(|at| rest.remove(at)) {
                Some(new) => (Change::Changed, Some(new.line.shown)),
                None => (Change::Removed, None),
            };
            let rule = named(&old.own, old.at);
            let (syntax, before) = (old.syntax, Some(old.line.shown));
            self.done.push((order, RuleChange { change, rule, to: None, syntax, before, after }));
        }
        for new in rest {
            let rule = named(&new.own, new.at);
            let (syntax, after) = (new.syntax, Some(new.line.shown));
            self.done
                .push((new.hunk, RuleChange { change: Change::Added, rule, to: None, syntax, before: None, after }));
        }
        self.done.sort_by_key(|(hunk, _)| *hunk);
        self.done.into_iter().map(|(_, change)| change).collect()
    }

    fn pair(&mut self, fit: impl Fn(&Single, &Single) -> bool) {
        let mut by_text: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (at, new) in self.added.iter().enumerate() {
            if let Some(new) = new {
                by_text.entry(new.line.normal.clone()).or_default().push(at);
            }
        }
        for place in &mut self.removed {
            let Some(old) = place else { continue };
            let Some(candidates) = by_text.get_mut(&old.line.normal) else { continue };
            let fits = |at: &usize| self.added.get(*at).and_then(Option::as_ref).is_some_and(|new| fit(old, new));
            let Some(new) = candidates.iter().position(fits).map(|at| candidates.remove(at)) else { continue };
            let (Some(old), Some(new)) = (place.take(), self.added.get_mut(new).and_then(Option::take)) else {
                continue;
            };
            self.done.push((
                old.hunk,
                RuleChange {
                    change: Change::Moved,
                    rule: named(&old.own, old.at),
                    to: Some(named(&new.own, new.at)),
                    syntax: old.syntax,
                    before: Some(old.line.shown),
                    after: Some(new.line.shown),
                },
            ));
        }
    }
}

/// A rule, and not a chain's own line or an element of a set.
fn moves(one: &Single, other: &Single) -> bool {
    [one, other].iter().all(|single| single.line.is_rule && single.at != 0)
}

fn same_table(one: &Place, other: &Place) -> bool {
    (one.0, one.1, &one.2) == (other.0, other.1, &other.2)
}

fn named(place: &Place, number: usize) -> RuleRef {
    let (backend, family, table, chain) = place.clone();
    RuleRef { backend, family, table, chain, number }
}
