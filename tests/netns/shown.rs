//! What `conns` shows of processes, users and sockets beside the connections, against `ss` and against what was set up.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::sockets_in_full::opened;
use crate::support::{Lab, require_root, wait_until};

/// A program that ends with the test.
struct Ends(Child);

impl Drop for Ends {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What `nslens conns` prints about a process's namespace.
fn conns(pid: u32, options: &[&str]) -> String {
    let target = format!("pid/{pid}");
    let run = Command::new(env!("CARGO_BIN_EXE_nslens")).arg("conns").arg(target).args(options).output();
    String::from_utf8(run.expect("it can be run").stdout).expect("text")
}

fn document(pid: u32, options: &[&str]) -> Value {
    serde_json::from_str(&conns(pid, &[options, &["-o", "json"]].concat())).expect("a document")
}

fn rows<'a>(document: &'a Value, key: &str) -> &'a [Value] {
    document[key].as_array().map_or(&[], Vec::as_slice)
}

/// A pod with a user namespace of its own: its users are counted from 100000 on.
struct Pod(Ends);

impl Pod {
    fn new() -> Self {
        let mut command = Command::new("unshare");
        command.args(["-U", "-n", "setpriv", "--pdeathsig", "KILL", "sh", "-c", "echo ready; exec sleep 1000"]);
        let mut holder = Ends(command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("unshare can be run"));
        let output = holder.0.stdout.take().expect("its output is a pipe");
        BufReader::new(output).read_line(&mut String::new()).expect("a line");
        for map in ["uid_map", "gid_map"] {
            std::fs::write(format!("/proc/{}/{map}", holder.0.id()), "0 100000 65536").expect("a map");
        }
        Self(holder)
    }

    fn pid(&self) -> u32 {
        self.0.0.id()
    }

    fn run(&self, uid: u32, program: &str) -> Command {
        let (pid, uid) = (self.pid().to_string(), uid.to_string());
        let mut command = Command::new("nsenter");
        command.args(["-t", &pid, "-U", "-n", "setpriv", "--reuid", &uid, "--regid", &uid, "--clear-groups"]);
        command.args(["--pdeathsig", "KILL", "sh", "-euc", program]);
        command
    }

    /// A program that goes on.
    fn start(&self, uid: u32, program: &str) -> Ends {
        let mut command = self.run(uid, &format!("exec {program}"));
        Ends(command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("nsenter can be run"))
    }

    fn as_its_root(&self, script: &str) {
        assert!(self.run(0, script).stdin(Stdio::null()).status().expect("nsenter can be run").success(), "{script}");
    }
}

#[test]
fn exempt_by_a_user_as_the_pod_counts_them() {
    if !require_root() {
        return;
    }
    let pod = Pod::new();
    pod.as_its_root(
        "ip link set lo up
         nft -f - <<'END'
table ip nat {
  chain output {
    type nat hook output priority -100
    tcp dport 9000 meta skuid 1337 return
    tcp dport 9000 meta skgid 1338 return
    tcp dport 9000 redirect to :15001
  }
}
END",
    );
    let servers = [pod.start(1337, "busybox nc -ll -p 15001 -e cat"), pod.start(0, "busybox nc -ll -p 9000 -e cat")];
    wait_until("two listeners", || rows(&document(pod.pid(), &["--listen"]), "connections").len() == 2);
    let users = [1337, 1338, 1000];
    let clients = users.map(|uid| pod.start(uid, "busybox nc 127.0.0.1 9000"));
    let dialled = |found: &Value| {
        let mut dialled: Vec<Value> = rows(found, "connections")
            .iter()
            .filter(|row| {
                row["peer"] == "127.0.0.1:9000"
                    && row["process"]["name"] == "busybox"
                    && row["state"] == "established"
                    && row["direction"] == "out"
            })
            .cloned()
            .collect();
        dialled.sort_by_key(|row| row["uid"].as_u64());
        dialled
    };
    wait_until("three connections", || dialled(&document(pod.pid(), &[])).len() == 3);
    let found = dialled(&document(pod.pid(), &[]));
    let seen: Vec<Value> = found
        .iter()
        .map(|row| {
            json!([
                row["uid"],
                row["uid_inner"],
                row["process"]["gid"],
                row["process"]["gid_inner"],
                row["way"],
                row["rule"]["number"]
            ])
        })
        .collect();
    assert_eq!(
        seen,
        [
            json!([101_000, 1000, 101_000, 1000, "redirected", 3]),
            json!([101_337, 1337, 101_337, 1337, "exempt", 1]),
            json!([101_338, 1338, 101_338, 1338, "exempt", 2]),
        ]
    );
    let text = conns(pod.pid(), &[]);
    assert!(text.contains(&format!("busybox/{} · UID 101337 (1337 inside)\n", clients[0].0.id())), "{text}");
    // The namespace may hold what a process of the node opened in it: that user is none in the pod.
    let netns = nslens::sys::netns::Netns::open(format!("/proc/{}/ns/net", pod.pid()).as_ref()).expect("a namespace");
    let _own = netns.enter(|| UdpSocket::bind("127.0.0.1:53").expect("a socket")).expect("it can be entered");
    let text = conns(pod.pid(), &["--listen"]);
    assert!(
        text.contains(&format!("/{} · UID 0 (none inside, root) · in another network namespace\n", std::process::id())),
        "{text}"
    );
    drop(servers);
}

