//! Pods and containers: the runtimes are asked, the hits opened, and what shares a network namespace is one answer.

use std::path::Path;

use super::error::{Candidate, TargetError};
use super::matching::{self, Hit};
use super::proof::{self, Held};
use super::query::Query;
use super::runtime::{CRI_DOCKERD, Detail, Fault, Group, Member, Runtimes, UNKNOWN};
use super::world::{Choice, Live, Outcome, Tried, World};
use super::{local, near};
use crate::model::{Container, Kind, Workload};
use crate::sys::netns::Netns;

/// More hits than this are not opened one by one to see whether they share a namespace.
const MOST_OPENED: usize = 16;

/// Which container of a pod `kubectl exec` takes when none is named.
const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";

/// One search: the question and all that is known to answer it.
struct Search<'a> {
    query: &'a Query,
    world: &'a World,
    runtimes: Runtimes,
}

/// Finds a pod or a container.
pub(super) fn find(query: &Query, choice: &Choice, world: &World) -> Result<Live, TargetError> {
    let runtimes = Runtimes::ask(world)
        .map_err(|source| TargetError::Failed { what: "ask the container runtimes".to_owned(), source })?;
    let search = Search { query, world, runtimes };
    let hits = matching::hits(query, choice, &search.runtimes.groups);
    if hits.is_empty() {
        return Err(search.not_found());
    }
    let hits = search.pick_container(hits, choice.container.as_deref())?;
    let hits = matching::prefer_alive(hits, &search.runtimes.groups);
    search.open_all(&hits)
}

