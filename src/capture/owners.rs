//! Finds the processes behind sockets: those of the namespace first, then every other until no socket is without an owner.
//!
//! sock_diag names a socket's inode and no process, so descriptors are looked through. Sockets of a namespace can belong to
//! processes that live elsewhere: a proxy of the node opens them in the pod's namespace, or they were passed over a UNIX socket.

mod astray;
mod chase;
mod crowd;

use std::collections::HashSet;
use std::io;
use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use procfs::process::{Stat, Status};
use procfs::{FromBufRead, FromRead, ProcError};

pub(super) use self::astray::astray;
use self::chase::{Chase, Elsewhere};
pub use self::crowd::Crowd;
use super::root_files::Users;
use crate::model::{Cause, Container, IdMaps, Process, Subject, Unread};
use crate::sys::descriptors::{Proc, ProcessFolder, is_gone};
use crate::sys::netns::Netns;
use crate::sys::userns;

/// Length of a container's full ID in hexadecimal digits.
const ID: usize = 64;

/// So many sockets are worth a second thread, which takes as long to make as some dozens of descriptors.
const MANY: usize = 1000;

/// The namespace whose sockets have owners.
#[derive(Debug, Clone, Copy)]
pub struct Namespace {
    /// Its device and inode.
    pub netns: (u64, u64),
    /// How the user namespace that owns it counts.
    pub numbering: Numbering,
}

/// A user namespace, as far as its numbering goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Numbering {
    /// Ours.
    Same,
    /// That of another one, of this device and inode: what it is, a process inside tells.
    Of(u64, u64),
    /// One that cannot be seen from ours.
    Unknown,
}

impl Namespace {
    /// Asks the kernel who owns the namespace.
    #[must_use]
    pub fn of(netns: &Netns) -> Self {
        let numbering = match (userns::owner_of(netns.as_fd()), userns::own()) {
            (Ok(Some(owner)), Ok(own)) if owner == own => Numbering::Same,
            (Ok(Some((device, inode))), Ok(_)) => Numbering::Of(device, inode),
            _ => Numbering::Unknown,
        };
        Self { netns: netns.identity(), numbering }
    }
}

/// Who holds the sockets of a namespace.
#[derive(Debug)]
pub struct Owners {
    /// Processes in order of PID.
    pub processes: Vec<Process>,
    /// How the user namespace that owns the namespace counts, where that is known.
    pub ids: Option<IdMaps>,
    /// What could not be read.
    pub unread: Vec<Unread>,
}

/// All processes of the namespace with the `wanted` sockets that they hold, and every process elsewhere that holds one of those
/// that remain. Inside the namespace all owners of a socket are found, elsewhere the first.
///
/// Sockets come and go meanwhile: so before all processes of the node are looked through, `still_there` tells which of the
/// remaining sockets are there at all; `None` where it cannot. An inode is not given to a second socket while one looks: they are
/// numbered from one counter of 32 bits (`get_next_ino`).
///
/// Kernel threads, which hold no descriptors, are left out. A process that ends
/// meanwhile is left out too; those that may not be looked at are counted in one
/// [`Unread`], if some socket was left without an owner; roots in which users' names could not be looked up in another.
///
/// With a `crowd` only those processes are looked at that were in the namespace when it was taken, and all others only where a socket
/// is left without an owner.
#[must_use]
pub fn read_processes(
    proc_root: &Path,
    namespace: Namespace,
    containers: &[Container],
    wanted: &HashSet<u32>,
    crowd: Option<&Crowd>,
    still_there: impl FnOnce() -> Option<HashSet<u32>>,
) -> Owners {
    let mut search = Search {
        containers,
        wanted,
        namespace,
        ids: (namespace.numbering == Numbering::Same).then(IdMaps::same),
        ownerless: wanted.clone(),
        found: Vec::new(),
        later: Vec::new(),
        users: Users::default(),
        seen: 0,
        refusals: Refusals::default(),
    };
    let walked = Proc::open(proc_root).and_then(|folder| search.walk(&folder, crowd, still_there));
    let mut unread = Vec::new();
    if let Err(error) = walked {
        let cause = cause(&error);
        unread.push(search.unread(cause, format!("{}: {error}", proc_root.display())));
    } else if let Some(failure) = search.refusals.first.as_ref().filter(|_| !search.ownerless.is_empty()) {
        // A process that hides from root (a sandbox's, say) is no matter as long as every socket has its owner.
        let error = format!("{} of {} processes: {failure}", search.refusals.count, search.seen);
        unread.push(search.unread(cause(failure), error));
    }
    search.found.sort_by_key(|process| process.pid);
    unread.extend(search.users.name(&mut search.found));
    Owners { processes: search.found, ids: search.ids, unread }
}

