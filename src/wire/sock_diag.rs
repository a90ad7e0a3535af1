//! Sockets as sock_diag gives them: the request for one protocol and family, and one socket from one answer.
//!
//! Source of the layouts: `include/uapi/linux/inet_diag.h` (`inet_diag_req_v2`, `inet_diag_msg`), of the states
//! `include/net/tcp_states.h`. Sockets of every protocol use TCP's numbers for their states, only SCTP's associations have others.

mod figures;
pub mod packet;
pub mod single;
pub mod unix;

use std::net::{Ipv4Addr, Ipv6Addr};

use super::attribute::{Attribute, Builder, CutAttribute, attributes};
use crate::model::{Endpoint, Family, Protocol, Socket, SocketDetails, SocketState, Timer, TimerKind};

/// `SOCK_DIAG_BY_FAMILY`: message type of the request and of its answers (`include/uapi/linux/sock_diag.h`).
pub const BY_FAMILY: u16 = 20;
/// `TCPDIAG_GETSOCK`: the older request for TCP and its answers.
pub const TCP: u16 = 18;

/// SCTP, as a socket's protocol.
pub const SCTP: Protocol = Protocol::Other(132);
/// UDP-Lite, as a socket's protocol.
pub const UDP_LITE: Protocol = Protocol::Other(136);

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
/// `IPPROTO_RAW`: asks for the raw sockets of every protocol.
const RAW: u8 = 255;
/// `IPPROTO_MPTCP`, which does not fit where the others stand.
const MPTCP: u32 = 262;
/// `INET_DIAG_REQ_PROTOCOL`: where such a number stands instead.
const WIDE_PROTOCOL: u16 = 3;

/// Bytes of `struct inet_diag_sockid`.
const SOCKET_ID: usize = 48;
/// Every bit, so that states which newer kernels list only when named (bound without being connected, Linux 6.8) come too.
pub const EVERY_STATE: u32 = u32::MAX;
/// Those in which a connection is going on: not over, not closed, not listening, not only bound.
pub const LIVE: u32 = EVERY_STATE & !(1 << 6 | 1 << 7 | 1 << 10 | 1 << 13);
/// Those of TCP that listen.
pub const LISTENING: u32 = 1 << 10;
/// Those of UDP that are connected to nobody.
pub const UNCONNECTED: u32 = 1 << 7;
/// Bytes of `struct inet_diag_msg`; attributes follow.
const MESSAGE: usize = 72;

/// `INET_DIAG_INFO` and `INET_DIAG_CONG`, sent where asked for.
const INFO: u16 = 2;
const CONGESTION: u16 = 4;
/// `INET_DIAG_SHUTDOWN`: sent unasked, of whole sockets only.
const SHUTDOWN: u16 = 8;
/// `INET_DIAG_PROTOCOL`: of raw sockets.
const PROTOCOL: u16 = 10;
/// `INET_DIAG_SKV6ONLY`: of IPv6 sockets that listen or are not connected.
const ONLY_V6: u16 = 11;
/// `INET_DIAG_LOCALS` and `INET_DIAG_PEERS`: every address of an SCTP association.
const LOCALS: u16 = 12;
const PEERS: u16 = 13;
/// `INET_DIAG_MARK`: sent unasked, to readers with CAP_NET_ADMIN over the namespace only.
const MARK: u16 = 15;
/// `INET_DIAG_CGROUP_ID` and `INET_DIAG_SOCKOPT`: sent unasked.
const CGROUP: u16 = 21;
const OPTIONS: u16 = 22;

/// What is wanted of sockets beside what comes unasked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// A bit for each state.
    pub states: u32,
    /// Figures of TCP, and the congestion algorithm: some 250 bytes more for each socket.
    pub figures: bool,
}

impl Wanted {
    /// The sockets of these states, and nothing that does not come unasked.
    #[must_use]
    pub fn states(states: u32) -> Self {
        Self { states, figures: false }
    }

