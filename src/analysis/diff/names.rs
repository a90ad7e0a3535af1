//! Chains of the second that stand under another name for one of the first: what they hold tells it.

use std::collections::{BTreeMap, BTreeSet};

use super::normal;
use super::places::Place;
use super::rules::TableOf;
use crate::model::{Backend, Chain, Family, Ruleset, Snapshot, Table};

/// Chains that have the same name in both, or other ones.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// The place in the first, and the name in the second.
    renamed: BTreeMap<Place, String>,
}

/// So alike chains have to be at least that only some of their rules are the same: twice the rules of both by all rules, in percent.
const ALIKE: usize = 60;

/// A table of one side, and its family.
type Side<'a> = (Family, &'a Table);

impl Names {
    pub(super) fn of<'s>(before: &'s Snapshot, after: &'s Snapshot, backends: &BTreeMap<TableOf, Backend>) -> Self {
        let tables = |snapshot: &'s Snapshot| {
            let of = |ruleset: &'s Ruleset| ruleset.tables.iter().map(move |table| (ruleset, table));
            snapshot.rulesets().iter().flat_map(of)
        };
        let mut names = Self::default();
        for (ruleset, table) in tables(before) {
            let key = (ruleset.backend, ruleset.family, table.name.clone());
            let there = tables(after).find(|(other, there)| {
                let own = (other.backend, other.family, there.name.clone());
                (backends.get(&own).copied().unwrap_or(own.0), own.1, own.2) == key
            });
            if let Some((other, there)) = there {
                names.pair(&key, (ruleset.family, table), (other.family, there));
            }
        }
        names
    }

    fn pair(&mut self, key: &TableOf, one: Side<'_>, other: Side<'_>) {
        let alone = |of: &Table, not: &Table| -> Vec<String> {
            let user = of.chains.iter().filter(|chain| chain.hook.is_none() && !chain.rules.is_empty());
            user.map(|chain| chain.name.clone()).filter(|name| not.chain(name).is_none()).collect()
        };
        let (mut left, mut right) = (alone(one.1, other.1), alone(other.1, one.1));
        if left.is_empty() || right.is_empty() {
            return;
        }
        // First those that hold just the same, by what they lead to as well.
        let both: BTreeSet<&str> = one.1.chains.iter().map(|chain| chain.name.as_str()).collect();
        let known = |name: &str| both.contains(name) && other.1.chain(name).is_some();
        left.retain(|name| {
            let own = body(one, name, &known, 0);
            let same = right.iter().position(|there| body(other, there, &known, 0) == own);
            let Some(at) = same else { return true };
            self.renamed.insert((key.0, key.1, key.2.clone(), name.clone()), right.remove(at));
            false
        });
        // Then those that hold nearly the same.
        for name in left {
            let own = body(one, &name, &known, usize::MAX);
            let likeness = |there: &String| alike(&own, &body(other, there, &known, usize::MAX));
            let best = (0..right.len()).max_by_key(|at| right.get(*at).map(likeness));
            if let Some(at) = best.filter(|at| right.get(*at).map(likeness).is_some_and(|likeness| likeness >= ALIKE)) {
                self.renamed.insert((key.0, key.1, key.2.clone(), name), right.remove(at));
            }
        }
    }

    /// The name that the second has for a chain of the first, where it has another.
    pub(super) fn renamed(&self, place: &Place) -> Option<&str> {
        self.renamed.get(place).map(String::as_str)
    }

    /// A chain's name in the first, by its name in the second.
    pub(super) fn of_second(&self) -> impl Fn(&Place) -> String {
        let back: BTreeMap<Place, String> = self
            .renamed
            .iter()
            .map(|(place, name)| ((place.0, place.1, place.2.clone(), name.clone()), place.3.clone()))
            .collect();
        move |place| back.get(place).cloned().unwrap_or_else(|| place.3.clone())
    }
}

/// What a chain holds. Chains to which it leads stand there by what they hold, unless both tables know the name.
fn body((family, table): Side<'_>, name: &str, known: &dyn Fn(&str) -> bool, depth: usize) -> Vec<String> {
    /// Deeper ones are told apart by nothing.
    const DEPTH: usize = 8;
    let Some(chain): Option<&Chain> = table.chain(name) else { return Vec::new() };
    let target = |to: &str| match known(to) {
        true => to.to_owned(),
        false if depth >= DEPTH => "?".to_owned(),
        false => format!("{{{}}}", body((family, table), to, known, depth + 1).join("; ")),
    };
    chain.rules.iter().map(|rule| normal::text((family, table, chain), rule, &target)).collect()
}

/// How much of two bodies is the same, in percent.
fn alike(one: &[String], other: &[String]) -> usize {
    let mut left: Vec<&String> = other.iter().collect();
    let same = one.iter().filter(|line| match left.iter().position(|other| other == line) {
        Some(at) => {
            left.swap_remove(at);
            true
        }
        None => false,
    });
    200 * same.count() / (one.len() + other.len()).max(1)
}
