//! Owners that are not where one looks first: another namespace, another user namespace, another thread, several at once, nobody.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, IoSlice};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use nslens::capture::shared::Shared;
use nslens::capture::{Occasion, Parts, take_among};
use nslens::model::{Cause, IdMaps, Kind, Process, Snapshot, SocketState, Workload};

use crate::look_at;
use crate::support::{Lab, require_root, wait_until};

/// A program that ends with the test.
struct Ends(Child);

impl Drop for Ends {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn processes(snapshot: &Snapshot) -> &[Process] {
    snapshot.processes.as_deref().expect("processes were read")
}

/// The processes that hold the only socket with this local port.
fn holders(snapshot: &Snapshot, port: u16) -> Vec<&Process> {
    let of_port = snapshot.sockets.iter().flatten().filter(|socket| socket.local.port == port);
    let inodes: Vec<u32> = of_port.map(|socket| socket.inode).collect();
    assert_eq!(inodes.len(), 1, "sockets on {port}");
    processes(snapshot).iter().filter(|process| process.sockets.contains(&inodes[0])).collect()
}

/// A process that sleeps with what is given it as its input, in the machine's own namespaces.
fn sleeper(input: impl Into<Stdio>) -> Ends {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "sleep", "1000"]).stdin(input).stdout(Stdio::null());
    Ends(command.spawn().expect("sleep can be run"))
}

#[test]
fn a_proxy_of_the_node_and_one_that_got_it_from_another() {
    if !require_root() {
        return;
    }
    let lab = Lab::new();
    let listener = lab.netns().enter(|| TcpListener::bind("127.0.0.1:15001").expect("a listener"));
    let listener = listener.expect("the namespace can be entered");
    let proxy = sleeper(OwnedFd::from(listener));
    let snapshot = look_at(&lab);
    let found = holders(&snapshot, 15001);
    assert_eq!(
        found.iter().map(|process| (process.pid, process.elsewhere)).collect::<Vec<_>>(),
        [(proxy.0.id(), true)]
    );
    assert!(snapshot.unread.is_empty(), "{:?}", snapshot.unread);
    let inside = processes(&snapshot).iter().find(|process| process.pid == lab.pid()).expect("it is listed");
    assert!(!inside.elsewhere);
    drop(proxy);
    assert!(look_at(&lab).sockets.is_some_and(|sockets| sockets.is_empty()), "nobody else has it");
}

#[test]
fn passed_over_a_unix_socket() {
    if !require_root() {
        return;
    }
    let lab = Lab::new();
    let listener = lab.netns().enter(|| UdpSocket::bind("127.0.0.1:53").expect("a socket"));
    let listener = listener.expect("the namespace can be entered");
    let (here, there) = UnixStream::pair().expect("two ends");
    let message = [ControlMessage::ScmRights(&[listener.as_raw_fd()])];
    sendmsg::<()>(here.as_raw_fd(), &[IoSlice::new(b"x")], &message, MsgFlags::empty(), None).expect("it is sent");
    drop(listener);
    // On its way nobody holds it. That is no failure to read, unless some process of the machine hides from root.
    let snapshot = look_at(&lab);
    assert_eq!(holders(&snapshot, 53), Vec::<&Process>::new());
    assert!(snapshot.unread.iter().all(|unread| unread.cause == Cause::Permission), "{:?}", snapshot.unread);
    let mut space = nix::cmsg_space!([std::os::fd::RawFd; 1]);
    let mut byte = [0];
    let mut bytes = [std::io::IoSliceMut::new(&mut byte)];
    let got = nix::sys::socket::recvmsg::<()>(there.as_raw_fd(), &mut bytes, Some(&mut space), MsgFlags::empty());
    assert_eq!(got.expect("it comes").cmsgs().expect("a message").count(), 1);
    let own = std::process::id();
    assert_eq!(holders(&look_at(&lab), 53).iter().map(|process| process.pid).collect::<Vec<_>>(), [own]);
}

#[test]
fn shared_after_fork() {
    if !require_root() {
        return;
    }
    let lab = Lab::new();
    let listener = lab.netns().enter(|| TcpListener::bind("127.0.0.1:80").expect("a listener")).expect("a listener");
    let started: Vec<Ends> = (0..3)
        .map(|_| {
            let mut command = lab.command("sleep");
            let input = listener.as_fd().try_clone_to_owned().expect("another descriptor");
            Ends(command.arg("1000").stdin(input).spawn().expect("sleep can be run"))
        })
        .collect();
    drop(listener);
    let mut pids: Vec<u32> = started.iter().map(|one| one.0.id()).collect();
    pids.sort_unstable();
    let names = || lab.sh("ss -Htlnp").matches("\"sleep\"").count();
    wait_until("three holders", || names() == 3);
    let snapshot = look_at(&lab);
    let found = holders(&snapshot, 80);
    assert_eq!(found.iter().map(|process| process.pid).collect::<Vec<_>>(), pids);
    assert!(found.iter().all(|process| !process.elsewhere));
}

