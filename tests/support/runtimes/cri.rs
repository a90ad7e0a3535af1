//! What a kubelet says to a runtime to make a pod, over CRI v1.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::time::Duration;

use tonic::transport::{Endpoint, Uri};
use tonic_prost::ProstCodec;

use super::{ContainerSpec, IMAGE, PodHandle, PodSpec};

/// `ContainerState` of one that has ended.
const EXITED: i32 = 2;

/// A client of one socket; it connects anew for each call.
pub(crate) struct Client {
    machinery: tokio::runtime::Runtime,
    socket: PathBuf,
}

impl Client {
    pub(crate) fn new(socket: PathBuf) -> Self {
        let machinery = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build().expect("tokio");
        Self { machinery, socket }
    }

    /// Whether CRI is served.
    pub(crate) fn answers(&self) -> bool {
        self.call::<_, Nothing>("Version", Nothing {}).is_ok()
    }

    /// Whether the CNI configuration was taken.
    pub(crate) fn network_is_ready(&self) -> bool {
        self.call::<_, StatusResponse>("Status", Nothing {}).is_ok_and(|answer| {
            let conditions = answer.status.unwrap_or_default().conditions;
            conditions.iter().any(|one| one.kind == "NetworkReady" && one.status)
        })
    }

    pub(crate) fn run_pod(&self, pod: &PodSpec<'_>, cgroup: &str) -> PodHandle {
        let config = sandbox_config(pod, cgroup);
        let request = RunPodSandboxRequest { config: Some(config.clone()) };
        let sandbox = self.must::<_, IdMessage>("RunPodSandbox", request).id;
        let mut handle = PodHandle {
            sandbox_pid: self.pid("PodSandboxStatus", &sandbox),
            sandbox,
            ids: BTreeMap::new(),
            pids: BTreeMap::new(),
        };
        for container in pod.containers {
            let request = CreateContainerRequest {
                sandbox: handle.sandbox.clone(),
                config: Some(container_config(container, pod)),
                sandbox_config: Some(config.clone()),
            };
            let id = self.must::<_, IdMessage>("CreateContainer", request).id;
            self.must::<_, Nothing>("StartContainer", IdMessage { id: id.clone() });
            handle.pids.insert(container.name.to_owned(), self.pid("ContainerStatus", &id));
            while container.ends && !self.has_ended(&id) {
                std::thread::sleep(Duration::from_millis(10));
            }
            handle.ids.insert(container.name.to_owned(), id);
        }
        handle
    }

    pub(crate) fn stop_container(&self, id: &str) {
        self.must::<_, Nothing>("StopContainer", IdMessage { id: id.to_owned() });
    }

    pub(crate) fn stop_sandbox(&self, id: &str) {
        self.must::<_, Nothing>("StopPodSandbox", IdMessage { id: id.to_owned() });
    }

    pub(crate) fn remove_sandbox(&self, id: &str) {
        self.must::<_, Nothing>("RemovePodSandbox", IdMessage { id: id.to_owned() });
    }

    fn has_ended(&self, id: &str) -> bool {
        let answer: ContainerStatusResponse = self.must("ContainerStatus", IdMessage { id: id.to_owned() });
        answer.status.is_some_and(|status| status.state == EXITED)
    }

