//! Joins sockets, tracked flows and processes into connections: who opened each, what was dialled, where it really went.
//!
//! For an application's socket with local end `S:p` and peer `D:q`, the tracked entry whose original tuple is `S:p → D:q` tells
//! by its reply source `R:r` where the packets go. `R:r = D:q` is direct, anything else redirected, and the half that the redirect
//! target accepted is then the socket with local end `R:r` whose peer is the reply *destination*: that is `S:p`, unless the kernel
//! had to choose another source port to keep two flows apart.
//!
//! Which rule decided is asked of a [`Rulebook`], of the rules as they are now: the flow may be older than they are.

mod index;
#[cfg(test)]
mod tests;

use index::Index;

use crate::model::{Endpoint, Family, Flow, Process, Protocol, RuleRef, Snapshot, Socket, SocketState};

/// Which way a connection took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Way {
    /// No connection: it waits for some, or takes datagrams from anyone.
    Listening,
    /// The packets go where the program sent them.
    Direct,
    /// The program dialled elsewhere than its packets went.
    Redirected,
    /// The half that the target of a redirection accepted.
    Intercepted,
    /// Direct because of a rule that names its owner or mark.
    Exempt,
    /// Cannot be told.
    Unknown,
}

impl Way {
    /// The word that stands for it in JSON and on the screen.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Listening => "listening",
            Self::Direct => "direct",
            Self::Redirected => "redirected",
            Self::Intercepted => "intercepted",
            Self::Exempt => "exempt",
            Self::Unknown => "unknown",
        }
    }
}

/// Which side of a connection a socket is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// It dialled.
    Out,
    /// It was dialled.
    In,
}

/// A process that holds a socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// PID as the node counts.
    pub pid: u32,
    /// Command name (hostile).
    pub name: String,
    /// Its container, where known.
    pub container: Option<String>,
    /// Its effective user's number, as the node counts.
    pub uid: u32,
    /// That user's name below its own root (hostile), where known.
    pub user: Option<String>,
}

/// One socket and all that is known of its connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// Transport protocol.
    pub protocol: Protocol,
    /// The socket's own family.
    pub family: Family,
    /// An IPv6 socket that speaks IPv4.
    pub mapped: bool,
    /// State of the socket.
    pub state: SocketState,
    /// Local end.
    pub local: Endpoint,
    /// Other end as the program sees it; `None` where there is none.
    pub peer: Option<Endpoint>,
    /// Owner's UID as the node counts; `None` where no descriptor holds the socket (the kernel then says 0, which is nobody's).
    pub uid: Option<u32>,
    /// Inode; 0 where no descriptor holds it.
    pub inode: u32,
    /// The processes that hold it, in order of PID.
    pub processes: Vec<Owner>,
    /// Which side it is; `None` where it has no other end.
    pub direction: Option<Direction>,
    /// What the connecting side dialled.
    pub original_destination: Option<Endpoint>,
    /// Where its packets go.
    pub actual_destination: Option<Endpoint>,
    /// The way it took.
    pub way: Way,
    /// The rule that redirects or exempts it today.
    pub rule: Option<RuleRef>,
    /// Inode of the socket that is the other half, where that is in the same namespace and held by somebody.
    pub twin: Option<u32>,
}

impl Connection {
    /// The name of the socket's user, where the process that holds it runs as that user.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        let owner = self.process().filter(|owner| Some(owner.uid) == self.uid)?;
        owner.user.as_deref()
    }

    /// The process that stands for all that hold the socket: the oldest by number.
    #[must_use]
    pub fn process(&self) -> Option<&Owner> {
        self.processes.first()
    }

    /// Whether it shows without being asked for: no listener, nothing unconnected, nothing that is over.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.state.is_live()
    }
}

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
}

/// No rules are known.
impl Rulebook for () {
    fn redirecting(&self, _: &Dialled) -> Option<RuleRef> {
        None
    }

    fn exempting(&self, _: &Dialled) -> Option<RuleRef> {
        None
    }
}

