//! Joins sockets, tracked flows and processes into connections: who opened each, what was dialled, where it really went.
//!
//! For an application's socket with local end `S:p` and peer `D:q`, the tracked entry whose original tuple is `S:p → D:q` tells
//! by its reply source `R:r` where the packets go. `R:r = D:q` is direct, anything else redirected, and the half that the redirect
//! target accepted is then the socket with local end `R:r` whose peer is the reply *destination*: that is `S:p`, unless the kernel
//! had to choose another source port to keep two flows apart.
//!
//! Which rule decided is asked of a [`Rulebook`], of the rules as they are now: the flow may be older than they are.

mod connection;
mod index;
mod judge;
#[cfg(test)]
mod tests;

pub use connection::{Connection, Direction, Evidence, Owner, Way};
use index::Index;
use judge::{Judgement, judge, sent};

use crate::model::{Endpoint, Process, Protocol, RuleRef, Snapshot, Socket};

/// A new connection's first packet, to ask rules about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dialled {
    /// Transport protocol.
    pub protocol: Protocol,
    /// Who dials.
    pub source: Endpoint,
    /// What is dialled.
    pub destination: Endpoint,
    /// It comes from outside the namespace; else one of its own processes sends it.
    pub incoming: bool,
    /// UID of the sending socket as the node counts; `None` for incoming packets and where nobody knows.
    pub uid: Option<u32>,
    /// Effective GID of the sending process.
    pub gid: Option<u32>,
    /// Mark of the sending socket; `None` where not known.
    pub mark: Option<u32>,
}

/// The rules of a snapshot, asked about single packets.
pub trait Rulebook {
    /// The rule that would redirect this packet.
    fn redirecting(&self, packet: &Dialled) -> Option<RuleRef>;

    /// The rule that names the owner or the mark of this packet and so keeps it from being redirected.
    fn exempting(&self, packet: &Dialled) -> Option<RuleRef>;

    /// Whether some rule keeps connection tracking on for IPv4 (`false`) or IPv6 (`true`); `None` when that cannot be said.
    ///
    /// It is off in a namespace until a rule needs it, by itself for each family, and while it is off nothing is translated.
    fn tracks(&self, _ipv6: bool) -> Option<bool> {
        None
    }

    /// The rule that keeps this packet from being tracked, and so from being translated (K9).
    fn untracking(&self, _packet: &Dialled) -> Option<RuleRef> {
        None
    }

    /// Whether some rule gives packets such as this one another source (SNAT, MASQUERADE), or may do so.
    fn changes_source(&self, _packet: &Dialled) -> bool {
        false
    }
}

/// There are no rules.
impl Rulebook for () {
    fn redirecting(&self, _: &Dialled) -> Option<RuleRef> {
        None
    }

    fn exempting(&self, _: &Dialled) -> Option<RuleRef> {
        None
    }

    fn tracks(&self, _: bool) -> Option<bool> {
        Some(false)
    }
}

/// The connections of a snapshot, by process, then by local port; with `all` also listeners, unconnected sockets and TIME-WAIT.
///
/// A datagram socket without a peer has many or none: each tracked entry that begins at its port is given as one of its connections.
#[must_use]
pub fn connections(snapshot: &Snapshot, all: bool, rulebook: &dyn Rulebook) -> Vec<Connection> {
    let index = Index::of(snapshot);
    let sockets = snapshot.sockets.iter().flatten();
    let mut connections: Vec<_> = sockets
        .flat_map(|socket| {
            let own = connection(&index, socket, judge(&index, socket, rulebook));
            let sending = index.sent_by(socket).into_iter().map(|(from, to, flow)| {
                let socket = Socket { local: from, peer: Some(to), ..socket.clone() };
                connection(&index, &socket, sent(&index, &socket, to, flow, rulebook))
            });
            std::iter::once(own).chain(sending).collect::<Vec<_>>()
        })
        .filter(|connection| all || connection.is_live())
        .collect();
    // Connections are large and their keys small: so these are sorted.
    connections.sort_by_cached_key(|connection| {
        let pid = connection.process().map_or(u32::MAX, |owner| owner.pid);
        (
            pid,
            connection.uid.unwrap_or(u32::MAX),
            connection.local.address.is_ipv6(),
            connection.local.port,
            connection.local.address,
            connection.peer,
            connection.protocol,
            connection.family,
        )
    });
    connections
}

fn connection(index: &Index<'_>, socket: &Socket, judgement: Judgement<'_>) -> Connection {
    let owner = |process: &&Process| Owner {
        pid: process.pid,
        name: process.name.clone(),
        container: process.container.clone(),
        uid: process.uid,
        user: process.user.clone(),
    };
    Connection {
        protocol: socket.protocol,
        family: socket.family,
        mapped: socket.mapped,
        state: socket.state,
        local: socket.local,
        peer: socket.peer,
        uid: (socket.inode != 0).then_some(socket.uid),
        inode: socket.inode,
        processes: index.owners(socket.inode).iter().map(owner).collect(),
        direction: judgement.direction,
        original_destination: judgement.original,
        actual_destination: judgement.actual,
        way: judgement.way,
        rule: judgement.rule,
        twin: judgement.twin,
        evidence: judgement.evidence,
        // Drafts and files of other makers need not number their entries.
        flow: judgement.flow.map(|flow| flow.id).filter(|id| *id != 0),
        would: judgement.would,
        rewritten_port: judgement.rewritten,
        age: judgement.flow.and_then(|flow| index.age(flow)),
    }
}
