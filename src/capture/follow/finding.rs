//! Who holds a connection that was just opened, as far as that is found cheaply: its socket by its ends, the owner by the socket's
//! inode, among the processes of the namespace. What would cost more than a small part of the time is not looked for.

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::owners::describe;
use super::super::sockets::KernelLists;
use crate::model::{Container, Endpoint, Process, Protocol, Socket};
use crate::sys::descriptors::{Proc, ProcessFolder};
use crate::sys::netlink::{self, NetlinkSocket};
use crate::sys::netns::Netns;
use crate::wire::sock_diag::{self, single};

/// The part of the time that looking may take.
const SHARE: u32 = 20;
/// What may have been saved up of it.
const SAVED: Duration = Duration::from_millis(50);
/// How long processes are taken to be all that there are, while an owner is missing.
const ALL: Duration = Duration::from_secs(1);
/// Inodes that are kept.
const MOST: usize = 1 << 16;

/// What was found of a connection's socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its inode; 0 where nobody holds it.
    pub inode: u32,
    /// UID of the socket as the node counts.
    pub uid: u32,
    /// `SO_MARK`, where it was told.
    pub mark: Option<u32>,
    /// Who holds it; `None` where that was not found.
    pub owner: Option<Arc<Process>>,
}

/// Looks for owners.
#[derive(Debug)]
pub struct Owners {
    netns: (u64, u64),
    containers: Vec<Container>,
    folder: Option<Proc>,
    lookup: Option<NetlinkSocket>,
    protocols: Vec<Protocol>,
    /// Processes of the namespace by PID, with their start time.
    processes: BTreeMap<u32, Arc<Process>>,
    by_inode: HashMap<u32, Arc<Process>>,
    listed: Option<Instant>,
    /// Until when looking has used up its part of the time.
    budget: Budget,
}

impl Owners {
    /// Begins with the processes that are known.
    #[must_use]
    pub fn new(netns: &Netns, proc_root: &Path, containers: &[Container], known: Vec<Process>) -> Self {
        let kernel = KernelLists::of(proc_root);
        let protocols: Vec<Protocol> =
            [Protocol::Tcp, Protocol::Udp].into_iter().filter(|one| kernel.missing(*one).is_none()).collect();
        let open = || netns.enter(|| NetlinkSocket::open(netlink::SOCK_DIAG)).ok()?.ok();
        let lookup = if protocols.is_empty() { None } else { open() };
        let mut owners = Self {
            netns: netns.identity(),
            containers: containers.to_vec(),
            folder: Proc::open(proc_root).ok(),
            lookup,
            protocols,
            processes: BTreeMap::new(),
            by_inode: HashMap::new(),
            listed: None,
            budget: Budget::new(),
        };
        for process in known {
            let process = Arc::new(process);
            owners.by_inode.extend(process.sockets.iter().map(|inode| (*inode, Arc::clone(&process))));
            owners.processes.insert(process.pid, process);
        }
        owners
    }

    /// Whether there is time left to look for anything.
    #[must_use]
    pub fn may_look(&self) -> bool {
        self.budget.lasts()
    }

    /// The socket with these ends, without its owner unless that is known already; `None` where there is none, or no time to look.
    pub fn socket(&mut self, protocol: Protocol, local: Endpoint, peer: Endpoint) -> Option<Found> {
        if !self.may_look() || !self.protocols.contains(&protocol) {
            return None;
        }
        let begun = Instant::now();
        let mut found = None;
        let request = single::exact_request(protocol, local, peer);
        let asked = self.lookup.as_mut()?.request(sock_diag::BY_FAMILY, netlink::GET, &request, |message| {
            found = sock_diag::decode(protocol, message.payload).ok();
        });
        self.budget.pay(begun);
        // One that listens at the local end may answer for one that is gone, and is another.
        let fits = |socket: &Socket| {
            socket.local.port == local.port
                && match socket.peer {
                    Some(other) => other == peer,
                    None => protocol == Protocol::Udp,
                }
        };
        let socket = asked.ok().and(found).filter(fits)?;
        let owner = self.known(socket.inode);
        Some(Found { inode: socket.inode, uid: socket.uid, mark: socket.mark, owner })
    }

