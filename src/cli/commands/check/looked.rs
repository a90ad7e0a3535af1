//! What is looked at, and what came of it: one workload, every workload of the node, or files.

use std::path::Path;
use std::thread;

use serde_json::Value;

use super::super::list::of_many;
use super::super::rules::has_rules;
use super::super::unread_exit;
use super::{Check, many, source};
use crate::analysis::check::{Asked, Case, Demand, Measure, Verdict, check};
use crate::analysis::expectation::Expectation;
use crate::analysis::mesh::claimed;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::folder::{self, Saved};
use crate::cli::screen::Screen;
use crate::cli::source::file;
use crate::model::{Snapshot, Subject};
use crate::report::check::{Judged, Outcome};
use crate::target::Query;

/// By what is judged.
pub(super) struct Judge {
    /// What counts.
    pub(super) measure: Measure,
    demand: Option<Demand>,
    expectation: Option<Expectation>,
}

/// What came of a check.
pub(super) struct Looked {
    /// One for each workload; one alone where only one was asked for.
    pub(super) outcomes: Vec<Outcome>,
    /// For each of these, the exit code for what could not be read.
    pub(super) exits: Vec<Exit>,
    /// More than one was asked for, even if there is only one.
    pub(super) many: bool,
    /// The node of all of them, where they have the same.
    pub(super) node: Option<String>,
    /// What is not among them: elements of `unread`.
    pub(super) unlisted: Vec<Value>,
    /// For that.
    pub(super) unlisted_exits: Vec<Exit>,
}

impl Looked {
    /// Looks at what was asked for.
    pub(super) fn at(arguments: &Check, judge: &Judge, screen: &Screen) -> Result<Self, Failure> {
        if arguments.all_workloads {
            return many::live(arguments, judge, screen);
        }
        if let Some(files) = files(&arguments.target)? {
            return Ok(many::saved(arguments, judge, &files, screen));
        }
        Self::alone(arguments, judge, screen).map(|(looked, _)| looked)
    }

    /// Looks at one workload; with all that was read of it.
    pub(super) fn alone(arguments: &Check, judge: &Judge, screen: &Screen) -> Result<(Self, Snapshot), Failure> {
        let source = source(arguments, screen);
        let (snapshot, held) = source.held(arguments.target.first().map(String::as_str))?;
        let later = match held.filter(|_| !arguments.once) {
            Some(held) => {
                thread::sleep(arguments.interval);
                Some(source.again(&snapshot, &held)?)
            }
            None => None,
        };
        let (judged, exit) = judge.judged(&snapshot, later.as_ref())?;
        let node = Some(judged.who.node.clone());
        let (outcomes, exits) = (vec![Ok(judged)], vec![exit]);
        let looked = Self { outcomes, exits, many: false, node, unlisted: Vec::new(), unlisted_exits: Vec::new() };
        Ok((looked, snapshot))
    }

    /// The exit code for all of it.
    pub(super) fn exit(&self, measure: &Measure) -> Exit {
        let verdicts = self.outcomes.iter().flatten().map(|judged| {
            let failed = judged.verdict(measure) == Verdict::Fail;
            let exits = [
                if failed { Exit::Differs } else { Exit::Done },
                if judged.is_open(measure) { Exit::CannotTell } else { Exit::Done },
            ];
            Exit::of(exits)
        });
        let unread = self.exits.iter().copied();
        let unread = if self.many { of_many(unread) } else { unread.collect() };
        Exit::of(verdicts.chain(unread).chain(self.unlisted_exits.iter().copied()))
    }
}

impl Judge {
    /// By the options and the file that they name.
    pub(super) fn of(arguments: &Check) -> Result<Self, Failure> {
        let expectation = arguments.expect.as_deref().map(expectation).transpose()?;
        let demand = arguments.mesh.or(expectation.as_ref().and_then(Expectation::demand));
        let mut allow = arguments.allow.clone();
        allow.extend(expectation.iter().flat_map(|expectation| expectation.allow.clone()));
        let measure = Measure { fail_on: arguments.fail_on, allow, ignore_undecided: arguments.ignore_undecided };
        Ok(Self { measure, demand, expectation })
    }

    /// What comes of a workload, and the exit code for what of it could not be read.
    pub(super) fn judged(&self, snapshot: &Snapshot, later: Option<&Snapshot>) -> Result<(Judged, Exit), Failure> {
        has_rules(snapshot)?;
        let asked = Asked { later, demand: self.demand };
        let answer = check(snapshot, asked);
        let kept = self.expectation.as_ref().map(|expectation| expectation.kept(&Case::of(snapshot, asked)));
        let Snapshot { node, taken, asked, workload, unread, .. } = snapshot;
        let mut who = Snapshot::of(node, *taken, asked, workload.clone());
        who.unread.clone_from(unread);
        let claimed = claimed(workload);
        let judged = Judged { who, claimed, answer, kept: kept.unwrap_or_default() };
        Ok((judged, unread_exit(snapshot, &[Subject::Rules])))
    }
}

/// What a file expects.
fn expectation(path: &Path) -> Result<Expectation, Failure> {
    let about = |failure: Failure| failure.about(path.display());
    let bytes = file(path)?;
    let text = String::from_utf8(bytes).map_err(|_| about(Failure::new(Exit::Usage, "it is no text of UTF-8")))?;
    Expectation::read(&text).map_err(|wrong| {
        about(Failure::new(Exit::Usage, wrong))
            .hint("docs/check.md has an example; --write-expect writes one from a good pod")
    })
}

/// The files that are meant where folders, archives or several files are named; `None` where it is one workload.
fn files(targets: &[String]) -> Result<Option<Vec<Saved>>, Failure> {
    let mut found = Vec::new();
    for target in targets {
        match Query::parse(target) {
            Ok(Query::Files(paths)) => found.extend(paths),
            _ if targets.len() == 1 => return Ok(None),
            _ => {
                let message = format!("{target}: of several targets each is a file or a folder");
                return Err(Failure::new(Exit::Usage, message).hint("several workloads of the node: -A, with -n or -l"));
            }
        }
    }
    let (several, mut files) = (found.len() > 1, Vec::new());
    for path in found {
        match folder::saved(&path)? {
            Some(inside) => files.extend(inside),
            None if several => files.push(Saved::File(path)),
            None => return Ok(None),
        }
    }
    Ok((!files.is_empty()).then_some(files))
}
