//! The answer of `conns`: for people [grouped by process](table), [one line each](wide), and for [programs](rows_json).

mod beside;
mod columns;
mod json;
mod observations;
mod others;
mod table;
#[cfg(test)]
mod tests;
mod wide;

pub use beside::Beside;
pub use json::rows_json;
pub use observations::{observations_json, seen};
pub use others::{Other, others, others_json, others_table, others_wide};
pub use table::table;
pub use wide::wide;

use crate::analysis::join::{Connection, Owner, Way};
use crate::report::escape::escape;

/// A piece of text that may be given a colour. Its meaning never hangs on the colour alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Names of the columns.
    Heading,
    /// Who holds the connections that follow.
    Process,
    /// The way of a connection.
    Way(Way),
}

/// How a list is to look.
#[derive(Clone, Copy)]
pub struct Look<'a> {
    /// Whether the columns are named.
    pub headings: bool,
    /// Gives a piece of text its colour; the text comes escaped, and widths are measured before.
    pub paint: &'a dyn Fn(Part, &str) -> String,
    /// Characters in a line of the terminal; none where lines may be as long as they have to be.
    pub columns: Option<usize>,
    /// What is known beside the connections.
    pub beside: Option<&'a Beside<'a>>,
}

impl std::fmt::Debug for Look<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Look")
            .field("headings", &self.headings)
            .field("columns", &self.columns)
            .finish_non_exhaustive()
    }
}

impl Look<'_> {
    /// With headings, without colour.
    #[must_use]
    pub fn plain() -> Self {
        Self { headings: true, paint: &|_, text| text.to_owned(), columns: None, beside: None }
    }
}

/// How many went which way, one line and an empty one: `7 connections: 1 redirected, 2 intercepted, 4 direct`. Those that the rules
/// would redirect today are counted apart from the other direct ones. Nothing where there are no connections, listeners alone say.
#[must_use]
pub fn totals(connections: &[Connection]) -> String {
    let connected: Vec<&Connection> = connections.iter().filter(|connection| connection.peer.is_some()).collect();
    if connected.is_empty() {
        return String::new();
    }
    let ways = [Way::Redirected, Way::Intercepted, Way::Exempt, Way::Direct, Way::Unknown];
    let as_ruled = || connected.iter().filter(|connection| connection.would.is_none());
    let counted = ways.map(|way| (way, as_ruled().filter(|connection| connection.way == way).count()));
    let told = counted.iter().filter(|(_, count)| *count > 0).map(|(way, count)| format!("{count} {}", way.word()));
    let past = connected.len() - as_ruled().count();
    let past = (past > 0).then(|| format!("{past} the rules would redirect today but went direct"));
    let told = told.chain(past);
    let many = if connected.len() == 1 { "connection" } else { "connections" };
    format!("{} {many}: {}\n\n", connected.len(), told.collect::<Vec<_>>().join(", "))
}

/// `name/pid`, as `ss` and `kubectl` would have it found again.
fn named(owner: &Owner) -> String {
    format!("{}/{}", escape(&owner.name), owner.pid)
}

/// Why a connection has no process: the kernel holds it alone, or its holder was not found.
fn ownerless(connection: &Connection) -> &'static str {
    if connection.inode == 0 { "(no process)" } else { "(owner not found)" }
}
