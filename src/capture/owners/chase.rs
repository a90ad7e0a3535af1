//! Looks for sockets among the processes of the whole node: those of other namespaces, several at a time, until all are found.

use std::collections::HashSet;
use std::io;
use std::num::NonZero;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::{Refusals, describe};
use crate::model::{Container, Process};
use crate::sys::descriptors::{Proc, ProcessFolder};

/// Threads that look; more of them only wait for the kernel's locks on `/proc`.
const MOST_THREADS: usize = 4;

/// Processes for which one thread is as fast as two.
const FEW: usize = 256;

/// Has some work done by this thread and others beside it, no more than there are `parts`; what each of them gives.
pub(super) fn shared<T: Send>(parts: usize, work: impl Fn() -> T + Sync) -> Vec<T> {
    // To ask how many processors there are takes a dozen reads of files.
    if parts < 2 {
        return vec![work()];
    }
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(MOST_THREADS).min(parts);
    thread::scope(|scope| {
        let others: Vec<_> = (1..threads)
            // One that cannot be made is one less.
            .filter_map(|_| thread::Builder::new().name("owners".into()).spawn_scoped(scope, &work).ok())
            .collect();
        let own = work();
        let join = |other: thread::ScopedJoinHandle<'_, T>| {
            other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        std::iter::once(own).chain(others.into_iter().map(join)).collect()
    })
}

/// A process that lives elsewhere and holds some of the sockets.
pub(super) struct Elsewhere {
    pub(super) described: Process,
    pub(super) process: ProcessFolder,
}

/// One search, shared by the threads that look.
pub(super) struct Chase<'a> {
    folder: &'a Proc,
    pids: &'a [u32],
    wanted: &'a HashSet<u32>,
    containers: &'a [Container],
    /// The first process that nobody looks at yet.
    next: AtomicUsize,
    /// Sockets that nobody was found for so far, and their number beside, which can be read without waiting.
    left: Mutex<HashSet<u32>>,
    remaining: AtomicUsize,
}

impl<'a> Chase<'a> {
    pub(super) fn new(
        folder: &'a Proc,
        pids: &'a [u32],
        wanted: &'a HashSet<u32>,
        containers: &'a [Container],
    ) -> Self {
        let (left, remaining) = (Mutex::new(wanted.clone()), AtomicUsize::new(wanted.len()));
        Self { folder, pids, wanted, containers, next: AtomicUsize::new(0), left, remaining }
    }

    /// Looks at each process once, until every socket has been found. Two processes may come with the same socket.
    pub(super) fn run(&self) -> (Vec<Elsewhere>, Refusals) {
        let looked = if self.pids.len() <= FEW { vec![self.look()] } else { shared(self.pids.len(), || self.look()) };
        let (mut found, mut refusals) = (Vec::new(), Refusals::default());
        for (more, refused) in looked {
            found.extend(more);
            refusals.count += refused.count;
            refusals.first = refusals.first.or(refused.first);
        }
        (found, refusals)
    }

    fn look(&self) -> (Vec<Elsewhere>, Refusals) {
        let (mut found, mut refusals) = (Vec::new(), Refusals::default());
        while self.remaining.load(Ordering::Relaxed) > 0 {
            let Some(pid) = self.pids.get(self.next.fetch_add(1, Ordering::Relaxed)) else { break };
            match self.process(*pid) {
                Ok(holder) => found.extend(holder),
                Err(error) => refusals.note(Err(error)),
            }
        }
        (found, refusals)
    }

    /// One process, if it holds any of the sockets.
    fn process(&self, pid: u32) -> io::Result<Option<Elsewhere>> {
        if self.folder.has_no_descriptors(pid) {
            return Ok(None);
        }
        let process = self.folder.process(pid)?;
        let mut sockets = Vec::new();
        process.sockets(|inode| {
            if self.wanted.contains(&inode) {
                sockets.push(inode);
            }
            ControlFlow::Continue(())
        })?;
        if sockets.is_empty() {
            return Ok(None);
        }
        // One that ended between the two looks holds nothing any more: somebody else may.
        let Some((mut described, _)) = describe(pid, &process, self.containers)? else { return Ok(None) };
        sockets.sort_unstable();
        sockets.dedup();
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        sockets.iter().for_each(|inode| {
            left.remove(inode);
        });
        self.remaining.store(left.len(), Ordering::Relaxed);
        (described.elsewhere, described.sockets) = (true, sockets);
        Ok(Some(Elsewhere { described, process }))
    }
}
