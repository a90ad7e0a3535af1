//! Which connections of a workload are shown.

use clap::{Args, ValueEnum};

use crate::analysis::join::{Connection, Way};
use crate::model::{Endpoint, Process, SocketState};

/// Options that pick connections: what is given must all hold, and of several values of one option any.
#[derive(Debug, Args)]
pub(super) struct Picked {
    /// Listeners alone, and what takes datagrams from anyone
    #[arg(long, conflicts_with_all = ["tracked", "way"])]
    pub(super) listen: bool,
    /// Connections that went this way: redirected, intercepted, exempt, direct, unknown
    #[arg(long, value_name = "WAY", value_parser = way, value_delimiter = ',', conflicts_with = "tracked")]
    way: Vec<Way>,
    /// Sockets in this state, in ss's words: established, syn-sent, time-wait …
    #[arg(long, value_name = "STATE", value_parser = state, value_delimiter = ',', conflicts_with = "tracked", hide_short_help = true)]
    state: Vec<SocketState>,
    /// Connections with this port at any end: their own, the peer's, dialled or where they went
    #[arg(long, value_name = "PORT", value_delimiter = ',', conflicts_with = "tracked")]
    port: Vec<u16>,
    /// Connections of this process, by name or PID
    #[arg(long, value_name = "NAME|PID", conflicts_with = "tracked", hide_short_help = true)]
    process: Vec<String>,
    /// process, way, state, local, peer
    #[arg(
        long,
        value_name = "COLUMN",
        default_value = "process",
        hide_default_value = true,
        hide_possible_values = true,
        conflicts_with = "tracked",
        hide_short_help = true
    )]
    sort: Sort,
}

/// What the list is sorted by; within equals, by process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Sort {
    Process,
    Way,
    State,
    Local,
    Peer,
}

impl Picked {
    /// Whether sockets are asked for that are no live connections.
    pub(super) fn beyond_live(&self) -> bool {
        self.listen || self.state.iter().any(|state| !state.is_live())
    }

    /// Whether anything is picked at all.
    pub(super) fn any(&self) -> bool {
        self.listen
            || !(self.way.is_empty() && self.state.is_empty() && self.port.is_empty() && self.process.is_empty())
    }

    /// Whether sockets can be among them that are no ends of connections: by ways, states and ports they cannot be picked.
    pub(super) fn takes_others(&self) -> bool {
        !self.listen && self.way.is_empty() && self.state.is_empty() && self.port.is_empty()
    }

    /// Whether what these processes hold is wanted.
    pub(super) fn wants_held(&self, holders: &[&Process]) -> bool {
        self.process.is_empty() || holders.iter().any(|process| self.is_of(&process.name, process.pid))
    }

    fn is_of(&self, name: &str, pid: u32) -> bool {
        self.process.iter().any(|word| *word == name || word.parse() == Ok(pid))
    }

    /// Those that are wanted, in the order that is wanted.
    pub(super) fn of(&self, mut all: Vec<Connection>) -> Vec<Connection> {
        all.retain(|connection| self.wants(connection));
        match self.sort {
            Sort::Process => {}
            Sort::Way => all.sort_by_key(|connection| connection.way),
            Sort::State => all.sort_by_key(|connection| connection.state),
            Sort::Local => all.sort_by_key(|connection| connection.local),
            Sort::Peer => all.sort_by_key(|connection| connection.peer),
        }
        all
    }

    fn wants(&self, connection: &Connection) -> bool {
        let ends =
            [Some(connection.local), connection.peer, connection.original_destination, connection.actual_destination];
        let port = |end: &Endpoint| self.port.contains(&end.port);
        let held = connection.processes.iter().any(|owner| self.is_of(&owner.name, owner.pid));
        (!self.listen || connection.way == Way::Listening)
            && (self.way.is_empty() || self.way.contains(&connection.way))
            && (self.state.is_empty() || self.state.contains(&connection.state))
            && (self.port.is_empty() || ends.iter().flatten().any(port))
            && (self.process.is_empty() || held)
    }
}

fn way(word: &str) -> Result<Way, String> {
    let ways = [Way::Redirected, Way::Intercepted, Way::Exempt, Way::Direct, Way::Unknown];
    let known = || ways.map(Way::word).join(", ");
    ways.into_iter().find(|way| way.word() == word).ok_or_else(|| format!("ways are {}", known()))
}

fn state(word: &str) -> Result<SocketState, String> {
    let known = || SocketState::ALL.map(|state| state.to_string()).join(", ");
    SocketState::ALL
        .into_iter()
        .find(|state| state.to_string() == word)
        .ok_or_else(|| format!("states are {}", known()))
}
