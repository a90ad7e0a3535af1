//! Two namespaces and packets between them, one at a time and on demand, by sockets that live long or cost little: what became of
//! each is told within a millisecond or so.
//!
//! The machine's own protocol stack handles a packet of `veth` and of loopback on the sender's processor before its system call is
//! over; so what does not wait for us then will, but for a busy machine, not come at all.

#[path = "traffic/socket.rs"]
mod socket;
#[path = "traffic/wire.rs"]
mod wire;

use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, SockaddrStorage, connect, send};
use nslens::capture::rules::Wanted;
use nslens::capture::sets::Elements;
use nslens::capture::{Occasion, Parts, take};
use nslens::model::{Kind, Protocol, Snapshot, Workload};
use nslens::sys::netns::Netns;

pub(crate) use socket::Properties;
pub(crate) use wire::Frame;

use crate::support::Lab;

/// Which of the two namespaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    /// That which is looked at.
    Pod,
    /// All else.
    Ext,
}

/// A packet to be sent: a datagram, or the first packet of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sent {
    /// Who sends it.
    pub(crate) from: Place,
    /// TCP or UDP.
    pub(crate) protocol: Protocol,
    /// Where its socket is bound to, before.
    pub(crate) source: Option<SocketAddr>,
    /// Where it is sent.
    pub(crate) to: SocketAddr,
    /// Its socket.
    pub(crate) socket: Properties,
}

/// What became of it, as far as anybody was told.
#[derive(Debug, Clone, Default)]
pub(crate) struct Arrived {
    /// The sockets that got it.
    pub(crate) by: Vec<Arrival>,
    /// It came out of the cable: in the other namespace, whatever that does with it.
    pub(crate) wire: Vec<Frame>,
    /// What its sender was told.
    pub(crate) told: Told,
    /// The end that its socket had.
    pub(crate) source: Option<SocketAddr>,
    /// Datagrams that were sent before, and came only now.
    pub(crate) late: usize,
    /// The pod had nobody for it, or was about to say so: ports where nobody waits, and resets.
    pub(crate) refused: u64,
    /// The pod's end and the other one of a connection that a listener of the pod was asked for, and that is not yet there. Looked for
    /// where nothing else was seen.
    pub(crate) requests: Vec<(SocketAddr, SocketAddr)>,
    /// A listener of the pod was asked for a connection and could not answer.
    pub(crate) unanswered: u64,
    /// Connections that a listener of the pod was asked for and that were reset before they were there.
    pub(crate) abandoned: u64,
    /// Other errors that the pod was about to tell of (`icmp_send`).
    pub(crate) complaints: u64,
}

/// What the sender of a packet is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Told {
    /// Nothing.
    #[default]
    Nothing,
    /// The connection is there.
    Connected,
    /// An error.
    Error(Errno),
}

/// A socket got a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Arrival {
    /// Which of the receivers, as [`Stage::receive`] has numbered them.
    pub(crate) receiver: usize,
    /// The packet's destination then.
    pub(crate) local: Option<SocketAddr>,
    /// The packet's source then.
    pub(crate) peer: SocketAddr,
    /// `SO_ORIGINAL_DST`; of connections only, and where they are tracked.
    pub(crate) original: Option<SocketAddr>,
}

/// A socket that waits for packets.
#[derive(Debug)]
pub(crate) struct Receiver {
    /// Where.
    pub(crate) place: Place,
    /// TCP or UDP.
    pub(crate) protocol: Protocol,
    /// Its own end.
    pub(crate) at: SocketAddr,
    /// Its inode, by which it stands in lists.
    pub(crate) inode: u64,
    socket: Waiting,
}

#[derive(Debug)]
enum Waiting {
    Calls(TcpListener),
    Datagrams(OwnedFd),
}

impl AsFd for Waiting {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Calls(listener) => listener.as_fd(),
            Self::Datagrams(socket) => socket.as_fd(),
        }
    }
}

type Job = Box<dyn FnOnce() + Send>;

/// A thread that stays in a namespace and does there what it is told.
struct Worker(mpsc::Sender<Job>);

