//! `nslens conns --flows` and `--summary`: the tracked connections themselves, and what fills their table.

use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Map, Value, json};

use super::{Conns, Output};
use crate::analysis::tracked::Tracked;
use crate::capture::Parts;
use crate::capture::cross_check::Namespace;
use crate::capture::flows::{Tracking, table_use, table_use_of_node};
use crate::cli::arguments::{BackendChoice, Which};
use crate::cli::commands::unread_exit;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::screen::Screen;
use crate::cli::source::{GUESSED_NODE, Source};
use crate::model::{Cause, Expectation, Family, Flow, FlowEnd, FlowFilter, Protocol, Snapshot, Subject, Unread};
use crate::report::conns::Look;
use crate::report::flows::Listing;
use crate::report::flows::summary::{self, Summary};
use crate::report::{document, flows, who, yaml};

/// What both are about.
const SUBJECTS: [Subject; 1] = [Subject::Flows];
/// Of the document of `--flows`.
const SCHEMA: &str = "nslens.flows/v1";
/// What is written at once.
const PIECE: usize = 64 * 1024;

/// Options of the tracked flows.
#[derive(Debug, Args)]
pub(super) struct Wanted {
    /// The tracked flows themselves, as the kernel lists them
    #[arg(long, group = "tracked", conflicts_with = "all")]
    flows: bool,
    /// What fills the table of tracked flows
    #[arg(long, group = "tracked", conflicts_with = "all")]
    summary: bool,
    /// Flows of IPv4 only
    #[arg(short = '4', long = "ipv4", conflicts_with = "ipv6", requires = "tracked", hide_short_help = true)]
    ipv4: bool,
    /// Flows of IPv6 only
    #[arg(short = '6', long = "ipv6", requires = "tracked", hide_short_help = true)]
    ipv6: bool,
    /// Flows of this protocol: a name such as tcp, or a number
    #[arg(long, value_name = "PROTOCOL", value_parser = protocol, requires = "tracked", hide_short_help = true)]
    protocol: Option<Protocol>,
    /// Flows that this end dialled: ADDRESS, ADDRESS:PORT or :PORT
    #[arg(long, value_name = "END", value_parser = end, requires = "tracked", hide_short_help = true)]
    from: Option<FlowEnd>,
    /// Flows that dialled this end: ADDRESS, ADDRESS:PORT or :PORT
    #[arg(long, value_name = "END", value_parser = end, requires = "tracked", hide_short_help = true)]
    to: Option<FlowEnd>,
    /// Flows with this mark: VALUE or VALUE/MASK
    #[arg(long, value_name = "MARK", value_parser = mark, requires = "tracked", hide_short_help = true)]
    mark: Option<(u32, u32)>,
    /// Flows with this bit of the status, such as assured or dnat; several: all of them
    #[arg(long, value_name = "WORD", value_parser = status, value_delimiter = ',', requires = "tracked", hide_short_help = true)]
    status: Vec<u32>,
    /// Flows of this zone
    #[arg(long, value_name = "ZONE", requires = "tracked", hide_short_help = true)]
    zone: Option<u16>,
}

impl Wanted {
    /// Whether tracked flows are asked for at all.
    pub(super) fn any(&self) -> bool {
        self.flows || self.summary
    }

    fn filter(&self) -> FlowFilter {
        let only = if self.ipv4 { Some(Family::Ip) } else { self.ipv6.then_some(Family::Ip6) };
        FlowFilter {
            only,
            protocol: self.protocol,
            mark: self.mark,
            status: self.status.iter().fold(0, |all, bit| all | bit),
            zone: self.zone,
            source: self.from.unwrap_or_default(),
            destination: self.to.unwrap_or_default(),
        }
    }
}

fn protocol(text: &str) -> Result<Protocol, String> {
    flows::protocol(text).ok_or_else(|| {
        let names: Vec<&str> = flows::names().collect();
        format!("it is a number up to 255, or one of: {}", names.join(", "))
    })
}

fn end(text: &str) -> Result<FlowEnd, String> {
    text.parse().map_err(|error: &str| error.to_owned())
}

fn mark(text: &str) -> Result<(u32, u32), String> {
    let number = |text: &str| match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16),
        None => text.parse(),
    };
    let (value, mask) = text.split_once('/').map_or((text, None), |(value, mask)| (value, Some(mask)));
    let numbers = number(value).and_then(|value| Ok((value, mask.map_or(Ok(u32::MAX), number)?)));
    let (value, mask) = numbers.map_err(|_| "it is VALUE or VALUE/MASK, such as 0x111/0xfff".to_owned())?;
    if value & !mask != 0 { Err("the value has bits that are not in the mask".to_owned()) } else { Ok((value, mask)) }
}

