//! Reading sockets and finding their owners, against ss, pair by pair: `cargo bench --bench sockets_at_scale` (as root).
//!
//! An ordinary pod has 30 sockets and 40 tracked flows; the large one 20,000 sockets, on a node of 2,000 processes more; and one
//! more ordinary pod has 10,000 neighbours of 100 descriptors each, as far as the machine lets so many be. Called
//! again by itself with `hold` it is a program that has connections, with `read` it reads sockets and owners and prints nothing of
//! them: what joining and printing cost stands between that and the program's own line.
#![expect(clippy::print_stdout, reason = "it prints its figures")]

#[path = "../tests/support/netns.rs"]
#[expect(dead_code, reason = "the benchmark needs a part of the tests' labs")]
mod netns;

mod pairs;

use std::io::{BufRead, BufReader, Read};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::time::Duration;

use netns::Lab as Place;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use nslens::capture::connections::read_into;
use nslens::model::{Kind, Snapshot, Workload};
use nslens::sys::netns::Netns;
use pairs::{headings, pair, pairs};

/// The program: `NSLENS_PROGRAM`, to measure the static one that is handed out, else the one just built.
static NSLENS: LazyLock<String> =
    LazyLock::new(|| std::env::var("NSLENS_PROGRAM").unwrap_or_else(|_| env!("CARGO_BIN_EXE_nslens").to_owned()));
/// Pairs of commands that take a tenth of a second or more.
const FEW: usize = 15;

/// Processes of the large pod, and the connections that each of them has with itself: two sockets each.
const HOLDERS: usize = 20;
const CONNECTIONS: usize = 500;
/// Further processes of the node.
const CROWD: usize = 2000;
/// Processes of a crowded node, and the descriptors of each.
const MULTITUDE: usize = 10_000;
const DESCRIPTORS: usize = 100;

/// A program and all that it started.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        let group = Pid::from_raw(i32::try_from(self.0.id()).unwrap_or_default());
        killpg(group, Signal::SIGKILL).ok();
        self.0.wait().ok();
    }
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["hold", port, count] => return hold(port, count),
        ["read", pid, every] => return read(pid, *every == "every"),
        _ => {}
    }
    if !nix::unistd::geteuid().is_root() {
        println!("NOT RUN: it needs root");
        return;
    }
    headings();
    ordinary();
    large();
    crowded();
}

fn command(program: &str, arguments: &str) -> Command {
    let mut command = Command::new(program);
    command.args(arguments.split_whitespace());
    command
}

fn own(arguments: &str) -> Command {
    command(std::env::current_exe().unwrap_or_default().to_str().unwrap_or_default(), arguments)
}

fn ss(place: &Place) -> Command {
    command("nsenter", &format!("-t {} -n ss -tnp", place.pid()))
}

/// Connections to itself until its input ends.
fn hold(port: &str, count: &str) {
    let port: u16 = port.parse().expect("a port");
    let listener = TcpListener::bind(("127.0.0.1", port)).expect("a listener");
    let connect = |_| {
        let client = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
        (client, listener.accept().expect("an accepted half").0)
    };
    let held: Vec<_> = (0..count.parse::<usize>().expect("a count")).map(connect).collect();
    println!("ready");
    std::io::stdin().read_to_end(&mut Vec::new()).ok();
    drop(held);
}

/// Sockets and owners, and nothing made of them.
fn read(pid: &str, every: bool) {
    let netns = Netns::open(Path::new(&format!("/proc/{pid}/ns/net"))).expect("the namespace");
    let mut snapshot = Snapshot::of("node", 0, "bench", Workload::named(Kind::Netns, "bench"));
    read_into(&mut snapshot, &netns, Path::new("/proc"), every);
    println!("{}", snapshot.processes.iter().flatten().map(|process| process.sockets.len()).sum::<usize>());
}

/// Starts `hold` in a place and waits until it has what it is to have.
fn holder(place: &Place, port: usize, count: usize) -> Group {
    let mut command = command("nsenter", &format!("-t {} -n", place.pid()));
    command.arg(std::env::current_exe().unwrap_or_default()).args(["hold", &port.to_string(), &count.to_string()]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
    let mut child = command.spawn().expect("it can be run");
    let output = child.stdout.take().expect("its output is a pipe");
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line).expect("a line");
    assert_eq!(line, "ready\n", "the connections could not be made");
    Group(child)
}

