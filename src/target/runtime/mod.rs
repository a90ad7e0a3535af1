//! The container runtimes, asked all at once. The only asynchronous code of the house, and none of it leaves this folder.
//!
//! One current-thread runtime is built for a search and dropped with it. Every endpoint has one deadline for connecting and
//! listing, and one more when it is asked for details: one that hangs costs that and no more, and the others still answer.
//! An absent socket costs a `stat`; when all are absent nothing is built at all.

mod cri;
mod docker;
mod inspected;
mod message;
mod peer;
mod ports;
mod proc;
mod spec;
mod transport;

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::endpoint::{RuntimeEndpoint, RuntimeKind};
use super::proof::Claim;
use super::world::{Outcome, Tried, World};
use crate::model::Container;
pub(super) use proc::{UNKNOWN, first_processes};

/// How many groups a runtime is asked about at once.
const AT_ONCE: usize = 64;

/// What cri-dockerd is called here; to the kubelet it gives the name of what it drives, `docker`.
pub(super) const CRI_DOCKERD: &str = "cri-dockerd";

/// Containers that share a network namespace by their runtime's own account: a pod, or one container that is in none.
#[derive(Debug, Clone)]
pub(super) struct Group {
    /// Index of the endpoint that told of it.
    pub(super) endpoint: usize,
    /// The user whose own that runtime is; `None` for the machine's.
    pub(super) owner: Option<u32>,
    /// What that runtime calls itself.
    pub(super) runtime: String,
    /// Kubernetes' name for it; `None` for a container that belongs to no pod.
    pub(super) pod: Option<PodName>,
    pub(super) sandbox: Option<Sandbox>,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) annotations: BTreeMap<String, String>,
    /// By age, each name once: the one that runs, else the newest.
    pub(super) members: Vec<Member>,
    /// The container in whose network namespace it was put, by its ID (`--network container:NAME`).
    pub(super) shares: Option<String>,
    /// Facts that no runtime told, and what they were taken from: `name` from `kubelet's log folder`.
    pub(super) inferred: BTreeMap<String, String>,
}

impl Group {
    /// Whether no runtime told of it: there is always something then that was taken from elsewhere.
    pub(super) fn is_inferred(&self) -> bool {
        !self.inferred.is_empty()
    }

    /// Whether it is one of its containers, and has no process.
    fn has_ended(&self, id: &str) -> bool {
        self.members.iter().any(|member| member.id == id && !member.running)
    }
}

/// A pod's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PodName {
    pub(super) name: String,
    pub(super) namespace: String,
    /// Kubernetes' UID of it.
    pub(super) uid: Option<String>,
}

impl fmt::Display for PodName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without a runtime a pod's UID may be all that is known of it.
        if self.namespace.is_empty() { f.write_str(&self.name) } else { write!(f, "{}/{}", self.namespace, self.name) }
    }
}

/// What holds a pod's namespaces together.
#[derive(Debug, Clone)]
pub(super) struct Sandbox {
    pub(super) id: String,
    pub(super) ready: bool,
    pub(super) created: i64,
    /// Its process, where the listing alone tells it.
    pub(super) pid: Option<u32>,
}

/// One container.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub(super) name: String,
    pub(super) id: String,
    pub(super) image: Option<String>,
    /// It has a process (paused ones too).
    pub(super) running: bool,
    /// The runtime's word for its state.
    pub(super) state: String,
    pub(super) created: i64,
    /// Its first process, where the listing alone tells it.
    pub(super) pid: Option<u32>,
}

/// What a runtime tells of a group when asked for it alone.
#[derive(Debug, Default)]
pub(super) struct Detail {
    /// By container ID.
    pub(super) members: BTreeMap<String, Inner>,
    pub(super) sandbox_pid: Option<u32>,
    /// Where the sandbox's network namespace is bound.
    pub(super) netns_path: Option<PathBuf>,
    /// When the sandbox was made, after 1970-01-01 UTC.
    pub(super) created: Option<Duration>,
    /// The runtime's word for what runs the sandbox; `None` for its own choice.
    pub(super) handler: Option<String>,
    /// Addresses that it gave to the sandbox.
    pub(super) addresses: Vec<IpAddr>,
    /// Whether the sandbox has a user namespace of its own.
    pub(super) user_namespace: Option<bool>,
}

