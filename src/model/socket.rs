//! Sockets: those of connections, and beside them raw, packet, Multipath TCP and UNIX ones.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Endpoint, Family, Protocol};

/// State of a socket, in ss's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(
    missing_docs,
    reason = "the names are TCP's and SCTP's own (include/net/tcp_states.h, include/net/sctp/constants.h)"
)]
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
    CookieWait,
    CookieEchoed,
    ShutdownPending,
    ShutdownSent,
    ShutdownReceived,
    ShutdownAckSent,
}

impl SocketState {
    /// All of them.
    pub const ALL: [Self; 17] = [
        Self::Established,
        Self::SynSent,
        Self::SynRecv,
        Self::FinWait1,
        Self::FinWait2,
        Self::TimeWait,
        Self::Unconnected,
        Self::CloseWait,
        Self::LastAck,
        Self::Listen,
        Self::Closing,
        Self::CookieWait,
        Self::CookieEchoed,
        Self::ShutdownPending,
        Self::ShutdownSent,
        Self::ShutdownReceived,
        Self::ShutdownAckSent,
    ];

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
            Self::CookieWait => "cookie-wait",
            Self::CookieEchoed => "cookie-echoed",
            Self::ShutdownPending => "shutdown-pending",
            Self::ShutdownSent => "shutdown-sent",
            Self::ShutdownReceived => "shutdown-received",
            Self::ShutdownAckSent => "shutdown-ack-sent",
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
    /// What else the kernel tells of it.
    #[serde(flatten)]
    pub details: SocketDetails,
}

impl Socket {
    /// A datagram socket without a peer: it may send to anyone.
    #[must_use]
    pub fn is_unconnected(&self) -> bool {
        let datagrams = matches!(self.protocol.number(), 17 | 136);
        datagrams && self.peer.is_none() && self.state == SocketState::Unconnected
    }
}

/// What the kernel tells of a socket beside its ends. Everything may be missing: in snapshots of earlier versions all of it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketDetails {
    /// The kernel's number of the socket, never used twice while the machine runs; 0 where it was not told.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cookie: u64,
    /// ID (inode) of the v2 cgroup in which it was made; `None` for what is no whole socket (TIME_WAIT, requests).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<u64>,
    /// `IPV6_V6ONLY`: takes no IPv4. Told of listening and unconnected IPv6 sockets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only_v6: Option<bool>,
    /// `IP_TRANSPARENT`: may use addresses that are not the machine's own, as TPROXY needs it. Told since Linux 5.10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transparent: Option<bool>,
    /// A handshake that is not over (a request): there is no socket yet, and nobody owns it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub request: bool,
    /// The timer that runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timer: Option<Timer>,
    /// Congestion algorithm, where it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub congestion: Option<String>,
    /// TCP's own figures, where they were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<Box<TcpFigures>>,
}

/// What a socket waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timer {
    /// Which timer.
    pub kind: TimerKind,
    /// Milliseconds until it is over.
    pub expires: u32,
    /// How often what it guards was repeated: packets for the first, probes for the second and the fourth kind.
    #[serde(default)]
    pub retransmits: u8,
}

/// Timers by `idiag_timer` (net/ipv4/inet_diag.c), in ss's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TimerKind {
    /// Something unanswered will be sent again.
    On,
    /// Keepalive, or the end of FIN-WAIT-2.
    Keepalive,
    /// End of TIME-WAIT.
    TimeWait,
    /// The peer's window is closed: a probe will be sent.
    Persist,
    /// A kind that this program does not know.
    #[serde(untagged)]
    Other(u8),
}

impl fmt::Display for TimerKind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::On => out.pad("on"),
            Self::Keepalive => out.pad("keepalive"),
            Self::TimeWait => out.pad("timewait"),
            Self::Persist => out.pad("persist"),
            Self::Other(number) => write!(out, "timer {number}"),
        }
    }
}

