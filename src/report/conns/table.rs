//! Connections grouped by process, for a screen of 80 columns.
//!
//! Three ends tell a connection whole, whichever side the socket is: who dialled, what was dialled, where the packets went.

use std::borrow::Cow;

use super::columns::{Cell, line, widths};
use super::{Beside, Look, Part, named, ownerless};
use crate::analysis::join::{Connection, Direction, Way};
use crate::model::{Endpoint, Protocol, SocketState};
use crate::report::escape::escape;

/// The connections, those of one process under its name. `→` is a connection that the process dialled, `←` one that it accepted.
///
/// They are expected in the order in which the join gives them. The column of states shows only where one is out of the ordinary
/// (not an established TCP connection).
#[must_use]
pub fn table(connections: &[Connection], look: Look<'_>) -> String {
    if connections.is_empty() {
        return String::new();
    }
    let ordinary = connections.iter().all(is_ordinary);
    // Listeners alone have one end.
    let (from, went) =
        if connections.iter().all(|one| one.direction.is_none()) { ("", "") } else { ("FROM", "WENT TO") };
    let mut heading = [from, "DIALLED", went, "WAY", if ordinary { "" } else { "STATE" }]
        .map(|title| Cell::painted(Part::Heading, title));
    let mut rows: Vec<_> = connections.iter().map(|connection| row(connection, ordinary)).collect();
    let (mut widths, whole) = fitting(look.headings.then_some(&heading), &rows, look.columns);
    if !whole {
        // The ordinary state goes without saying before ends stand one below the other for it.
        let established = connections.iter().zip(&mut rows).filter(|(connection, _)| is_ordinary(connection));
        established.for_each(|(_, [.., state])| *state = Cell::plain(""));
        (widths, _) = fitting(look.headings.then_some(&heading), &rows, look.columns);
        if look.columns.is_some_and(|columns| !fits(&heading, widths, columns)) {
            let [.., last] = &mut heading;
            *last = Cell::plain("");
        }
    }
    let mut text = String::new();
    if look.headings {
        text.push_str("  ");
        line(&mut text, &heading, widths, look.paint);
    }
    let mut before = None;
    for (connection, cells) in connections.iter().zip(&rows) {
        if before.is_none_or(|before| !same_holder(before, connection)) {
            text.push_str(&(look.paint)(Part::Process, &holder(connection, look.beside)));
            text.push('\n');
        }
        before = Some(connection);
        text.push_str(arrow(connection));
        text.push(' ');
        if look.columns.is_none_or(|columns| fits(cells, widths, columns)) {
            line(&mut text, cells, widths, look.paint);
        } else {
            stacked(&mut text, cells, look.paint);
        }
    }
    if connections.iter().any(|connection| connection.would.is_some()) {
        text.push_str("* the rules would redirect it today\n");
    }
    text
}

/// The longest IPv4 end: what is longer has no place in columns that a narrow terminal could show.
const LONGEST: usize = "255.255.255.255:65535".len();
/// The arrow and its blank.
const INDENT: usize = 2;

/// Widths of the columns, and whether all of them fit together: where they do not, of the rows without long ends.
fn fitting(heading: Option<&[Cell; 5]>, rows: &[[Cell; 5]], columns: Option<usize>) -> ([usize; 5], bool) {
    let all = widths(rows.iter().chain(heading));
    let whole =
        INDENT + all.iter().sum::<usize>() + 2 * all.iter().filter(|width| **width > 0).count().saturating_sub(1);
    if columns.is_none_or(|columns| whole <= columns) {
        return (all, true);
    }
    (widths(rows.iter().filter(|cells| cells.iter().all(|cell| cell.width() <= LONGEST)).chain(heading)), false)
}

/// Whether a row can stand in columns of these widths on a screen of so many characters.
fn fits(cells: &[Cell; 5], widths: [usize; 5], columns: usize) -> bool {
    let (mut end, mut last) = (INDENT, INDENT);
    for (cell, width) in cells.iter().zip(widths).filter(|(_, width)| *width > 0) {
        if cell.width() > width {
            return false;
        }
        if cell.width() > 0 {
            last = end + cell.width();
        }
        end += width + 2;
    }
    last <= columns
}

