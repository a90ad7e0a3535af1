//! `nslens list`: every workload of the node.

use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};

use crate::analysis::overview::Overview;
use crate::capture::sweep::{SweepError, Swept, sweep};
use crate::capture::{Occasion, Parts, rules::Wanted};
use crate::cli::arguments::{Asking, Looks};
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::screen::Screen;
use crate::cli::source;
use crate::model::Cause;
use crate::report::document;
use crate::report::list::{self, Line, Look};
use crate::report::runtimes::{self, Answer};
use crate::target::{Filter, Listing, Outcome, Selector, TargetError, Tried};

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
    let parts = Parts { rules: Some(Wanted::default()), connections: false, live_sockets: true, interfaces: false };
    let swept = sweep(&listing, parts, occasion, Overview::of);
    let lines_of: Vec<Line<'_>> = swept.iter().enumerate().map(|(index, swept)| line(&listing, index, swept)).collect();
    let text = match arguments.output {
        Output::Table => list::table(&lines_of, look),
        Output::Wide => list::wide(&lines_of, look),
        Output::Json => document::print(whole(node, &listing, &lines_of)),
        Output::Jsonl => lines(lines_of.iter().map(list::json)),
    };
    screen.print(&text)?;
    notes(arguments, &listing, screen);
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
        overview: swept.outcome.as_ref().map_err(ToString::to_string),
    }
}

fn whole(node: &str, listing: &Listing, lines: &[Line<'_>]) -> Map<String, Value> {
    let silent = listing.tried.iter().filter(|tried| is_silent(tried)).map(|tried| {
        json!({
            "source": format!("runtime {}", tried.endpoint),
            "error": tried.outcome.to_string(),
            "means": "workloads that only this runtime knows are not in the list",
            "subject": "metadata",
            "cause": if tried.outcome == Outcome::Denied { Cause::Permission } else { Cause::Failed },
        })
    });
    let mut document = Map::new();
    document.insert("schema".to_owned(), json!("nslens.list/v1"));
    document.insert("node".to_owned(), json!(node));
    document.insert("unread".to_owned(), silent.collect());
    document.insert("workloads".to_owned(), lines.iter().map(list::json).collect());
    document
}

fn lines(elements: impl Iterator<Item = Value>) -> String {
    elements.map(|element| format!("{}\n", document::line(&element))).collect()
}

/// What the list does not hold, and why.
fn notes(arguments: &List, listing: &Listing, screen: &Screen) {
    for tried in listing.tried.iter().filter(|tried| is_silent(tried)) {
        screen.note(&format!("{tried}; workloads that only this runtime knows are not in the list"));
    }
    if listing.is_empty() {
        screen.note(&format!("no workload{} on this node", narrowed(arguments)));
    }
    if listing.stopped > 0 && !arguments.all {
        screen.note(&format!("{} more do not run: --all", listing.stopped));
    }
    if listing.denied > 0 {
        let processes = if listing.denied == 1 { "process" } else { "processes" };
        let denied = listing.denied;
        screen.note(&format!("{denied} {processes} may not be looked at; what nobody else holds is not in the list"));
    }
}

fn narrowed(arguments: &List) -> &'static str {
    if arguments.namespace.is_some() || arguments.selector.is_some() { " of that kind" } else { "" }
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
    let silent = listing.tried.iter().filter(|tried| tried.counts_as_failure()).map(|tried| match tried.outcome {
        Outcome::Denied => Exit::NotPermitted,
        _ => Exit::Failed,
    });
    let looked_at = swept.iter().enumerate().filter(|(index, _)| listing.stopped(*index).is_none());
    let broken = looked_at.map(|(_, swept)| match &swept.outcome {
        Ok(overview) if overview.unread.is_empty() => Exit::Done,
        Err(SweepError::Target(error)) if matches!(**error, TargetError::NotPermitted { .. }) => Exit::NotPermitted,
        _ => Exit::CannotTell,
    });
    // Where nothing at all may be looked at, a right is missing; one broken workload among others leaves the rest true.
    let broken: Vec<Exit> = broken.collect();
    let all_refused = !broken.is_empty() && broken.iter().all(|exit| *exit == Exit::NotPermitted);
    let broken = broken.into_iter().map(|exit| match exit {
        Exit::NotPermitted if !all_refused => Exit::CannotTell,
        other => other,
    });
    Exit::of(silent.chain(broken))
}