/// What a runtime tells of one container.
#[derive(Debug, Clone, Default)]
pub(super) struct Inner {
    pub(super) pid: Option<u32>,
    /// When it saw the process started, after 1970-01-01 UTC.
    pub(super) started: Option<Duration>,
    /// When it saw it end, likewise.
    pub(super) finished: Option<Duration>,
    /// All else that it tells of the container, without its name, ID, process, state and image; environment and arguments are
    /// already reduced to what may be captured.
    pub(super) told: Container,
}

impl Inner {
    /// What the runtime claims of the container's process.
    pub(super) fn claim<'a>(&self, id: &'a str, group: &'a Group) -> Option<Claim<'a>> {
        let by_cgroup = group.is_inferred();
        Some(Claim { pid: self.pid?, id, started: self.started, by: &group.runtime, owner: group.owner, by_cgroup })
    }
}

/// Why an endpoint did not answer.
#[derive(Debug)]
pub(super) enum Fault {
    Denied,
    TimedOut,
    TooOld,
    Foreign,
    /// Nobody listens on the socket.
    Deaf,
    /// It answered: what was asked for is not there (any more).
    Missing,
    Failed(String),
}

impl From<Fault> for Outcome {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Denied => Self::Denied,
            Fault::TimedOut => Self::TimedOut,
            Fault::TooOld => Self::TooOld,
            Fault::Foreign => Self::Foreign,
            Fault::Deaf => Self::Failed("nobody listens there".to_owned()),
            Fault::Missing => Self::Failed("not there any more".to_owned()),
            Fault::Failed(words) => Self::Failed(words),
        }
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::PermissionDenied => Self::Denied,
            io::ErrorKind::TimedOut => Self::TimedOut,
            io::ErrorKind::ConnectionRefused => Self::Deaf,
            _ => Self::Failed(error.to_string()),
        }
    }
}

#[derive(Clone)]
enum Client {
    Docker(docker::Client),
    Cri(cri::Client),
}

/// What one endpoint's listing gave.
struct Listing {
    client: Client,
    runtime: String,
    groups: Vec<Group>,
}

/// The runtimes that answered, ready to be asked for details.
pub(super) struct Runtimes {
    machinery: Option<tokio::runtime::Runtime>,
    clients: BTreeMap<usize, Client>,
    timeout: Duration,
    /// What they listed.
    pub(super) groups: Vec<Group>,
    /// What came of each endpoint, and of `/proc` where none of them answered.
    pub(super) tried: Vec<Tried>,
    /// What `/proc` and records on disk tell of containers, by ID; no runtime is asked for them.
    recorded: BTreeMap<String, Inner>,
}

impl Runtimes {
    /// Asks every endpoint for all that it has.
    ///
    /// # Errors
    /// Only when the asynchronous machinery cannot be built; endpoints' failures are in `tried`.
    pub(super) fn ask(world: &World) -> io::Result<Self> {
        let mut all = Self {
            machinery: None,
            clients: BTreeMap::new(),
            timeout: world.timeout,
            groups: Vec::new(),
            tried: Vec::new(),
            recorded: BTreeMap::new(),
        };
        let present = if world.proc_alone { Vec::new() } else { all.look(&world.endpoints) };
        if !present.is_empty() {
            let machinery = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
            let answers = machinery.block_on(list_all(present, &world.proc_root, world.timeout));
            for (index, asked) in answers {
                all.take(index, asked);
            }
            drop_repeated(&mut all.groups);
            all.machinery = Some(machinery);
        }
        // A user's own runtime knows that user's containers only, and must not hide the others.
        let mut answered = all.tried.iter().filter(|tried| tried.outcome.answered());
        let theirs = answered.clone().count();
        if world.proc_alone || world.proc_instead && answered.all(|tried| tried.owner.is_some()) {
            let proc::Answer { mut groups, recorded, tried } = proc::list(world);
            let told: Vec<String> = all.groups.iter().flat_map(ids).collect();
            groups.retain(|group| !ids(group).iter().any(|id| told.contains(id)));
            groups.iter_mut().for_each(|group| group.endpoint = all.tried.len());
            if theirs == 0 || !groups.is_empty() {
                all.tried.push(tried);
            }
            all.groups.extend(groups);
            all.recorded = recorded;
        }
        Ok(all)
    }