fn ordinary() {
    let place = Place::new();
    // Ten connections to itself through a rule that tracks, and some more entries of connections that are over.
    place.sh("iptables-nft -t nat -A OUTPUT -p tcp --dport 80 -j REDIRECT --to-ports 9000");
    let held = [holder(&place, 9000, 10), holder(&place, 9001, 4)];
    for _ in 0..26 {
        place.sh("busybox nc -w 1 127.0.0.1 9002 < /dev/null || true");
    }
    let pid = place.pid();
    pair(
        "30 sockets: conns, against nsenter + ss -tnp",
        || command(&NSLENS, &format!("conns pid/{pid}")),
        || ss(&place),
    );
    pair("30 sockets: read alone, against the same", || own(&format!("read {pid} live")), || ss(&place));
    pair("30 sockets: every kind, with figures, the same", || own(&format!("read {pid} every")), || ss(&place));
    drop(held);
}

fn large() {
    let place = Place::new();
    let held: Vec<Group> = (0..HOLDERS).map(|number| holder(&place, 10_000 + number, CONNECTIONS)).collect();
    // Each has a dozen descriptors, as a small service has.
    let script = format!(
        "i=0; while [ $i -lt {CROWD} ]; do
         sleep 10000 </dev/null 3</dev/null 4</dev/null 5</dev/null 6</dev/null 7</dev/null 8</dev/null 9</dev/null &
         i=$((i+1)); done; wait"
    );
    let mut crowd = command("sh", "-c");
    let crowd = Group(crowd.arg(script).stdin(Stdio::null()).process_group(0).spawn().expect("sh can be run"));
    let processes = || std::fs::read_dir("/proc").map_or(0, Iterator::count);
    for _ in 0..600 {
        if processes() > CROWD {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    println!("{} processes", processes());
    let pid = place.pid();
    pairs(
        FEW,
        "20,000 sockets: conns, against nsenter + ss -tnp",
        || command(&NSLENS, &format!("conns pid/{pid}")),
        || ss(&place),
    );
    pairs(FEW, "20,000 sockets: read alone, against the same", || own(&format!("read {pid} live")), || ss(&place));
    pairs(
        FEW,
        "20,000 sockets: every kind, with figures, the same",
        || own(&format!("read {pid} every")),
        || ss(&place),
    );
    // One socket more, which nobody in the pod holds: everybody on the node is looked at.
    let listener = place.netns().enter(|| TcpListener::bind("127.0.0.1:15001").expect("a listener"));
    pairs(
        FEW,
        "the same, and a listener that a proxy of the node holds",
        || own(&format!("read {pid} live")),
        || ss(&place),
    );
    drop((listener, crowd, held));
}

fn crowded() {
    let place = Place::new();
    let held = holder(&place, 9000, 14);
    // Forked alone, they are as small as processes can be.
    let script = format!(
        "$| = 1; my @held; for (4..{DESCRIPTORS}) {{ open my $one, '<', '/dev/null' or last; push @held, $one }}
         my $made = 0; for (1..{MULTITUDE}) {{
             my $child = fork; last unless defined $child; if (!$child) {{ sleep while 1 }} $made++ }}
         print \"$made\\n\"; sleep while 1"
    );
    let mut crowd = command("perl", "-e");
    crowd.arg(script).stdin(Stdio::null()).stdout(Stdio::piped()).process_group(0);
    let Ok(mut crowd) = crowd.spawn().map(Group) else {
        println!("NOT RUN: perl makes the crowd");
        return;
    };
    let mut made = String::new();
    crowd.0.stdout.take().map(|output| BufReader::new(output).read_line(&mut made));
    println!("{} of {MULTITUDE} processes with {DESCRIPTORS} descriptors each", made.trim());
    let pid = place.pid();
    let own = || command(&NSLENS, &format!("conns pid/{pid}"));
    pairs(FEW, "such a node, owners in the pod: conns, against ss -tnp", own, || ss(&place));
    // A connection whose halves are held outside of the pod: everybody is looked at, once.
    let elsewhere = place.netns().enter(|| {
        let listener = TcpListener::bind("127.0.0.1:15001").expect("a listener");
        let client = TcpStream::connect("127.0.0.1:15001").expect("a connection");
        let accepted = listener.accept().expect("an accepted half").0;
        (listener, client, accepted)
    });
    pairs(FEW, "such a node, one more held elsewhere: the same", own, || ss(&place));
    drop((elsewhere, crowd, held));
}
