//! What there is to say of connections beyond their rows: which bypass the proxy and why, what goes in circles or waits, who stands
//! behind an address.
//!
//! Each is worked out from what was read alone: a proxy is who waits where the rules redirect to, whatever its name. Where only
//! candidates are known, they are called so.

mod bypass;
mod names;
mod people;
mod stuck;
#[cfg(test)]
mod tests;
mod tracked;

pub use tracked::is_rewritten;

use std::collections::{BTreeSet, HashMap, HashSet};

use super::join::{Connection, Direction, Way};
use super::rulebook::SnapshotRules;
use crate::model::{Endpoint, Process, Protocol, Snapshot, Socket, SocketState};

/// What an observation is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Connections go past the proxy.
    Bypass,
    /// Connections are older than the rules that would redirect them.
    Older,
    /// The proxy's own connections come back to it.
    Loop,
    /// Handshakes with a proxy port that nobody answers.
    Stalled,
    /// Bytes that nobody reads on connections that the other side has closed.
    Unread,
    /// Two entries for one query, neither answered.
    Mirrored,
    /// The proxy is a process of another network namespace.
    Elsewhere,
    /// The proxy stands before the client of an application.
    HiddenClient,
    /// Which connections of the proxy may belong together.
    Upstream,
    /// How much is tunnelled (HBONE).
    Tunnelled,
    /// Machines are dialled, not services.
    Endpoints,
    /// The node, or its kubelet, is the client.
    Node,
}

impl Kind {
    /// The word that stands for it in JSON.
    #[must_use]
    pub fn id(self) -> &'static str {
        match self {
            Self::Bypass => "bypass",
            Self::Older => "older-than-rules",
            Self::Loop => "loop",
            Self::Stalled => "stalled-handshake",
            Self::Unread => "unread-bytes",
            Self::Mirrored => "mirrored-entries",
            Self::Elsewhere => "proxy-elsewhere",
            Self::HiddenClient => "hidden-client",
            Self::Upstream => "upstream-candidates",
            Self::Tunnelled => "hbone-share",
            Self::Endpoints => "endpoint-dialled",
            Self::Node => "node-client",
        }
    }

    /// Whether healthy pods have it too.
    #[must_use]
    pub fn is_ordinary(self) -> bool {
        use Kind::{Elsewhere, Endpoints, HiddenClient, Node, Tunnelled, Upstream};
        matches!(self, Elsewhere | HiddenClient | Upstream | Tunnelled | Endpoints | Node)
    }
}

/// Something to say of some connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// What it is about.
    pub kind: Kind,
    /// Said in a sentence or two. Names in it are the workload's own (hostile).
    pub words: String,
    /// Inodes of the sockets that it is about.
    pub connections: Vec<u32>,
    /// Kernel's ids of the tracked entries that it is about.
    pub flows: Vec<u32>,
}

/// All there is to say of a snapshot and its live connections, what is out of the ordinary first.
#[must_use]
pub fn observations(snapshot: &Snapshot, connections: &[Connection], rules: &SnapshotRules<'_>) -> Vec<Observation> {
    let ground = Ground::of(snapshot, connections, rules);
    let mut found = [
        bypass::bypasses(&ground),
        bypass::older(&ground),
        stuck::loops(&ground),
        tracked::stalled(&ground),
        stuck::unread(&ground),
        tracked::mirrored(&ground),
        people::elsewhere(&ground),
        people::hidden_clients(&ground),
        people::upstream(&ground),
        people::tunnelled(&ground),
        people::endpoints(&ground),
        people::nodes(&ground),
    ]
    .concat();
    for observation in &mut found {
        observation.connections.retain(|inode| *inode != 0);
        for list in [&mut observation.connections, &mut observation.flows] {
            list.sort_unstable();
            list.dedup();
        }
    }
    found
}

