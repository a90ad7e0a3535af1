//! What is to be thought of one socket: by its tracked entry, else by the ends of the sockets around it, else by the rules.

use super::index::Index;
use super::{Dialled, Direction, Evidence, Rulebook, Way};
use crate::model::{Endpoint, Flow, Protocol, RuleRef, Socket, SocketState};

/// What was found out about one socket beyond itself.
pub(super) struct Judgement<'a> {
    pub(super) direction: Option<Direction>,
    pub(super) original: Option<Endpoint>,
    pub(super) actual: Option<Endpoint>,
    pub(super) way: Way,
    pub(super) rule: Option<RuleRef>,
    pub(super) twin: Option<u32>,
    pub(super) evidence: Option<Evidence>,
    pub(super) flow: Option<&'a Flow>,
    pub(super) would: Option<RuleRef>,
    pub(super) rewritten: bool,
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

/// Judges a socket.
pub(super) fn judge<'a>(index: &Index<'a>, socket: &Socket, rulebook: &dyn Rulebook) -> Judgement<'a> {
    let Some(peer) = socket.peer else {
        // A UDP socket without a peer takes what comes to its port; a TCP one does nothing at all.
        let receives = socket.state == SocketState::Listen || (socket.is_unconnected() && socket.local.port != 0);
        let way = if receives { Way::Listening } else { Way::Unknown };
        return Judgement::bare(way);
    };
    let dialled = index.dialled(socket, peer).map(|flow| (flow, true));
    let Some((flow, dialled)) = dialled.or_else(|| Some((index.answered(socket, peer)?, false))) else {
        return without_entry(index, socket, peer, rulebook);
    };
    let judgement = match (dialled, turned(index, socket, flow)) {
        (true, false) => outgoing(index, socket, peer, flow.reply, rulebook),
        (true, true) => accepted(index, socket, flow.reply, rulebook),
        (false, false) => accepted(index, socket, flow.original, rulebook),
        (false, true) => outgoing(index, socket, peer, flow.original, rulebook),
    };
    let rewritten = rewritten(index, flow, rulebook);
    // What the entry does not tell (TPROXY translates nothing) is known from the sockets.
    let evidence = judgement.evidence.or(Some(Evidence::Tracked));
    Judgement { evidence, flow: Some(flow), rewritten, ..judgement }
}

/// Judges a datagram socket without a peer by an entry that begins at its port.
pub(super) fn sent<'a>(
    index: &Index<'a>,
    socket: &Socket,
    peer: Endpoint,
    flow: Option<&'a Flow>,
    rulebook: &dyn Rulebook,
) -> Judgement<'a> {
    let Some(flow) = flow else {
        return Judgement { direction: Some(Direction::Out), original: Some(peer), ..Judgement::bare(Way::Unknown) };
    };
    let rewritten = rewritten(index, flow, rulebook);
    let judgement = outgoing(index, socket, peer, flow.reply, rulebook);
    // Another one may have had the port before.
    Judgement { evidence: Some(Evidence::Ends), flow: Some(flow), rewritten, ..judgement }
}

