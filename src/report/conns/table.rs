//! Connections grouped by process, for a screen of 80 columns.
//!
//! Three ends tell a connection whole, whichever side the socket is: who dialled, what was dialled, where the packets went.

use std::borrow::Cow;

use super::columns::{Cell, line, widths};
use super::{Look, Part, named, ownerless};
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
    let heading = ["FROM", "DIALLED", "WENT TO", "WAY", if ordinary { "" } else { "STATE" }]
        .map(|title| Cell::painted(Part::Heading, title));
    let rows: Vec<_> = connections.iter().map(|connection| row(connection, ordinary)).collect();
    let widths = widths(rows.iter().chain(look.headings.then_some(&heading)));
    let mut text = String::new();
    if look.headings {
        text.push_str("  ");
        line(&mut text, &heading, widths, look.paint);
    }
    let mut group = None;
    for (connection, cells) in connections.iter().zip(&rows) {
        let holder = holder(connection);
        if group.as_ref() != Some(&holder) {
            text.push_str(&(look.paint)(Part::Process, &holder));
            text.push('\n');
            group = Some(holder);
        }
        text.push_str(arrow(connection));
        text.push(' ');
        line(&mut text, cells, widths, look.paint);
    }
    text
}

fn is_ordinary(connection: &Connection) -> bool {
    connection.protocol == Protocol::Tcp && connection.state == SocketState::Established
}

/// `envoy/4720 · istio-proxy · UID 1337 (istio-proxy)`, and how many others hold the socket too.
fn holder(connection: &Connection) -> String {
    let mut parts = match connection.process() {
        Some(owner) => {
            let mut parts = vec![named(owner)];
            parts.extend(owner.container.as_deref().map(|container| escape(container).into_owned()));
            parts
        }
        None => vec![ownerless(connection).to_owned()],
    };
    parts.extend(connection.uid.map(|uid| match connection.user() {
        Some(user) => format!("UID {uid} ({})", escape(user)),
        None => format!("UID {uid}"),
    }));
    match connection.processes.len() {
        0 | 1 => {}
        many => parts.push(format!("and {} more", many - 1)),
    }
    parts.join(" · ")
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
            let went = if original == actual { "as dialled".into() } else { known(actual) };
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
        (Way::Unknown, None) => "",
        (way, _) => way.word(),
    };
    [
        Cell::plain(from),
        Cell::plain(dialled),
        Cell::plain(went),
        Cell::painted(Part::Way(connection.way), way),
        Cell::plain(state),
    ]
}
