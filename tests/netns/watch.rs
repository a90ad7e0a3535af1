//! Connections are followed as they happen: every one that is made is told of, what was lost is said, and nothing is changed by it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use nslens::capture::follow::Follow;
use nslens::model::{Happening, Observed};
use serde_json::Value;

use crate::support::{Lab, require_root, wait_until};
use crate::untouched::{changes, state};

const REDIRECT: &str = "
    iptables-legacy -t nat -A OUTPUT -p tcp --dport 81 -j REDIRECT --to-ports 15001
    ip6tables-legacy -t nat -A OUTPUT -p tcp --dport 81 -j REDIRECT --to-ports 15001";

/// A watch that runs; what it says on standard error was read up to its note, so everything after this is told.
struct Watch {
    child: Child,
}

impl Watch {
    fn of(lab: &Lab, options: &str) -> Self {
        Self::started(Command::new(env!("CARGO_BIN_EXE_nslens")), lab, options).0
    }

    fn started(mut command: Command, lab: &Lab, options: &str) -> (Self, String) {
        command.args(["watch", &format!("pid/{}", lab.pid())]).args(options.split_whitespace());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program runs");
        let mut note = String::new();
        let errors = child.stderr.as_mut().expect("its errors");
        while !(note.contains("followed by") && note.ends_with('\n')) {
            let mut byte = [0];
            assert_eq!(errors.read(&mut byte).expect("its errors"), 1, "it ended: {note}");
            note.push(char::from(byte[0]));
        }
        (Self { child }, note)
    }

    fn end(&self) {
        kill(Pid::from_raw(self.child.id() as i32), Signal::SIGINT).expect("it runs");
    }

    /// All that it wrote, and its exit code.
    fn ended(self) -> (String, String, Option<i32>) {
        let output = self.child.wait_with_output().expect("it ends");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (text(&output.stdout), text(&output.stderr), output.status.code())
    }
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"))).collect()
}

/// The events of what was dialled at this place, in order.
fn events(lines: &[Value], dialled: &str) -> Vec<String> {
    let fits = |line: &&Value| line["original_destination"] == dialled;
    lines.iter().filter(fits).map(|line| line["event"].as_str().unwrap_or_default().to_owned()).collect()
}

/// Dials, is answered by whoever listens at the second place, and ends it.
fn visit(lab: &Lab, dialled: &str, listens: &str) {
    lab.netns()
        .enter(|| {
            // A child that another test is just starting may hold the last one for a moment.
            let mut bound = None;
            wait_until("a listener", || {
                bound = TcpListener::bind(listens).ok();
                bound.is_some()
            });
            let listener = bound.expect("it was waited for");
            let mut stream = TcpStream::connect(dialled).expect("a connection");
            let mut accepted = listener.accept().expect("the other half").0;
            stream.write_all(b"x").expect("sent");
            accepted.read_exact(&mut [0]).expect("received");
        })
        .expect("entered");
}

