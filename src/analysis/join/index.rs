//! What the join looks up: entries by their tuples, sockets by their ends, owners by inode.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::model::{Endpoint, Flow, Process, Protocol, Snapshot, Socket, SocketState, Subject};

/// Protocol, one end, other end.
type Ends = (Protocol, Endpoint, Endpoint);

/// Entries with the same tuple, which differ by their zones.
type Entries<'a> = (&'a Flow, Vec<&'a Flow>);

/// Sockets by one of their ends.
type ByEnd<'a> = HashMap<(Protocol, Endpoint), Vec<&'a Socket>>;

/// A snapshot by what is looked up in it.
pub(super) struct Index<'a> {
    snapshot: &'a Snapshot,
    by_original: HashMap<Ends, Entries<'a>>,
    by_reply: HashMap<Ends, Entries<'a>>,
    by_ends: HashMap<Ends, &'a Socket>,
    /// Ends of the datagram entries that begin at a port.
    datagrams: HashMap<(Protocol, u16), Vec<(Endpoint, Endpoint)>>,
    /// Connected sockets by their local and by their other end; few need them.
    halves: OnceCell<[ByEnd<'a>; 2]>,
    receivers: HashMap<(Protocol, u16), Vec<&'a Socket>>,
    /// Inodes in order, and the process that holds each: several in a row for a socket that is shared.
    held: Vec<u32>,
    holders: Vec<&'a Process>,
    /// Whether there is an entry of IPv4 and of IPv6.
    entries: [bool; 2],
}

impl<'a> Index<'a> {
    pub(super) fn of(snapshot: &'a Snapshot) -> Self {
        let mut index = Self {
            snapshot,
            by_original: HashMap::new(),
            by_reply: HashMap::new(),
            by_ends: HashMap::new(),
            datagrams: HashMap::new(),
            halves: OnceCell::new(),
            receivers: HashMap::new(),
            held: Vec::new(),
            holders: Vec::new(),
            entries: [false; 2],
        };
        snapshot.flows.iter().flatten().for_each(|flow| index.add_flow(flow));
        snapshot.sockets.iter().flatten().for_each(|socket| index.add_socket(socket));
        let held = snapshot.processes.iter().flatten().flat_map(|process| {
            process.sockets.iter().map(move |inode| (*inode, process)).filter(|(inode, _)| *inode != 0)
        });
        let mut held: Vec<(u32, &Process)> = held.collect();
        held.sort_by_key(|(inode, process)| (*inode, process.pid));
        (index.held, index.holders) = held.into_iter().unzip();
        index
    }

    fn add_flow(&mut self, flow: &'a Flow) {
        if let Some(seen) = self.entries.get_mut(usize::from(flow.original.0.address.is_ipv6())) {
            *seen = true;
        }
        let tuples = [(&mut self.by_original, flow.original), (&mut self.by_reply, flow.reply)];
        for (map, (source, destination)) in tuples {
            match map.entry((flow.protocol, source, destination)) {
                Entry::Vacant(place) => {
                    place.insert((flow, Vec::new()));
                }
                Entry::Occupied(mut place) => place.get_mut().1.push(flow),
            }
        }
        if matches!(flow.protocol.number(), 17 | 136) {
            let ends = self.datagrams.entry((flow.protocol, flow.original.0.port)).or_default();
            if self
                .by_original
                .get(&(flow.protocol, flow.original.0, flow.original.1))
                .is_some_and(|(_, more)| more.is_empty())
            {
                ends.push(flow.original);
            }
        }
    }

    fn add_socket(&mut self, socket: &'a Socket) {
        if let Some(peer) = socket.peer {
            let kept = self.by_ends.entry((socket.protocol, socket.local, peer)).or_insert(socket);
            // One that is over may share its ends with the one that came after it.
            if kept.inode == 0 {
                *kept = socket;
            }
        } else if socket.state == SocketState::Listen || socket.protocol == Protocol::Udp {
            self.receivers.entry((socket.protocol, socket.local.port)).or_default().push(socket);
        }
    }

