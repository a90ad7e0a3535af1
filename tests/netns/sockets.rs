//! The sockets that are read are those that `ss` lists, in every state that can be brought about.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;

use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, SockaddrIn6, SockaddrLike, bind, connect, listen,
    setsockopt, socket, sockopt,
};
use nslens::model::{Family, Protocol, Socket, SocketState};

use crate::look_at;
use crate::support::{Lab, require_root};

/// A socket in the words of `ss -tuane`: protocol, state, queues, ends, UID, inode.
type Line = (String, String, u32, u32, String, String, u32, u32);

/// The lines of `ss`. It writes a wildcard that takes both families `*`, and leaves out UID and inode where they are 0.
fn listed_by_ss(lab: &Lab) -> BTreeSet<Line> {
    let text = lab.sh("ss -Htuane");
    let line = |line: &str| {
        let words: Vec<_> = line.split_whitespace().collect();
        let number = |key: &str| words.iter().find_map(|word| word.strip_prefix(key)?.parse().ok()).unwrap_or(0);
        let queue = |at: usize| words[at].parse().expect("a number");
        let end = |at: usize| match words[at].strip_prefix("[::ffff:") {
            Some(mapped) => mapped.replace("]:", ":"),
            None => words[at].replace("*:", "[::]:"),
        };
        (words[0].into(), words[1].into(), queue(2), queue(3), end(4), end(5), number("uid:"), number("ino:"))
    };
    text.lines().map(line).collect()
}

/// The same of what was read.
fn as_ss_has_it(socket: &Socket) -> Line {
    let state = match socket.state {
        SocketState::Established => "ESTAB".to_owned(),
        SocketState::Unconnected => "UNCONN".to_owned(),
        other => other.to_string().to_uppercase(),
    };
    let any = if socket.family == Family::Ip6 { "[::]:*" } else { "0.0.0.0:*" };
    let peer = socket.peer.map_or_else(|| any.to_owned(), |peer| peer.to_string());
    let local = socket.local.to_string();
    let queues = (socket.receive_queue, socket.send_queue);
    (socket.protocol.to_string(), state, queues.0, queues.1, local, peer, socket.uid, socket.inode)
}

/// Reads a lab and compares; hands back what was read.
fn compared(lab: &Lab) -> Vec<Socket> {
    let snapshot = look_at(lab);
    assert!(snapshot.unread.is_empty(), "{:?}", snapshot.unread);
    let sockets = snapshot.sockets.expect("sockets were read");
    let read: BTreeSet<_> = sockets.iter().map(as_ss_has_it).collect();
    assert_eq!(read.len(), sockets.len(), "no two sockets look alike here");
    assert_eq!(read, listed_by_ss(lab), "ours on the left, ss's on the right");
    sockets
}

fn count(sockets: &[Socket], state: SocketState) -> usize {
    sockets.iter().filter(|socket| socket.state == state).count()
}

#[test]
fn an_empty_namespace_has_no_sockets() {
    if require_root() {
        assert_eq!(compared(&Lab::new()), []);
    }
}

#[test]
fn tcp_over_both_families_and_between_them() {
    if !require_root() {
        return;
    }
    let lab = Lab::new();
    let held = lab.netns().enter(|| {
        let v4 = TcpListener::bind("127.0.0.1:8080").expect("an IPv4 listener");
        let v6 = TcpListener::bind("[::1]:8080").expect("an IPv6 listener");
        let dual = TcpListener::bind("[::]:9090").expect("a listener for both");
        let streams = ["127.0.0.1:8080", "[::1]:8080", "127.0.0.1:9090", "[::1]:9090"]
            .map(|address| TcpStream::connect(address).expect("a connection"));
        let accepted = [&v4, &v6, &dual, &dual].map(|listener| listener.accept().expect("an accepted half").0);
        // One more waits to be accepted: no descriptor holds its other half, and the listener's queue shows it.
        let waiting = TcpStream::connect("127.0.0.1:8080").expect("a connection");
        (v4, v6, dual, streams, accepted, waiting)
    });
    let held = held.expect("the namespace can be entered");
    let sockets = compared(&lab);
    assert_eq!((count(&sockets, SocketState::Listen), count(&sockets, SocketState::Established)), (3, 10));
    let mapped: Vec<_> = sockets.iter().filter(|socket| socket.mapped).collect();
    assert_eq!(mapped.len(), 1, "the accepted half of the IPv4 connection to the listener for both");
    assert_eq!((mapped[0].family, mapped[0].local.to_string().as_str()), (Family::Ip6, "127.0.0.1:9090"));
    let queue = |port| sockets.iter().find(|socket| socket.peer.is_none() && socket.local.port == port);
    assert_eq!(sockets.iter().filter(|socket| socket.inode == 0).count(), 1);
    assert!(queue(9090).is_some_and(|listener| listener.local.to_string() == "[::]:9090"));
    drop(held);
}

