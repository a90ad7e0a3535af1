//! `nslens coverage`: what happens to all new connections.

use clap::{Args, ValueEnum};

use super::conns::{SUBJECTS, source};
use super::rules::has_rules;
use super::unread_exit;
use crate::analysis::coverage::{Coverage as Answer, Narrow, Outcome, coverage, is_about_takers};
use crate::analysis::trace::asked::{mark, protocol};
use crate::analysis::trace::{Tracer, Verdict, port};
use crate::capture::{rules::Wanted, sets::Elements};
use crate::cli::arguments::{Looks, Where};
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::screen::Screen;
use crate::model::{Network, Protocol, Snapshot};
use crate::report::coverage as report;
use crate::report::{document, who, yaml};

/// Show what happens to all new connections, and who gets them
///
/// All packets that begin a connection are asked about at once, by the rules that were read: nothing is sent. Each row ends in its own
/// way; together they are everything.
#[derive(Debug, Args)]
#[command(
    before_long_help = "Examples:\n  sudo nslens coverage pod/productpage\n  sudo nslens coverage pod/productpage --who uid=1000 --to 10.0.0.0/8\n  sudo nslens coverage pod/productpage --ports\n"
)]
pub struct Coverage {
    /// pod/NAME, container/NAME, an ID, pid/N, ip/ADDRESS, netns/NAME, host, a file, -
    pub target: Option<String>,
    /// What comes in from outside only
    #[arg(long = "in", conflicts_with = "outgoing")]
    incoming: bool,
    /// What processes of the workload send only
    #[arg(long = "out")]
    outgoing: bool,
    /// Of these senders only: uid=1000, gid=1337, mark=0x539
    #[arg(long, value_name = "WHO", value_parser = sender, conflicts_with = "incoming")]
    who: Vec<Sender>,
    /// To this address or network only
    #[arg(long, value_name = "CIDR", value_parser = network)]
    to: Option<Network>,
    /// To this port or these only: 443, https, 8000-8999
    #[arg(long, value_name = "PORT", value_parser = ports)]
    port: Option<(u16, u16)>,
    /// tcp, udp, icmp, a number ...
    #[arg(long, value_name = "PROTOCOL", value_parser = protocol)]
    protocol: Option<Protocol>,
    /// IPv4 only
    #[arg(short = '4', long, conflicts_with = "ipv6")]
    ipv4: bool,
    /// IPv6 only
    #[arg(short = '6', long)]
    ipv6: bool,
    /// How each listening port is reached from outside
    #[arg(long, conflicts_with_all = ["who", "to", "port", "outgoing"])]
    ports: bool,
    /// table, json, jsonl, yaml, svg
    #[arg(short, long, value_name = "FORM", hide_possible_values = true)]
    output: Option<Output>,
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
    Svg,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sender {
    Uid(u32),
    Gid(u32),
    Mark(u32),
}

/// Runs the command.
pub(in crate::cli) fn run(arguments: &Coverage, screen: &Screen) -> Result<Exit, Failure> {
    let mut source = source(&arguments.place, screen);
    source.parts.waiting_only = true;
    source.parts.routes = true;
    source.parts.rules = Some(Wanted { elements: Elements::All, ..Wanted::default() });
    let snapshot = source.snapshot(arguments.target.as_deref())?;
    has_rules(&snapshot)?;
    if arguments.ports && (snapshot.sockets.is_none() || snapshot.interfaces.is_none()) {
        return Err(Failure::new(Exit::CannotTell, "who listens is not known here: rules alone do not tell it")
            .hint("ask a live workload, or a snapshot of one"));
    }
    let tracer = Tracer::of(&snapshot);
    let answer = coverage(&tracer, &arguments.narrow());
    if arguments.ports {
        told_ports(arguments, &snapshot, &answer, screen)?;
    } else {
        told(arguments, &snapshot, &answer, screen)?;
    }
    Ok(Exit::of([decided(&answer), unread_exit(&snapshot, &SUBJECTS)]))
}

/// What rules leave to chance is told with each of its ends, and is no failure; what could not be decided is.
fn decided(answer: &Answer<'_>) -> Exit {
    let open = |outcome: &Outcome<'_>| {
        let who = outcome.why.as_deref().is_some_and(is_about_takers);
        outcome.verdict == Verdict::Undecided && !who
    };
    let undecided = answer.classes.iter().flat_map(|class| &class.outcomes).any(open);
    if undecided || !answer.given_up.is_empty() { Exit::CannotTell } else { Exit::Done }
}

