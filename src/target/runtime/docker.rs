//! Docker and Podman over the Engine API.
//!
//! A Kubernetes pod in Docker (cri-dockerd, the former dockershim) is known by its containers' `io.kubernetes.*` labels.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use bollard::Docker;
use bollard::errors::Error;
use bollard::models::{ContainerSummary, ContainerSummaryStateEnum};
use bollard::query_parameters::{InspectContainerOptions, ListContainersOptionsBuilder};

use super::transport::Transport;
use super::{Detail, Fault, Group, Member, PodName, Sandbox, first_line, inspected, together};
use crate::target::allow;
use crate::target::endpoint::{RuntimeEndpoint, RuntimeKind};

const POD_NAME: &str = "io.kubernetes.pod.name";
const POD_NAMESPACE: &str = "io.kubernetes.pod.namespace";
const POD_UID: &str = "io.kubernetes.pod.uid";
const CONTAINER_NAME: &str = "io.kubernetes.container.name";
const CONTAINER_KIND: &str = "io.kubernetes.docker.type";

/// dockershim and cri-dockerd keep annotations as labels with this before their names.
pub(super) const ANNOTATION: &str = "annotation.";

/// A client of one socket.
#[derive(Clone)]
pub(super) struct Client {
    docker: Docker,
    kind: RuntimeKind,
}

impl Client {
    /// Of the socket on which that user listens, `None` for root and for who asks.
    pub(super) fn new(endpoint: &RuntimeEndpoint, owner: Option<u32>, timeout: Duration) -> Result<Self, Fault> {
        // The caller's deadline is the real one; bollard's own counts whole seconds and would otherwise be two minutes.
        let seconds = timeout.as_secs() + 1;
        // No version is put into the paths of requests: the daemon answers in its own.
        let transport = Transport::new(&endpoint.path, owner);
        let ask = move |request| transport.clone().ask(request);
        let docker =
            Docker::connect_with_custom_transport(ask, Some("http://runtime"), seconds, bollard::API_DEFAULT_VERSION)
                .map_err(fault)?;
        Ok(Self { docker, kind: endpoint.kind })
    }

    /// What the runtime calls itself, and all that it has.
    pub(super) async fn list(&self) -> Result<(String, Vec<Group>), Fault> {
        let runtime = self.name().await?;
        let containers = match self.containers(ListContainersOptionsBuilder::default().all(true)).await {
            // Older Podmans have states that the API does not know, on containers that do not run.
            Err(Error::JsonDataError { .. }) => {
                let running = HashMap::from([("status", vec!["running"])]);
                self.containers(ListContainersOptionsBuilder::default().filters(&running)).await
            }
            other => other,
        }
        .map_err(fault)?;
        let groups = group(containers, &runtime);
        Ok((runtime, groups))
    }

    async fn containers(&self, options: ListContainersOptionsBuilder) -> Result<Vec<ContainerSummary>, Error> {
        self.docker.list_containers(Some(options.build())).await
    }

    /// `docker` or `podman`: either may stand behind the other's socket.
    async fn name(&self) -> Result<String, Fault> {
        let version = self.docker.version().await.map_err(fault)?;
        let podman = version.components.iter().flatten().any(|component| component.name.starts_with("Podman"));
        Ok(if podman || self.kind == RuntimeKind::Podman { "podman" } else { "docker" }.to_owned())
    }

    pub(super) async fn detail(&self, group: &Group) -> Result<Detail, Fault> {
        let sandbox = group.sandbox.as_ref().filter(|sandbox| sandbox.ready).map(|sandbox| sandbox.id.clone());
        // Those of a pod that have ended tell what they did before.
        let members = group.members.iter().map(|member| member.id.clone());
        let asked: Vec<String> = members.chain(sandbox.clone()).collect();
        let answers = together(asked.into_iter().map(|id| {
            let docker = self.docker.clone();
            async move {
                let answer = docker.inspect_container(&id, None::<InspectContainerOptions>).await;
                (id, answer.map_err(fault))
            }
        }))
        .await;
        let by_docker = group.runtime == "docker";
        let mut detail = Detail::default();
        let mut found = false;
        for (id, answer) in answers {
            let answer = match answer {
                Ok(answer) => answer,
                Err(Fault::Missing) => continue,
                // What is told of one that has ended is welcome, and nothing hangs on it.
                Err(_) if group.has_ended(&id) => continue,
                Err(fault) => return Err(fault),
            };
            let member = group.members.iter().find(|member| member.id == id);
            let told = inspected::inner(&answer, member.map_or("", |member| &member.name), by_docker);
            // A container that is in no pod is its own sandbox, unless it was put into another's.
            if Some(&id) == sandbox.as_ref() || group.pod.is_none() && group.shares.is_none() {
                inspected::sandbox_into(&mut detail, &answer);
            }
            found |= member.is_none_or(|member| member.running);
            match member {
                Some(_) => {
                    detail.members.insert(id, told);
                }
                None => detail.sandbox_pid = told.pid,
            }
        }
        if found { Ok(detail) } else { Err(Fault::Missing) }
    }
}

