//! The messages of CRI v1 that are needed, with the fields that are read (`k8s.io/cri-api/pkg/apis/runtime/v1/api.proto`).
//!
//! Written by hand: protobuf skips fields that are not declared, so no generated code and no compiler for it is needed.

use std::collections::HashMap;

/// `VersionRequest`
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct VersionRequest {
    #[prost(string, tag = "1")]
    pub(super) version: String,
}

/// `VersionResponse`
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct VersionResponse {
    #[prost(string, tag = "2")]
    pub(super) runtime_name: String,
}

/// `ListPodSandboxRequest` and `ListContainersRequest`, without a filter.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ListRequest {}

/// `ListPodSandboxResponse`
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ListPodSandboxResponse {
    #[prost(message, repeated, tag = "1")]
    pub(super) items: Vec<PodSandbox>,
}

/// `PodSandbox`
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct PodSandbox {
    #[prost(string, tag = "1")]
    pub(super) id: String,
    #[prost(message, optional, tag = "2")]
    pub(super) metadata: Option<PodSandboxMetadata>,
    /// `PodSandboxState`: 0 ready, 1 not ready.
    #[prost(int32, tag = "3")]
    pub(super) state: i32,
    /// Nanoseconds since 1970.
    #[prost(int64, tag = "4")]
    pub(super) created_at: i64,
    #[prost(map = "string, string", tag = "5")]
    pub(super) labels: HashMap<String, String>,
    #[prost(map = "string, string", tag = "6")]
    pub(super) annotations: HashMap<String, String>,
}

/// `PodSandboxMetadata`
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct PodSandboxMetadata {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, tag = "2")]
    pub(super) uid: String,
    #[prost(string, tag = "3")]
    pub(super) namespace: String,
}

/// `ListContainersResponse`
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ListContainersResponse {
    #[prost(message, repeated, tag = "1")]
    pub(super) containers: Vec<Container>,
}

/// `Container`
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Container {
    #[prost(string, tag = "1")]
    pub(super) id: String,
    #[prost(string, tag = "2")]
    pub(super) pod_sandbox_id: String,
    #[prost(message, optional, tag = "3")]
    pub(super) metadata: Option<ContainerMetadata>,
    #[prost(message, optional, tag = "4")]
    pub(super) image: Option<ImageSpec>,
    /// `ContainerState`: 0 created, 1 running, 2 exited, 3 unknown.
    #[prost(int32, tag = "6")]
    pub(super) state: i32,
    /// Nanoseconds since 1970.
    #[prost(int64, tag = "7")]
    pub(super) created_at: i64,
}

/// `ContainerMetadata`
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ContainerMetadata {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    /// How often the kubelet had started one of that name before.
    #[prost(uint32, tag = "2")]
    pub(super) attempt: u32,
}

/// `ImageSpec`
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ImageSpec {
    #[prost(string, tag = "1")]
    pub(super) image: String,
    /// As the pod's author wrote it; newer runtimes only.
    #[prost(string, tag = "18")]
    pub(super) user_specified_image: String,
}

/// `ContainerStatusRequest` and `PodSandboxStatusRequest`
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct StatusRequest {
    #[prost(string, tag = "1")]
    pub(super) id: String,
    #[prost(bool, tag = "2")]
    pub(super) verbose: bool,
}

/// `PodSandboxStatusResponse`
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct PodSandboxStatusResponse {
    #[prost(message, optional, tag = "1")]
    pub(super) status: Option<PodSandboxStatus>,
    /// One key, `info`, whose value is JSON without a promise of stability. It alone holds a process number.
    #[prost(map = "string, string", tag = "2")]
    pub(super) info: HashMap<String, String>,
}

/// `PodSandboxStatus`
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct PodSandboxStatus {
    /// Nanoseconds since 1970.
    #[prost(int64, tag = "4")]
    pub(super) created_at: i64,
    #[prost(message, optional, tag = "5")]
    pub(super) network: Option<PodSandboxNetworkStatus>,
    #[prost(message, optional, tag = "6")]
    pub(super) linux: Option<LinuxPodSandboxStatus>,
    /// Empty for the runtime's own.
    #[prost(string, tag = "9")]
    pub(super) runtime_handler: String,
}

/// `PodSandboxNetworkStatus`: no address in the node's own network.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct PodSandboxNetworkStatus {
    #[prost(string, tag = "1")]
    pub(super) ip: String,
    #[prost(message, repeated, tag = "2")]
    pub(super) additional_ips: Vec<PodIp>,
}

/// `PodIP`
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct PodIp {
    #[prost(string, tag = "1")]
    pub(super) ip: String,
}

/// `LinuxPodSandboxStatus`
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct LinuxPodSandboxStatus {
    #[prost(message, optional, tag = "1")]
    pub(super) namespaces: Option<Namespace>,
}

/// `Namespace`
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Namespace {
    #[prost(message, optional, tag = "2")]
    pub(super) options: Option<NamespaceOption>,
}

/// `NamespaceOption`
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct NamespaceOption {
    #[prost(message, optional, tag = "5")]
    pub(super) userns_options: Option<UserNamespace>,
}

/// `UserNamespace`
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct UserNamespace {
    /// `NamespaceMode`: 0 the pod's own, 2 the node's.
    #[prost(int32, tag = "1")]
    pub(super) mode: i32,
}

/// `ContainerStatusResponse`
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ContainerStatusResponse {
    #[prost(message, optional, tag = "1")]
    pub(super) status: Option<ContainerStatus>,
    /// As above.
    #[prost(map = "string, string", tag = "2")]
    pub(super) info: HashMap<String, String>,
}

/// `ContainerStatus`
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ContainerStatus {
    #[prost(message, optional, tag = "2")]
    pub(super) metadata: Option<ContainerMetadata>,
    /// As of [`Container`].
    #[prost(int32, tag = "3")]
    pub(super) state: i32,
    /// Nanoseconds since 1970; 0 when it never ran.
    #[prost(int64, tag = "5")]
    pub(super) started_at: i64,
    /// Likewise; 0 when it has not ended.
    #[prost(int64, tag = "6")]
    pub(super) finished_at: i64,
    /// Of one that has ended.
    #[prost(int32, tag = "7")]
    pub(super) exit_code: i32,
    /// Why it is in that state, in one word.
    #[prost(string, tag = "10")]
    pub(super) reason: String,
    /// The kubelet's notes for itself; they hold the ports of the pod's description.
    #[prost(map = "string, string", tag = "13")]
    pub(super) annotations: HashMap<String, String>,
}
