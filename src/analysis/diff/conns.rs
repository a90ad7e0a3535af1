//! What differs between the connections of two workloads: by who, what and which way.

use std::collections::BTreeMap;

use super::Change;
use crate::analysis::join::{Connection, Direction, Way};

/// How a connection differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionChange {
    /// How.
    pub change: Change,
    /// Who and what, in words.
    pub subject: String,
    /// Ways and how often, in the first.
    pub before: Option<String>,
    /// The same in the second.
    pub after: Option<String>,
}

/// What differs between the connections of two snapshots. Ephemeral ports and PIDs are not compared: they always differ.
#[must_use]
pub fn connections(before: &[Connection], after: &[Connection]) -> Vec<ConnectionChange> {
    let (left, right) = (tally(before), tally(after));
    let mut subjects: Vec<&String> = left.keys().chain(right.keys()).collect();
    subjects.sort();
    subjects.dedup();
    let mut changes = Vec::new();
    for subject in subjects {
        let (old, new) = (left.get(subject).cloned(), right.get(subject).cloned());
        let change = match (&old, &new) {
            (old, new) if old == new => continue,
            (None, _) => Change::Added,
            (_, None) => Change::Removed,
            _ => Change::Changed,
        };
        changes.push(ConnectionChange { change, subject: subject.clone(), before: old, after: new });
    }
    changes
}

/// Ways by subject: `redirected to 15001 × 2`.
fn tally(connections: &[Connection]) -> BTreeMap<String, String> {
    let mut counted: BTreeMap<String, BTreeMap<String, usize>> = BTreeMap::new();
    for connection in connections {
        *counted.entry(subject(connection)).or_default().entry(way(connection)).or_default() += 1;
    }
    let text = |ways: BTreeMap<String, usize>| {
        ways.into_iter().map(|(way, count)| format!("{way} × {count}")).collect::<Vec<_>>().join(", ")
    };
    counted.into_iter().map(|(subject, ways)| (subject, text(ways))).collect()
}

fn subject(connection: &Connection) -> String {
    let process = connection.process().map_or("no process", |process| process.name.as_str());
    let protocol = connection.protocol;
    let uid = connection.uid.map_or("unknown".to_owned(), |uid| uid.to_string());
    let what = match (connection.way, connection.original_destination) {
        (Way::Listening, _) | (_, None) => format!("on port {}", connection.local.port),
        // Of an accepted one the pod's own address says nothing, only the port.
        (Way::Intercepted, Some(dialled)) => format!("taken for port {}", dialled.port),
        _ if connection.direction == Some(Direction::In) => format!("on port {}", connection.local.port),
        (_, Some(dialled)) => format!("to {dialled}"),
    };
    format!("{protocol} {process} (UID {uid}) {what}")
}

fn way(connection: &Connection) -> String {
    match (connection.way, connection.actual_destination) {
        (Way::Redirected | Way::Intercepted, Some(actual)) => format!("{} at {}", connection.way.word(), actual.port),
        (way, _) => way.word().to_owned(),
    }
}
