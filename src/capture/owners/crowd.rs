//! All processes of a node, looked at once for several workloads: who lives in which network namespace, who belongs to which container.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{ID, chase};
use crate::sys::descriptors::Proc;

/// Processes that one thread looks at before it takes the next ones.
const PART: usize = 64;

/// Numbers of processes by what told of them at a first look. A number may be another process's by now, and processes may have come
/// since: who is found through it is looked at anew, and a socket without an owner is looked for among all.
#[derive(Debug, Default)]
pub struct Crowd {
    netns: HashMap<(u64, u64), Vec<u32>>,
    /// Those of which the namespace could not be told, as their first thread has ended, or they hide.
    unclear: Vec<u32>,
    containers: HashMap<String, Vec<u32>>,
    count: usize,
}

impl Crowd {
    /// Looks at every process of this `/proc`.
    ///
    /// # Errors
    /// They cannot be listed.
    pub(in crate::capture) fn look(folder: &Proc) -> io::Result<Self> {
        let pids = folder.pids()?;
        let (parts, next) = (pids.chunks(PART).collect::<Vec<_>>(), AtomicUsize::new(0));
        let looked = chase::shared(parts.len(), || {
            let (mut found, mut buffer) = (Vec::new(), Vec::new());
            while let Some(part) = parts.get(next.fetch_add(1, Ordering::Relaxed)) {
                found.extend(part.iter().map(|pid| (*pid, folder.netns_of(*pid), ids(folder, *pid, &mut buffer))));
            }
            found
        });
        let mut looked: Vec<_> = looked.into_iter().flatten().collect();
        looked.sort_unstable_by_key(|(pid, _, _)| *pid);
        let mut crowd = Self { count: pids.len(), ..Self::default() };
        for (pid, netns, ids) in looked {
            match netns {
                Ok(netns) => crowd.netns.entry(netns).or_default().push(pid),
                Err(_) => crowd.unclear.push(pid),
            }
            for id in ids {
                crowd.containers.entry(id).or_default().push(pid);
            }
        }
        Ok(crowd)
    }

    /// Those that may live in a network namespace.
    pub(super) fn around(&self, netns: (u64, u64)) -> impl Iterator<Item = u32> {
        self.netns.get(&netns).into_iter().flatten().chain(&self.unclear).copied()
    }

    /// Those that may belong to a container of this full ID.
    pub(super) fn of_container(&self, id: &str) -> &[u32] {
        self.containers.get(id).map_or(&[], Vec::as_slice)
    }

    /// How many there were.
    pub(super) fn count(&self) -> usize {
        self.count
    }
}

/// The full IDs in the paths of a process's control groups.
fn ids(folder: &Proc, pid: u32, buffer: &mut Vec<u8>) -> BTreeSet<String> {
    if folder.cgroup_of(pid, buffer).is_err() {
        return BTreeSet::new();
    }
    let words = buffer.split(|byte| !byte.is_ascii_hexdigit()).filter(|word| word.len() == ID);
    words.map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}
