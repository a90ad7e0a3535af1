//! Targets that the kernel alone knows: a process, a named namespace, the node.

use std::path::{Path, PathBuf};

use super::error::TargetError;
use super::near;
use super::proof::{self, Node};
use super::world::{Live, World};
use crate::model::{Kind, Workload};
use crate::sys::netns::Netns;
use crate::sys::process::Process;

/// `pid/N`.
pub(super) fn process(pid: u32, world: &World) -> Result<Live, TargetError> {
    let asked = format!("pid/{pid}");
    let held = proof::hold(world, pid, &asked).map_err(|error| match error {
        // Nothing pointed to the process but the user: it is not gone, it is not there.
        TargetError::Gone { .. } => TargetError::NotFound { asked, tried: Vec::new(), near: Vec::new() },
        other => other,
    })?;
    Ok(live(Workload::named(Kind::Process, pid.to_string()), held.netns, Some(held.process), Node::read(world)))
}

/// `netns/NAME-OR-PATH`.
pub(super) fn named(name: &str, world: &World) -> Result<Live, TargetError> {
    let asked = format!("netns/{name}");
    let places: Vec<PathBuf> = match name.contains('/') {
        true => vec![PathBuf::from(name)],
        false => world.netns_folders.iter().map(|folder| folder.join(name)).collect(),
    };
    for path in places {
        match Netns::open(&path) {
            Ok(netns) => return Ok(live(Workload::named(Kind::Netns, name), netns, None, Node::read(world))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) if error.kind() == std::io::ErrorKind::InvalidInput => {
                return Err(TargetError::NotNetns { path });
            }
            Err(error) => return Err(TargetError::of_kernel(error, format!("open {}", path.display()), &asked)),
        }
    }
    let known: Vec<String> = world.netns_folders.iter().flat_map(|folder| names_in(folder)).collect();
    let near = near::names(name, known.iter().map(String::as_str));
    Err(TargetError::NotFound { asked, tried: Vec::new(), near })
}

/// `host`: the namespace of process 1, or that of the calling thread where process 1 may not be looked at.
pub(super) fn host(world: &World) -> Result<Live, TargetError> {
    let workload = Workload::named(Kind::Host, world.node.clone());
    match proof::hold(world, 1, "host") {
        Ok(held) => Ok(live(workload, held.netns, Some(held.process), Node::read(world))),
        Err(TargetError::NotPermitted { .. } | TargetError::ForeignPids { .. }) => {
            let netns = Netns::current()
                .map_err(|error| TargetError::of_kernel(error, "open the own network namespace".to_owned(), "host"))?;
            Ok(live(workload, netns, None, Node::read(world)))
        }
        Err(other) => Err(other),
    }
}

/// Completes a workload with what its namespace tells.
pub(super) fn live(mut workload: Workload, netns: Netns, process: Option<Process>, node: Node) -> Live {
    workload.pid = process.as_ref().map(Process::pid);
    workload.netns = Some(proof::id(&netns));
    workload.host_network = node.is(&netns);
    Live { workload, netns, process, node_namespace: node.known_by, tried: Vec::new() }
}

fn names_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{Choice, Query, find};
    use super::*;

    fn ask(query: &Query, world: &World) -> Result<Live, TargetError> {
        find(query, &Choice::default(), world)
    }

    #[test]
    fn the_own_process_is_found_with_its_namespace() {
        let world = World::here("node", Vec::new());
        let own = std::process::id();
        let live = ask(&Query::Pid(own), &world).expect("own process");
        assert_eq!((live.workload.kind, live.workload.name.as_str()), (Kind::Process, own.to_string().as_str()));
        assert_eq!(live.workload.pid, Some(own));
        let current = Netns::current().expect("own namespace");
        assert_eq!(live.workload.netns, Some(proof::id(&current)));
        let path = Query::Netns("/proc/self/ns/net".into());
        assert_eq!(ask(&path, &world).expect("by path").workload.netns, Some(proof::id(&current)));
    }

    #[test]
    fn the_host_is_the_node() {
        let live = ask(&Query::Host, &World::here("node", Vec::new())).expect("host");
        assert_eq!((live.workload.kind, live.workload.name.as_str()), (Kind::Host, "node"));
        assert!(live.workload.host_network);
    }

    #[test]
    fn what_is_not_there_is_not_found_and_what_is_no_namespace_is_told_so() {
        let folder = tempfile::tempdir().expect("folder");
        std::fs::write(folder.path().join("blue"), "").expect("write");
        let mut world = World::here("node", Vec::new());
        world.netns_folders = vec![folder.path().to_owned()];
        // The largest number that PID_MAX_LIMIT (include/linux/threads.h) allows is 2^22.
        assert!(matches!(ask(&Query::Pid(1 << 23), &world), Err(TargetError::NotFound { .. })));
        assert!(matches!(ask(&Query::Netns("blue".into()), &world), Err(TargetError::NotNetns { .. })));
        let Err(TargetError::NotFound { near, .. }) = ask(&Query::Netns("blu".into()), &world) else { panic!("found") };
        assert_eq!(near, ["blue"]);
    }

    #[test]
    fn a_proc_that_counts_otherwise_is_refused() {
        let folder = tempfile::tempdir().expect("folder");
        std::os::unix::fs::symlink("1", folder.path().join("self")).expect("link");
        let mut world = World::here("node", Vec::new());
        world.proc_root = folder.path().to_owned();
        assert!(matches!(ask(&Query::Pid(1), &world), Err(TargetError::ForeignPids { .. })));
    }

    #[test]
    fn without_a_runtime_an_id_is_looked_for_in_cgroups() {
        let mut world = World::here("node", Vec::new());
        world.proc_alone = true;
        let query = Query::Id { runtime: None, prefix: "f".repeat(64) };
        let Err(TargetError::NotFound { tried, .. }) = ask(&query, &world) else { panic!("found") };
        assert!(matches!(tried[..], [super::super::Tried { outcome: super::super::Outcome::Inferred { .. }, .. }]));
    }
}
