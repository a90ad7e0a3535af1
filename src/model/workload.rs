//! Who is looked at.

use std::collections::BTreeMap;

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
        }
    }
}
