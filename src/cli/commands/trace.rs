//! `nslens trace`: where one packet goes, and why.

mod batch;

use std::borrow::Cow;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::conns::{SUBJECTS, source};
use super::rules::has_rules;
use super::unread_exit;
use crate::analysis::trace::asked::{Described, Wrong, device, mark, protocol, state};
use crate::analysis::trace::{Followed, Identity, IdentityError, Question, Stop, Trace as Answer, Tracer, Verdict};
use crate::capture::{rules::Wanted, sets::Elements};
use crate::cli::arguments::{Looks, Where};
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::screen::Screen;
use crate::model::{Protocol, Snapshot};
use crate::packet::{DeviceName, Known, state as tracking};
use crate::report::trace::{self as report, Form, Story, Teller, Writer};
use crate::report::{document, graph, who, yaml};

/// Show where a packet goes and why, without sending one.
///
/// The rules that were read are asked, hook by hook, as the kernel would ask them; nothing is sent and no counter moves. What is
/// not told of the packet is worked out from the workload; what cannot be known is followed both ways.
#[derive(Debug, Args)]
#[command(
    before_long_help = "Examples:\n  sudo nslens trace pod/productpage --to 10.0.0.5:443 --as productpage --follow\n  sudo nslens trace pod/productpage --in --to 10.244.1.12:9080\n  sudo nslens trace pod/productpage --to 10.0.0.5:443 --uid 1000 -v\n"
)]
pub struct Trace {
    /// pod/NAME, container/NAME, an ID, pid/N, ip/ADDRESS, netns/NAME, host, a file, -
    pub target: Option<String>,
    /// Where it is sent: 10.0.0.5:443, [fd00::5]:https
    #[arg(long, value_name = "ADDRESS", required_unless_present = "batch")]
    to: Option<String>,
    /// Where it comes from (default: worked out)
    #[arg(long, value_name = "ADDRESS")]
    from: Option<String>,
    /// It comes in from outside
    #[arg(long = "in")]
    incoming: bool,
    /// A process of the workload sends it: the default
    #[arg(long = "out", conflicts_with = "incoming", hide_short_help = true)]
    outgoing: bool,
    /// tcp (the default), udp, icmp, a number ...
    #[arg(long, value_name = "PROTOCOL", value_parser = protocol)]
    protocol: Option<Protocol>,
    /// User of the process that sends it
    #[arg(long, value_name = "UID", value_parser = owner)]
    uid: Option<u32>,
    /// Group of the process that sends it
    #[arg(long, value_name = "GID", value_parser = owner)]
    gid: Option<u32>,
    /// Its further groups: 1000,1337
    #[arg(long, hide_short_help = true, value_name = "GIDS", value_delimiter = ',', value_parser = owner)]
    groups: Option<Vec<u32>>,
    /// Mark of the socket, or of the packet: 1337 or 0x539
    #[arg(long, hide_short_help = true, value_name = "MARK", value_parser = mark)]
    mark: Option<u32>,
    /// Device by which it comes in or leaves
    #[arg(long, hide_short_help = true, value_name = "DEVICE", value_parser = device)]
    interface: Option<DeviceName>,
    /// new, established, related, invalid, untracked
    #[arg(long, hide_short_help = true, value_name = "STATE", value_parser = state)]
    state: Option<u32>,
    /// Sent by a process as it runs: CONTAINER or pid/N
    #[arg(long = "as", value_name = "WHO", conflicts_with_all = ["uid", "gid", "groups", "incoming"])]
    who: Option<String>,
    /// Go on where a proxy takes it
    ///
    /// The proxy dials the same destination anew, as its own user: on and on until the packet leaves, arrives, or goes round in a
    /// loop.
    #[arg(long)]
    follow: bool,
    /// Packets as JSON, one a line, from a file or -
    ///
    /// Only `destination` is needed: {"direction":"out","protocol":"tcp","source":"10.0.0.2:40000",
    /// "destination":"10.0.0.5:80","uid":1000,"gid":1000,"groups":[],"mark":0,"interface":null,"state":"new"}. Each is answered on
    /// a line, in the same order.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["to", "from", "incoming", "outgoing", "protocol", "uid", "gid", "groups", "mark", "interface", "state", "who"])]
    batch: Option<PathBuf>,
    /// table, json, jsonl, yaml, mermaid, dot, svg
    ///
    /// mermaid, dot and svg draw the chains that the packet passes, with what it takes in them marked.
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
    Mermaid,
    Dot,
    Svg,
}

