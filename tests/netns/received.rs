//! Which socket gets a packet, against the kernel: random sockets of every kind at one port, and real packets to them.

use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, Backlog, MsgFlags, SockFlag, SockType, SockaddrStorage, accept, bind, connect, getsockopt, listen,
    recv, send, setsockopt, socket, sockopt,
};
use nslens::analysis::trace::{Question, Tracer, Verdict};
use nslens::capture::connections::Channels;
use nslens::model::{Endpoint, Protocol, Snapshot};
use nslens::packet::state;

use crate::routes::read;
use crate::routes_asked::Dice;
use crate::support::{Lab, require_root, wait_until};

pub(crate) const PORT: u16 = 7000;
/// Where connected sockets have their peers.
pub(crate) const PEER: u16 = 9000;

/// A socket that is to be.
#[derive(Debug, Clone)]
pub(crate) struct Wish {
    pub(crate) tcp: bool,
    pub(crate) at: SocketAddr,
    pub(crate) device: Option<&'static str>,
    only_v6: bool,
    shares_port: bool,
    shares_address: bool,
    /// `IP_TRANSPARENT`
    pub(crate) transparent: bool,
    peer: Option<SocketAddr>,
}

/// One that is.
pub(crate) struct Socket {
    pub(crate) wish: Wish,
    pub(crate) inode: u32,
    fd: OwnedFd,
}

pub(crate) fn at(address: &str, port: u16) -> SocketAddr {
    SocketAddr::new(address.parse().expect("an address"), port)
}

pub(crate) fn wish(dice: &mut Dice, tcp: bool) -> Wish {
    const ADDRESSES: [&str; 8] =
        ["0.0.0.0", "::", "10.0.0.2", "127.0.0.1", "::ffff:0.0.0.0", "::ffff:10.0.0.2", "fd00::2", "::1"];
    let address = match dice.once_in(2) {
        true => dice.one_of(&["0.0.0.0", "::"]),
        false => dice.one_of(&ADDRESSES),
    };
    let device = [None, None, None, Some("eth0"), Some("lo")][usize::try_from(dice.below(5)).expect("small")];
    let mapped = address.starts_with("::ffff");
    let peer = (!tcp && dice.once_in(3)).then(|| match (address.contains(':') && !mapped, dice.once_in(2)) {
        (true, true) => at("fd00::5", PEER),
        (true, false) => at("fd00::2", PEER),
        (false, one) => {
            let peer = if one { "10.0.0.5" } else { "10.0.0.2" };
            at(&format!("{}{peer}", if mapped { "::ffff:" } else { "" }), PEER)
        }
    });
    let shares = dice.below(3);
    Wish {
        tcp,
        at: at(address, PORT),
        device,
        only_v6: address.contains(':') && !mapped && dice.once_in(3),
        shares_port: shares != 0,
        shares_address: shares == 0,
        transparent: false,
        peer,
    }
}

fn open(wish: &Wish) -> nix::Result<OwnedFd> {
    let family = if wish.at.is_ipv6() { AddressFamily::Inet6 } else { AddressFamily::Inet };
    let kind = if wish.tcp { SockType::Stream } else { SockType::Datagram };
    let opened = socket(family, kind, SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK, None)?;
    if let Some(device) = wish.device {
        setsockopt(&opened, sockopt::BindToDevice, &OsString::from(device))?;
    }
    if wish.at.is_ipv6() {
        setsockopt(&opened, sockopt::Ipv6V6Only, &wish.only_v6)?;
    }
    if wish.transparent {
        setsockopt(&opened, sockopt::IpTransparent, &true)?;
    }
    setsockopt(&opened, sockopt::ReusePort, &wish.shares_port)?;
    setsockopt(&opened, sockopt::ReuseAddr, &wish.shares_address)?;
    bind(opened.as_raw_fd(), &SockaddrStorage::from(wish.at))?;
    if let Some(peer) = wish.peer {
        connect(opened.as_raw_fd(), &SockaddrStorage::from(peer))?;
    }
    if wish.tcp {
        listen(&opened, Backlog::new(16)?)?;
    }
    Ok(opened)
}

