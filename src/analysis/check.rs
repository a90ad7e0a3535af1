//! `check`: whether redirection is right, as findings with evidence and a remedy.
//!
//! First what is expected ([`mesh::expected`](super::mesh::expected)), then every finding of the catalogue in its order of work, each by
//! asking packets, classes of packets, sockets and processes. What could not be decided is told beside them, and is never a pass.

mod ambient;
mod capture;
mod case;
mod dns;
mod exemption;
mod going;
mod people;
mod probes;
mod setup;
mod tproxy;
mod verdict;

use std::collections::BTreeSet;

pub use ambient::{HBONE, MarkWay};
pub use capture::{Stopped, named};
pub use case::{Case, Target};
pub use dns::{Asks, DOMAIN, Lookup, Query, ZoneOf};
pub use exemption::Exemption;
pub use going::Going;
pub use people::Person;
pub use probes::Probe;
pub use setup::Failed;
pub use tproxy::Tproxy;
pub use verdict::{Allowed, Measure, Verdict};

use super::findings::{ALL, Group, Kind};
use super::mesh::{Expected, Mesh};
use crate::model::{RuleRef, Snapshot};

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Worth knowing; nothing is wrong.
    Info,
    /// Something is not as it should be, and traffic goes on.
    Warning,
    /// Traffic is lost, or not redirected as it should be.
    Error,
}

impl Severity {
    /// The word that stands for it in JSON and options.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// Something that was found.
#[derive(Debug, Clone)]
pub struct Finding {
    /// Which of the catalogue.
    pub kind: &'static Kind,
    /// How bad it is here.
    pub severity: Severity,
    /// What is wrong here, in one sentence without a full stop (names in it are hostile text).
    pub title: String,
    /// What shows it, one fact each (hostile text).
    pub evidence: Vec<String>,
    /// The rule that it is about.
    pub rule: Option<RuleRef>,
    /// What to do, in one sentence.
    pub remedy: String,
}

/// A finding that could be neither found nor excluded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open {
    /// Which of the catalogue.
    pub id: &'static str,
    /// Why (hostile text).
    pub why: String,
}

/// Takes what findings report.
#[derive(Debug, Default)]
pub struct Found {
    /// What was found, in order of work.
    pub findings: Vec<Finding>,
    /// What could not be decided.
    pub undecided: Vec<Open>,
    /// Nothing else about traffic can be judged.
    blocked: bool,
}

impl Found {
    /// Reports a finding.
    pub fn finding(&mut self, finding: Finding) {
        self.findings.push(finding);
    }

    /// Reports that a finding cannot be decided.
    pub fn cannot_tell(&mut self, kind: &'static Kind, why: impl Into<String>) {
        let open = Open { id: kind.id, why: why.into() };
        if !self.undecided.contains(&open) {
            self.undecided.push(open);
        }
    }

    /// Reports that nothing else about the workload's traffic can be judged, and why.
    pub fn block(&mut self, kind: &'static Kind, why: impl Into<String>) {
        self.cannot_tell(kind, why);
        self.blocked = true;
    }

    /// Reports a finding after which nothing about the workload's traffic is left to be judged.
    pub fn settles(&mut self, finding: Finding) {
        self.finding(finding);
        self.blocked = true;
    }

    /// Whether what others would tell again is told by this one: what is only noted here, and is worse elsewhere, tells nothing of them.
    fn silences(&self, id: &str) -> bool {
        let tells = |finding: &Finding| finding.severity > Severity::Info || finding.kind.severity == Severity::Info;
        self.findings.iter().any(|finding| finding.kind.id == id && tells(finding))
    }

    /// Whether this one was found.
    #[must_use]
    pub fn has(&self, id: &str) -> bool {
        self.findings.iter().any(|finding| finding.kind.id == id)
    }
}

/// The answer.
#[derive(Debug)]
pub struct Answer {
    /// What is expected of the workload.
    pub expected: Expected,
    /// What was found, the worst first, then in order of work.
    pub findings: Vec<Finding>,
    /// What could not be decided.
    pub undecided: Vec<Open>,
    /// What was looked for: ids of the catalogue.
    pub looked_for: BTreeSet<&'static str>,
}

/// Which mesh somebody demands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Demand {
    /// Any.
    Any,
    /// This one.
    Mesh(Mesh),
}

/// What a check is asked for beside the workload itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct Asked<'a> {
    /// A second sample of the same workload, about a second later: what only counters show is looked for too.
    pub later: Option<&'a Snapshot>,
    /// The mesh that it must be in.
    pub demand: Option<Demand>,
}

/// Looks for everything.
#[must_use]
pub fn check(snapshot: &Snapshot, asked: Asked<'_>) -> Answer {
    let case = Case::of(snapshot, asked);
    let mut found = Found::default();
    let mut looked_for = BTreeSet::new();
    for kind in ALL {
        let blocked = found.blocked && kind.group() != Group::Environment;
        if blocked || kind.silenced_by.iter().any(|id| found.silences(id)) {
            continue;
        }
        looked_for.insert(kind.id);
        (kind.look)(&case, &mut found);
    }
    let Found { mut findings, undecided, .. } = found;
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    Answer { expected: case.expected, findings, undecided, looked_for }
}
