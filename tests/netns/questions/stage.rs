//! What the questions are asked of: rules in either backend, programs that dial, wait, forward and answer, and the program's answers.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::{Child, Stdio};
use std::thread;
use std::time::Duration;

use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, bind, connect, getsockopt, listen, setsockopt, socket,
    sockopt,
};
use serde_json::Value;

use crate::rules::nslens;
use crate::support::{Lab, require_root};

/// Both places where iptables keeps rules.
pub(crate) const BACKENDS: [&str; 2] = ["nft", "legacy"];

/// Rules as a sidecar of Istio has them; the application's port 5432 is left alone.
pub(crate) const SIDECAR: &str = "
*nat
:IN_REDIRECT - [0:0]
:OUT - [0:0]
:REDIRECT_OUT - [0:0]
-A PREROUTING -p tcp --dport 15008 -j RETURN
-A PREROUTING -p tcp -j IN_REDIRECT
-A OUTPUT -p tcp -j OUT
-A IN_REDIRECT -p tcp -j REDIRECT --to-ports 15006
-A REDIRECT_OUT -p tcp -j REDIRECT --to-ports 15001
-A OUT -s 127.0.0.6/32 -o lo -j RETURN
-A OUT ! -d 127.0.0.1/32 -o lo -m owner --uid-owner 1337 -j IN_REDIRECT
-A OUT -o lo -m owner ! --uid-owner 1337 -j RETURN
-A OUT -m owner --uid-owner 1337 -j RETURN
-A OUT -d 127.0.0.1/32 -j RETURN
-A OUT -p tcp --dport 5432 -j RETURN
-A OUT -j REDIRECT_OUT
COMMIT
";

/// Rules of ambient mode: by marks.
pub(crate) const AMBIENT: &str = "
*mangle
-A PREROUTING -m mark --mark 0x539/0xfff -j CONNMARK --set-xmark 0x111/0xfff
-A OUTPUT -m connmark --mark 0x111/0xfff -j CONNMARK --restore-mark
COMMIT
*nat
-A PREROUTING -s 169.254.7.127/32 -p tcp -j ACCEPT
-A PREROUTING ! -d 127.0.0.1/32 -p tcp ! --dport 15008 -m mark ! --mark 0x539/0xfff -j REDIRECT --to-ports 15006
-A OUTPUT -d 169.254.7.127/32 -p tcp -j ACCEPT
-A OUTPUT -p tcp -m mark --mark 0x111/0xfff -j ACCEPT
-A OUTPUT ! -d 127.0.0.1/32 -o lo -j ACCEPT
-A OUTPUT ! -d 127.0.0.1/32 -p tcp -m mark ! --mark 0x539/0xfff -j REDIRECT --to-ports 15001
COMMIT
";

/// Loads rules of IPv4 into one of the two.
pub(crate) fn load(lab: &Lab, backend: &str, rules: &str) {
    lab.sh(&format!("iptables-{backend}-restore --noflush <<'END'\n{}\nEND", rules.trim()));
}

/// A program of the lab, killed when this value goes away.
pub(crate) struct Program(pub(crate) Child);

