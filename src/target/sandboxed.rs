//! What holds a pod together: its sandbox, and which of its containers have to end before the others begin.

use std::path::Path;

use super::opening::sandbox_claim;
use super::proof::{self, Node};
use super::runtime::{Detail, Group, Member};
use super::world::World;
use crate::model::{NetnsId, Workload};
use crate::sys::netns::Netns;

/// Containers of meshes that run before all others and end.
const INITIAL: [&str; 9] = [
    "consul-connect-inject-init",
    "fsm-init",
    "istio-init",
    "istio-validation",
    "kuma-init",
    "kuma-validation",
    "linkerd-init",
    "linkerd-network-validator",
    "proxyinit",
];

/// Containers of meshes that stay, even where Kubernetes counts them among those that begin first.
const STAYING: [&str; 5] = ["consul-dataplane", "envoy-sidecar", "istio-proxy", "kuma-sidecar", "linkerd-proxy"];

/// Fills in what the runtime tells of the sandbox: its process only where that is proven to be its own.
pub(super) fn tell(workload: &mut Workload, group: &Group, detail: &Detail, node: Node, world: &World) {
    workload.runtime_handler.clone_from(&detail.handler);
    workload.addresses.clone_from(&detail.addresses);
    workload.created = detail.created.filter(|_| group.pod.is_some()).map(|created| created.as_secs());
    workload.user_namespace = detail.user_namespace;
    let claim = sandbox_claim(group, detail);
    let held = claim.and_then(|claim| proof::hold_container(world, claim, "").ok());
    workload.sandbox_pid = held.as_ref().map(|held| held.process.pid());
    // The process of a pod in the node's network has that one, which nobody made for it.
    let bound = detail.netns_path.as_deref().filter(|_| group.owner.is_none()).and_then(|path| bound(path, world));
    let own = held.map(|held| held.netns).filter(|netns| !node.is(netns));
    workload.sandbox_netns = bound.or_else(|| Some(proof::id(&own?)));
}

/// The namespace that is bound to that file of the node; below `/proc` the path would be a process's number, and no proof.
fn bound(path: &Path, world: &World) -> Option<NetnsId> {
    let below = path.strip_prefix("/").ok().filter(|_| !path.starts_with("/proc"))?;
    Netns::open(&world.host_root.join(below)).ok().map(|netns| proof::id(&netns))
}

/// Whether a container of a pod runs and ends before the others begin: by its name where a mesh brought it along, else by the times
/// of all. Kubernetes does not tell runtimes. `None` where that shows nothing.
pub(super) fn is_initial(group: &Group, member: &Member, detail: &Detail) -> Option<bool> {
    group.pod.as_ref()?;
    let known = |names: &[&str]| names.contains(&member.name.as_str());
    match (known(&INITIAL), known(&STAYING)) {
        (true, _) => return Some(true),
        (_, true) => return Some(false),
        _ => {}
    }
    let own = detail.members.get(&member.id)?;
    let (began, ended) = (own.started?, own.finished?);
    if own.told.exit_code != Some(0) {
        return None;
    }
    let mut followed = false;
    for other in group.members.iter().filter(|other| other.id != member.id) {
        let told = detail.members.get(&other.id)?;
        let before = told.finished.is_some_and(|finished| finished <= began);
        // One that was started again had begun before, at a time that nothing tells.
        let after = told.told.restarts == Some(0) && told.started? >= ended;
        if !before && !after {
            return None;
        }
        followed |= after;
    }
    followed.then_some(true)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::super::runtime::{Inner, PodName};
    use super::*;
    use crate::model::Container;

    /// A pod of containers: name, started, ended, started again.
    fn pod(members: &[(&str, u64, Option<u64>, u32)]) -> (Group, Detail) {
        let mut detail = Detail::default();
        let mut all = Vec::new();
        for (name, started, finished, restarts) in members {
            let told = Container { exit_code: finished.map(|_| 0), restarts: Some(*restarts), ..Container::default() };
            let (started, finished) = (Some(Duration::from_millis(*started)), finished.map(Duration::from_millis));
            detail.members.insert((*name).to_owned(), Inner { pid: None, started, finished, told });
            all.push(Member {
                name: (*name).to_owned(),
                id: (*name).to_owned(),
                image: None,
                running: finished.is_none(),
                state: String::new(),
                created: 0,
                pid: None,
            });
        }
        let name = PodName { name: "web".to_owned(), namespace: "blue".to_owned(), uid: None };
        let group = Group {
            endpoint: 0,
            owner: None,
            runtime: "containerd".to_owned(),
            pod: Some(name),
            sandbox: None,
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            members: all,
            shares: None,
            inferred: BTreeMap::new(),
        };
        (group, detail)
    }

    fn initial(members: &[(&str, u64, Option<u64>, u32)]) -> Vec<Option<bool>> {
        let (group, detail) = pod(members);
        group.members.iter().map(|member| is_initial(&group, member, &detail)).collect()
    }

    #[test]
    fn times_tell_who_had_to_end_first() {
        let first = ("migrate", 100, Some(200), 0);
        assert_eq!(
            initial(&[first, ("wait", 200, Some(300), 0), ("app", 300, None, 0)]),
            [Some(true), Some(true), None]
        );
        assert_eq!(initial(&[first, ("app", 199, None, 0)]), [None, None], "they ran at once");
        assert_eq!(initial(&[first, ("app", 900, None, 1)]), [None, None], "when it began first is not known");
        assert_eq!(initial(&[first]), [None], "nobody followed");
    }

    #[test]
    fn names_of_meshes_tell_more() {
        assert_eq!(initial(&[("istio-init", 100, None, 0), ("app", 90, None, 0)]), [Some(true), None]);
        assert_eq!(initial(&[("istio-proxy", 100, Some(200), 0), ("app", 300, None, 0)]), [Some(false), None]);
    }
}
