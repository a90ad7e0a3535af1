//! Reads what lives in a network namespace: sockets, tracked flows, interfaces, and the processes behind them.
//!
//! The netlink sockets are opened inside the namespace and used from outside: a socket keeps the namespace it was made in.
//! Nothing is asked of a kernel subsystem that is not there already, since the kernel would load it for the question.

use std::collections::HashSet;
use std::fmt::Display;
use std::io;
use std::path::Path;
use std::thread;

use super::flows::{self, FLOWS, Present, Tracking};
use super::moment;
use super::owners::{Crowd, Namespace, Owners, read_processes};
use super::sockets::{KernelLists, SOCKETS, SocketLists};
use crate::model::{Cause, Flow, Interface, OtherSocket, Snapshot, Socket, Subject, Unread};
use crate::sys::netlink::{self, NetlinkError, NetlinkSocket};
use crate::sys::netns::Netns;
use crate::wire::{rtnetlink, sock_diag};

/// How often a list is asked for that changes while it is read, before it is taken as it is.
const TRIES: usize = 8;

/// What it means when one of the lists is missing or cut short.
const INTERFACES: &str = "which addresses are the namespace's own is not known";

/// Netlink sockets opened inside one namespace.
#[derive(Debug)]
pub struct Channels {
    sockets: SocketLists,
    flows: Tracking,
    interfaces: Result<NetlinkSocket, Refusal>,
}

/// Why something could not be read.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    pub(super) cause: Cause,
    pub(super) error: String,
}

impl Channels {
    /// Opens the sockets inside `netns`; those that cannot be had say so when they are read from.
    ///
    /// # Errors
    /// The namespace could not be entered (CAP_SYS_ADMIN is needed).
    pub fn open(netns: &Netns, proc_root: &Path) -> io::Result<Self> {
        let (kernel, tracking) = (KernelLists::of(proc_root), Present::look(proc_root));
        let (sockets, flows, interfaces) =
            netns.enter(|| (SocketLists::open(kernel), tracking.open(), open(netlink::ROUTE)))?;
        Ok(Self { sockets, flows, interfaces })
    }

    /// The sockets of connections of the namespace, IPv4 and IPv6, in every state, and which of these lists could not be read.
    pub fn read_sockets(&mut self, figures: bool) -> (Vec<Socket>, Vec<Unread>) {
        self.sockets.connections(wanted(figures))
    }

    /// The other sockets of the namespace, and which of these lists could not be read.
    pub fn read_other_sockets(&mut self, netns: &Netns) -> (Vec<OtherSocket>, Vec<Unread>) {
        self.sockets.others(netns)
    }

    /// All tracked connections of the namespace. Where nothing tracks, the list is empty and that is all there is.
    pub fn read_flows(&mut self) -> (Vec<Flow>, Vec<Unread>) {
        self.flows.read()
    }

    /// Interfaces of the namespace with their addresses.
    pub fn read_interfaces(&mut self) -> (Vec<Interface>, Vec<Unread>) {
        interfaces(&mut self.interfaces)
    }
}

/// Sockets of connections in every state.
fn wanted(figures: bool) -> sock_diag::Wanted {
    sock_diag::Wanted { figures, ..sock_diag::Wanted::states(sock_diag::EVERY_STATE) }
}

/// The inodes of all sockets of connections that somebody holds now; `None` where they cannot be read.
fn inodes(lists: &mut SocketLists) -> Option<HashSet<u32>> {
    let (sockets, unread) = lists.connections(wanted(false));
    unread.is_empty().then(|| sockets.iter().map(|socket| socket.inode).collect())
}

/// Asks once more for the sockets that contradict the entries, which were read after them: what changed meanwhile is taken as it is
/// now. What contradicts them still has no entry of its own. Says whether any is another one now.
fn compare(lists: &mut SocketLists, sockets: &mut Vec<Socket>, flows: &[Flow], figures: bool) -> bool {
    let doubtful = moment::contradicted(sockets, flows);
    if doubtful.is_empty() {
        return false;
    }
    let (now, unread) = lists.connections(wanted(figures));
    if unread.is_empty() {
        moment::renew(sockets, &doubtful, now);
    }
    unread.is_empty()
}

/// Interfaces of a namespace with their addresses.
fn interfaces(channel: &mut Result<NetlinkSocket, Refusal>) -> (Vec<Interface>, Vec<Unread>) {
    let mut unread = Vec::new();
    let mut note = |source, refusal: Option<Refusal>| {
        unread.extend(refusal.map(|refusal| refusal.about(Subject::Interfaces, source, INTERFACES)));
    };
    let request = rtnetlink::link_request();
    let question = (rtnetlink::GET_LINK, request.as_slice(), rtnetlink::NEW_LINK);
    let (mut interfaces, refusal) = list(channel, question, rtnetlink::decode_link);
    note("interfaces", refusal);
    let request = rtnetlink::address_request();
    let question = (rtnetlink::GET_ADDRESS, request.as_slice(), rtnetlink::NEW_ADDRESS);
    let (addresses, refusal) = list(channel, question, rtnetlink::decode_address);
    note("addresses", refusal);
    for (index, address, prefix) in addresses {
        // An interface that came between the two lists is not among them, and its address says nothing without it.
        if let Some(interface) = interfaces.iter_mut().find(|interface| interface.index == index) {
            interface.addresses.push((address, prefix));
        }
    }
    (interfaces, unread)
}