impl Program {
    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts this test program again inside of a lab, under this UID and GID, to do what these words say: see [`act`].
pub(crate) fn run(lab: &Lab, id: u32, words: &str) -> Program {
    run_as(lab, (id, id), words)
}

/// The same with a group of another number.
pub(crate) fn run_as(lab: &Lab, (uid, gid): (u32, u32), words: &str) -> Program {
    let program = std::env::current_exe().expect("this program");
    let mut command = lab.command_as(uid, gid, program.to_str().expect("its path"));
    command.args(["--exact", "questions::stage::a_program_of_the_lab"]).env("NSLENS_TEST_CHILD", words);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Program(command.spawn().expect("it can be run"))
}

/// The function above starts this program again, inside a lab: then this is the program.
#[test]
fn a_program_of_the_lab() {
    let Ok(words) = std::env::var("NSLENS_TEST_CHILD") else { return };
    words.split(' ').for_each(act);
    thread::sleep(Duration::from_secs(1000));
}

/// `listen:A` waits and takes nothing, `accept:A` takes all calls, `forward:A>B` dials B for each (`original`: what was dialled;
/// `B@C`: from C), `dial:A` and `dial:A@C` dial, `mark:A#M` dials with a mark, `transparent:A` waits as a transparent
/// socket does, `udp:A` answers datagrams, `ask:A@C` sends some.
fn act(word: &str) {
    let (verb, what) = word.split_once(':').expect("a word");
    let (to, from) = what.split_once('@').map_or((what, None), |(to, from)| (to, Some(from)));
    match verb {
        "listen" => std::mem::forget(TcpListener::bind(to).expect("a listener")),
        "accept" => forward(to, None),
        "forward" => {
            let (at, to) = what.split_once('>').expect("from and to");
            forward(at, Some(to.to_owned()));
        }
        "dial" => std::mem::forget(dial(to, from)),
        "mark" => {
            let (to, mark) = to.split_once('#').expect("where to, and with which mark");
            let address: SocketAddr = to.parse().expect("an address");
            let caller = socket(AddressFamily::Inet, SockType::Stream, SockFlag::empty(), None).expect("a socket");
            setsockopt(&caller, sockopt::Mark, &mark.parse().expect("a mark")).expect("the right to mark");
            connect(caller.as_raw_fd(), &SockaddrStorage::from(address)).expect("a connection");
            std::mem::forget(caller);
        }
        "transparent" => {
            let address: SocketAddr = to.parse().expect("an address");
            let waits = socket(AddressFamily::Inet, SockType::Stream, SockFlag::empty(), None).expect("a socket");
            setsockopt(&waits, sockopt::IpTransparent, &true).expect("the right to be transparent");
            bind(waits.as_raw_fd(), &SockaddrStorage::from(address)).expect("an address");
            listen(&waits, Backlog::new(16).expect("a number")).expect("a listener");
            std::mem::forget(waits);
        }
        "udp" => {
            let socket = UdpSocket::bind(to).expect("a socket");
            thread::spawn(move || {
                let mut bytes = [0; 64];
                while let Ok((length, from)) = socket.recv_from(&mut bytes) {
                    let _ = socket.send_to(&bytes[..length], from);
                }
            });
        }
        "ask" => {
            let socket = UdpSocket::bind(from.expect("from where")).expect("a socket");
            socket.send_to(b"query", to).expect("a datagram");
            std::mem::forget(socket);
        }
        other => panic!("{other} is no verb"),
    }
}

/// Takes calls, twenty at most, and dials for each where it is to go.
fn forward(at: &str, to: Option<String>) {
    let listener = TcpListener::bind(at).expect("a listener");
    thread::spawn(move || {
        for taken in listener.incoming().take(20).flatten() {
            match to.as_deref() {
                None => {}
                Some("original") => {
                    let wanted = getsockopt(&taken, sockopt::OriginalDst).expect("what was dialled");
                    let address = std::net::Ipv4Addr::from(u32::from_be(wanted.sin_addr.s_addr));
                    let to = format!("{address}:{}", u16::from_be(wanted.sin_port));
                    // Who is sent back to itself has to take the call before it is connected in full.
                    thread::spawn(move || std::mem::forget(dial(&to, None)));
                }
                Some(to) => {
                    let (to, from) = to.split_once('@').map_or((to, None), |(to, from)| (to, Some(from)));
                    std::mem::forget(dial(to, from));
                }
            }
            std::mem::forget(taken);
        }
        std::mem::forget(listener);
    });
}

/// A connection from an address that may be shared.
pub(crate) fn dial(to: &str, from: Option<&str>) -> OwnedFd {
    let address = |text: &str| text.parse::<SocketAddr>().expect("an address");
    let family = if address(to).is_ipv6() { AddressFamily::Inet6 } else { AddressFamily::Inet };
    let caller = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).expect("a socket");
    if let Some(from) = from {
        setsockopt(&caller, sockopt::ReuseAddr, &true).expect("a shared address");
        bind(caller.as_raw_fd(), &SockaddrStorage::from(address(from))).expect("the address");
    }
    connect(caller.as_raw_fd(), &SockaddrStorage::from(address(to))).expect("a connection");
    caller
}