fn told(arguments: &Coverage, snapshot: &Snapshot, answer: &Answer<'_>, screen: &Screen) -> Result<(), Failure> {
    let blocks = || report::blocks(snapshot, answer, arguments.looks.verbose);
    match arguments.output.unwrap_or(Output::Table) {
        Output::Json => screen.print(&document::print(report::document(snapshot, answer))),
        Output::Yaml => screen.print(&yaml::print(&report::document(snapshot, answer))),
        Output::Jsonl => screen.print(&report::lines(answer)),
        Output::Svg => screen.print(&report::picture(&who::facts(snapshot).0, &blocks())),
        Output::Table => {
            let mut out = headed(snapshot, screen);
            out.push_str(&report::text(&blocks(), screen.paint, screen.width));
            screen.print(&out)?;
            if !arguments.looks.verbose {
                screen.note("packets that no connection has (to groups, to all, from the workload's own addresses) are left out: -v");
            }
            Ok(())
        }
    }
}

fn told_ports(arguments: &Coverage, snapshot: &Snapshot, answer: &Answer<'_>, screen: &Screen) -> Result<(), Failure> {
    let reached = report::reached(snapshot, answer);
    match arguments.output.unwrap_or(Output::Table) {
        Output::Json => screen.print(&document::print(report::ports_document(snapshot, &reached))),
        Output::Yaml => screen.print(&yaml::print(&report::ports_document(snapshot, &reached))),
        Output::Jsonl | Output::Svg => Err(Failure::new(Exit::Usage, "--ports goes with table, json and yaml")),
        Output::Table if reached.is_empty() => screen.print(&format!("{}nobody listens\n", headed(snapshot, screen))),
        Output::Table => screen.print(&(headed(snapshot, screen) + &report::ports(&reached, screen.paint))),
    }
}

/// Who it is, and what could not be read.
fn headed(snapshot: &Snapshot, screen: &Screen) -> String {
    let mut out = who::heading(snapshot, screen.paint, screen.width);
    out.push_str(&who::unread(snapshot, &SUBJECTS, screen.paint, screen.width));
    out.push('\n');
    out
}

impl Coverage {
    fn narrow(&self) -> Narrow {
        let incoming = match (self.incoming || self.ports, self.outgoing || !self.who.is_empty()) {
            (true, _) => Some(true),
            (_, true) => Some(false),
            _ => None,
        };
        let ipv6 = match (self.ipv4, self.ipv6) {
            (true, _) => Some(false),
            (_, true) => Some(true),
            _ => None,
        };
        let mut narrow =
            Narrow { incoming, ipv6, protocol: self.protocol, to: self.to, ports: self.port, ..Narrow::default() };
        for sender in &self.who {
            match sender {
                Sender::Uid(uid) => narrow.uid = Some(*uid),
                Sender::Gid(gid) => narrow.gid = Some(*gid),
                Sender::Mark(mark) => narrow.mark = Some(*mark),
            }
        }
        narrow
    }
}

/// `uid=1000`.
fn sender(text: &str) -> Result<Sender, String> {
    let wrong = || "uid=NUMBER, gid=NUMBER or mark=NUMBER".to_owned();
    let (name, value) = text.split_once('=').ok_or_else(wrong)?;
    let number = || value.parse().ok().filter(|_| value.bytes().all(|byte| byte.is_ascii_digit())).ok_or_else(wrong);
    match name {
        "uid" => Ok(Sender::Uid(number()?)),
        "gid" => Ok(Sender::Gid(number()?)),
        "mark" => Ok(Sender::Mark(mark(value)?)),
        _ => Err(wrong()),
    }
}

/// `10.0.0.0/8`, `fd00::5`.
fn network(text: &str) -> Result<Network, String> {
    let wrong = || "an address or a network: 10.0.0.5, 10.0.0.0/8, fd00::/8".to_owned();
    let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
    let address: std::net::IpAddr = address.parse().map_err(|_| wrong())?;
    let most = if address.is_ipv6() { 128 } else { 32 };
    let bits = bits.map_or(Ok(most), |bits| bits.parse().map_err(|_| wrong()))?;
    if bits > most {
        return Err(wrong());
    }
    Ok(Network { address, bits })
}

/// `443`, `https`, `8000-8999`.
fn ports(text: &str) -> Result<(u16, u16), String> {
    let wrong = || "a port, the name of its service, or a range: 443, https, 8000-8999".to_owned();
    if let Some(only) = port(text) {
        return Ok((only, only));
    }
    let (from, to) = text.split_once('-').ok_or_else(wrong)?;
    match (from.parse::<u16>(), to.parse::<u16>()) {
        (Ok(from), Ok(to)) if from <= to => Ok((from, to)),
        _ => Err(wrong()),
    }
}
