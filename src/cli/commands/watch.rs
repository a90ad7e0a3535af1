//! `nslens watch`: what happens to the connections of a workload, one line a change.

mod judging;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::{Args, ValueEnum};

use self::judging::Judge;
use super::conns;
use crate::analysis::following::{Change, Ledger};
use crate::capture::follow::{EndSignals, Follow, HeldProcess, Sources, Unknowing, Woken, nap, seconds_east};
use crate::cli::arguments::{Looks, Where, duration};
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::screen::Screen;
use crate::cli::source::Held;
use crate::model::{Cause, Snapshot};
use crate::report::watch::{Table, Totals, write_line};
use crate::report::who;

/// So many changes at once are many: then a moment is waited for more, which are read and written together.
const MANY: usize = 32;
/// That moment.
const MOMENT: Duration = Duration::from_millis(5);

/// Follow the connections of a workload, one line a change.
///
/// Connection tracking's events tell of connections that are opened, answered and closed; where they are not to be had, or nothing is
/// tracked, sockets are listed again and again. What is in use is said on standard error. Nothing is switched on for it, and nothing
/// is loaded. It ends on Ctrl-C, after --for or --count, or when the workload does.
#[derive(Debug, Args)]
#[command(
    before_long_help = "Examples:\n  sudo nslens watch pod/productpage\n  sudo nslens watch pod/productpage --for 10s -o jsonl\n"
)]
pub struct Watch {
    /// pod/NAME, container/NAME, an ID, pid/N, ip/ADDRESS, netns/NAME, host
    pub target: Option<String>,
    /// What to follow: conns
    #[arg(long, value_name = "WHAT", value_delimiter = ',', default_value = "conns", hide_default_value = true, value_parser = what)]
    only: Vec<String>,
    /// First what is there already
    #[arg(long)]
    initial: bool,
    /// Time between two looks at what nobody tells of
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = duration)]
    interval: Duration,
    /// End after this time
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    duration: Option<Duration>,
    /// End after so many changes
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// table, wide, jsonl (one change a line)
    #[arg(
        short,
        long,
        value_name = "FORM",
        default_value = "table",
        hide_default_value = true,
        hide_possible_values = true
    )]
    output: Output,
    /// Times in UTC
    #[arg(long)]
    utc: bool,
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
    Jsonl,
}

fn what(word: &str) -> Result<String, String> {
    match word {
        "conns" => Ok(word.to_owned()),
        "rules" => Err("rules are not followed yet, connections are: --only conns".to_owned()),
        _ => Err("there is: conns".to_owned()),
    }
}

/// Runs the command.
pub(in crate::cli) fn run(arguments: &Watch, screen: &Screen) -> Result<Exit, Failure> {
    let end = arguments.duration.and_then(|duration| Instant::now().checked_add(duration));
    // From the beginning, so that whoever ends it early gets the same end.
    let signals =
        EndSignals::take().map_err(|error| Failure::of(Exit::Failed, &error).about("cannot wait for signals"))?;
    let (snapshot, held) = conns::source(&arguments.place, screen).held(arguments.target.as_deref())?;
    let Some(held) = held else {
        let message = format!("{} is a file: it does not change", snapshot.asked);
        return Err(Failure::new(Exit::Usage, message).hint("its connections are shown by: nslens conns"));
    };
    let follow = Follow::open(&held.netns, &held.proc_root, arguments.interval).map_err(|error| {
        Failure::of(Exit::NotPermitted, &error).about(format!("cannot enter the namespace of {}", snapshot.asked))
    })?;
    let mut run = Run {
        arguments,
        screen,
        judge: Judge::new(&snapshot, &held),
        follow,
        ledger: Ledger::new(arguments.initial),
        totals: Totals::default(),
        left: arguments.count.unwrap_or(u64::MAX),
        table: Table { wide: arguments.output == Output::Wide, east: None, paint: screen.paint },
    };
    let going_on = run.begin(&snapshot)?;
    let woken = if going_on { run.go_on(&signals, held.process.as_ref(), end)? } else { Woken::Over };
    if screen.terminal {
        screen.note(&run.totals.to_string());
    }
    match woken {
        Woken::Gone => Err(gone(&snapshot, &held)),
        // Whoever ends it by hand has seen the lines; a script has the code.
        Woken::Over if run.totals.lost > 0 => Ok(Exit::CannotTell),
        _ => Ok(Exit::Done),
    }
}

fn gone(snapshot: &Snapshot, held: &Held) -> Failure {
    let pid = held.process.as_ref().map_or(0, HeldProcess::pid);
    let workload = &snapshot.workload;
    let message = format!("{} {} ended: its process {pid} is gone", workload.kind.word(), workload.name);
    Failure::new(Exit::NotFound, message).hint("it may have been restarted under a new ID: look again")
}

/// A watch that goes on.
struct Run<'a> {
    arguments: &'a Watch,
    screen: &'a Screen,
    judge: Judge<'a>,
    follow: Follow,
    ledger: Ledger,
    totals: Totals,
    /// Changes that are still wanted.
    left: u64,
    table: Table,
}

