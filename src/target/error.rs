//! Why no workload was found. Kinds for the caller to tell apart; the hints are the command line's.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::world::{Outcome, Tried};

/// One of several workloads that a target could mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Who it is, in words.
    pub describe: String,
    /// The words that pick it, such as `pod/web -n blue`.
    pub command_word: String,
}

/// Why a target led to no workload.
#[derive(Debug, Error)]
pub enum TargetError {
    /// No runtime, no process, no namespace of that name.
    #[error("no {asked} on this node{}", asked_of(tried))]
    NotFound {
        /// What was asked.
        asked: String,
        /// The endpoints that were asked.
        tried: Vec<Tried>,
        /// Names that are there and look alike.
        near: Vec<String>,
    },
    /// Several workloads in different network namespaces answer to it.
    #[error("{asked} is ambiguous: {} workloads answer to it", candidates.len())]
    Ambiguous {
        /// What was asked.
        asked: String,
        /// All of them.
        candidates: Vec<Candidate>,
    },
    /// The pod has no such container.
    #[error("{workload} has no container {asked:?}; it has {}", containers.join(", "))]
    NoSuchContainer {
        /// The pod.
        workload: String,
        /// The container that was asked for.
        asked: String,
        /// Those that it has.
        containers: Vec<String>,
    },
    /// It exists and has no process.
    #[error("{what} is not running ({state}){}", if pod.is_some() { "" } else { ": it has no network namespace to look at" })]
    NotRunning {
        /// Which workload.
        what: String,
        /// Its state in the runtime's word.
        state: String,
        /// The word for its pod, where that runs and has the namespace still.
        pod: Option<String>,
    },
    /// It went away, or another process took its number, while it was looked at.
    #[error("{what} went away while it was looked at: {why}")]
    Gone {
        /// Which workload.
        what: String,
        /// How that showed.
        why: String,
    },
    /// The runtime names a process, and nothing shows that it is the workload's.
    #[error("{runtime} names process {pid} for {what}, but {why}")]
    Unproven {
        /// Which workload.
        what: String,
        /// The number that was named.
        pid: u32,
        /// Who named it.
        runtime: String,
        /// What is missing, or speaks against it.
        why: &'static str,
    },
    /// A right is missing.
    #[error("not permitted to {what}{}", capability.map(|name| format!(": {name} is missing")).unwrap_or_default())]
    NotPermitted {
        /// What was attempted on what.
        what: String,
        /// The capability that is missing, where that is the reason.
        capability: Option<&'static str>,
        /// The refusal.
        #[source]
        source: Option<io::Error>,
    },
    /// No runtime's socket is there, and `/proc` shows no container.
    #[error("{asked} cannot be looked up: no container runtime on this node{}", asked_of(tried))]
    NoRuntime {
        /// What was asked.
        asked: String,
        /// The places that were tried.
        tried: Vec<Tried>,
    },
    /// Not found among the runtimes that answered, and not all of them did.
    #[error("{asked} was not found, and not every runtime answered{}", asked_of(tried))]
    RuntimeFailed {
        /// What was asked.
        asked: String,
        /// The endpoints that were asked.
        tried: Vec<Tried>,
    },
    /// The runtime knows it and gives neither a process nor a namespace for it.
    #[error("{runtime} names neither a process nor a network namespace for {what}")]
    NoProcess {
        /// Which workload.
        what: String,
        /// Which runtime.
        runtime: String,
    },
    /// A user's own runtime names a process that is not that user's.
    #[error("process {pid} is not of user {uid}, whose runtime says that it is {what}")]
    NotTheirs {
        /// Which workload.
        what: String,
        /// The process.
        pid: u32,
        /// The user.
        uid: u32,
    },
    /// Process numbers mean something else here.
    #[error(
        "{what} counts processes in another PID namespace: its numbers mean other processes here; run nslens in that PID namespace"
    )]
    ForeignPids {
        /// The runtime's socket or the `/proc` that counts otherwise.
        what: String,
    },
    /// The file is there and is no network namespace.
    #[error("{} is not a network namespace", path.display())]
    NotNetns {
        /// The file.
        path: PathBuf,
    },
    /// Saved text is no live workload.
    #[error("{asked} is saved text, not a live workload")]
    NotLive {
        /// What was asked.
        asked: String,
    },
    /// The asynchronous machinery or the kernel failed.
    #[error("cannot {what}")]
    Failed {
        /// What was attempted on what.
        what: String,
        /// The failure.
        #[source]
        source: io::Error,
    },
}

impl TargetError {
    /// The endpoints that were asked in vain.
    #[must_use]
    pub fn tried(&self) -> &Vec<Tried> {
        static NONE: Vec<Tried> = Vec::new();
        match self {
            Self::NotFound { tried, .. } | Self::NoRuntime { tried, .. } | Self::RuntimeFailed { tried, .. } => tried,
            _ => &NONE,
        }
    }

    /// Turns a refusal by the kernel into the error of its kind.
    ///
    /// `what` is the attempt ("open the network namespace of process 7"), `who` the workload that may have gone.
    pub(super) fn of_kernel(error: io::Error, what: String, who: &str) -> Self {
        match error.kind() {
            io::ErrorKind::PermissionDenied => {
                Self::NotPermitted { what, capability: missing_capability(), source: Some(error) }
            }
            io::ErrorKind::NotFound => Self::Gone { what: who.to_owned(), why: "its process has ended".to_owned() },
            _ => Self::Failed { what, source: error },
        }
    }
}

/// Opening another's `/proc/PID/ns` takes CAP_SYS_PTRACE (ptrace(2), PTRACE_MODE_READ_FSCREDS); others are no reason.
fn missing_capability() -> Option<&'static str> {
    crate::sys::caps::missing().into_iter().find(|name| *name == "CAP_SYS_PTRACE")
}

/// ` (tried …)`: the places where something was, or all of them when no runtime was anywhere.
fn asked_of(tried: &[Tried]) -> String {
    let is_runtime = |one: &&Tried| !matches!(one.outcome, Outcome::Absent | Outcome::Inferred { .. });
    let any = tried.iter().any(|one| is_runtime(&one));
    let shown = tried.iter().filter_map(|one| match one.outcome {
        Outcome::Absent if one.explicit => Some(one.to_string()),
        Outcome::Absent if any => None,
        Outcome::Absent => Some(one.endpoint.clone()),
        _ => Some(one.to_string()),
    });
    let shown: Vec<String> = shown.collect();
    if shown.is_empty() { String::new() } else { format!(" (tried {})", shown.join("; ")) }
}