/// Pods by their labels, everything else alone.
fn group(containers: Vec<ContainerSummary>, runtime: &str) -> Vec<Group> {
    let mut pods: BTreeMap<(String, String, String), Group> = BTreeMap::new();
    let mut alone = Vec::new();
    for container in containers {
        let labels = container.labels.clone().unwrap_or_default();
        let Some(member) = member(&container, &labels) else { continue };
        let label = |name: &str| labels.get(name).cloned();
        let (Some(name), Some(namespace)) = (label(POD_NAME), label(POD_NAMESPACE)) else {
            let mut group = empty(runtime, None);
            group.labels = allow::metadata(labels);
            group.shares = shares(&container);
            group.members.push(member);
            alone.push(group);
            continue;
        };
        let key = (namespace.clone(), name.clone(), label(POD_UID).unwrap_or_default());
        let pod =
            pods.entry(key).or_insert_with(|| empty(runtime, Some(PodName { name, namespace, uid: label(POD_UID) })));
        if is_sandbox(&labels) {
            let newer = pod
                .sandbox
                .as_ref()
                .is_none_or(|known| (known.ready, known.created) < (member.running, member.created));
            if newer {
                pod.sandbox =
                    Some(Sandbox { id: member.id, ready: member.running, created: member.created, pid: None });
                describe(pod, labels);
            }
        } else {
            if pod.sandbox.is_none() {
                describe(pod, labels);
            }
            pod.members.push(member);
        }
    }
    pods.into_values().chain(alone).collect()
}

/// The daemon replaces the name that was given by the full ID.
fn shares(container: &ContainerSummary) -> Option<String> {
    let mode = container.host_config.as_ref()?.network_mode.as_ref()?;
    mode.strip_prefix("container:").map(str::to_owned)
}

fn empty(runtime: &str, pod: Option<PodName>) -> Group {
    Group {
        endpoint: 0,
        owner: None,
        runtime: runtime.to_owned(),
        pod,
        sandbox: None,
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        members: Vec::new(),
        shares: None,
        inferred: BTreeMap::new(),
    }
}

pub(super) fn describe(pod: &mut Group, labels: HashMap<String, String>) {
    let (annotations, labels): (Vec<_>, Vec<_>) = labels.into_iter().partition(|(key, _)| key.starts_with(ANNOTATION));
    let annotations = annotations.into_iter().map(|(key, value)| (key[ANNOTATION.len()..].to_owned(), value));
    pod.annotations = allow::metadata(annotations);
    pod.labels = allow::metadata(labels);
}

pub(super) fn is_sandbox(labels: &HashMap<String, String>) -> bool {
    labels.get(CONTAINER_KIND).is_some_and(|kind| kind == "podsandbox")
        || labels.get(CONTAINER_NAME).is_some_and(|name| name == "POD")
}

fn member(container: &ContainerSummary, labels: &HashMap<String, String>) -> Option<Member> {
    let id = container.id.clone()?;
    // Other names are those of links from other containers: `/other/alias`.
    let names = container.names.iter().flatten().map(|name| name.trim_start_matches('/'));
    let own = names.into_iter().find(|name| !name.contains('/')).unwrap_or(&id).to_owned();
    let name = labels.get(CONTAINER_NAME).cloned().unwrap_or(own);
    let state = container.state.map(|state| state.to_string()).unwrap_or_default();
    let running =
        matches!(container.state, Some(ContainerSummaryStateEnum::RUNNING | ContainerSummaryStateEnum::PAUSED));
    Some(Member {
        name,
        id,
        image: container.image.clone(),
        running,
        state,
        created: container.created.unwrap_or(0),
        pid: None,
    })
}

fn fault(error: Error) -> Fault {
    match error {
        Error::RequestTimeoutError => Fault::TimedOut,
        Error::DockerResponseServerError { status_code: 404, .. } => Fault::Missing,
        Error::DockerResponseServerError { status_code: 401 | 403, .. } => Fault::Denied,
        Error::IOError { err } => err.into(),
        // The words of a decoding error quote the answer, which may hold anything.
        Error::JsonDataError { .. } => Fault::Failed("its answer is not the Engine API's".to_owned()),
        Error::HyperResponseError { err } => Fault::Failed(first_line(&innermost(&err).to_string())),
        other => Fault::Failed(first_line(&other.to_string())),
    }
}

/// The innermost cause says what happened; the outer ones only that something did.
fn innermost<'a>(error: &'a (dyn std::error::Error + 'static)) -> &'a (dyn std::error::Error + 'static) {
    std::iter::successors(Some(error), |error| error.source()).last().unwrap_or(error)
}
