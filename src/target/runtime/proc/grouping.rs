//! Containers that were found one by one become pods: by what is recorded of them, by the UID in their cgroup's path, by logs.

use std::collections::BTreeMap;

use super::disk::{Disk, Record};
use super::logs::Logs;
use super::{Known, UNKNOWN, walk};
use crate::target::cgroup;
use crate::target::runtime::{Group, Member, PodName, Sandbox, docker};
use crate::target::world::World;

const BY_PATH: &str = "the form of the control group's path";
const BY_LOGS: &str = "the kubelet's log folders";
const BY_UID: &str = "the UID in the control group's path; nothing tells the name";
const BY_ID: &str = "the ID; nothing tells the name";

const BY_PAUSE: &str = "a process called pause, taken for the sandbox";
const BY_AGE: &str = "the oldest one, nameless, taken for the sandbox";

/// What a pod's sandbox calls itself (kubernetes/kubernetes, build/pause).
const PAUSE: &str = "pause";

/// How many digits of an ID stand for a name.
const SHORT: usize = 12;

/// Pods first, by what holds them together, then containers alone, by ID.
pub(super) fn groups(known: Vec<Known>, logs: &Logs, disk: Option<&Disk>, world: &World) -> Vec<Group> {
    let uids: BTreeMap<String, String> = known.iter().filter_map(|one| Some((sandbox(one)?, uid(one)?))).collect();
    let mut pods: BTreeMap<String, Vec<Known>> = BTreeMap::new();
    let mut alone = Vec::new();
    for one in known {
        match pod_key(&one, &uids) {
            Some(key) => pods.entry(key).or_default().push(one),
            None => alone.push(lone(one)),
        }
    }
    let pods = pods.into_values().map(|members| pod(members, logs, disk, world));
    pods.chain(alone).collect()
}

fn sandbox(one: &Known) -> Option<String> {
    one.record.as_ref()?.sandbox.clone()
}

/// The pod's UID: the path's own first, since it is the kernel's word.
fn uid(one: &Known) -> Option<String> {
    let recorded = || one.record.as_ref()?.uid.clone().filter(|uid| cgroup::is_uid(uid));
    one.found.pod.clone().or_else(recorded)
}

/// What all containers of a pod have in common: the UID, else the sandbox, else the name.
fn pod_key(one: &Known, uids: &BTreeMap<String, String>) -> Option<String> {
    let by_sandbox = || sandbox(one).map(|sandbox| uids.get(&sandbox).cloned().unwrap_or(sandbox));
    let recorded = || one.record.as_ref()?.pod.clone();
    let logged = || one.logged.as_ref().map(|logged| (logged.namespace.clone(), logged.pod.clone()));
    let by_name = || recorded().or_else(logged).map(|(namespace, name)| format!("{namespace}/{name}"));
    // What a user's cgroup claims is no pod of the kubelet's.
    if one.found.by_user { None } else { uid(one).or_else(by_sandbox).or_else(by_name) }
}

fn pod(mut members: Vec<Known>, logs: &Logs, disk: Option<&Disk>, world: &World) -> Group {
    members.sort_by_key(|one| (one.found.started, one.found.pid));
    let mut group = empty();
    let uid = members.iter().find_map(uid).or_else(|| members.iter().find_map(|one| one.record.as_ref()?.uid.clone()));
    name_pod(&mut group, &members, logs, uid);
    name_runtime(&mut group, &members);
    // The labels of a pod are those of its sandbox, where that is recorded.
    let described = members.iter().max_by_key(|one| is_recorded_sandbox(one));
    if let Some(record) = described.and_then(|one| one.record.as_ref()) {
        docker::describe(&mut group, record.labels.clone());
    }
    let sandbox_id = members.iter().find_map(sandbox);
    let guess = take_sandbox(&mut group, &mut members, world);
    if group.sandbox.is_none() {
        // One that has no process of its own (CRI-O) is known by what its containers say.
        let created = members.first().map_or(0, age);
        group.sandbox = sandbox_id.map(|id| Sandbox { id, ready: true, created, pid: None });
    }
    let only = only_logged(&members, &group, logs, disk);
    let mut sources: Vec<&str> = Vec::new();
    for one in members {
        let (member, source) = member(one, only.as_deref());
        sources.push(source);
        group.members.push(member);
    }
    sources.extend(guess);
    sources.sort_unstable();
    sources.dedup();
    if !sources.is_empty() {
        group.inferred.insert("containers".to_owned(), sources.join("; "));
    }
    group
}

fn lone(one: Known) -> Group {
    let mut group = empty();
    name_runtime(&mut group, std::slice::from_ref(&one));
    if let Some(record) = &one.record {
        docker::describe(&mut group, record.labels.clone());
        group.shares.clone_from(&record.shares);
    }
    let (member, source) = member(one, None);
    group.inferred.insert("name".to_owned(), source.to_owned());
    group.members.push(member);
    group
}

fn empty() -> Group {
    Group {
        endpoint: 0,
        owner: None,
        runtime: UNKNOWN.to_owned(),
        pod: None,
        sandbox: None,
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        members: Vec::new(),
        shares: None,
        inferred: BTreeMap::new(),
    }
}

