//! Reads what is tracked in a network namespace: the connections one after the other or all of them, how full the table is, what
//! its processors counted, and what helpers expect.

use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;

use super::connections::{Refusal, list};
use crate::model::{CpuStatistics, Expectation, Flow, FlowEnd, FlowFilter, Subject, TableUse, TrackingState, Unread};
use crate::sys::modules;
use crate::sys::netlink::{self, Message, NetlinkError, NetlinkSocket};
use crate::sys::netns::Netns;
use crate::wire::conntrack::{self, request, table};

/// What it means when the entries are missing or cut short.
pub(super) const FLOWS: &str = "where connections were redirected to is not known";
const TABLE: &str = "how full the table of tracked connections is, is not known";
const COUNTED: &str = "what went wrong in the table of tracked connections is not known";
const EXPECTATIONS: &str = "which connections helpers expect is not known";

/// Whether a kernel tracks connections and can list them, which has to be known before it is asked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Present {
    tracks: bool,
    lists: bool,
}

impl Present {
    pub(super) fn look(proc_root: &Path) -> Self {
        let present = |module, symbol| modules::present(proc_root, module, symbol);
        Self {
            tracks: present("nf_conntrack", "nf_conntrack_in"),
            lists: present("nfnetlink", "nfnetlink_rcv") && present("nf_conntrack_netlink", "ctnetlink_dump_table"),
        }
    }

    /// Whether the kernel could tell of what is tracked.
    pub(super) fn can_tell(self) -> Result<(), Refusal> {
        match (self.tracks, self.lists) {
            (false, _) => Err(Refusal::absent("nf_conntrack")),
            (true, false) => Err(Refusal::absent("nf_conntrack_netlink")),
            (true, true) => Ok(()),
        }
    }

    /// Opens a socket in the calling thread's namespace.
    pub(super) fn open(self) -> Tracking {
        // Even to open a netfilter socket makes the kernel load what answers it.
        let socket = if self.lists {
            NetlinkSocket::open(netlink::NETFILTER).map_err(|error| Refusal::from_io(&error))
        } else {
            Err(Refusal::absent("nf_conntrack_netlink"))
        };
        Tracking { socket, untracked: !self.tracks }
    }
}

/// A way to the tracked connections of one namespace.
#[derive(Debug)]
pub struct Tracking {
    socket: Result<NetlinkSocket, Refusal>,
    /// The kernel has no connection tracking, so there are no entries anywhere.
    untracked: bool,
}

impl Tracking {
    /// Opens a socket inside `netns`; one that cannot be had says so when it is read from.
    ///
    /// # Errors
    /// The namespace could not be entered (CAP_SYS_ADMIN is needed).
    pub fn open(netns: &Netns, proc_root: &Path) -> io::Result<Self> {
        let present = Present::look(proc_root);
        netns.enter(|| present.open())
    }

    /// All tracked connections of the namespace. Where nothing tracks, the list is empty and that is all there is.
    pub fn read(&mut self) -> (Vec<Flow>, Vec<Unread>) {
        // To list none the kernel passes the table of the whole node, some milliseconds; their number it just knows.
        if self.untracked || self.table_use().is_some_and(|table| table.count == 0) {
            return (Vec::new(), Vec::new());
        }
        let request = conntrack::request();
        let question = (conntrack::GET, request.as_slice(), conntrack::NEW);
        let (flows, refusal) = self.listed(question, conntrack::decode);
        (flows, unread(refusal, "conntrack", FLOWS))
    }

    /// Hands those that a filter wants to `each`, one after the other while the kernel lists them, until it has enough.
    ///
    /// The kernel leaves out what it can, and another thread talks to it meanwhile. Entries that come or go during the listing may
    /// be among them or not.
    pub fn each(&mut self, filter: &FlowFilter, mut each: impl FnMut(Flow) -> ControlFlow<()>) -> Vec<Unread> {
        if self.untracked {
            return Vec::new();
        }
        let socket = match &mut self.socket {
            Ok(socket) => socket,
            Err(refusal) => return unread(Some(refusal.clone()), "conntrack", FLOWS),
        };
        let mut reading = Reading::default();
        let mut outcome = reading.run(socket, &request::filtered(filter), filter, &mut each);
        if reading.seen == 0 && outcome.as_ref().is_err_and(is_unknown_filter) {
            // A kernel before 5.8, or a protocol whose parts it does not compare.
            let coarse = FlowFilter {
                only: filter.family(),
                protocol: None,
                source: FlowEnd::default(),
                destination: FlowEnd::default(),
                ..*filter
            };
            outcome = reading.run(socket, &request::filtered(&coarse), filter, &mut each);
        }
        let refusal = match (outcome, reading.complaint) {
            (Err(error), _) => Some(Refusal::from_netlink(&error)),
            (Ok(()), Some(first)) => Some(Refusal::garbled(reading.garbled, reading.seen, &first)),
            (Ok(()), None) => None,
        };
        unread(refusal, "conntrack", FLOWS)
    }

