//! `nslens list`: every workload of the node.

use std::io;
use std::path::Path;

use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};

use crate::analysis::overview::Overview;
use crate::capture::sweep::{SweepError, Swept, sweep};
use crate::capture::{CaptureError, Occasion, Parts, rules::Wanted, sets::Elements};
use crate::cli::arguments::{Asking, Looks};
use crate::cli::exit::Exit;
use crate::cli::failure::{Failure, rights};
use crate::cli::screen::Screen;
use crate::cli::source;
use crate::model::{Cause, Subject, Unread};
use crate::report::document;
use crate::report::list::{self, Line, Look};
use crate::report::runtimes::{self, Answer};
use crate::target::{Filter, Listing, NodeNamespace, Outcome, Selector, TargetError, Tried};

/// List every workload of the node, and what is in its network namespace.
///
/// For each: the subsystems that hold rules, how many rules, how many live connections. One that cannot be looked at costs its own
/// line and exit code 5, never the rest. With --all also those that do not run, and namespaces that belong to no container: of
/// `ip netns`, mounted somewhere, or held by a process, a thread or an open descriptor only.
#[derive(Debug, Args)]
#[command(
    before_long_help = "Examples:\n  sudo nslens list -n default -l app=productpage\n  sudo nslens list --runtimes\n"
)]
pub struct List {
    /// Only pods of this Kubernetes namespace
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// What does not run, and namespaces of no container, too
    #[arg(long)]
    pub all: bool,
    /// Only workloads with these labels, such as app=web,tier!=db
    #[arg(short = 'l', long, value_name = "SELECTOR", value_parser = Selector::parse)]
    selector: Option<Selector>,
    /// Which runtimes were tried, what each answered, how long it took
    #[arg(long, conflicts_with_all = ["all", "selector", "namespace"])]
    runtimes: bool,
    /// table, wide (one line each), json, jsonl
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
    asking: Asking,
    #[command(flatten)]
    /// Colours and notes.
    pub looks: Looks,
}

/// Where the node's root is usually mounted in a debug pod (`kubectl debug node/NAME`).
const MOUNTED_NODE: &str = "/host";

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Table,
    Wide,
    Json,
    Jsonl,
}

/// Runs the command.
pub(in crate::cli) fn run(arguments: &List, screen: &Screen) -> Result<Exit, Failure> {
    let world = source::world(&arguments.asking, true)?;
    let look = Look { headings: !arguments.no_headers, width: screen.width, paint: screen.paint };
    if arguments.runtimes {
        let tried = Listing::runtimes(&world)?;
        let words: Vec<String> = tried.iter().map(|tried| tried.outcome.to_string()).collect();
        let answers: Vec<Answer<'_>> = tried.iter().zip(&words).map(|(tried, words)| answer(tried, words)).collect();
        let text = match arguments.output {
            Output::Table | Output::Wide => runtimes::table(&answers, look),
            Output::Json => document::print(runtimes::json(&world.node, &answers)),
            Output::Jsonl => lines(answers.iter().map(runtimes::element)),
        };
        screen.print(&text)?;
        return Ok(Exit::Done);
    }
    let filter =
        Filter { namespace: arguments.namespace.clone(), selector: arguments.selector.clone(), all: arguments.all };
    let listing = Listing::take(&filter, &world)?;
    listing.tried.iter().for_each(|tried| screen.detail(&tried.to_string()));
    let node = world.node.as_str();
    let occasion = Occasion { node, now: source::now(), asked: "list", proc_root: &world.proc_root };
    let parts = Parts {
        rules: Some(Wanted { expressions: false, elements: Elements::None, ..Wanted::default() }),
        live_sockets: true,
        ..Parts::default()
    };
    let swept = sweep(&listing, parts, occasion, Overview::of);
    let lines_of: Vec<Line<'_>> = swept.iter().enumerate().map(|(index, swept)| line(&listing, index, swept)).collect();
    let text = match arguments.output {
        Output::Table => list::table(&lines_of, look),
        Output::Wide => list::wide(&lines_of, look),
        Output::Json => document::print(whole(node, &listing, &lines_of)),
        Output::Jsonl => lines(lines_of.iter().map(list::json)),
    };
    screen.print(&text)?;
    tell(arguments, &listing, &swept, screen);
    Ok(exit(&listing, &swept))
}