#[test]
fn orphans_and_a_process_that_just_went_away() {
    if !require_root() {
        return;
    }
    let lab = Lab::new();
    lab.sh("iptables-nft -A OUTPUT -p tcp --dport 80 --tcp-flags FIN FIN -j DROP");
    let listener = lab.netns().enter(|| TcpListener::bind("127.0.0.1:80").expect("a listener")).expect("a listener");
    let client = lab.netns().enter(|| TcpStream::connect("127.0.0.1:80").expect("a connection")).expect("a client");
    let port = client.local_addr().expect("its address").port();
    let held = sleeper(OwnedFd::from(client));
    let snapshot = look_at(&lab);
    assert_eq!(holders(&snapshot, port).iter().map(|process| process.pid).collect::<Vec<_>>(), [held.0.id()]);
    // Killed: what it left unsaid is said by nobody.
    drop(held);
    let snapshot = look_at(&lab);
    let orphan = snapshot.sockets.iter().flatten().find(|socket| socket.local.port == port).expect("it is there");
    assert_eq!((orphan.state, orphan.inode), (SocketState::FinWait1, 0));
    assert!(snapshot.unread.is_empty(), "{:?}", snapshot.unread);
    drop(listener);
}

#[test]
fn a_pod_that_counts_users_its_own_way() {
    if !require_root() {
        return;
    }
    let mut command = Command::new("unshare");
    command.args(["-U", "-n", "setpriv", "--pdeathsig", "KILL", "sh", "-c", "echo ready; exec sleep 1000"]);
    let mut pod = Ends(command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("unshare can be run"));
    let output = pod.0.stdout.take().expect("its output is a pipe");
    BufReader::new(output).read_line(&mut String::new()).expect("a line");
    let pid = pod.0.id();
    // The first number stands for 100000, for users and groups alike.
    for map in ["uid_map", "gid_map"] {
        std::fs::write(format!("/proc/{pid}/{map}"), "0 100000 65536").expect("a map");
    }
    let mut command = Command::new("nsenter");
    command.args(["-t", &pid.to_string(), "-U", "-n", "setpriv", "--reuid", "1337", "--regid", "1338"]);
    command.args(["--clear-groups", "--pdeathsig", "KILL", "busybox", "nc", "-l", "-p", "15001"]);
    let server = Ends(command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("nsenter can be run"));
    let netns = nslens::sys::netns::Netns::open(format!("/proc/{pid}/ns/net").as_ref()).expect("the namespace");
    let look = || {
        let workload = nslens::model::Workload::named(nslens::model::Kind::Netns, "lab");
        let mut snapshot = Snapshot::of("node", 0, "netns/lab", workload);
        nslens::capture::connections::read_into(&mut snapshot, &netns, "/proc".as_ref(), false);
        snapshot
    };
    wait_until("the listener", || look().sockets.is_some_and(|sockets| !sockets.is_empty()));
    let snapshot = look();
    let ids = snapshot.ids.as_ref().expect("how it counts");
    let listener = snapshot.sockets.iter().flatten().next().expect("the listener");
    assert_eq!((listener.uid, ids.inside_uid(listener.uid)), (101_337, Some(1337)));
    let found = holders(&snapshot, 15001);
    assert_eq!(
        found.iter().map(|process| (process.pid, process.uid, process.gid)).collect::<Vec<_>>(),
        [(server.0.id(), 101_337, 101_338)]
    );
    assert_eq!((ids.inside_uid(0), ids.inside_gid(101_338)), (None, Some(1338)));
    // Whoever owns the namespace as we do counts as we do.
    let lab = Lab::new();
    assert_eq!(look_at(&lab).ids, Some(IdMaps::same()));
    // A file keeps all of it.
    let mut bytes = Vec::new();
    nslens::archive::write(&snapshot, false, &mut bytes).expect("a file");
    let read = nslens::archive::read(&bytes, nslens::model::Family::Ip).expect("a file of its own");
    assert!(matches!(read, nslens::archive::Loaded::Snapshot(read) if *read == snapshot));
}

/// The test below starts this program again, inside a lab: then this is the program.
#[test]
fn a_child_whose_thread_has_descriptors_of_its_own() {
    if std::env::var_os("NSLENS_TEST_CHILD").is_none() {
        return;
    }
    let thread = std::thread::spawn(|| {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_FILES).expect("descriptors of its own");
        let _held = TcpListener::bind("127.0.0.1:9000").expect("a listener");
        std::thread::sleep(std::time::Duration::from_secs(1000));
    });
    thread.join().expect("it waits");
}