#[test]
fn every_connection_is_told_from_its_beginning_to_its_end() {
    if !require_root() {
        return;
    }
    let lab = Lab::new();
    lab.sh(REDIRECT);
    let watch = Watch::of(&lab, "-o jsonl");
    for round in 0..10 {
        visit(&lab, &format!("127.0.0.{}:81", round + 2), "127.0.0.1:15001");
        visit(&lab, &format!("127.0.0.{}:8080", round + 2), "0.0.0.0:8080");
    }
    visit(&lab, "[::1]:81", "[::1]:15001");
    lab.netns()
        .enter(|| {
            let (one, other) = (UdpSocket::bind("127.0.0.1:5000"), UdpSocket::bind("127.0.0.1:5353"));
            let (one, other) = (one.expect("a socket"), other.expect("a socket"));
            one.send_to(b"x", "127.0.0.1:5353").expect("sent");
            let from = other.recv_from(&mut [0]).expect("received").1;
            other.send_to(b"y", from).expect("sent");
        })
        .expect("entered");
    std::thread::sleep(Duration::from_millis(300));
    watch.end();
    let (out, errors, code) = watch.ended();
    assert_eq!(code, Some(0), "{errors}");
    let lines = lines(&out);
    for round in 0..10 {
        for (port, went, way) in [(81, "127.0.0.1:15001".to_owned(), "redirected"), (8080, String::new(), "direct")] {
            let dialled = format!("127.0.0.{}:{port}", round + 2);
            assert_eq!(events(&lines, &dialled), ["open", "established", "closed"], "{dialled}\n{out}");
            let went = if went.is_empty() { dialled.clone() } else { went };
            let (went, way) = (Value::from(went), Value::from(way));
            for line in lines.iter().filter(|line| line["original_destination"] == *dialled) {
                assert_eq!((&line["actual_destination"], &line["way"]), (&went, &way), "{line}");
            }
        }
    }
    assert_eq!(events(&lines, "[::1]:81"), ["open", "established", "closed"], "{out}");
    assert_eq!(events(&lines, "127.0.0.1:5353"), ["open", "answered"]);
    let first = lines.iter().find(|line| line["original_destination"] == "127.0.0.2:81").expect("a line");
    assert_eq!((&first["rule"]["chain"], &first["rule"]["number"]), (&"OUTPUT".into(), &1.into()), "{first}");
    assert!(lines.iter().all(|line| line["source"] == "conntrack"), "sockets are told once: {out}");
}

#[test]
fn entries_from_before_are_followed_to_their_end_too() {
    if !require_root() {
        return;
    }
    let lab = Lab::new();
    lab.sh(REDIRECT);
    let insert = |port: u32, seconds: u32| {
        lab.sh(&format!(
            "conntrack -I -s 10.9.0.1 -d 10.9.0.2 -p tcp --sport 7 --dport {port} --state ESTABLISHED --timeout {seconds} -u SEEN_REPLY"
        ));
    };
    insert(1, 1000);
    insert(2, 1000);
    let watch = Watch::of(&lab, "-o jsonl --initial --interval 100ms");
    lab.sh("conntrack -D -p tcp --dport 1 2>&1");
    std::thread::sleep(Duration::from_millis(2500));
    watch.end();
    let (out, ..) = watch.ended();
    let lines = lines(&out);
    assert_eq!(events(&lines, "10.9.0.2:1"), ["there", "closed"], "{out}");
    assert_eq!(events(&lines, "10.9.0.2:2"), ["there"], "{out}");
}

