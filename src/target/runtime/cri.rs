//! containerd, CRI-O and cri-dockerd over CRI v1.

use std::collections::BTreeMap;
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
use super::{CRI_DOCKERD, Detail, Fault, Group, Inner, Member, PodName, Sandbox, first_line, together};
use crate::target::allow;

/// As the kubelet allows: gRPC's own 4 MiB are too few for a busy node's list.
const LARGEST_MESSAGE: usize = 16 << 20;

const SANDBOX_READY: i32 = 0;
const CONTAINER_RUNNING: i32 = 1;
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
        let members =
            group.members.iter().filter(|member| member.running).map(|member| Subject::Member(member.id.clone()));
        let sandbox = group.sandbox.iter().map(|sandbox| Subject::Sandbox(sandbox.id.clone()));
        let asked: Vec<Subject> = members.chain(sandbox).collect();
        let answers = together(asked.into_iter().map(|subject| {
            let client = self.clone();
            async move {
                let answer = client.status(&subject).await;
                (subject, answer)
            }
        }))
        .await;
        let mut detail = Detail::default();
        let mut found = false;
        for (subject, answer) in answers {
            let (info, started) = match answer {
                Ok(told) => told,
                Err(Fault::Missing) => continue,
                Err(fault) => return Err(fault),
            };
            found = true;
            match subject {
                Subject::Member(id) => {
                    detail.members.insert(id, Inner { pid: pid(&info), started, environment: environment(&info) });
                }
                Subject::Sandbox(_) => {
                    detail.sandbox_pid = pid(&info);
                    detail.netns_path = netns_path(&info);
                }
            }
        }
        if found { Ok(detail) } else { Err(Fault::Missing) }
    }

    /// The verbose part of a status, and when a container was started. The first is JSON without a promise: whatever cannot be
    /// read is absent.
    async fn status(&self, subject: &Subject) -> Result<(Value, Option<Duration>), Fault> {
        let (info, started) = match subject {
            Subject::Member(id) => {
                let request = StatusRequest { id: id.clone(), verbose: true };
                let told: ContainerStatusResponse = self.call("ContainerStatus", request).await?;
                let started = told.status.and_then(|status| u64::try_from(status.started_at).ok());
                (told.info, started.filter(|nanoseconds| *nanoseconds > 0).map(Duration::from_nanos))
            }
            Subject::Sandbox(id) => {
                let request = StatusRequest { id: id.clone(), verbose: true };
                let told: PodSandboxStatusResponse = self.call("PodSandboxStatus", request).await?;
                (told.info, None)
            }
        };
        let text = info.get("info").map_or("null", String::as_str);
        Ok((serde_json::from_str(text).unwrap_or(Value::Null), started))
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

fn environment(info: &Value) -> BTreeMap<String, String> {
    let pairs = info.pointer("/runtimeSpec/process/env").and_then(Value::as_array);
    allow::environment(pairs.into_iter().flatten().filter_map(Value::as_str))
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
            assert!(environment(&info).is_empty(), "{info}");
            assert_eq!(netns_path(&info), None, "{info}");
        }
    }

    #[test]
    fn what_is_there_is_taken() {
        let info = json!({"pid": 7, "runtimeSpec": {
            "process": {"env": ["DB_PASSWORD=x", "ISTIO_META_DNS_CAPTURE=true", 3]},
            "linux": {"namespaces": [{"type": "pid"}, {"type": "network", "path": "/run/netns/x"}]},
        }});
        assert_eq!(pid(&info), Some(7));
        assert_eq!(environment(&info), BTreeMap::from([("ISTIO_META_DNS_CAPTURE".to_owned(), "true".to_owned())]));
        assert_eq!(netns_path(&info), Some(PathBuf::from("/run/netns/x")));
    }

    #[test]
    fn an_old_runtime_is_told_from_a_failing_one() {
        assert!(matches!(fault("Version", &Status::unimplemented("unknown service")), Fault::TooOld));
        assert!(matches!(fault("Version", &Status::internal("x")), Fault::Failed(_)));
    }
}