    /// `idiag_ext`: a bit for each attribute, the lowest for number 1.
    fn extensions(self) -> u8 {
        if self.figures { 1 << (INFO - 1) | 1 << (CONGESTION - 1) } else { 0 }
    }
}

/// An answer that is no socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SockDiagError {
    /// Shorter than `struct inet_diag_msg`.
    #[error("socket message of {0} bytes is cut short")]
    Short(usize),
    /// Neither IPv4 nor IPv6.
    #[error("socket of unknown address family {0}")]
    Family(u8),
    /// A state that is not one of TCP's, or of SCTP's.
    #[error("socket in unknown state {0}")]
    State(u8),
    /// What follows the fixed part does not divide into attributes.
    #[error("socket message: {0}")]
    Attribute(#[from] CutAttribute),
}

/// The payload of a dump request (`struct inet_diag_req_v2`) for the sockets of one protocol and family.
///
/// Families other than [`Family::Ip6`] ask for IPv4.
#[must_use]
pub fn request(family: Family, protocol: Protocol, wanted: Wanted) -> Vec<u8> {
    by_family(family, protocol.number(), wanted)
}

/// The same for the raw sockets of all protocols.
#[must_use]
pub fn raw_request(family: Family, wanted: Wanted) -> Vec<u8> {
    by_family(family, RAW, wanted)
}

/// The same for Multipath TCP.
#[must_use]
pub fn mptcp_request(family: Family, wanted: Wanted) -> Vec<u8> {
    // Without the attribute a kernel would list the raw sockets: one that knows Multipath TCP here knows the attribute.
    Builder::after(&by_family(family, RAW, wanted)).put(WIDE_PROTOCOL, &MPTCP.to_ne_bytes()).finish()
}

fn by_family(family: Family, protocol: u8, wanted: Wanted) -> Vec<u8> {
    let number = if family == Family::Ip6 { AF_INET6 } else { AF_INET };
    let mut request = vec![number, protocol, wanted.extensions(), 0];
    request.extend(wanted.states.to_ne_bytes());
    request.resize(request.len() + SOCKET_ID, 0);
    request
}

/// The payload of a [`TCP`] request (`struct inet_diag_req`) for the TCP sockets of both families.
///
/// The kernel walks its one table of all connections of all namespaces for each dump, at the cost of some 0.5 ms on a machine of
/// 24 GiB whatever is in it. The newer request names a family and so costs that twice; this one is answered for both at once
/// (`inet_diag_dump_compat`, net/ipv4/inet_diag.c).
#[must_use]
pub fn tcp_request(wanted: Wanted) -> Vec<u8> {
    let mut request = vec![0, 0, 0, wanted.extensions()];
    request.resize(request.len() + SOCKET_ID, 0);
    request.extend(wanted.states.to_ne_bytes());
    request.extend(0_u32.to_ne_bytes());
    request
}

/// Reads one answer to a [`request`] or [`tcp_request`] for `protocol` (the answer itself does not name it).
///
/// # Errors
/// See [`SockDiagError`].
pub fn decode(protocol: Protocol, payload: &[u8]) -> Result<Socket, SockDiagError> {
    let head: &[u8; MESSAGE] = payload.first_chunk().ok_or(SockDiagError::Short(payload.len()))?;
    let attached = Attached::read(protocol, payload)?;
    let family = match head[0] {
        AF_INET => Family::Ip,
        AF_INET6 => Family::Ip6,
        other => return Err(SockDiagError::Family(other)),
    };
    // Only associations have the addresses of a peer.
    let state = if attached.peers.is_some() { association(head[1])? } else { state(protocol, head[1])? };
    let (local, local_mapped) = attached.end(family, attached.locals, array(head, 8), port(head, 4));
    let (peer, peer_mapped) = attached.end(family, attached.peers, array(head, 24), port(head, 6));
    let mut details = attached.details;
    details.cookie = cookie(array(head, 44));
    details.request = state == SocketState::SynRecv && !attached.whole;
    details.timer = timer(head[2], head[3], word(head, 52));
    if state == SocketState::Listen {
        // The figures of a listener are other ones: of its queue.
        details.tcp = None;
    }
    // A socket that was connected once may keep the other end's address: it says nothing any more.
    let connected = !matches!(state, SocketState::Listen | SocketState::Unconnected);
    Ok(Socket {
        protocol,
        family,
        mapped: local_mapped || (connected && peer_mapped),
        state,
        local,
        peer: connected.then_some(peer),
        uid: word(head, 64),
        inode: word(head, 68),
        mark: attached.mark,
        interface: word(head, 40),
        receive_queue: word(head, 56),
        send_queue: word(head, 60),
        details,
    })
}

