//! What a packet met, as it is told: rules that matched, that may have, and, where they are wanted, those that did not.

use std::collections::{HashMap, HashSet};

use super::Teller;
use crate::analysis::describe::action_text;
use crate::analysis::eval::{At, Met, Place};
use crate::analysis::trace::{Outcome, Trace};
use crate::model::{Hook, Policy, RuleRef, Syntax};

/// A rule that a packet met, or a policy that ended it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step<'m> {
    pub(super) met: Met<'m>,
    /// It matched, it did not, or that cannot be known.
    pub(super) matched: Option<bool>,
}

/// What was met on one way, in order; with `all`, rules that did not match too.
pub(super) fn met<'m>(teller: &Teller<'_>, outcome: &'m Outcome<'_>, all: bool) -> Vec<Met<'m>> {
    if all { teller.rules.whole(&outcome.met) } else { outcome.met.iter().collect() }
}

/// The same as it is told: policies that let the packet pass are left out.
pub(super) fn steps<'m>(teller: &Teller<'_>, outcome: &'m Outcome<'_>, all: bool) -> Vec<Step<'m>> {
    if all { shown(teller, &met(teller, outcome, all)) } else { told(teller, outcome.met.iter()).collect() }
}

/// The same of a part of the way.
pub(super) fn shown<'m>(teller: &Teller<'_>, met: &[Met<'m>]) -> Vec<Step<'m>> {
    told(teller, met.iter().copied()).collect()
}

fn told<'m>(teller: &Teller<'_>, met: impl Iterator<Item = Met<'m>>) -> impl Iterator<Item = Step<'m>> {
    let told = |met: &Met<'_>| match teller.rules.at(met.place) {
        Some(At { rule: None, chain, .. }) => chain.policy == Some(Policy::Drop),
        found => found.is_some(),
    };
    met.filter(told).map(|met| Step { met, matched: if met.supposed { None } else { Some(met.matched) } })
}

/// What was met on any way: what is not alike on all of them cannot be known.
pub(super) fn merged<'m>(teller: &Teller<'_>, trace: &'m Trace<'_>, all: bool) -> Vec<Step<'m>> {
    type Key = (Hook, Place, usize);
    let mut merged: Vec<(Key, Step<'m>)> = Vec::new();
    for (number, outcome) in trace.outcomes.iter().enumerate() {
        let mut times: HashMap<(Hook, Place), usize> = HashMap::new();
        let mut own: Vec<(Key, Step<'m>)> = Vec::new();
        for step in steps(teller, outcome, all) {
            let nth = times.entry((step.met.hook, step.met.place)).or_default();
            *nth += 1;
            own.push(((step.met.hook, step.met.place, *nth), step));
        }
        if number == 0 {
            merged = own;
            continue;
        }
        let here: HashMap<Key, Option<bool>> = own.iter().map(|(key, step)| (*key, step.matched)).collect();
        for (key, step) in &mut merged {
            // What does not match where it is met does not match, met or not.
            let missed = step.matched == Some(false) && !here.contains_key(key);
            if here.get(key).copied().flatten() != step.matched && !missed {
                step.matched = None;
            }
        }
        let mut seen: HashSet<Key> = merged.iter().map(|(key, _)| *key).collect();
        // What only this way meets stands behind what it met before.
        let mut at = 0;
        for (key, step) in own {
            if seen.insert(key) {
                let matched = step.matched.filter(|matched| !matched);
                merged.insert(at, (key, Step { matched, ..step }));
                at += 1;
            } else if let Some(found) = merged.iter().skip(at).position(|(known, _)| *known == key) {
                at += found + 1;
            }
        }
    }
    merged.into_iter().map(|(_, step)| step).collect()
}

/// The name of a rule; a policy has the number 0 in its chain.
pub(super) fn name(at: &At<'_>) -> RuleRef {
    at.name().unwrap_or_else(|| RuleRef {
        backend: at.ruleset.backend,
        family: at.ruleset.family,
        table: at.table.name.clone(),
        chain: at.chain.name.clone(),
        number: 0,
    })
}

/// What is done, in the rule's own syntax: `-j REDIRECT --to-ports 15001`, `redirect to :15001`, `-P INPUT DROP`, `policy drop`.
pub(super) fn action(at: &At<'_>) -> String {
    match (at.rule, at.chain.syntax) {
        (Some((_, rule)), _) => action_text(at.ruleset.family, at.table, rule),
        (None, Syntax::Iptables) => format!("-P {} DROP", at.chain.name),
        (None, Syntax::Nft) => "policy drop".to_owned(),
    }
}