#[test]
fn users_are_shown_once_where_pod_and_node_count_alike() {
    if !require_root() {
        return;
    }
    let lab = Lab::new();
    let _server = lab.nc(1337, 1338, "-l -p 15001");
    lab.wait_for_sockets(1, "sport = :15001");
    let found = document(lab.pid(), &["--listen"]);
    let row = &rows(&found, "connections")[0];
    assert_eq!((&row["uid"], &row["uid_inner"]), (&1337.into(), &1337.into()));
    let process = &row["process"];
    assert_eq!((&process["gid"], &process["groups"], &process["elsewhere"]), (&1338.into(), &json!([]), &false.into()));
    let text = conns(lab.pid(), &["--listen"]);
    assert!(text.contains(" · UID 1337\n"), "{text}");
}

/// The words of `ss` for the socket with this local port.
fn ss(lab: &Lab, port: u16) -> Vec<String> {
    let text = lab.sh(&format!("ss -HOntuaeimo sport = :{port}"));
    assert_eq!(text.lines().count(), 1, "{text}");
    text.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn figures_of_sockets_are_those_of_ss() {
    if !require_root() {
        return;
    }
    let lab = Lab::new();
    let (server, client, udp) = lab
        .netns()
        .enter(|| {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
            let mut client = TcpStream::connect(listener.local_addr().expect("its end")).expect("a connection");
            let (server, _) = listener.accept().expect("its other half");
            client.write_all(&[7; 1234]).expect("bytes");
            let udp = UdpSocket::bind("127.0.0.1:0").expect("a socket");
            nix::sys::socket::setsockopt(&udp, nix::sys::socket::sockopt::Mark, &0x111).expect("a mark");
            (server, client, udp)
        })
        .expect("the namespace can be entered");
    nix::sys::socket::setsockopt(&udp, nix::sys::socket::sockopt::BindToDevice, &"lo".into()).expect("a device");
    let (waiting, sent) = (server.peer_addr().expect("its end").port(), udp.local_addr().expect("its end").port());
    let accepted = server.local_addr().expect("its end").port();
    let port_of = |row: &Value| -> u16 {
        let local = row["local"].as_str().unwrap_or_default();
        local.rsplit(':').next().and_then(|port| port.parse().ok()).unwrap_or_default()
    };
    let found = document(lab.pid(), &["--all"]);
    let by_port = |port: u16| {
        let mut of_port = rows(&found, "connections").iter().filter(|row| port_of(row) == port);
        of_port.next().map(|row| row["details"].clone()).expect("a row")
    };
    for port in [waiting, accepted, sent] {
        let (words, details) = (ss(&lab, port), by_port(port));
        let queues = [&words[2], &words[3]].map(|word| word.parse::<u64>().expect("a number"));
        assert_eq!([details["receive_queue"].as_u64(), details["send_queue"].as_u64()].map(Option::unwrap), queues);
        let value = |key: &str| words.iter().find_map(|word| word.strip_prefix(key));
        let cookie = u64::from_str_radix(value("sk:").expect("a cookie"), 16).expect("a number");
        assert_eq!(details["cookie"], cookie);
        let mark =
            value("fwmark:").map_or(0, |mark| u64::from_str_radix(mark.trim_start_matches("0x"), 16).expect("a mark"));
        assert_eq!(details["mark"], mark, "{words:?}");
        let device = words[4].split_once('%').map(|(_, rest)| rest.split(':').next().unwrap_or_default());
        assert_eq!(details["device"].as_str(), device, "{words:?}");
        if port != sent {
            assert!(words.iter().any(|word| *word == details["congestion"].as_str().expect("a word")), "{words:?}");
            let window = value("cwnd:").expect("a window").parse::<u64>().expect("a number");
            assert_eq!(details["tcp"]["congestion_window"], window);
            if let Some(received) = value("bytes_received:") {
                assert_eq!(details["tcp"]["bytes_received"].to_string(), received);
            }
        }
    }
    assert_eq!(by_port(accepted)["receive_queue"], 1234, "nobody has read it");
    assert_eq!((&by_port(sent)["mark"], &by_port(sent)["device"]), (&0x111.into(), &"lo".into()));
    let text = conns(lab.pid(), &["--all", "-o", "wide"]);
    let line = text.lines().find(|line| line.contains(&format!(" 127.0.0.1:{sent} "))).expect("its line");
    assert!(line.contains(" 0x111 ") && line.contains("  lo "), "{line}");
    drop(client);
}

#[test]
fn other_sockets_are_listed_with_all() {
    if !require_root() {
        return;
    }
    let lab = Lab::new();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("envoy.sock");
    let made: (Vec<OwnedFd>, UnixListener) = lab
        .netns()
        .enter(|| {
            let raw = opened(libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_ICMP);
            let packet = opened(libc::AF_PACKET, libc::SOCK_DGRAM, i32::from(0x0800_u16.to_be()));
            (vec![raw, packet], UnixListener::bind(&path).expect("a listener"))
        })
        .expect("the namespace can be entered");
    let inode = |fd: &dyn AsRawFd| {
        let link = std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).expect("a descriptor");
        link.to_string_lossy().trim_matches(|other: char| !other.is_ascii_digit()).parse::<u64>().expect("an inode")
    };
    let wanted = [("packet", inode(&made.0[1])), ("raw", inode(&made.0[0])), ("unix", inode(&made.1))];
    let found = document(lab.pid(), &["--all"]);
    let own = std::process::id();
    let seen: Vec<(&str, u64)> = rows(&found, "other_sockets")
        .iter()
        .inspect(|row| assert_eq!((&row["process"]["pid"], &row["uid_inner"]), (&own.into(), &0.into()), "{row}"))
        .map(|row| (row["kind"].as_str().expect("a kind"), row["inode"].as_u64().expect("an inode")))
        .collect();
    assert_eq!(seen, wanted);
    let text = conns(lab.pid(), &["--all"]);
    for words in ["IPv4 packets of every device\n", "icmp to 0.0.0.0\n", "/envoy.sock, listening\n"] {
        assert!(text.contains(words), "{text}");
    }
    let wide = conns(lab.pid(), &["--all", "-o", "wide"]);
    assert_eq!(wide.lines().filter(|line| line.contains(&format!("/{own} "))).count(), 3, "{wide}");
    let lines = conns(lab.pid(), &["--all", "-o", "jsonl"]);
    assert_eq!(lines.lines().count(), 3, "{lines}");
    // What is not asked for is not there, and neither is what another process holds.
    assert_eq!(document(lab.pid(), &[]).get("other_sockets"), None);
    assert_eq!(document(lab.pid(), &["--all", "--process", "1"])["other_sockets"], json!([]));
    assert!(!conns(lab.pid(), &["--all", "--port", "80"]).contains("OTHER SOCKET"));
}