#[test]
fn where_nothing_is_tracked_sockets_are_followed_and_tracking_stays_off() {
    if !require_root() {
        return;
    }
    let lab = Lab::new();
    let before = state(&lab);
    let command = Command::new(env!("CARGO_BIN_EXE_nslens"));
    let (watch, note) = Watch::started(command, &lab, "-o jsonl --interval 100ms");
    let server = lab.nc(1000, 1000, "-ll -p 8082");
    lab.wait_for_sockets(1, "sport = :8082");
    let client = lab.nc(1001, 1001, "127.0.0.1 8082");
    // One that is long enough for a list, and one that is not.
    let held = lab.netns().enter(|| {
        let listener = TcpListener::bind("127.0.0.1:8080").expect("a listener");
        let stream = TcpStream::connect("127.0.0.1:8080").expect("a connection");
        (listener.accept().expect("the other half"), stream, listener)
    });
    std::thread::sleep(Duration::from_millis(600));
    drop(held);
    visit(&lab, "127.0.0.9:8081", "127.0.0.9:8081");
    std::thread::sleep(Duration::from_millis(400));
    watch.end();
    let (out, errors, code) = watch.ended();
    assert_eq!(code, Some(0), "{note}{errors}");
    let lines = lines(&out);
    let mut told = events(&lines, "127.0.0.1:8080");
    told.sort_unstable();
    assert_eq!(told, ["closed", "closed", "open", "open"], "both halves: {out}");
    assert!(events(&lines, "127.0.0.9:8081").contains(&"closed".to_owned()), "{out}");
    assert!(lines.iter().all(|line| line["source"] == "sockets" && line["way"] == "direct"), "{out}");
    // Held by this test, which lives elsewhere and held none before; those of the namespace's own processes have their owner.
    let pids = |lines: &[Value]| -> Vec<u64> {
        let of = lines.iter().filter(|line| line["original_destination"] == "127.0.0.1:8082");
        let mut pids: Vec<u64> = of.filter_map(|line| line["process"]["pid"].as_u64()).collect();
        pids.sort_unstable();
        pids.dedup();
        pids
    };
    // The other half is a child's of the server.
    let pids = pids(&lines);
    assert!(pids.contains(&u64::from(client.pid())), "{out}");
    drop((server, client));
    let after = state(&lab);
    let count = after.iter().find(|(path, _)| path.ends_with("sys/net/netfilter/nf_conntrack_count"));
    assert_eq!(count.map(|(_, text)| text.trim()), Some("0"), "tracking was woken");
    // Ports of a connection that is over are what it leaves behind; nobody else's doing.
    let left: Vec<_> = changes(&before, &after).into_iter().filter(|change| !is_of_traffic(change)).collect();
    assert_eq!(left, Vec::<String>::new());
}

/// What connections leave behind by themselves: TIME-WAIT and counters.
fn is_of_traffic(change: &str) -> bool {
    let path = change.split(':').next().unwrap_or_default();
    [
        "/tcp",
        "/tcp6",
        "/snmp",
        "/snmp6",
        "/netstat",
        "/dev",
        "/sockstat",
        "/stat/rt_cache",
        "/lo",
        "/udp",
        "/fib_triestat",
    ]
    .iter()
    .any(|file| path.ends_with(file))
}

#[test]
fn watching_changes_nothing() {
    if !require_root() {
        return;
    }
    for rules in [":", REDIRECT] {
        let lab = Lab::new();
        lab.sh(rules);
        let before = state(&lab);
        let watch = Watch::of(&lab, "--interval 50ms");
        std::thread::sleep(Duration::from_millis(300));
        // Its own sockets show in `/proc/net/netlink` while it runs, and nothing else does.
        let during = changes(&before, &state(&lab));
        assert!(during.iter().all(|change| change.contains("/netlink:")), "{during:#?}");
        watch.end();
        assert_eq!(watch.ended().2, Some(0));
        assert_eq!(changes(&before, &state(&lab)), Vec::<String>::new());
    }
}

#[test]
fn lost_events_are_said_and_caught_up() {
    if !require_root() {
        return;
    }
    let lab = Lab::new();
    lab.sh(REDIRECT);
    let watch = Watch::of(&lab, "-o jsonl");
    let pid = Pid::from_raw(watch.child.id() as i32);
    kill(pid, Signal::SIGSTOP).expect("it runs");
    let netns = lab.netns();
    // More than there is room for while nobody reads.
    let made: u32 = 120_000;
    crate::flows_made::make_from(netns, 0, made);
    kill(pid, Signal::SIGCONT).expect("it runs");
    let mut watch = watch;
    let mut reader = BufReader::new(watch.child.stdout.take().expect("its output"));
    let (mut opened, mut lost, mut late) = (0, Vec::new(), 0);
    let mut line = String::new();
    while opened < made {
        line.clear();
        assert_ne!(reader.read_line(&mut line).expect("its output"), 0, "{opened} of {made} were told");
        let value: Value = serde_json::from_str(&line).expect("JSON");
        match value["event"].as_str() {
            Some("open") => {
                opened += 1;
                late += u32::from(value["late"] == true);
            }
            Some("lost") => lost.push(value["connections"].as_u64()),
            _ => {}
        }
    }
    assert!(!lost.is_empty() && lost.contains(&Some(u64::from(made))), "{lost:?}");
    assert!(late > 0, "what was lost comes from the list");
    watch.end();
    drop(reader);
    watch.child.wait().expect("it ends");
}