/// Name of the container that a process belongs to: the deepest full ID (64 hexadecimal digits) in its `/proc/PID/cgroup` that is
/// one of the `containers`.
#[must_use]
pub fn container_of<'a>(cgroup: &str, containers: &'a [Container]) -> Option<&'a str> {
    let words = cgroup.rsplit(|character: char| !character.is_ascii_hexdigit()).filter(|word| word.len() == ID);
    words.filter_map(|id| containers.iter().find(|container| container.id == id)).map(|one| one.name.as_str()).next()
}

/// A walk over `/proc`.
struct Search<'a> {
    containers: &'a [Container],
    wanted: &'a HashSet<u32>,
    namespace: Namespace,
    ids: Option<IdMaps>,
    ownerless: HashSet<u32>,
    found: Vec<Process>,
    /// Those of `found` whose descriptors are still to be looked at, by several threads.
    later: Vec<usize>,
    users: Users,
    seen: usize,
    refusals: Refusals,
}

/// Processes that may not be looked at.
#[derive(Debug, Default)]
struct Refusals {
    count: usize,
    first: Option<io::Error>,
}

impl Refusals {
    fn note(&mut self, looked: io::Result<()>) {
        if let Err(error) = looked
            && !is_gone(&error)
        {
            self.count += 1;
            self.first.get_or_insert(error);
        }
    }
}