fn answer<'a>(tried: &'a Tried, words: &'a str) -> Answer<'a> {
    let told = match &tried.outcome {
        Outcome::Answered { runtime, pods, containers } => Some((runtime.as_str(), *pods, *containers)),
        Outcome::Inferred { pods, containers } => Some(("proc", *pods, *containers)),
        _ => None,
    };
    Answer {
        endpoint: &tried.endpoint,
        told,
        outcome: tried.outcome.word(),
        words,
        milliseconds: tried.milliseconds,
        explicit: tried.explicit,
    }
}

fn line<'a>(listing: &'a Listing, index: usize, swept: &'a Swept<Overview>) -> Line<'a> {
    Line {
        workload: &swept.workload,
        stopped: listing.stopped(index),
        holders: listing.holders(index),
        overview: swept.outcome.as_ref().map_err(|error| Failure::of(Exit::CannotTell, error).line()),
        refused: is_refused(&swept.outcome),
    }
}

fn whole(node: &str, listing: &Listing, lines: &[Line<'_>]) -> Map<String, Value> {
    let mut document = Map::new();
    document.insert("schema".to_owned(), json!("nslens.list/v1"));
    document.insert("node".to_owned(), json!(node));
    document.insert("unread".to_owned(), Value::Array(unlisted(listing)));
    document.insert("workloads".to_owned(), lines.iter().map(list::json).collect());
    document
}

/// What a listing does not hold, and why: elements of `unread`.
pub(in crate::cli) fn unlisted(listing: &Listing) -> Vec<Value> {
    let entry = |source: String, error: String, means: &str, cause: Cause| {
        json!(Unread { source, error, means: means.to_owned(), subject: Subject::Metadata, cause })
    };
    let mut unread: Vec<Value> = Vec::new();
    for tried in listing.tried.iter().filter(|tried| is_silent(tried)) {
        let cause = if tried.outcome == Outcome::Denied { Cause::Permission } else { Cause::Failed };
        unread.push(entry(format!("runtime {}", tried.endpoint), tried.outcome.to_string(), missing(listing), cause));
    }
    if listing.untold > 0 {
        let error = format!("nothing tells the namespace or the labels of {} workloads", listing.untold);
        unread.push(entry(
            "labels".to_owned(),
            error,
            "workloads that were asked for may be missing",
            Cause::Unsupported,
        ));
    }
    if listing.denied > 0 {
        let error = format!("{} processes may not be looked at", listing.denied);
        unread.push(entry(
            "processes".to_owned(),
            error,
            "namespaces that only they hold are missing",
            Cause::Permission,
        ));
    }
    unread
}

fn lines(elements: impl Iterator<Item = Value>) -> String {
    elements.map(|element| format!("{}\n", document::line(&element))).collect()
}

/// Says which runtimes did not answer.
pub(in crate::cli) fn tell_silent(listing: &Listing, screen: &Screen) {
    for tried in listing.tried.iter().filter(|tried| is_silent(tried)) {
        let words = format!("{tried}; {}", missing(listing));
        match tried.outcome {
            _ if !tried.counts_as_failure() => screen.note(&words),
            Outcome::Denied => Screen::fail(&Failure::new(Exit::NotPermitted, words).hint(rights())),
            _ => Screen::fail(&Failure::new(Exit::Failed, words)),
        }
    }
}

/// What the list does not hold, and why.
fn tell(arguments: &List, listing: &Listing, swept: &[Swept<Overview>], screen: &Screen) {
    tell_silent(listing, screen);
    let refused = swept.iter().filter(|swept| is_refused(&swept.outcome)).count();
    if refused > 0 {
        let words = format!("not permitted to look at {refused} of {} workloads", swept.len());
        Screen::fail(&Failure::new(Exit::NotPermitted, words).hint(rights()));
    }
    let answered = listing.tried.iter().any(|tried| tried.outcome.answered());
    let stands_in = stands_in(listing) && !answered && !arguments.asking.is_proc_alone();
    if listing.is_empty() && listing.untold == 0 {
        screen.note(&nothing(arguments.namespace.as_ref(), arguments.selector.as_ref(), listing, stands_in));
    } else if stands_in {
        screen.note("no container runtime answered: what is listed was taken from /proc and files on disk; labels and what does not run are not known");
    }
    if stands_in && arguments.asking.host_root.is_none() && Path::new(MOUNTED_NODE).join("proc/1").exists() {
        screen.note(&format!("a node's root seems to be mounted here: --host-root {MOUNTED_NODE} looks at that node"));
    }
    if listing.untold > 0 {
        let untold = listing.untold;
        screen
            .note(&format!("{untold} more may belong here: without a runtime nothing tells their namespace or labels"));
    }
    if listing.stopped > 0 && !arguments.all {
        screen.note(&format!("{} more do not run: --all", listing.stopped));
    }
    if listing.denied > 0 {
        let processes = if listing.denied == 1 { "process" } else { "processes" };
        let denied = listing.denied;
        screen.note(&format!("{denied} {processes} may not be looked at; what nobody else holds is not in the list"));
    }
    let by_guess = swept.iter().any(|swept| swept.workload.host_network);
    if by_guess && listing.node_namespace() == NodeNamespace::CallingThread {
        screen.note(source::GUESSED_NODE);
    }
}

/// Why the list is empty.
pub(in crate::cli) fn nothing(
    namespace: Option<&String>,
    selector: Option<&Selector>,
    listing: &Listing,
    stands_in: bool,
) -> String {
    let namespaces: Vec<&str> = listing.namespaces.iter().map(String::as_str).collect();
    match (namespace, selector) {
        (Some(asked), _) if !listing.namespaces.contains(asked) && !namespaces.is_empty() => {
            format!("no pod of namespace {asked} on this node; there are: {}", namespaces.join(", "))
        }
        (Some(asked), _) => format!("nothing to list of namespace {asked} on this node"),
        (None, Some(_)) => "no workload with such labels on this node".to_owned(),
        (None, None) if stands_in => "no container runtime answered, and /proc tells of no container".to_owned(),
        (None, None) => "no workload on this node".to_owned(),
    }
}

/// Whether `/proc` was asked in the place of runtimes.
fn stands_in(listing: &Listing) -> bool {
    listing.tried.iter().any(|tried| matches!(tried.outcome, Outcome::Inferred { .. }))
}

/// What is missing where a runtime did not answer.
fn missing(listing: &Listing) -> &'static str {
    if stands_in(listing) {
        "what only a runtime knows is missing: labels, what does not run"
    } else {
        "workloads that only this runtime knows are not in the list"
    }
}