#[test]
fn it_ends_in_every_way_that_is_wanted() {
    if !require_root() {
        return;
    }
    let lab = Lab::new();
    lab.sh(REDIRECT);
    // After a number of changes.
    let watch = Watch::of(&lab, "-o jsonl --count 2");
    visit(&lab, "127.0.0.3:81", "127.0.0.1:15001");
    let (out, _, code) = watch.ended();
    assert_eq!((lines(&out).len(), code), (2, Some(0)), "{out}");
    // After a time.
    assert_eq!(Watch::of(&lab, "--for 200ms --no-headers").ended().2, Some(0));
    // When nobody reads it any more, without a word of it.
    let mut watch = Watch::of(&lab, "-o jsonl");
    drop(watch.child.stdout.take());
    let (_, errors, code) = watch.ended();
    assert_eq!((errors.trim(), code), ("", Some(0)));
    // When what is watched ends.
    let watch = Watch::of(&lab, "");
    drop(lab);
    let (_, errors, code) = watch.ended();
    assert_eq!(code, Some(3), "{errors}");
    assert!(errors.contains("ended: its process"), "{errors}");
}

#[test]
fn without_the_right_to_listen_it_says_so_and_lists_sockets() {
    if !require_root() {
        return;
    }
    let lab = Lab::new();
    lab.sh(REDIRECT);
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set", "-net_admin", "--inh-caps", "-net_admin", env!("CARGO_BIN_EXE_nslens")]);
    let (watch, note) = Watch::started(command, &lab, "-o jsonl --interval 100ms");
    let mut rest = note;
    let held = lab.netns().enter(|| {
        let listener = TcpListener::bind("127.0.0.1:15001").expect("a listener");
        let stream = TcpStream::connect("127.0.0.1:81").expect("a connection");
        (listener, stream)
    });
    std::thread::sleep(Duration::from_millis(500));
    drop(held);
    watch.end();
    let (out, errors, code) = watch.ended();
    rest.push_str(&errors);
    assert_eq!(code, Some(0), "{rest}");
    assert!(rest.contains("no connection tracking (") && rest.contains("sockets listed every 100ms"), "{rest}");
    let lines = lines(&out);
    let opened = lines.iter().find(|line| line["original_destination"] == "127.0.0.1:81").expect("it is seen");
    assert_eq!((&opened["way"], &opened["actual_destination"]), (&"unknown".into(), &Value::Null), "{out}");
}

#[test]
fn what_others_send_to_the_group_is_passed_over() {
    if !require_root() {
        return;
    }
    let lab = Lab::new();
    lab.sh(REDIRECT);
    let mut follow =
        Follow::open(lab.netns(), std::path::Path::new("/proc"), Duration::from_millis(1)).expect("entered");
    follow.turn(|_| {}).expect("read");
    // The kernel's own event, made by another one's request, is its own still.
    lab.sh("conntrack -I -s 10.9.0.1 -d 10.9.0.2 -p udp --sport 7 --dport 9 --timeout 100 2>&1");
    // Somebody of the namespace with CAP_NET_ADMIN says the same in the kernel's place.
    lab.sh(r#"python3 - <<'END'
import socket, struct
s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
s.bind((0, 0))
s.sendto(struct.pack("=IHHII4x", 20, 0x0102, 0, 0, 0), (0, 1 << 2))
END"#);
    let mut told = Vec::new();
    wait_until("the event", || {
        follow
            .turn(|observed| match observed {
                Observed::Tracked(happening, _) => told.push(happening),
                Observed::Lost => panic!("nothing was lost"),
                _ => {}
            })
            .expect("read");
        !told.is_empty()
    });
    assert_eq!(told, [Happening::New]);
}
