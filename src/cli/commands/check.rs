//! `nslens check`: is redirection right?

use std::time::Duration;

use clap::{Args, ValueEnum};

use super::conns::source;
use super::rules::has_rules;
use super::unread_exit;
use crate::analysis::check::{Allowed, Answer, Asked, Demand, Measure, Severity, check};
use crate::analysis::findings::{ALL, Kind};
use crate::analysis::mesh::Mesh;
use crate::capture::{rules::Wanted, sets::Elements};
use crate::cli::arguments::{Looks, Where, duration};
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::screen::Screen;
use crate::model::{Snapshot, Subject};
use crate::report::{check as report, document, who, yaml};

/// Between the two samples that make counters evidence.
const INTERVAL: &str = "1s";

/// Check whether redirection is right: findings with evidence
///
/// First it says which mesh is expected, and why. Every finding is decided by asking the rules, sockets and processes that were read;
/// nothing is sent. Exit code 0: nothing found; 1: findings at or above --fail-on; 5: something could not be decided.
#[derive(Debug, Args)]
#[command(
    before_long_help = "Examples:\n  sudo nslens check pod/productpage\n  sudo nslens check pod/productpage --mesh istio --fail-on warning\n  nslens check --explain RDR101\n"
)]
pub struct Check {
    /// pod/NAME, container/NAME, an ID, pid/N, ip/ADDRESS, netns/NAME, host, a file, -
    pub target: Option<String>,
    /// Demand redirection: istio, linkerd, kuma, consul, appmesh, osm, any
    #[arg(long, value_name = "MESH", value_parser = demanded)]
    mesh: Option<Demand>,
    /// The least severity that fails: error, warning, info
    #[arg(long, value_name = "SEVERITY", default_value = "error", hide_default_value = true, value_parser = severity)]
    fail_on: Severity,
    /// Accept a finding: RDR209=REASON
    #[arg(long, value_name = "ID=REASON", value_parser = allowed)]
    allow: Vec<Allowed>,
    /// What cannot be decided does not fail
    #[arg(long)]
    ignore_undecided: bool,
    /// One sample only: findings that need moving counters are left out
    #[arg(long, conflicts_with = "interval")]
    once: bool,
    /// Time between the two samples
    #[arg(long, value_name = "TIME", default_value = INTERVAL, hide_short_help = true, value_parser = duration)]
    interval: Duration,
    /// The page about a finding, instead of a check
    #[arg(long, value_name = "ID", conflicts_with = "target", value_parser = finding)]
    explain: Option<&'static Kind>,
    /// table, json, yaml
    #[arg(
        short,
        long,
        value_name = "FORM",
        default_value = "table",
        hide_default_value = true,
        hide_possible_values = true
    )]
    output: Output,
    #[command(flatten)]
    place: Where,
    #[command(flatten)]
    /// Colours and notes.
    pub looks: Looks,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Table,
    Json,
    Yaml,
}

/// Runs the command.
pub(in crate::cli) fn run(arguments: &Check, screen: &Screen) -> Result<Exit, Failure> {
    if let Some(kind) = arguments.explain {
        screen.print(&report::page(kind, screen.paint, screen.width))?;
        return Ok(Exit::Done);
    }
    let mut source = source(&arguments.place, screen);
    source.parts.every_socket = true;
    source.parts.figures = true;
    source.parts.tracking = true;
    source.parts.routes = true;
    (source.parts.evidence, source.parts.settings, source.parts.node_state) = (true, true, true);
    source.parts.rules = Some(Wanted { elements: Elements::All, ..Wanted::default() });
    let snapshot = source.snapshot(arguments.target.as_deref())?;
    has_rules(&snapshot)?;
    let answer = check(&snapshot, Asked { later: None, demand: arguments.mesh });
    let measure = arguments.measure();
    told(arguments, &snapshot, &answer, &measure, screen)?;
    let failed = answer.findings.iter().any(|finding| measure.fails(finding));
    let exits = [
        if failed { Exit::Differs } else { Exit::Done },
        if measure.is_open(&answer) { Exit::CannotTell } else { Exit::Done },
        unread_exit(&snapshot, &[Subject::Rules]),
    ];
    Ok(Exit::of(exits))
}

fn told(
    arguments: &Check,
    snapshot: &Snapshot,
    answer: &Answer,
    measure: &Measure,
    screen: &Screen,
) -> Result<(), Failure> {
    match arguments.output {
        Output::Json => screen.print(&document::print(report::document(snapshot, answer, measure))),
        Output::Yaml => screen.print(&yaml::print(&report::document(snapshot, answer, measure))),
        Output::Table => {
            let mut out = who::heading(snapshot, screen.paint, screen.width);
            out.push_str(&who::unread(snapshot, &super::conns::SUBJECTS, screen.paint, screen.width));
            out.push_str(&report::text(answer, measure, arguments.looks.quiet, screen.paint, screen.width));
            screen.print(&out)
        }
    }
}

impl Check {
    fn measure(&self) -> Measure {
        Measure { fail_on: self.fail_on, allow: self.allow.clone(), ignore_undecided: self.ignore_undecided }
    }
}

fn severity(word: &str) -> Result<Severity, String> {
    let all = [Severity::Error, Severity::Warning, Severity::Info];
    all.into_iter().find(|severity| severity.word() == word).ok_or_else(|| "there are: error, warning, info".to_owned())
}

fn demanded(word: &str) -> Result<Demand, String> {
    let found = Mesh::ALL.into_iter().find(|mesh| mesh.word() == word);
    match (word, found) {
        ("any", _) => Ok(Demand::Any),
        (_, Some(mesh)) => Ok(Demand::Mesh(mesh)),
        _ => {
            let words: Vec<&str> = Mesh::ALL.into_iter().map(Mesh::word).collect();
            Err(format!("there are: {}, any", words.join(", ")))
        }
    }
}

/// `RDR209=REASON`.
fn allowed(text: &str) -> Result<Allowed, String> {
    let (id, reason) = text.split_once('=').unwrap_or((text, ""));
    let kind = finding(id)?;
    if reason.trim().is_empty() {
        return Err(format!("a reason is missing: {}=REASON", kind.id));
    }
    Ok(Allowed { id: kind.id.to_owned(), reason: reason.trim().to_owned() })
}

fn finding(id: &str) -> Result<&'static Kind, String> {
    Kind::of(id).ok_or_else(|| {
        let (first, last) = (ALL.iter().map(|kind| kind.id).min(), ALL.iter().map(|kind| kind.id).max());
        format!(
            "there is no such finding: they are called {} to {}",
            first.unwrap_or_default(),
            last.unwrap_or_default()
        )
    })
}