    /// The owner of an inode as far as it is known, if its number is still its own.
    #[must_use]
    pub fn known(&mut self, inode: u32) -> Option<Arc<Process>> {
        let owner = self.by_inode.get(&inode)?;
        let begun = Instant::now();
        let process = self.folder.as_ref()?.process(owner.pid).ok();
        let owner = process.and_then(|process| same(owner, &process, &self.containers));
        self.budget.pay(begun);
        owner
    }

    /// The same of an inode that was looked for just now.
    #[must_use]
    pub fn just_seen(&self, inode: u32) -> Option<Arc<Process>> {
        self.by_inode.get(&inode).cloned()
    }

    /// Looks through the descriptors of the namespace's processes for these inodes, if there is time: once, for all of them.
    pub fn look_for(&mut self, inodes: &[u32]) {
        let missing = |by_inode: &HashMap<u32, Arc<Process>>| {
            inodes.iter().any(|inode| *inode != 0 && !by_inode.contains_key(inode))
        };
        if !self.may_look() || !missing(&self.by_inode) {
            return;
        }
        let begun = Instant::now();
        self.scan();
        // Somebody who came since the last look may hold it.
        if missing(&self.by_inode) && self.listed.is_none_or(|listed| listed.elapsed() > ALL) {
            self.list();
            self.scan();
        }
        self.budget.pay(begun);
    }

    /// The processes that are in the namespace now.
    fn list(&mut self) {
        self.listed = Some(Instant::now());
        let Some(folder) = &self.folder else { return };
        for pid in folder.pids().unwrap_or_default() {
            let inside = folder.netns_of(pid).is_ok_and(|netns| netns == self.netns);
            if !inside || self.processes.contains_key(&pid) {
                continue;
            }
            let described = folder.process(pid).and_then(|process| describe(pid, &process, &self.containers));
            if let Ok(Some((described, _))) = described {
                self.processes.insert(pid, Arc::new(described));
            }
        }
    }

    /// Every socket of the processes that are known. One whose number another has by now is forgotten.
    fn scan(&mut self) {
        let Some(folder) = &self.folder else { return };
        if self.by_inode.len() > MOST {
            self.by_inode.clear();
        }
        let by_inode = &mut self.by_inode;
        let containers = &self.containers;
        self.processes.retain(|pid, known| {
            let Ok(process) = folder.process(*pid) else { return false };
            let Some(now) = same(known, &process, containers) else { return false };
            *known = now;
            let looked = process.sockets(|inode| {
                by_inode.insert(inode, Arc::clone(known));
                ControlFlow::Continue(())
            });
            looked.is_ok()
        });
    }
}

/// The time that one kind of work may take: a share of all that passes.
#[derive(Debug)]
pub struct Budget {
    /// Until when the time that was taken is made up for.
    paid: Instant,
}

impl Budget {
    /// Nothing was taken yet.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it begins now, which is no default")]
    pub fn new() -> Self {
        Self { paid: Instant::now() }
    }

    /// Whether there is time left.
    #[must_use]
    pub fn lasts(&self) -> bool {
        self.paid <= Instant::now()
    }

    /// Takes the time that passed since then.
    pub fn pay(&mut self, begun: Instant) {
        let now = Instant::now();
        let saved = now.checked_sub(SAVED * SHARE).map_or(self.paid, |earliest| self.paid.max(earliest));
        self.paid = saved + (now - begun) * SHARE;
    }
}

/// The same process as it is now (it may have another name since), or none if its number is another's.
fn same(known: &Arc<Process>, process: &ProcessFolder, containers: &[Container]) -> Option<Arc<Process>> {
    let (now, _) = describe(known.pid, process, containers).ok()??;
    if now.start_time != known.start_time {
        return None;
    }
    let user = known.user.clone();
    let unchanged = now.name == known.name && now.uid == known.uid;
    Some(if unchanged { Arc::clone(known) } else { Arc::new(Process { user, ..now }) })
}
