//! containerd, CRI-O and cri-dockerd over CRI v1.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Code, Status};
use tonic_prost::ProstCodec;

use super::message::{
    Container, ContainerStatusResponse, ListContainersResponse, ListPodSandboxResponse, ListRequest, PodSandbox,
    PodSandboxStatusResponse, StatusRequest, VersionRequest, VersionResponse,
};
use super::{CRI_DOCKERD, Detail, Fault, Group, Inner, Member, PodName, Sandbox, first_line, ports, spec, together};
use crate::model;
use crate::target::allow;

/// As the kubelet allows: gRPC's own 4 MiB are too few for a busy node's list.
const LARGEST_MESSAGE: usize = 16 << 20;

const SANDBOX_READY: i32 = 0;
const CONTAINER_RUNNING: i32 = 1;
const CONTAINER_EXITED: i32 = 2;
/// `NamespaceMode` of one that the pod has to itself.
const OWN_NAMESPACE: i32 = 0;
/// Addresses that a pod is told to have.
const MOST_ADDRESSES: usize = 64;
const CONTAINER_STATES: [&str; 4] = ["created", "running", "exited", "unknown"];

/// A client of one socket.
#[derive(Clone)]
pub(super) struct Client {
    channel: Channel,
}

/// What is asked for: a container or a sandbox.
enum Subject {
    Member(String),
    Sandbox(String),
}

impl Subject {
    fn id(&self) -> &str {
        match self {
            Self::Member(id) | Self::Sandbox(id) => id,
        }
    }
}

/// What is told of it.
enum Answer {
    Member(String, ContainerStatusResponse),
    Sandbox(PodSandboxStatusResponse),
}

impl Client {
    pub(super) async fn connect(socket: &Path, timeout: Duration) -> Result<Self, Fault> {
        let channel = Endpoint::from_shared(format!("unix://{}", socket.display()))
            .map_err(|error| Fault::Failed(error.to_string()))?
            .connect_timeout(timeout)
            .timeout(timeout)
            .connect()
            .await
            .map_err(|error| transport(&error))?;
        Ok(Self { channel })
    }

    /// What the runtime calls itself, and its pods. Containers that are in none are not CRI's business.
    pub(super) async fn list(&self) -> Result<(String, Vec<Group>), Fault> {
        let asked = VersionRequest { version: "v1".to_owned() };
        let version: VersionResponse = self.call("Version", asked).await?;
        let runtime = match version.runtime_name.as_str() {
            "docker" => CRI_DOCKERD.to_owned(),
            name => name.to_owned(),
        };
        let sandboxes: ListPodSandboxResponse = self.call("ListPodSandbox", ListRequest {}).await?;
        let containers: ListContainersResponse = self.call("ListContainers", ListRequest {}).await?;
        let mut pods: BTreeMap<String, Group> = BTreeMap::new();
        for sandbox in sandboxes.items {
            pods.insert(sandbox.id.clone(), pod(sandbox, &runtime));
        }
        for container in containers.containers {
            if let Some(pod) = pods.get_mut(&container.pod_sandbox_id) {
                pod.members.push(member(container));
            }
        }
        Ok((runtime, pods.into_values().collect()))
    }

    pub(super) async fn detail(&self, group: &Group) -> Result<Detail, Fault> {
        // Those that have ended tell what they did before.
        let members = group.members.iter().map(|member| Subject::Member(member.id.clone()));
        let sandbox = group.sandbox.iter().map(|sandbox| Subject::Sandbox(sandbox.id.clone()));
        let asked: Vec<Subject> = members.chain(sandbox).collect();
        let answers = together(asked.into_iter().map(|subject| {
            let client = self.clone();
            async move {
                let id = subject.id().to_owned();
                (id, client.status(subject).await)
            }
        }))
        .await;
        let mut detail = Detail::default();
        let mut found = false;
        for (id, answer) in answers {
            match answer {
                Ok(Answer::Member(id, told)) => {
                    let told = inner(told);
                    found |= told.finished.is_none();
                    detail.members.insert(id, told);
                }
                Ok(Answer::Sandbox(told)) => {
                    found = true;
                    sandbox_into(&mut detail, told);
                }
                Err(Fault::Missing) => {}
                // What is told of one that has ended is welcome, and nothing hangs on it.
                Err(_) if group.has_ended(&id) => {}
                Err(fault) => return Err(fault),
            }
        }
        if found { Ok(detail) } else { Err(Fault::Missing) }
    }

    async fn status(&self, subject: Subject) -> Result<Answer, Fault> {
        match subject {
            Subject::Member(id) => {
                let request = StatusRequest { id: id.clone(), verbose: true };
                Ok(Answer::Member(id, self.call("ContainerStatus", request).await?))
            }
            Subject::Sandbox(id) => {
                let request = StatusRequest { id, verbose: true };
                Ok(Answer::Sandbox(self.call("PodSandboxStatus", request).await?))
            }
        }
    }