impl Search<'_> {
    fn walk(
        &mut self,
        folder: &Proc,
        crowd: Option<&Crowd>,
        still_there: impl FnOnce() -> Option<HashSet<u32>>,
    ) -> io::Result<()> {
        let mut threaded = Vec::new();
        let mut known = HashSet::new();
        if let Some(crowd) = crowd {
            self.seen = crowd.count();
            for pid in crowd.around(self.namespace.netns) {
                let looked = self.first(folder, pid, folder.netns_of(pid), &mut threaded);
                self.refusals.note(looked.map(drop));
            }
            self.many(folder);
            known.extend(self.found.iter().map(|process| process.pid));
        }
        let mut elsewhere = Vec::new();
        if crowd.is_none() {
            elsewhere = self.everybody(folder, &known, &mut threaded)?;
        }
        if !self.ownerless.is_empty()
            && let Some(there) = still_there()
        {
            self.ownerless.retain(|inode| there.contains(inode));
        }
        if crowd.is_some() && !self.ownerless.is_empty() {
            // Somebody came since, or somebody elsewhere holds them.
            self.refusals = Refusals::default();
            elsewhere = self.everybody(folder, &known, &mut threaded)?;
        }
        if !self.ownerless.is_empty() {
            let chase = Chase::new(folder, &elsewhere, &self.ownerless, self.containers);
            let (found, refusals) = chase.run();
            self.take(found, refusals);
        }
        self.threads(folder, &threaded);
        Ok(())
    }

    /// Every process but those that are known already; those of other namespaces.
    fn everybody(&mut self, folder: &Proc, known: &HashSet<u32>, threaded: &mut Vec<usize>) -> io::Result<Vec<u32>> {
        let mut pids = folder.pids()?;
        self.seen = pids.len();
        pids.retain(|pid| !known.contains(pid));
        let mut elsewhere = Vec::new();
        let namespaces = chase::namespaces(folder, &pids);
        for (pid, netns) in pids.into_iter().zip(namespaces) {
            match self.first(folder, pid, netns, threaded) {
                Ok(true) => {}
                Ok(false) => elsewhere.push(pid),
                Err(error) => self.refusals.note(Err(error)),
            }
        }
        self.many(folder);
        Ok(elsewhere)
    }

    /// A process by the namespace that a first look told; whether that is the one that is looked at.
    fn first(
        &mut self,
        folder: &Proc,
        pid: u32,
        netns: io::Result<(u64, u64)>,
        threaded: &mut Vec<usize>,
    ) -> io::Result<bool> {
        match netns {
            Ok(netns) if netns != self.namespace.netns => return Ok(false),
            Ok(_) => folder.process(pid).and_then(|process| self.inside(pid, &process, threaded))?,
            // Its first thread has ended: others may go on.
            Err(error) if is_gone(&error) => {
                folder.process(pid).and_then(|process| self.headless(pid, &process, threaded))?;
            }
            Err(error) => return Err(error),
        }
        Ok(true)
    }

    /// A process of the namespace: all its sockets, whether or not another one holds them too.
    fn inside(&mut self, pid: u32, process: &ProcessFolder, threaded: &mut Vec<usize>) -> io::Result<()> {
        // Another process may have its number by now.
        if process.netns()? != self.namespace.netns {
            return Ok(());
        }
        let Some((mut described, threads)) = describe(pid, process, self.containers)? else {
            return Ok(());
        };
        self.users.note(pid, described.uid, process);
        self.count_like(process);
        let at = self.found.len();
        if threads > 1 {
            threaded.push(at);
        }
        if self.wanted.len() >= MANY {
            self.later.push(at);
            self.found.push(described);
            return Ok(());
        }
        let looked = process.sockets(|inode| {
            if self.wanted.contains(&inode) {
                self.ownerless.remove(&inode);
                described.sockets.push(inode);
            }
            ControlFlow::Continue(())
        });
        described.sockets.sort_unstable();
        described.sockets.dedup();
        // The process is listed even where its descriptors may not be looked at.
        self.found.push(described);
        looked
    }

    /// The descriptors of the namespace's own processes where there are many sockets: each is a call, so several threads share them.
    fn many(&mut self, folder: &Proc) {
        let (later, next) = (std::mem::take(&mut self.later), AtomicUsize::new(0));
        let (found, wanted) = (&self.found, self.wanted);
        let looked = chase::shared(later.len(), || {
            let mut looked = Vec::new();
            while let Some(at) = later.get(next.fetch_add(1, Ordering::Relaxed)) {
                looked.extend(found.get(*at).map(|process| (*at, held(folder, process, wanted))));
            }
            looked
        });
        for (at, held) in looked.into_iter().flatten() {
            match (held, self.found.get_mut(at)) {
                (Ok(sockets), Some(process)) => {
                    sockets.iter().for_each(|inode| {
                        self.ownerless.remove(inode);
                    });
                    process.sockets = sockets;
                }
                (Err(error), _) => self.refusals.note(Err(error)),
                (Ok(_), None) => {}
            }
        }
    }

    /// A process whose first thread has ended: it has neither namespaces nor descriptors any more, its threads have.
    fn headless(&mut self, pid: u32, process: &ProcessFolder, threaded: &mut Vec<usize>) -> io::Result<()> {
        let threads = process.threads()?;
        let inside = |thread: &u32| process.thread_netns(*thread).is_ok_and(|netns| netns == self.namespace.netns);
        let Some(living) = threads.iter().find(|thread| **thread != pid && inside(thread)) else {
            return Ok(());
        };
        let Some((mut described, _)) = describe(pid, process, self.containers)? else {
            return Ok(());
        };
        let looked = process.thread_sockets(*living, |inode| {
            if self.wanted.contains(&inode) {
                self.ownerless.remove(&inode);
                described.sockets.push(inode);
            }
        });
        described.sockets.sort_unstable();
        described.sockets.dedup();
        self.found.push(described);
        threaded.push(self.found.len() - 1);
        looked
    }

    /// What is left may be held by threads of the namespace that have descriptors of their own.
    fn threads(&mut self, folder: &Proc, threaded: &[usize]) {
        for at in threaded {
            if self.ownerless.is_empty() {
                return;
            }
            let Some(found) = self.found.get_mut(*at) else { continue };
            // Not held since the first look, as there may be more of them than descriptors: so it may be another one by now.
            let Ok(process) = folder.process(found.pid) else { continue };
            let same = process.read("stat").and_then(|bytes| stat(&bytes));
            if !same.is_ok_and(|stat| stat.starttime == found.start_time) {
                continue;
            }
            for thread in process.threads().unwrap_or_default() {
                let looked = process.thread_sockets(thread, |inode| {
                    if self.ownerless.remove(&inode) {
                        found.sockets.push(inode);
                    }
                });
                self.refusals.note(looked);
            }
            found.sockets.sort_unstable();
        }
    }

    /// Learns from a process of the owning user namespace how that counts.
    fn count_like(&mut self, process: &ProcessFolder) {
        let Numbering::Of(device, inode) = self.namespace.numbering else { return };
        if self.ids.is_none() && process.user_namespace().is_ok_and(|found| found == (device, inode)) {
            let map = |name| process.read(name).map(text).unwrap_or_default();
            self.ids = IdMaps::parse(&map("uid_map"), &map("gid_map"));
        }
    }

    /// Takes over what was found elsewhere. Two may hold the same socket: the first counts.
    fn take(&mut self, mut found: Vec<Elsewhere>, refusals: Refusals) {
        found.sort_by_key(|one| one.described.pid);
        for Elsewhere { mut described, process } in found {
            described.sockets.retain(|inode| self.ownerless.remove(inode));
            if !described.sockets.is_empty() {
                self.users.note(described.pid, described.uid, &process);
                self.found.push(described);
            }
        }
        self.refusals.count += refusals.count;
        self.refusals.first = self.refusals.first.take().or(refusals.first);
    }

    fn unread(&self, cause: Cause, error: String) -> Unread {
        let means = match self.ownerless.len() {
            0 => "the processes of the namespace are not known".to_owned(),
            1 => "the owner of 1 socket is not known".to_owned(),
            many => format!("the owners of {many} sockets are not known"),
        };
        Unread { source: "processes".to_owned(), error, means, subject: Subject::Processes, cause }
    }
}

