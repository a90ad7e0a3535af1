//! `nslens diff`: what differs between two workloads, or between two times of many.

mod many;

use clap::{Args, ValueEnum};

use super::conns::{has_connections, source};
use super::rules::{has_rules, summary};
use super::unread_exit;
use crate::analysis::coverage::Narrow;
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
use crate::report::diff::{self as report, Difference, Look, Pair};
use crate::report::{document, who, wrap::wrap};
use crate::target::Selector;

/// Compare two workloads, a workload and a snapshot, or two snapshots.
///
/// Rules are compared by what they say, chain by chain, and by what becomes of all new connections under them. Exit code 0 when equal
/// in what was asked for, 1 when different, 5 when that could not be told.
#[derive(Debug, Args)]
#[command(
    before_long_help = "Examples:\n  sudo nslens diff pod/web-1 pod/web-2\n  sudo nslens diff ./yesterday.json pod/web-1 --conns\n"
)]
pub struct Diff {
    /// The first: pod/NAME, container/NAME, an ID, pid/N, netns/NAME, a file, a folder, -
    pub before: Option<String>,
    /// The second
    pub after: Option<String>,
    /// Compare rules (the default, with --effect)
    #[arg(long)]
    rules: bool,
    /// Compare what becomes of all new connections
    #[arg(long)]
    effect: bool,
    /// Every workload of the node with those that a folder or an archive of `snapshot -A` holds
    #[arg(short = 'A', long, conflicts_with_all = ["after", "container"])]
    all_workloads: bool,
    /// With -A: those with labels such as app=web
    #[arg(short = 'l', long, hide_short_help = true, value_name = "SELECTOR", requires = "all_workloads", value_parser = Selector::parse)]
    selector: Option<Selector>,
    /// Compare connections
    #[arg(long)]
    conns: bool,
    /// Compare what becomes of IPv4 and of IPv6 of one workload
    #[arg(long, value_name = "TARGET", conflicts_with_all = ["before", "after", "all_workloads", "rules", "effect", "conns", "ipv4", "ipv6"])]
    family_parity: Option<String>,
    #[command(flatten)]
    which: Which,
    /// table, json, unified, markdown, junit
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
    Jsonl,
    Unified,
    Markdown,
    Junit,
}

/// Runs the command.
pub(in crate::cli) fn run(arguments: &Diff, screen: &Screen) -> Result<Exit, Failure> {
    if let Some(target) = &arguments.family_parity {
        return parity(arguments, target, screen);
    }
    if arguments.all_workloads || arguments.before.as_deref().is_some_and(many::is_meant) {
        return many::run(arguments, screen);
    }
    let (Some(before), Some(after)) = (&arguments.before, &arguments.after) else {
        return Err(Failure::new(Exit::Usage, "two targets are needed: what to compare, and with what")
            .hint("nslens diff pod/web-1 pod/web-2, or nslens diff ./yesterday.json pod/web-1"));
    };
    if before == "-" && after == "-" {
        return Err(Failure::new(Exit::Usage, "standard input can be read for one of the two only"));
    }
    let views = arguments.views();
    let take = |asked: &str| arguments.source(views, screen).snapshot(Some(asked)).and_then(|it| views.has_all(it));
    let (before, after) = (take(before)?, take(after)?);
    let grounds = differences::on_common_ground(&before, &after);
    let difference = arguments.difference(views, (&before, &after), (&grounds.0, &grounds.1));
    told(arguments, views, difference, screen)
}

/// Compares both families of one workload.
fn parity(arguments: &Diff, target: &str, screen: &Screen) -> Result<Exit, Failure> {
    let views = Views { rules: false, effect: true, conns: false };
    let snapshot = arguments.source(views, screen).snapshot(Some(target))?;
    has_rules(&snapshot)?;
    let Some(effects) = differences::parity(&snapshot) else {
        let message = format!("{} has no address of both families beyond its link", snapshot.asked);
        return Err(Failure::new(Exit::CannotTell, message).hint("there is nothing to compare: see nslens rules"));
    };
    let (before, after) = (&snapshot, &snapshot);
    let difference = Difference { before, after, parity: true, rules: None, effects: Some(effects), connections: None };
    told(arguments, views, difference, screen)
}

