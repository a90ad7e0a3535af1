//! Which of the runtimes' pods and containers a query means, by exact names and ID prefixes. No input, no output.

use super::query::{Query, id_prefix};
use super::runtime::{CRI_DOCKERD, Group, Member, PodName, UNKNOWN};
use super::world::Choice;

/// A pod or a container that answers to the query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Hit {
    /// Index of the group.
    pub(super) group: usize,
    /// Index of the container in it, when one of them is meant.
    pub(super) member: Option<usize>,
}

/// All that the query can mean, in the order of the list; a pod before its containers.
pub(super) fn hits(query: &Query, choice: &Choice, groups: &[Group]) -> Vec<Hit> {
    let mut hits = match query {
        Query::Pod { name, namespace } => pods(name, namespace.as_deref(), choice, groups),
        Query::Container(name) => containers(name, choice, groups),
        Query::Id { runtime, prefix } => ids(prefix, runtime.as_deref(), choice, groups),
        Query::Name(name) => {
            let mut hits = pods(name, None, choice, groups);
            // `-c` names a container, so that the word before it can only be the pod.
            if choice.container.is_some() && !hits.is_empty() {
                return hits;
            }
            hits.extend(containers(name, choice, groups));
            if let Some(prefix) = id_prefix(name) {
                hits.extend(ids(&prefix, None, choice, groups));
            }
            hits
        }
        Query::Pid(_)
        | Query::Netns(_)
        | Query::Inode(_)
        | Query::Address(_)
        | Query::Host
        | Query::Stdin
        | Query::Files(_) => Vec::new(),
    };
    hits.sort_unstable();
    hits.dedup();
    // A pod and a container of it are one answer: the pod. `None` sorts before its members.
    let pods: Vec<usize> = hits.iter().filter(|hit| hit.member.is_none()).map(|hit| hit.group).collect();
    hits.retain(|hit| hit.member.is_none() || !pods.contains(&hit.group));
    hits
}

/// A dotted name is first a whole name, then split at its last dot.
fn pods(name: &str, namespace: Option<&str>, choice: &Choice, groups: &[Group]) -> Vec<Hit> {
    let named = |name: &str, namespace: Option<&str>| -> Vec<Hit> {
        let fits = |pod: &PodName| pod.name == name && namespace.is_none_or(|wanted| pod.namespace == wanted);
        let indices = groups.iter().enumerate().filter(|(_, group)| admitted(group, choice));
        indices
            .filter(|(_, group)| group.pod.as_ref().is_some_and(fits))
            .map(|(group, _)| Hit { group, member: None })
            .collect()
    };
    let whole = named(name, namespace);
    match name.rsplit_once('.') {
        Some((name, split)) if whole.is_empty() && namespace.is_none_or(|wanted| wanted == split) => {
            named(name, Some(split))
        }
        _ => whole,
    }
}

fn containers(name: &str, choice: &Choice, groups: &[Group]) -> Vec<Hit> {
    members(choice, groups, |_, member| member.name == name)
}

fn ids(prefix: &str, runtime: Option<&str>, choice: &Choice, groups: &[Group]) -> Vec<Hit> {
    let of_runtime = |group: &Group| match runtime {
        None => true,
        // Kubernetes writes `docker://` for what cri-dockerd runs.
        Some("docker") => ["docker", CRI_DOCKERD, UNKNOWN].contains(&group.runtime.as_str()),
        Some(wanted) => group.runtime == wanted || group.runtime == UNKNOWN,
    };
    let mut hits = members(choice, groups, |group, member| of_runtime(group) && member.id.starts_with(prefix));
    let sandboxes = groups.iter().enumerate().filter(|(_, group)| admitted(group, choice) && of_runtime(group));
    hits.extend(
        sandboxes
            .filter(|(_, group)| group.sandbox.as_ref().is_some_and(|sandbox| sandbox.id.starts_with(prefix)))
            .map(|(group, _)| Hit { group, member: None }),
    );
    hits
}

fn members(choice: &Choice, groups: &[Group], fits: impl Fn(&Group, &Member) -> bool) -> Vec<Hit> {
    let mut hits = Vec::new();
    for (index, group) in groups.iter().enumerate().filter(|(_, group)| admitted(group, choice)) {
        for (position, member) in group.members.iter().enumerate() {
            if fits(group, member) {
                // Outside of pods the container is the whole group.
                hits.push(Hit { group: index, member: group.pod.is_some().then_some(position) });
            }
        }
    }
    hits
}

/// `-n` leaves only pods of that namespace; a container in no pod has none.
fn admitted(group: &Group, choice: &Choice) -> bool {
    choice.namespace.as_ref().is_none_or(|wanted| group.pod.as_ref().is_some_and(|pod| pod.namespace == *wanted))
}

/// Of several hits those that have a process, if any has: a finished pod does not hide its successor.
pub(super) fn prefer_alive(hits: Vec<Hit>, groups: &[Group]) -> Vec<Hit> {
    let (alive, stopped): (Vec<Hit>, Vec<Hit>) = hits.into_iter().partition(|hit| is_alive(*hit, groups));
    if alive.is_empty() { stopped } else { alive }
}

