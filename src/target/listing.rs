//! Every workload of the node: what the runtimes told, each with its processes, opened one by one by whoever wants to look.
//!
//! The runtimes are asked for their lists only. Which process belongs to which container stands in the processes' cgroups, so
//! that one walk over `/proc` replaces a question for each container.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;

use super::error::TargetError;
use super::namespaces::{self, Holder, Survey};
use super::proof::{self, Node};
use super::runtime::{Detail, Group, Inner, Runtimes, first_processes};
use super::selector::Selector;
use super::world::{Live, NodeNamespace, Outcome, Tried, World};
use super::{local, opening};
use crate::model::{Container, Kind, Workload};

/// Which workloads are wanted.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only pods of this Kubernetes namespace.
    pub namespace: Option<String>,
    /// Only workloads with such labels.
    pub selector: Option<Selector>,
    /// Those that do not run, and network namespaces that belong to no container, too.
    pub all: bool,
}

/// The workloads of the node.
#[derive(Debug)]
pub struct Listing {
    world: World,
    node: Node,
    entries: Vec<Entry>,
    /// What came of each endpoint.
    pub tried: Vec<Tried>,
    /// How many more there are that do not run.
    pub stopped: usize,
    /// How many are left out because nothing tells their namespace or labels, which were asked for.
    pub untold: usize,
    /// The Kubernetes namespaces of the node's pods, in order.
    pub namespaces: BTreeSet<String>,
    /// Processes that may not be looked at; they may hold namespaces that are not in the list.
    pub denied: usize,
}

/// One workload of a list.
#[derive(Debug)]
struct Entry {
    workload: Workload,
    way: Way,
}

/// How it is opened.
#[derive(Debug)]
enum Way {
    Group(Box<Group>, Detail),
    Stopped(String),
    Held((u64, u64), Vec<Holder>),
}