/// The `wanted` sockets that a process holds which was found before.
fn held(folder: &Proc, process: &Process, wanted: &HashSet<u32>) -> io::Result<Vec<u32>> {
    let opened = folder.process(process.pid)?;
    let mut sockets = Vec::new();
    opened.sockets(|inode| {
        sockets.extend(Some(inode).filter(|inode| wanted.contains(inode)));
        ControlFlow::Continue(())
    })?;
    // Its folder was not held since: it may be another one by now.
    if stat(&opened.read("stat")?)?.starttime != process.start_time {
        return Err(io::ErrorKind::NotFound.into());
    }
    sockets.sort_unstable();
    sockets.dedup();
    Ok(sockets)
}

/// Who a process is, and how many threads it has; `None` for a kernel thread.
pub(super) fn describe(
    pid: u32,
    process: &ProcessFolder,
    containers: &[Container],
) -> io::Result<Option<(Process, i64)>> {
    // `include/linux/sched.h`
    const PF_KTHREAD: u32 = 0x0020_0000;
    let stat = stat(&process.read("stat")?)?;
    if stat.flags & PF_KTHREAD != 0 {
        return Ok(None);
    }
    let status = text(process.read("status")?);
    let status = Status::from_buf_read(status.as_bytes()).map_err(unreadable)?;
    let cgroup = text(process.read("cgroup")?);
    let described = Process {
        pid,
        start_time: stat.starttime,
        name: stat.comm,
        uid: status.fuid,
        user: None,
        gid: status.fgid,
        groups: status.groups,
        container: container_of(&cgroup, containers).map(str::to_owned),
        elsewhere: false,
        sockets: Vec::new(),
        capabilities: Some(status.capeff),
        netns: None,
        descriptors: None,
        // The first of several threads may have ended, and the process goes on.
        state: Some(stat.state).filter(|state| matches!(state, 'T' | 't') || *state == 'Z' && stat.num_threads <= 1),
    };
    Ok(Some((described, stat.num_threads)))
}

fn cause(error: &io::Error) -> Cause {
    if error.kind() == io::ErrorKind::PermissionDenied { Cause::Permission } else { Cause::Failed }
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// What `/proc/PID/stat` says. The command name in it is hostile: it may hold blanks, brackets and anything else.
fn stat(bytes: &[u8]) -> io::Result<Stat> {
    Stat::from_read(bytes).map_err(unreadable)
}

fn unreadable(error: ProcError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error.to_string())
}

#[cfg(test)]
mod tests;