    /// What helpers expect.
    pub fn expectations(&mut self) -> (Vec<Expectation>, Vec<Unread>) {
        let question = (table::GET_EXPECTED, &*table::request(), table::EXPECTED);
        let (expected, refusal) = self.listed(question, table::decode_expected);
        (expected, unread(refusal, "conntrack expectations", EXPECTATIONS))
    }

    /// What each processor counted.
    pub fn statistics(&mut self) -> (Vec<CpuStatistics>, Vec<Unread>) {
        let question = (table::GET_CPU, &*table::request(), table::GET_CPU);
        let (counted, refusal) = self.listed(question, table::decode_cpu);
        (counted, unread(refusal, "conntrack statistics", COUNTED))
    }

    fn listed<T, E: std::fmt::Display>(
        &mut self,
        question: (u16, &[u8], u16),
        decode: impl Fn(&[u8]) -> Result<T, E>,
    ) -> (Vec<T>, Option<Refusal>) {
        if self.untracked { (Vec::new(), None) } else { list(&mut self.socket, question, decode) }
    }

    /// As the kernel says it; none where it does not, or not all of it.
    fn table_use(&mut self) -> Option<TableUse> {
        let socket = self.socket.as_mut().ok()?;
        let mut told = None;
        let asked = socket.request(table::GET_USE, netlink::GET, &table::request(), |message| {
            told = table::decode_use(message.payload).ok();
        });
        asked.ok().and(told)
    }
}

/// How full the table of a namespace is: asked of the kernel, or looked up below `/proc` as it shows from inside, which is the
/// namespace's own and needs no rights.
///
/// # Errors
/// What could not be read; nothing is wrong where nothing tracks, and then there is no table.
pub fn table_use(netns: &Netns, proc_root: &Path) -> Result<Option<TableUse>, Unread> {
    let present = Present::look(proc_root);
    if !present.tracks {
        return Ok(None);
    }
    let inside = netns.enter(|| {
        let mut tracking = present.open();
        tracking.table_use().map_or_else(|| from_files(proc_root), Ok)
    });
    let read = inside.and_then(|read| read);
    read.map(Some).map_err(|error| Refusal::from_io(&error).about(Subject::Flows, "conntrack count", TABLE))
}

/// The node's, whichever namespace is looked at: that of its first process. Where that may not be looked at, the calling thread's
/// stands for it, and the second value says so.
///
/// # Errors
/// As of [`table_use`]; it says nothing of the namespace that is looked at.
pub fn table_use_of_node(proc_root: &Path) -> (Result<Option<TableUse>, Unread>, bool) {
    let own = proc_root == Path::new("/proc");
    let (node, guessed) = match Netns::open(&proc_root.join("1/ns/net")) {
        Err(_) if own => (Netns::current(), true),
        other => (other, false),
    };
    let read = node.map_err(|error| Refusal::from_io(&error).about(Subject::Metadata, "conntrack count", TABLE));
    let read = read.and_then(|node| table_use(&node, proc_root));
    let of_node = |unread: Unread| Unread {
        subject: Subject::Metadata,
        source: format!("{} of the node", unread.source),
        ..unread
    };
    (read.map_err(of_node), guessed)
}

/// All that is known of a table beside its entries, and what of that could not be read. The node's table is left out where another
/// one would have to stand for it.
pub(super) fn state(tracking: &mut Tracking, netns: &Netns, proc_root: &Path) -> (TrackingState, Vec<Unread>) {
    let (statistics, mut unread) = tracking.statistics();
    let (expectations, more) = tracking.expectations();
    unread.extend(more);
    let (of_node, guessed) = table_use_of_node(proc_root);
    let mut told = |table: Result<Option<TableUse>, Unread>| {
        table.unwrap_or_else(|refusal| {
            unread.push(refusal);
            None
        })
    };
    let (table, node) = (told(table_use(netns, proc_root)), told(of_node));
    (TrackingState { table, node_table: node.filter(|_| !guessed), statistics, expectations }, unread)
}

