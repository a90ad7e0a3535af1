//! Reads what lives in a network namespace: sockets, tracked flows, interfaces, and the processes behind them.
//!
//! The netlink sockets are opened inside the namespace and used from outside: a socket keeps the namespace it was made in.
//! Nothing is asked of a kernel subsystem that is not there already, since the kernel would load it for the question.

use std::collections::HashSet;
use std::fmt::Display;
use std::io;
use std::path::Path;

use super::flows::{FLOWS, Present, Tracking};
use super::owners::read_processes;
use crate::model::{Cause, Family, Flow, Interface, Protocol, Snapshot, Socket, Subject, Unread};
use crate::sys::modules;
use crate::sys::netlink::{self, NetlinkError, NetlinkSocket};
use crate::sys::netns::Netns;
use crate::wire::{rtnetlink, sock_diag};

/// How often a list is asked for that changes while it is read, before it is taken as it is.
const TRIES: usize = 8;

/// Protocols whose sockets are listed: module that lists them, and a symbol of it.
const LISTED: [(Protocol, &str, &str); 2] =
    [(Protocol::Tcp, "tcp_diag", "tcp_diag_dump"), (Protocol::Udp, "udp_diag", "udp_diag_dump")];

/// The module behind all of [`LISTED`].
const INET_DIAG: &str = "inet_diag";

/// What it means when one of the lists is missing or cut short.
const SOCKETS: &str = "connections may be missing";
const INTERFACES: &str = "which addresses are the namespace's own is not known";

/// Netlink sockets opened inside one namespace.
#[derive(Debug)]
pub struct Channels {
    sockets: Result<NetlinkSocket, Refusal>,
    flows: Tracking,
    interfaces: Result<NetlinkSocket, Refusal>,
    /// Protocols of [`LISTED`] that the kernel cannot list as it is, and the module that it lacks.
    unlisted: Unlisted,
}

/// Why something could not be read.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    cause: Cause,
    error: String,
}

impl Channels {
    /// Opens the sockets inside `netns`; those that cannot be had say so when they are read from.
    ///
    /// # Errors
    /// The namespace could not be entered (CAP_SYS_ADMIN is needed).
    pub fn open(netns: &Netns, proc_root: &Path) -> io::Result<Self> {
        let unlisted = unlisted(proc_root);
        let tracking = Present::look(proc_root);
        let (sockets, flows, interfaces) =
            netns.enter(|| (open_sockets(&unlisted), tracking.open(), open(netlink::ROUTE)))?;
        Ok(Self { sockets, flows, interfaces, unlisted })
    }

    /// All TCP and UDP sockets of the namespace, IPv4 and IPv6, in every state, and which of these lists could not be read.
    pub fn read_sockets(&mut self) -> (Vec<Socket>, Vec<Unread>) {
        let all = LISTED.map(|(protocol, ..)| protocol);
        read_protocols(&mut self.sockets, &self.unlisted, all.into_iter(), sock_diag::EVERY_STATE)
    }

    /// All tracked connections of the namespace. Where nothing tracks, the list is empty and that is all there is.
    pub fn read_flows(&mut self) -> (Vec<Flow>, Vec<Unread>) {
        self.flows.read()
    }

    /// Interfaces of the namespace with their addresses.
    pub fn read_interfaces(&mut self) -> (Vec<Interface>, Vec<Unread>) {
        let mut unread = Vec::new();
        let mut note = |source, refusal: Option<Refusal>| {
            unread.extend(refusal.map(|refusal| refusal.about(Subject::Interfaces, source, INTERFACES)));
        };
        let request = rtnetlink::link_request();
        let question = (rtnetlink::GET_LINK, request.as_slice(), rtnetlink::NEW_LINK);
        let (mut interfaces, refusal) = list(&mut self.interfaces, question, rtnetlink::decode_link);
        note("interfaces", refusal);
        let request = rtnetlink::address_request();
        let question = (rtnetlink::GET_ADDRESS, request.as_slice(), rtnetlink::NEW_ADDRESS);
        let (addresses, refusal) = list(&mut self.interfaces, question, rtnetlink::decode_address);
        note("addresses", refusal);
        for (index, address, prefix) in addresses {
            // An interface that came between the two lists is not among them, and its address says nothing without it.
            if let Some(interface) = interfaces.iter_mut().find(|interface| interface.index == index) {
                interface.addresses.push((address, prefix));
            }
        }
        (interfaces, unread)
    }
}

