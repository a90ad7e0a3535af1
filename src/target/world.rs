//! Where a search takes place, what narrows it, and what comes out of it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::endpoint::RuntimeEndpoint;
use crate::model::Workload;
use crate::sys::netns::Netns;
use crate::sys::process::Process;

/// What narrows a search: `-n` and `-c`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Choice {
    /// Only pods of this Kubernetes namespace.
    pub namespace: Option<String>,
    /// This container of the pod.
    pub container: Option<String>,
}

/// The node as the search sees it; everything that another mount or a test would put elsewhere.
#[derive(Debug, Clone)]
pub struct World {
    /// The node's `/proc`.
    pub proc_root: PathBuf,
    /// Folders in which named network namespaces lie.
    pub netns_folders: Vec<PathBuf>,
    /// The runtimes' sockets, see [`super::endpoints`].
    pub endpoints: Vec<RuntimeEndpoint>,
    /// Deadline of each endpoint.
    pub timeout: Duration,
    /// The node's name.
    pub node: String,
    /// The node's root folder, below which its own records lie: `/`, or where a debug pod mounts it.
    pub host_root: PathBuf,
    /// No runtime is to be asked: processes, cgroups and records on disk alone.
    pub proc_alone: bool,
    /// Where no runtime answers, processes, cgroups and records on disk are looked at instead. Not so for one who wants the
    /// answer of a certain runtime.
    pub proc_instead: bool,
}

impl World {
    /// The machine that the program runs on, with the usual folders and one second for each endpoint.
    #[must_use]
    pub fn here(node: impl Into<String>, endpoints: Vec<RuntimeEndpoint>) -> Self {
        Self {
            proc_root: PathBuf::from("/proc"),
            netns_folders: vec![PathBuf::from("/run/netns"), PathBuf::from("/var/run/netns")],
            endpoints,
            timeout: Duration::from_secs(1),
            node: node.into(),
            host_root: PathBuf::from("/"),
            proc_alone: false,
            proc_instead: true,
        }
    }

    /// The same with all of the node's folders below the one in which its root is mounted. The runtimes' sockets stay as given.
    #[must_use]
    pub fn below(self, root: &Path) -> Self {
        Self {
            proc_root: root.join("proc"),
            netns_folders: vec![root.join("run/netns")],
            host_root: root.to_owned(),
            ..self
        }
    }
}

/// What stood for "the node's own network namespace" when `host_network` was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeNamespace {
    /// That of process 1.
    Init,
    /// That of the first kernel thread, since that of process 1 could not be read.
    Kernel,
    /// That of the calling thread, since none of the others could be read: it need not be the node's.
    CallingThread,
}

/// A workload that was found and is held.
#[derive(Debug)]
pub struct Live {
    /// Who it is; `netns` and `host_network` are set.
    pub workload: Workload,
    /// Its network namespace, open.
    pub netns: Netns,
    /// The process through which the namespace was opened; `None` when it was opened by path.
    pub process: Option<Process>,
    /// With what `host_network` was decided.
    pub node_namespace: NodeNamespace,
    /// The endpoints that were asked.
    pub tried: Vec<Tried>,
}

/// One endpoint that was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    /// The socket's path.
    pub endpoint: String,
    /// What came of it.
    pub outcome: Outcome,
    /// How long it took, in milliseconds.
    pub milliseconds: u64,
    /// It was named by the user, not a default place.
    pub explicit: bool,
    /// The user who listens there, or can put there what he likes; `None` for root and for the user of this program.
    pub owner: Option<u32>,
}

impl Tried {
    /// Whether an answer is missing: something is there and gave no list, or what was named is not there.
    ///
    /// What a user left in one of the default places is no reason to doubt the others' answers: anybody could make every search
    /// fail.
    #[must_use]
    pub fn counts_as_failure(&self) -> bool {
        match self.outcome {
            Outcome::Answered { .. } | Outcome::Inferred { .. } => false,
            Outcome::Absent => self.explicit,
            _ => self.explicit || self.owner.is_none(),
        }
    }
}

/// What came of asking an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It answered.
    Answered {
        /// What the runtime calls itself.
        runtime: String,
        /// Pods that it listed.
        pods: usize,
        /// Containers that it listed, those of pods included.
        containers: usize,
    },
    /// No runtime was asked: so much is told by `/proc`, control groups and what lies on disk.
    Inferred {
        /// Pods that were found.
        pods: usize,
        /// Containers that were found, those of pods included.
        containers: usize,
    },
    /// There is no such socket.
    Absent,
    /// Connecting is not permitted.
    Denied,
    /// It did not answer in time.
    TimedOut,
    /// It does not serve CRI v1.
    TooOld,
    /// It lives in another PID namespace: its PIDs mean other processes here.
    Foreign,
    /// It failed; in its own words.
    Failed(String),
}

impl Outcome {
    /// One word for it, for programs.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Answered { .. } => "answered",
            Self::Inferred { .. } => "inferred",
            Self::Absent => "absent",
            Self::Denied => "denied",
            Self::TimedOut => "timed-out",
            Self::TooOld => "too-old",
            Self::Foreign => "foreign",
            Self::Failed(_) => "failed",
        }
    }

    /// Whether the endpoint is a runtime's and gave its list.
    #[must_use]
    pub fn answered(&self) -> bool {
        matches!(self, Self::Answered { .. })
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answered { runtime, pods, containers } => {
                write!(f, "{runtime}: {pods} pods, {containers} containers")
            }
            Self::Inferred { pods, containers } => write!(f, "{pods} pods, {containers} containers"),
            Self::Absent => f.write_str("no such socket"),
            Self::Denied => f.write_str("permission denied"),
            Self::TimedOut => f.write_str("no answer in time"),
            Self::TooOld => f.write_str("does not serve CRI v1: the runtime is too old"),
            Self::Foreign => {
                f.write_str("it runs in another PID namespace, so its process numbers mean other processes here")
            }
            Self::Failed(words) => f.write_str(words),
        }
    }
}

impl fmt::Display for Tried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.endpoint, self.outcome)?;
        if matches!(self.outcome, Outcome::Absent) {
            return Ok(());
        }
        match self.owner {
            Some(uid) => write!(f, " ({} ms; user {uid}'s own)", self.milliseconds),
            None => write!(f, " ({} ms)", self.milliseconds),
        }
    }
}