fn from_files(proc_root: &Path) -> io::Result<TableUse> {
    let number = |name: &str| -> io::Result<u64> {
        let text = std::fs::read_to_string(proc_root.join("sys/net/netfilter").join(name))?;
        text.trim().parse().map_err(|_| io::Error::new(io::ErrorKind::InvalidData, format!("{name} is no number")))
    };
    Ok(TableUse { count: number("nf_conntrack_count")?, limit: number("nf_conntrack_max")? })
}

fn unread(refusal: Option<Refusal>, source: &str, means: &str) -> Vec<Unread> {
    refusal.map(|refusal| refusal.about(Subject::Flows, source, means)).into_iter().collect()
}

fn is_unknown_filter(error: &NetlinkError) -> bool {
    use nix::libc::{EINVAL, EOPNOTSUPP, ERANGE};
    matches!(error.errno(), Some(EINVAL | EOPNOTSUPP | ERANGE))
}

/// Messages, one behind the other, and where each ends.
#[derive(Debug, Default)]
struct Batch {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Batch {
    /// So much is handed over at once: enough to make the handing over cheap, little enough to stay in the processor's cache.
    const SIZE: usize = 128 * 1024;
    /// Batches that wait, so that what is read in advance stays small.
    const WAITING: usize = 4;

    fn put(&mut self, payload: &[u8]) {
        self.bytes.extend(payload);
        self.ends.push(self.bytes.len());
    }

    fn payloads(&self) -> impl Iterator<Item = &[u8]> {
        let begins = std::iter::once(0).chain(self.ends.iter().copied());
        begins.zip(&self.ends).filter_map(|(begin, end)| self.bytes.get(begin..*end))
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }
}

/// Entries being handed on.
#[derive(Debug, Default)]
struct Reading {
    seen: usize,
    garbled: usize,
    complaint: Option<String>,
}

impl Reading {
    fn run(
        &mut self,
        socket: &mut NetlinkSocket,
        payload: &[u8],
        filter: &FlowFilter,
        each: &mut impl FnMut(Flow) -> ControlFlow<()>,
    ) -> Result<(), NetlinkError> {
        let (full, taken) = sync_channel::<Batch>(Batch::WAITING);
        let (back, empty) = channel::<Batch>();
        thread::scope(|scope| {
            let asking = scope.spawn(move || ask(socket, payload, &full, &empty));
            self.take(taken, &back, filter, each);
            asking.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Decodes and hands on. When this returns early, the receiver is gone, and the other thread stops too.
    fn take(
        &mut self,
        taken: Receiver<Batch>,
        back: &Sender<Batch>,
        filter: &FlowFilter,
        each: &mut impl FnMut(Flow) -> ControlFlow<()>,
    ) {
        for mut batch in taken {
            for payload in batch.payloads() {
                self.seen += 1;
                match conntrack::decode(payload) {
                    Ok(flow) if !filter.fits(&flow) => {}
                    Ok(flow) => {
                        if each(flow).is_break() {
                            return;
                        }
                    }
                    Err(error) => {
                        self.garbled += 1;
                        self.complaint.get_or_insert_with(|| error.to_string());
                    }
                }
            }
            batch.clear();
            // Nobody may be left to take it.
            back.send(batch).ok();
        }
    }
}

/// Asks, and hands over what comes.
fn ask(
    socket: &mut NetlinkSocket,
    payload: &[u8],
    full: &SyncSender<Batch>,
    empty: &Receiver<Batch>,
) -> Result<(), NetlinkError> {
    let mut batch = Batch::default();
    let outcome = socket.request_until(conntrack::GET, netlink::DUMP, payload, |message: Message<'_>| {
        if message.kind != conntrack::NEW {
            return ControlFlow::Continue(());
        }
        batch.put(message.payload);
        if batch.bytes.len() < Batch::SIZE {
            return ControlFlow::Continue(());
        }
        let next = empty.try_recv().unwrap_or_default();
        match full.send(std::mem::replace(&mut batch, next)) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    });
    // Nobody may be left to take it.
    full.send(batch).ok();
    outcome
}