/// What the kernel cannot list as it is: a protocol of [`LISTED`], and the module that is missing.
type Unlisted = Vec<(Protocol, &'static str)>;

fn unlisted(proc_root: &Path) -> Unlisted {
    let present = |module, symbol| modules::present(proc_root, module, symbol);
    // What lists the sockets of any protocol here, and is loaded first.
    let any_listed = present(INET_DIAG, "inet_diag_register");
    let lacking = LISTED.iter().filter_map(|(protocol, module, symbol)| {
        let lacking = if any_listed { Some(*module).filter(|_| !present(module, symbol)) } else { Some(INET_DIAG) };
        Some((*protocol, lacking?))
    });
    lacking.collect()
}

fn open(protocol: i32) -> Result<NetlinkSocket, Refusal> {
    NetlinkSocket::open(protocol).map_err(|error| Refusal::from_io(&error))
}

fn open_sockets(unlisted: &Unlisted) -> Result<NetlinkSocket, Refusal> {
    if unlisted.len() < LISTED.len() { open(netlink::SOCK_DIAG) } else { Err(Refusal::absent(INET_DIAG)) }
}

/// The sockets of these protocols in these states, of both families, and which of the lists could not be read.
fn read_protocols(
    channel: &mut Result<NetlinkSocket, Refusal>,
    unlisted: &Unlisted,
    protocols: impl Iterator<Item = Protocol>,
    states: u32,
) -> (Vec<Socket>, Vec<Unread>) {
    let (mut sockets, mut unread) = (Vec::new(), Vec::new());
    for protocol in protocols {
        let lacking = unlisted.iter().find(|(other, _)| *other == protocol).map(|(_, module)| *module);
        for (kind, request) in requests(protocol, states) {
            let refusal = if let Some(module) = lacking {
                Some(Refusal::absent(module))
            } else {
                let question = (kind, request.as_slice(), kind);
                let (more, refusal) = list(channel, question, |payload| sock_diag::decode(protocol, payload));
                sockets.extend(more);
                refusal
            };
            let refusal =
                refusal.map(|refusal| refusal.about(Subject::Sockets, format!("sockets {protocol}"), SOCKETS));
            // What holds for one family's list need not be said again of the other's.
            unread.extend(refusal.filter(|refusal| !unread.contains(refusal)));
        }
    }
    (sockets, unread)
}

/// Fills in the sockets, flows, interfaces and processes of `netns`, and what of them could not be read.
pub fn read_into(snapshot: &mut Snapshot, netns: &Netns, proc_root: &Path) {
    let (sockets, flows, interfaces) = match Channels::open(netns, proc_root) {
        Ok(mut channels) => {
            // Flows after sockets: an entry outlives its socket, so that no open one is without its entry for that reason.
            let (sockets, unread_sockets) = channels.read_sockets();
            let (flows, unread_flows) = channels.read_flows();
            let (interfaces, unread_interfaces) = channels.read_interfaces();
            snapshot.unread.extend([unread_sockets, unread_flows, unread_interfaces].concat());
            (sockets, flows, interfaces)
        }
        Err(error) => {
            let refusal = Refusal::from_io(&error);
            let parts = [
                (Subject::Sockets, "sockets", SOCKETS),
                (Subject::Flows, "conntrack", FLOWS),
                (Subject::Interfaces, "interfaces", INTERFACES),
            ];
            snapshot.unread.extend(parts.map(|(subject, source, means)| refusal.clone().about(subject, source, means)));
            (Vec::new(), Vec::new(), Vec::new())
        }
    };
    let wanted: HashSet<u32> = sockets.iter().map(|socket| socket.inode).filter(|inode| *inode != 0).collect();
    let (processes, unread) = read_processes(proc_root, netns.identity(), &snapshot.workload.containers, &wanted);
    snapshot.unread.extend(unread);
    snapshot.sockets = Some(sockets);
    snapshot.flows = Some(flows);
    snapshot.interfaces = Some(interfaces);
    snapshot.processes = Some(processes);
}

/// Fills in the sockets of the live connections of `netns` alone, and what of them could not be read.
pub fn read_live_into(snapshot: &mut Snapshot, netns: &Netns, proc_root: &Path) {
    let unlisted = unlisted(proc_root);
    let opened = netns.enter(|| (open_sockets(&unlisted), has_tcp(proc_root)));
    let (sockets, unread) = match opened {
        Ok((mut sockets, has_tcp)) => {
            let asked = LISTED.into_iter().filter(|(protocol, ..)| has_tcp || *protocol != Protocol::Tcp);
            read_protocols(&mut sockets, &unlisted, asked.map(|(protocol, ..)| protocol), sock_diag::LIVE)
        }
        Err(error) => (Vec::new(), vec![Refusal::from_io(&error).about(Subject::Sockets, "sockets", SOCKETS)]),
    };
    snapshot.unread.extend(unread);
    snapshot.sockets = Some(sockets);
}

/// Whether the calling thread's namespace has any TCP socket. To list them, the kernel walks its one table of the connections of all
/// namespaces, some 1 ms on a machine of 24 GiB; that there are none it knows without (`sockstat_seq_show`, net/ipv4/proc.c).
fn has_tcp(proc_root: &Path) -> bool {
    let none = |name: &str, protocol: &str| {
        // Unreadable is not none: without a figure the table is asked.
        let text = std::fs::read_to_string(proc_root.join("thread-self/net").join(name)).unwrap_or_default();
        let figures = text.lines().find_map(|line| line.strip_prefix(protocol)).unwrap_or_default();
        let mut words = figures.split(' ').skip_while(|word| *word != "inuse");
        let used = words.nth(1).map(|figure| figure == "0");
        // Connections that are over have no socket but an entry in the table, which `tw` counts.
        let over = figures.split_once(" tw ").is_none_or(|(_, rest)| rest.starts_with("0 "));
        used == Some(true) && over
    };
    // Without IPv6 in the kernel there is no second file: what cannot be read is looked for in the table.
    !(none("sockstat", "TCP:") && none("sockstat6", "TCP6:"))
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

/// The requests for the sockets of a protocol in these states, of both families: message type and payload.
fn requests(protocol: Protocol, states: u32) -> Vec<(u16, Vec<u8>)> {
    match protocol {
        Protocol::Tcp => vec![(sock_diag::TCP, sock_diag::tcp_request(states))],
        _ => [Family::Ip, Family::Ip6]
            .map(|family| (sock_diag::BY_FAMILY, sock_diag::request(family, protocol, states)))
            .into(),
    }
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