/// Reads one answer to a [`mptcp_request`]; its figures, which are others than TCP's, are left out.
///
/// # Errors
/// See [`SockDiagError`].
pub fn decode_mptcp(payload: &[u8]) -> Result<Socket, SockDiagError> {
    let mut socket = decode(Protocol::Tcp, payload)?;
    socket.details.tcp = None;
    Ok(socket)
}

/// Reads one answer to a [`raw_request`]. The protocol stands where others have their port.
///
/// # Errors
/// See [`SockDiagError`].
pub fn decode_raw(payload: &[u8]) -> Result<Socket, SockDiagError> {
    // No protocol has the number 0 in a packet, and none of its states is another's.
    let mut socket = decode(Protocol::Other(0), payload)?;
    let told = attributes(payload.get(MESSAGE..).unwrap_or_default()).flatten().find(|one| one.kind == PROTOCOL);
    let number = told.and_then(|told| told.u8()).or_else(|| u8::try_from(socket.local.port).ok());
    socket.protocol = Protocol::from_number(number.unwrap_or(RAW));
    socket.local.port = 0;
    if let Some(peer) = &mut socket.peer {
        peer.port = 0;
    }
    Ok(socket)
}

/// What stands behind the fixed part.
#[derive(Default)]
struct Attached<'a> {
    /// It is a socket with all that belongs to one, and not the remains or the beginnings of one.
    whole: bool,
    mark: Option<u32>,
    locals: Option<&'a [u8]>,
    peers: Option<&'a [u8]>,
    details: SocketDetails,
}

impl<'a> Attached<'a> {
    fn read(protocol: Protocol, payload: &'a [u8]) -> Result<Self, CutAttribute> {
        let mut read = Self::default();
        for attribute in attributes(payload.get(MESSAGE..).unwrap_or_default()) {
            let attribute: Attribute<'a> = attribute?;
            match attribute.kind {
                SHUTDOWN => read.whole = true,
                MARK => read.mark = attribute.u32(),
                CGROUP => read.details.cgroup = attribute.value.first_chunk().map(|id| u64::from_ne_bytes(*id)),
                ONLY_V6 => read.details.only_v6 = attribute.u8().map(|only| only != 0),
                OPTIONS => read.details.transparent = attribute.u8().map(|bits| bits & TRANSPARENT != 0),
                INFO if protocol == Protocol::Tcp => {
                    read.details.tcp = figures::decode(attribute.value).map(Box::new);
                }
                CONGESTION => read.details.congestion = Some(attribute.text()),
                LOCALS if protocol == SCTP => read.locals = Some(attribute.value),
                PEERS if protocol == SCTP => read.peers = Some(attribute.value),
                _ => {}
            }
        }
        Ok(read)
    }

