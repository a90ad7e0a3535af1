//! A pod or container that a runtime told of becomes a held workload: which of its processes, the proof, and what is known of it.

use std::path::Path;

use super::error::TargetError;
use super::local;
use super::proof::{self, Claim, Held, Node};
use super::runtime::{CRI_DOCKERD, Detail, Group, Member, PodName, UNKNOWN};
use super::sandboxed;
use super::world::{Live, World};
use crate::model::{Container, Kind, Workload};
use crate::sys::descriptors::Proc;
use crate::sys::netns::Netns;
use crate::sys::process::Process;

/// Which container of a pod `kubectl exec` takes when none is named.
const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";

/// Opens a group, or one container of it, by what its runtime told of its processes.
pub(super) fn open(
    group: &Group,
    member: Option<&Member>,
    detail: &Detail,
    node: Node,
    world: &World,
) -> Result<Live, TargetError> {
    let (netns, held) = hold(group, member, detail, world)?;
    let entered = held.as_ref().map(Process::pid);
    let mut workload = told(group);
    workload.containers = containers(group, detail, entered, world);
    sandboxed::tell(&mut workload, group, detail, node, world);
    Ok(local::live(workload, netns, held, node))
}

/// It exists and has nothing to look at.
pub(super) fn not_running(group: &Group, member: Option<&Member>) -> TargetError {
    let state = member.or(group.members.last()).map_or("not ready", |member| member.state.as_str());
    let lives =
        group.members.iter().any(|member| member.running) || group.sandbox.as_ref().is_some_and(|one| one.ready);
    let pod = group.pod.as_ref().filter(|_| member.is_some() && lives).map(pod_word);
    TargetError::NotRunning { what: describe(group, member), state: state.to_owned(), pod }
}