impl Worker {
    fn of(lab: &Lab) -> Self {
        let netns = Netns::open(Path::new(&format!("/proc/{}/ns/net", lab.pid()))).expect("the namespace");
        let (jobs, waiting) = mpsc::channel::<Job>();
        thread::spawn(move || netns.enter(move || waiting.into_iter().for_each(|job| job())));
        Self(jobs)
    }

    fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let (done, result) = mpsc::channel();
        self.0.send(Box::new(move || drop(done.send(work())))).expect("it waits");
        result.recv().expect("it does not panic")
    }
}

/// The namespaces, and all that waits in them.
pub(crate) struct Stage {
    /// 10.0.0.2, 10.0.0.3 and fd00::2; all else is reached by the other.
    pub(crate) pod: Lab,
    /// 10.0.0.1 and fd00::1; 10.0.0.5, 10.96.0.10 and fd01::9 are its own, too.
    pub(crate) ext: Lab,
    receivers: Vec<Receiver>,
    workers: [Worker; 2],
    tap: OwnedFd,
    number: u64,
    /// Connections that were asked for before and are not yet given up.
    asked_for: Vec<(SocketAddr, SocketAddr)>,
    /// Of `iptables-legacy`, which would else wait for everybody's.
    lock: tempfile::NamedTempFile,
}

/// The first datagram's number: an unlikely beginning of anything else.
const FIRST: u64 = 0x6e73_6c65_6e73_0000;
/// How long to wait for what should be there already.
const PATIENCE: Duration = Duration::from_millis(20);

/// Neighbours are known and nobody looks for more: nothing is sent but what is told.
const POD: &str = "
    sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.default.accept_ra=0 \\
        net.ipv6.conf.default.router_solicitations=0 net.ipv4.tcp_synack_retries=0
    ip link set eth0 address 02:00:00:00:00:02
    ip addr add 10.0.0.2/24 dev eth0
    ip addr add 10.0.0.3/24 dev eth0
    ip addr add fd00::2/64 dev eth0 nodad
    ip link set eth0 up
    for a in 10.0.0.1 10.0.0.77 fd00::1 fd00::77 $(seq -f 10.0.0.%g 4 15) $(seq -f fd00::%g 3 9); do
        ip neigh add $a lladdr 02:00:00:00:00:01 dev eth0 nud permanent
    done
    ip route add default via 10.0.0.1
    ip -6 route add default via fd00::1";
const EXT: &str = "
    sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.default.accept_ra=0 \\
        net.ipv6.conf.default.router_solicitations=0 net.ipv4.tcp_synack_retries=0 net.ipv4.conf.all.rp_filter=0
    ip link set eth0 address 02:00:00:00:00:01
    ip addr add 10.0.0.1/24 dev eth0
    ip addr add fd00::1/64 dev eth0 nodad
    for a in 10.0.0.5 10.96.0.10 192.0.2.7; do ip addr add $a/32 dev lo; done
    for a in fd01::9 2001:db8::7; do ip addr add $a/128 dev lo nodad; done
    ip link set eth0 up
    for a in 10.0.0.2 10.0.0.3 fd00::2; do ip neigh add $a lladdr 02:00:00:00:00:02 dev eth0 nud permanent; done
    ip route add 198.51.100.0/24 via 10.0.0.2
    ip -6 route add 2001:db8:1::/64 via fd00::2";

impl Stage {
    /// Two fresh namespaces, in which nothing waits and no rules are.
    pub(crate) fn new() -> Self {
        let (pod, ext) = (Lab::new(), Lab::new());
        pod.sh(&format!("ip link add eth0 type veth peer name eth0 netns {}", ext.pid()));
        ext.sh(EXT);
        pod.sh(POD);
        pod.wait_for_address("fd00::2");
        ext.wait_for_address("fd00::1");
        let workers = [Worker::of(&pod), Worker::of(&ext)];
        let tap = workers[1].run(wire::tap).expect("packets can be seen");
        let lock = tempfile::NamedTempFile::new().expect("a file");
        Self { pod, ext, receivers: Vec::new(), workers, tap, number: FIRST, asked_for: Vec::new(), lock }
    }