/// One end a line, for what is too long to stand side by side: two ends of IPv6 alone can be.
fn stacked(text: &mut String, [from, dialled, went, way, state]: &[Cell; 5], paint: &dyn Fn(Part, &str) -> String) {
    let first = if from.width() > 0 { from } else { dialled };
    let cells = [first.clone(), way.clone(), state.clone()];
    let widths = [&cells[0], &cells[1], &cells[2]].map(Cell::width);
    line(text, &cells, widths, paint);
    if from.width() == 0 {
        return;
    }
    for (word, cell) in [("dialled", dialled), ("went to", went)] {
        // What went as dialled says so by its way.
        if cell.width() > 0 && cell.text() != AS_DIALLED {
            let cells = [Cell::plain(format!("    {word}")), cell.clone()];
            let widths = [&cells[0], &cells[1]].map(Cell::width);
            line(text, &cells, widths, paint);
        }
    }
}

const AS_DIALLED: &str = "as dialled";

fn is_ordinary(connection: &Connection) -> bool {
    connection.protocol == Protocol::Tcp && connection.state == SocketState::Established
}

/// Whether two connections stand under the same line.
fn same_holder(one: &Connection, other: &Connection) -> bool {
    let key = |it: &Connection| (it.process().map(|owner| owner.pid), it.uid, it.processes.len(), it.inode == 0);
    key(one) == key(other)
}

/// `envoy/4720 · istio-proxy · UID 1337 (istio-proxy)`, and how many others hold the socket too.
fn holder(connection: &Connection, beside: Option<&Beside<'_>>) -> String {
    let mut parts = match connection.process() {
        Some(owner) => {
            let mut parts = vec![named(owner)];
            parts.extend(owner.container.as_deref().map(|container| escape(container).into_owned()));
            parts
        }
        None => vec![ownerless(connection).to_owned()],
    };
    parts.extend(connection.uid.map(|uid| user_words(uid, connection.user(), beside)));
    let process = connection.process().and_then(|owner| beside?.process(owner.pid));
    if process.is_some_and(|process| process.elsewhere) {
        parts.push("in another network namespace".to_owned());
    }
    match connection.processes.len() {
        0 | 1 => {}
        many => parts.push(format!("and {} more", many - 1)),
    }
    parts.join(" · ")
}

/// `UID 1337 (istio-proxy)`, `UID 101337 (1337 in the pod, istio-proxy)`.
pub(super) fn user_words(uid: u32, name: Option<&str>, beside: Option<&Beside<'_>>) -> String {
    let inner = beside.and_then(|beside| beside.inner_words(uid));
    let more: Vec<String> = inner.into_iter().chain(name.map(|name| escape(name).into_owned())).collect();
    if more.is_empty() { format!("UID {uid}") } else { format!("UID {uid} ({})", more.join(", ")) }
}

fn arrow(connection: &Connection) -> &'static str {
    match connection.direction {
        Some(Direction::Out) => "→",
        Some(Direction::In) => "←",
        None => " ",
    }
}

fn row(connection: &Connection, ordinary: bool) -> [Cell; 5] {
    let known = |end: Option<Endpoint>| end.map_or(Cow::Borrowed("?"), |end| end.to_string().into());
    let (from, dialled, went) = match connection.direction {
        Some(direction) => {
            let from = if direction == Direction::Out { Some(connection.local) } else { connection.peer };
            let (original, actual) = (connection.original_destination, connection.actual_destination);
            let went = if original == actual { AS_DIALLED.into() } else { known(actual) };
            (known(from), known(original), went)
        }
        // What can be dialled.
        None => ("".into(), connection.local.to_string().into(), "".into()),
    };
    let state = match (ordinary, connection.protocol) {
        (true, _) => String::new(),
        (false, Protocol::Tcp) => connection.state.to_string(),
        (false, protocol) if connection.state == SocketState::Established => protocol.to_string(),
        (false, protocol) => format!("{protocol} {}", connection.state),
    };
    let way = match (connection.way, connection.direction) {
        // Neither connected nor waiting: nothing went any way.
        (Way::Unknown, None) => Cow::Borrowed(""),
        (way, _) if connection.would.is_some() => format!("{} *", way.word()).into(),
        (way, _) => way.word().into(),
    };
    [
        Cell::plain(from),
        Cell::plain(dialled),
        Cell::plain(went),
        Cell::painted(Part::Way(connection.way), way),
        Cell::plain(state),
    ]
}
