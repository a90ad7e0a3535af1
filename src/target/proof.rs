//! The proof that a process is whom it is taken for: held first, its namespace opened, everything compared again.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::cgroup;
use super::error::TargetError;
use super::runtime::first_processes;
use super::world::{NodeNamespace, World};
use crate::model::NetnsId;
use crate::sys::netns::Netns;
use crate::sys::process::Process;
use crate::sys::userns;

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

/// What is said of a container's process, by a runtime or by the control groups: a claim, and a number from the past.
#[derive(Debug, Clone, Copy)]
pub(super) struct Claim<'a> {
    pub(super) pid: u32,
    /// The container's full ID.
    pub(super) id: &'a str,
    /// When the runtime saw the process started, after 1970-01-01 UTC; `None` where it does not tell.
    pub(super) started: Option<Duration>,
    /// Who says so.
    pub(super) by: &'a str,
    /// The user whose own runtime that is; `None` for the machine's, and for the kernel.
    pub(super) owner: Option<u32>,
    /// No runtime says so, but the control groups themselves.
    pub(super) by_cgroup: bool,
}

/// How long before a runtime's note of the start the process may have come into being: runtimes make it, prepare it, let it go,
/// and note the time then.
const PREPARATION: Duration = Duration::from_secs(30);

/// Takes hold of a container's process, if it is shown to be the container's.
pub(super) fn hold_container(world: &World, claim: Claim<'_>, who: &str) -> Result<Held, TargetError> {
    let held = hold(world, claim.pid, who)?;
    belongs(world, &held, claim, who)?;
    Ok(held)
}

/// Whether the number is, at this moment, a process of the container.
pub(super) fn is_container(world: &World, claim: Claim<'_>) -> bool {
    hold_container(world, claim, "").is_ok()
}

/// The control group names the container; where it names none, the process must be as old as the runtime says, and live in a
/// namespace of its own. Without any such sign the number could be anybody's by now.
fn belongs(world: &World, held: &Held, claim: Claim<'_>, who: &str) -> Result<(), TargetError> {
    let Held { process, netns } = held;
    if let Some(uid) = claim.owner.filter(|uid| !is_of_user(process, *uid, &world.proc_root)) {
        return Err(TargetError::NotTheirs { what: who.to_owned(), pid: claim.pid, uid });
    }
    let gone = |why: String| Err(TargetError::Gone { what: who.to_owned(), why });
    let own = std::fs::read_to_string(world.proc_root.join("self/cgroup")).unwrap_or_default();
    let began = process.started();
    // It cannot have had the number when the runtime noted it.
    let later = claim.started.is_some_and(|told| began > told);
    let unproven =
        |why| Err(TargetError::Unproven { what: who.to_owned(), pid: claim.pid, runtime: claim.by.to_owned(), why });
    if let Some(place) = cgroup::place(process.cgroup(), &[]).filter(|place| place.id == claim.id) {
        // There everybody makes control groups of any name, and the machine's runtime puts its containers elsewhere.
        if place.by_user && claim.owner.is_none() && !claim.by_cgroup {
            return unproven("its control group is one that a user can have made");
        }
        // One of the container's may have taken the number of its first; but where that is still the first, the clock was set.
        if later && !is_first(process) && !is_oldest(world, claim) {
            return gone(format!("process {} started later than the container", claim.pid));
        }
        return Ok(());
    }
    // An ID that stands in our own path too is a container around us, and says nothing.
    if cgroup::contradicts(process.cgroup(), &own, &[]) {
        return gone(format!("process {} now belongs to another container", claim.pid));
    }
    if later {
        return gone(format!("process {} started later than the container, it has taken the number over", claim.pid));
    }
    if claim.pid == 1 {
        return unproven("that is the first process of the node, and no container's");
    }
    let ours = Netns::current().is_ok_and(|own| own.identity() == netns.identity());
    if ours || Node::read(world).is(netns) {
        return unproven("its control group names no container, and its network namespace is the node's own");
    }
    match claim.started {
        Some(told) if told.saturating_sub(began) <= PREPARATION => Ok(()),
        Some(_) => unproven("its control group names no container, and it is older than the container"),
        None => unproven("its control group names no container, and when the container started is not told"),
    }
}

/// Whether the process is the user's: by its real UID, or since it lives in a user namespace that the user made, as a rootless
/// runtime's containers do, whatever UIDs they have there.
fn is_of_user(process: &Process, uid: u32, proc_root: &Path) -> bool {
    let status = process.read("status").unwrap_or_default();
    let real = status.lines().find_map(|line| line.strip_prefix("Uid:")?.split_ascii_whitespace().next()?.parse().ok());
    let owned = || userns::owners(proc_root, process.pid()).is_ok_and(|owners| owners.contains(&uid));
    // Alive afterwards, so nobody else had its number while its namespaces were looked at.
    (real == Some(uid) || owned()) && process.alive().is_ok()
}

/// Whether it is process 1 of a PID namespace of its own (the last number of `NSpid`, proc_pid_status(5)).
fn is_first(process: &Process) -> bool {
    let status = process.read("status").unwrap_or_default();
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    numbers.is_some_and(|numbers| numbers.split_ascii_whitespace().skip(1).last() == Some("1"))
}

/// Whether no process of the container is older: the sign that is left where it lives in another's PID namespace (the node's, or
/// that of its pod).
fn is_oldest(world: &World, claim: Claim<'_>) -> bool {
    first_processes(&world.proc_root).get(claim.id) == Some(&claim.pid)
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
