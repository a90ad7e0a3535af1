//! Every workload of a listing, one snapshot each: some at once, each namespace read once, one that fails costs only itself.

use std::collections::HashMap;
use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use super::{CaptureError, Occasion, Parts, take};
use crate::model::{Snapshot, Workload};
use crate::target::{Listing, TargetError};

/// More threads than this only wait for the kernel's locks.
const MOST_THREADS: usize = 8;

/// One workload that was looked at, or why it could not be.
#[derive(Debug)]
pub struct Swept<T> {
    /// Who it is; with its namespace and proven processes where it was opened.
    pub workload: Workload,
    /// What the snapshot gave.
    pub outcome: Result<T, SweepError>,
}

/// Why one workload could not be looked at.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SweepError {
    /// It could not be opened.
    #[error(transparent)]
    Target(Arc<TargetError>),
    /// It could not be read.
    #[error(transparent)]
    Capture(Arc<CaptureError>),
}

/// Takes a snapshot of every workload and keeps what `each` makes of it; in the order of the listing.
///
/// Workloads that share a network namespace share what was read of it: `each` sees the first one's snapshot, so what it makes must
/// be about the namespace and not about the workload. Only one snapshot per thread is held at a time.
pub fn sweep<T, F>(listing: &Listing, parts: Parts, occasion: Occasion<'_>, each: F) -> Vec<Swept<T>>
where
    T: Clone + Send + Sync,
    F: Fn(&Snapshot) -> T + Sync,
{
    let read = Namespaces::default();
    let looked = side_by_side(listing.len(), MOST_THREADS, |index| {
        Some(look(listing, index, listing.workload(index)?, parts, occasion, &each, &read))
    });
    looked.into_iter().flatten().collect()
}

/// What `each` makes of every number below `count`, in order: as many at once as the machine has cores, and `most` at most.
pub fn side_by_side<T: Send>(count: usize, most: usize, each: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= count {
                return done;
            }
            done.push((index, each(index)));
        }
    };
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(most).min(count);
    let mut done: Vec<(usize, T)> = if threads < 2 {
        work()
    } else {
        thread::scope(|scope| {
            let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            let join = |worker: thread::ScopedJoinHandle<'_, _>| {
                worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            workers.into_iter().flat_map(join).collect()
        })
    };
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, done)| done).collect()
}

/// What was read of each namespace; whoever comes second waits for the first, and reads anew where that one failed.
type Namespaces<T> = Mutex<HashMap<(u64, u64), Arc<Mutex<Option<T>>>>>;

fn look<T: Clone>(
    listing: &Listing,
    index: usize,
    told: &Workload,
    parts: Parts,
    occasion: Occasion<'_>,
    each: &impl Fn(&Snapshot) -> T,
    read: &Namespaces<T>,
) -> Swept<T> {
    let live = match listing.open(index) {
        Ok(live) => live,
        Err(error) => return Swept { workload: told.clone(), outcome: Err(SweepError::Target(Arc::new(error))) },
    };
    let cell = {
        let mut cells = read.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(cells.entry(live.netns.identity()).or_default())
    };
    let workload = live.workload.clone();
    let mut read = cell.lock().unwrap_or_else(PoisonError::into_inner);
    let outcome = match read.as_ref() {
        Some(read) => Ok(read.clone()),
        None => take(live.workload, &live.netns, live.process.as_ref(), parts, occasion)
            .map(|snapshot| read.insert(each(&snapshot)).clone())
            .map_err(|error| SweepError::Capture(Arc::new(error))),
    };
    Swept { workload, outcome }
}