/// The `snapshot` command keeps what `conns` and `conns --summary` show of the live namespace.
#[test]
fn a_snapshot_shows_what_the_live_namespace_shows() {
    if !require_root() {
        return;
    }
    let lab = Lab::new();
    lab.sh("iptables-nft -t nat -A OUTPUT -p tcp --dport 80 -j REDIRECT --to-ports 15001");
    let held = lab.netns().enter(|| {
        let listener = TcpListener::bind("127.0.0.1:15001").expect("a listener");
        let caller = TcpStream::connect("127.0.0.1:80").expect("a connection");
        (listener.accept().expect("its other half"), caller, listener)
    });
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("s.json").display().to_string();
    let target = format!("pid/{}", lab.pid());
    let program = env!("CARGO_BIN_EXE_nslens");
    let taken = Command::new(program).args(["snapshot", &target, "-q", "-f", &file]).status().expect("it runs");
    assert!(taken.success());
    let of_file = |options: &[&str]| -> Value {
        let run = Command::new(program).args(["conns", &file]).args(options).args(["-o", "json", "-q"]).output();
        serde_json::from_slice(&run.expect("it can be run").stdout).expect("a document")
    };
    let (live, kept) = (document(lab.pid(), &["--summary"]), of_file(&["--summary"]));
    assert_eq!(live["table"]["count"], 1);
    for key in ["flows", "redirected", "table", "expected", "proxy_ports"] {
        assert_eq!(kept[key], live[key], "{key}");
    }
    // Where the node's own table cannot be seen, another one stands for it on the screen, with a note; a file takes none for it.
    assert!(kept["node_table"].is_null() || kept["node_table"]["limit"] == live["node_table"]["limit"], "{kept}");
    assert_eq!(rows(&kept, "statistics").len(), rows(&live, "statistics").len());
    let (live, kept) = (document(lab.pid(), &["--flows"]), of_file(&["--flows"]));
    assert_eq!(kept["flows"][0]["reply"], live["flows"][0]["reply"]);
    assert_eq!((&kept["expectations"], &live["expectations"], &live["unread"]), (&json!([]), &json!([]), &json!([])));
    drop(held);
}