impl Run<'_> {
    /// Reads the first lists, says who is followed and by what, and what is there if that is wanted; whether to go on.
    fn begin(&mut self, snapshot: &Snapshot) -> Result<bool, Failure> {
        let changes = self.turn()?;
        let sources = self.follow.sources();
        if let (Err(first), Err(second), Err(third)) = (&sources.tracking, &sources.entries, &sources.sockets) {
            let permission = [first, second, third].iter().any(|one| one.cause == Cause::Permission);
            let exit = if permission { Exit::NotPermitted } else { Exit::CannotTell };
            let message = format!("nothing tells of connections: {}; sockets: {}", first.why, third.why);
            return Err(Failure::new(exit, message));
        }
        let tracks = [false, true].map(|ipv6| self.ledger.tracks(ipv6) || self.judge.tracks(ipv6) != Some(false));
        let interval = humantime::format_duration(self.arguments.interval).to_string();
        self.screen.note(&words(sources, tracks, &interval));
        if let Ok(()) = sources.tracking {
            self.screen.detail(&format!("the kernel keeps {} bytes of events until they are read", self.follow.room()));
        }
        let mut bytes = Vec::new();
        if self.arguments.output != Output::Jsonl {
            bytes.extend(who::heading(snapshot, self.screen.paint, self.screen.width).bytes());
            bytes.push(b'\n');
            if !self.arguments.no_headers {
                bytes.extend(self.table.heading().bytes());
            }
        }
        self.write(changes, bytes)
    }

    fn go_on(
        &mut self,
        signals: &EndSignals,
        process: Option<&HeldProcess>,
        end: Option<Instant>,
    ) -> Result<Woken, Failure> {
        let failed = |error: std::io::Error| Failure::of(Exit::Failed, &error).about("cannot follow the connections");
        let stdout = std::io::stdout();
        loop {
            let woken = self.follow.wait(signals, process, std::os::fd::AsFd::as_fd(&stdout), end).map_err(failed)?;
            if woken == Woken::Unread {
                return Ok(woken);
            }
            // What was told until then belongs to it.
            let changes = self.turn()?;
            let many = changes.len() >= MANY;
            if !self.write(changes, Vec::new())? {
                return Ok(Woken::Over);
            }
            if woken != Woken::Ready {
                return Ok(woken);
            }
            if many {
                nap(MOMENT);
            }
        }
    }

    /// What happened since the last turn.
    fn turn(&mut self) -> Result<Vec<Change>, Failure> {
        let (mut changes, ledger) = (Vec::new(), &mut self.ledger);
        let told = self.follow.turn(|observed| ledger.take(now(), observed, &mut changes));
        told.map_err(|error| Failure::of(Exit::Failed, &error).about("cannot follow the connections"))?;
        self.follow.has_older(self.ledger.has_older());
        Ok(changes)
    }

    /// Writes the changes behind what is written already, all at once; whether more are wanted.
    fn write(&mut self, mut changes: Vec<Change>, mut bytes: Vec<u8>) -> Result<bool, Failure> {
        changes.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
        self.left -= changes.len() as u64;
        self.table.east = (!self.arguments.utc).then(|| seconds_east(now() / 1_000_000_000));
        let entries = self.follow.sources().entries.is_ok();
        let ledger = &self.ledger;
        self.judge.look(&changes);
        for change in &mut changes {
            self.totals.count(change.what);
            let judgement = self.judge.judge(change, |ipv6| entries && !ledger.tracks(ipv6));
            let judged = judgement.judged();
            let written = match self.arguments.output {
                Output::Jsonl => write_line(change, judged, &mut bytes),
                Output::Table | Output::Wide => self.table.write_line(change, judged, &mut bytes),
            };
            // Writing to memory cannot fail.
            written.ok();
        }
        let read = bytes.is_empty() || self.screen.send(&bytes)?;
        Ok(read && self.left > 0)
    }
}

/// Nanoseconds after 1970-01-01 UTC.
fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}

/// By what the connections are followed, and what that cannot show.
fn words(sources: &Sources, tracks: [bool; 2], interval: &str) -> String {
    let mut used = Vec::new();
    let mut lacking = Vec::new();
    let without = |what: &str, refused: &Unknowing| format!("no {what} ({})", refused.why);
    match (&sources.tracking, &sources.entries) {
        (Ok(()), _) => used.push("events of connection tracking".to_owned()),
        (Err(refused), Ok(())) => {
            used.push(format!("tracked connections listed every {interval}"));
            lacking.push(without("events of connection tracking", refused) + ": what is shorter may be missing");
        }
        (Err(_), Err(refused)) => {
            lacking.push(without("connection tracking", refused) + ": where connections went is not known");
        }
    }
    let ends = if sources.ends.is_ok() { ", and told of when they end" } else { "" };
    match &sources.sockets {
        Ok(()) => used.push(format!("sockets listed every {interval}{ends}")),
        Err(refused) => lacking.push(without("list of sockets", refused)),
    }
    if sources.entries.is_ok() {
        let untracked = match tracks {
            [true, true] => None,
            [false, false] => Some("nothing is tracked here"),
            [false, true] => Some("IPv4 is not tracked here"),
            [true, false] => Some("IPv6 is not tracked here"),
        };
        let seen = if sources.ends.is_ok() { "is seen when it ends" } else { "may be missing" };
        lacking.extend(
            untracked.map(|untracked| format!("{untracked}, no rule needs it: what is shorter than {interval} {seen}")),
        );
    }
    let lacking: String = lacking.iter().map(|lacking| format!("; {lacking}")).collect();
    format!("followed by {}{lacking}", used.join("; "))
}

#[cfg(test)]
mod tests;