fn name_pod(group: &mut Group, members: &[Known], logs: &Logs, uid: Option<String>) {
    let recorded = |one: &Known| one.record.as_ref().and_then(|record| Some((record.pod.clone()?, record.source)));
    let logged =
        |one: &Known| one.logged.as_ref().map(|logged| ((logged.namespace.clone(), logged.pod.clone()), BY_LOGS));
    let by_folder = || {
        uid.as_deref()
            .and_then(|uid| logs.pod(uid))
            .map(|(namespace, name)| ((namespace.to_owned(), name.to_owned()), BY_LOGS))
    };
    let told = members.iter().find_map(recorded).or_else(|| members.iter().find_map(logged)).or_else(by_folder);
    let ((namespace, name), source) = told.unwrap_or_else(|| {
        let name = uid.clone().or_else(|| members.iter().find_map(sandbox));
        ((String::new(), name.unwrap_or_default()), BY_UID)
    });
    group.inferred.insert("name".to_owned(), source.to_owned());
    if !namespace.is_empty() {
        group.inferred.insert("namespace".to_owned(), source.to_owned());
    }
    group.pod = Some(PodName { name, namespace, uid });
}

fn name_runtime(group: &mut Group, members: &[Known]) {
    let recorded = |one: &Known| one.record.as_ref().map(|record| (record.runtime, record.source));
    let by_path = |one: &Known| one.found.runtime.map(|runtime| (runtime, BY_PATH));
    // Docker's containers are containerd's too, and Podman's lie beside CRI-O's: the path knows better where it tells.
    let told = members.iter().find_map(by_path).or_else(|| members.iter().find_map(recorded));
    if let Some((runtime, source)) = told {
        runtime.clone_into(&mut group.runtime);
        group.inferred.insert("runtime".to_owned(), source.to_owned());
    }
}

fn is_recorded_sandbox(one: &Known) -> bool {
    one.record.as_ref().is_some_and(|record| record.is_sandbox)
}

/// Takes the sandbox out of the containers, which stand by age: the one that is recorded as such; else those that nothing names
/// and whose process is called `pause`; else the oldest, when it is the only one that nothing names. What told it, where that was
/// a guess.
fn take_sandbox(group: &mut Group, members: &mut Vec<Known>, world: &World) -> Option<&'static str> {
    let nameless = |one: &Known| one.logged.is_none() && one.record.as_ref().is_none_or(|record| record.name.is_none());
    let is_pause =
        |one: &Known| nameless(one) && walk::command(&world.proc_root, one.found.pid).as_deref() == Some(PAUSE);
    let (mut sandboxes, mut rest): (Vec<Known>, Vec<Known>) = members.drain(..).partition(is_recorded_sandbox);
    let mut guess = None;
    if sandboxes.is_empty() {
        (sandboxes, rest) = rest.into_iter().partition(is_pause);
        guess = Some(BY_PAUSE);
    }
    let only = matches!(rest.as_slice(), [first, others @ ..] if nameless(first) && !others.is_empty() && !others.iter().any(nameless));
    if sandboxes.is_empty() && only {
        sandboxes.push(rest.remove(0));
        guess = Some(BY_AGE);
    }
    *members = rest;
    // An older one of the same pod is about to end.
    let newest = sandboxes.into_iter().next_back()?;
    group.sandbox = Some(Sandbox { created: age(&newest), pid: Some(newest.found.pid), id: newest.id, ready: true });
    guess
}

/// The one name that a pod's log folder has, when the pod has one container and nothing else names it.
fn only_logged(members: &[Known], group: &Group, logs: &Logs, disk: Option<&Disk>) -> Option<String> {
    let uid = group.pod.as_ref()?.uid.as_deref()?;
    let [one] = members else { return None };
    if one.logged.is_some()
        || one.record.as_ref().is_some_and(|record| record.name.is_some())
        || group.sandbox.is_none()
    {
        return None;
    }
    let mut names = logs.names(disk?.records(), uid);
    if names.len() == 1 { names.pop() } else { None }
}

/// A container and what told its name.
fn member(one: Known, only: Option<&str>) -> (Member, &'static str) {
    let recorded = one.record.as_ref().and_then(|record| Some((record.name.clone()?, record.source)));
    let logged = one.logged.as_ref().map(|logged| (logged.container.clone(), BY_LOGS));
    let only = only.map(|name| (name.to_owned(), BY_LOGS));
    let short = || (one.id.get(..SHORT).unwrap_or(&one.id).to_owned(), BY_ID);
    let (name, source) = recorded.or(logged).or(only).unwrap_or_else(short);
    let created = age(&one);
    let image = one.record.and_then(|record: Record| record.image);
    let member = Member {
        name,
        id: one.id,
        image,
        running: true,
        state: "running".to_owned(),
        created,
        pid: Some(one.found.pid),
    };
    (member, source)
}

/// Clock ticks after boot order containers as well as a date does.
fn age(one: &Known) -> i64 {
    i64::try_from(one.found.started).unwrap_or(i64::MAX)
}