    /// What the other namespace gets from the pod unasked is lost there: it is seen on the cable, and no answer disturbs.
    pub(crate) fn deafen(&self) {
        let replies = "ct state established,related accept; meta l4proto { tcp, udp } drop;";
        self.ext.sh(&format!(
            "nft 'table inet deaf {{ chain i {{ type filter hook prerouting priority 0; {replies} }}; }}'"
        ));
    }

    fn worker(&self, place: Place) -> &Worker {
        &self.workers[usize::from(place == Place::Ext)]
    }

    /// Does something in one of the namespaces, on a thread that is there already.
    pub(crate) fn run<T: Send + 'static>(&self, place: Place, work: impl FnOnce() -> T + Send + 'static) -> T {
        self.worker(place).run(work)
    }

    /// What a program that gets `text` prints, run in the pod; or its complaints.
    pub(crate) fn tell(&self, words: &str, text: &str) -> Result<String, String> {
        let file = tempfile::tempfile().expect("a file");
        std::io::Write::write_all(&mut &file, text.as_bytes()).expect("written");
        std::io::Seek::rewind(&mut &file).expect("from its beginning");
        let words: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
        let lock = self.lock.path().to_owned();
        let output = self.run(Place::Pod, move || {
            let mut command = Command::new(&words[0]);
            command.args(&words[1..]).env("XTABLES_LOCKFILE", lock).stdin(Stdio::from(file)).output()
        });
        let output = output.expect("it can be run");
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
            false => Err(format!("{}\n{text}", String::from_utf8_lossy(&output.stderr))),
        }
    }

    /// Opens a socket that waits, and gives it a number.
    pub(crate) fn receive(
        &mut self,
        place: Place,
        protocol: Protocol,
        at: SocketAddr,
        socket: &Properties,
    ) -> nix::Result<usize> {
        let properties = socket.clone();
        let socket = self.run(place, move || socket::open_receiver(protocol, at, &properties))?;
        let inode = socket::inode(&socket);
        let socket = match protocol {
            Protocol::Tcp => Waiting::Calls(TcpListener::from(socket)),
            _ => Waiting::Datagrams(socket),
        };
        self.receivers.push(Receiver { place, protocol, at, inode, socket });
        Ok(self.receivers.len() - 1)
    }

    /// All that wait.
    pub(crate) fn receivers(&self) -> &[Receiver] {
        &self.receivers
    }

    /// All that is known of the pod.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let rules = Some(Wanted { elements: Elements::All, ..Wanted::default() });
        let parts = Parts { rules, connections: true, routes: true, ..Parts::default() };
        let occasion = Occasion { node: "node", now: 0, asked: "netns/lab", proc_root: Path::new("/proc") };
        take(Workload::named(Kind::Netns, "lab"), self.pod.netns(), None, parts, occasion).expect("a snapshot")
    }

    /// Reads the rules and sets of the pod, and what of its routing may have changed, into what is known of it.
    pub(crate) fn read_rules(&self, snapshot: &mut Snapshot, wanted: Wanted) {
        let parts = Parts { rules: Some(wanted), routes: true, interfaces: true, ..Parts::default() };
        let occasion = Occasion { node: "node", now: 0, asked: "netns/lab", proc_root: Path::new("/proc") };
        let read = take(Workload::named(Kind::Netns, "lab"), self.pod.netns(), None, parts, occasion);
        let read = read.expect("a snapshot");
        assert!(read.unread.is_empty(), "{:?}", read.unread);
        (snapshot.rulesets, snapshot.ipsets) = (read.rulesets, read.ipsets);
        (snapshot.routes, snapshot.interfaces) = (read.routes, read.interfaces);
    }

    /// Nobody waits any more.
    pub(crate) fn silence(&mut self) {
        self.receivers.clear();
    }

    /// Sends one packet and tells what became of it.
    pub(crate) fn send(&mut self, packet: &Sent) -> Arrived {
        self.send_within(packet, PATIENCE)
    }

    /// The same; what does not come within this time is taken not to come.
    pub(crate) fn send_within(&mut self, packet: &Sent, patience: Duration) -> Arrived {
        self.number += 1;
        let mut arrived = Arrived::default();
        let mut held = Vec::new();
        // What was left from before.
        self.collect(u64::MAX, packet.protocol, &mut Arrived::default(), &mut held);
        held.drain(..).for_each(socket::abort);
        let before = self.errors();
        let (sent, number) = (packet.clone(), self.number);
        let (socket, failed) = self.run(packet.from, move || emit(&sent, number));
        arrived.told = failed.map_or(Told::Nothing, Told::Error);
        let Some(socket) = socket else { return arrived };
        arrived.source = socket::local(&socket).map(socket::plain);
        self.watch(&socket, packet.protocol, Instant::now() + patience, &mut arrived, &mut held);
        let after = self.errors();
        (arrived.refused, arrived.complaints) = (after.0 - before.0, after.1 - before.1);
        (arrived.unanswered, arrived.abandoned) = (after.2 - before.2, after.3 - before.3);
        if packet.protocol == Protocol::Tcp && arrived.by.is_empty() && arrived.wire.is_empty() {
            let now = requests(self.pod.pid());
            arrived.requests = now.iter().filter(|one| !self.asked_for.contains(one)).copied().collect();
            self.asked_for = now;
        }
        socket::abort(socket);
        held.into_iter().for_each(socket::abort);
        arrived
    }

    /// Waits until something is known of the packet, and takes what else there is then.
    fn watch(
        &self,
        sender: &OwnedFd,
        protocol: Protocol,
        until: Instant,
        arrived: &mut Arrived,
        held: &mut Vec<OwnedFd>,
    ) {
        let mut fds: Vec<PollFd<'_>> =
            self.receivers.iter().map(|one| PollFd::new(one.socket.as_fd(), PollFlags::POLLIN)).collect();
        fds.push(PollFd::new(self.tap.as_fd(), PollFlags::POLLIN));
        let awaited = if protocol == Protocol::Tcp { PollFlags::POLLOUT } else { PollFlags::empty() };
        fds.push(PollFd::new(sender.as_fd(), awaited));
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let waits = arrived.told == Told::Nothing && !left.is_zero();
            let wait = if waits { PollTimeout::try_from(left.as_millis().max(1)) } else { Ok(PollTimeout::ZERO) };
            let some = poll(&mut fds, wait.expect("not long")).unwrap_or(0) > 0;
            if some {
                let woken = fds.last().and_then(PollFd::revents).unwrap_or(PollFlags::empty());
                if !woken.is_empty() && arrived.told == Told::Nothing {
                    let connected = woken.contains(PollFlags::POLLOUT).then_some(Told::Connected);
                    arrived.told = socket::error(sender).map(Told::Error).or(connected).unwrap_or_default();
                }
                self.collect(self.number, protocol, arrived, held);
            }
            if !arrived.by.is_empty() || !arrived.wire.is_empty() || !waits {
                // What the other namespace or the sender are told of it comes at the same time.
                self.collect(self.number, protocol, arrived, held);
                if arrived.told == Told::Nothing {
                    arrived.told = socket::error(sender).map_or(Told::Nothing, Told::Error);
                }
                return;
            }
        }
    }

    /// Takes all that waits at the receivers and on the cable.
    fn collect(&self, number: u64, protocol: Protocol, arrived: &mut Arrived, held: &mut Vec<OwnedFd>) {
        let mut fds: Vec<PollFd<'_>> =
            self.receivers.iter().map(|one| PollFd::new(one.socket.as_fd(), PollFlags::POLLIN)).collect();
        fds.push(PollFd::new(self.tap.as_fd(), PollFlags::POLLIN));
        if poll(&mut fds, PollTimeout::ZERO).unwrap_or(0) == 0 {
            return;
        }
        let ready = |at: usize| fds.get(at).is_some_and(|fd| fd.any() == Some(true));
        for (at, receiver) in self.receivers.iter().enumerate().filter(|(at, _)| ready(*at)) {
            match &receiver.socket {
                Waiting::Datagrams(socket) => {
                    while let Some(got) = socket::datagram(socket.as_raw_fd()) {
                        if got.bytes == number.to_be_bytes() {
                            arrived.by.push(Arrival { receiver: at, local: got.to, peer: got.from, original: None });
                        } else {
                            arrived.late += 1;
                        }
                    }
                }
                Waiting::Calls(listener) => {
                    while let Ok((taken, peer)) = listener.accept() {
                        let taken = OwnedFd::from(taken);
                        let local = socket::local(&taken).map(socket::plain);
                        let (peer, original) = (socket::plain(peer), socket::original(&taken));
                        arrived.by.push(Arrival { receiver: at, local, peer, original });
                        held.push(taken);
                    }
                }
            }
        }
        let wanted = |frame: &Frame| match protocol {
            Protocol::Tcp => frame.protocol == 6,
            _ => frame.number == Some(number),
        };
        arrived.wire.extend(wire::take(&self.tap).into_iter().filter(wanted));
    }

    /// Datagrams for ports where nobody waits, and resets; messages of errors: all that the pod meant to send so far, whether it came
    /// through or not.
    fn errors(&self) -> (u64, u64, u64, u64) {
        let read = |name: &str| {
            std::fs::read_to_string(format!("/proc/{}/net/{name}", self.pod.pid())).expect("the kernel counts")
        };
        let (four, six) = (read("snmp") + &read("netstat"), read("snmp6"));
        let lines: Vec<&str> = four.lines().collect();
        let pairs = lines.chunks_exact(2).flat_map(|pair| pair[0].split_whitespace().zip(pair[1].split_whitespace()));
        let all: Vec<_> = pairs.chain(six.lines().filter_map(|line| line.split_once(char::is_whitespace))).collect();
        let sum = |wanted: &[&str]| {
            let found = all.iter().filter(|(name, _)| wanted.contains(name));
            found.filter_map(|(_, value)| value.trim().parse::<u64>().ok()).sum::<u64>()
        };
        let refused = sum(&["NoPorts", "OutRsts", "Udp6NoPorts"]);
        let complaints = sum(&["OutDestUnreachs", "Icmp6OutDestUnreachs"]);
        (refused, complaints, sum(&["ListenDrops"]), sum(&["EmbryonicRsts"]))
    }
}