/// A pod under a sidecar's rules and a world with servers at 80, 81 and 5432, and the pod's proxy: none without root.
pub(super) fn meshed(backend: &str, proxy: &str) -> Option<(Lab, Lab, Vec<Program>)> {
    if !require_root() {
        return None;
    }
    let (pod, world) = Lab::pod_and_world();
    load(&pod, backend, SIDECAR);
    let mut held = vec![run(&world, 0, "accept:[::]:80 accept:[::]:81 accept:[::]:5432")];
    world.wait_for_sockets(3, "state listening");
    if !proxy.is_empty() {
        held.push(run(&pod, 1337, proxy));
        pod.wait_for_sockets(proxy.split(' ').count(), "state listening");
    }
    Some((pod, world, held))
}

/// What `conns` says of a lab.
pub(super) struct Said {
    pub(super) document: Value,
}

/// Asks the program.
pub(super) fn conns(lab: &Lab) -> Said {
    let output = nslens(lab, &["conns", "-o", "json"]);
    let errors = String::from_utf8_lossy(&output.stderr);
    let document = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {errors}"));
    Said { document }
}

/// What people see, with these words more.
pub(super) fn shown(lab: &Lab, words: &[&str]) -> String {
    let output = nslens(lab, &[&["conns"], words].concat());
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let block = text.split_once("\nSeen:\n").map_or("", |(_, block)| block);
    assert!(block.lines().all(|line| line.chars().count() <= 80), "{text}");
    text
}

impl Said {
    /// The connections of a process.
    pub(super) fn of(&self, program: &Program) -> Vec<&Value> {
        self.rows().filter(|row| row["process"]["pid"] == program.pid()).collect()
    }

    /// The connection of a process that dialled this.
    pub(crate) fn dialled(&self, program: &Program, to: &str) -> &Value {
        let of = |row: &&Value| row["original_destination"] == to && row["direction"] == "out";
        let found: Vec<_> = self.of(program).into_iter().filter(of).collect();
        assert_eq!(found.len(), 1, "{to} in {:#}", self.document);
        found[0]
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = &Value> {
        self.document["connections"].as_array().expect("connections").iter()
    }

    /// The connection with this inode.
    pub(super) fn row(&self, inode: &Value) -> &Value {
        self.rows().find(|row| row["inode"] == *inode).unwrap_or_else(|| panic!("{inode} in {:#}", self.document))
    }

    /// All that is said under this word.
    pub(super) fn seen(&self, id: &str) -> Vec<&Value> {
        let all = self.document["observations"].as_array().expect("observations").iter();
        all.filter(|seen| seen["id"] == id).collect()
    }

    /// The only thing that is said under this word.
    pub(super) fn only(&self, id: &str) -> &Value {
        let seen = self.seen(id);
        assert_eq!(seen.len(), 1, "{id} in {:#}", self.document);
        seen[0]
    }

    /// Nothing out of the ordinary is said.
    pub(super) fn is_quiet(&self) -> bool {
        ["bypass", "older-than-rules", "loop", "stalled-handshake", "unread-bytes", "mirrored-entries"]
            .iter()
            .all(|id| self.seen(id).is_empty())
    }
}

/// Whether it says all of these words.
#[track_caller]
pub(super) fn says(seen: &Value, words: &[&str]) {
    let text = seen["words"].as_str().expect("words");
    for word in words {
        assert!(text.contains(word), "{word:?} in {text:?}");
    }
}

/// The numbers of a list, each once.
pub(super) fn numbers(list: &Value) -> BTreeSet<u64> {
    list.as_array().expect("a list").iter().map(|number| number.as_u64().expect("a number")).collect()
}

/// The inodes of these rows.
pub(super) fn inodes<'a>(rows: impl IntoIterator<Item = &'a Value>) -> BTreeSet<u64> {
    rows.into_iter().map(|row| row["inode"].as_u64().expect("an inode")).collect()
}

/// Sends these bytes and ends the connection.
pub(super) fn send_and_close(to: &str, bytes: &[u8]) {
    TcpStream::connect(to).expect("a connection").write_all(bytes).expect("it is sent");
}