/// Runs the command.
pub(in crate::cli) fn run(arguments: &Trace, screen: &Screen) -> Result<Exit, Failure> {
    arguments.check()?;
    let question = arguments.question()?;
    let snapshot = taken(arguments, question.as_ref(), screen)?;
    if let (Some(question), Some(known)) = (&question, &snapshot.interfaces)
        && let Some(device) = question.interface
        && !known.iter().any(|interface| interface.name == device.as_str())
    {
        let names: Vec<&str> = known.iter().map(|interface| interface.name.as_str()).collect();
        return Err(Failure::new(Exit::NotFound, format!("no device is called {}", device.as_str()))
            .hint(format!("there is: {}", names.join(", "))));
    }
    let tracer = Tracer::of(&snapshot);
    let teller = Teller::of(&snapshot, tracer.rules());
    let mut writer = Writer::new(&teller, arguments.looks.verbose);
    let unread = unread_exit(&snapshot, &SUBJECTS);
    let Some(question) = question else {
        let answered = batch::run(arguments, &tracer, &mut writer, screen)?;
        return Ok(Exit::of([answered, unread]));
    };
    let question = arguments.known(question, &tracer)?;
    let asked = Asked { arguments, snapshot: &snapshot, teller: &teller, screen };
    let decided = match arguments.follow {
        true => asked.followed(&tracer.follow(&question), &mut writer)?,
        false => {
            let trace = tracer.trace(&question);
            let story = Story { question: &question, trace: &trace };
            asked.told(story, &mut writer)?;
            asked.advise(&question, &trace);
            trace.verdict() != Verdict::Undecided
        }
    };
    Ok(Exit::of([if decided { Exit::Done } else { Exit::CannotTell }, unread]))
}

/// One packet that was asked about.
struct Asked<'q, 't> {
    arguments: &'q Trace,
    snapshot: &'q Snapshot,
    teller: &'q Teller<'t>,
    screen: &'q Screen,
}

impl Asked<'_, '_> {
    fn told(&self, story: Story<'_, '_>, writer: &mut Writer<'_>) -> Result<(), Failure> {
        let Self { teller, screen, .. } = self;
        let drawn = || report::picture(teller, story);
        match self.arguments.output.unwrap_or(Output::Table) {
            Output::Json => screen.print(&document::print(report::document(writer, story))),
            Output::Yaml => screen.print(&yaml::print(&report::document(writer, story))),
            Output::Jsonl => {
                let mut line = String::new();
                writer.write(story, &mut line);
                line.push('\n');
                screen.print(&line)
            }
            Output::Mermaid => screen.print(&graph::mermaid(&drawn())),
            Output::Dot => screen.print(&graph::dot(&drawn())),
            Output::Svg => screen.print(&graph::svg(&drawn(), env!("CARGO_PKG_VERSION"))),
            Output::Table => self.page(&report::text(teller, story, self.form())),
        }
    }

    /// Whether the end is known.
    fn followed(&self, followed: &Followed<'_>, writer: &mut Writer<'_>) -> Result<bool, Failure> {
        let Self { teller, screen, .. } = self;
        match self.arguments.output.unwrap_or(Output::Table) {
            Output::Json => screen.print(&document::print(report::followed_document(writer, followed)))?,
            Output::Yaml => screen.print(&yaml::print(&report::followed_document(writer, followed)))?,
            Output::Jsonl => {
                let mut line = String::new();
                writer.write_followed(followed, &mut line);
                line.push('\n');
                screen.print(&line)?;
            }
            // Only the forms above come here: see `check`.
            _ => self.page(&report::followed(teller, followed, self.form()))?,
        }
        Ok(ends(followed))
    }

    fn form(&self) -> Form {
        let Screen { paint, width, .. } = *self.screen;
        Form { paint, width, all: self.arguments.looks.verbose }
    }

    /// The answer is the last line: what could not be read stands above it.
    fn page(&self, told: &str) -> Result<(), Failure> {
        let Screen { paint, width, .. } = *self.screen;
        let mut out = who::heading(self.snapshot, paint, width);
        out.push_str(&who::unread(self.snapshot, &SUBJECTS, paint, width));
        out.push('\n');
        out.push_str(told);
        self.screen.print(&out)
    }

