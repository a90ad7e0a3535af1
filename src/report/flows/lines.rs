//! Flows one a line: for people, or with everything, for wide screens and `grep`.

use super::json::date;
use super::{end, word};
use crate::model::{Expectation, Flow, Side, Transport, Tuple};
use crate::report::conns::{Look, Part};
use crate::report::escape::escape;

const HEADING: [&str; 6] = ["PROTO", "STATE", "FROM", "DIALLED", "WENT TO", "LEFT"];
const WIDE_HEADING: [&str; 15] = [
    "ID",
    "PROTO",
    "STATE",
    "SOURCE",
    "DESTINATION",
    "REPLY-SOURCE",
    "REPLY-DESTINATION",
    "STATUS",
    "MARK",
    "ZONE",
    "LEFT",
    "PACKETS",
    "BYTES",
    "STARTED",
    "MORE",
];

/// The flows for people.
#[must_use]
pub fn table(flows: &[Flow], look: Look<'_>) -> String {
    let row = |flow: &Flow| {
        let went = if flow.reply.0 == flow.original.1 { "as dialled".to_owned() } else { end(flow, flow.reply.0) };
        let left = flow.timeout.map_or_else(String::new, |seconds| format!("{seconds} s"));
        [
            word(flow.protocol),
            state(flow),
            end(flow, flow.original.0) + &marks(flow, &flow.details.original, flow.original),
            end(flow, flow.original.1),
            went,
            left,
        ]
    };
    aligned(HEADING, flows.iter().map(row), look)
}

/// The flows, one a line with everything that is known; every cell is filled.
#[must_use]
pub fn wide(flows: &[Flow], look: Look<'_>) -> String {
    let or_dash = |number: Option<String>| number.unwrap_or_else(|| "-".to_owned());
    let row = |flow: &Flow| {
        let details = &flow.details;
        let status = flow.status_words().collect::<Vec<_>>().join(",");
        [
            flow.id.to_string(),
            word(flow.protocol),
            or_dash(flow.state.as_ref().map(|state| escape(state).replace(' ', "_"))),
            end(flow, flow.original.0),
            end(flow, flow.original.1),
            end(flow, flow.reply.0),
            end(flow, flow.reply.1),
            or_dash((!status.is_empty()).then_some(status)),
            format!("{:#x}", flow.mark),
            flow.zone.to_string(),
            or_dash(flow.timeout.map(|seconds| seconds.to_string())),
            or_dash(flow.packets.map(|packets| packets.to_string())),
            or_dash(flow.bytes.map(|bytes| bytes.to_string())),
            or_dash(details.started.map(date)),
            or_dash(Some(more(flow)).filter(|more| !more.is_empty())),
        ]
    };
    aligned(WIDE_HEADING, flows.iter().map(row), look)
}

/// The state that is tracked, else whether there was an answer.
fn state(flow: &Flow) -> String {
    let replied = flow.status & Flow::SEEN_REPLY != 0;
    let other = if replied { "answered" } else { "unanswered" };
    flow.state.as_ref().map_or_else(|| other.to_owned(), |state| escape(state).into_owned())
}

/// What stands in the place of ports.
fn marks(flow: &Flow, side: &Side, (source, destination): (crate::model::Endpoint, crate::model::Endpoint)) -> String {
    const GRE: u8 = 47;
    match side.icmp {
        Some(icmp) => format!(" type {} id {}", icmp.kind, icmp.id),
        None if flow.protocol.number() == GRE => format!(" keys {:#x} {:#x}", source.port, destination.port),
        None => String::new(),
    }
}

