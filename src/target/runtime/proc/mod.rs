//! Pods and containers without a runtime: processes, their cgroups, and what lies on disk.
//!
//! The cgroups tell which containers there are, in which pods (by UID), and which process of each is the first. Names come from
//! what the runtimes keep of each container, else from the kubelet's log folders; what each fact was taken from is told with it.
//! A container whose path a user can have made is given no name: it may bear the ID of somebody else's.

mod disk;
mod grouping;
mod logs;
mod walk;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use disk::{Disk, Record};
use logs::{Logged, Logs};
use walk::Found;

use super::{Fault, Group, Inner};
use crate::model::Container;
use crate::sys::descriptors::Proc;
use crate::sys::process::started_at;
use crate::sys::records::Records;
use crate::target::world::{Outcome, Tried, World};

/// What stands for a runtime that nothing tells.
pub(in crate::target) const UNKNOWN: &str = "unknown";

/// All that can be told of the node's pods and containers without asking a runtime.
pub(super) struct Answer {
    pub(super) groups: Vec<Group>,
    /// By container ID.
    pub(super) recorded: BTreeMap<String, Inner>,
    pub(super) tried: Tried,
}

/// A container with all that was found of it.
struct Known {
    id: String,
    found: Found,
    record: Option<Record>,
    logged: Option<Logged>,
}

/// Looks through `/proc` and the records below the node's root.
pub(super) fn list(world: &World) -> Answer {
    let begun = Instant::now();
    let looked = look(world);
    let (groups, recorded, outcome) = match looked {
        Ok((groups, recorded)) => {
            let pods = groups.iter().filter(|group| group.pod.is_some()).count();
            let containers = groups.iter().map(|group| group.members.len()).sum();
            (groups, recorded, Outcome::Inferred { pods, containers })
        }
        Err(error) => (Vec::new(), BTreeMap::new(), Fault::from(error).into()),
    };
    let milliseconds = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    let endpoint = format!("{} and files on disk", world.proc_root.display());
    Answer {
        groups,
        recorded,
        tried: Tried { endpoint, outcome, milliseconds, explicit: world.proc_alone, owner: None },
    }
}

/// The first process of every container, by its full ID: one walk, which runtimes' listings can be paired with. What a user can
/// have named like somebody's container is none. Empty where `/proc` cannot be read.
pub(in crate::target) fn first_processes(proc_root: &Path) -> BTreeMap<String, u32> {
    let found = walk::containers(proc_root).unwrap_or_default();
    found.into_iter().filter(|(_, found)| !found.by_user).map(|(id, found)| (id, found.pid)).collect()
}

type Looked = (Vec<Group>, BTreeMap<String, Inner>);

fn look(world: &World) -> io::Result<Looked> {
    let found = walk::containers(&world.proc_root)?;
    // A root that cannot be opened has no records.
    let Ok(records) = Records::open(&world.host_root) else {
        let known = found.into_iter().map(|(id, found)| Known { id, found, record: None, logged: None });
        return Ok((grouping::groups(known.collect(), &Logs::default(), None, world), BTreeMap::new()));
    };
    let logs = Logs::read(&records);
    let disk = Disk::new(records);
    let mut known: Vec<Known> = Vec::new();
    let without = without_cgroup(&disk, &found, &world.proc_root);
    for (id, found) in found.into_iter().chain(without) {
        let trusted = !found.by_user;
        let record = if trusted { disk.of(&id) } else { None };
        let logged = logs.container(&id).filter(|_| trusted).cloned();
        known.push(Known { id, found, record, logged });
    }
    let recorded = known.iter().map(|one| (one.id.clone(), inner(one))).collect();
    Ok((grouping::groups(known, &logs, Some(&disk), world), recorded))
}

/// What the proof needs, and what is kept of the environment.
fn inner(one: &Known) -> Inner {
    // The clock is read anew when the process is held: a moment of difference must not make it look younger.
    let started = Some(started_at(one.found.started) + Duration::from_secs(1));
    let environment = one.record.as_ref().map(|record| record.environment.clone()).unwrap_or_default();
    let told =
        Container { environment, started: Some(started_at(one.found.started).as_secs()), ..Container::default() };
    Inner { pid: Some(one.found.pid), started, finished: None, told }
}

/// Containers to which the runtime gave no cgroup: their first processes stand in files of their shims and monitors. Such a
/// number may be an old one, so the process must be a child of one that was started for that container.
fn without_cgroup(disk: &Disk, found: &BTreeMap<String, Found>, proc_root: &Path) -> Vec<(String, Found)> {
    let unseen = disk.first_processes().into_iter().filter(|(id, _)| !found.contains_key(id));
    let mut more: Vec<(String, Found)> = Vec::new();
    let Ok(proc_root) = Proc::open(proc_root) else { return more };
    for (id, file) in unseen {
        let Some(pid) = disk.pid(&file).filter(|_| more.iter().all(|(other, _)| *other != id)) else { continue };
        let sandbox = disk.of(&id).and_then(|record| record.sandbox);
        let ids = [Some(id.as_str()), sandbox.as_deref()];
        more.extend(walk::child_of_monitor(&proc_root, pid, &ids).map(|found| (id.clone(), found)));
    }
    more
}

#[cfg(test)]
mod tests;
