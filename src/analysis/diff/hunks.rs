//! Rules of both, one text each, and where these differ: for patches.

use std::collections::BTreeSet;

use similar::{Algorithm, DiffOp, capture_diff_slices, group_diff_ops};

use super::places::{Place, Places};
use super::rules::Sides;
use crate::model::{RuleRef, Snapshot, Syntax};

/// Lines around a difference.
const CONTEXT: usize = 3;

/// Which side a line is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// Of both, as the second has it.
    Both,
    /// Of the first.
    Before,
    /// Of the second.
    After,
}

/// A rule as it is written, or with `Err` the place that the rules after it are in.
pub type Line = Result<String, (RuleRef, Syntax)>;

/// Lines that differ, and those around them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hunk {
    /// The first line in the first, from 1, and how many there are.
    pub before: (usize, usize),
    /// The same in the second.
    pub after: (usize, usize),
    /// The lines, and whose each is.
    pub lines: Vec<(Kept, Line)>,
}

/// A line of the text, and what is the same for all ways to write it.
struct Written {
    normal: String,
    line: Line,
}

/// Where the rules of both differ, as texts that are compared [as rules are](super::rules()).
#[must_use]
pub fn hunks(before: &Snapshot, after: &Snapshot) -> Vec<Hunk> {
    let Sides { left, right, .. } = Sides::of(before, after);
    let places: BTreeSet<&Place> = left.keys().chain(right.keys()).collect();
    let [old, new] = [&left, &right].map(|side| written(side, &places));
    let normal = |side: &[Written]| -> Vec<String> { side.iter().map(|line| line.normal.clone()).collect() };
    let operations = capture_diff_slices(Algorithm::Myers, &normal(&old), &normal(&new));
    group_diff_ops(operations, CONTEXT).iter().filter_map(|group| hunk(group, &old, &new)).collect()
}

fn written(side: &Places, places: &BTreeSet<&Place>) -> Vec<Written> {
    let mut found = Vec::new();
    for place in places {
        let Some(lines) = side.get(*place) else { continue };
        let (backend, family, table, chain) = lines.own.clone();
        let name = RuleRef { backend, family, table, chain, number: 0 };
        found.push(Written { normal: format!("{place:?}"), line: Err((name, lines.syntax)) });
        let rules = lines.lines.iter();
        found.extend(rules.map(|line| Written { normal: line.normal.clone(), line: Ok(line.shown.clone()) }));
    }
    found
}

fn hunk(group: &[DiffOp], old: &[Written], new: &[Written]) -> Option<Hunk> {
    let (first, last) = (group.first()?, group.last()?);
    let span = |from: usize, to: usize| (if from == to { from } else { from + 1 }, to - from);
    let mut lines = Vec::new();
    let mut push = |kept: Kept, side: &[Written], range: std::ops::Range<usize>| {
        lines.extend(side.get(range).into_iter().flatten().map(|written| (kept, written.line.clone())));
    };
    for operation in group {
        match operation {
            DiffOp::Equal { .. } => push(Kept::Both, new, operation.new_range()),
            _ => {
                push(Kept::Before, old, operation.old_range());
                push(Kept::After, new, operation.new_range());
            }
        }
    }
    Some(Hunk {
        before: span(first.old_range().start, last.old_range().end),
        after: span(first.new_range().start, last.new_range().end),
        lines,
    })
}
