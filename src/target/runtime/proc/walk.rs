//! One walk over `/proc`: which containers there are by their processes' cgroups, and which process of each is the first.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use crate::sys::descriptors::{Proc, ProcessFolder};
use crate::sys::process::parse_start_time;
use crate::target::cgroup::{self, Place};

/// A container as its processes show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// Its first process: of those that stand in it and in no container within it, the one that was started first.
    pub(super) pid: u32,
    /// When that was started, in clock ticks after boot.
    pub(super) started: u64,
    /// By the form of the path.
    pub(super) runtime: Option<&'static str>,
    /// UID of its pod.
    pub(super) pod: Option<String>,
    /// A user can have made the path.
    pub(super) by_user: bool,
    depth: usize,
}

impl Found {
    /// Some process of that place, which one is still to be said.
    fn at(place: Place<'_>) -> Self {
        let Place { runtime, pod, depth, by_user, id: _ } = place;
        Self { pid: 0, started: 0, runtime, pod, by_user, depth }
    }

    /// What decides between two processes in cgroups of one ID: a path that only the node itself can have made stands above one
    /// that somebody in a container, or a user, can have named like it.
    fn rank(&self) -> (bool, usize, u64, u32) {
        (self.by_user, self.depth, self.started, self.pid)
    }
}

/// All containers by their full IDs. A process that ends meanwhile, or may not be read, is none of them.
///
/// # Errors
/// `/proc` itself cannot be read.
pub(super) fn containers(proc_root: &Path) -> io::Result<BTreeMap<String, Found>> {
    let proc_root = Proc::open(proc_root)?;
    let pids = proc_root.pids()?;
    if pids.is_empty() {
        return Err(io::Error::other("no process is shown there"));
    }
    let (mut bytes, mut state) = (Vec::new(), Vec::new());
    let around = around(&proc_root, &mut bytes);
    let around: Vec<&str> = around.iter().map(String::as_str).collect();
    let mut found: BTreeMap<String, Found> = BTreeMap::new();
    // Neighbours often stand in one cgroup, kernel threads all do: the last text and what it told.
    let mut last: (Vec<u8>, Option<(String, Found)>) = (Vec::new(), None);
    for pid in pids {
        let Ok(folder) = proc_root.process(pid) else { continue };
        if folder.read_into(c"cgroup", &mut bytes).is_err() {
            continue;
        }
        if bytes != last.0 {
            // A container names the cgroups within its own as it likes, in any bytes.
            let text = String::from_utf8_lossy(&bytes);
            last.1 = cgroup::place(&text, &around).map(|place| (place.id.to_owned(), Found::at(place)));
            last.0.clone_from(&bytes);
        }
        let Some((id, here)) = &mut last.1 else { continue };
        let Some(started) = started(&folder, &mut state) else { continue };
        (here.pid, here.started) = (pid, started);
        match found.get_mut(id) {
            Some(known) if known.rank() <= here.rank() => {}
            Some(known) => known.clone_from(here),
            None => {
                found.insert(id.clone(), here.clone());
            }
        }
    }
    Ok(found)
}

/// Containers in which this whole `/proc` is: those of its first process, else our own.
fn around(proc_root: &Proc, bytes: &mut Vec<u8>) -> Vec<String> {
    let mut of = |pid| {
        proc_root.process(pid).and_then(|folder| folder.read_into(c"cgroup", bytes)).ok()?;
        Some(cgroup::ids(&String::from_utf8_lossy(bytes)).into_iter().map(str::to_owned).collect())
    };
    of(1).or_else(|| of(std::process::id())).unwrap_or_default()
}

/// When the process was started; `None` for one that has ended and is only waited for: it has no namespace any more.
fn started(folder: &ProcessFolder, bytes: &mut Vec<u8>) -> Option<u64> {
    folder.read_into(c"stat", bytes).ok()?;
    // The command between the brackets may hold any bytes.
    let stat = String::from_utf8_lossy(bytes);
    let state = stat.rsplit_once(')')?.1.trim_start().chars().next()?;
    if matches!(state, 'Z' | 'X' | 'x') { None } else { parse_start_time(&stat) }
}

/// What the process calls itself.
pub(super) fn command(proc_root: &Path, pid: u32) -> Option<String> {
    let bytes = Proc::open(proc_root).and_then(|root| root.process(pid)).and_then(|folder| folder.read("comm")).ok()?;
    Some(String::from_utf8_lossy(&bytes).trim_end_matches('\n').to_owned())
}

/// The process, when it stands in no container's cgroup and was started by the shim or monitor of one of these containers, in
/// whose command line the ID is a word of its own (`containerd-shim-runc-v2 -namespace k8s.io -id ID`, `conmon -c ID`).
pub(super) fn child_of_monitor(proc_root: &Proc, pid: u32, ids: &[Option<&str>]) -> Option<Found> {
    let folder = proc_root.process(pid).ok()?;
    let (mut bytes, mut around_us) = (Vec::new(), Vec::new());
    let started = started(&folder, &mut bytes)?;
    let parent = parent(&String::from_utf8_lossy(&bytes))?;
    let around = around(proc_root, &mut around_us);
    folder.read_into(c"cgroup", &mut bytes).ok()?;
    let stands = String::from_utf8_lossy(&bytes);
    if cgroup::ids(&stands).iter().any(|id| !around.iter().any(|known| known == id)) {
        return None;
    }
    proc_root.process(parent).ok()?.read_into(c"cmdline", &mut bytes).ok()?;
    let words = bytes.split(|byte| *byte == 0);
    let named = words.skip(1).any(|word| ids.iter().flatten().any(|id| word == id.as_bytes()));
    named.then_some(Found { pid, started, runtime: None, pod: None, by_user: false, depth: 0 })
}

/// Field 4 of `/proc/PID/stat`.
fn parent(stat: &str) -> Option<u32> {
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok().filter(|pid| *pid > 0)
}
