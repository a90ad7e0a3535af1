//! Who is looked at.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// What a target turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A Kubernetes pod.
    Pod,
    /// A container that belongs to no pod.
    Container,
    /// A process named by its number.
    Process,
    /// A network namespace named by path, name or inode.
    Netns,
    /// The node itself.
    Host,
    /// Saved text or a stream.
    File,
}

impl Kind {
    /// The word that stands for it in JSON and on the screen.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Pod => "pod",
            Self::Container => "container",
            Self::Process => "process",
            Self::Netns => "netns",
            Self::Host => "host",
            Self::File => "file",
        }
    }
}

/// Identity of a network namespace: an inode alone is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NetnsId {
    /// Device number of the nsfs mount.
    pub device: u64,
    /// Inode there; the number in `net:[…]`.
    pub inode: u64,
}

/// One container of a workload.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// Name within the pod, or the runtime's name for it.
    pub name: String,
    /// The runtime's full ID.
    pub id: String,
    /// First process, as the node counts; `None` when it is not running.
    pub pid: Option<u32>,
    /// Its state in the runtime's word where it does not run: `exited`, `created` …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Image as the runtime names it.
    #[serde(default)]
    pub image: Option<String>,
    /// Variables of its environment whose *names* are on the allow-list; no other is ever captured.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// When its first process was started, seconds after 1970-01-01 UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<u64>,
    /// When it ended, likewise; `None` while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished: Option<u64>,
    /// With which code it ended; `None` while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Why it ended, in the runtime's word: `OOMKilled`, `Error`, `Completed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How often it was started again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restarts: Option<u32>,
    /// Its command and arguments: only of containers whose *name* is known as a mesh's; of no other are they ever captured.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub arguments: Vec<String>,
    /// The user that its first process begins as, as the container counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<u32>,
    /// That process's group, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<u32>,
    /// Ports that its description names; it may serve others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<DeclaredPort>,
    /// Capabilities that its first process begins with, named like `NET_ADMIN`, without those that its program's file gives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Vec<String>>,
    /// It may do all that the node's root may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub privileged: Option<bool>,
    /// It runs and ends before the others begin; `None` where that cannot be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init: Option<bool>,
}

/// A port that the description of a container names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeclaredPort {
    /// Its name, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// In the container.
    pub port: u16,
    /// `tcp`, `udp` or `sctp`.
    pub protocol: String,
    /// The port of the node that leads to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_port: Option<u16>,
}

/// A workload on this node: a pod, a container, a process or a bare namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Workload {
    /// What it is.
    pub kind: Kind,
    /// Its name: of the pod, the container, the namespace; a number for a process.
    pub name: String,
    /// Kubernetes namespace.
    pub namespace: Option<String>,
    /// Kubernetes' UID of the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// `docker`, `containerd`, `cri-o` …
    pub runtime: Option<String>,
    /// Its containers, those of a pod all of them.
    pub containers: Vec<Container>,
    /// The process through which the network namespace was entered.
    pub pid: Option<u32>,
    /// Its network namespace; `None` for saved text.
    pub netns: Option<NetnsId>,
    /// It shares the node's own network namespace: its rules are the node's.
    pub host_network: bool,
    /// Kubernetes labels, or the container's.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Kubernetes annotations.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    /// Facts that no runtime told, such as `name`, and what they were taken from, such as `kubelet's log folder`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub inferred: BTreeMap<String, String>,
    /// The handler that its runtime runs it with, such as `runsc`, `kata` or `runc`; `None` where it has the runtime's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime_handler: Option<String>,
    /// Its addresses as the runtime tells them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<IpAddr>,
    /// When its sandbox was made, seconds after 1970-01-01 UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<u64>,
    /// The process that keeps its namespaces, as the node counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandbox_pid: Option<u32>,
    /// The network namespace that the runtime made for it, whether or not it is the one that its containers use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandbox_netns: Option<NetnsId>,
    /// It has a user namespace of its own, as with `hostUsers: false`; `None` where that is not told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_namespace: Option<bool>,
}

impl Container {
    /// Its name, with its state where it does not run. Not escaped.
    #[must_use]
    pub fn words(&self) -> String {
        match &self.state {
            Some(state) if !state.is_empty() => format!("{} ({state})", self.name),
            _ => self.name.clone(),
        }
    }
}

impl Workload {
    /// A workload of which only kind and name are known.
    #[must_use]
    pub fn named(kind: Kind, name: impl Into<String>) -> Self {
        Self {
            kind,
            name: name.into(),
            namespace: None,
            uid: None,
            runtime: None,
            containers: Vec::new(),
            pid: None,
            netns: None,
            host_network: false,
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            inferred: BTreeMap::new(),
            runtime_handler: None,
            addresses: Vec::new(),
            created: None,
            sandbox_pid: None,
            sandbox_netns: None,
            user_namespace: None,
        }
    }
}