/// Whether there is something to look at: a running container, or a sandbox that holds the namespace.
pub(super) fn is_alive(hit: Hit, groups: &[Group]) -> bool {
    let Some(group) = groups.get(hit.group) else { return false };
    match hit.member {
        Some(member) => group.members.get(member).is_some_and(|member| member.running),
        None => {
            group.members.iter().any(|member| member.running)
                || group.sandbox.as_ref().is_some_and(|sandbox| sandbox.ready)
        }
    }
}

/// Names that are there, as someone may have misspelt them: for `near`.
pub(super) fn known(query: &Query, groups: &[Group]) -> Vec<String> {
    let with_pods = !matches!(query, Query::Container(_));
    let with_containers = !matches!(query, Query::Pod { .. });
    let mut names = Vec::new();
    for group in groups {
        names.extend(group.pod.iter().filter(|_| with_pods).map(|pod| pod.name.clone()));
        names.extend(group.members.iter().filter(|_| with_containers).map(|member| member.name.clone()));
    }
    names
}

/// Pods of exactly this name in other namespaces than the one asked for, as `NAME.NAMESPACE`.
pub(super) fn elsewhere(query: &Query, groups: &[Group]) -> Vec<String> {
    let (Query::Pod { name, .. } | Query::Name(name)) = query else { return Vec::new() };
    let whole = name.as_str();
    let split = name.rsplit_once('.').map_or(whole, |(name, _)| name);
    let pods = groups.iter().filter_map(|group| group.pod.as_ref());
    pods.filter(|pod| pod.name == whole || pod.name == split)
        .map(|pod| format!("{}.{}", pod.name, pod.namespace))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::runtime::Sandbox;
    use super::*;

    fn group(pod: Option<(&str, &str)>, members: &[(&str, char, bool)]) -> Group {
        let members = members.iter().map(|(name, digit, running)| Member {
            name: (*name).to_owned(),
            id: digit.to_string().repeat(64),
            image: None,
            running: *running,
            state: String::new(),
            created: 0,
            pid: None,
        });
        Group {
            endpoint: 0,
            owner: None,
            runtime: if pod.is_some() { "containerd" } else { "docker" }.to_owned(),
            pod: pod.map(|(name, namespace)| PodName {
                name: name.to_owned(),
                namespace: namespace.to_owned(),
                uid: None,
            }),
            sandbox: pod.map(|_| Sandbox { id: "5eed".repeat(16), ready: false, created: 0, pid: None }),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            members: members.collect(),
            shares: None,
            inferred: BTreeMap::new(),
        }
    }

    fn node() -> Vec<Group> {
        vec![
            group(Some(("web", "blue")), &[("web", 'a', true), ("istio-proxy", 'b', true)]),
            group(Some(("web", "green")), &[("app", 'c', true)]),
            group(Some(("web.blue", "green")), &[("app", 'd', false)]),
            group(None, &[("web", 'e', true)]),
        ]
    }

    fn ask(text: &str, choice: &Choice) -> Vec<(usize, Option<usize>)> {
        let hits = hits(&Query::parse(text).expect(text), choice, &node());
        hits.into_iter().map(|hit| (hit.group, hit.member)).collect()
    }

    #[test]
    fn names_are_exact_and_a_dotted_one_is_whole_first() {
        let all = Choice::default();
        assert_eq!(ask("pod/web", &all), [(0, None), (1, None)]);
        assert_eq!(ask("pod/web.blue", &all), [(2, None)], "the whole name wins");
        assert_eq!(ask("pod/web.green", &all), [(1, None)]);
        assert_eq!(ask("pod/we", &all), []);
        assert_eq!(ask("container/web", &all), [(0, Some(0)), (3, None)]);
        assert_eq!(ask("web", &all), [(0, None), (1, None), (3, None)], "a pod and its container are one");
    }

    #[test]
    fn a_namespace_leaves_only_its_own_pods() {
        let blue = Choice { namespace: Some("blue".into()), container: None };
        assert_eq!(ask("pod/web", &blue), [(0, None)]);
        assert_eq!(ask("web", &blue), [(0, None)]);
        assert_eq!(ask("container/app", &blue), []);
        assert_eq!(ask("pod/web.blue", &blue), [(0, None)], "no whole name there, so it is split");
    }

    #[test]
    fn ids_are_prefixes_and_a_sandbox_is_its_pod() {
        let all = Choice::default();
        assert_eq!(ask("bbbb", &all), [(0, Some(1))]);
        assert_eq!(ask("containerd://bbbb", &all), [(0, Some(1))]);
        assert_eq!(ask("docker://bbbb", &all), []);
        assert_eq!(ask("docker://eeeee", &all), [(3, None)]);
        assert_eq!(ask("containerd://5eed5eed", &all), [(0, None), (1, None), (2, None)]);
    }

    #[test]
    fn a_stopped_one_does_not_hide_a_living_one() {
        let groups = node();
        let both = vec![Hit { group: 1, member: None }, Hit { group: 2, member: None }];
        assert_eq!(prefer_alive(both, &groups), [Hit { group: 1, member: None }]);
        let stopped = vec![Hit { group: 2, member: None }];
        assert_eq!(prefer_alive(stopped.clone(), &groups), stopped);
    }

    #[test]
    fn the_same_name_elsewhere_is_offered() {
        let groups = node();
        assert_eq!(elsewhere(&Query::Name("web.red".into()), &groups), ["web.blue", "web.green"]);
    }
}