/// The connections of a snapshot, by process, then by local port; with `all` also listeners, unconnected sockets and TIME-WAIT.
#[must_use]
pub fn connections(snapshot: &Snapshot, all: bool, rulebook: &dyn Rulebook) -> Vec<Connection> {
    let index = Index::of(snapshot);
    let sockets = snapshot.sockets.iter().flatten();
    let mut connections: Vec<_> = sockets
        .map(|socket| connection(&index, socket, rulebook))
        .filter(|connection| all || connection.is_live())
        .collect();
    connections.sort_by_key(|connection| {
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

/// What was found out about one socket beyond itself.
struct Judgement {
    direction: Option<Direction>,
    original: Option<Endpoint>,
    actual: Option<Endpoint>,
    way: Way,
    rule: Option<RuleRef>,
    twin: Option<u32>,
}

fn connection(index: &Index<'_>, socket: &Socket, rulebook: &dyn Rulebook) -> Connection {
    let judgement = judge(index, socket, rulebook);
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
    }
}

fn judge(index: &Index<'_>, socket: &Socket, rulebook: &dyn Rulebook) -> Judgement {
    let Some(peer) = socket.peer else {
        // A UDP socket without a peer takes what comes to its port; a TCP one does nothing at all.
        let receives = socket.state == SocketState::Listen
            || (socket.protocol == Protocol::Udp && socket.state == SocketState::Unconnected && socket.local.port != 0);
        let way = if receives { Way::Listening } else { Way::Unknown };
        return Judgement { direction: None, original: None, actual: None, way, rule: None, twin: None };
    };
    if let Some(flow) = index.dialled(socket.protocol, socket.local, peer) {
        match turned(index, socket, flow) {
            true => accepted(index, socket, flow.reply, rulebook),
            false => outgoing(index, socket, peer, flow.reply, rulebook),
        }
    } else if let Some(flow) = index.answered(socket.protocol, socket.local, peer) {
        match turned(index, socket, flow) {
            true => outgoing(index, socket, peer, flow.original, rulebook),
            false => accepted(index, socket, flow.original, rulebook),
        }
    } else {
        without_entry(index, socket, peer, rulebook)
    }
}

/// Whether the entry has its sides the wrong way round: so it is where the tracking began later than the connection, with a packet of
/// the one that was dialled. Nothing tells that in the entry; but whom nothing waits for, on a port that the kernel gives to callers,
/// has dialled, and where something waits on another port there was dialled.
fn turned(index: &Index<'_>, socket: &Socket, flow: &Flow) -> bool {
    /// Where the ports begin that the kernel gives to callers, unless it is told otherwise (`net.ipv4.ip_local_port_range`).
    const CALLERS: u16 = 32_768;
    let (client, dialled) = flow.original;
    let waits = |end: Endpoint| index.is_local(end) && index.listens(socket.protocol, end);
    let known_server = waits(client) && client.port < CALLERS;
    // Of the other end only its own half in this namespace could tell.
    let other = socket.local == dialled && index.connected(socket.protocol, client, dialled).is_none();
    socket.protocol == Protocol::Tcp
        && flow.reply == (dialled, client)
        && dialled.port >= CALLERS
        && !waits(dialled)
        && (known_server || other)
}

/// The socket dialled, and the reply's ends say where its packets went.
fn outgoing(
    index: &Index<'_>,
    socket: &Socket,
    peer: Endpoint,
    (actual, answered): (Endpoint, Endpoint),
    rulebook: &dyn Rulebook,
) -> Judgement {
    let packet = packet_of(index, socket, peer);
    let (way, rule) = if actual != peer {
        (Way::Redirected, rulebook.redirecting(&packet))
    } else {
        match rulebook.exempting(&packet) {
            Some(rule) => (Way::Exempt, Some(rule)),
            None => (Way::Direct, None),
        }
    };
    let twin = index.holder(socket.protocol, actual, answered);
    Judgement { direction: Some(Direction::Out), original: Some(peer), actual: Some(actual), way, rule, twin }
}

/// The socket was dialled, and the entry says under which address.
fn accepted(
    index: &Index<'_>,
    socket: &Socket,
    (client, dialled): (Endpoint, Endpoint),
    rulebook: &dyn Rulebook,
) -> Judgement {
    let caller = index.connected(socket.protocol, client, dialled);
    let (way, rule) = if dialled == socket.local {
        (Way::Direct, None)
    } else {
        let packet = match caller {
            Some(caller) => packet_of(index, caller, dialled),
            None => Dialled {
                protocol: socket.protocol,
                source: client,
                destination: dialled,
                incoming: !index.is_local(client),
                uid: None,
                gid: None,
                mark: None,
            },
        };
        (Way::Intercepted, rulebook.redirecting(&packet))
    };
    let twin = caller.map(|caller| caller.inode).filter(|inode| *inode != 0);
    Judgement { direction: Some(Direction::In), original: Some(dialled), actual: Some(socket.local), way, rule, twin }
}

/// No entry: direct where nothing tracks, since then nothing is translated either; else nobody can tell (the entry ran out, the
/// connection is older than the tracking, its packets are exempt from it, none was sent yet).
fn without_entry(index: &Index<'_>, socket: &Socket, peer: Endpoint, rulebook: &dyn Rulebook) -> Judgement {
    let direction = if index.listens(socket.protocol, socket.local) { Direction::In } else { Direction::Out };
    let dialled = match direction {
        Direction::Out => peer,
        Direction::In => socket.local,
    };
    let ipv6 = socket.local.address.is_ipv6();
    let tracked = || {
        // A rule that redirects would by itself have switched the tracking on.
        rulebook.tracks(ipv6).unwrap_or_else(|| {
            direction == Direction::Out && rulebook.redirecting(&packet_of(index, socket, peer)).is_some()
        })
    };
    let twin = index.holder(socket.protocol, peer, socket.local);
    if !index.flows_known() || index.has_entries(ipv6) || tracked() {
        // Each side still knows its own end of the truth: the caller what it dialled, the called where the packets came.
        let (original, actual) = match direction {
            Direction::Out => (Some(peer), None),
            Direction::In => (None, Some(socket.local)),
        };
        return Judgement { direction: Some(direction), original, actual, way: Way::Unknown, rule: None, twin };
    }
    Judgement {
        direction: Some(direction),
        original: Some(dialled),
        actual: Some(dialled),
        way: Way::Direct,
        rule: None,
        twin,
    }
}

/// The packet with which a socket of the namespace dials.
fn packet_of(index: &Index<'_>, socket: &Socket, destination: Endpoint) -> Dialled {
    let owner = index.owners(socket.inode).first();
    Dialled {
        protocol: socket.protocol,
        source: socket.local,
        destination,
        incoming: false,
        uid: (socket.inode != 0).then_some(socket.uid),
        gid: owner.map(|process| process.gid),
        mark: socket.mark,
    }
}
