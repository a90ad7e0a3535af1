//! `nslens conns`: who is connected to what, and which way it went.

mod flows;
mod picked;

use std::collections::HashSet;

use clap::{Args, ValueEnum};
use serde_json::Value;

use super::unread_exit;
use crate::analysis::join::{Connection, Way, connections};
use crate::analysis::observations::{Observation, observations};
use crate::analysis::rulebook::SnapshotRules;
use crate::capture::{Parts, rules::Wanted};
use crate::cli::arguments::{BackendChoice, Looks, Where, Which};
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::screen::Screen;
use crate::cli::source::Source;
use crate::model::{Snapshot, Subject};
use crate::report::conns::{self, Beside, Look, Other};
use crate::report::{document, who, yaml};

/// What the command is about: each of these must have been read.
pub(super) const SUBJECTS: [Subject; 4] = [Subject::Sockets, Subject::Flows, Subject::Processes, Subject::Rules];

/// Show the live connections of a workload and where each really went.
///
/// For every socket: the process that holds it, what was dialled, where the packets go, and which way that is: redirected (the
/// program dialled elsewhere), intercepted (the proxy's accepted half), exempt (left alone by a rule for its owner or mark), direct.
#[derive(Debug, Args)]
#[command(
    before_long_help = "Examples:\n  sudo nslens conns pod/productpage\n  sudo nslens conns pid/4242 --all -o wide\n  sudo nslens conns pod/productpage --way direct,unknown\n"
)]
pub struct Conns {
    /// pod/NAME, container/NAME, an ID, pid/N, ip/ADDRESS, netns/NAME, host, a snapshot, -
    pub target: Option<String>,
    /// Sockets of every kind and state, listeners too
    #[arg(long)]
    pub all: bool,
    #[command(flatten)]
    picked: picked::Picked,
    #[command(flatten)]
    tracked: flows::Wanted,
    /// table, wide, json, jsonl (one connection a line), yaml
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
    Wide,
    Json,
    Jsonl,
    Yaml,
}

/// Runs the command.
pub(in crate::cli) fn run(arguments: &Conns, screen: &Screen) -> Result<Exit, Failure> {
    if arguments.tracked.any() {
        return flows::run(arguments, screen);
    }
    let mut source = source(&arguments.place, screen);
    // What is not shown need not be read: a list of figures takes the kernel longer than the sockets themselves.
    source.parts.figures = !matches!(arguments.output, Output::Table | Output::Wide);
    source.parts.every_socket = arguments.all;
    let snapshot = source.snapshot(arguments.target.as_deref())?;
    has_connections(&snapshot)?;
    let picked = &arguments.picked;
    let all = arguments.all || picked.beyond_live();
    let rules = SnapshotRules::of(&snapshot);
    let found = connections(&snapshot, all, &rules);
    let seen = observations(&snapshot, &found, &rules);
    let found = picked.of(found);
    let seen = about(&seen, &found, picked.any());
    let others = match arguments.all && picked.takes_others() {
        true => conns::others(&snapshot, |holders| picked.wants_held(holders)),
        false => Vec::new(),
    };
    let beside = Beside::of(&snapshot, arguments.output != Output::Table);
    match arguments.output {
        Output::Json | Output::Yaml => {
            let mut document = document::head("nslens.conns/v1", &snapshot);
            document.insert("connections".to_owned(), conns::rows_json(&found, Some(&beside)));
            document.insert("observations".to_owned(), conns::observations_json(seen));
            if arguments.all {
                document.insert("other_sockets".to_owned(), conns::others_json(&others, Some(&beside)));
            }
            screen.print(&match arguments.output {
                Output::Yaml => yaml::print(&document),
                _ => document::print(document),
            })?;
        }
        Output::Jsonl => {
            let rows = [conns::rows_json(&found, Some(&beside)), conns::others_json(&others, Some(&beside))];
            let lines = rows.iter().filter_map(Value::as_array).flatten().map(|row| document::line(row) + "\n");
            screen.print(&lines.collect::<String>())?;
        }
        Output::Table | Output::Wide => {
            lists(arguments, screen, &snapshot, Listed { found: &found, others: &others, seen, beside: &beside })?;
        }
    }
    Ok(exit(&snapshot, &found))
}