/// As many of the sockets as the kernel lets live side by side.
pub(crate) fn opened(pod: &Lab, wishes: Vec<Wish>) -> Vec<Socket> {
    let open = |wish: Wish| {
        let fd = open(&wish).ok()?;
        let inode = nix::sys::stat::fstat(&fd).expect("it is open").st_ino;
        Some(Socket { wish, inode: u32::try_from(inode).expect("an inode of a socket"), fd })
    };
    pod.netns().enter(move || wishes.into_iter().filter_map(open).collect()).expect("inside")
}

/// A packet to be sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sent {
    pub(crate) incoming: bool,
    pub(crate) tcp: bool,
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
}

fn packet(dice: &mut Dice, tcp: bool, port: u16) -> Sent {
    let port = if tcp || dice.once_in(2) { port } else { PEER };
    let ends: &[(bool, &str, &str)] = &[
        (true, "10.0.0.5", "10.0.0.2"),
        (true, "fd00::5", "fd00::2"),
        (false, "10.0.0.2", "10.0.0.2"),
        (false, "127.0.0.1", "127.0.0.1"),
        (false, "127.0.0.1", "127.0.0.6"),
        (false, "10.0.0.2", "127.0.0.1"),
        (false, "::1", "::1"),
        (false, "fd00::2", "fd00::2"),
    ];
    let (incoming, from, to) = ends[usize::try_from(dice.below(ends.len() as u64)).expect("small")];
    Sent { incoming, tcp, from: at(from, port), to: at(to, PORT) }
}

/// What became of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Got {
    /// The socket of this inode has it.
    By(u32),
    /// Nobody, and its sender is told.
    Refused,
    /// Nobody, and nobody is told.
    Silent,
}

/// What becomes of it.
pub(crate) fn gets(labs: (&Lab, &Lab), sent: Sent, sockets: &[Socket]) -> Got {
    let from = if sent.incoming { labs.1 } else { labs.0 };
    let told = from.netns().enter(|| {
        let family = if sent.from.is_ipv6() { AddressFamily::Inet6 } else { AddressFamily::Inet };
        let kind = if sent.tcp { SockType::Stream } else { SockType::Datagram };
        let client = socket(family, kind, SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK, None).expect("a socket");
        setsockopt(&client, sockopt::ReuseAddr, &true).expect("an option");
        bind(client.as_raw_fd(), &SockaddrStorage::from(sent.from)).expect("the port is free");
        let called = connect(client.as_raw_fd(), &SockaddrStorage::from(sent.to));
        if sent.tcp {
            assert!(matches!(called, Err(Errno::EINPROGRESS | Errno::ECONNREFUSED) | Ok(())), "{called:?}");
        } else {
            called.expect("a peer");
            send(client.as_raw_fd(), b"?", MsgFlags::empty()).expect("sent");
        }
        // All that happens happens before the call is over, so that nothing is waited for but by chance.
        let mut waits = [PollFd::new(client.as_fd(), if sent.tcp { PollFlags::POLLOUT } else { PollFlags::POLLERR })];
        poll(&mut waits, PollTimeout::from(if sent.tcp { 10_u16 } else { 1 })).expect("it can wait");
        setsockopt(&client, sockopt::Linger, &nix::libc::linger { l_onoff: 1, l_linger: 0 }).expect("an option");
        let refused = getsockopt(&client, sockopt::SocketError).expect("an option") == nix::libc::ECONNREFUSED;
        (refused, client)
    });
    let (refused, client) = told.expect("inside");
    let mut by = sockets.iter().filter(|socket| socket.wish.tcp == sent.tcp && taken(socket)).map(|one| one.inode);
    let found = by.next();
    assert_eq!(by.next(), None, "one gets it");
    assert!(found.is_none() || !refused, "{sent:?} is refused although {found:?} gets it");
    drop(client);
    match found {
        Some(inode) => Got::By(inode),
        None if refused => Got::Refused,
        None => Got::Silent,
    }
}