impl Listing {
    /// Asks the runtimes, or `/proc` where none answers.
    ///
    /// # Errors
    /// The asynchronous machinery cannot be built, or `/proc` is that of another PID namespace.
    pub fn take(filter: &Filter, world: &World) -> Result<Self, TargetError> {
        proof::same_numbers(&world.proc_root)?;
        // The walk over the processes takes as long as the runtimes' answers: both at once.
        let (asked, first) = thread::scope(|scope| {
            let first = scope.spawn(|| first_processes(&world.proc_root));
            (Runtimes::ask(world), first.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        });
        let runtimes =
            asked.map_err(|source| TargetError::Failed { what: "ask the container runtimes".to_owned(), source })?;
        let mut listing = Self {
            world: world.clone(),
            node: Node::read(world),
            entries: Vec::new(),
            tried: runtimes.tried.clone(),
            stopped: 0,
            untold: 0,
            namespaces: namespaces_of(&runtimes.groups),
            denied: 0,
        };
        // Those that were chosen are not there, and nothing stood in for them.
        if runtimes.tried.iter().all(|tried| tried.outcome == Outcome::Absent) {
            return Err(TargetError::NoRuntime { asked: "list".to_owned(), tried: runtimes.tried });
        }
        let details = details(&runtimes, &first, |group| filter.admits(group) == Some(true));
        let mut known = BTreeSet::new();
        for (group, detail) in runtimes.groups.into_iter().zip(details) {
            known.extend(pids(&detail));
            match filter.admits(&group) {
                Some(true) => listing.add(group, detail, filter.all),
                Some(false) => {}
                None => listing.untold += 1,
            }
        }
        if filter.all && filter.namespace.is_none() && filter.selector.is_none() {
            listing.add_namespaces(&known)?;
        }
        listing.entries.sort_by(|one, other| order(&one.workload).cmp(&order(&other.workload)));
        Ok(listing)
    }

    /// Asks the runtimes alone, and says what came of each endpoint.
    ///
    /// # Errors
    /// The asynchronous machinery cannot be built.
    pub fn runtimes(world: &World) -> Result<Vec<Tried>, TargetError> {
        let asked = Runtimes::ask(world);
        asked
            .map(|runtimes| runtimes.tried)
            .map_err(|source| TargetError::Failed { what: "ask the container runtimes".to_owned(), source })
    }

    /// With what it was told which workloads share the node's own network namespace.
    #[must_use]
    pub fn node_namespace(&self) -> NodeNamespace {
        self.node.known_by
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What is known of one of them without looking at it; `None` behind the last.
    #[must_use]
    pub fn workload(&self, index: usize) -> Option<&Workload> {
        Some(&self.entries.get(index)?.workload)
    }

    /// Why there is nothing to look at, in the runtime's word for its state; `None` when there is something.
    #[must_use]
    pub fn stopped(&self, index: usize) -> Option<&str> {
        match &self.entries.get(index)?.way {
            Way::Stopped(state) => Some(state),
            Way::Group(..) | Way::Held(..) => None,
        }
    }

    /// What holds a namespace that belongs to no container, in words.
    #[must_use]
    pub fn holders(&self, index: usize) -> Vec<String> {
        match self.entries.get(index).map(|entry| &entry.way) {
            Some(Way::Held(_, holders)) => holders.iter().map(|holder| holder.words(&self.world)).collect(),
            _ => Vec::new(),
        }
    }

    /// Opens one of them, with the proof that it is still the same.
    ///
    /// # Errors
    /// It is gone or may not be looked at, see [`TargetError`].
    pub fn open(&self, index: usize) -> Result<Live, TargetError> {
        let Some(entry) = self.entries.get(index) else {
            return Err(TargetError::NotFound { asked: index.to_string(), tried: Vec::new(), near: Vec::new() });
        };
        let workload = &entry.workload;
        match &entry.way {
            Way::Group(group, detail) => opening::open(group, None, detail, self.node, &self.world),
            Way::Stopped(state) => {
                let what = format!("{} {}", workload.kind.word(), workload.name);
                Err(TargetError::NotRunning { what, state: state.clone(), pod: None })
            }
            Way::Held(identity, holders) => {
                let what = format!("{} {}", workload.kind.word(), workload.name);
                let (netns, process) = namespaces::open(&self.world, *identity, holders)
                    .map_err(|error| TargetError::of_kernel(error, format!("open {what}"), &what))?;
                Ok(local::live(workload.clone(), netns, process, self.node))
            }
        }
    }

    fn add(&mut self, group: Group, detail: Detail, all: bool) {
        let mut workload = opening::told(&group);
        workload.containers = described(&group, &detail);
        let ready = group.sandbox.as_ref().is_some_and(|sandbox| sandbox.ready);
        let way = if ready || group.members.iter().any(|member| member.running) {
            Way::Group(Box::new(group), detail)
        } else {
            self.stopped += 1;
            Way::Stopped(group.members.last().map_or("not ready", |member| member.state.as_str()).to_owned())
        };
        if all || matches!(way, Way::Group(..)) {
            self.entries.push(Entry { workload, way });
        }
    }

    /// The namespaces in which no known container's process lives.
    fn add_namespaces(&mut self, known: &BTreeSet<u32>) -> Result<(), TargetError> {
        let survey = Survey::take(&self.world).map_err(|source| TargetError::Failed {
            what: format!("read {}", self.world.proc_root.display()),
            source,
        })?;
        self.denied = survey.denied;
        for (identity, holders) in survey.held {
            let of_container = |holder: &Holder| matches!(holder, Holder::Process(pid) if known.contains(pid));
            if holders.iter().any(of_container) && !self.node.has(identity) {
                continue;
            }
            let workload = if self.node.has(identity) {
                Workload::named(Kind::Host, self.world.node.clone())
            } else {
                Workload::named(Kind::Netns, name(identity.1, &holders))
            };
            self.entries.push(Entry { workload, way: Way::Held(identity, holders) });
        }
        Ok(())
    }
}

impl Filter {
    /// `None` where its namespace or its labels would have to be known and are not.
    fn admits(&self, group: &Group) -> Option<bool> {
        match (&self.namespace, &group.pod) {
            (Some(_), None) => return Some(false),
            // A pod that nothing names.
            (Some(_), Some(pod)) if pod.namespace.is_empty() => return None,
            (Some(wanted), Some(pod)) if pod.namespace != *wanted => return Some(false),
            _ => {}
        }
        let Some(selector) = &self.selector else { return Some(true) };
        let unknown = group.labels.is_empty() && !group.inferred.is_empty();
        (!unknown).then(|| selector.admits(&group.labels))
    }
}

/// Pods by namespace and name, as kubectl sorts them; then containers, then namespaces, the node last.
fn order(workload: &Workload) -> (u8, &Option<String>, &str) {
    let kind = match workload.kind {
        Kind::Pod => 0,
        Kind::Container => 1,
        Kind::Process | Kind::Netns => 2,
        Kind::Host | Kind::File => 3,
    };
    (kind, &workload.namespace, &workload.name)
}

/// Its name in `ip netns`, else its inode.
fn name(inode: u64, holders: &[Holder]) -> String {
    let named = holders.iter().find_map(|holder| match holder {
        Holder::Name(path) => path.file_name(),
        _ => None,
    });
    named.map_or_else(|| inode.to_string(), |name| name.to_string_lossy().into_owned())
}

/// The processes of every group: by cgroups, and by asking the runtime only for groups of which those tell nothing.
/// Those of groups that are not wanted only as far as cgroups tell.
pub(super) fn details(
    runtimes: &Runtimes,
    first: &BTreeMap<String, u32>,
    wanted: impl Fn(&Group) -> bool,
) -> Vec<Detail> {
    let by_cgroup = |group: &Group| {
        let pid = |id: &String, listed: Option<u32>| listed.or_else(|| first.get(id).copied());
        let members = group.members.iter().filter(|member| member.running).map(|member| {
            let inner = Inner { pid: pid(&member.id, member.pid), ..runtimes.recorded(&member.id) };
            (member.id.clone(), inner)
        });
        Detail {
            members: members.collect(),
            sandbox_pid: group.sandbox.as_ref().and_then(|sandbox| pid(&sandbox.id, sandbox.pid)),
            ..Detail::default()
        }
    };
    let mut details: Vec<Detail> = runtimes.groups.iter().map(by_cgroup).collect();
    let runs = |group: &Group| {
        group.members.iter().any(|member| member.running) || group.sandbox.as_ref().is_some_and(|sandbox| sandbox.ready)
    };
    let blank: Vec<usize> = (0..details.len())
        .filter(|index| {
            pids(&details[*index]).next().is_none()
                && runs(&runtimes.groups[*index])
                && wanted(&runtimes.groups[*index])
        })
        .collect();
    let asked: Vec<&Group> = blank.iter().map(|index| &runtimes.groups[*index]).collect();
    for (index, answer) in blank.iter().zip(runtimes.details(&asked)) {
        // What the runtime does not tell stays unknown; opening it will say so.
        if let Ok(detail) = answer {
            details[*index] = detail;
        }
    }
    details
}

pub(super) fn pids(detail: &Detail) -> impl Iterator<Item = u32> + '_ {
    detail.members.values().filter_map(|inner| inner.pid).chain(detail.sandbox_pid)
}

/// Containers as they were told of; their processes are not proven yet.
fn described(group: &Group, detail: &Detail) -> Vec<Container> {
    let containers = group.members.iter().map(|member| Container {
        name: member.name.clone(),
        id: member.id.clone(),
        pid: detail.members.get(&member.id).and_then(|inner| inner.pid),
        state: (!member.running).then(|| member.state.clone()),
        image: member.image.clone(),
        environment: BTreeMap::new(),
        ..Container::default()
    });
    containers.collect()
}

fn namespaces_of(groups: &[Group]) -> BTreeSet<String> {
    let named = groups.iter().filter_map(|group| group.pod.as_ref()).map(|pod| pod.namespace.clone());
    named.filter(|namespace| !namespace.is_empty()).collect()
}
