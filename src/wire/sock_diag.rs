//! Sockets as sock_diag gives them: the request for one protocol and family, and one socket from one answer.
//!
//! Source of the layouts: `include/uapi/linux/inet_diag.h` (`inet_diag_req_v2`, `inet_diag_msg`), of the states
//! `include/net/tcp_states.h`. Sockets of every protocol use TCP's numbers for their states.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::attribute::{CutAttribute, attributes};
use crate::model::{Endpoint, Family, Protocol, Socket, SocketState};

/// `SOCK_DIAG_BY_FAMILY`: message type of the request and of its answers (`include/uapi/linux/sock_diag.h`).
pub const BY_FAMILY: u16 = 20;
/// `TCPDIAG_GETSOCK`: the older request for TCP and its answers.
pub const TCP: u16 = 18;

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// Bytes of `struct inet_diag_sockid`.
const SOCKET_ID: usize = 48;
/// Every bit, so that states which newer kernels list only when named (bound without being connected, Linux 6.8) come too.
pub const EVERY_STATE: u32 = u32::MAX;
/// Those in which a connection is going on: not over, not closed, not listening, not only bound.
pub const LIVE: u32 = EVERY_STATE & !(1 << 6 | 1 << 7 | 1 << 10 | 1 << 13);
/// Bytes of `struct inet_diag_msg`; attributes follow.
const MESSAGE: usize = 72;
/// `INET_DIAG_MARK`: sent unasked, to readers with CAP_NET_ADMIN over the namespace only.
const MARK: u16 = 15;

/// An answer that is no socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SockDiagError {
    /// Shorter than `struct inet_diag_msg`.
    #[error("socket message of {0} bytes is cut short")]
    Short(usize),
    /// Neither IPv4 nor IPv6.
    #[error("socket of unknown address family {0}")]
    Family(u8),
    /// A state that is not one of TCP's.
    #[error("socket in unknown state {0}")]
    State(u8),
    /// What follows the fixed part does not divide into attributes.
    #[error("socket message: {0}")]
    Attribute(#[from] CutAttribute),
}

/// The payload of a dump request (`struct inet_diag_req_v2`) for the sockets of one protocol and family, in the states of a mask.
///
/// Families other than [`Family::Ip6`] ask for IPv4.
#[must_use]
pub fn request(family: Family, protocol: Protocol, states: u32) -> Vec<u8> {
    let number = if family == Family::Ip6 { AF_INET6 } else { AF_INET };
    let mut request = vec![number, protocol.number(), 0, 0];
    request.extend(states.to_ne_bytes());
    request.resize(request.len() + SOCKET_ID, 0);
    request
}

/// The payload of a [`TCP`] request (`struct inet_diag_req`) for the TCP sockets of both families, in the states of a mask.
///
/// The kernel walks its one table of all connections of all namespaces for each dump, at the cost of some 0.5 ms on a machine of
/// 24 GiB whatever is in it. The newer request names a family and so costs that twice; this one is answered for both at once
/// (`inet_diag_dump_compat`, net/ipv4/inet_diag.c).
#[must_use]
pub fn tcp_request(states: u32) -> Vec<u8> {
    let mut request = vec![0; 4 + SOCKET_ID];
    request.extend(states.to_ne_bytes());
    request.extend(0_u32.to_ne_bytes());
    request
}

/// Reads one answer to a [`request`] or [`tcp_request`] for `protocol` (the answer itself does not name it).
///
/// # Errors
/// See [`SockDiagError`].
pub fn decode(protocol: Protocol, payload: &[u8]) -> Result<Socket, SockDiagError> {
    let head: &[u8; MESSAGE] = payload.first_chunk().ok_or(SockDiagError::Short(payload.len()))?;
    let family = match head[0] {
        AF_INET => Family::Ip,
        AF_INET6 => Family::Ip6,
        other => return Err(SockDiagError::Family(other)),
    };
    let state = state(protocol, head[1])?;
    let (local, local_mapped) = endpoint(family, array(head, 8), port(head, 4));
    let (peer, peer_mapped) = endpoint(family, array(head, 24), port(head, 6));
    let mut mark = None;
    for attribute in attributes(payload.get(MESSAGE..).unwrap_or_default()) {
        let attribute = attribute?;
        if attribute.kind == MARK {
            mark = attribute.u32();
        }
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
        mark,
        interface: word(head, 40),
        receive_queue: word(head, 56),
        send_queue: word(head, 60),
    })
}

/// TCP's state numbers. A UDP socket is in state 1 when connected and in 7 when not.
fn state(protocol: Protocol, number: u8) -> Result<SocketState, SockDiagError> {
    Ok(match number {
        1 => SocketState::Established,
        2 => SocketState::SynSent,
        // 12 is TCP_NEW_SYN_RECV, a request that has no socket of its own yet.
        3 | 12 => SocketState::SynRecv,
        4 => SocketState::FinWait1,
        5 => SocketState::FinWait2,
        6 => SocketState::TimeWait,
        // 13 is TCP_BOUND_INACTIVE: bound, neither listening nor connected.
        7 | 13 => SocketState::Unconnected,
        8 => SocketState::CloseWait,
        9 => SocketState::LastAck,
        10 if protocol == Protocol::Tcp => SocketState::Listen,
        11 => SocketState::Closing,
        other => return Err(SockDiagError::State(other)),
    })
}

