//! The proof that a process is whom it is taken for: held first, its namespace opened, everything compared again.

use std::path::{Path, PathBuf};

use super::cgroup;
use super::error::TargetError;
use super::world::{NodeNamespace, World};
use crate::model::NetnsId;
use crate::sys::netns::Netns;
use crate::sys::process::Process;

/// A process that is held, and its network namespace.
pub(super) struct Held {
    pub(super) process: Process,
    pub(super) netns: Netns,
}

/// The node's own network namespace, to compare with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Node {
    identity: Option<(u64, u64)>,
    pub(super) known_by: NodeNamespace,
}

impl Node {
    /// Reads it from process 1, else from the first kernel thread, else from the calling thread.
    pub(super) fn read(world: &World) -> Self {
        if let Ok(netns) = Netns::open(&world.proc_root.join("1/ns/net")) {
            return Self { identity: Some(netns.identity()), known_by: NodeNamespace::Init };
        }
        // The first kernel thread has the node's own as well, and may be readable where process 1 is guarded; in a PID namespace
        // of its own process 2 is somebody else.
        let second = world.proc_root.join("2");
        let is_kernel = std::fs::read_to_string(second.join("comm")).is_ok_and(|name| name.trim() == "kthreadd");
        if is_kernel && let Ok(netns) = Netns::open(&second.join("ns/net")) {
            return Self { identity: Some(netns.identity()), known_by: NodeNamespace::Kernel };
        }
        let own = Netns::current().ok();
        Self { identity: own.map(|netns| netns.identity()), known_by: NodeNamespace::CallingThread }
    }

    pub(super) fn is(&self, netns: &Netns) -> bool {
        self.has(netns.identity())
    }

    pub(super) fn has(&self, identity: (u64, u64)) -> bool {
        self.identity == Some(identity)
    }
}

/// A namespace's identity as the model keeps it.
pub(super) fn id(netns: &Netns) -> NetnsId {
    let (device, inode) = netns.identity();
    NetnsId { device, inode }
}

/// Takes hold of a process without asking whose it is.
pub(super) fn hold(world: &World, pid: u32, who: &str) -> Result<Held, TargetError> {
    same_numbers(&world.proc_root)?;
    let process = Process::hold(&world.proc_root, pid)
        .map_err(|error| TargetError::of_kernel(error, format!("take hold of process {pid}"), who))?;
    let netns = process
        .netns()
        .map_err(|error| TargetError::of_kernel(error, format!("open the network namespace of process {pid}"), who))?;
    Ok(Held { process, netns })
}

/// Takes hold of a container's process; `ids` are the full IDs that its cgroup may name.
pub(super) fn hold_container(world: &World, pid: u32, ids: &[&str], who: &str) -> Result<Held, TargetError> {
    let held = hold(world, pid, who)?;
    belongs(world, &held.process, ids, who)?;
    Ok(held)
}

/// Whether the number is, at this moment, a process of the container with this ID.
pub(super) fn is_container(world: &World, pid: u32, id: &str) -> bool {
    Process::hold(&world.proc_root, pid).is_ok_and(|process| belongs(world, &process, &[id], "").is_ok())
}

fn belongs(world: &World, process: &Process, ids: &[&str], who: &str) -> Result<(), TargetError> {
    let own = std::fs::read_to_string(world.proc_root.join("self/cgroup")).unwrap_or_default();
    if cgroup::contradicts(process.cgroup(), &own, ids) {
        return Err(TargetError::Gone {
            what: who.to_owned(),
            why: format!("process {} now belongs to another container", process.pid()),
        });
    }
    Ok(())
}

/// Makes sure that the given `/proc` counts processes as the system calls of this process do.
pub(super) fn same_numbers(proc_root: &Path) -> Result<(), TargetError> {
    let own: PathBuf = match std::fs::read_link(proc_root.join("self")) {
        Ok(own) => own,
        // Not a proc mount, or one of a PID namespace in which this process has no number at all.
        Err(_) => return Err(foreign(proc_root)),
    };
    if own.as_os_str().to_str() == Some(std::process::id().to_string().as_str()) {
        return Ok(());
    }
    Err(foreign(proc_root))
}

fn foreign(proc_root: &Path) -> TargetError {
    TargetError::ForeignPids { what: proc_root.display().to_string() }
}
