//! Processes that own sockets.

use serde::{Deserialize, Serialize};

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
}