/// What a list shows.
struct Listed<'a> {
    found: &'a [Connection],
    others: &'a [Other<'a>],
    seen: Vec<&'a Observation>,
    beside: &'a Beside<'a>,
}

/// The answer for people.
fn lists(arguments: &Conns, screen: &Screen, snapshot: &Snapshot, listed: Listed<'_>) -> Result<(), Failure> {
    let Listed { found, others, seen, beside } = listed;
    let Screen { paint, width, columns, .. } = *screen;
    let colour = |part, text: &str| paint.part(part, text);
    let look = Look { headings: !arguments.no_headers, paint: &colour, columns, beside: Some(beside) };
    let mut out = who::heading(snapshot, paint, width);
    out.push('\n');
    let unread = who::unread(snapshot, &SUBJECTS, paint, width);
    if found.is_empty() && unread.is_empty() {
        let all = arguments.all || arguments.picked.beyond_live();
        let hidden = snapshot.sockets.as_ref().map_or(0, Vec::len);
        let many = if hidden == 1 { "socket" } else { "sockets" };
        let more = if hidden == 0 || all { String::new() } else { format!("; {hidden} other {many}: --all") };
        let what = if arguments.picked.any() { "no such connections" } else { "no live connections" };
        out.push_str(&format!("{what}{more}\n"));
    } else {
        out.push_str(&conns::totals(found));
        out.push_str(&match arguments.output {
            Output::Wide => conns::wide(found, look),
            _ => conns::table(found, look),
        });
    }
    out.push_str(&match arguments.output {
        Output::Wide => conns::others_wide(others, look),
        _ => conns::others_table(others, look),
    });
    let ordinary = arguments.all;
    out.push_str(&conns::seen(seen.into_iter().filter(|seen| ordinary || !seen.kind.is_ordinary()), width));
    out.push_str(&unread);
    let unknown = found.iter().filter(|connection| is_unknown(connection)).count();
    if unknown > 0 {
        screen.note(&format!(
            "of {unknown} the way cannot be told: they have no entry in connection tracking, being older than it or forgotten by it"
        ));
    }
    screen.print(&out)
}

/// Of what is said of all connections, that which is about the picked ones.
fn about<'a>(seen: &'a [Observation], found: &[Connection], picked: bool) -> Vec<&'a Observation> {
    let inodes: HashSet<u32> = found.iter().map(|connection| connection.inode).collect();
    seen.iter().filter(|seen| !picked || seen.connections.iter().any(|inode| inodes.contains(inode))).collect()
}

/// A connection whose way should be known and is not.
fn is_unknown(connection: &Connection) -> bool {
    connection.way == Way::Unknown && connection.peer.is_some() && connection.is_live()
}

fn exit(snapshot: &Snapshot, found: &[Connection]) -> Exit {
    let told = if found.iter().any(is_unknown) { Exit::CannotTell } else { Exit::Done };
    Exit::of([told, unread_exit(snapshot, &SUBJECTS)])
}

/// Everything that connections are judged by: sockets, flows, processes and all rules.
pub(super) fn source<'a>(place: &'a Where, screen: &'a Screen) -> Source<'a> {
    let which = Which { ipv4: false, ipv6: false, backend: BackendChoice::All };
    let parts = Parts { rules: Some(Wanted::default()), connections: true, interfaces: true, ..Parts::default() };
    Source { place, which, parts, screen }
}

/// Saved rules say nothing of connections: that is not the same as none.
pub(super) fn has_connections(snapshot: &Snapshot) -> Result<(), Failure> {
    if snapshot.sockets.is_some() {
        return Ok(());
    }
    Err(Failure::new(Exit::Usage, format!("{} holds rules only, no connections", snapshot.asked))
        .hint("take a file that holds both with: nslens snapshot TARGET -f FILE"))
}
