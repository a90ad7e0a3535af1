//! Connections one a line with everything that is known, for wide screens, `grep` and `awk`: every cell is filled, `-` where there
//! is nothing.

use std::collections::HashMap;

use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Table};

use super::{Look, Part, named, ownerless};
use crate::analysis::join::Connection;
use crate::report::escape::escape;

const HEADING: [&str; 16] = [
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
    let mut table = Table::new();
    // Lines are never broken: they are for programs that read lines, and for screens that are wide enough.
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Disabled).force_no_tty();
    if look.headings {
        table.set_header(HEADING);
    }
    table.add_rows(connections.iter().map(|connection| row(connection, &by_inode)));
    table.column_iter_mut().for_each(|column| {
        column.set_padding((0, 2));
    });
    let mut text = String::new();
    for (index, line) in table.lines().enumerate() {
        let line = line.trim_end();
        text.push_str(&if look.headings && index == 0 { (look.paint)(Part::Heading, line) } else { line.to_owned() });
        text.push('\n');
    }
    text
}

fn row(connection: &Connection, by_inode: &HashMap<u32, &Connection>) -> [String; 16] {
    let or_dash = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    let owner = connection.process();
    let twin = connection.twin.map(|inode| {
        let holder = by_inode.get(&inode).and_then(|twin| twin.process());
        holder.map_or_else(|| format!("inode/{inode}"), named)
    });
    [
        owner.map_or_else(|| ownerless(connection).replace(' ', "-"), named),
        or_dash(owner.and_then(|owner| Some(escape(owner.container.as_deref()?).into_owned()))),
        or_dash(connection.uid.map(|uid| uid.to_string())),
        or_dash(connection.user().map(|user| escape(user).replace(char::is_whitespace, "_"))),
        connection.protocol.to_string(),
        connection.state.to_string(),
        connection.local.to_string(),
        or_dash(connection.peer.map(|end| end.to_string())),
        or_dash(connection.original_destination.map(|end| end.to_string())),
        or_dash(connection.actual_destination.map(|end| end.to_string())),
        connection.way.word().to_owned(),
        or_dash(connection.evidence.map(|evidence| evidence.word().to_owned())),
        or_dash(twin),
        connection.inode.to_string(),
        connection.processes.len().to_string(),
        or_dash(connection.rule.as_ref().map(|rule| escape(&rule.to_string()).into_owned())),
    ]
}