    /// An end of the socket; addresses and ports stand in network order, an IPv4 address in the first word.
    ///
    /// An SCTP association of an IPv6 socket that speaks IPv4 has nothing of use there (`inet_diag_msg_sctpasoc_fill` copies from
    /// where an IPv6 address would be): then the first of its addresses stands for it.
    fn end(&self, family: Family, all: Option<&[u8]>, address: [u8; 16], port: u16) -> (Endpoint, bool) {
        /// Bytes of `struct sockaddr_storage`.
        const STORAGE: usize = 128;
        let [a, b, c, d, ..] = address;
        if family != Family::Ip6 {
            return (Endpoint::new(Ipv4Addr::new(a, b, c, d).into(), port), false);
        }
        let given = Ipv6Addr::from(address);
        let first = all.filter(|_| self.peers.is_some()).and_then(|all| all.chunks_exact(STORAGE).next());
        match first {
            // `struct sockaddr_in`: family, port, address.
            Some([f0, f1, _, _, a, b, c, d, ..]) if u16::from_ne_bytes([*f0, *f1]) == u16::from(AF_INET) => {
                (Endpoint::new(Ipv4Addr::new(*a, *b, *c, *d).into(), port), true)
            }
            _ => Endpoint::unmapped(given.into(), port),
        }
    }
}

/// `TCP_NEW_SYN_RECV`: a request that has no socket of its own yet; the kernel calls it `TCP_SYN_RECV` here.
const NEW_SYN_RECV: u8 = 12;

/// The sixth bit field of `struct inet_diag_sockopt`: compilers begin with the lowest bit where the lowest byte comes first.
const TRANSPARENT: u8 = if cfg!(target_endian = "little") { 1 << 5 } else { 1 << 2 };

/// TCP's state numbers. A UDP socket is in state 1 when connected and in 7 when not.
fn state(protocol: Protocol, number: u8) -> Result<SocketState, SockDiagError> {
    Ok(match number {
        1 => SocketState::Established,
        2 => SocketState::SynSent,
        3 | NEW_SYN_RECV => SocketState::SynRecv,
        4 => SocketState::FinWait1,
        5 => SocketState::FinWait2,
        6 => SocketState::TimeWait,
        // 13 is TCP_BOUND_INACTIVE: bound, neither listening nor connected.
        7 | 13 => SocketState::Unconnected,
        8 => SocketState::CloseWait,
        9 => SocketState::LastAck,
        10 if protocol == Protocol::Tcp || protocol == SCTP => SocketState::Listen,
        11 => SocketState::Closing,
        other => return Err(SockDiagError::State(other)),
    })
}

/// `enum sctp_state` (include/net/sctp/constants.h).
fn association(number: u8) -> Result<SocketState, SockDiagError> {
    Ok(match number {
        0 => SocketState::Unconnected,
        1 => SocketState::CookieWait,
        2 => SocketState::CookieEchoed,
        3 => SocketState::Established,
        4 => SocketState::ShutdownPending,
        5 => SocketState::ShutdownSent,
        6 => SocketState::ShutdownReceived,
        7 => SocketState::ShutdownAckSent,
        other => return Err(SockDiagError::State(other)),
    })
}

/// `idiag_timer` with what belongs to it; `None` where none runs.
fn timer(kind: u8, retransmits: u8, expires: u32) -> Option<Timer> {
    let kind = match kind {
        0 => return None,
        1 => TimerKind::On,
        2 => TimerKind::Keepalive,
        3 => TimerKind::TimeWait,
        4 => TimerKind::Persist,
        other => TimerKind::Other(other),
    };
    // The kernel subtracts without looking: a timer that is over, and was not served yet, would have weeks to go.
    let expires = if i32::try_from(expires).is_ok() { expires } else { 0 };
    Some(Timer { kind, expires, retransmits })
}

/// Two words, the lower one first, each in the machine's order.
fn cookie(bytes: [u8; 8]) -> u64 {
    let [a, b, c, d, e, f, g, h] = bytes;
    u64::from(u32::from_ne_bytes([e, f, g, h])) << 32 | u64::from(u32::from_ne_bytes([a, b, c, d]))
}

/// `N` bytes of the fixed part; every offset used here lies inside it.
fn array<const N: usize>(head: &[u8; MESSAGE], at: usize) -> [u8; N] {
    head.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; N])
}

fn word(head: &[u8; MESSAGE], at: usize) -> u32 {
    u32::from_ne_bytes(array(head, at))
}

fn port(head: &[u8; MESSAGE], at: usize) -> u16 {
    u16::from_be_bytes(array(head, at))
}

#[cfg(test)]
mod tests;
