//! All that is told of sockets, against `ss` in every state and kind that can be brought about.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::sys::socket::{SockaddrStorage, bind, connect, setsockopt, sockopt};
use nslens::capture::connections::read_into;
use nslens::model::{
    Family, Kind, OtherSocket, Protocol, Snapshot, Socket, SocketState, TimerKind, UnixSocket, Workload,
};

use crate::support::{Lab, require_root};

/// All that is read of a lab, every socket of it.
fn look_at_all(lab: &Lab) -> Snapshot {
    let mut snapshot = Snapshot::of("node", 0, "netns/lab", Workload::named(Kind::Netns, "lab"));
    read_into(&mut snapshot, lab.netns(), Path::new("/proc"), true);
    assert!(snapshot.unread.is_empty(), "{:?}", snapshot.unread);
    snapshot
}

/// A socket of a protocol for which the standard library has no word.
#[expect(unsafe_code, reason = "socket(2) takes integers and returns a descriptor that nobody else has")]
pub(crate) fn opened(domain: i32, kind: i32, protocol: i32) -> OwnedFd {
    // SAFETY: as above.
    let fd = unsafe { libc::socket(domain, kind | libc::SOCK_CLOEXEC, protocol) };
    assert!(fd >= 0, "socket({domain}, {kind}, {protocol}): {}", std::io::Error::last_os_error());
    // SAFETY: as above.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

fn option(fd: &impl AsRawFd, level: i32, name: i32, value: i32) {
    #[expect(unsafe_code, reason = "setsockopt(2) with an integer that lives for the call, its size given with it")]
    // SAFETY: as above.
    let done = unsafe {
        libc::setsockopt(fd.as_raw_fd(), level, name, (&raw const value).cast(), size_of::<i32>() as libc::socklen_t)
    };
    assert_eq!(done, 0, "option {name} of level {level}: {}", std::io::Error::last_os_error());
}

fn at(text: &str) -> SockaddrStorage {
    SockaddrStorage::from(text.parse::<SocketAddr>().expect("an address"))
}

/// The words of `ss` for one socket.
#[derive(Debug, Clone)]
struct Words(Vec<String>);

impl Words {
    fn value(&self, key: &str) -> Option<&str> {
        self.0.iter().find_map(|word| word.strip_prefix(key))
    }

    fn number(&self, key: &str) -> Option<u64> {
        self.value(key)?.parse().ok()
    }

    fn has(&self, word: &str) -> bool {
        self.0.iter().any(|other| other.trim_end_matches(')') == word)
    }
}

/// What `ss` lists, by the kernel's number of the socket.
fn by_cookie(lab: &Lab, options: &str) -> BTreeMap<u64, Words> {
    let text = lab.sh(&format!("ss -HOn {options}"));
    let words = |line: &str| Words(line.split_whitespace().map(str::to_owned).collect());
    let cookie = |words: &Words| u64::from_str_radix(words.value("sk:").unwrap_or_default(), 16).unwrap_or_default();
    text.lines().map(words).map(|words| (cookie(&words), words)).collect()
}

/// `1min59sec`, `5.120ms` (5 s and 120 ms), `200ms`: milliseconds, and how exact that is.
fn milliseconds(text: &str) -> (u64, u64) {
    let (minutes, rest) = text.split_once("min").unwrap_or(("0", text));
    let (seconds, rest) = match rest.strip_suffix("sec").or_else(|| rest.split_once('.').map(|(seconds, _)| seconds)) {
        Some(seconds) => (seconds, rest.split_once('.').map_or("", |(_, rest)| rest)),
        None => ("0", rest),
    };
    let parts = [minutes, seconds, rest.trim_end_matches("ms")].map(|digits| digits.parse::<u64>().unwrap_or(0));
    (parts[0] * 60_000 + parts[1] * 1000 + parts[2], if text.contains("min") { 61_000 } else { 2500 })
}

/// Why a timer is not the one that `ss` has; its figures change while one looks.
fn timer_differs(socket: &Socket, words: &Words) -> Option<String> {
    let told = words.value("timer:(").map(|text| text.trim_end_matches(')').split(',').collect::<Vec<_>>());
    match (socket.details.timer, told) {
        (None, None) => None,
        (Some(timer), Some(told)) => {
            let (expires, exact) = milliseconds(told[1]);
            let same = timer.kind.to_string() == told[0]
                && timer.retransmits.to_string() == told[2]
                && u64::from(timer.expires).abs_diff(expires) <= exact;
            (!same).then(|| format!("{timer:?} and {told:?}"))
        }
        (ours, theirs) => Some(format!("{ours:?} and {theirs:?}")),
    }
}

/// Why what was read of a TCP or UDP socket is not what `ss` says of it.
fn differs(socket: &Socket, words: &Words) -> Option<String> {
    let (details, mut wrong) = (&socket.details, Vec::new());
    let mut same = |what: &str, equal: bool| {
        if !equal {
            wrong.push(what.to_owned());
        }
    };
    let mark = words.value("fwmark:0x").map_or(0, |mark| u32::from_str_radix(mark, 16).unwrap_or(u32::MAX));
    let whole = !details.request && socket.state != SocketState::TimeWait;
    same("mark", if whole { socket.mark == Some(mark) } else { socket.mark.unwrap_or(0) == mark });
    same("only IPv6", details.only_v6.map(u64::from) == words.number("v6only:"));
    same("transparent", details.transparent.unwrap_or(false) == words.has("transparent"));
    let folder = words.value("cgroup:").map(|path| format!("/sys/fs/cgroup/unified{path}"));
    let cgroup = folder.and_then(|folder| Some(std::fs::metadata(folder).ok()?.ino()));
    if Path::new("/sys/fs/cgroup/unified/cgroup.procs").exists() {
        same("cgroup", details.cgroup == cgroup);
    }
    same("cgroup is told", details.cgroup.is_some() == words.value("cgroup:").is_some());
    same("inode", words.number("ino:").unwrap_or(0) == u64::from(socket.inode));
    same("uid", words.number("uid:").unwrap_or(0) == u64::from(socket.uid));
    same("a listener has no figures", details.tcp.is_none() || socket.state != SocketState::Listen);
    if let Some(figures) = &details.tcp {
        same("congestion", details.congestion.as_ref().is_some_and(|name| words.has(name)));
        let rtt =
            words.value("rtt:").map(|text| text.split('/').map(|part| part.parse().unwrap_or(f64::NAN)).collect());
        let rtt: Vec<f64> = rtt.unwrap_or_else(|| vec![0.0, 0.0]);
        let near = |micros: u32, told: f64| (f64::from(micros) / 1000.0 - told).abs() <= told / 1e4;
        // Without a time of its own there is only a first guess of the deviation, which `ss` leaves out.
        same("rtt", near(figures.rtt, rtt[0]) && (figures.rtt == 0 || near(figures.rtt_deviation, rtt[1])));
        same("cwnd", words.number("cwnd:").unwrap_or(0) == u64::from(figures.congestion_window));
        same("unacked", words.number("unacked:").unwrap_or(0) == u64::from(figures.unacknowledged));
        same("bytes_acked", words.number("bytes_acked:").unwrap_or(0) == figures.bytes_acknowledged.unwrap_or(0));
        same("bytes_received", words.number("bytes_received:").unwrap_or(0) == figures.bytes_received.unwrap_or(0));
        let again = words.value("retrans:").unwrap_or("0/0").split('/').map(str::parse).collect::<Vec<_>>();
        same("retrans", again == [Ok(figures.retransmitting), Ok(figures.retransmits)]);
        for (key, ours) in [
            ("lastsnd:", figures.last_sent),
            ("lastrcv:", figures.last_received),
            ("lastack:", figures.last_acknowledged),
        ] {
            same(key, words.number(key).unwrap_or(0).abs_diff(u64::from(ours)) < 2500);
        }
    }
    wrong.extend(timer_differs(socket, words));
    (!wrong.is_empty()).then(|| format!("{}: {socket:#?}\n{words:?}", wrong.join("; ")))
}

/// Reads a lab until all is as `ss` says, since timers run and packets are sent again meanwhile.
fn compared(lab: &Lab) -> Vec<Socket> {
    let mut wrong = Vec::new();
    for _ in 0..20 {
        let listed = by_cookie(lab, "-tuaoei --cgroup --inet-sockopt");
        let sockets = look_at_all(lab).sockets.expect("sockets were read");
        let told = |socket: &&Socket| socket.protocol != nslens::wire::sock_diag::UDP_LITE;
        let ours: BTreeMap<_, _> = sockets.iter().filter(told).map(|one| (one.details.cookie, one)).collect();
        wrong = ours.iter().filter_map(|(cookie, socket)| differs(socket, listed.get(cookie)?)).collect();
        let strangers = listed.keys().filter(|cookie| !ours.contains_key(cookie)).count();
        let bound = |socket: &&&Socket| socket.protocol == Protocol::Tcp && socket.state == SocketState::Unconnected;
        let unlisted = ours.values().filter(|socket| !bound(socket) && !listed.contains_key(&socket.details.cookie));
        if wrong.is_empty() && strangers == 0 && unlisted.count() == 0 && !listed.contains_key(&0) {
            return sockets;
        }
        wrong.push(format!("{strangers} are listed by ss only, {} of {} by both", ours.len(), listed.len()));
    }
    panic!("{}", wrong.join("\n"));
}

fn count(sockets: &[Socket], state: SocketState) -> usize {
    sockets.iter().filter(|socket| socket.state == state).count()
}

fn pair(listener: &TcpListener) -> (TcpStream, TcpStream) {
    let client = TcpStream::connect(listener.local_addr().expect("its address")).expect("a connection");
    (client, listener.accept().expect("an accepted half").0)
}

#[test]
fn every_state_of_tcp() {
    if !require_root() {
        return;
    }
    let lab = Lab::new();
    // Nothing that ends a connection leaves these ports, and nothing that accepts one leaves 7000.
    lab.sh("iptables-nft -A OUTPUT -p tcp --sport 7000 --tcp-flags SYN,ACK SYN,ACK -j DROP
            iptables-nft -A OUTPUT -p tcp --sport 7001:7003 --tcp-flags FIN FIN -j DROP");
    let held = lab.netns().enter(|| {
        let listener = |port| TcpListener::bind(("127.0.0.1", port)).expect("a listener");
        let listeners = [7000, 7001, 7002, 7003, 8000].map(listener);
        let [_, lost, closing, last, plain] = &listeners;
        let caller = opened(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_NONBLOCK, 0);
        assert!(connect(caller.as_raw_fd(), &at("127.0.0.1:7000")).is_err(), "it is not answered");
        // The end is lost: FIN-WAIT-1, and the other half knows of nothing.
        let (client, called) = pair(lost);
        drop(called);
        // Both end, and one end is lost: CLOSING there, FIN-WAIT-2 here.
        let (other, called) = pair(closing);
        drop((called, other));
        // The caller ends, and the answer to it is lost: LAST-ACK there.
        let (other, called) = pair(last);
        drop(other);
        std::thread::sleep(std::time::Duration::from_millis(50));
        drop(called);
        // Both end in order: TIME-WAIT. One waits: CLOSE-WAIT.
        let (other, called) = pair(plain);
        drop((called, other));
        let (other, waiting) = pair(plain);
        drop(other);
        let idle = opened(libc::AF_INET, libc::SOCK_STREAM, 0);
        bind(idle.as_raw_fd(), &at("127.0.0.1:7777")).expect("the address is free");
        (listeners, caller, client, waiting, idle)
    });
    let held = held.expect("the namespace can be entered");
    lab.wait_for_sockets(1, "state closing");
    lab.wait_for_sockets(1, "state last-ack");
    lab.wait_for_sockets(1, "state time-wait");
    let sockets = compared(&lab);
    for state in [
        SocketState::SynSent,
        SocketState::SynRecv,
        SocketState::Established,
        SocketState::FinWait1,
        SocketState::TimeWait,
        SocketState::CloseWait,
        SocketState::LastAck,
        SocketState::Closing,
    ] {
        assert_eq!(count(&sockets, state), 1, "{state}");
    }
    assert_eq!((count(&sockets, SocketState::Listen), count(&sockets, SocketState::FinWait2)), (5, 3));
    let request = sockets.iter().find(|socket| socket.state == SocketState::SynRecv).expect("it was counted");
    assert!(request.details.request && request.inode == 0);
    let of = |state| sockets.iter().find(|socket| socket.state == state).and_then(|socket| socket.details.timer);
    assert_eq!(of(SocketState::TimeWait).map(|timer| timer.kind), Some(TimerKind::TimeWait));
    assert!(of(SocketState::LastAck).is_some(), "its end will be sent again");
    drop(held);
}

#[test]
fn options_queues_and_figures() {
    if !require_root() {
        return;
    }
    let lab = Lab::new();
    let held = lab.netns().enter(|| {
        let listener = |address: &str, set: &dyn Fn(&OwnedFd)| {
            let family = if address.starts_with('[') { libc::AF_INET6 } else { libc::AF_INET };
            let socket = opened(family, libc::SOCK_STREAM, 0);
            set(&socket);
            bind(socket.as_raw_fd(), &at(address)).expect("the address is free");
            let backlog = nix::sys::socket::Backlog::new(7).expect("a length");
            nix::sys::socket::listen(&socket, backlog).expect("a listener");
            socket
        };
        let plain = listener("127.0.0.1:8000", &|_| {});
        let marked = listener("127.0.0.1:8001", &|fd| setsockopt(fd, sockopt::Mark, &0x539).expect("a mark"));
        let transparent = listener("127.0.0.1:8002", &|fd| option(fd, libc::SOL_IP, libc::IP_TRANSPARENT, 1));
        let only = listener("[::]:8003", &|fd| option(fd, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 1));
        let dual = listener("[::]:8004", &|fd| option(fd, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 0));
        let lo = std::ffi::OsString::from("lo");
        let device = listener("127.0.0.1:8005", &|fd| setsockopt(fd, sockopt::BindToDevice, &lo).expect("a device"));
        let listener = TcpListener::from(plain);
        // Data that came and went, a keepalive timer, and a window that the other half closes.
        let (mut talks, mut answers) = pair(&listener);
        talks.write_all(&[0; 5000]).expect("data");
        std::io::Read::read_exact(&mut answers, &mut [0; 4000]).expect("data");
        answers.write_all(b"an answer").expect("data");
        setsockopt(&talks, sockopt::KeepAlive, &true).expect("an option");
        let (mut full, reads_nothing) = pair(&listener);
        full.set_nonblocking(true).expect("an option");
        while full.write(&[0; 65536]).is_ok() {}
        let calls = TcpStream::connect("127.0.0.1:8004").expect("a connection");
        let udp = UdpSocket::bind("[::1]:53").expect("a socket");
        setsockopt(&udp, sockopt::Mark, &7).expect("a mark");
        option(&udp, libc::IPPROTO_IPV6, libc::IPV6_TRANSPARENT, 1);
        ((marked, transparent, only, dual, device, listener), (talks, answers, full, reads_nothing, calls, udp))
    });
    let held = held.expect("the namespace can be entered");
    lab.wait_for_sockets(6, "state listening");
    crate::support::wait_until("the window to be closed", || lab.sh("ss -Htno").contains("(persist,"));
    let sockets = compared(&lab);
    let listens = |port: u16| {
        let found = sockets.iter().find(|socket| socket.local.port == port && socket.peer.is_none());
        found.unwrap_or_else(|| panic!("nothing listens on {port}"))
    };
    assert_eq!((listens(8001).mark, listens(8000).mark), (Some(0x539), Some(0)));
    assert_eq!((listens(8002).details.transparent, listens(8000).details.transparent), (Some(true), Some(false)));
    let only_v6 = |port| listens(port).details.only_v6;
    assert_eq!((only_v6(8003), only_v6(8004), only_v6(8000)), (Some(true), Some(false), None));
    assert_eq!((listens(8005).interface, listens(8000).interface), (1, 0));
    assert_eq!((listens(8000).send_queue, listens(8004).receive_queue), (7, 1));
    assert_eq!((listens(53).mark, listens(53).details.transparent), (Some(7), Some(true)));
    let timers = |kind| sockets.iter().filter_map(|one| one.details.timer).filter(|timer| timer.kind == kind).count();
    assert_eq!((timers(TimerKind::Keepalive), timers(TimerKind::Persist)), (1, 1));
    let received = sockets.iter().filter_map(|socket| socket.details.tcp.as_ref()?.bytes_received).max();
    assert!(received >= Some(5000), "{received:?}");
    assert!(sockets.iter().any(|socket| socket.mapped), "the accepted half for both families speaks IPv4");
    drop(held);
}

#[test]
fn what_was_not_asked_for_is_not_sent() {
    if !require_root() {
        return;
    }
    let lab = Lab::new();
    let held = lab.netns().enter(|| pair(&TcpListener::bind("127.0.0.1:8000").expect("a listener")));
    let held = held.expect("the namespace can be entered");
    let snapshot = crate::look_at(&lab);
    let sockets = snapshot.sockets.expect("sockets were read");
    assert!(!sockets.is_empty() && snapshot.other_sockets.is_none());
    assert!(sockets.iter().all(|one| one.details.tcp.is_none() && one.details.congestion.is_none()));
    assert!(sockets.iter().all(|one| one.details.cookie != 0));
    drop(held);
}

#[test]
fn sockets_that_are_no_ends_of_connections() {
    if !require_root() {
        return;
    }
    let lab = Lab::new();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("envoy.sock");
    let held = lab.netns().enter(|| {
        let mptcp = || opened(libc::AF_INET, libc::SOCK_STREAM, libc::IPPROTO_MPTCP);
        let listener = TcpListener::from({
            let socket = mptcp();
            bind(socket.as_raw_fd(), &at("127.0.0.1:8000")).expect("the address is free");
            nix::sys::socket::listen(&socket, nix::sys::socket::Backlog::new(7).expect("a length"))
                .expect("a listener");
            socket
        });
        let caller = mptcp();
        connect(caller.as_raw_fd(), &at("127.0.0.1:8000")).expect("a connection");
        let accepted = listener.accept().expect("an accepted half").0;
        let icmp = opened(libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_ICMP);
        bind(icmp.as_raw_fd(), &at("127.0.0.1:0")).expect("an address");
        let icmp6 = opened(libc::AF_INET6, libc::SOCK_RAW, libc::IPPROTO_ICMPV6);
        connect(icmp6.as_raw_fd(), &at("[::1]:0")).expect("a peer");
        let tcp = opened(libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_TCP);
        let sniffer = opened(libc::AF_PACKET, libc::SOCK_RAW, i32::from(3_u16.to_be()));
        let dhcp = opened(libc::AF_PACKET, libc::SOCK_DGRAM, i32::from(0x0800_u16.to_be()));
        let lo = nix::net::if_::if_nametoindex("lo").expect("an index");
        bind_packet(&dhcp, lo);
        let unix = std::os::unix::net::UnixListener::bind(&path).expect("a UNIX socket");
        let other = std::os::unix::net::UnixListener::bind(folder.path().join("mysql.sock")).expect("a UNIX socket");
        ((listener, caller, accepted), (icmp, icmp6, tcp), (sniffer, dhcp), (unix, other))
    });
    let held = held.expect("the namespace can be entered");
    let snapshot = look_at_all(&lab);
    let others = snapshot.other_sockets.as_deref().expect("they were read");
    let own = std::process::id();
    let process = snapshot.processes.iter().flatten().find(|process| process.pid == own).expect("this process");
    for other in others {
        assert!(process.sockets.contains(&other.inode()), "{other:?} is not held by {own}");
    }

    let multipath: Vec<&Socket> = others.iter().filter_map(OtherSocket::mptcp).collect();
    let listed = by_cookie(&lab, "-Maoei --cgroup --inet-sockopt");
    assert_eq!((multipath.len(), listed.len()), (3, 3));
    for socket in multipath {
        let words = &listed[&socket.details.cookie];
        assert_eq!(differs(socket, words), None);
        assert!(words.has(&socket.local.to_string()), "{socket:?}");
    }

    let mut raw: Vec<(String, String, String)> = Vec::new();
    for socket in others.iter().filter_map(OtherSocket::raw) {
        let state = if socket.state == SocketState::Established { "ESTAB" } else { "UNCONN" };
        let any = if socket.family == Family::Ip6 { "[::]:*" } else { "0.0.0.0:*" };
        let number = socket.protocol.number();
        let local = socket.local.to_string();
        let local = format!("{}{number}", local.strip_suffix('0').expect("no port"));
        let peer = socket.peer.map_or_else(|| any.to_owned(), |peer| peer.to_string().replace("]:0", "]:*"));
        raw.push((state.into(), local, peer));
    }
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let listed = lab.sh("ss -Hwan");
    let listed = listed.lines().map(words).map(|words| (words[0].clone(), words[3].clone(), words[4].clone()));
    assert_eq!(sorted(raw), sorted(listed.collect::<Vec<_>>()));
    assert!(snapshot.sockets.iter().flatten().all(|socket| socket.state != SocketState::Unconnected));

    let listed = by_cookie(&lab, "-0ae");
    let packet: Vec<_> = others.iter().filter_map(OtherSocket::packet).collect();
    assert_eq!((packet.len(), listed.len()), (2, 2));
    for socket in packet {
        let words = &listed[&socket.cookie];
        assert_eq!(words.number("ino:"), Some(u64::from(socket.inode)));
        let all = (socket.ethertype, socket.interface, socket.with_header) == (3, Some(0), true);
        let ip = (socket.ethertype, socket.interface, socket.with_header) == (0x0800, Some(1), false);
        assert!(words.has(if socket.with_header { "p_raw" } else { "p_dgr" }));
        assert!(words.has("*:*") && all || words.has("[2048]:lo") && ip, "{socket:?} {words:?}");
        assert_eq!(socket.uid, Some(0));
    }

    let unix: Vec<&UnixSocket> = others.iter().filter_map(OtherSocket::unix).collect();
    assert_eq!(unix.iter().map(|socket| Path::new(&socket.path)).collect::<Vec<_>>(), [path.as_path()]);
    assert!(lab.sh("ss -Hxlne").contains(&format!("{} {}", path.display(), unix[0].inode)), "{unix:?}");
    assert!(unix[0].listening && unix[0].uid == Some(0));
    drop(held);
}

fn sorted<T: Ord>(mut values: Vec<T>) -> Vec<T> {
    values.sort();
    values
}

fn bind_packet(socket: &OwnedFd, interface: u32) {
    let mut address = [0_u8; size_of::<libc::sockaddr_ll>()];
    address[..2].copy_from_slice(&(libc::AF_PACKET as u16).to_ne_bytes());
    address[2..4].copy_from_slice(&0x0800_u16.to_be_bytes());
    address[4..8].copy_from_slice(&interface.to_ne_bytes());
    #[expect(unsafe_code, reason = "bind(2) with an address that lives for the call, its size given with it")]
    // SAFETY: as above.
    let done = unsafe { libc::bind(socket.as_raw_fd(), address.as_ptr().cast(), address.len() as libc::socklen_t) };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
}

#[test]
fn udp_lite_is_as_the_kernel_lists_it() {
    const UDP_LITE: i32 = 136;
    if !require_root() {
        return;
    }
    let lab = Lab::new();
    let held = lab.netns().enter(|| {
        let bound = opened(libc::AF_INET, libc::SOCK_DGRAM, UDP_LITE);
        bind(bound.as_raw_fd(), &at("127.0.0.1:99")).expect("the address is free");
        let both = opened(libc::AF_INET6, libc::SOCK_DGRAM, UDP_LITE);
        bind(both.as_raw_fd(), &at("[::1]:98")).expect("the address is free");
        connect(both.as_raw_fd(), &at("[::1]:97")).expect("a peer");
        (bound, both)
    });
    let held = held.expect("the namespace can be entered");
    // This `ss` has no word for them: the kernel's own lists are the oracle.
    let text = lab.sh("cat /proc/net/udplite /proc/net/udplite6");
    let inode = |line: &str| line.split_whitespace().nth(9)?.parse::<u32>().ok();
    let listed: Vec<_> = text.lines().filter_map(inode).collect();
    let sockets = crate::look_at(&lab).sockets.expect("sockets were read");
    assert_eq!(sorted(sockets.iter().map(|socket| socket.inode).collect()), sorted(listed));
    let ends: Vec<_> = sockets.iter().map(|one| (one.protocol.number(), one.state, one.local.to_string())).collect();
    let expected = [(SocketState::Unconnected, "127.0.0.1:99"), (SocketState::Established, "[::1]:98")];
    assert_eq!(ends, expected.map(|(state, local)| (136, state, local.to_owned())));
    drop(held);
}
