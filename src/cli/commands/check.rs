//! `nslens check`: is redirection right?

mod looked;
mod many;
mod told;
mod waited;
mod written;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use self::looked::{Judge, Looked};
use super::conns;
use crate::analysis::check::{Allowed, Demand, Severity};
use crate::analysis::findings::{ALL, Kind};
use crate::analysis::mesh::Mesh;
use crate::capture::{rules::Wanted, sets::Elements};
use crate::cli::arguments::{Looks, Where, duration};
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::screen::Screen;
use crate::cli::source::Source;
use crate::report::check as report;
use crate::target::Selector;

/// Between the two samples that make counters evidence.
const INTERVAL: &str = "1s";

/// Check whether redirection is right: findings with evidence
///
/// First it says which mesh is expected, and why. Every finding is decided by asking the rules, sockets and processes that were read;
/// nothing is sent. Exit code 0: nothing found; 1: findings at or above --fail-on; 5: something could not be decided.
#[derive(Debug, Args)]
#[command(
    before_long_help = "Examples:\n  sudo nslens check pod/productpage\n  sudo nslens check -A -l app=productpage\n  nslens check --explain RDR402\n"
)]
pub struct Check {
    /// pod/NAME, container/NAME, an ID, pid/N, ip/ADDRESS, netns/NAME, host, -, a file or several, a folder
    #[arg(value_name = "TARGET")]
    pub target: Vec<String>,
    /// Every workload of the node
    #[arg(short = 'A', long, conflicts_with_all = ["target", "container"])]
    all_workloads: bool,
    /// With -A: those with labels such as app=web
    ///
    /// In Kubernetes' syntax: app=web,tier!=db,env in (a,b),!canary.
    #[arg(short = 'l', long, value_name = "SELECTOR", requires = "all_workloads", conflicts_with = "target", value_parser = Selector::parse)]
    selector: Option<Selector>,
    /// Demand it: istio, linkerd, kuma, consul, any ...
    ///
    /// There are istio, linkerd, kuma, consul, appmesh, osm, custom, and any. Without it a workload that no mesh touched is "not meshed",
    /// which is no failure.
    #[arg(long, value_name = "MESH", value_parser = demanded)]
    mesh: Option<Demand>,
    /// Least severity that fails: error, warning, info
    #[arg(long, value_name = "SEVERITY", default_value = "error", hide_default_value = true, value_parser = severity)]
    fail_on: Severity,
    /// Accept a finding: RDR209=REASON
    #[arg(long, value_name = "ID=REASON", value_parser = allowed)]
    allow: Vec<Allowed>,
    /// A file that says what is expected
    ///
    /// YAML: mesh, families, packets with what becomes of each, findings that are accepted. --write-expect writes one.
    #[arg(long, value_name = "FILE")]
    expect: Option<PathBuf>,
    /// Write such a file from a workload that passes
    #[arg(
        long,
        value_name = "FILE",
        hide_short_help = true,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "-",
        conflicts_with_all = ["all_workloads", "expect", "explain", "output"]
    )]
    write_expect: Option<PathBuf>,
    /// What cannot be decided does not fail
    #[arg(long, hide_short_help = true)]
    ignore_undecided: bool,
    /// One sample only: findings that need moving counters are left out
    #[arg(long, hide_short_help = true, conflicts_with = "interval")]
    once: bool,
    /// Time between the two samples
    #[arg(long, value_name = "TIME", default_value = INTERVAL, hide_short_help = true, value_parser = duration)]
    interval: Duration,
    /// Look until it passes, for so long at most
    #[arg(long, value_name = "TIME", conflicts_with_all = ["write_expect", "explain"], value_parser = duration)]
    wait: Option<Duration>,
    /// The page about a finding, instead of a check
    #[arg(long, value_name = "ID", conflicts_with_all = ["target", "all_workloads"], value_parser = finding)]
    explain: Option<&'static Kind>,
    /// table, json, yaml, junit, sarif, github, tap
    ///
    /// jsonl too: a document a line.
    #[arg(
        short,
        long,
        value_name = "FORM",
        default_value = "table",
        hide_default_value = true,
        hide_possible_values = true
    )]
    output: Output,
    /// No line with the columns' names
    #[arg(long, hide_short_help = true)]
    no_headers: bool,
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
    Jsonl,
    Yaml,
    Junit,
    Sarif,
    Github,
    Tap,
}

/// Runs the command.
pub(in crate::cli) fn run(arguments: &Check, screen: &Screen) -> Result<Exit, Failure> {
    if let Some(kind) = arguments.explain {
        screen.print(&report::page(kind, screen.paint, screen.width))?;
        return Ok(Exit::Done);
    }
    if arguments.wait.is_some() && arguments.target.iter().any(|target| target == "-") {
        return Err(Failure::new(Exit::Usage, "standard input does not change: --wait goes with workloads and files"));
    }
    let judge = Judge::of(arguments)?;
    if let Some(path) = &arguments.write_expect {
        return written::run(arguments, &judge, path, screen);
    }
    let look = |screen: &Screen| Looked::at(arguments, &judge, screen);
    let looked = match arguments.wait {
        Some(most) => waited::until_it_passes(most, look, &judge.measure, screen)?,
        None => look(screen)?,
    };
    told::told(arguments, &looked, &judge.measure, screen)?;
    Ok(looked.exit(&judge.measure))
}

/// All that a workload is judged by.
fn source<'a>(arguments: &'a Check, screen: &'a Screen) -> Source<'a> {
    let mut source = conns::source(&arguments.place, screen);
    source.parts.every_socket = true;
    source.parts.figures = true;
    source.parts.tracking = true;
    source.parts.routes = true;
    (source.parts.evidence, source.parts.settings, source.parts.node_state) = (true, true, true);
    source.parts.rules = Some(Wanted { elements: Elements::All, ..Wanted::default() });
    source
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
