//! Socket messages made by hand: every state, cut, damaged.

use proptest::prelude::*;

use super::*;

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
        assert_eq!(answer.is_err(), length < MESSAGE || !is_boundary(&whole, length), "cut at {length}: {answer:?}");
    }
}

/// Whether the attributes of `whole` divide at this byte: the padding after a value may be missing.
fn is_boundary(whole: &[u8], length: usize) -> bool {
    attributes(&whole[MESSAGE..length]).all(|attribute| attribute.is_ok())
}

#[test]
fn the_request_is_as_long_as_the_kernel_wants_it() {
    let request = request(Family::Ip6, Protocol::Udp, Wanted::states(EVERY_STATE));
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