/// It is there and did not give its list.
fn is_silent(tried: &Tried) -> bool {
    match tried.outcome {
        Outcome::Answered { .. } | Outcome::Inferred { .. } => false,
        Outcome::Absent => tried.explicit,
        _ => true,
    }
}

fn exit(listing: &Listing, swept: &[Swept<Overview>]) -> Exit {
    let looked_at = swept.iter().enumerate().filter(|(index, _)| listing.stopped(*index).is_none());
    let broken = looked_at.map(|(_, swept)| match &swept.outcome {
        outcome if is_refused(outcome) => Exit::NotPermitted,
        Ok(overview) if overview.unread.is_empty() => Exit::Done,
        _ => Exit::CannotTell,
    });
    Exit::of(silent_exits(listing).chain(of_many(broken)))
}

/// For the runtimes that did not answer, and for what nothing tells of.
pub(in crate::cli) fn silent_exits(listing: &Listing) -> impl Iterator<Item = Exit> {
    let silent = listing.tried.iter().filter(|tried| tried.counts_as_failure()).map(|tried| match tried.outcome {
        Outcome::Denied => Exit::NotPermitted,
        _ => Exit::Failed,
    });
    silent.chain((listing.untold > 0).then_some(Exit::CannotTell))
}

/// For one workload each: where nothing at all may be looked at, a right is missing; one broken workload among others leaves the rest
/// true.
pub(in crate::cli) fn of_many(each: impl Iterator<Item = Exit>) -> Vec<Exit> {
    let each: Vec<Exit> = each.collect();
    let all_refused = !each.is_empty() && each.iter().all(|exit| *exit == Exit::NotPermitted);
    let one = |exit| match exit {
        Exit::NotPermitted if !all_refused => Exit::CannotTell,
        other => other,
    };
    each.into_iter().map(one).collect()
}

/// Whether a right is missing for it.
fn is_refused(outcome: &Result<Overview, SweepError>) -> bool {
    match outcome {
        Ok(overview) => overview.unread.iter().any(|unread| unread.cause == Cause::Permission),
        Err(SweepError::Target(error)) => matches!(**error, TargetError::NotPermitted { .. }),
        Err(SweepError::Capture(error)) => {
            matches!(&**error, CaptureError::Enter { source, .. } if source.kind() == io::ErrorKind::PermissionDenied)
        }
    }
}