/// What all of them look at.
struct Ground<'a> {
    snapshot: &'a Snapshot,
    connections: &'a [Connection],
    rules: &'a SnapshotRules<'a>,
    /// Ports of this namespace to which rules of IPv4 and of IPv6 redirect.
    targets: [BTreeSet<u16>; 2],
    by_inode: HashMap<u32, &'a Connection>,
    sockets: HashMap<u32, &'a Socket>,
    processes: HashMap<u32, &'a Process>,
    /// Sockets that wait, by protocol and port.
    waiting: HashMap<(Protocol, u16), Vec<&'a Socket>>,
    /// Who holds the waiting sockets, by inode.
    holders: HashMap<u32, Vec<&'a Process>>,
    /// Processes that wait on a port that rules redirect to, or took what was redirected.
    proxies: HashSet<u32>,
}

impl<'a> Ground<'a> {
    fn of(snapshot: &'a Snapshot, connections: &'a [Connection], rules: &'a SnapshotRules<'a>) -> Self {
        let targets = [false, true].map(|ipv6| rules.targets(ipv6));
        let waits = |socket: &&Socket| {
            socket.state == SocketState::Listen || (socket.protocol == Protocol::Udp && socket.peer.is_none())
        };
        let mut waiting: HashMap<_, Vec<&Socket>> = HashMap::new();
        for socket in snapshot.sockets.iter().flatten().filter(waits) {
            waiting.entry((socket.protocol, socket.local.port)).or_default().push(socket);
        }
        let inodes: HashSet<u32> =
            waiting.values().flatten().map(|socket| socket.inode).filter(|it| *it != 0).collect();
        let mut holders: HashMap<u32, Vec<&Process>> = HashMap::new();
        for process in snapshot.processes.iter().flatten() {
            for inode in process.sockets.iter().filter(|inode| inodes.contains(inode)) {
                holders.entry(*inode).or_default().push(process);
            }
        }
        let at_target = |socket: &&&Socket| targets.iter().any(|ports| ports.contains(&socket.local.port));
        let held = |socket: &&Socket| holders.get(&socket.inode).into_iter().flatten().map(|process| process.pid);
        let listening = waiting.values().flatten().filter(at_target).flat_map(held);
        // What a proxy took may be held by a child of it that waits for nothing itself.
        let took = connections.iter().filter(|one| one.way == Way::Intercepted).flat_map(|one| &one.processes);
        let proxies = listening.chain(took.map(|owner| owner.pid)).collect();
        let by_inode = connections.iter().filter(|one| one.inode != 0).map(|one| (one.inode, one)).collect();
        let sockets = snapshot.sockets.iter().flatten().filter(|socket| socket.inode != 0);
        let sockets = sockets.map(|socket| (socket.inode, socket)).collect();
        let processes = snapshot.processes.iter().flatten().map(|process| (process.pid, process)).collect();
        Self { snapshot, connections, rules, targets, by_inode, sockets, processes, waiting, holders, proxies }
    }

    /// Whether rules redirect to this port.
    fn is_target(&self, end: Endpoint) -> bool {
        self.targets.get(usize::from(end.address.is_ipv6())).is_some_and(|ports| ports.contains(&end.port))
    }

    /// Whether a proxy holds the connection.
    fn is_proxys(&self, connection: &Connection) -> bool {
        connection.processes.iter().any(|owner| self.proxies.contains(&owner.pid))
    }

    /// The other half of a connection, where it is here.
    fn twin(&self, connection: &Connection) -> Option<&'a Connection> {
        self.by_inode.get(&connection.twin?).copied()
    }

    /// Connections of this direction that live.
    fn going(&self, direction: Direction) -> impl Iterator<Item = &'a Connection> {
        let live = move |one: &&Connection| one.direction == Some(direction) && one.is_live();
        self.connections.iter().filter(live)
    }

    /// The processes that wait on this port.
    fn waits_on(&self, protocol: Protocol, port: u16) -> impl Iterator<Item = (&'a Socket, &'a Process)> {
        let sockets = self.waiting.get(&(protocol, port)).into_iter().flatten();
        sockets.flat_map(|socket| {
            self.holders.get(&socket.inode).into_iter().flatten().map(move |process| (*socket, *process))
        })
    }
}