    /// What would have told more.
    fn advise(&self, question: &Question, trace: &Answer<'_>) {
        let unknown = trace.packet.uid == Known::Unknown || trace.packet.gid == Known::Unknown;
        if trace.verdict() == Verdict::Undecided && !question.incoming && question.uid.is_none() && unknown {
            self.screen.note("who sends it makes the difference, and was not told: --uid, --gid, or --as CONTAINER");
        }
    }
}

/// Whether the end of a packet that was followed is known.
fn ends(followed: &Followed<'_>) -> bool {
    let undecided = || followed.steps.last().is_some_and(|last| last.trace.verdict() == Verdict::Undecided);
    match followed.stop {
        Stop::Arrived => !undecided(),
        Stop::Loop { .. } => true,
        Stop::Unclear(_) | Stop::TooLong => false,
    }
}

/// All that a packet's way is worked out from. Who asks about one that begins a connection, from whatever port, need not wait until the
/// kernel has gone through its tables of connections.
fn taken(arguments: &Trace, question: Option<&Question>, screen: &Screen) -> Result<Snapshot, Failure> {
    let begins = |question: &Question| {
        matches!(question.protocol, Protocol::Tcp | Protocol::Udp)
            && question.source_port.is_none()
            && question.state.is_none_or(|state| state == tracking::NEW)
    };
    let mut source = source(&arguments.place, screen);
    source.parts.waiting_only = !arguments.follow && question.is_some_and(begins);
    source.parts.routes = true;
    source.parts.rules = Some(Wanted { elements: Elements::All, ..Wanted::default() });
    let snapshot = source.snapshot(arguments.target.as_deref())?;
    has_rules(&snapshot)?;
    Ok(snapshot)
}

impl Trace {
    /// Options that do not go together.
    fn check(&self) -> Result<(), Failure> {
        if self.follow && matches!(self.output, Some(Output::Mermaid | Output::Dot | Output::Svg)) {
            return Err(Failure::new(Exit::Usage, "--follow has no picture: it goes with table, json, jsonl and yaml"));
        }
        let Some(batch) = &self.batch else { return Ok(()) };
        if !matches!(self.output, None | Some(Output::Json | Output::Jsonl)) {
            return Err(Failure::new(Exit::Usage, "--batch answers in lines of JSON, and in no other form"));
        }
        if batch.as_os_str() == "-" && self.target.as_deref() == Some("-") {
            return Err(Failure::new(Exit::Usage, "standard input can be the target or the packets, not both"));
        }
        Ok(())
    }

    /// The packet that is asked about; none where they come by `--batch`.
    fn question(&self) -> Result<Option<Question>, Failure> {
        let Some(to) = &self.to else { return Ok(None) };
        let described = Described {
            to: Cow::Borrowed(to),
            from: self.from.as_deref().map(Cow::Borrowed),
            incoming: self.incoming,
            protocol: self.protocol,
            uid: self.uid,
            gid: self.gid,
            groups: self.groups.clone(),
            mark: self.mark.unwrap_or_default(),
            interface: self.interface,
            state: self.state,
        };
        described.question().map(Some).map_err(wrong)
    }
}

impl Trace {
    /// The question, with who sends the packet.
    fn known(&self, question: Question, tracer: &Tracer<'_>) -> Result<Question, Failure> {
        let Some(who) = &self.who else { return Ok(question) };
        let Identity { uid, gid, groups } = tracer.identity(who).map_err(|error| {
            let exit = match &error {
                IdentityError::Unread | IdentityError::Several { .. } => Exit::Usage,
                IdentityError::Nobody { .. } => Exit::NotFound,
                IdentityError::Uncounted { .. } => Exit::CannotTell,
            };
            let failure = Failure::of(exit, &error);
            match error {
                IdentityError::Several { .. } => failure.hint("one of them: --as pid/NUMBER"),
                IdentityError::Unread | IdentityError::Uncounted { .. } => {
                    failure.hint("say it by number: --uid, --gid, --groups")
                }
                IdentityError::Nobody { .. } => failure,
            }
        })?;
        Ok(Question { uid: Some(uid), gid: Some(gid), groups: Some(groups), ..question })
    }
}

fn wrong(Wrong { text, hint }: Wrong) -> Failure {
    let failure = Failure::new(Exit::Usage, text);
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// The number of a user or group.
fn owner(text: &str) -> Result<u32, String> {
    let number = text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
    number.ok_or_else(|| {
        "a number: rules and sockets know users and groups by number only, and each container has names of its own (`id -u NAME` there)"
            .to_owned()
    })
}