/// Everything that has no column, in words without blanks inside.
fn more(flow: &Flow) -> String {
    let details = &flow.details;
    let mut words = Vec::new();
    for (name, side, ends) in [("original", &details.original, flow.original), ("reply", &details.reply, flow.reply)] {
        words.extend(side.zone.map(|zone| format!("{name}-zone={zone}")));
        let place = marks(flow, side, ends).trim().replace(' ', ",");
        words.extend((!place.is_empty()).then(|| format!("{name}={place}")));
        words.extend(side.counted.map(|(packets, bytes)| format!("{name}-counted={packets}/{bytes}")));
        words.extend(
            side.adjusted.as_deref().map(|adjusted| {
                format!("{name}-sequence={}{:+}{:+}", adjusted.position, adjusted.before, adjusted.after)
            }),
        );
    }
    words.extend(details.transport.as_ref().map(transport));
    let labels: Vec<String> = details.labels.iter().map(u16::to_string).collect();
    words.extend((!labels.is_empty()).then(|| format!("labels={}", labels.join(","))));
    let text = |name: &str, text: &str| format!("{name}={}", escape(text).replace(char::is_whitespace, "_"));
    words.extend(details.helper.as_deref().map(|helper| text("helper", helper)));
    words.extend(details.security.as_deref().map(|context| text("security", context)));
    words.extend(
        details
            .synproxy
            .as_deref()
            .map(|kept| format!("synproxy={},{},{}", kept.sequence, kept.timestamp, kept.offset)),
    );
    words.extend(details.master.as_deref().map(|master| format!("master={}", tuple(master, ">"))));
    words.extend(details.stopped.map(|stopped| format!("stopped={}", date(stopped))));
    words.extend(details.holders.map(|holders| format!("use={holders}")));
    words.extend(details.unknown.iter().map(|part| format!("[{}:0x{}]", escape(&part.at), escape(&part.bytes))));
    words.join(" ")
}

fn transport(transport: &Transport) -> String {
    let or_none = |number: Option<u64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
    match transport {
        Transport::Tcp { original, reply } => {
            let side = |side: &crate::model::TcpSide| {
                let flags: Vec<_> = side.words().collect();
                format!("{}:{}", or_none(side.scale.map(u64::from)), flags.join(","))
            };
            format!("tcp={}/{}", side(original), side(reply))
        }
        Transport::Sctp { original, reply } => {
            format!("vtags={}/{}", or_none(original.map(u64::from)), or_none(reply.map(u64::from)))
        }
        Transport::Dccp { role, handshake } => {
            format!("dccp={}/{}", or_none(role.map(u64::from)), or_none(*handshake))
        }
    }
}

fn tuple(tuple: &Tuple, arrow: &str) -> String {
    format!("{}:{}{arrow}{}", word(tuple.protocol), tuple.source, tuple.destination)
}

/// What helpers expect, one a line; nothing where nothing is expected.
#[must_use]
pub fn expected(expected: &[Expectation], look: Look<'_>) -> String {
    let row = |one: &Expectation| {
        [
            one.helper.as_deref().map_or_else(|| "-".to_owned(), |helper| escape(helper).into_owned()),
            tuple(&one.expected, " → "),
            tuple(&one.mask, " → "),
            tuple(&one.master, " → "),
            one.timeout.map_or_else(String::new, |seconds| format!("{seconds} s")),
        ]
    };
    aligned(["HELPER", "EXPECTED", "MASK", "ANNOUNCED BY", "LEFT"], expected.iter().map(row), look)
}

/// Columns as wide as their widest cell, two blanks between them, nothing behind the last. No rows are no text.
pub(super) fn aligned<const N: usize>(
    heading: [&str; N],
    rows: impl Iterator<Item = [String; N]>,
    look: Look<'_>,
) -> String {
    let rows: Vec<[String; N]> = rows.collect();
    if rows.is_empty() {
        return String::new();
    }
    let heading = look.headings.then(|| heading.map(str::to_owned));
    let mut widths = [0; N];
    for row in heading.iter().chain(&rows) {
        widths.iter_mut().zip(row).for_each(|(width, cell)| *width = cell.chars().count().max(*width));
    }
    let line = |row: &[String; N]| {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            line.push_str(&format!("{cell:width$}  "));
        }
        line.truncate(line.trim_end().len());
        line
    };
    let mut out = heading.map(|row| (look.paint)(Part::Heading, &line(&row)) + "\n").unwrap_or_default();
    for row in &rows {
        out.push_str(&line(row));
        out.push('\n');
    }
    out
}
