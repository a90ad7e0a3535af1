//! Sockets and the processes that own them.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Endpoint, Family, Protocol};

/// State of a socket, in ss's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the names are TCP's own (include/net/tcp_states.h)")]
pub enum SocketState {
    Established,
    SynSent,
    SynRecv,
    #[serde(rename = "fin-wait-1")]
    FinWait1,
    #[serde(rename = "fin-wait-2")]
    FinWait2,
    TimeWait,
    Unconnected,
    CloseWait,
    LastAck,
    Listen,
    Closing,
}

impl SocketState {
    /// Whether a connection in this state is going on: no listener, nothing unconnected, nothing that is over.
    #[must_use]
    pub fn is_live(self) -> bool {
        !matches!(self, Self::Listen | Self::TimeWait | Self::Unconnected)
    }
}

impl fmt::Display for SocketState {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(match self {
            Self::Established => "established",
            Self::SynSent => "syn-sent",
            Self::SynRecv => "syn-recv",
            Self::FinWait1 => "fin-wait-1",
            Self::FinWait2 => "fin-wait-2",
            Self::TimeWait => "time-wait",
            Self::Unconnected => "unconnected",
            Self::CloseWait => "close-wait",
            Self::LastAck => "last-ack",
            Self::Listen => "listen",
            Self::Closing => "closing",
        })
    }
}

/// One socket of the namespace, as sock_diag gives it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Socket {
    /// Transport protocol.
    pub protocol: Protocol,
    /// The socket's own family: a v4-mapped one is [`Family::Ip6`].
    pub family: Family,
    /// It is an IPv6 socket that speaks IPv4: its packets follow the IPv4 rules.
    pub mapped: bool,
    /// State.
    pub state: SocketState,
    /// Local end.
    pub local: Endpoint,
    /// Other end; `None` for listeners and unconnected sockets.
    pub peer: Option<Endpoint>,
    /// Owner's UID as the node counts (K14).
    pub uid: u32,
    /// Inode; 0 where no descriptor holds it (TIME_WAIT, requests, orphans).
    pub inode: u32,
    /// `SO_MARK`; `None` when the kernel did not say (it tells only readers with CAP_NET_ADMIN).
    pub mark: Option<u32>,
    /// Bound interface, 0 for none.
    pub interface: u32,
    /// Bytes not yet read by the program (for a listener: connections waiting to be accepted).
    pub receive_queue: u32,
    /// Bytes not yet acknowledged by the peer (for a listener: the limit of the above).
    pub send_queue: u32,
}

/// One process of the workload, or one elsewhere that owns a socket of its namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// PID as the node counts.
    pub pid: u32,
    /// Start time in clock ticks after boot: with the PID its identity.
    pub start_time: u64,
    /// Command name (hostile).
    pub name: String,
    /// Effective UID as the node counts.
    pub uid: u32,
    /// That user's name in `etc/passwd` below the process's own root (hostile); `None` where it has none or it was not read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Effective GID as the node counts.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// Name of its container, where the cgroup path tells.
    pub container: Option<String>,
    /// Inodes of the sockets of the namespace that it holds, in order.
    pub sockets: Vec<u32>,
}
