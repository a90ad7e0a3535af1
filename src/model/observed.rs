//! What is told of the connections of a namespace while they are followed.

use super::{Endpoint, Family, Flow, Protocol, Socket};

/// One thing that was told, or seen by looking again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observed {
    /// Connection tracking told of an entry. What did not change may be missing in it: the state, the counters.
    Tracked(Happening, Flow),
    /// The kernel told that a socket came to its end.
    SocketGone(GoneSocket),
    /// The kernel could not keep all that it had to tell. What was told until then stands before, a new list comes after.
    Lost,
    /// A list of entries begins. What is told before its end may be newer than what it says.
    ListBegins,
    /// An entry of the list.
    Listed(Flow),
    /// The list is whole, and all that was told meanwhile stands before.
    ListEnds,
    /// The list could not be had whole: what is missing in it says nothing.
    ListFails,
    /// All sockets that listen or are connected; all that tracking told meanwhile stands before.
    Sockets(Vec<Socket>),
}

/// What happened to a tracked entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Happening {
    /// It is new.
    New,
    /// Something of it changed.
    Updated,
    /// It was dropped.
    Dropped,
}

/// A socket that came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GoneSocket {
    /// Transport protocol.
    pub protocol: Protocol,
    /// The socket's own family.
    pub family: Family,
    /// Its end here.
    pub local: Endpoint,
    /// The other end; `None` where it never had one.
    pub peer: Option<Endpoint>,
    /// The kernel's number of it.
    pub cookie: u64,
}