    /// The entry of the connection that the socket dialled.
    pub(super) fn dialled(&self, socket: &Socket, peer: Endpoint) -> Option<&'a Flow> {
        let entries = self.by_original.get(&(socket.protocol, socket.local, peer))?;
        speaker(entries, socket.state, |flow| flow.reply.0)
    }

    /// The entry of the connection that the socket answers.
    pub(super) fn answered(&self, socket: &Socket, peer: Endpoint) -> Option<&'a Flow> {
        let entries = self.by_reply.get(&(socket.protocol, socket.local, peer))?;
        speaker(entries, socket.state, |flow| flow.original.1)
    }

    /// Whether all entries with the socket's ends have it on the side that was dialled, be they its own or not.
    pub(super) fn only_answers(&self, socket: &Socket, peer: Endpoint) -> bool {
        let ends = (socket.protocol, socket.local, peer);
        self.by_reply.contains_key(&ends) && !self.by_original.contains_key(&ends)
    }

    /// To whom a datagram socket without a peer sent, and from which address; with the entry, where one speaks for it. Only where no
    /// other socket can have sent it.
    pub(super) fn sent_by(&self, socket: &Socket) -> Vec<(Endpoint, Endpoint, Option<&'a Flow>)> {
        if !socket.is_unconnected() || socket.inode == 0 {
            return Vec::new();
        }
        let ends = self.datagrams.get(&(socket.protocol, socket.local.port)).into_iter().flatten();
        let own = ends.filter(|(from, to)| {
            self.is_local(*from)
                && self.connected(socket.protocol, *from, *to).is_none()
                && self.only_receiver(socket.protocol, *from).is_some_and(|only| only.inode == socket.inode)
        });
        let entry = |from, to| {
            let entries = self.by_original.get(&(socket.protocol, from, to))?;
            speaker(entries, socket.state, |flow| flow.reply.0)
        };
        own.map(|(from, to)| (*from, *to, entry(*from, *to))).collect()
    }

    /// The one socket that waits at this address; `None` where several share it.
    fn only_receiver(&self, protocol: Protocol, local: Endpoint) -> Option<&'a Socket> {
        let receiver = self.receiver(protocol, local)?;
        let alike = self.receivers.get(&(protocol, local.port))?.iter();
        (alike.filter(|other| (other.local, other.family) == (receiver.local, receiver.family)).count() == 1)
            .then_some(receiver)
    }

    /// Whether TPROXY gave the socket to a listener of another port: it is transparent as that one is, and no such listener waits at
    /// its own.
    pub(super) fn taken(&self, socket: &Socket) -> bool {
        let transparent = |socket: &Socket| socket.details.transparent == Some(true);
        let waits = |other: &&Socket| {
            transparent(other) && (other.local == socket.local || other.local.address.is_unspecified())
        };
        let at_port = self.receivers.get(&(socket.protocol, socket.local.port));
        transparent(socket) && !at_port.is_some_and(|waiting| waiting.iter().any(waits))
    }

    /// The other half of a connection whose ends are the same from both sides.
    pub(super) fn exact_half(&self, socket: &Socket) -> Option<&'a Socket> {
        let other = self.connected(socket.protocol, socket.peer?, socket.local)?;
        (other.state == SocketState::Established).then_some(other)
    }

    /// The caller and the accepted half of which this end, an own address where nothing waits, is the caller's, where there is but
    /// one of each and neither has a half that fits it better.
    pub(super) fn lone_halves(&self, protocol: Protocol, caller: Endpoint) -> Option<(&'a Socket, &'a Socket)> {
        if !self.is_local(caller) || self.listens(protocol, caller) {
            return None;
        }
        let [by_local, by_peer] = self.halves.get_or_init(|| self.by_each_end());
        let lone = |map: &ByEnd<'a>| -> Vec<&'a Socket> {
            let sockets = map.get(&(protocol, caller)).into_iter().flatten();
            let alone =
                |socket: &&&Socket| socket.state == SocketState::Established && self.exact_half(socket).is_none();
            sockets.filter(alone).copied().collect()
        };
        let (callers, halves) = (lone(by_local), lone(by_peer));
        let ([caller], [half]) = (callers.as_slice(), halves.as_slice()) else { return None };
        (self.is_local(half.local) && self.listens(protocol, half.local)).then_some((*caller, *half))
    }

    fn by_each_end(&self) -> [ByEnd<'a>; 2] {
        let mut maps = [ByEnd::new(), ByEnd::new()];
        for socket in self.snapshot.sockets.iter().flatten() {
            let Some(peer) = socket.peer else { continue };
            let [by_local, by_peer] = &mut maps;
            by_local.entry((socket.protocol, socket.local)).or_default().push(socket);
            by_peer.entry((socket.protocol, peer)).or_default().push(socket);
        }
        maps
    }

    /// The connected socket with these ends.
    pub(super) fn connected(&self, protocol: Protocol, local: Endpoint, peer: Endpoint) -> Option<&'a Socket> {
        self.by_ends.get(&(protocol, local, peer)).copied()
    }

    /// Inode of the socket that receives at `local` what comes from `peer`. For UDP that may be one without a peer.
    pub(super) fn holder(&self, protocol: Protocol, local: Endpoint, peer: Endpoint) -> Option<u32> {
        let unconnected = || {
            let own = protocol == Protocol::Udp && self.is_local(local);
            own.then(|| self.receiver(protocol, local)).flatten()
        };
        let socket = self.connected(protocol, local, peer).or_else(unconnected)?;
        (socket.inode != 0).then_some(socket.inode)
    }

    /// Whether a socket waits at this address, or at all of them.
    pub(super) fn listens(&self, protocol: Protocol, local: Endpoint) -> bool {
        self.receiver(protocol, local).is_some()
    }

    /// The socket that waits at this very address, else one that waits at all of them.
    fn receiver(&self, protocol: Protocol, local: Endpoint) -> Option<&'a Socket> {
        let candidates = self.receivers.get(&(protocol, local.port))?;
        let exact = candidates.iter().find(|socket| socket.local == local);
        let family = |socket: &Socket| socket.local.address.is_ipv6() == local.address.is_ipv6();
        let wildcards = || candidates.iter().filter(|socket| socket.local.address.is_unspecified());
        exact
            .or_else(|| wildcards().find(|socket| family(socket)))
            // An IPv6 wildcard takes IPv4 too unless told otherwise; an IPv4 one never takes IPv6.
            .or_else(|| wildcards().find(|socket| socket.local.address.is_ipv6()))
            .copied()
    }

    /// The processes that hold the socket, in order of PID.
    pub(super) fn owners(&self, inode: u32) -> &[&'a Process] {
        let first = self.held.partition_point(|held| *held < inode);
        let many = self.held.iter().skip(first).take_while(|held| **held == inode).count();
        self.holders.get(first..first + many).unwrap_or_default()
    }

    /// Whether the address is one of the namespace's own.
    pub(super) fn is_local(&self, end: Endpoint) -> bool {
        self.snapshot.is_local(end.address)
    }

    /// Whether the list of entries was read, and whole.
    pub(super) fn flows_known(&self) -> bool {
        self.snapshot.flows.is_some() && self.snapshot.unread_about(&[Subject::Flows]).next().is_none()
    }

    /// Seconds between the beginning of an entry and the snapshot, where the kernel noted the time.
    pub(super) fn age(&self, flow: &Flow) -> Option<u64> {
        const NANOSECONDS: u64 = 1_000_000_000;
        self.snapshot.taken.checked_sub(flow.details.started? / NANOSECONDS)
    }

    /// Whether any connection of the family is tracked.
    pub(super) fn has_entries(&self, ipv6: bool) -> bool {
        self.entries.get(usize::from(ipv6)).copied().unwrap_or_default()
    }
}

/// Which of the entries with a tuple speaks for a socket in this state: of those that can be its own the one that was answered, unless
/// others that were tell another end.
fn speaker<'a>((first, more): &Entries<'a>, state: SocketState, told: fn(&Flow) -> Endpoint) -> Option<&'a Flow> {
    let answered = |flow: &Flow| flow.status & Flow::SEEN_REPLY != 0;
    let fitting = || std::iter::once(first).chain(more).filter(|flow| flow.may_be_of(state)).copied();
    let best = fitting().find(|flow| answered(flow)).or_else(|| fitting().next())?;
    let agrees = |other: &Flow| told(other) == told(best) || (answered(best) && !answered(other));
    fitting().all(agrees).then_some(best)
}
