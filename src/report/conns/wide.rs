//! Connections one a line with everything that is known, for wide screens, `grep` and `awk`: every cell is filled, `-` where there
//! is nothing.

use std::collections::HashMap;

use super::columns::{Cell, line, widths};
use super::{Look, Part, named, ownerless};
use crate::analysis::join::Connection;
use crate::report::escape::escape;

const COLUMNS: usize = 22;

const HEADING: [&str; COLUMNS] = [
    "PROCESS",
    "CONTAINER",
    "UID",
    "USER",
    "PROTO",
    "STATE",
    "LOCAL",
    "PEER",
    "DIALLED",
    "WENT-TO",
    "WAY",
    "EVIDENCE",
    "TWIN",
    "INODE",
    "OWNERS",
    "UID-INSIDE",
    "GID",
    "RECV-Q",
    "SEND-Q",
    "MARK",
    "DEVICE",
    "RULE",
];

/// The connections, one a line. The twin is named by its process where that is known, else by its inode.
#[must_use]
pub fn wide(connections: &[Connection], look: Look<'_>) -> String {
    if connections.is_empty() {
        return String::new();
    }
    let by_inode = connections.iter().filter(|connection| connection.inode != 0);
    let by_inode: HashMap<_, _> = by_inode.map(|connection| (connection.inode, connection)).collect();
    // Lines are never broken: they are for programs that read lines, and for screens that are wide enough.
    let heading = look.headings.then(|| HEADING.map(|title| Cell::painted(Part::Heading, title)));
    let rows: Vec<_> = connections.iter().map(|connection| row(connection, &by_inode, look)).collect();
    let widths = widths(heading.iter().chain(&rows));
    let mut text = String::new();
    heading.iter().chain(&rows).for_each(|cells| line(&mut text, cells, widths, look.paint));
    text
}

pub(super) fn or_dash(value: Option<impl Into<String>>) -> Cell {
    Cell::plain(value.map_or_else(|| "-".to_owned(), Into::into))
}

/// A name as one word.
pub(super) fn one_word(name: &str) -> String {
    escape(name).replace(char::is_whitespace, "_")
}

fn row(connection: &Connection, by_inode: &HashMap<u32, &Connection>, look: Look<'_>) -> [Cell; COLUMNS] {
    let number = |number: Option<u32>| or_dash(number.map(|number| number.to_string()));
    let owner = connection.process();
    let twin = connection.twin.map(|inode| {
        let holder = by_inode.get(&inode).and_then(|twin| twin.process());
        holder.map_or_else(|| format!("inode/{inode}"), |owner| named(owner).replace(char::is_whitespace, "_"))
    });
    let holder = owner.map_or_else(|| ownerless(connection).to_owned(), named);
    let process = owner.and_then(|owner| look.beside?.process(owner.pid));
    let socket = look.beside.and_then(|beside| beside.socket(connection));
    let device = socket.filter(|socket| socket.interface != 0).map(|socket| {
        let name = look.beside.and_then(|beside| beside.device(socket.interface));
        name.map_or_else(|| format!("number/{}", socket.interface), one_word)
    });
    [
        Cell::plain(holder.replace(char::is_whitespace, if owner.is_some() { "_" } else { "-" })),
        or_dash(owner.and_then(|owner| Some(one_word(owner.container.as_deref()?)))),
        number(connection.uid),
        or_dash(connection.user().map(one_word)),
        Cell::plain(connection.protocol.to_string()),
        Cell::plain(connection.state.to_string()),
        Cell::plain(connection.local.to_string()),
        or_dash(connection.peer.map(|end| end.to_string())),
        or_dash(connection.original_destination.map(|end| end.to_string())),
        or_dash(connection.actual_destination.map(|end| end.to_string())),
        Cell::painted(Part::Way(connection.way), connection.way.word()),
        or_dash(connection.evidence.map(|evidence| evidence.word())),
        or_dash(twin),
        Cell::plain(connection.inode.to_string()),
        Cell::plain(connection.processes.len().to_string()),
        number(connection.uid.and_then(|uid| look.beside?.inner_uid(uid))),
        number(process.map(|process| process.gid)),
        number(socket.map(|socket| socket.receive_queue)),
        number(socket.map(|socket| socket.send_queue)),
        or_dash(socket.and_then(|socket| socket.mark).map(|mark| format!("{mark:#x}"))),
        or_dash(device),
        or_dash(connection.rule.as_ref().map(|rule| escape(&rule.to_string()).into_owned())),
    ]
}
