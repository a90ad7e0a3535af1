//! Processes that own sockets.

use serde::{Deserialize, Serialize};

use super::NetnsId;

/// One process of the workload, or one elsewhere that owns a socket of its namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// PID as the node counts: the number of the whole thread group.
    pub pid: u32,
    /// Start time in clock ticks after boot: with the PID its identity.
    pub start_time: u64,
    /// Command name (hostile).
    pub name: String,
    /// User that its sockets and files get, as the node counts: the fourth of `Uid:`, and but for file servers the effective one.
    pub uid: u32,
    /// That user's name in `etc/passwd` below the process's own root (hostile); `None` where it has none or it was not read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Group that they get, likewise.
    pub gid: u32,
    /// Supplementary groups, as the node counts.
    pub groups: Vec<u32>,
    /// Name of its container, where the cgroup path tells.
    pub container: Option<String>,
    /// It lives in another network namespace (K15).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub elsewhere: bool,
    /// Inodes of the sockets of the namespace that it holds, in order.
    pub sockets: Vec<u32>,
    /// Effective capabilities, a bit for each: `CapEff` of `/proc/PID/status`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<u64>,
    /// Its network namespace, where that is not the workload's although it is a process of one of its containers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub netns: Option<NetnsId>,
    /// What it has open; only of processes that own a socket that listens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub descriptors: Option<Descriptors>,
    /// Its state where that matters: `Z` has ended and is not waited for, `T` and `t` are stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<char>,
}

impl Process {
    /// It has ended, and only nobody has waited for it yet.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.state == Some('Z')
    }

    /// It can send from the workload's network namespace: it has neither ended nor, itself one of the workload's, left for another.
    #[must_use]
    pub fn can_send(&self) -> bool {
        !self.has_ended() && self.netns.is_none()
    }
}

/// How many descriptors a process has open, and how many it may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Descriptors {
    /// Those that are open.
    pub open: u32,
    /// The soft limit: `RLIMIT_NOFILE` of `getrlimit(2)`; `u64::MAX` stands for none.
    pub limit: u64,
}
