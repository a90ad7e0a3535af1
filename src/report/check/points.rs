//! What was looked for, point by point: what the forms for test reports count.

use super::{Judged, name};
use crate::analysis::check::{Answer, Finding, Measure};
use crate::analysis::expectation::{self, Kept};
use crate::analysis::findings::ALL;
use crate::model::{Snapshot, Subject};

/// The id of what a file expects.
pub(super) const EXPECTED: &str = "expect";

/// One thing that was looked for, or could not be read.
pub(super) struct Point<'a> {
    /// Its id: of the catalogue, or a word for what is none of it.
    pub(super) id: &'a str,
    /// What it is about, in a few words.
    pub(super) group: &'static str,
    /// What it is, in a few words.
    pub(super) title: &'a str,
    /// What came of it.
    pub(super) state: State<'a>,
}

/// What came of a point.
pub(super) enum State<'a> {
    /// Nothing was found.
    Passed,
    /// Nothing was found, where nothing was expected.
    Idle,
    /// Found, and it fails.
    Failed(&'a Finding),
    /// Found, and it is told without failing.
    Noted(&'a Finding),
    /// Found, and accepted for this reason.
    Accepted(&'a Finding, &'a str),
    /// A file expects otherwise.
    Unmet(&'a str),
    /// It cannot be told, and whether that counts.
    Open(String, bool),
}

/// All points of a workload, in order of work; what could not be read first.
pub(super) fn points<'a>(judged: &'a Judged, measure: &'a Measure) -> Vec<Point<'a>> {
    let answer = &judged.answer;
    let mut points: Vec<Point<'_>> = unread(&judged.who).collect();
    for kind in ALL.iter().filter(|kind| answer.looked_for.contains(kind.id)) {
        let point = |state| Point { id: kind.id, group: kind.group().words(), title: kind.title, state };
        let before = points.len();
        let findings = answer.findings.iter().filter(|finding| finding.kind.id == kind.id);
        points.extend(findings.map(|finding| point(found(finding, measure))));
        let open = answer.undecided.iter().filter(|open| open.id == kind.id);
        points.extend(open.map(|open| point(State::Open(open.why.clone(), measure.counts(open)))));
        if points.len() == before {
            points.push(point(nothing(answer)));
        }
    }
    points.extend(judged.kept.iter().map(|kept| kept_or_not(kept, measure)));
    points
}

fn kept_or_not<'a>(kept: &'a Kept, measure: &Measure) -> Point<'a> {
    let state = match &kept.state {
        expectation::State::Met => State::Passed,
        expectation::State::Unmet(why) => State::Unmet(why),
        expectation::State::Open(why) => State::Open(why.clone(), !measure.ignore_undecided),
    };
    Point { id: EXPECTED, group: "expectations", title: &kept.what, state }
}

fn found<'a>(finding: &'a Finding, measure: &'a Measure) -> State<'a> {
    match measure.accepts(finding) {
        Some(reason) => State::Accepted(finding, reason),
        None if measure.fails(finding) => State::Failed(finding),
        None => State::Noted(finding),
    }
}

fn nothing(answer: &Answer) -> State<'static> {
    if answer.expected.mesh.is_none() { State::Idle } else { State::Passed }
}

/// What could not be read of that which a check is about: it never passes.
fn unread(who: &Snapshot) -> impl Iterator<Item = Point<'_>> {
    who.unread_about(&[Subject::Rules]).map(|unread| Point {
        id: "unread",
        group: "what was read",
        title: "all rules can be read",
        state: State::Open(format!("could not read {}: {}; {}", unread.source, unread.error, unread.means), true),
    })
}

/// What is told of a finding: its title, its evidence and its remedy, a line each. Not escaped.
pub(super) fn told(finding: &Finding) -> Vec<String> {
    let mut lines = vec![finding.title.clone()];
    lines.extend(finding.evidence.iter().cloned());
    lines.push(format!("→ {}", finding.remedy));
    lines
}

/// Names of all outcomes, in order, none of them twice: a second of the same name is known by what was asked for.
pub(super) fn names<'a>(whose: impl Iterator<Item = &'a Snapshot>) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for who in whose {
        let short = name(who);
        let long = format!("{short} ({})", crate::report::escape::escape(&who.asked));
        let free = if names.contains(&short) { long } else { short };
        names.push(free);
    }
    names
}
