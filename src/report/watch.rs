//! Changes of connections, one a line: [for people](Table), or [for programs](write_line).

use std::io::{self, Write};
use std::time::{Duration, UNIX_EPOCH};

use serde::Serialize;

use super::flows::named;
use super::layout::OneLine;
use super::paint::Paint;
use crate::analysis::following::{By, Change, Followed, What};
use crate::analysis::join::Way;
use crate::model::{Endpoint, Process, Protocol, RuleRef};
use crate::report::conns::Part;
use crate::report::escape::escape;

/// What was found out about a change beside itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct Judged<'a> {
    /// The way of the connection; `None` where events were lost.
    pub way: Option<Way>,
    /// The rule that redirects or exempts it.
    pub rule: Option<&'a RuleRef>,
    /// Who holds its socket.
    pub owner: Option<&'a Process>,
    /// UID of the socket, as the node counts.
    pub uid: Option<u32>,
    /// There was too much at once to look for the owner and the rule.
    pub unsought: bool,
}

/// One change as `-o jsonl` has it.
#[derive(Debug, Serialize)]
struct Row<'a> {
    time: String,
    event: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    connections: Option<usize>,
    #[serde(flatten)]
    of: Option<Of<'a>>,
}

/// The connection of a change.
#[derive(Debug, Serialize)]
struct Of<'a> {
    late: bool,
    source: &'static str,
    id: Option<u32>,
    cookie: Option<u64>,
    protocol: String,
    from: String,
    original_destination: String,
    actual_destination: Option<String>,
    way: &'static str,
    rule: Option<&'a RuleRef>,
    uid: Option<u32>,
    process: Option<Holder<'a>>,
    unsought: bool,
    answered: bool,
    accepted: Option<bool>,
    milliseconds: Option<u64>,
    packets: Option<u64>,
    bytes: Option<u64>,
}

/// The process that holds its socket.
#[derive(Debug, Serialize)]
struct Holder<'a> {
    pid: u32,
    name: &'a str,
    container: Option<&'a str>,
}

/// Writes a change on a line of its own, for programs.
///
/// # Errors
/// The writer's own.
pub fn write_line(change: &Change, judged: Judged<'_>, out: &mut impl Write) -> io::Result<()> {
    let connections = if let What::Lost(connections) = change.what { connections } else { None };
    let row = Row {
        time: humantime::format_rfc3339_micros(UNIX_EPOCH + Duration::from_nanos(change.at)).to_string(),
        event: change.what.word(),
        connections,
        of: change.of.as_ref().map(|of| row(change, of, judged)),
    };
    row.serialize(&mut serde_json::Serializer::with_formatter(&mut *out, OneLine))?;
    out.write_all(b"\n")
}

fn row<'a>(change: &Change, of: &Followed, judged: Judged<'a>) -> Of<'a> {
    let (source, id, cookie) = match of.by {
        By::Entry { id, .. } => ("conntrack", Some(id), None),
        By::Socket { cookie, .. } => ("sockets", None, Some(cookie)),
    };
    let holder =
        |owner: &'a Process| Holder { pid: owner.pid, name: &owner.name, container: owner.container.as_deref() };
    Of {
        late: change.late,
        source,
        id,
        cookie,
        protocol: protocol(of.protocol),
        from: end(of, of.source),
        original_destination: end(of, of.dialled),
        actual_destination: of.went.map(|went| end(of, went)),
        way: judged.way.map_or("unknown", Way::word),
        rule: judged.rule,
        uid: judged.uid,
        process: judged.owner.map(holder),
        unsought: judged.unsought,
        answered: of.answered,
        accepted: match of.by {
            // Of one that no list showed it is known only where something waits at its port still.
            By::Socket { accepted, uid, .. } => Some(accepted).filter(|accepted| *accepted || uid.is_some()),
            By::Entry { .. } => None,
        },
        milliseconds: change.lasted.map(|nanoseconds| nanoseconds / 1_000_000),
        packets: change.counted.map(|(packets, _)| packets),
        bytes: change.counted.map(|(_, bytes)| bytes),
    }
}

/// How lines for people look.
#[derive(Debug, Clone, Copy)]
pub struct Table {
    /// With the date, the number by which the kernel knows the connection, the UID and the rule.
    pub wide: bool,
    /// Seconds by which the times that are shown are ahead of UTC; `None` says UTC.
    pub east: Option<i64>,
    /// Colours.
    pub paint: Paint,
}

impl Table {
    /// The names of the columns.
    #[must_use]
    pub fn heading(&self) -> String {
        let time = format!("{:width$}", "TIME", width = if self.wide { 27 } else { 15 });
        let line = format!(
            "{time}  {:<11}  {:<20}  {:<5}  {:<21}  {:<21}  {:<21}  {:<11}  MORE",
            "EVENT", "PROCESS", "PROTO", "FROM", "DIALLED", "WENT TO", "WAY"
        );
        self.paint.part(Part::Heading, &line) + "\n"
    }