/// Whether the kernel chose another source port by itself (K13): the address is the caller's own, the port is not, and no rule changes
/// sources. The status cannot tell, it is the same in both cases.
fn rewritten(index: &Index<'_>, flow: &Flow, rulebook: &dyn Rulebook) -> bool {
    let (client, answered) = (flow.original.0, flow.reply.1);
    flow.has_ports() && client.address == answered.address && client.port != answered.port && {
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
    let taken = || index.connected(socket.protocol, actual, answered).is_some_and(|half| index.taken(half));
    let (way, rule, would, evidence) = if actual != peer {
        (Way::Redirected, rulebook.redirecting(&packet), None, None)
    } else if taken() {
        (Way::Redirected, rulebook.redirecting(&packet), None, Some(Evidence::Ends))
    } else {
        match rulebook.exempting(&packet) {
            Some(rule) => (Way::Exempt, Some(rule), None, None),
            None => (Way::Direct, None, rulebook.redirecting(&packet), None),
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
        evidence,
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
    let (way, rule, would, evidence) = if dialled != socket.local {
        (Way::Intercepted, redirecting(), None, None)
    } else if index.taken(socket) {
        (Way::Intercepted, redirecting(), None, Some(Evidence::Ends))
    } else {
        (Way::Direct, None, redirecting(), None)
    };
    let twin = caller.map(|caller| caller.inode).filter(|inode| *inode != 0);
    Judgement {
        direction: Some(Direction::In),
        original: Some(dialled),
        actual: Some(socket.local),
        rule,
        twin,
        would,
        evidence,
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

/// No entry, or none that fits: two halves that are both here tell; else direct where nothing tracks, or not these packets, since then
/// nothing is translated either; else nobody can tell (the entry ran out, the connection is older than the tracking, the entry is that
/// of another one with the same ends).
fn without_entry<'a>(index: &Index<'a>, socket: &Socket, peer: Endpoint, rulebook: &dyn Rulebook) -> Judgement<'a> {
    if let Some(judgement) = by_ends(index, socket, peer, rulebook) {
        return judgement;
    }
    let inward = || first_packet(index, socket.protocol, None, (peer, socket.local));
    // A listener at the port may be the application's, past which the connection went.
    let taken = index.taken(socket)
        && (index.listens(socket.protocol, socket.local) || rulebook.redirecting(&inward()).is_some());
    let called = taken || index.listens(socket.protocol, socket.local) || index.only_answers(socket, peer);
    let direction = if called { Direction::In } else { Direction::Out };
    let twin = index.holder(socket.protocol, peer, socket.local);
    let dialled = if direction == Direction::Out { peer } else { socket.local };
    let known = Judgement {
        direction: Some(direction),
        original: Some(dialled),
        actual: Some(dialled),
        twin,
        ..Judgement::bare(Way::Direct)
    };
    if taken {
        let rule = rulebook.redirecting(&inward());
        return Judgement { way: Way::Intercepted, rule, evidence: Some(Evidence::Ends), ..known };
    }
    let packet = if direction == Direction::Out { packet_of(index, socket, peer) } else { inward() };
    let ipv6 = socket.local.address.is_ipv6();
    let untracked = index.flows_known() && !index.has_entries(ipv6) && rulebook.tracks(ipv6) == Some(false);
    if untracked || rulebook.untracking(&packet).is_some() {
        return Judgement { would: rulebook.redirecting(&packet), evidence: Some(Evidence::Rules), ..known };
    }
    // Each side still knows its own end of the truth: the caller what it dialled, the called where the packets came.
    let (original, actual) = match direction {
        Direction::Out => (Some(peer), None),
        Direction::In => (None, Some(socket.local)),
    };
    Judgement { original, actual, way: Way::Unknown, ..known }
}

/// Both halves are here, and their ends fit each other and nobody else.
fn by_ends<'a>(index: &Index<'a>, socket: &Socket, peer: Endpoint, rulebook: &dyn Rulebook) -> Option<Judgement<'a>> {
    if socket.state != SocketState::Established {
        return None;
    }
    let listens = |end| index.listens(socket.protocol, end);
    let judgement = if index.exact_half(socket).is_some() {
        // Which of the two was dialled, only a listener can tell.
        match (listens(socket.local), listens(peer)) {
            (true, false) => accepted(index, socket, (peer, socket.local), rulebook),
            (false, true) => outgoing(index, socket, peer, (peer, socket.local), rulebook),
            _ => return None,
        }
    } else if let Some((_, half)) = index.lone_halves(socket.protocol, socket.local) {
        outgoing(index, socket, peer, (half.local, socket.local), rulebook)
    } else {
        let (caller, _) = index.lone_halves(socket.protocol, peer).filter(|_| listens(socket.local))?;
        accepted(index, socket, (caller.local, caller.peer?), rulebook)
    };
    Some(Judgement { evidence: Some(Evidence::Ends), ..judgement })
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