    fn pid(&self, method: &str, id: &str) -> u32 {
        let answer: InfoResponse = self.must(method, VerboseRequest { id: id.to_owned(), verbose: true });
        let info: serde_json::Value = serde_json::from_str(&answer.info["info"]).expect("JSON");
        info["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok()).expect("a process number")
    }

    fn must<Q, A>(&self, method: &str, request: Q) -> A
    where
        Q: prost::Message + Send + Sync + 'static,
        A: prost::Message + Default + Send + Sync + 'static,
    {
        self.call(method, request).unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    fn call<Q, A>(&self, method: &str, request: Q) -> Result<A, String>
    where
        Q: prost::Message + Send + Sync + 'static,
        A: prost::Message + Default + Send + Sync + 'static,
    {
        self.machinery.block_on(async {
            let endpoint = Endpoint::from_shared(format!("unix://{}", self.socket.display()));
            let endpoint = endpoint.map_err(|error| error.to_string())?.timeout(Duration::from_secs(60));
            let channel = endpoint.connect().await.map_err(|error| error.to_string())?;
            let uri: Uri = format!("/runtime.v1.RuntimeService/{method}").parse().expect("a path");
            let path = uri.into_parts().path_and_query.expect("a path");
            let mut client = tonic::client::Grpc::new(channel);
            client.ready().await.map_err(|error| error.to_string())?;
            let answer = client.unary(tonic::Request::new(request), path, ProstCodec::<Q, A>::default()).await;
            answer.map(tonic::Response::into_inner).map_err(|status| status.to_string())
        })
    }
}

fn sandbox_config(pod: &PodSpec<'_>, cgroup: &str) -> PodSandboxConfig {
    let (uid, cgroup_parent) = match pod.uid {
        "" => (format!("uid-{}-{}", pod.namespace, pod.name), format!("/{cgroup}")),
        uid => (uid.to_owned(), format!("/{cgroup}/kubepods/burstable/pod{uid}")),
    };
    PodSandboxConfig {
        metadata: Some(PodSandboxMetadata { name: pod.name.to_owned(), uid, namespace: pod.namespace.to_owned() }),
        labels: owned(pod.labels).chain(kubelet_labels(pod)).collect(),
        annotations: owned(pod.annotations).collect(),
        linux: Some(LinuxPodSandboxConfig {
            cgroup_parent,
            security_context: Some(SandboxSecurityContext { namespace_options: Some(namespaces(pod)) }),
        }),
    }
}

fn container_config(container: &ContainerSpec<'_>, pod: &PodSpec<'_>) -> ContainerConfig {
    let name = ("io.kubernetes.container.name".to_owned(), container.name.to_owned());
    ContainerConfig {
        metadata: Some(ContainerMetadata { name: container.name.to_owned() }),
        image: Some(ImageSpec { image: IMAGE.to_owned() }),
        command: container.args.iter().map(|word| (*word).to_owned()).collect(),
        envs: owned(container.env).map(|(key, value)| KeyValue { key, value }).collect(),
        labels: kubelet_labels(pod).chain([name]).collect(),
        annotations: owned(container.annotations).collect(),
        linux: Some(LinuxContainerConfig {
            security_context: Some(ContainerSecurityContext {
                capabilities: Some(Capability {
                    add: container.capabilities.iter().map(|name| (*name).to_owned()).collect(),
                }),
                namespace_options: Some(namespaces(pod)),
                run_as_user: Some(Int64Value { value: container.uid }),
                run_as_group: Some(Int64Value { value: container.uid }),
            }),
        }),
    }
}

/// Network of the pod or the node (2), processes of each container alone (1), as Kubernetes' defaults are.
fn namespaces(pod: &PodSpec<'_>) -> NamespaceOption {
    NamespaceOption { network: if pod.host_network { 2 } else { 0 }, pid: 1 }
}

fn kubelet_labels(pod: &PodSpec<'_>) -> impl Iterator<Item = (String, String)> {
    let names = [("io.kubernetes.pod.name", pod.name), ("io.kubernetes.pod.namespace", pod.namespace)];
    names.map(|(key, value)| (key.to_owned(), value.to_owned())).into_iter()
}

fn owned(pairs: &[(&str, &str)]) -> impl Iterator<Item = (String, String)> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
}

#[derive(Clone, PartialEq, prost::Message)]
struct Nothing {}

/// Every message whose first field is an ID and that needs no other.
#[derive(Clone, PartialEq, prost::Message)]
struct IdMessage {
    #[prost(string, tag = "1")]
    id: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct VerboseRequest {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(bool, tag = "2")]
    verbose: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
struct InfoResponse {
    #[prost(map = "string, string", tag = "2")]
    info: HashMap<String, String>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct StatusResponse {
    #[prost(message, optional, tag = "1")]
    status: Option<RuntimeStatus>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RuntimeStatus {
    #[prost(message, repeated, tag = "1")]
    conditions: Vec<Condition>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Condition {
    #[prost(string, tag = "1")]
    kind: String,
    #[prost(bool, tag = "2")]
    status: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RunPodSandboxRequest {
    #[prost(message, optional, tag = "1")]
    config: Option<PodSandboxConfig>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PodSandboxConfig {
    #[prost(message, optional, tag = "1")]
    metadata: Option<PodSandboxMetadata>,
    #[prost(map = "string, string", tag = "6")]
    labels: HashMap<String, String>,
    #[prost(map = "string, string", tag = "7")]
    annotations: HashMap<String, String>,
    #[prost(message, optional, tag = "8")]
    linux: Option<LinuxPodSandboxConfig>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PodSandboxMetadata {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    uid: String,
    #[prost(string, tag = "3")]
    namespace: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct LinuxPodSandboxConfig {
    #[prost(string, tag = "1")]
    cgroup_parent: String,
    #[prost(message, optional, tag = "2")]
    security_context: Option<SandboxSecurityContext>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct SandboxSecurityContext {
    #[prost(message, optional, tag = "1")]
    namespace_options: Option<NamespaceOption>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct NamespaceOption {
    #[prost(int32, tag = "1")]
    network: i32,
    #[prost(int32, tag = "2")]
    pid: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct CreateContainerRequest {
    #[prost(string, tag = "1")]
    sandbox: String,
    #[prost(message, optional, tag = "2")]
    config: Option<ContainerConfig>,
    #[prost(message, optional, tag = "3")]
    sandbox_config: Option<PodSandboxConfig>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ContainerConfig {
    #[prost(message, optional, tag = "1")]
    metadata: Option<ContainerMetadata>,
    #[prost(message, optional, tag = "2")]
    image: Option<ImageSpec>,
    #[prost(string, repeated, tag = "3")]
    command: Vec<String>,
    #[prost(message, repeated, tag = "6")]
    envs: Vec<KeyValue>,
    #[prost(map = "string, string", tag = "9")]
    labels: HashMap<String, String>,
    #[prost(map = "string, string", tag = "10")]
    annotations: HashMap<String, String>,
    #[prost(message, optional, tag = "15")]
    linux: Option<LinuxContainerConfig>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ContainerMetadata {
    #[prost(string, tag = "1")]
    name: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ImageSpec {
    #[prost(string, tag = "1")]
    image: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct KeyValue {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct LinuxContainerConfig {
    #[prost(message, optional, tag = "2")]
    security_context: Option<ContainerSecurityContext>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ContainerSecurityContext {
    #[prost(message, optional, tag = "1")]
    capabilities: Option<Capability>,
    #[prost(message, optional, tag = "3")]
    namespace_options: Option<NamespaceOption>,
    #[prost(message, optional, tag = "5")]
    run_as_user: Option<Int64Value>,
    #[prost(message, optional, tag = "12")]
    run_as_group: Option<Int64Value>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Capability {
    #[prost(string, repeated, tag = "1")]
    add: Vec<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ContainerStatusResponse {
    #[prost(message, optional, tag = "1")]
    status: Option<ContainerStatus>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ContainerStatus {
    #[prost(int32, tag = "3")]
    state: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Int64Value {
    #[prost(int64, tag = "1")]
    value: i64,
}