/// The part of `struct tcp_info` (`include/uapi/linux/tcp.h`) that tells how a connection is doing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TcpFigures {
    /// Smoothed round-trip time, microseconds; for a passive half before its first data 0.
    pub rtt: u32,
    /// Its mean deviation, microseconds.
    pub rtt_deviation: u32,
    /// Congestion window, packets.
    pub congestion_window: u32,
    /// Packets sent again that are not acknowledged yet.
    pub retransmitting: u32,
    /// Packets sent again since the beginning.
    pub retransmits: u32,
    /// Packets sent that are not acknowledged yet.
    pub unacknowledged: u32,
    /// Milliseconds since data were sent last, or since the beginning.
    pub last_sent: u32,
    /// Milliseconds since data came last, or since the beginning.
    pub last_received: u32,
    /// Milliseconds since an acknowledgement came last.
    pub last_acknowledged: u32,
    /// Bytes that the peer has acknowledged, its handshake counted as one. Told since Linux 4.1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_acknowledged: Option<u64>,
    /// Bytes that came, the end of the stream counted as one. Told since Linux 4.1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_received: Option<u64>,
}

/// A socket that is no end of a connection of its own, or none that rules for ports could redirect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "kind")]
pub enum OtherSocket {
    /// Multipath TCP: what the program holds. What carries it is among the TCP sockets, the
    /// first with the same inode.
    Mptcp(Socket),
    /// Raw IP: the protocol is the one whose packets it gets. No ports.
    Raw(Socket),
    /// Packets as the interfaces have them (packet(7)): sniffers, DHCP clients.
    Packet(PacketSocket),
    /// A UNIX socket that a path names.
    Unix(UnixSocket),
}

impl OtherSocket {
    /// A Multipath TCP socket.
    #[must_use]
    pub fn mptcp(&self) -> Option<&Socket> {
        if let Self::Mptcp(socket) = self { Some(socket) } else { None }
    }

    /// A raw socket.
    #[must_use]
    pub fn raw(&self) -> Option<&Socket> {
        if let Self::Raw(socket) = self { Some(socket) } else { None }
    }

    /// A packet socket.
    #[must_use]
    pub fn packet(&self) -> Option<&PacketSocket> {
        if let Self::Packet(socket) = self { Some(socket) } else { None }
    }

    /// A UNIX socket.
    #[must_use]
    pub fn unix(&self) -> Option<&UnixSocket> {
        if let Self::Unix(socket) = self { Some(socket) } else { None }
    }

    /// Its inode, 0 where nobody holds it.
    #[must_use]
    pub fn inode(&self) -> u32 {
        match self {
            Self::Mptcp(socket) | Self::Raw(socket) => socket.inode,
            Self::Packet(socket) => socket.inode,
            Self::Unix(socket) => socket.inode,
        }
    }
}

/// A packet socket (packet(7)).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PacketSocket {
    /// It gets packets with their link-layer header (`SOCK_RAW`), not without (`SOCK_DGRAM`).
    pub with_header: bool,
    /// `ETH_P_*` of the packets that it gets; 3 is all, 0 none.
    pub ethertype: u16,
    /// Interface whose packets it gets, 0 for all; `None` where the kernel did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<u32>,
    /// Owner's UID as the node counts; `None` where the kernel did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// Inode.
    pub inode: u32,
    /// The kernel's number of the socket.
    pub cookie: u64,
}

/// A UNIX socket that others find by its path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnixSocket {
    /// Where it lies as the program that made it has it (hostile; relative to its folder at that time unless it begins with `/`).
    pub path: String,
    /// It takes connections; otherwise datagrams, or it is one half of a connection that was taken.
    pub listening: bool,
    /// Owner's UID as the node counts; `None` where the kernel did not say (before Linux 5.3).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// Inode.
    pub inode: u32,
    /// The kernel's number of the socket.
    pub cookie: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}