#[test]
fn a_thread_with_descriptors_of_its_own() {
    if !require_root() {
        return;
    }
    let lab = Lab::new();
    let program = std::env::current_exe().expect("this program");
    let mut command = lab.command(program.to_str().expect("its path"));
    command.args(["--exact", "owners_elsewhere::a_child_whose_thread_has_descriptors_of_its_own"]);
    command.env("NSLENS_TEST_CHILD", "1").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let child = Ends(command.spawn().expect("it can be run"));
    lab.wait_for_sockets(1, "sport = :9000");
    let snapshot = look_at(&lab);
    assert_eq!(holders(&snapshot, 9000).iter().map(|process| process.pid).collect::<Vec<_>>(), [child.0.id()]);
    // Its first thread has none of it.
    let link =
        |entry: std::fs::DirEntry| std::fs::metadata(entry.path()).ok().map(|found| u64::from(found.ino() as u32));
    let first = std::fs::read_dir(format!("/proc/{}/fd", child.0.id())).expect("its descriptors");
    let socket = u64::from(snapshot.sockets.iter().flatten().next().expect("the listener").inode);
    assert!(first.flatten().filter_map(link).all(|inode| inode != socket));
}

#[test]
fn many_processes_elsewhere() {
    if !require_root() {
        return;
    }
    let lab = Lab::new();
    // More than one thread has to look: those that hold something stand at the end of a long row.
    let others: Vec<Ends> = (0..300).map(|_| sleeper(Stdio::null())).collect();
    let ports: Vec<u16> = (20_000..20_020).collect();
    let held: Vec<Ends> = ports
        .iter()
        .map(|port| {
            let opened = lab.netns().enter(|| TcpListener::bind(("127.0.0.1", *port)).expect("a listener"));
            sleeper(OwnedFd::from(opened.expect("the namespace can be entered")))
        })
        .collect();
    let snapshot = look_at(&lab);
    for (port, holder) in ports.iter().zip(&held) {
        let found = holders(&snapshot, *port);
        assert_eq!(found.iter().map(|process| process.pid).collect::<Vec<_>>(), [holder.0.id()], "{port}");
    }
    assert_eq!(processes(&snapshot).len(), ports.len() + 1, "and the one that holds the namespace");
    drop(others);
}

/// The test below starts this program again, inside a lab: then this is the program.
#[test]
fn a_child_with_many_sockets() {
    if std::env::var_os("NSLENS_TEST_CHILD").is_none() {
        return;
    }
    let held: Vec<_> = (0..600).map(|_| UdpSocket::bind("127.0.0.1:0").expect("a socket")).collect();
    std::thread::sleep(std::time::Duration::from_secs(1000));
    drop(held);
}

#[test]
fn so_many_sockets_that_several_threads_look() {
    if !require_root() {
        return;
    }
    let lab = Lab::new();
    let program = std::env::current_exe().expect("this program");
    let children = [(); 2].map(|()| {
        let mut command = lab.command(program.to_str().expect("its path"));
        command.args(["--exact", "owners_elsewhere::a_child_with_many_sockets"]).env("NSLENS_TEST_CHILD", "1");
        Ends(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("it can be run"))
    });
    lab.wait_for_sockets(1200, "");
    let snapshot = look_at(&lab);
    let sockets: BTreeSet<u32> = snapshot.sockets.iter().flatten().map(|socket| socket.inode).collect();
    let mut held = BTreeSet::new();
    for child in &children {
        let process = processes(&snapshot).iter().find(|process| process.pid == child.0.id()).expect("it is listed");
        assert!(process.sockets.is_sorted() && process.sockets.len() == 600, "{}", process.sockets.len());
        held.extend(process.sockets.iter().copied());
    }
    assert_eq!((held.len(), held), (1200, sockets));
    assert!(snapshot.unread.is_empty(), "{:?}", snapshot.unread);
}

#[test]
fn one_of_several_workloads_is_seen_whole_though_the_node_was_looked_at_before() {
    if !require_root() {
        return;
    }
    let (lab, other) = (Lab::new(), Lab::new());
    let occasion = Occasion { node: "node", now: 0, asked: "lab", proc_root: Path::new("/proc") };
    let parts = Parts { connections: true, evidence: true, ..Parts::default() };
    let shared = Shared::begin(parts, occasion);
    let among = |lab: &Lab| {
        let workload = Workload::named(Kind::Netns, "lab");
        take_among(workload, lab.netns(), None, parts, occasion, Some(&shared)).expect("a snapshot")
    };
    let early = lab.nc(0, 0, "-l -p 7001");
    lab.wait_for_sockets(1, "state listening");
    let first = among(&lab);
    assert_eq!(holders(&first, 7001).iter().map(|process| process.pid).collect::<Vec<_>>(), [early.pid()]);
    assert!(processes(&among(&other)).iter().all(|process| process.pid != early.pid()));
    // Both came since: one of the namespace, one of the node.
    let late = lab.nc(0, 0, "-l -p 7002");
    let listener = lab.netns().enter(|| TcpListener::bind("127.0.0.1:15001").expect("a listener"));
    let proxy = sleeper(OwnedFd::from(listener.expect("the namespace can be entered")));
    lab.wait_for_sockets(3, "state listening");
    let second = among(&lab);
    let told = |port| -> Vec<(u32, bool)> {
        holders(&second, port).iter().map(|process| (process.pid, process.elsewhere)).collect()
    };
    assert_eq!(told(7001), [(early.pid(), false)]);
    assert_eq!(told(7002), [(late.pid(), false)]);
    assert_eq!(told(15001), [(proxy.0.id(), true)]);
    assert_eq!(second.unread, []);
}