pub(super) fn open(protocol: i32) -> Result<NetlinkSocket, Refusal> {
    NetlinkSocket::open(protocol).map_err(|error| Refusal::from_io(&error))
}

/// How much is read of sockets beyond those of connections with their ends, states and queues.
#[derive(Debug, Clone, Copy, Default)]
pub struct Extent {
    /// Sockets that are no ends of connections.
    pub others: bool,
    /// Congestion, and TCP's figures, of those that are.
    pub figures: bool,
    /// How full the table of tracked connections is, what went wrong in it, and what it expects.
    pub tracking: bool,
    /// Only sockets of TCP and UDP that wait, and no tracked connections.
    pub waiting_only: bool,
}

/// Fills in the sockets, flows, interfaces and processes of `netns`, and what of them could not be read.
///
/// With `every_socket`, sockets that are no ends of connections too, and the figures of those that are.
pub fn read_into(snapshot: &mut Snapshot, netns: &Netns, proc_root: &Path, every_socket: bool) {
    read_extent_into(
        snapshot,
        netns,
        proc_root,
        Extent { others: every_socket, figures: every_socket, ..Extent::default() },
        None,
    );
}

/// The same to this extent, with what is known of the node's processes already.
pub fn read_extent_into(
    snapshot: &mut Snapshot,
    netns: &Netns,
    proc_root: &Path,
    extent: Extent,
    crowd: Option<&Crowd>,
) {
    let channels = match Channels::open(netns, proc_root) {
        Ok(channels) => Some(channels),
        Err(error) => {
            let refusal = Refusal::from_io(&error);
            let parts = [
                (Subject::Sockets, "sockets", SOCKETS),
                (Subject::Flows, "conntrack", FLOWS),
                (Subject::Interfaces, "interfaces", INTERFACES),
            ];
            snapshot.unread.extend(parts.map(|(subject, source, means)| refusal.clone().about(subject, source, means)));
            (snapshot.sockets, snapshot.flows) = (Some(Vec::new()), Some(Vec::new()));
            snapshot.interfaces = Some(Vec::new());
            None
        }
    };
    let Some(Channels { mut sockets, mut flows, interfaces: mut links }) = channels else {
        let owners = owners_of(snapshot, netns, (proc_root, crowd), None);
        return note_owners(snapshot, owners);
    };
    let (found, unread) = match extent.waiting_only {
        true => sockets.waiting(),
        false => sockets.connections(wanted(extent.figures)),
    };
    snapshot.sockets = Some(found);
    snapshot.unread.extend(unread);
    if extent.waiting_only {
        let (found, unread) = interfaces(&mut links);
        snapshot.interfaces = Some(found);
        snapshot.unread.extend(unread);
        let owners = owners_of(snapshot, netns, (proc_root, crowd), Some(&mut sockets));
        return note_owners(snapshot, owners);
    }
    if extent.others {
        let (others, unread) = sockets.others(netns);
        snapshot.other_sockets = Some(others);
        snapshot.unread.extend(unread);
    }
    // Flows after sockets: an entry outlives its socket, so that no open one is without its entry for that reason. For them the
    // kernel walks the whole node's table, which takes as long as to look for owners: so both are done at a time.
    let mut rest = || {
        let (found, unread) = flows.read();
        let state = (extent.tracking && unread.is_empty()).then(|| flows::state(&mut flows, netns, proc_root));
        (found, unread, state, interfaces(&mut links))
    };
    let known = &*snapshot;
    let (read, owners) = thread::scope(|scope| {
        let reader = thread::Builder::new().name("flows".into()).spawn_scoped(scope, &mut rest);
        let owners = owners_of(known, netns, (proc_root, crowd), Some(&mut sockets));
        let join = |reader: thread::ScopedJoinHandle<'_, _>| {
            reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        (reader.ok().map(join), owners)
    });
    // A thread that could not be made is no reason to know less.
    let (flows, unread_flows, state, (interfaces, unread_interfaces)) = read.unwrap_or_else(rest);
    if let Some((state, unread)) = state {
        snapshot.tracking = Some(state);
        snapshot.unread.extend(unread);
    }
    snapshot.unread.extend(unread_flows.into_iter().chain(unread_interfaces));
    let renewed = compare(&mut sockets, snapshot.sockets.get_or_insert_default(), &flows, extent.figures);
    (snapshot.flows, snapshot.interfaces) = (Some(flows), Some(interfaces));
    // Another socket has other owners.
    let owners = if renewed { owners_of(snapshot, netns, (proc_root, crowd), Some(&mut sockets)) } else { owners };
    note_owners(snapshot, owners);
}