/// A running container, else the sandbox's process, else the file to which its namespace is bound.
fn hold(
    group: &Group,
    member: Option<&Member>,
    detail: &Detail,
    world: &World,
) -> Result<(Netns, Option<Process>), TargetError> {
    let who = describe(group, member);
    let mut failure = None;
    for claim in attempts(group, member, detail) {
        match proof::hold_container(world, claim, &who) {
            Ok(Held { process, netns }) => return Ok((netns, Some(process))),
            // Another container of the same pod may still be there.
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    if let Some(error) = failure {
        return Err(error);
    }
    match (&detail.netns_path, member) {
        // Of a user's own runtime a path would prove nothing of whose the namespace is.
        (Some(path), None) if group.owner.is_none() => open_bound(path, &who).map(|netns| (netns, None)),
        (_, Some(member)) if detail.members.contains_key(&member.id) && group.runtime != CRI_DOCKERD => {
            Err(TargetError::NotRunning { what: who, state: "without a process".to_owned(), pod: None })
        }
        (_, Some(_)) if group.runtime != CRI_DOCKERD => {
            Err(TargetError::Gone { what: who, why: "the runtime does not know it any more".to_owned() })
        }
        _ => Err(TargetError::NoProcess { what: who, runtime: group.runtime.clone() }),
    }
}

/// What the runtime's listing tells of a group, without its containers.
pub(super) fn told(group: &Group) -> Workload {
    let (kind, name) = match &group.pod {
        Some(pod) => (Kind::Pod, pod.name.clone()),
        None => (Kind::Container, group.members.first().map(|member| member.name.clone()).unwrap_or_default()),
    };
    let mut workload = Workload::named(kind, name);
    workload.namespace = group.pod.as_ref().map(|pod| pod.namespace.clone()).filter(|name| !name.is_empty());
    workload.uid = group.pod.as_ref().and_then(|pod| pod.uid.clone());
    workload.runtime = Some(group.runtime.clone()).filter(|runtime| runtime != UNKNOWN);
    workload.labels.clone_from(&group.labels);
    workload.annotations.clone_from(&group.annotations);
    workload.inferred.clone_from(&group.inferred);
    workload
}

/// The group's containers, each with its process where that is proven to be its own.
pub(super) fn containers(group: &Group, detail: &Detail, entered: Option<u32>, world: &World) -> Vec<Container> {
    let described = group.members.iter().map(|member| {
        let inner = detail.members.get(&member.id);
        let claim = inner.and_then(|inner| inner.claim(&member.id, group));
        // Only numbers that are proven: a restart may have handed them on meanwhile.
        let proven = |claim: &Claim<'_>| Some(claim.pid) == entered || proof::is_container(world, *claim);
        Container {
            name: member.name.clone(),
            id: member.id.clone(),
            pid: claim.filter(proven).map(|claim| claim.pid),
            state: (!member.running).then(|| member.state.clone()),
            image: member.image.clone(),
            init: sandboxed::is_initial(group, member, detail),
            ..inner.map(|inner| inner.told.clone()).unwrap_or_default()
        }
    });
    described.collect()
}

/// Whether the proven process of a pod's sandbox is in this network namespace.
pub(super) fn sandbox_is_in(group: &Group, detail: &Detail, netns: (u64, u64), world: &World) -> bool {
    let claim = sandbox_claim(group, detail);
    claim.is_some_and(|claim| is_in(world, claim.pid, netns) && proof::is_container(world, claim))
}

/// The container whose namespace a lone container is in: its own, or that of the one it was put into, step by step.
pub(super) fn shared<'a>(group: &'a Group, groups: &'a [Group]) -> Option<&'a str> {
    let id = |group: &'a Group| group.members.first().filter(|_| group.pod.is_none()).map(|member| member.id.as_str());
    let mut at = group;
    // No chain is longer than the list, and a circle ends there too.
    for _ in groups {
        let Some(wanted) = at.shares.as_deref() else { return id(at) };
        let Some(next) = groups.iter().find(|next| id(next) == Some(wanted)) else { return Some(wanted) };
        at = next;
    }
    id(at)
}

/// Whether a process is in this network namespace at this moment.
pub(super) fn is_in(world: &World, pid: u32, netns: (u64, u64)) -> bool {
    let process = Proc::open(&world.proc_root).and_then(|proc_root| proc_root.process(pid));
    process.and_then(|process| process.netns()).is_ok_and(|found| found == netns)
}

/// The word that picks a pod in every command.
pub(super) fn pod_word(pod: &PodName) -> String {
    if pod.namespace.is_empty() { format!("pod/{}", pod.name) } else { format!("pod/{}.{}", pod.name, pod.namespace) }
}

/// `RUNTIME://ID`, or the ID alone, of a container, a lone container or a pod's sandbox.
pub(super) fn id_word(group: &Group, member: Option<&Member>) -> String {
    let sandbox = group.sandbox.as_ref().filter(|_| group.pod.is_some()).map(|sandbox| sandbox.id.as_str());
    let id = member.map(|member| member.id.as_str()).or(sandbox);
    let id = id.or_else(|| group.members.first().map(|member| member.id.as_str())).unwrap_or_default();
    match group.runtime.as_str() {
        UNKNOWN => short(id).to_owned(),
        CRI_DOCKERD => format!("docker://{}", short(id)),
        runtime => format!("{runtime}://{}", short(id)),
    }
}

fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

/// Who it is, in words.
pub(super) fn describe(group: &Group, member: Option<&Member>) -> String {
    match (&group.pod, member) {
        (Some(pod), None) => format!("pod {pod}"),
        (Some(pod), Some(member)) => format!("container {} of pod {pod}", member.name),
        (None, _) => {
            let (name, id) = group.members.first().map_or(("", ""), |member| (&member.name, &member.id));
            format!("container {name} {}", short(id))
        }
    }
}

/// Processes through which the namespace may be opened, each still to be proven.
fn attempts<'a>(group: &'a Group, member: Option<&'a Member>, detail: &Detail) -> Vec<Claim<'a>> {
    let claim = |member: &&'a Member| detail.members.get(&member.id)?.claim(&member.id, group);
    if let Some(member) = member {
        return claim(&member).into_iter().collect();
    }
    let default = group.annotations.get(DEFAULT_CONTAINER);
    let mut members: Vec<&Member> = group.members.iter().collect();
    members.sort_by_key(|member| Some(&member.name) != default);
    members.iter().filter_map(claim).chain(sandbox_claim(group, detail)).collect()
}

pub(super) fn sandbox_claim<'a>(group: &'a Group, detail: &Detail) -> Option<Claim<'a>> {
    let (sandbox, pid) = (group.sandbox.as_ref()?, detail.sandbox_pid?);
    // A sandbox's time is that of its making, before its process.
    let (by, owner, by_cgroup) = (group.runtime.as_str(), group.owner, group.is_inferred());
    Some(Claim { pid, id: &sandbox.id, started: None, by, owner, by_cgroup })
}

fn open_bound(path: &Path, who: &str) -> Result<Netns, TargetError> {
    // Below `/proc` the path is a process's number again, and nothing would show whose it is by now.
    if path.starts_with("/proc") {
        let why = "its namespace is named by the number of a process that is not known".to_owned();
        return Err(TargetError::Gone { what: who.to_owned(), why });
    }
    Netns::open(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::InvalidInput => TargetError::NotNetns { path: path.to_owned() },
        _ => TargetError::of_kernel(error, format!("open {}", path.display()), who),
    })
}
