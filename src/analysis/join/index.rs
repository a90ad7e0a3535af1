//! What the join looks up: entries by their tuples, sockets by their ends, owners by inode.

use std::collections::{HashMap, HashSet};

use crate::model::{Endpoint, Flow, Process, Protocol, Snapshot, Socket, SocketState, Subject};

/// Protocol, one end, other end.
type Ends = (Protocol, Endpoint, Endpoint);

/// `IPS_SEEN_REPLY` (`include/uapi/linux/netfilter/nf_conntrack_common.h`).
const SEEN_REPLY: u32 = 1 << 1;

/// A snapshot by what is looked up in it.
pub(super) struct Index<'a> {
    snapshot: &'a Snapshot,
    by_original: HashMap<Ends, &'a Flow>,
    by_reply: HashMap<Ends, &'a Flow>,
    by_ends: HashMap<Ends, &'a Socket>,
    receivers: HashMap<(Protocol, u16), Vec<&'a Socket>>,
    owners: HashMap<u32, Vec<&'a Process>>,
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
            receivers: HashMap::new(),
            owners: HashMap::new(),
            entries: [false; 2],
        };
        snapshot.flows.iter().flatten().for_each(|flow| index.add_flow(flow));
        snapshot.sockets.iter().flatten().for_each(|socket| index.add_socket(socket));
        let wanted: HashSet<u32> = snapshot.sockets.iter().flatten().map(|socket| socket.inode).collect();
        for process in snapshot.processes.iter().flatten() {
            for inode in process.sockets.iter().filter(|inode| wanted.contains(inode)) {
                index.owners.entry(*inode).or_default().push(process);
            }
        }
        index.owners.values_mut().for_each(|owners| owners.sort_by_key(|process| process.pid));
        index
    }

    fn add_flow(&mut self, flow: &'a Flow) {
        if let Some(seen) = self.entries.get_mut(usize::from(flow.original.0.address.is_ipv6())) {
            *seen = true;
        }
        let tuples = [(&mut self.by_original, flow.original), (&mut self.by_reply, flow.reply)];
        for (map, (source, destination)) in tuples {
            let kept = map.entry((flow.protocol, source, destination)).or_insert(flow);
            if weight(flow) > weight(kept) {
                *kept = flow;
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

    /// The entry of the connection that a socket with these ends dialled.
    pub(super) fn dialled(&self, protocol: Protocol, local: Endpoint, peer: Endpoint) -> Option<&'a Flow> {
        self.by_original.get(&(protocol, local, peer)).copied()
    }

    /// The entry of the connection that a socket with these ends answers.
    pub(super) fn answered(&self, protocol: Protocol, local: Endpoint, peer: Endpoint) -> Option<&'a Flow> {
        self.by_reply.get(&(protocol, local, peer)).copied()
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
        match inode {
            0 => &[],
            held => self.owners.get(&held).map_or(&[], Vec::as_slice),
        }
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

/// Which of several entries with the same tuple speaks for it (they differ by zone): one that was answered, then one that
/// translates.
fn weight(flow: &Flow) -> (bool, bool) {
    (flow.status & SEEN_REPLY != 0, flow.reply.0 != flow.original.1)
}
