//! Pods and containers: the runtimes are asked, the hits opened, and what shares a network namespace is one answer.

use super::error::{Candidate, TargetError};
use super::matching::{self, Hit};
use super::near;
use super::opening::{self, describe, id_word};
use super::proof::Node;
use super::query::Query;
use super::runtime::{Fault, Group, Runtimes};
use super::world::{Choice, Live, Outcome, Tried, World};

/// More hits than this are not opened one by one to see whether they share a namespace.
const MOST_OPENED: usize = 16;

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
    // One that lives may be with a runtime that did not answer.
    let alive = hits.iter().any(|hit| matching::is_alive(*hit, &search.runtimes.groups));
    if !alive && search.runtimes.tried.iter().any(|one| search.is_failing(one)) {
        return Err(TargetError::RuntimeFailed { asked: query.to_string(), tried: search.runtimes.tried });
    }
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
        if !matching::is_alive(hit, &self.runtimes.groups) {
            return Err(opening::not_running(group, member));
        }
        let detail = self.runtimes.detail(group).map_err(|fault| self.fault(fault, group, &describe(group, member)))?;
        let mut live = opening::open(group, member, &detail, Node::read(self.world), self.world)?;
        self.add_sharers(group, &mut live);
        live.tried.clone_from(&self.runtimes.tried);
        Ok(live)
    }

    /// Containers that were put into this one's namespace (`--network container:NAME`) are part of it.
    fn add_sharers(&self, group: &Group, live: &mut Live) {
        let groups = &self.runtimes.groups;
        let root = opening::shared(group, groups);
        let others = groups.iter().filter(|other| {
            !std::ptr::eq(*other, group) && other.endpoint == group.endpoint && opening::shared(other, groups) == root
        });
        for other in others.filter(|_| root.is_some()) {
            // One that went away meanwhile is not in it any more.
            if let Ok(detail) = self.runtimes.detail(other) {
                let sharing = opening::containers(other, &detail, None, self.world);
                let netns = live.netns.identity();
                let inside = |pid: u32| opening::is_in(self.world, pid, netns);
                live.workload.containers.extend(sharing.into_iter().filter(|one| one.pid.is_some_and(inside)));
            }
        }
    }

    /// Whether an endpoint should have answered and did not, so that what is looked for may be there.
    fn is_failing(&self, one: &Tried) -> bool {
        let is_there = |one: &Tried| !matches!(one.outcome, Outcome::Absent | Outcome::Inferred { .. });
        one.counts_as_failure() && (one.outcome != Outcome::Absent || self.runtimes.tried.iter().any(is_there))
    }

    fn not_found(&self) -> TargetError {
        let asked = self.query.to_string();
        let tried = self.runtimes.tried.clone();
        let failed = || tried.iter().filter(|one| one.counts_as_failure());
        let any = |wanted: fn(&Outcome) -> bool| tried.iter().find(|one| wanted(&one.outcome));
        let answered = any(Outcome::answered).is_some();
        let denied: Vec<&str> =
            failed().filter(|one| one.outcome == Outcome::Denied).map(|one| one.endpoint.as_str()).collect();
        if !denied.is_empty() {
            let what = format!("ask the container runtime at {}", denied.join(", "));
            return TargetError::NotPermitted { what, capability: None, source: None };
        }
        if let Some(foreign) = failed().find(|one| one.outcome == Outcome::Foreign).filter(|_| !answered) {
            return TargetError::ForeignPids { what: foreign.endpoint.clone() };
        }
        let inferred = any(|outcome| matches!(outcome, Outcome::Inferred { .. })).is_some();
        if tried.iter().any(|one| self.is_failing(one)) {
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
        let mut candidates: Vec<Candidate> = candidates.collect();
        candidates.sort_by(|one, other| one.describe.cmp(&other.describe));
        TargetError::Ambiguous { asked: self.query.to_string(), candidates }
    }

    fn command_word(&self, hit: Hit) -> String {
        let group = self.group(hit);
        let member = hit.member.and_then(|index| group.members.get(index));
        match &group.pod {
            Some(pod) => {
                let container = member.map(|member| format!(" -c {}", member.name)).unwrap_or_default();
                let word = opening::pod_word(pod);
                // A pod of that whole name comes first.
                let whole = word.strip_prefix("pod/").filter(|_| !pod.namespace.is_empty());
                let taken = |group: &Group| group.pod.as_ref().is_some_and(|other| Some(other.name.as_str()) == whole);
                if self.runtimes.groups.iter().any(taken) {
                    return format!("pod/{} -n {}{container}", pod.name, pod.namespace);
                }
                format!("{word}{container}")
            }
            // `container/NAME` would also mean a pod's container of that name.
            None => id_word(group, None),
        }
    }
}