    /// Asks a group's own runtime for its processes.
    ///
    /// # Errors
    /// It is gone, or the runtime failed.
    pub(super) fn detail(&self, group: &Group) -> Result<Detail, Fault> {
        self.details(&[group]).pop().unwrap_or(Err(Fault::Missing))
    }

    /// The same for several at once, in their order.
    pub(super) fn details(&self, groups: &[&Group]) -> Vec<Result<Detail, Fault>> {
        // Each takes a connection of its own, and a process has a thousand descriptors.
        groups.chunks(AT_ONCE).flat_map(|groups| self.details_at_once(groups)).collect()
    }

    fn details_at_once(&self, groups: &[&Group]) -> Vec<Result<Detail, Fault>> {
        let Some(machinery) = &self.machinery else {
            return groups.iter().map(|group| Ok(self.listed(group))).collect();
        };
        let timeout = self.timeout;
        let tasks = groups.iter().enumerate().map(|(index, group)| {
            let (client, group) = (self.clients.get(&group.endpoint).cloned(), (*group).clone());
            let listed = self.listed(&group);
            async move {
                let answer = async {
                    match client {
                        Some(Client::Docker(client)) => client.detail(&group).await,
                        Some(Client::Cri(client)) => client.detail(&group).await,
                        None => Ok(listed),
                    }
                };
                (index, tokio::time::timeout(timeout, answer).await.unwrap_or(Err(Fault::TimedOut)))
            }
        });
        let mut answers = machinery.block_on(together(tasks));
        answers.sort_by_key(|(index, _)| *index);
        answers.into_iter().map(|(_, answer)| answer).collect()
    }

    /// What is known of a container without asking a runtime for it.
    pub(super) fn recorded(&self, id: &str) -> Inner {
        self.recorded.get(id).cloned().unwrap_or_default()
    }

    /// What the listing alone told of a group's processes.
    fn listed(&self, group: &Group) -> Detail {
        let members = group
            .members
            .iter()
            .map(|member| (member.id.clone(), Inner { pid: member.pid, ..self.recorded(&member.id) }));
        Detail {
            members: members.collect(),
            sandbox_pid: group.sandbox.as_ref().and_then(|sandbox| sandbox.pid),
            ..Detail::default()
        }
    }

    /// Notes the endpoints whose sockets are absent and returns the others, each socket once.
    fn look(&mut self, endpoints: &[RuntimeEndpoint]) -> Vec<(usize, RuntimeEndpoint)> {
        let mut present = Vec::new();
        let mut seen = Vec::new();
        for endpoint in endpoints {
            let found = std::fs::metadata(&endpoint.path);
            let owner = peer::owner(&endpoint.path, found.as_ref().ok());
            let outcome = match found {
                Ok(found) if seen.contains(&(found.dev(), found.ino())) => continue,
                Ok(found) if found.file_type().is_socket() => {
                    seen.push((found.dev(), found.ino()));
                    present.push((self.tried.len(), endpoint.clone()));
                    Outcome::TimedOut
                }
                Ok(_) if is_litter(endpoint.explicit, owner) => Outcome::Absent,
                Ok(_) => Outcome::Failed("not a socket".to_owned()),
                Err(error) => match error.kind() {
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Outcome::Absent,
                    _ => Fault::from(error).into(),
                },
            };
            let path = endpoint.path.display().to_string();
            self.tried.push(Tried { endpoint: path, outcome, milliseconds: 0, explicit: endpoint.explicit, owner });
        }
        present
    }

    fn take(&mut self, index: usize, asked: Asked) {
        let Asked { milliseconds, listener, answer } = asked;
        let Some(tried) = self.tried.get_mut(index) else { return };
        tried.milliseconds = milliseconds;
        tried.owner = listener.or(tried.owner);
        tried.outcome = match answer {
            Err(Fault::Deaf) if is_litter(tried.explicit, tried.owner) => Outcome::Absent,
            Ok(listing) => {
                let pods = listing.groups.iter().filter(|group| group.pod.is_some()).count();
                let containers = listing.groups.iter().map(|group| group.members.len()).sum();
                self.clients.insert(index, listing.client);
                self.groups.extend(listing.groups);
                Outcome::Answered { runtime: listing.runtime, pods, containers }
            }
            Err(fault) => fault.into(),
        };
    }
}