    /// Writes a change on a line of its own, for people.
    ///
    /// # Errors
    /// The writer's own.
    pub fn write_line(&self, change: &Change, judged: Judged<'_>, out: &mut impl Write) -> io::Result<()> {
        let time = self.time(change.at);
        let Some(of) = &change.of else {
            let now = match change.what {
                What::Lost(Some(count)) => format!("the {count} connections that are tracked are as they are now"),
                _ => "nobody can list what is there now".to_owned(),
            };
            let text = format!("events were lost here; {now}");
            return writeln!(out, "{time}  {}", self.paint.part(Part::Way(Way::Unknown), &text));
        };
        let owner = match judged.owner {
            Some(owner) => format!("{}/{}", escape(&owner.name), owner.pid),
            None => "?".to_owned(),
        };
        let went = match of.went {
            Some(went) if went == of.dialled => "as dialled".to_owned(),
            Some(went) => end(of, went),
            None => "?".to_owned(),
        };
        let way = judged.way.unwrap_or(Way::Unknown);
        let shown = self.paint.part(Part::Way(way), &format!("{:<11}", way.word()));
        let line = format!(
            "{time}  {:<11}  {owner:<20}  {:<5}  {:<21}  {:<21}  {went:<21}  {shown}  {}",
            change.what.word(),
            protocol(of.protocol),
            end(of, of.source),
            end(of, of.dialled),
            self.more(change, of, judged)
        );
        writeln!(out, "{}", line.trim_end())
    }

    fn more(&self, change: &Change, of: &Followed, judged: Judged<'_>) -> String {
        let mut words = Vec::new();
        words.extend(change.lasted.filter(|_| change.what != What::Established).map(lasted));
        let over = matches!(change.what, What::Closed | What::Counted);
        words.extend((over && !of.answered).then(|| "never answered".to_owned()));
        words.extend(change.counted.map(|(packets, bytes)| format!("{packets} packets, {bytes} bytes")));
        let accepted = matches!(of.by, By::Socket { accepted: true, .. });
        words.extend(accepted.then(|| "accepted".to_owned()));
        words.extend(change.late.then(|| "seen by looking again".to_owned()));
        if self.wide {
            words.push(match of.by {
                By::Entry { id, zone: 0, .. } => format!("id {id}"),
                By::Entry { id, zone, .. } => format!("id {id} zone {zone}"),
                By::Socket { cookie, .. } => format!("cookie {cookie}"),
            });
            words.extend(judged.uid.map(|uid| format!("UID {uid}")));
            words.extend(
                judged.owner.and_then(|owner| owner.container.as_deref()).map(|name| escape(name).into_owned()),
            );
            words.extend(judged.rule.map(|rule| format!("rule {}", named_rule(rule))));
        }
        words.join(", ")
    }

    /// The time of day with microseconds; wide with its date.
    fn time(&self, at: u64) -> String {
        let seconds = at / 1_000_000_000;
        let shown = seconds.saturating_add_signed(self.east.unwrap_or_default());
        let moment = UNIX_EPOCH + Duration::new(shown, u32::try_from(at % 1_000_000_000).unwrap_or_default());
        let text = humantime::format_rfc3339_micros(moment).to_string();
        let text = text.trim_end_matches('Z');
        let utc = if self.east.is_none() { "Z" } else { "" };
        match text.split_once('T') {
            Some((_, time)) if !self.wide => format!("{time}{utc}"),
            _ => format!("{text}{utc}"),
        }
    }
}

/// So many changes of each kind, for the end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Connections that were opened.
    pub opened: u64,
    /// Connections that were closed.
    pub closed: u64,
    /// How often events were lost.
    pub lost: u64,
}

impl Totals {
    /// Counts a change.
    pub fn count(&mut self, what: What) {
        match what {
            What::Open => self.opened += 1,
            What::Closed => self.closed += 1,
            What::Lost(_) => self.lost += 1,
            What::There | What::Answered | What::Established | What::Counted => {}
        }
    }
}

impl std::fmt::Display for Totals {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { opened, closed, lost } = self;
        let lost = match lost {
            0 => "none was lost".to_owned(),
            1 => "events were lost once".to_owned(),
            times => format!("events were lost {times} times"),
        };
        write!(out, "{opened} opened, {closed} closed, {lost}")
    }
}

fn lasted(nanoseconds: u64) -> String {
    let seconds = nanoseconds / 1_000_000_000;
    if seconds < 60 {
        format!("{seconds}.{:03} s", nanoseconds % 1_000_000_000 / 1_000_000)
    } else {
        humantime::format_duration(Duration::from_secs(seconds)).to_string()
    }
}

fn named_rule(rule: &RuleRef) -> String {
    format!("{} {} {}", escape(&rule.table), escape(&rule.chain), rule.number)
}

fn protocol(protocol: Protocol) -> String {
    named(protocol).map_or_else(|| protocol.number().to_string(), str::to_owned)
}

fn end(of: &Followed, end: Endpoint) -> String {
    let ports = matches!(of.protocol.number(), 6 | 17 | 33 | 132 | 136);
    if ports { end.to_string() } else { end.address.to_string() }
}