impl Search<'_> {
    fn group(&self, hit: Hit) -> &Group {
        &self.runtimes.groups[hit.group]
    }

    /// `-c`: every hit becomes that container of its pod; those that have none drop out.
    fn pick_container(&self, hits: Vec<Hit>, wanted: Option<&str>) -> Result<Vec<Hit>, TargetError> {
        let Some(wanted) = wanted else { return Ok(hits) };
        let position = |hit: &Hit| self.group(*hit).members.iter().position(|member| member.name == wanted);
        let mut picked: Vec<Hit> =
            hits.iter().filter_map(|hit| Some(Hit { group: hit.group, member: Some(position(hit)?) })).collect();
        picked.dedup();
        match (picked.is_empty(), hits.first()) {
            (true, Some(first)) => Err(TargetError::NoSuchContainer {
                workload: describe(self.group(*first), None),
                asked: wanted.to_owned(),
                containers: self.group(*first).members.iter().map(|member| member.name.clone()).collect(),
            }),
            _ => Ok(picked),
        }
    }

    fn open_all(&self, hits: &[Hit]) -> Result<Live, TargetError> {
        if hits.len() > MOST_OPENED {
            return Err(self.ambiguous(hits));
        }
        let mut opened: Vec<(Hit, Live)> = Vec::new();
        let mut failed: Vec<(Hit, TargetError)> = Vec::new();
        for hit in hits {
            match self.open(*hit) {
                Ok(live) => opened.push((*hit, live)),
                Err(error) => failed.push((*hit, error)),
            }
        }
        // What is gone or stopped is no rival; of one that could not be opened nobody knows in which namespace it is.
        let hidden = failed.iter().position(|(hit, error)| {
            let over = matches!(error, TargetError::Gone { .. } | TargetError::NotRunning { .. });
            opened.is_empty() || !over && !opened.iter().any(|(other, _)| other.group == hit.group)
        });
        if let Some(index) = hidden {
            return Err(failed.swap_remove(index).1);
        }
        let first = opened.first().map(|(_, live)| live.netns.identity());
        if opened.iter().any(|(_, live)| Some(live.netns.identity()) != first) {
            let rivals: Vec<Hit> = opened.iter().map(|(hit, _)| *hit).collect();
            return Err(self.ambiguous(&rivals));
        }
        // Pods before lone containers, a whole pod before one container of it.
        opened.sort_by_key(|(hit, _)| (self.group(*hit).pod.is_none(), hit.member.is_some(), hit.group));
        opened.into_iter().next().map_or_else(|| Err(self.not_found()), |(_, live)| Ok(live))
    }

    fn open(&self, hit: Hit) -> Result<Live, TargetError> {
        let group = self.group(hit);
        let member = hit.member.and_then(|index| group.members.get(index));
        let who = describe(group, member);
        if !matching::is_alive(hit, &self.runtimes.groups) {
            let state = member.or(group.members.last()).map_or("not ready", |member| member.state.as_str());
            return Err(TargetError::NotRunning { what: who, state: state.to_owned() });
        }
        let detail = self.runtimes.detail(group).map_err(|fault| self.fault(fault, group, &who))?;
        let (netns, held) = self.hold(group, member, &detail, &who)?;
        let entered = held.as_ref().map(|process| process.pid());
        let mut live = local::live(self.workload(group, &detail, entered), netns, held, self.world);
        live.tried.clone_from(&self.runtimes.tried);
        Ok(live)
    }

    /// A running container, else the sandbox's process, else the file to which its namespace is bound.
    fn hold(
        &self,
        group: &Group,
        member: Option<&Member>,
        detail: &Detail,
        who: &str,
    ) -> Result<(Netns, Option<crate::sys::process::Process>), TargetError> {
        let mut failure = None;
        for (pid, id) in attempts(group, member, detail) {
            match proof::hold_container(self.world, pid, &[id], who) {
                Ok(Held { process, .. }) if !self.runtimes.may_name(group, &process, self.world) => {
                    let (pid, uid) = (process.pid(), self.runtimes.owner(group).unwrap_or_default());
                    failure = failure.or(Some(TargetError::NotTheirs { what: who.to_owned(), pid, uid }));
                }
                Ok(Held { process, netns }) => return Ok((netns, Some(process))),
                // Another container of the same pod may still be there.
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        if let Some(error) = failure {
            return Err(error);
        }
        match (&detail.netns_path, member) {
            (Some(path), None) => open_bound(path, who).map(|netns| (netns, None)),
            (_, Some(member)) if detail.members.contains_key(&member.id) && group.runtime != CRI_DOCKERD => {
                Err(TargetError::NotRunning { what: who.to_owned(), state: "without a process".to_owned() })
            }
            (_, Some(_)) if group.runtime != CRI_DOCKERD => {
                Err(TargetError::Gone { what: who.to_owned(), why: "the runtime does not know it any more".to_owned() })
            }
            _ => Err(TargetError::NoProcess { what: who.to_owned(), runtime: group.runtime.clone() }),
        }
    }

    fn workload(&self, group: &Group, detail: &Detail, entered: Option<u32>) -> Workload {
        let (kind, name) = match &group.pod {
            Some(pod) => (Kind::Pod, pod.name.clone()),
            None => (Kind::Container, group.members.first().map(|member| member.name.clone()).unwrap_or_default()),
        };
        let mut workload = Workload::named(kind, name);
        workload.namespace = group.pod.as_ref().map(|pod| pod.namespace.clone()).filter(|name| !name.is_empty());
        workload.uid = group.pod.as_ref().and_then(|pod| pod.uid.clone());
        workload.inferred.clone_from(&group.inferred);
        workload.runtime = Some(group.runtime.clone()).filter(|runtime| runtime != UNKNOWN);
        workload.labels.clone_from(&group.labels);
        workload.annotations.clone_from(&group.annotations);
        workload.containers = group
            .members
            .iter()
            .map(|member| {
                let inner = detail.members.get(&member.id);
                let pid = inner.and_then(|inner| inner.pid);
                Container {
                    name: member.name.clone(),
                    id: member.id.clone(),
                    // Only numbers that are proven: a restart may have handed them on meanwhile.
                    pid: pid.filter(|pid| Some(*pid) == entered || self.is_proven(group, *pid, &member.id)),
                    image: member.image.clone(),
                    environment: inner.map(|inner| inner.environment.clone()).unwrap_or_default(),
                }
            })
            .collect();
        workload
    }

    /// Whether the number is, at this moment, a process of the container, as far as its runtime is to be believed.
    fn is_proven(&self, group: &Group, pid: u32, id: &str) -> bool {
        match self.runtimes.owner(group) {
            None => proof::is_container(self.world, pid, id),
            Some(_) => proof::hold_container(self.world, pid, &[id], "")
                .is_ok_and(|held| self.runtimes.may_name(group, &held.process, self.world)),
        }
    }

    fn not_found(&self) -> TargetError {
        let asked = self.query.to_string();
        let tried = self.runtimes.tried.clone();
        let any = |wanted: fn(&Outcome) -> bool| tried.iter().find(|one| wanted(&one.outcome));
        let answered = any(Outcome::answered).is_some();
        let denied: Vec<&str> =
            tried.iter().filter(|one| one.outcome == Outcome::Denied).map(|one| one.endpoint.as_str()).collect();
        if !denied.is_empty() {
            let what = format!("ask the container runtime at {}", denied.join(", "));
            return TargetError::NotPermitted { what, capability: None, source: None };
        }
        if let Some(foreign) = any(|outcome| *outcome == Outcome::Foreign).filter(|_| !answered) {
            return TargetError::ForeignPids { what: foreign.endpoint.clone() };
        }
        let inferred = any(|outcome| matches!(outcome, Outcome::Inferred { .. })).is_some();
        let there = tried.iter().any(|one| !matches!(one.outcome, Outcome::Absent | Outcome::Inferred { .. }));
        let failing = |one: &Tried| match one.outcome {
            Outcome::Absent => one.explicit && there,
            Outcome::Inferred { .. } => false,
            ref outcome => !outcome.answered(),
        };
        if tried.iter().any(failing) {
            return TargetError::RuntimeFailed { asked, tried };
        }
        let groups = &self.runtimes.groups;
        // Where there is neither a runtime nor a container, this is hardly the node that was meant.
        if !answered && !(inferred && (self.world.proc_alone || !groups.is_empty())) {
            return TargetError::NoRuntime { asked, tried };
        }
        let mut near = matching::elsewhere(self.query, groups);
        if near.is_empty() {
            let (Query::Pod { name, .. } | Query::Container(name) | Query::Name(name)) = self.query else {
                return TargetError::NotFound { asked, tried, near };
            };
            let known = matching::known(self.query, groups);
            near = near::names(name, known.iter().map(String::as_str));
        }
        TargetError::NotFound { asked, tried, near }
    }

    fn fault(&self, fault: Fault, group: &Group, who: &str) -> TargetError {
        if matches!(fault, Fault::Missing) {
            let why = format!("{} does not know it any more", group.runtime);
            return TargetError::Gone { what: who.to_owned(), why };
        }
        let mut tried = self.runtimes.tried.clone();
        if let Some(one) = tried.get_mut(group.endpoint) {
            one.outcome = fault.into();
        }
        TargetError::RuntimeFailed { asked: who.to_owned(), tried }
    }

    fn ambiguous(&self, hits: &[Hit]) -> TargetError {
        let words: Vec<String> = hits.iter().map(|hit| self.command_word(*hit)).collect();
        let candidates = hits.iter().zip(&words).map(|(hit, word)| {
            let unique = words.iter().filter(|other| *other == word).count() == 1;
            let group = self.group(*hit);
            let member = hit.member.and_then(|index| group.members.get(index));
            let command_word = if unique { word.clone() } else { id_word(group, member) };
            Candidate { describe: format!("{} ({})", describe(group, member), group.runtime), command_word }
        });
        TargetError::Ambiguous { asked: self.query.to_string(), candidates: candidates.collect() }
    }

    fn command_word(&self, hit: Hit) -> String {
        let group = self.group(hit);
        let member = hit.member.and_then(|index| group.members.get(index));
        match &group.pod {
            Some(pod) => {
                let container = member.map(|member| format!(" -c {}", member.name)).unwrap_or_default();
                let namespace = if pod.namespace.is_empty() { String::new() } else { format!(" -n {}", pod.namespace) };
                format!("pod/{}{namespace}{container}", pod.name)
            }
            // `container/NAME` would also mean a pod's container of that name.
            None => id_word(group, None),
        }
    }
}

/// `RUNTIME://ID`, or the ID alone, of a container, a lone container or a pod's sandbox.
fn id_word(group: &Group, member: Option<&Member>) -> String {
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

fn describe(group: &Group, member: Option<&Member>) -> String {
    match (&group.pod, member) {
        (Some(pod), None) => format!("pod {pod}"),
        (Some(pod), Some(member)) => format!("container {} of pod {pod}", member.name),
        (None, _) => {
            let (name, id) = group.members.first().map_or(("", ""), |member| (&member.name, &member.id));
            format!("container {name} {}", short(id))
        }
    }
}

/// Processes through which the namespace may be opened, with the ID that their cgroup must not contradict.
fn attempts<'a>(group: &'a Group, member: Option<&'a Member>, detail: &Detail) -> Vec<(u32, &'a str)> {
    let pid = |member: &&'a Member| Some((detail.members.get(&member.id)?.pid?, member.id.as_str()));
    if let Some(member) = member {
        return pid(&member).into_iter().collect();
    }
    let default = group.annotations.get(DEFAULT_CONTAINER);
    let mut members: Vec<&Member> = group.members.iter().collect();
    members.sort_by_key(|member| Some(&member.name) != default);
    let sandbox = group.sandbox.as_ref().and_then(|sandbox| Some((detail.sandbox_pid?, sandbox.id.as_str())));
    members.iter().filter_map(pid).chain(sandbox).collect()
}

fn open_bound(path: &Path, who: &str) -> Result<Netns, TargetError> {
    Netns::open(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::InvalidInput => TargetError::NotNetns { path: path.to_owned() },
        _ => TargetError::of_kernel(error, format!("open {}", path.display()), who),
    })
}