/// An end of the socket; addresses and ports stand in network order, an IPv4 address in the first word.
fn endpoint(family: Family, address: [u8; 16], port: u16) -> (Endpoint, bool) {
    if family == Family::Ip6 {
        return Endpoint::unmapped(Ipv6Addr::from(address).into(), port);
    }
    let [a, b, c, d, ..] = address;
    (Endpoint::new(Ipv4Addr::new(a, b, c, d).into(), port), false)
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
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::attribute::Builder;

    /// An answer as Linux 6.18 sends it, with the attributes that come unasked.
    fn message(family: u8, state: u8, local: (&str, u16), peer: (&str, u16)) -> Vec<u8> {
        let address = |text: &str| match text.parse().expect("an address") {
            std::net::IpAddr::V4(v4) => [&v4.octets()[..], &[0; 12]].concat(),
            std::net::IpAddr::V6(v6) => v6.octets().to_vec(),
        };
        let mut bytes = vec![family, state, 0, 0];
        bytes.extend(local.1.to_be_bytes());
        bytes.extend(peer.1.to_be_bytes());
        bytes.extend(address(local.0));
        bytes.extend(address(peer.0));
        // Interface, cookie, expiry, receive and send queue, UID, inode.
        for word in [3_u32, 4123, 0, 0, 17, 5, 1000, 18495] {
            bytes.extend(word.to_ne_bytes());
        }
        Builder::after(&bytes)
            .put(8, &[0])
            .put(15, &0x539_u32.to_ne_bytes())
            .put(21, &1_u64.to_ne_bytes())
            .put(22, &[0x80, 0x21])
            .finish()
    }

    #[test]
    fn an_established_ipv4_socket() {
        let socket = decode(Protocol::Tcp, &message(2, 1, ("10.0.0.2", 59834), ("10.9.9.9", 80))).expect("a socket");
        assert_eq!(socket.state, SocketState::Established);
        assert_eq!(socket.local.to_string(), "10.0.0.2:59834");
        assert_eq!(socket.peer.map(|peer| peer.to_string()).as_deref(), Some("10.9.9.9:80"));
        assert_eq!((socket.uid, socket.inode, socket.mark, socket.interface), (1000, 18495, Some(0x539), 3));
        assert_eq!((socket.receive_queue, socket.send_queue), (17, 5));
        assert!(!socket.mapped);
    }

    #[test]
    fn a_v4_mapped_socket_is_ipv6_and_speaks_ipv4() {
        let bytes = message(10, 1, ("::ffff:127.0.0.1", 15001), ("::ffff:10.0.0.2", 59834));
        let socket = decode(Protocol::Tcp, &bytes).expect("a socket");
        assert_eq!((socket.family, socket.mapped), (Family::Ip6, true));
        assert_eq!(socket.local.to_string(), "127.0.0.1:15001");
    }

    #[test]
    fn a_dual_stack_listener_keeps_its_wildcard_and_has_no_peer() {
        let socket = decode(Protocol::Tcp, &message(10, 10, ("::", 8080), ("::", 0))).expect("a socket");
        assert_eq!(socket.local.to_string(), "[::]:8080");
        assert_eq!((socket.peer, socket.mapped, socket.state), (None, false, SocketState::Listen));
    }

    #[test]
    fn states_that_are_not_tcps_everyday_ones() {
        let of = |protocol, number| {
            decode(protocol, &message(2, number, ("0.0.0.0", 53), ("0.0.0.0", 0))).map(|socket| socket.state)
        };
        assert_eq!(of(Protocol::Udp, 7), Ok(SocketState::Unconnected));
        assert_eq!(of(Protocol::Udp, 1), Ok(SocketState::Established));
        assert_eq!(of(Protocol::Tcp, 12), Ok(SocketState::SynRecv));
        assert_eq!(of(Protocol::Tcp, 13), Ok(SocketState::Unconnected));
        assert_eq!(of(Protocol::Udp, 10), Err(SockDiagError::State(10)));
        assert_eq!(of(Protocol::Tcp, 99), Err(SockDiagError::State(99)));
    }

    #[test]
    fn the_mark_is_unknown_where_the_kernel_does_not_tell() {
        let bytes = message(2, 1, ("10.0.0.2", 1), ("10.9.9.9", 80));
        let socket = decode(Protocol::Tcp, &bytes[..MESSAGE]).expect("a socket");
        assert_eq!(socket.mark, None);
    }

    #[test]
    fn every_cut_is_an_error_or_a_socket_with_fewer_attributes() {
        let whole = message(10, 1, ("fd00::2", 40000), ("fd00::5", 443));
        for length in 0..whole.len() {
            let answer = decode(Protocol::Tcp, &whole[..length]);
            assert_eq!(
                answer.is_err(),
                length < MESSAGE || !is_boundary(&whole, length),
                "cut at {length}: {answer:?}"
            );
        }
    }

    /// Whether the attributes of `whole` divide at this byte: the padding after a value may be missing.
    fn is_boundary(whole: &[u8], length: usize) -> bool {
        attributes(&whole[MESSAGE..length]).all(|attribute| attribute.is_ok())
    }

    #[test]
    fn the_request_is_as_long_as_the_kernel_wants_it() {
        let request = request(Family::Ip6, Protocol::Udp, EVERY_STATE);
        assert_eq!((request.len(), request[0], request[1]), (56, 10, 17));
    }

    proptest! {
        #[test]
        fn any_bytes_give_an_answer(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            let _ = decode(Protocol::Tcp, &bytes);
        }

        #[test]
        fn a_damaged_message_gives_an_answer(at in 0_usize..120, byte: u8, cut in 0_usize..128) {
            let mut bytes = message(10, 1, ("fd00::2", 40000), ("fd00::5", 443));
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
            bytes.truncate(cut);
            let _ = decode(Protocol::Tcp, &bytes);
        }
    }
}
