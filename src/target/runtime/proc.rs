//! Pods and containers without a runtime: processes, their cgroups, and what lies on disk.

use std::collections::BTreeMap;
use std::path::Path;

use super::Group;
use crate::sys::descriptors::Proc;
use crate::target::cgroup;
use crate::target::world::World;

/// All that can be told of the node's pods and containers without asking a runtime.
pub(super) fn list(_world: &World) -> Vec<Group> {
    Vec::new()
}

/// The first process of every container, by the container's full ID, in one walk.
pub(crate) fn first_processes(proc_root: &Path) -> BTreeMap<String, u32> {
    let mut first = BTreeMap::new();
    let Ok(processes) = Proc::open(proc_root) else { return first };
    for pid in processes.pids().unwrap_or_default() {
        let Ok(bytes) = processes.process(pid).and_then(|process| process.read("cgroup")) else { continue };
        let text = String::from_utf8_lossy(&bytes);
        if let Some((id, _)) = cgroup::innermost(&text) {
            first.entry(id.to_owned()).or_insert(pid);
        }
    }
    first
}