/// Whether what is no runtime is only what some user left in a default place: nothing of the node's is wrong then.
fn is_litter(explicit: bool, owner: Option<u32>) -> bool {
    !explicit && owner.is_some()
}

/// What came of one endpoint.
struct Asked {
    milliseconds: u64,
    /// The user who listens, unless that is root or was not told.
    listener: Option<u32>,
    answer: Result<Listing, Fault>,
}

async fn list_all(present: Vec<(usize, RuntimeEndpoint)>, proc_root: &Path, timeout: Duration) -> Vec<(usize, Asked)> {
    let tasks = present.into_iter().map(|(index, endpoint)| {
        let proc_root = proc_root.to_owned();
        async move {
            let begun = Instant::now();
            let listener = OnceLock::new();
            let answer = tokio::time::timeout(timeout, list(index, endpoint, &proc_root, timeout, &listener)).await;
            let milliseconds = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
            let answer = answer.unwrap_or(Err(Fault::TimedOut));
            (index, Asked { milliseconds, listener: listener.into_inner(), answer })
        }
    });
    let mut answers = together(tasks).await;
    answers.sort_by_key(|(index, _)| *index);
    answers
}

/// Asks one endpoint. A strange user who listens is told as soon as he is known, whatever comes then.
async fn list(
    index: usize,
    endpoint: RuntimeEndpoint,
    proc_root: &Path,
    timeout: Duration,
    listener: &OnceLock<u32>,
) -> Result<Listing, Fault> {
    let owner = peer::check(&endpoint.path, proc_root, listener).await?;
    let (client, runtime, mut groups) = match endpoint.kind {
        RuntimeKind::Docker | RuntimeKind::Podman => {
            let client = docker::Client::new(&endpoint, listener.get().copied(), timeout)?;
            let (runtime, groups) = client.list().await?;
            (Client::Docker(client), runtime, groups)
        }
        RuntimeKind::Cri => {
            let client = cri::Client::connect(&endpoint.path, timeout).await?;
            let (runtime, groups) = client.list().await?;
            (Client::Cri(client), runtime, groups)
        }
    };
    for group in &mut groups {
        group.endpoint = index;
        group.owner = owner;
        group.members = newest_of_each_name(std::mem::take(&mut group.members));
    }
    Ok(Listing { client, runtime, groups })
}

/// What a server says of its failure is shown, but not at any length.
fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().chars().take(200).collect()
}

/// Runs all at once and gathers what they return, in the order in which they end.
async fn together<T: Send + 'static>(tasks: impl Iterator<Item = impl Future<Output = T> + Send + 'static>) -> Vec<T> {
    let mut set = JoinSet::new();
    for task in tasks {
        set.spawn(task);
    }
    let mut results = Vec::new();
    while let Some(joined) = set.join_next().await {
        // A task that panicked has no result; it ends the whole program where panics abort.
        results.extend(joined.ok());
    }
    results
}

/// A restarted container is there several times under one name: the one that runs counts, else the newest.
fn newest_of_each_name(mut members: Vec<Member>) -> Vec<Member> {
    members.sort_by_key(|member| std::cmp::Reverse((member.running, member.created)));
    let mut kept: Vec<Member> = Vec::new();
    for member in members {
        if !kept.iter().any(|other| other.name == member.name) {
            kept.push(member);
        }
    }
    kept.sort_by(|a, b| (a.created, &a.name).cmp(&(b.created, &b.name)));
    kept
}

/// The IDs of a group's sandbox and containers.
fn ids(group: &Group) -> Vec<String> {
    let sandbox = group.sandbox.iter().map(|sandbox| sandbox.id.clone());
    sandbox.chain(group.members.iter().map(|member| member.id.clone())).collect()
}

/// cri-dockerd and Docker tell of the same pods; Docker knows the processes, cri-dockerd does not.
fn drop_repeated(groups: &mut Vec<Group>) {
    let by_engine: Vec<String> = groups.iter().filter(|group| group.runtime != CRI_DOCKERD).flat_map(ids).collect();
    groups.retain(|group| group.runtime != CRI_DOCKERD || !ids(group).iter().any(|id| by_engine.contains(id)));
}

#[cfg(test)]
mod tests;