    async fn call<Q, A>(&self, method: &str, request: Q) -> Result<A, Fault>
    where
        Q: prost::Message + Send + Sync + 'static,
        A: prost::Message + Default + Send + Sync + 'static,
    {
        let uri: Uri = format!("/runtime.v1.RuntimeService/{method}")
            .parse()
            .map_err(|_| Fault::Failed(format!("{method} is no method")))?;
        let path = uri.into_parts().path_and_query.ok_or_else(|| Fault::Failed(format!("{method} is no method")))?;
        let mut client = tonic::client::Grpc::new(self.channel.clone()).max_decoding_message_size(LARGEST_MESSAGE);
        client.ready().await.map_err(|error| transport(&error))?;
        let answer = client.unary(tonic::Request::new(request), path, ProstCodec::<Q, A>::default()).await;
        answer.map(tonic::Response::into_inner).map_err(|status| fault(method, &status))
    }
}

fn pod(sandbox: PodSandbox, runtime: &str) -> Group {
    let metadata = sandbox.metadata.unwrap_or_default();
    Group {
        endpoint: 0,
        owner: None,
        runtime: runtime.to_owned(),
        pod: Some(PodName {
            name: metadata.name,
            namespace: metadata.namespace,
            uid: Some(metadata.uid).filter(|uid| !uid.is_empty()),
        }),
        sandbox: Some(Sandbox {
            id: sandbox.id,
            ready: sandbox.state == SANDBOX_READY,
            created: sandbox.created_at,
            pid: None,
        }),
        labels: allow::metadata(sandbox.labels),
        annotations: allow::metadata(sandbox.annotations),
        members: Vec::new(),
        shares: None,
        inferred: BTreeMap::new(),
    }
}

fn member(container: Container) -> Member {
    let image = container.image.unwrap_or_default();
    let image = if image.user_specified_image.is_empty() { image.image } else { image.user_specified_image };
    let state =
        usize::try_from(container.state).ok().and_then(|state| CONTAINER_STATES.get(state)).unwrap_or(&"unknown");
    Member {
        name: container.metadata.unwrap_or_default().name,
        id: container.id,
        image: (!image.is_empty()).then_some(image),
        running: container.state == CONTAINER_RUNNING,
        state: (*state).to_owned(),
        created: container.created_at,
        pid: None,
    }
}

fn pid(info: &Value) -> Option<u32> {
    info.get("pid")?.as_u64().and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid > 0)
}

/// The verbose part of a status: JSON without a promise, so whatever cannot be read is absent.
fn verbose(info: &HashMap<String, String>) -> Value {
    let text = info.get("info").map_or("null", String::as_str);
    serde_json::from_str(text).unwrap_or(Value::Null)
}

/// A time of the API; 0 stands for never.
fn instant(nanoseconds: i64) -> Option<Duration> {
    u64::try_from(nanoseconds).ok().filter(|nanoseconds| *nanoseconds > 0).map(Duration::from_nanos)
}

fn inner(answer: ContainerStatusResponse) -> Inner {
    let info = verbose(&answer.info);
    let status = answer.status.unwrap_or_default();
    let metadata = status.metadata.unwrap_or_default();
    let started = instant(status.started_at);
    let ended = status.state == CONTAINER_EXITED;
    let finished = instant(status.finished_at).filter(|_| ended);
    let reason = first_line(&status.reason);
    let mut told = model::Container {
        started: started.map(|started| started.as_secs()),
        finished: finished.map(|finished| finished.as_secs()),
        exit_code: ended.then_some(status.exit_code),
        reason: (ended && !reason.is_empty()).then_some(reason),
        restarts: Some(metadata.attempt),
        ports: status.annotations.get(ports::NOTE).map(|note| ports::noted(note)).unwrap_or_default(),
        privileged: privileged(&info),
        ..model::Container::default()
    };
    spec::tell(&mut told, &metadata.name, info.get("runtimeSpec").unwrap_or(&Value::Null));
    // What had that number is gone.
    Inner { pid: pid(&info).filter(|_| !ended), started, finished, told }
}

fn sandbox_into(detail: &mut Detail, answer: PodSandboxStatusResponse) {
    let info = verbose(&answer.info);
    detail.sandbox_pid = pid(&info);
    detail.netns_path = netns_path(&info);
    let Some(status) = answer.status else { return };
    detail.created = instant(status.created_at);
    detail.handler = Some(first_line(&status.runtime_handler)).filter(|handler| !handler.is_empty());
    let network = status.network.unwrap_or_default();
    let given = std::iter::once(network.ip).chain(network.additional_ips.into_iter().map(|one| one.ip));
    detail.addresses = given.filter_map(|text| text.parse().ok()).take(MOST_ADDRESSES).collect();
    let options = status.linux.and_then(|linux| linux.namespaces?.options?.userns_options);
    let by_options = || options.map(|options| options.mode == OWN_NAMESPACE);
    detail.user_namespace = spec::user_namespace(info.get("runtimeSpec").unwrap_or(&Value::Null)).or_else(by_options);
}

