//! How things are named in observations.

use std::collections::BTreeSet;
use std::fmt::Display;

use super::super::join::{Connection, Owner};
use crate::model::Process;

/// Names that are given before the rest is counted.
const MOST: usize = 3;

/// `envoy/4720`.
pub(super) fn owner(owner: &Owner) -> String {
    format!("{}/{}", owner.name, owner.pid)
}

/// The same of a process.
pub(super) fn process(process: &Process) -> String {
    format!("{}/{}", process.name, process.pid)
}

/// Who holds a connection.
pub(super) fn holder(connection: &Connection) -> String {
    connection.process().map_or_else(|| "nobody".to_owned(), owner)
}

/// `1 connection`, `2 connections`.
pub(super) fn count(number: usize, one: &str, more: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { more })
}

/// `1 connection`, `2 connections`.
pub(super) fn connections(number: usize) -> String {
    count(number, "connection", "connections")
}

/// `a, b, c and 4 more`, each once and in order.
pub(super) fn list<T: Display + Ord>(items: impl IntoIterator<Item = T>) -> String {
    let items: BTreeSet<T> = items.into_iter().collect();
    let said: Vec<String> = items.iter().take(MOST).map(ToString::to_string).collect();
    match items.len().checked_sub(MOST) {
        Some(more) if more > 0 => format!("{} and {more} more", said.join(", ")),
        _ => said.join(", "),
    }
}
