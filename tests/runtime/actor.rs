//! Parts that this test program itself plays inside a lab, as a process of its own: a daemon that lies, a holder of namespaces.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Child, ChildStdout, Stdio};
use std::thread;

use nix::sched::{CloneFlags, setns, unshare};

use crate::runtimes::Place;

/// Says which part is to be played; nothing is played without it.
const PART: &str = "NSLENS_TEST_PART";

/// A part that is being played; it ends with this value.
pub(crate) struct Actor {
    child: Child,
    /// Kept open: what else it says must not end it.
    _said: BufReader<ChildStdout>,
    /// The first line that it said.
    pub(crate) line: String,
}

impl Actor {
    /// Starts one inside, and waits until it says that it is ready.
    pub(crate) fn start(place: &Place, part: &str) -> Self {
        let mut command = place.inside("env");
        command.arg(format!("{PART}={part}")).arg(std::env::current_exe().expect("this program"));
        command.args(["--exact", "actor::plays_its_part", "--nocapture", "--test-threads", "1"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
        let mut said = BufReader::new(child.stdout.take().expect("its stdout"));
        // The harness says things of its own before and on the same line.
        let line =
            said.by_ref().lines().map_while(Result::ok).find_map(|line| Some(line.split_once("READY ")?.1.to_owned()));
        Self { child, _said: said, line: line.expect("it is ready") }
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        // It ends when its stdin does.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// No test of its own: the way into the program for [`Actor::start`].
#[test]
fn plays_its_part() {
    match std::env::var(PART).as_deref() {
        Ok("ghost") => thread::spawn(ghost),
        Ok("mute") => thread::spawn(mute),
        Ok("holder") => thread::spawn(holder),
        _ => return,
    };
    let _ = std::io::stdin().read(&mut [0]);
}

/// Past the harness, which keeps what tests print by its own means.
fn ready(line: &str) {
    writeln!(std::io::stdout(), "READY {line}").expect("somebody listens");
}

/// An Engine API whose one container is said to run and has no process.
fn ghost() {
    let listener = UnixListener::bind("/run/docker.sock").expect("bind");
    ready("");
    while let Ok((stream, _)) = listener.accept() {
        answer(stream);
    }
}

/// Takes connections on the sockets of two runtimes, and never says a word.
fn mute() {
    std::fs::create_dir_all("/run/podman").expect("a folder");
    std::fs::create_dir_all("/run/crio").expect("a folder");
    let sockets = ["/run/podman/podman.sock", "/run/crio/crio.sock"];
    let listeners = sockets.map(|path| UnixListener::bind(path).expect("bind"));
    ready("");
    let mut kept = Vec::new();
    for stream in listeners[0].incoming() {
        kept.push(stream);
    }
}

fn answer(mut stream: UnixStream) {
    let mut request = [0; 4096];
    let read = stream.read(&mut request).unwrap_or(0);
    let request = String::from_utf8_lossy(&request[..read]);
    let id = "ab".repeat(32);
    let body = if request.contains("/version") {
        r#"{"ApiVersion":"1.41"}"#.to_owned()
    } else if request.contains("/containers/json") {
        format!(r#"[{{"Id":"{id}","Names":["/ghost"],"State":"running"}}]"#)
    } else {
        format!(r#"{{"Id":"{id}","State":{{"Pid":4000000}}}}"#)
    };
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n", body.len());
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes()));
}

/// One thread in a namespace of its own, and another namespace that nothing but a descriptor keeps.
fn holder() {
    let inside = thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).expect("a namespace");
        loop {
            thread::park();
        }
    });
    let own = std::fs::File::open("/proc/thread-self/ns/net").expect("the own namespace");
    unshare(CloneFlags::CLONE_NEWNET).expect("a namespace");
    let kept = std::fs::File::open("/proc/thread-self/ns/net").expect("the new namespace");
    setns(own.as_fd(), CloneFlags::CLONE_NEWNET).expect("back");
    ready(&kept.metadata().expect("its inode").ino().to_string());
    let _ = inside.join();
}
