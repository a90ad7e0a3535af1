//! `nslens diff`: what differs between two workloads.

use clap::{Args, ValueEnum};

use super::conns::{has_connections, source};
use super::rules::{has_rules, summary};
use super::unread_exit;
use crate::analysis::diff as differences;
use crate::analysis::join::{Connection, connections};
use crate::analysis::rulebook::SnapshotRules;
use crate::capture::{Parts, rules::Wanted, sets::Elements};
use crate::cli::arguments::{Looks, Where, Which};
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::screen::Screen;
use crate::cli::source::Source;
use crate::model::{Snapshot, SocketState, Subject};
use crate::report::diff::{self as report, Difference};
use crate::report::{document, who, wrap::wrap};

/// Compare two workloads, a workload and a snapshot, or two snapshots.
///
/// Rules are compared by their text, chain by chain: order counts, counters and handles do not. Exit code 0 when equal, 1 when
/// different, above 1 when that could not be told.
#[derive(Debug, Args)]
#[command(
    before_long_help = "Examples:\n  sudo nslens diff pod/web-1 pod/web-2\n  sudo nslens diff ./yesterday.json pod/web-1 --conns\n"
)]
pub struct Diff {
    /// The first: pod/NAME, container/NAME, an ID, pid/N, netns/NAME, a file, -
    pub before: Option<String>,
    /// The second
    pub after: Option<String>,
    /// Compare rules (this is the default)
    #[arg(long)]
    rules: bool,
    /// Compare connections
    #[arg(long)]
    conns: bool,
    #[command(flatten)]
    which: Which,
    /// table, json
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
}

/// Runs the command.
pub(in crate::cli) fn run(arguments: &Diff, screen: &Screen) -> Result<Exit, Failure> {
    let (Some(before), Some(after)) = (&arguments.before, &arguments.after) else {
        return Err(Failure::new(Exit::Usage, "two targets are needed: what to compare, and with what")
            .hint("nslens diff pod/web-1 pod/web-2, or nslens diff ./yesterday.json pod/web-1"));
    };
    if before == "-" && after == "-" {
        return Err(Failure::new(Exit::Usage, "standard input can be read for one of the two only"));
    }
    let rules = arguments.rules || !arguments.conns;
    // What is to be compared is read whole.
    let elements = if rules { Elements::All } else { Elements::Few };
    let take = |asked: &str| -> Result<Snapshot, Failure> {
        let snapshot = if arguments.conns {
            let mut source = Source { which: arguments.which, ..source(&arguments.place, screen) };
            source.parts.rules = Some(Wanted { elements, ..Wanted::default() });
            source.snapshot(Some(asked))?
        } else {
            let wanted = Wanted { elements, ..arguments.which.wanted() };
            let parts = Parts { rules: Some(wanted), ..Parts::default() };
            Source { place: &arguments.place, which: arguments.which, parts, screen }.snapshot(Some(asked))?
        };
        if rules {
            has_rules(&snapshot)?;
        }
        if arguments.conns {
            has_connections(&snapshot)?;
        }
        Ok(snapshot)
    };
    let (before, after) = (take(before)?, take(after)?);
    // What is over says nothing of the workload, and is never the same twice.
    let of = |snapshot: &Snapshot| -> Vec<Connection> {
        let all = connections(snapshot, true, &SnapshotRules::of(snapshot));
        all.into_iter().filter(|connection| connection.state != SocketState::TimeWait).collect()
    };
    let difference = Difference {
        rules: rules.then(|| differences::rules(&before, &after)),
        connections: arguments.conns.then(|| differences::connections(&of(&before), &of(&after))),
        before: &before,
        after: &after,
    };
    let subjects: Vec<Subject> = if arguments.conns { super::conns::SUBJECTS.to_vec() } else { vec![Subject::Rules] };
    if arguments.output == Output::Json {
        screen.print(&document::print(report::json(&difference)))?;
    } else {
        let Screen { paint, width, .. } = *screen;
        let unread_rules = [&before, &after].iter().any(|side| side.unread_about(&[Subject::Rules]).next().is_some());
        let mut out = report::text(&difference, unread_rules, paint, width);
        if difference.rules.as_ref().is_some_and(|changes| !changes.is_empty()) {
            for (word, snapshot) in [("before", &before), ("after", &after)] {
                let sentence = summary(snapshot, arguments.which).text;
                out.push_str(&format!("\n{}\n", wrap(&format!("{word}: {sentence}"), width).join("\n")));
            }
        }
        for snapshot in [&before, &after] {
            out.push_str(&who::unread(snapshot, &subjects, paint, width));
        }
        screen.print(&out)?;
    }
    let differs = if difference.equal() { Exit::Done } else { Exit::Differs };
    Ok(Exit::of([differs, unread_exit(&before, &subjects), unread_exit(&after, &subjects)]))
}