fn status(text: &str) -> Result<u32, String> {
    Flow::status_bit(text).ok_or_else(|| format!("there are: {}", Flow::known_status().join(", ")))
}

/// Where the flows come from.
enum From {
    /// A namespace, asked while they are used.
    Live { tracking: Tracking, netns: Namespace, proc_root: PathBuf },
    /// A file, which holds them all.
    File(Vec<Flow>),
}

impl From {
    fn each(&mut self, filter: &FlowFilter, mut each: impl FnMut(Flow) -> ControlFlow<()>) -> Vec<Unread> {
        match self {
            Self::Live { tracking, .. } => tracking.each(filter, each),
            Self::File(flows) => {
                let mut wanted = std::mem::take(flows).into_iter().filter(|flow| filter.fits(flow));
                // An early end is no failure.
                let _ = wanted.try_for_each(&mut each);
                Vec::new()
            }
        }
    }
}

/// Runs the command with one of the two.
pub(super) fn run(arguments: &Conns, screen: &Screen) -> Result<Exit, Failure> {
    let which = Which { ipv4: false, ipv6: false, backend: BackendChoice::All };
    let interfaces = arguments.tracked.summary;
    let parts = Parts { interfaces, ..Parts::default() };
    let source = Source { place: &arguments.place, which, parts, screen };
    let (mut snapshot, netns) = source.taken(arguments.target.as_deref())?;
    let mut from = match netns {
        Some(netns) => {
            let root = arguments.place.asking.host_root.as_deref().unwrap_or(Path::new("/"));
            let proc_root = root.join("proc");
            let tracking = Tracking::open(&netns, &proc_root).map_err(|error| {
                Failure::of(Exit::NotPermitted, &error)
                    .about(format!("cannot enter the namespace of {}", snapshot.asked))
            })?;
            From::Live { tracking, netns, proc_root }
        }
        None => From::File(snapshot.flows.take().ok_or_else(|| {
            Failure::new(Exit::Usage, format!("{} holds rules only, no connections", snapshot.asked))
                .hint("take a file that holds both with: nslens snapshot TARGET -f FILE")
        })?),
    };
    if arguments.tracked.summary {
        summarise(arguments, screen, &mut snapshot, &mut from)?;
    } else if arguments.output == Output::Jsonl {
        lines(arguments, screen, &mut snapshot, &mut from)?;
    } else if arguments.output == Output::Json {
        let filter = arguments.tracked.filter();
        let mut head = document::head(SCHEMA, &snapshot);
        // A file is in memory already: its flows stand in the order of their ends.
        if let From::File(flows) = &mut from {
            flows.sort_by_key(|flow| (flow.protocol, flow.original, flow.zone, flow.id));
        }
        // What could not be read is known when all was.
        head.remove("unread");
        let mut listing = Whole { snapshot: &mut snapshot, from: &mut from, filter };
        screen.stream(|out| flows::write_document(&head, &mut listing, out))?;
    } else {
        whole(arguments, screen, &mut snapshot, &mut from)?;
    }
    Ok(unread_exit(&snapshot, &SUBJECTS))
}

/// One flow a line, written while the kernel lists them.
fn lines(arguments: &Conns, screen: &Screen, snapshot: &mut Snapshot, from: &mut From) -> Result<(), Failure> {
    let mut unread = Vec::new();
    screen.stream(|out| {
        let mut out = BufWriter::with_capacity(PIECE, out);
        let mut outcome: io::Result<()> = Ok(());
        unread = from.each(&arguments.tracked.filter(), |flow| match flows::write_line(&flow, &mut out) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                outcome = Err(error);
                ControlFlow::Break(())
            }
        });
        outcome.and_then(|()| out.flush())
    })?;
    snapshot.unread.extend(unread);
    for unread in snapshot.unread_about(&SUBJECTS) {
        screen.note(&format!("could not read {}: {}; {}", unread.source, unread.error, unread.means));
    }
    Ok(())
}

/// What a document holds, given while the kernel lists it.
struct Whole<'a> {
    snapshot: &'a mut Snapshot,
    from: &'a mut From,
    filter: FlowFilter,
}

impl Listing for Whole<'_> {
    fn each(&mut self, take: &mut dyn FnMut(&Flow) -> ControlFlow<()>) {
        let unread = self.from.each(&self.filter, |flow| take(&flow));
        self.snapshot.unread.extend(unread);
    }

    fn rest(&mut self) -> Map<String, Value> {
        let expected = expected(self.snapshot, self.from);
        let keys = [("expectations", flows::expectations(&expected)), ("unread", json!(self.snapshot.unread))];
        keys.map(|(key, value)| (key.to_owned(), value)).into_iter().collect()
    }
}

