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
#[cfg(test)]
mod tests;

pub use connection::{Connection, Direction, Evidence, Owner, Way};
use index::Index;

use crate::model::{Endpoint, Flow, Process, Protocol, RuleRef, Snapshot, Socket, SocketState};

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

    /// Whether some rule gives packets such as this one another source (SNAT, MASQUERADE), or may do so.
    fn changes_source(&self, _packet: &Dialled) -> bool {
        false
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
struct Judgement<'a> {
    direction: Option<Direction>,
    original: Option<Endpoint>,
    actual: Option<Endpoint>,
    way: Way,
    rule: Option<RuleRef>,
    twin: Option<u32>,
    evidence: Option<Evidence>,
    flow: Option<&'a Flow>,
    would: Option<RuleRef>,
    rewritten: bool,
}

impl Judgement<'_> {
    /// Nothing is known but this.
    fn bare(way: Way) -> Self {
        Self {
            direction: None,
            original: None,
            actual: None,
            way,
            rule: None,
            twin: None,
            evidence: None,
            flow: None,
            would: None,
            rewritten: false,
        }
    }
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
        evidence: judgement.evidence,
        // Drafts and files of other makers need not number their entries.
        flow: judgement.flow.map(|flow| flow.id).filter(|id| *id != 0),
        would: judgement.would,
        rewritten_port: judgement.rewritten,
        age: judgement.flow.and_then(|flow| index.age(flow)),
    }
}

fn judge<'a>(index: &Index<'a>, socket: &Socket, rulebook: &dyn Rulebook) -> Judgement<'a> {
    let Some(peer) = socket.peer else {
        // A UDP socket without a peer takes what comes to its port; a TCP one does nothing at all.
        let receives = socket.state == SocketState::Listen
            || (socket.protocol == Protocol::Udp && socket.state == SocketState::Unconnected && socket.local.port != 0);
        let way = if receives { Way::Listening } else { Way::Unknown };
        return Judgement::bare(way);
    };
    let dialled = index.dialled(socket.protocol, socket.local, peer).map(|flow| (flow, true));
    let entry = || dialled.or_else(|| Some((index.answered(socket.protocol, socket.local, peer)?, false)));
    let Some((flow, dialled)) = entry() else {
        return without_entry(index, socket, peer, rulebook);
    };
    let judgement = match (dialled, turned(index, socket, flow)) {
        (true, false) => outgoing(index, socket, peer, flow.reply, rulebook),
        (true, true) => accepted(index, socket, flow.reply, rulebook),
        (false, false) => accepted(index, socket, flow.original, rulebook),
        (false, true) => outgoing(index, socket, peer, flow.original, rulebook),
    };
    let rewritten = rewritten(index, flow, rulebook);
    Judgement { evidence: Some(Evidence::Tracked), flow: Some(flow), rewritten, ..judgement }
}

/// Whether the kernel chose another source port by itself (K13): the address is the caller's own, the port is not, and no rule changes
/// sources. The status cannot tell, it is the same in both cases.
fn rewritten(index: &Index<'_>, flow: &Flow, rulebook: &dyn Rulebook) -> bool {
    let (client, answered) = (flow.original.0, flow.reply.1);
    client.address == answered.address && client.port != answered.port && {
        let caller = index.connected(flow.protocol, client, flow.original.1);
        // Such rules come last: they see where the packet goes.
        !rulebook.changes_source(&first_packet(index, flow.protocol, caller, (client, flow.reply.0)))
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
fn outgoing<'a>(
    index: &Index<'a>,
    socket: &Socket,
    peer: Endpoint,
    (actual, answered): (Endpoint, Endpoint),
    rulebook: &dyn Rulebook,
) -> Judgement<'a> {
    let packet = packet_of(index, socket, peer);
    let (way, rule, would) = if actual != peer {
        (Way::Redirected, rulebook.redirecting(&packet), None)
    } else {
        match rulebook.exempting(&packet) {
            Some(rule) => (Way::Exempt, Some(rule), None),
            None => (Way::Direct, None, rulebook.redirecting(&packet)),
        }
    };
    let twin = index.holder(socket.protocol, actual, answered);
    Judgement {
        direction: Some(Direction::Out),
        original: Some(peer),
        actual: Some(actual),
        rule,
        twin,
        would,
        ..Judgement::bare(way)
    }
}

/// The socket was dialled, and the entry says under which address.
fn accepted<'a>(
    index: &Index<'a>,
    socket: &Socket,
    (client, dialled): (Endpoint, Endpoint),
    rulebook: &dyn Rulebook,
) -> Judgement<'a> {
    let caller = index.connected(socket.protocol, client, dialled);
    let redirecting = || rulebook.redirecting(&first_packet(index, socket.protocol, caller, (client, dialled)));
    let (way, rule, would) = match dialled == socket.local {
        true => (Way::Direct, None, redirecting()),
        false => (Way::Intercepted, redirecting(), None),
    };
    let twin = caller.map(|caller| caller.inode).filter(|inode| *inode != 0);
    Judgement {
        direction: Some(Direction::In),
        original: Some(dialled),
        actual: Some(socket.local),
        rule,
        twin,
        would,
        ..Judgement::bare(way)
    }
}

/// The packet with which a connection began: that of the socket that dialled, where it is here, else one from outside.
fn first_packet(
    index: &Index<'_>,
    protocol: Protocol,
    caller: Option<&Socket>,
    (client, dialled): (Endpoint, Endpoint),
) -> Dialled {
    match caller {
        Some(caller) => packet_of(index, caller, dialled),
        None => Dialled {
            protocol,
            source: client,
            destination: dialled,
            incoming: !index.is_local(client),
            uid: None,
            gid: None,
            mark: None,
        },
    }
}

/// No entry: direct where nothing tracks, since then nothing is translated either; else nobody can tell (the entry ran out, the
/// connection is older than the tracking, its packets are exempt from it, none was sent yet).
fn without_entry<'a>(index: &Index<'a>, socket: &Socket, peer: Endpoint, rulebook: &dyn Rulebook) -> Judgement<'a> {
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
        return Judgement { direction: Some(direction), original, actual, twin, ..Judgement::bare(Way::Unknown) };
    }
    Judgement {
        direction: Some(direction),
        original: Some(dialled),
        actual: Some(dialled),
        twin,
        evidence: Some(Evidence::Rules),
        ..Judgement::bare(Way::Direct)
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