/// Prints what differs: the exit code that stands for it.
fn told(arguments: &Diff, views: Views, difference: Difference<'_>, screen: &Screen) -> Result<Exit, Failure> {
    let subjects = views.subjects();
    let sides = if difference.parity { vec![difference.before] } else { vec![difference.before, difference.after] };
    let looks = arguments.look(&difference, screen);
    let unread: Vec<Exit> = sides.iter().map(|side| unread_exit(side, &subjects)).collect();
    let exit = Exit::of(std::iter::once(of_equal(difference.equal())).chain(unread));
    let text = match arguments.output {
        Output::Json => document::print(report::json(&difference)),
        Output::Jsonl => document::line(&report::json(&difference).into()) + "\n",
        Output::Table => {
            let mut out = report::text(&difference, looks);
            if difference.rules.as_ref().is_some_and(|rules| !rules.changes.is_empty()) {
                for (word, snapshot) in ["before", "after"].iter().zip(&sides) {
                    let sentence = summary(snapshot, arguments.which).text;
                    out.push_str(&format!("\n{}\n", wrap(&format!("{word}: {sentence}"), looks.width).join("\n")));
                }
            }
            for snapshot in &sides {
                out.push_str(&who::unread(snapshot, &subjects, looks.paint, looks.width));
            }
            out
        }
        other => other.print(&[Pair::Both(Box::new(difference))], looks),
    };
    screen.print(&text)?;
    Ok(exit)
}

fn of_equal(equal: Option<bool>) -> Exit {
    match equal {
        Some(true) => Exit::Done,
        Some(false) => Exit::Differs,
        None => Exit::CannotTell,
    }
}

impl Output {
    /// The forms for other programs.
    fn print(self, pairs: &[Pair<'_>], looks: Look) -> String {
        match self {
            Self::Unified => report::unified(pairs, looks),
            Self::Markdown => report::markdown(pairs),
            Self::Junit => report::junit(pairs),
            _ => report::table(pairs, looks),
        }
    }
}

/// What is compared.
#[derive(Debug, Clone, Copy)]
struct Views {
    rules: bool,
    effect: bool,
    conns: bool,
}

impl Views {
    /// What has to be read.
    fn subjects(self) -> Vec<Subject> {
        if self.conns || self.effect { super::conns::SUBJECTS.to_vec() } else { vec![Subject::Rules] }
    }

    /// Whether a snapshot tells of all that is compared.
    fn has_all(self, snapshot: Snapshot) -> Result<Snapshot, Failure> {
        if self.rules || self.effect {
            has_rules(&snapshot)?;
        }
        if self.conns {
            has_connections(&snapshot)?;
        }
        Ok(snapshot)
    }
}

impl Diff {
    /// What differs of two, whose effect is compared on common ground.
    fn difference<'s>(
        &self,
        views: Views,
        (before, after): (&'s Snapshot, &'s Snapshot),
        grounds: (&'s Snapshot, &'s Snapshot),
    ) -> Difference<'s> {
        // What is over says nothing of the workload, and is never the same twice.
        let of = |snapshot: &Snapshot| -> Vec<Connection> {
            let all = connections(snapshot, true, &SnapshotRules::of(snapshot));
            all.into_iter().filter(|connection| connection.state != SocketState::TimeWait).collect()
        };
        Difference {
            rules: views.rules.then(|| differences::rules(before, after)),
            effects: views.effect.then(|| differences::effects(grounds.0, grounds.1, &self.narrow())),
            connections: views.conns.then(|| differences::connections(&of(before), &of(after))),
            before,
            after,
            parity: false,
        }
    }

    fn look(&self, difference: &Difference<'_>, screen: &Screen) -> Look {
        let Screen { paint, width, .. } = *screen;
        let sides = [difference.before, difference.after];
        let unread_rules = sides.iter().any(|side| side.unread_about(&[Subject::Rules]).next().is_some());
        Look { unread_rules, verbose: self.looks.verbose, paint, width }
    }

    fn views(&self) -> Views {
        let Self { rules, effect, conns, .. } = *self;
        let none = !(rules || effect || conns);
        Views { rules: rules || none, effect: effect || none, conns }
    }

    /// What is to be compared is read whole.
    fn source<'a>(&'a self, views: Views, screen: &'a Screen) -> Source<'a> {
        let elements = if views.rules || views.effect { Elements::All } else { Elements::Few };
        let wanted = Wanted { elements, ..self.which.wanted() };
        if !views.conns && !views.effect {
            let parts = Parts { rules: Some(wanted), ..Parts::default() };
            return Source { place: &self.place, which: self.which, parts, screen };
        }
        let mut source = Source { which: self.which, ..source(&self.place, screen) };
        source.parts.rules = Some(Wanted { elements, ..Wanted::default() });
        source.parts.routes = views.effect;
        source.parts.waiting_only = !views.conns;
        source
    }

    fn narrow(&self) -> Narrow {
        let ipv6 = match (self.which.ipv4, self.which.ipv6) {
            (true, _) => Some(false),
            (_, true) => Some(true),
            _ => None,
        };
        Narrow { ipv6, ..Narrow::default() }
    }
}
