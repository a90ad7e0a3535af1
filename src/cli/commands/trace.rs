//! `nslens trace`: where one packet goes, and why.

use std::net::IpAddr;

use clap::{Args, ValueEnum};

use super::conns::{SUBJECTS, source};
use super::rules::has_rules;
use super::unread_exit;
use crate::analysis::trace::{Question, Tracer, Verdict};
use crate::capture::{rules::Wanted, sets::Elements};
use crate::cli::arguments::{Looks, Where};
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::screen::Screen;
use crate::model::{Endpoint, Protocol, Snapshot};
use crate::packet::DeviceName;
use crate::report::trace::{self as report, Form, Story};
use crate::report::{document, who};

/// Show where a packet goes and why, without sending one.
///
/// The rules that were read are asked, hook by hook, as the kernel would ask them; nothing is sent and no counter moves. What is
/// not told of the packet is worked out from the workload; what cannot be known is followed both ways.
#[derive(Debug, Args)]
#[command(
    before_long_help = "Examples:\n  sudo nslens trace pod/productpage --to 10.0.0.5:443 --uid 1000\n  sudo nslens trace pod/productpage --in --to 10.244.1.12:9080\n"
)]
pub struct Trace {
    /// pod/NAME, container/NAME, an ID, pid/N, ip/ADDRESS, netns/NAME, host, a snapshot, rules, -
    pub target: Option<String>,
    /// Where it is sent: ADDRESS or ADDRESS:PORT, such as 10.0.0.5:443 or [fd00::5]:https
    #[arg(long, value_name = "ADDRESS")]
    to: String,
    /// Where it comes from
    #[arg(long, value_name = "ADDRESS")]
    from: Option<String>,
    /// It comes in from outside
    #[arg(long = "in")]
    incoming: bool,
    /// A process of the workload sends it (this is the default)
    #[arg(long = "out", conflicts_with = "incoming")]
    outgoing: bool,
    /// tcp, udp, icmp, icmpv6, or a number
    #[arg(long, value_name = "PROTOCOL", default_value = "tcp", value_parser = protocol)]
    protocol: Protocol,
    /// User of the process that sends it
    #[arg(long, value_name = "UID", conflicts_with = "incoming")]
    uid: Option<u32>,
    /// Group of the process that sends it
    #[arg(long, value_name = "GID", conflicts_with = "incoming")]
    gid: Option<u32>,
    /// Mark of the socket, or of the packet: 1337 or 0x539
    #[arg(long, value_name = "MARK", default_value = "0", hide_default_value = true, value_parser = number)]
    mark: u32,
    /// Device by which it comes in or leaves
    #[arg(long, value_name = "DEVICE", value_parser = device)]
    interface: Option<DeviceName>,
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
pub(in crate::cli) fn run(arguments: &Trace, screen: &Screen) -> Result<Exit, Failure> {
    let question = question(arguments)?;
    let mut source = source(&arguments.place, screen);
    source.parts.routes = true;
    source.parts.rules = Some(Wanted { elements: Elements::All, ..Wanted::default() });
    let snapshot = source.snapshot(arguments.target.as_deref())?;
    has_rules(&snapshot)?;
    let tracer = Tracer::of(&snapshot);
    let trace = tracer.trace(&question);
    let story = Story { snapshot: &snapshot, rules: tracer.rules(), question: &question, trace: &trace };
    let undecided = if trace.verdict() == Verdict::Undecided { Exit::CannotTell } else { Exit::Done };
    if arguments.output == Output::Json {
        screen.print(&document::print(report::json(&story)))?;
        return Ok(Exit::of([undecided, exit(&snapshot)]));
    }
    let Screen { paint, width, .. } = *screen;
    let mut out = report::text(&story, Form { paint, width, all: arguments.looks.verbose });
    out.push_str(&who::unread(&snapshot, &SUBJECTS, paint, width));
    screen.print(&out)?;
    Ok(Exit::of([undecided, exit(&snapshot)]))
}

fn exit(snapshot: &Snapshot) -> Exit {
    unread_exit(snapshot, &SUBJECTS)
}

/// The packet that is asked about.
fn question(arguments: &Trace) -> Result<Question, Failure> {
    let wrong = |text: &str| {
        Failure::new(Exit::Usage, format!("{text:?} is no address"))
            .hint("an address, or an address and a port, such as 10.0.0.5:443 or [fd00::5]:443")
    };
    let (address, port) = end(&arguments.to).ok_or_else(|| wrong(&arguments.to))?;
    let from = match &arguments.from {
        Some(text) => Some(end(text).ok_or_else(|| wrong(text))?),
        None => None,
    };
    if port.is_none() && report::has_ports(arguments.protocol) {
        return Err(Failure::new(
            Exit::Usage,
            format!("{} packets have a port, and --to names none", arguments.protocol),
        )
        .hint(format!("--to {}", Endpoint::new(address, 443))));
    }
    if from.is_some_and(|(from, _)| from.is_ipv6() != address.is_ipv6()) {
        return Err(Failure::new(Exit::Usage, "--from and --to are of two families"));
    }
    Ok(Question {
        incoming: arguments.incoming,
        protocol: arguments.protocol,
        source: from.map(|(address, _)| address),
        source_port: from.and_then(|(_, port)| port),
        uid: arguments.uid,
        gid: arguments.gid,
        mark: arguments.mark,
        interface: arguments.interface,
        ..Question::to(Endpoint::new(address, port.unwrap_or_default()))
    })
}

/// `ADDRESS`, `ADDRESS:PORT`, `[ADDRESS]:PORT`; a port may be a service's name.
fn end(text: &str) -> Option<(IpAddr, Option<u16>)> {
    if let Ok(address) = text.trim_start_matches('[').trim_end_matches(']').parse() {
        return Some((address, None));
    }
    let (address, port) = text.rsplit_once(':')?;
    let address = address.strip_prefix('[').map_or(Some(address), |inner| inner.strip_suffix(']'))?;
    Some((address.parse().ok()?, Some(crate::analysis::trace::port(port)?)))
}

fn protocol(text: &str) -> Result<Protocol, String> {
    match text.to_ascii_lowercase().as_str() {
        "tcp" => Ok(Protocol::Tcp),
        "udp" => Ok(Protocol::Udp),
        "icmp" => Ok(Protocol::Other(1)),
        "icmpv6" | "ipv6-icmp" => Ok(Protocol::Other(58)),
        other => match other.parse::<u8>() {
            Ok(number) => Ok(Protocol::from_number(number)),
            Err(_) => Err("there are: tcp, udp, icmp, icmpv6, or a number up to 255".to_owned()),
        },
    }
}

fn number(text: &str) -> Result<u32, String> {
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed.map_err(|_| "a number of 32 bits, such as 1337 or 0x539".to_owned())
}

fn device(text: &str) -> Result<DeviceName, String> {
    DeviceName::new(text).filter(|_| !text.is_empty()).ok_or_else(|| "a device's name has 1 to 15 bytes".to_owned())
}