/// CRI-O says it outright, containerd hands out what the kubelet asked for, where `false` is left out.
fn privileged(info: &Value) -> Option<bool> {
    let asked = || {
        let context = info.pointer("/config/linux/security_context")?.as_object()?;
        Some(context.get("privileged").and_then(Value::as_bool) == Some(true))
    };
    info.get("privileged").and_then(Value::as_bool).or_else(asked)
}

/// CRI-O keeps no process in a sandbox; its namespaces are bound to files that the OCI specification names.
fn netns_path(info: &Value) -> Option<PathBuf> {
    let namespaces = info.pointer("/runtimeSpec/linux/namespaces")?.as_array()?;
    let network =
        namespaces.iter().find(|namespace| namespace.get("type").and_then(Value::as_str) == Some("network"))?;
    let path = network.get("path")?.as_str()?;
    path.starts_with('/').then(|| PathBuf::from(path))
}

fn fault(method: &str, status: &Status) -> Fault {
    match status.code() {
        Code::Unimplemented => Fault::TooOld,
        Code::NotFound => Fault::Missing,
        Code::DeadlineExceeded => Fault::TimedOut,
        // tonic's own deadline comes as a cancellation.
        Code::Cancelled => Fault::TimedOut,
        Code::PermissionDenied | Code::Unauthenticated => Fault::Denied,
        _ => Fault::Failed(format!("{method}: {}", first_line(status.message()))),
    }
}

/// The innermost cause says what happened; the outer ones only that something did.
fn transport(error: &(dyn std::error::Error + 'static)) -> Fault {
    let mut cause = error;
    loop {
        if let Some(error) = cause.downcast_ref::<std::io::Error>().filter(|error| error.raw_os_error().is_some()) {
            return std::io::Error::from_raw_os_error(error.raw_os_error().unwrap_or_default()).into();
        }
        match cause.source() {
            Some(inner) => cause = inner,
            None => return Fault::Failed(format!("does not speak gRPC: {}", first_line(&cause.to_string()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::message::{ContainerMetadata, ContainerStatus};
    use super::*;

    #[test]
    fn every_field_of_the_verbose_part_is_optional() {
        for info in [
            json!(null),
            json!({}),
            json!({"pid": "7"}),
            json!({"pid": 0}),
            json!({"pid": -1}),
            json!({"runtimeSpec": 1}),
        ] {
            assert_eq!(pid(&info), None, "{info}");
            assert_eq!(privileged(&info), None, "{info}");
            assert_eq!(netns_path(&info), None, "{info}");
        }
    }

    #[test]
    fn what_is_there_is_taken() {
        let info = json!({"pid": 7, "runtimeSpec": {
            "linux": {"namespaces": [{"type": "pid"}, {"type": "network", "path": "/run/netns/x"}]},
        }});
        assert_eq!(pid(&info), Some(7));
        assert_eq!(netns_path(&info), Some(PathBuf::from("/run/netns/x")));
    }

    #[test]
    fn what_has_ended_has_no_process() {
        let info = HashMap::from([("info".to_owned(), r#"{"pid": 7, "privileged": true}"#.to_owned())]);
        let metadata = ContainerMetadata { name: "istio-init".into(), attempt: 2 };
        let status = ContainerStatus {
            metadata: Some(metadata),
            state: CONTAINER_EXITED,
            started_at: 1_500_000_000,
            finished_at: 2_500_000_000,
            exit_code: 255,
            reason: "Error\nand more".into(),
            ..ContainerStatus::default()
        };
        let ended = inner(ContainerStatusResponse { status: Some(status.clone()), info: info.clone() });
        assert_eq!((ended.pid, ended.told.started, ended.told.finished), (None, Some(1), Some(2)));
        assert_eq!((ended.told.exit_code, ended.told.reason.as_deref()), (Some(255), Some("Error")));
        assert_eq!((ended.told.restarts, ended.told.privileged), (Some(2), Some(true)));
        let runs = ContainerStatus { state: CONTAINER_RUNNING, ..status };
        let runs = inner(ContainerStatusResponse { status: Some(runs), info });
        assert_eq!((runs.pid, runs.finished, runs.told.exit_code, runs.told.reason), (Some(7), None, None, None));
    }

    #[test]
    fn an_old_runtime_is_told_from_a_failing_one() {
        assert!(matches!(fault("Version", &Status::unimplemented("unknown service")), Fault::TooOld));
        assert!(matches!(fault("Version", &Status::internal("x")), Fault::Failed(_)));
    }
}