/// Takes what has come, if something has.
#[expect(unsafe_code, reason = "accept(2) returns a descriptor that nobody else has")]
fn taken(socket: &Socket) -> bool {
    if !socket.wish.tcp {
        return recv(socket.fd.as_raw_fd(), &mut [0; 8], MsgFlags::empty()).is_ok();
    }
    match accept(socket.fd.as_raw_fd()) {
        // SAFETY: as above.
        Ok(fd) => drop(unsafe { OwnedFd::from_raw_fd(fd) }),
        Err(_) => return false,
    }
    true
}

fn end(at: SocketAddr) -> Endpoint {
    let address: IpAddr = at.ip();
    Endpoint::new(address, at.port())
}

pub(crate) fn question(sent: Sent) -> Question {
    Question {
        incoming: sent.incoming,
        protocol: if sent.tcp { Protocol::Tcp } else { Protocol::Udp },
        source: Some(sent.from.ip()),
        source_port: Some(sent.from.port()),
        ..Question::to(end(sent.to))
    }
}

/// What is known of a pod and its sockets.
pub(crate) fn look(pod: &Lab) -> Snapshot {
    let mut snapshot = read(pod);
    let mut channels = Channels::open(pod.netns(), std::path::Path::new("/proc")).expect("channels");
    let (sockets, unread) = channels.read_sockets(false);
    assert!(unread.is_empty(), "{unread:?}");
    snapshot.sockets = Some(sockets);
    snapshot.interfaces = Some(channels.read_interfaces().0);
    snapshot.rulesets = Some(Vec::new());
    snapshot
}

/// Compares one set of sockets with packets to them: how many were compared, and of how many one of several was said.
fn compare(labs: (&Lab, &Lab), dice: &mut Dice, port: &mut u16) -> (usize, usize) {
    let wishes = (0..2 + dice.below(7)).map(|_| dice.once_in(2)).collect::<Vec<_>>();
    let wishes = wishes.into_iter().map(|tcp| wish(dice, tcp)).collect();
    let sockets = opened(labs.0, wishes);
    let snapshot = look(labs.0);
    let tracer = Tracer::of(&snapshot);
    let (packets, mut several) = (24, 0);
    for _ in 0..packets {
        let tcp = dice.once_in(2);
        *port = if *port < 60000 { *port + 1 } else { 20000 };
        let sent = packet(dice, tcp, *port);
        let found = gets(labs, sent, &sockets);
        let trace = tracer.trace(&question(sent));
        let [outcome] = trace.outcomes.as_slice() else { panic!("{trace:#?}") };
        let said: Vec<u32> = outcome.receivers.iter().map(|socket| socket.inode).collect();
        let right = match (found, outcome.verdict) {
            (Got::By(inode), Verdict::Delivered) => said.contains(&inode),
            (Got::Refused, Verdict::Refused) => true,
            // An IPv6 socket may get it, as newer kernels have it.
            (_, Verdict::Undecided) => !sent.tcp && sent.to.ip() == IpAddr::from([127, 0, 0, 6]),
            _ => false,
        };
        let all = || sockets.iter().map(|one| format!("\n{} {:?}", one.inode, one.wish)).collect::<String>();
        assert!(right, "{sent:?} goes to {found:?}, {:?} to {said:?} {:?}{}", outcome.verdict, outcome.why, all());
        let alone = |one: &Socket| said.contains(&one.inode) && !one.wish.shares_port && !one.wish.shares_address;
        several += usize::from(said.len() > 1);
        assert!(said.len() < 2 || !sockets.iter().any(alone), "one that shares nothing is no \"one of\"{}", all());
    }
    (packets, several)
}

/// Both know each other's addresses, and tell of every datagram that nobody gets.
pub(crate) fn talking() -> (Lab, Lab) {
    let (pod, world) = Lab::pod_and_world();
    for lab in [&pod, &world] {
        lab.sh("echo 0 > /proc/sys/net/ipv4/icmp_ratelimit; echo 0 > /proc/sys/net/ipv6/icmp/ratelimit");
    }
    world.sh("busybox ping -qc1 10.0.0.2; busybox ping -qc1 fd00::2");
    (pod, world)
}

