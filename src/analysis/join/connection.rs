//! What the join tells of each socket.

use crate::model::{Endpoint, Family, Protocol, RuleRef, SocketState};

/// Which way a connection took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Way {
    /// No connection: it waits for some, or takes datagrams from anyone.
    Listening,
    /// The packets go where the program sent them.
    Direct,
    /// The program dialled elsewhere than its packets went.
    Redirected,
    /// The half that the target of a redirection accepted.
    Intercepted,
    /// Direct because of a rule that names its owner or mark.
    Exempt,
    /// Cannot be told.
    Unknown,
}

impl Way {
    /// The word that stands for it in JSON and on the screen.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Listening => "listening",
            Self::Direct => "direct",
            Self::Redirected => "redirected",
            Self::Intercepted => "intercepted",
            Self::Exempt => "exempt",
            Self::Unknown => "unknown",
        }
    }
}

/// Which side of a connection a socket is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// It dialled.
    Out,
    /// It was dialled.
    In,
}

/// What the way of a connection is known from, the strongest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Evidence {
    /// The kernel's tracked entry says so.
    Tracked,
    /// Ports and addresses of two sockets fit each other, and nothing else does.
    Ends,
    /// Only the rules as they are now, or that nothing tracks here and so nothing is translated.
    Rules,
}

impl Evidence {
    /// The word that stands for it in JSON and on the screen.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Tracked => "tracked",
            Self::Ends => "ends",
            Self::Rules => "rules",
        }
    }
}

/// A process that holds a socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// PID as the node counts.
    pub pid: u32,
    /// Command name (hostile).
    pub name: String,
    /// Its container, where known.
    pub container: Option<String>,
    /// Its effective user's number, as the node counts.
    pub uid: u32,
    /// That user's name below its own root (hostile), where known.
    pub user: Option<String>,
}

/// One socket and all that is known of its connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// Transport protocol.
    pub protocol: Protocol,
    /// The socket's own family.
    pub family: Family,
    /// An IPv6 socket that speaks IPv4.
    pub mapped: bool,
    /// State of the socket.
    pub state: SocketState,
    /// Local end; of a datagram socket without a peer that sends, what its packets carry.
    pub local: Endpoint,
    /// Other end as the program sees it; `None` where there is none. Of a datagram socket without a peer, to whom it sent.
    pub peer: Option<Endpoint>,
    /// Owner's UID as the node counts; `None` where no descriptor holds the socket (the kernel then says 0, which is nobody's).
    pub uid: Option<u32>,
    /// Inode; 0 where no descriptor holds it.
    pub inode: u32,
    /// The processes that hold it, in order of PID.
    pub processes: Vec<Owner>,
    /// Which side it is; `None` where it has no other end.
    pub direction: Option<Direction>,
    /// What the connecting side dialled.
    pub original_destination: Option<Endpoint>,
    /// Where its packets go.
    pub actual_destination: Option<Endpoint>,
    /// The way it took.
    pub way: Way,
    /// The rule that redirects or exempts it today.
    pub rule: Option<RuleRef>,
    /// Inode of the socket that is the other half, where that is in the same namespace and held by somebody.
    pub twin: Option<u32>,
    /// What `way` is known from; `None` where nothing is claimed.
    pub evidence: Option<Evidence>,
    /// The kernel's id of the tracked entry that it was judged by ([`Flow::id`](crate::model::Flow::id)).
    pub flow: Option<u32>,
    /// It went as dialled though this rule would redirect it today: it is older than the rule, or goes past it (K7).
    pub would: Option<RuleRef>,
    /// The kernel gave the caller another source port, or address, than its own, to keep two flows apart (K13); no rule asked for it.
    pub rewritten_port: bool,
    /// Seconds since tracking began, where the kernel notes the time (`nf_conntrack_timestamp`).
    pub age: Option<u64>,
}

impl Connection {
    /// The name of the socket's user, where the process that holds it runs as that user.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        let owner = self.process().filter(|owner| Some(owner.uid) == self.uid)?;
        owner.user.as_deref()
    }

    /// The process that stands for all that hold the socket: the oldest by number.
    #[must_use]
    pub fn process(&self) -> Option<&Owner> {
        self.processes.first()
    }

    /// Whether it shows without being asked for: no listener, nothing that sends to nobody, nothing that is over.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.state.is_live() || (self.state == SocketState::Unconnected && self.peer.is_some())
    }
}