/// Opens a socket and sends; what the kernel says against it.
fn emit(packet: &Sent, number: u64) -> (Option<OwnedFd>, Option<Errno>) {
    let opened = socket::open(packet.protocol, packet.to.is_ipv6(), &packet.socket);
    let socket = match opened {
        Ok(socket) => socket,
        Err(error) => return (None, Some(error)),
    };
    if let Some(Err(error)) = packet.source.map(|source| socket::bind_to(&socket, source)) {
        return (None, Some(error));
    }
    let connected = connect(socket.as_raw_fd(), &SockaddrStorage::from(packet.to));
    let sent = match (connected, packet.protocol) {
        (Err(Errno::EINPROGRESS) | Ok(()), Protocol::Tcp) => Ok(0),
        (Ok(()), _) => send(socket.as_raw_fd(), &number.to_be_bytes(), MsgFlags::empty()),
        (Err(error), _) => Err(error),
    };
    (Some(socket), sent.err())
}

/// Connections of a process's namespace that are asked for (`/proc/net/tcp`, state 3).
fn requests(pid: u32) -> Vec<(SocketAddr, SocketAddr)> {
    let read = |name: &str| std::fs::read_to_string(format!("/proc/{pid}/net/{name}")).unwrap_or_default();
    let end = |text: &str| -> Option<SocketAddr> {
        let (address, port) = text.split_once(':')?;
        // Words of 32 bits in the machine's own order.
        let word = |at: usize| Some(u32::from_str_radix(address.get(at * 8..at * 8 + 8)?, 16).ok()?.to_ne_bytes());
        let port = u16::from_str_radix(port, 16).ok()?;
        Some(match address.len() {
            8 => (word(0)?, port).into(),
            _ => {
                let bytes: [u8; 16] = [word(0)?, word(1)?, word(2)?, word(3)?].concat().try_into().ok()?;
                socket::plain((bytes, port).into())
            }
        })
    };
    let line = |line: &str| {
        let mut words = line.split_whitespace().skip(1);
        let (local, peer, state) = (words.next()?, words.next()?, words.next()?);
        (state == "03").then(|| Some((end(local)?, end(peer)?)))?
    };
    [read("tcp"), read("tcp6")].iter().flat_map(|text| text.lines().filter_map(line).collect::<Vec<_>>()).collect()
}