#[test]
fn udp_connected_and_not() {
    if !require_root() {
        return;
    }
    let lab = Lab::new();
    let held = lab.netns().enter(|| {
        let server = UdpSocket::bind("127.0.0.1:53").expect("an IPv4 socket");
        let both = UdpSocket::bind("[::]:5353").expect("a socket for both families");
        let client = UdpSocket::bind("127.0.0.1:0").expect("another IPv4 socket");
        client.connect("127.0.0.1:53").expect("a peer");
        client.send(b"four").expect("a datagram");
        let client6 = UdpSocket::bind("[::1]:0").expect("an IPv6 socket");
        client6.connect("[::1]:5353").expect("a peer");
        (server, both, client, client6)
    });
    let held = held.expect("the namespace can be entered");
    let sockets = compared(&lab);
    assert!(sockets.iter().all(|socket| socket.protocol == Protocol::Udp));
    assert_eq!((count(&sockets, SocketState::Unconnected), count(&sockets, SocketState::Established)), (2, 2));
    assert!(sockets.iter().any(|socket| socket.local.port == 53 && socket.receive_queue > 0), "the unread datagram");
    drop(held);
}

#[test]
fn connections_that_begin_and_end() {
    if !require_root() {
        return;
    }
    let (pod, _world) = Lab::pod_and_world();
    // A handshake stays half done where the answer is lost: SYN-SENT on one side, a request on the other.
    pod.sh("iptables-nft -A OUTPUT -p tcp --sport 9999 --tcp-flags SYN,ACK SYN,ACK -j DROP");
    let _server = pod.nc(0, 0, "-l -p 9999");
    pod.wait_for_sockets(1, "sport = :9999");
    let _calling = pod.nc(1000, 1000, "10.0.0.2 9999");
    let held = pod.netns().enter(|| {
        let listener = TcpListener::bind("127.0.0.1:8080").expect("a listener");
        let connect = || {
            let client = TcpStream::connect("127.0.0.1:8080").expect("a connection");
            (client, listener.accept().expect("an accepted half").0)
        };
        // The caller hangs up: it is in FIN-WAIT-2 without an owner, the called one in CLOSE-WAIT.
        let (client, waiting) = connect();
        drop(client);
        // Both hang up, the called one first: TIME-WAIT there.
        let (client, called) = connect();
        drop(called);
        drop(client);
        (listener, waiting)
    });
    let held = held.expect("the namespace can be entered");
    pod.wait_for_sockets(1, "state syn-recv");
    pod.wait_for_sockets(1, "state fin-wait-2");
    pod.wait_for_sockets(1, "state time-wait");
    let sockets = compared(&pod);
    for state in [
        SocketState::SynSent,
        SocketState::SynRecv,
        SocketState::FinWait2,
        SocketState::CloseWait,
        SocketState::TimeWait,
    ] {
        assert_eq!(count(&sockets, state), 1, "{state}");
    }
    let over = sockets.iter().find(|socket| socket.state == SocketState::TimeWait).expect("it was counted");
    assert_eq!(over.inode, 0);
    drop(held);
}

#[test]
fn marks_are_read() {
    if !require_root() {
        return;
    }
    let lab = Lab::new();
    let held = lab.netns().enter(|| {
        let marked = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).expect("a socket");
        setsockopt(&marked, sockopt::Mark, &0x539).expect("a mark");
        bind(marked.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, 8080)).expect("an address");
        listen(&marked, Backlog::new(4).expect("a length")).expect("a listener");
        let plain = TcpListener::bind("127.0.0.1:8081").expect("a listener");
        (marked, plain)
    });
    let held = held.expect("the namespace can be entered");
    let sockets = compared(&lab);
    let mark = |port| sockets.iter().find(|socket| socket.local.port == port).and_then(|socket| socket.mark);
    assert_eq!((mark(8080), mark(8081)), (Some(0x539), Some(0)));
    drop(held);
}

#[test]
fn a_bound_socket_that_does_nothing_is_unconnected() {
    if !require_root() {
        return;
    }
    let lab = Lab::new();
    let idle = lab.netns().enter(|| {
        let idle = socket(AddressFamily::Inet6, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).expect("a socket");
        bind(idle.as_raw_fd(), &SockaddrIn6::from("[::1]:7777".parse::<std::net::SocketAddrV6>().expect("an address")))
            .expect("the address is free");
        idle
    });
    let idle = idle.expect("the namespace can be entered");
    // Listed by Linux 6.8 and later only, and never by this version of ss.
    for socket in look_at(&lab).sockets.expect("sockets were read") {
        assert_eq!((socket.state, socket.peer, socket.local.port), (SocketState::Unconnected, None, 7777));
    }
    drop(idle);
}

#[test]
fn an_ipv6_caller_that_speaks_ipv4_is_mapped() {
    if !require_root() {
        return;
    }
    let lab = Lab::new();
    let held = lab.netns().enter(|| {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 8080)).expect("a listener");
        let caller = socket(AddressFamily::Inet6, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).expect("a socket");
        let address: SocketAddr = "[::ffff:127.0.0.1]:8080".parse().expect("an address");
        let address = nix::sys::socket::SockaddrStorage::from(address);
        assert!(address.len() > 0);
        connect(caller.as_raw_fd(), &address).expect("a connection");
        (listener, caller)
    });
    let held = held.expect("the namespace can be entered");
    let sockets = compared(&lab);
    let caller = sockets.iter().find(|socket| socket.mapped).expect("a mapped socket");
    assert_eq!(caller.peer.map(|peer| peer.to_string()).as_deref(), Some("127.0.0.1:8080"));
    drop(held);
}
