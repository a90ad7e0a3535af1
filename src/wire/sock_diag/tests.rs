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

/// `struct sockaddr_storage` of an address and a port.
fn storage(address: &str, port: u16) -> Vec<u8> {
    let mut bytes = match address.parse().expect("an address") {
        std::net::IpAddr::V4(v4) => [&2_u16.to_ne_bytes()[..], &port.to_be_bytes(), &v4.octets()].concat(),
        std::net::IpAddr::V6(v6) => [&10_u16.to_ne_bytes()[..], &port.to_be_bytes(), &[0; 4], &v6.octets()].concat(),
    };
    bytes.resize(128, 0);
    bytes
}

/// An SCTP association as net/sctp/diag.c fills it in: its own states, and every address of both ends.
fn association_of(family: u8, state: u8, ends: ((&str, u16), (&str, u16)), all: (&[&str], &[&str])) -> Vec<u8> {
    let list = |addresses: &[&str], port| addresses.iter().flat_map(|one| storage(one, port)).collect::<Vec<_>>();
    Builder::after(&message(family, state, ends.0, ends.1))
        .put(12, &list(all.0, ends.0.1))
        .put(4, b"reno\0")
        .put(13, &list(all.1, ends.1.1))
        .finish()
}

#[test]
fn associations_of_sctp() {
    let ends = (("10.0.0.2", 40000), ("10.0.0.5", 3868));
    let of = |state| {
        let bytes = association_of(2, state, ends, (&["10.0.0.2", "10.1.0.2"], &["10.0.0.5"]));
        decode(SCTP, &bytes).map(|socket| socket.state)
    };
    let names = [
        "unconnected",
        "cookie-wait",
        "cookie-echoed",
        "established",
        "shutdown-pending",
        "shutdown-sent",
        "shutdown-received",
        "shutdown-ack-sent",
    ];
    for (number, name) in (0_u8..).zip(names) {
        assert_eq!(of(number).map(|state| state.to_string()).as_deref(), Ok(name));
    }
    assert_eq!(of(8), Err(SockDiagError::State(8)));
    let whole = association_of(2, 3, ends, (&["10.0.0.2"], &["10.0.0.5"]));
    let socket = decode(SCTP, &whole).expect("a socket");
    assert_eq!((socket.local.to_string().as_str(), socket.mapped), ("10.0.0.2:40000", false));
    assert_eq!(socket.peer.map(|peer| peer.to_string()).as_deref(), Some("10.0.0.5:3868"));
    assert_eq!((socket.details.congestion.as_deref(), socket.details.tcp), (Some("reno"), None));
    for length in 0..whole.len() {
        let _ = decode(SCTP, &whole[..length]);
    }
}

#[test]
fn an_association_of_an_ipv6_socket_that_speaks_ipv4() {
    // The kernel copies what lies where an IPv6 address would: nothing of use.
    let ends = (("::", 40000), ("::", 3868));
    let bytes = association_of(10, 3, ends, (&["10.0.0.2", "fd00::2"], &["10.0.0.5"]));
    let socket = decode(SCTP, &bytes).expect("a socket");
    assert_eq!((socket.family, socket.mapped), (Family::Ip6, true));
    assert_eq!(socket.local.to_string(), "10.0.0.2:40000");
    assert_eq!(socket.peer.map(|peer| peer.to_string()).as_deref(), Some("10.0.0.5:3868"));
    let ends = (("fd00::2", 40000), ("fd00::5", 3868));
    let bytes = association_of(10, 3, ends, (&["fd00::2"], &["fd00::5"]));
    let socket = decode(SCTP, &bytes).expect("a socket");
    assert_eq!((socket.local.to_string().as_str(), socket.mapped), ("[fd00::2]:40000", false));
}

#[test]
fn endpoints_of_sctp_have_tcps_states() {
    let of = |state| decode(SCTP, &message(2, state, ("0.0.0.0", 3868), ("0.0.0.0", 0))).map(|socket| socket.state);
    assert_eq!((of(10), of(7)), (Ok(SocketState::Listen), Ok(SocketState::Unconnected)));
}

#[test]
fn raw_sockets_have_a_protocol_where_others_have_a_port() {
    let bytes = Builder::after(&message(2, 7, ("10.0.0.2", 255), ("0.0.0.0", 0))).put(10, &[89]).finish();
    let socket = decode_raw(&bytes).expect("a socket");
    assert_eq!((socket.protocol.number(), socket.local.to_string().as_str()), (89, "10.0.0.2:0"));
    let socket = decode_raw(&message(10, 1, ("::1", 58), ("::1", 0))).expect("a socket");
    assert_eq!((socket.protocol.number(), socket.peer.map(|peer| peer.port)), (58, Some(0)));
    let request = raw_request(Family::Ip, Wanted { states: EVERY_STATE, figures: true });
    assert_eq!((request.len(), request[1], request[2]), (56, 255, 0x0a));
    assert_eq!(mptcp_request(Family::Ip, Wanted::states(1)).len(), 64);
}

#[test]
fn timers_cookies_and_options() {
    let mut bytes = message(10, 1, ("fd00::2", 40000), ("fd00::5", 443));
    let timer_of = |bytes: &[u8]| decode(Protocol::Tcp, bytes).expect("a socket").details.timer;
    assert_eq!(timer_of(&bytes), None);
    for (number, kind) in (1_u8..).zip([
        TimerKind::On,
        TimerKind::Keepalive,
        TimerKind::TimeWait,
        TimerKind::Persist,
        TimerKind::Other(5),
    ]) {
        (bytes[2], bytes[3]) = (number, 7);
        bytes[52..56].copy_from_slice(&200_u32.to_ne_bytes());
        assert_eq!(timer_of(&bytes), Some(Timer { kind, expires: 200, retransmits: 7 }));
    }
    bytes[52..56].copy_from_slice(&(-8_i32).to_ne_bytes());
    assert_eq!(timer_of(&bytes).map(|timer| timer.expires), Some(0), "it is over");
    let details = decode(Protocol::Tcp, &bytes).expect("a socket").details;
    assert_eq!(
        (details.cookie, details.cgroup, details.transparent, details.only_v6),
        (4123, Some(1), Some(false), None)
    );
    assert!(!details.request);
    let bytes = Builder::after(&bytes).put(22, &[0x20, 0]).put(11, &[1]).finish();
    let details = decode(Protocol::Tcp, &bytes).expect("a socket").details;
    assert_eq!((details.transparent, details.only_v6), (Some(cfg!(target_endian = "little")), Some(true)));
    // What is no whole socket yet has nothing but its ends.
    let half = message(2, 3, ("10.0.0.2", 80), ("10.0.0.5", 40000));
    assert!(decode(Protocol::Tcp, &half[..MESSAGE]).is_ok_and(|socket| socket.details.request));
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