/// All of them, in the order of their ends.
fn whole(arguments: &Conns, screen: &Screen, snapshot: &mut Snapshot, from: &mut From) -> Result<(), Failure> {
    let mut found = Vec::new();
    let unread = from.each(&arguments.tracked.filter(), |flow| {
        found.push(flow);
        ControlFlow::Continue(())
    });
    snapshot.unread.extend(unread);
    found.sort_by_key(|flow| (flow.protocol, flow.original, flow.zone, flow.id));
    let expected = expected(snapshot, from);
    if arguments.output == Output::Yaml {
        let mut out = document::head(SCHEMA, snapshot);
        out.insert("flows".to_owned(), flows::rows(&found));
        out.insert("expectations".to_owned(), flows::expectations(&expected));
        return screen.print(&yaml::print(&out));
    }
    let colour = |part, text: &str| screen.paint.part(part, text);
    let look = Look { headings: !arguments.no_headers, paint: &colour, columns: screen.columns, beside: None };
    let mut out = who::heading(snapshot, screen.paint, screen.width);
    out.push('\n');
    let unread = who::unread(snapshot, &SUBJECTS, screen.paint, screen.width);
    if found.is_empty() && unread.is_empty() {
        out.push_str("no tracked flows\n");
    } else if arguments.output == Output::Wide {
        out.push_str(&flows::wide(&found, look));
    } else {
        out.push_str(&flows::table(&found, look));
    }
    if !expected.is_empty() {
        out.push('\n');
        out.push_str(&flows::expected(&expected, look));
    }
    out.push_str(&unread);
    screen.print(&out)
}

/// What helpers expect.
fn expected(snapshot: &mut Snapshot, from: &mut From) -> Vec<Expectation> {
    let From::Live { tracking, .. } = from else {
        return snapshot.tracking.as_ref().map_or_else(Vec::new, |kept| kept.expectations.clone());
    };
    let (expected, unread) = tracking.expectations();
    // What refuses one list refuses the other, and that was said.
    let said = snapshot.unread_about(&SUBJECTS).any(|unread| unread.cause != Cause::Failed);
    snapshot.unread.extend(unread.into_iter().filter(|_| !said));
    expected
}

fn summarise(arguments: &Conns, screen: &Screen, snapshot: &mut Snapshot, from: &mut From) -> Result<(), Failure> {
    let mut tracked = Tracked::new();
    let unread = from.each(&arguments.tracked.filter(), |flow| {
        tracked.add(&flow, |address| snapshot.is_local(address));
        ControlFlow::Continue(())
    });
    let refused = !unread.is_empty();
    snapshot.unread.extend(unread);
    let kept = snapshot.tracking.clone();
    let (mut statistics, mut awaited, mut uses) = kept.map_or_else(Default::default, |kept| {
        (kept.statistics, Some(kept.expectations.len()), [kept.table, kept.node_table])
    });
    if let From::Live { tracking, netns, proc_root } = from {
        let (of_node, guessed) = table_use_of_node(proc_root);
        uses = [table_use(netns, proc_root), of_node].map(|table| {
            table.unwrap_or_else(|unread| {
                snapshot.unread.push(unread);
                None
            })
        });
        if guessed {
            screen.note(GUESSED_NODE);
        }
        if !refused {
            let (counted, unread) = tracking.statistics();
            statistics = counted;
            snapshot.unread.extend(unread);
            awaited = Some(tracking.expectations().0.len());
        }
    }
    let [table, node] = uses;
    let summary = Summary { tracked: &tracked, table, node, statistics: &statistics, expected: awaited };
    if !matches!(arguments.output, Output::Table | Output::Wide) {
        let mut out = document::head("nslens.flows-summary/v1", snapshot);
        summary::json(&summary, &mut out);
        return screen.print(&match arguments.output {
            Output::Yaml => yaml::print(&out),
            Output::Jsonl => document::line(&out.into()) + "\n",
            _ => document::print(out),
        });
    }
    let colour = |part, text: &str| screen.paint.part(part, text);
    let look = Look { headings: !arguments.no_headers, paint: &colour, columns: screen.columns, beside: None };
    let mut out = who::heading(snapshot, screen.paint, screen.width);
    out.push('\n');
    out.push_str(&summary::text(&summary, look));
    out.push_str(&who::unread(snapshot, &[Subject::Flows, Subject::Metadata], screen.paint, screen.width));
    screen.print(&out)
}