#[test]
#[expect(clippy::print_stdout, reason = "how many were compared is worth knowing")]
fn packets_go_to_the_socket_that_the_kernel_picks() {
    if !require_root() {
        return;
    }
    let given = std::env::var("NSLENS_SEED").ok().and_then(|seed| seed.parse().ok());
    let rounds = std::env::var("NSLENS_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(120);
    let seed: u64 = given.unwrap_or(7);
    let (pod, world) = talking();
    let (mut dice, mut port, mut all, mut several) = (Dice(seed), 20000, 0, 0);
    for _ in 0..rounds {
        let (compared, unsure) = compare((&pod, &world), &mut dice, &mut port);
        (all, several) = (all + compared, several + unsure);
    }
    println!("seed {seed}: {all} packets, one of several sockets said of {several}");
    assert!(several * 3 < all, "one of several sockets is said of {several} of {all}");
}

/// What is said of a packet to the pod's port from this one of the world.
fn said(snapshot: &Snapshot, port: u16, state: Option<u32>) -> (Verdict, Vec<u32>) {
    let sent = Sent { incoming: true, tcp: true, from: at("10.0.0.5", port), to: at("10.0.0.2", PORT) };
    let trace = Tracer::of(snapshot).trace(&Question { state, ..question(sent) });
    let inodes = trace.outcomes[0].receivers.iter().map(|socket| socket.inode).collect();
    (trace.verdict(), inodes)
}

#[test]
fn what_goes_on_is_for_its_connection_alone() {
    if !require_root() {
        return;
    }
    let (pod, world) = talking();
    let listener = pod.netns().enter(|| TcpListener::bind("0.0.0.0:7000").expect("a listener")).expect("inside");
    let caller = world.netns().enter(|| TcpStream::connect("10.0.0.2:7000").expect("a connection")).expect("inside");
    let (held, peer) = listener.accept().expect("a call");
    let inode = |fd: &dyn AsFd| {
        let found = nix::sys::stat::fstat(fd.as_fd()).expect("it is open").st_ino;
        u32::try_from(found).expect("an inode of a socket")
    };
    let snapshot = look(&pod);
    assert_eq!(said(&snapshot, peer.port(), Some(state::ESTABLISHED)), (Verdict::Delivered, vec![inode(&held)]));
    // Another one has no connection, and is answered with a reset: by the kernel, whoever listens.
    assert_eq!(said(&snapshot, 9, Some(state::ESTABLISHED)), (Verdict::Refused, Vec::new()));
    assert_eq!(said(&snapshot, 9, None), (Verdict::Delivered, vec![inode(&listener)]));
    let resets = || pod.sh("awk '/^Tcp: [0-9]/ {print $15}' /proc/net/snmp").trim().parse::<u64>().expect("a number");
    let before = resets();
    // The pod's end is gone: what comes then is for nobody.
    setsockopt(&held, sockopt::Linger, &nix::libc::linger { l_onoff: 1, l_linger: 0 }).expect("an option");
    pod.sh(&format!("iptables-legacy -A OUTPUT -p tcp --dport {} --tcp-flags RST RST -j DROP", peer.port()));
    drop(held);
    // A program that another test starts meanwhile has a copy of it for a moment.
    let gone = || said(&look(&pod), peer.port(), Some(state::ESTABLISHED)).0 == Verdict::Refused;
    wait_until("the end of the connection", gone);
    let snapshot = look(&pod);
    send(caller.as_raw_fd(), b"?", MsgFlags::empty()).expect("it knows of nothing");
    assert!(resets() > before, "what comes is answered with a reset");
    // A message is for the kernel itself.
    let ping = Question { incoming: true, protocol: Protocol::Other(1), ..Question::to(end(at("10.0.0.2", 0))) };
    let trace = Tracer::of(&snapshot).trace(&ping);
    assert_eq!((trace.verdict(), trace.outcomes[0].receivers.len()), (Verdict::Delivered, 0));
}
