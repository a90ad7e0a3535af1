//! Owners of sockets: processes of the namespace, several of one socket, one that lives elsewhere, and hostile names.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;

use nslens::model::{Process, Snapshot};

use crate::look_at;
use crate::support::{Lab, require_root, wait_until};

fn processes(snapshot: &Snapshot) -> &[Process] {
    snapshot.processes.as_deref().expect("processes were read")
}

#[test]
fn owners_are_those_of_ss() {
    if !require_root() {
        return;
    }
    let lab = Lab::new();
    // This `nc` makes a process for each connection, which shares the listener with it.
    let server = lab.nc(1337, 1338, "-ll -p 8080 -e busybox sleep 100");
    lab.wait_for_sockets(1, "sport = :8080");
    let clients = [lab.nc(1000, 1001, "127.0.0.1 8080"), lab.nc(1002, 1003, "127.0.0.1 8080")];
    lab.wait_for_connections(4);
    wait_until("the server's children", || lab.sh("ss -Htnp state established").matches("\"busybox\"").count() >= 4);
    let snapshot = look_at(&lab);
    assert!(snapshot.unread.is_empty(), "{:?}", snapshot.unread);
    for line in lab.sh("ss -Htuanpe").lines() {
        let inode: u32 =
            line.split_once("ino:").and_then(|(_, rest)| rest.split(' ').next()?.parse().ok()).expect("an inode");
        let pids = line.split("pid=").skip(1).filter_map(|rest| rest.split(',').next()?.parse().ok());
        let listed: BTreeSet<u32> = pids.collect();
        let ours = processes(&snapshot).iter().filter(|process| process.sockets.contains(&inode));
        assert_eq!(ours.map(|process| process.pid).collect::<BTreeSet<_>>(), listed, "{line}");
        assert!(!listed.is_empty(), "{line}");
    }
    let process = |pid| processes(&snapshot).iter().find(|process| process.pid == pid).expect("it is listed");
    assert_eq!((process(server.pid()).uid, process(server.pid()).gid), (1337, 1338));
    assert_eq!((process(clients[1].pid()).uid, process(clients[1].pid()).gid), (1002, 1003));
    assert_eq!(process(clients[0].pid()).name, "busybox");
    assert!(process(clients[0].pid()).groups.is_empty());
    assert!(process(lab.pid()).sockets.is_empty(), "the process that holds the namespace is listed without any socket");
    let order: Vec<_> = processes(&snapshot).iter().map(|process| process.pid).collect();
    assert!(order.is_sorted(), "{order:?}");
}

#[test]
fn a_socket_of_a_process_that_lives_elsewhere() {
    if !require_root() {
        return;
    }
    let lab = Lab::new();
    let listener = lab.netns().enter(|| TcpListener::bind("127.0.0.1:15001").expect("a listener"));
    let snapshot = look_at(&lab);
    let pids: Vec<_> = processes(&snapshot).iter().map(|process| process.pid).collect();
    let own = std::process::id();
    assert!(pids.contains(&own) && pids.contains(&lab.pid()), "{pids:?} without {own} or {}", lab.pid());
    drop(listener);
    // Without a socket there it is none of this namespace's business.
    assert!(processes(&look_at(&lab)).iter().all(|process| process.pid != own));
}

#[test]
fn a_process_with_a_hostile_name() {
    const NAME: &str = "a) R 1 (\u{1b}[2J";
    if !require_root() {
        return;
    }
    let lab = Lab::new();
    let folder = tempfile::tempdir().expect("a folder");
    let program = folder.path().join(NAME);
    std::fs::copy("/bin/sleep", &program).expect("a copy of sleep");
    let mut command = lab.command(program.to_str().expect("its path"));
    let mut child = command.arg("100").stdin(Stdio::null()).spawn().expect("it can be run");
    let named = |snapshot: &Snapshot| {
        let found = processes(snapshot).iter().find(|process| process.pid == child.id()).cloned();
        found.filter(|process| process.name == NAME)
    };
    wait_until("the process to have its name", || named(&look_at(&lab)).is_some());
    let found = named(&look_at(&lab)).expect("it was there");
    let held = nslens::sys::process::Process::hold(Path::new("/proc"), child.id()).expect("the process");
    assert_eq!(found.start_time, held.start_time());
    child.kill().and_then(|()| child.wait()).expect("it ends");
}
