//! Connections one a line with everything that is known, for wide screens, `grep` and `awk`: every cell is filled, `-` where there
//! is nothing.

use std::collections::HashMap;

use super::columns::{Cell, line, widths};
use super::{Look, Part, named, ownerless};
use crate::analysis::join::Connection;
use crate::report::escape::escape;

const HEADING: [&str; 14] = [
    "PROCESS",
    "CONTAINER",
    "UID",
    "PROTO",
    "STATE",
    "LOCAL",
    "PEER",
    "DIALLED",
    "WENT-TO",
    "WAY",
    "TWIN",
    "INODE",
    "OWNERS",
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
    let heading = HEADING.map(|title| Cell::painted(Part::Heading, title));
    let rows: Vec<_> = connections.iter().map(|connection| row(connection, &by_inode)).collect();
    let widths = widths(rows.iter().chain(look.headings.then_some(&heading)));
    let mut text = String::new();
    for cells in look.headings.then_some(&heading).into_iter().chain(&rows) {
        line(&mut text, cells, widths, look.paint);
    }
    text
}

fn row(connection: &Connection, by_inode: &HashMap<u32, &Connection>) -> [Cell; 14] {
    let or_dash = |value: Option<String>| Cell::plain(value.unwrap_or_else(|| "-".to_owned()));
    let owner = connection.process();
    let twin = connection.twin.map(|inode| {
        let holder = by_inode.get(&inode).and_then(|twin| twin.process());
        holder.map_or_else(|| format!("inode/{inode}"), named)
    });
    [
        Cell::plain(owner.map_or_else(|| ownerless(connection).replace(' ', "-"), named)),
        or_dash(owner.and_then(|owner| Some(escape(owner.container.as_deref()?).into_owned()))),
        or_dash(connection.uid.map(|uid| uid.to_string())),
        Cell::plain(connection.protocol.to_string()),
        Cell::plain(connection.state.to_string()),
        Cell::plain(connection.local.to_string()),
        or_dash(connection.peer.map(|end| end.to_string())),
        or_dash(connection.original_destination.map(|end| end.to_string())),
        or_dash(connection.actual_destination.map(|end| end.to_string())),
        Cell::painted(Part::Way(connection.way), connection.way.word()),
        or_dash(twin),
        Cell::plain(connection.inode.to_string()),
        Cell::plain(connection.processes.len().to_string()),
        or_dash(connection.rule.as_ref().map(|rule| escape(&rule.to_string()).into_owned())),
    ]
}