/// The processes behind the sockets that were read.
fn owners_of(
    snapshot: &Snapshot,
    netns: &Netns,
    (proc_root, crowd): (&Path, Option<&Crowd>),
    lists: Option<&mut SocketLists>,
) -> Owners {
    let held = |inode: &u32| *inode != 0;
    let others = || snapshot.other_sockets.iter().flatten().map(OtherSocket::inode).filter(held);
    let connections = snapshot.sockets.iter().flatten().map(|socket| socket.inode).filter(held);
    let wanted: HashSet<u32> = connections.chain(others()).collect();
    // Only sockets of connections come and go quickly.
    let still_there = || Some(inodes(lists?)?.into_iter().chain(others()).collect());
    let containers = &snapshot.workload.containers;
    read_processes(proc_root, Namespace::of(netns), containers, &wanted, crowd, still_there)
}

fn note_owners(snapshot: &mut Snapshot, owners: Owners) {
    snapshot.unread.extend(owners.unread);
    snapshot.processes = Some(owners.processes);
    snapshot.ids = owners.ids;
}

/// Fills in the interfaces of `netns` alone, and what of them could not be read.
pub fn read_interfaces_into(snapshot: &mut Snapshot, netns: &Netns, proc_root: &Path) {
    let (interfaces, unread) = match Channels::open(netns, proc_root) {
        Ok(mut channels) => channels.read_interfaces(),
        Err(error) => {
            let refusal = Refusal::from_io(&error).about(Subject::Interfaces, "interfaces", INTERFACES);
            (Vec::new(), vec![refusal])
        }
    };
    snapshot.unread.extend(unread);
    snapshot.interfaces = Some(interfaces);
}

/// Asks for a list, again when it changed meanwhile, and reads its entries. The question is the request's message type and
/// payload, and the message type of the answers. What could be read is given also where something could not.
pub(super) fn list<T, E: Display>(
    socket: &mut Result<NetlinkSocket, Refusal>,
    (kind, payload, answers): (u16, &[u8], u16),
    decode: impl Fn(&[u8]) -> Result<T, E>,
) -> (Vec<T>, Option<Refusal>) {
    let socket = match socket {
        Ok(socket) => socket,
        Err(refusal) => return (Vec::new(), Some(refusal.clone())),
    };
    let mut entries = Vec::new();
    for attempt in 1..=TRIES {
        entries.clear();
        let (mut garbled, mut complaint) = (0_usize, None);
        let outcome = socket.request(kind, netlink::DUMP, payload, |message| {
            if message.kind != answers {
                return;
            }
            match decode(message.payload) {
                Ok(entry) => entries.push(entry),
                Err(error) => {
                    garbled += 1;
                    complaint.get_or_insert_with(|| error.to_string());
                }
            }
        });
        match (outcome, complaint) {
            (Err(NetlinkError::Interrupted), _) if attempt < TRIES => {}
            (Err(error), _) => return (entries, Some(Refusal::from_netlink(&error))),
            (Ok(()), Some(first)) => {
                let refusal = Refusal::garbled(garbled, garbled + entries.len(), &first);
                return (entries, Some(refusal));
            }
            (Ok(()), None) => break,
        }
    }
    (entries, None)
}

impl Refusal {
    pub(super) fn absent(module: &str) -> Self {
        let error = format!("the kernel has {module} neither built in nor loaded, and to ask would load it");
        Self { cause: Cause::Unsupported, error }
    }

    pub(super) fn from_io(error: &io::Error) -> Self {
        Self { cause: cause(error.raw_os_error()), error: error.to_string() }
    }

    pub(super) fn from_netlink(error: &NetlinkError) -> Self {
        let text = match error {
            NetlinkError::Interrupted => format!("{error}, {TRIES} times in a row"),
            other => other.to_string(),
        };
        Self { cause: cause(error.errno()), error: text }
    }

    /// So many of all entries make no sense.
    pub(super) fn garbled(some: usize, all: usize, first: &str) -> Self {
        Self { cause: Cause::Failed, error: format!("{some} of {all} entries were not understood: {first}") }
    }

    pub(super) fn about(self, subject: Subject, source: impl Into<String>, means: &str) -> Unread {
        Unread { source: source.into(), error: self.error, means: means.to_owned(), subject, cause: self.cause }
    }
}

/// What an error number says about the reason.
fn cause(errno: Option<i32>) -> Cause {
    use nix::libc::{EACCES, EAFNOSUPPORT, ENOENT, EOPNOTSUPP, EPERM, EPROTONOSUPPORT};
    match errno {
        Some(EPERM | EACCES) => Cause::Permission,
        // sock_diag answers ENOENT for a family that nobody handles.
        Some(ENOENT | EOPNOTSUPP | EPROTONOSUPPORT | EAFNOSUPPORT) => Cause::Unsupported,
        _ => Cause::Failed,
    }
}
