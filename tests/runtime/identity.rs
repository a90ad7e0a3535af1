//! A runtime that names a process which is not, or not any more, the container's: never an answer, always an error.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use nslens::capture::{self, CaptureError, Occasion, Parts, rules::Wanted};
use nslens::sys::process::Process;
use nslens::target::{Choice, Query, World, find};
use serde_json::{Value, json};

use crate::mesh::wait_until;
use crate::program::{Answer, outside};
use crate::runtimes::{CriLab, Node};

#[test]
fn a_number_that_another_container_took_over_is_an_error() {
    let Some(lab) = CriLab::start() else { return };
    let pod = lab.run_istio_pod("web", "blue");
    // The process's number outside of the lab, where it stands in no runtime but in its cgroup.
    let id = pod.ids["app"].as_str();
    let by_cgroup = outside(&["rules", id, "--runtime", "proc", "-o", "json"]).ended(0).json();
    let live = &by_cgroup["target"];
    let pid = live["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok()).expect("a process");
    assert_ne!(pid, pod.pids["app"], "the lab counts otherwise");

    let folder = tempfile::tempdir().expect("folder");
    // The control group is witness enough, also against a clock that was set.
    for time in [Value::Null, json!("2001-01-01T00:00:00Z")] {
        let state = json!({"Pid": pid, "StartedAt": time});
        let right: Value = Engine::new(folder.path(), id).tells(&state).ended(0).json();
        assert_eq!(
            (&right["target"]["pid"], &right["target"]["netns"]),
            (&json!(pid), &live["netns"]),
            "its own process"
        );
    }
    // Another process of the container, which could live in yet another namespace, has not taken the number either.
    let started = now();
    lab.start_in(id, 0, &["/bin/sleep", "7331"]);
    let mut latecomer = None;
    wait_until("it sleeps", || {
        latecomer = sleeper(id);
        latecomer.is_some()
    });
    let state = json!({"Pid": latecomer, "StartedAt": started});
    Engine::new(folder.path(), id).tells(&state).ended(3).said("started later than the container");
    let state = json!({"Pid": latecomer, "StartedAt": now()});
    Engine::new(folder.path(), id).tells(&state).ended(0);

    let state = json!({"Pid": pid, "StartedAt": now()});
    let other = "b".repeat(64);
    Engine::new(folder.path(), &other).tells(&state).ended(3).said("now belongs to another container");
}

#[test]
fn a_control_group_that_a_user_can_have_made_is_no_witness() {
    if !nix::unistd::geteuid().is_root() {
        assert!(std::env::var_os("CI").is_none(), "needs root");
        return;
    }
    let (folder, id) = (tempfile::tempdir().expect("folder"), "d".repeat(64));
    let engine = Engine::new(folder.path(), &id);
    let users = Cgroup::new(&format!("user.slice/user-1000.slice/docker-{id}.scope"));
    let process = Victim::start();
    users.add(process.pid());
    let state = json!({"Pid": process.pid(), "StartedAt": now()});
    engine.tells(&state).ended(6).said("its control group is one that a user can have made");
    let roots = Cgroup::new(&format!("docker/{id}"));
    roots.add(process.pid());
    engine.tells(&state).ended(0);
    process.end();
}

#[test]
fn a_clock_that_was_set_hides_no_container_of_another_pid_namespace() {
    if !nix::unistd::geteuid().is_root() {
        assert!(std::env::var_os("CI").is_none(), "needs root");
        return;
    }
    let (folder, id) = (tempfile::tempdir().expect("folder"), "e".repeat(64));
    let engine = Engine::new(folder.path(), &id);
    let cgroup = Cgroup::new(&format!("docker/{id}"));
    // In the node's PID namespace: its first process is not process 1 of any.
    let first = Victim::start();
    cgroup.add(first.pid());
    thread::sleep(Duration::from_millis(50));
    let second = Victim::start();
    cgroup.add(second.pid());
    let long_ago = |pid: u32| json!({"Pid": pid, "StartedAt": "2001-01-01T00:00:00Z"});
    engine.tells(&long_ago(first.pid())).ended(0);
    engine.tells(&long_ago(second.pid())).ended(3).said("started later than the container");
    first.end();
    second.end();
}

#[test]
fn a_number_that_a_process_of_another_namespace_took_over_is_an_error() {
    if !in_a_pid_namespace("identity::a_number_that_a_process_of_another_namespace_took_over_is_an_error") {
        return;
    }
    let folder = tempfile::tempdir().expect("folder");
    let engine = Engine::new(folder.path(), &"a".repeat(64));
    let victim = Victim::start();
    let (pid, netns, started) = (victim.pid(), victim.netns(), now());
    thread::sleep(Duration::from_millis(50));
    let told = json!({"Pid": pid, "StartedAt": started});
    let right = engine.tells(&told).ended(0).json();
    assert_eq!((&right["target"]["pid"], &right["target"]["netns"]["inode"]), (&json!(pid), &json!(netns)));

    // The container dies after the runtime named it, and its number is taken before anybody can take hold of it.
    let (taken, fresh) = std::sync::mpsc::channel();
    let answer = engine.asks(move || {
        taken.send(victim.replace(private)).expect("it is awaited");
        told.clone()
    });
    answer.ended(3).said("has taken the number over");
    let other = fresh.recv().expect("it was replaced");
    assert!(other.pid() == pid && other.netns() != netns, "the number was not reused");

    // Where the time is not told there is no proof.
    engine.tells(&json!({"Pid": pid})).ended(6).said("names process").said("is not told");
    engine.tells(&json!({"Pid": pid, "StartedAt": "0001-01-01T00:00:00Z"})).ended(6).said("is not told");
    // Nor is a process of the node anybody's container, however old it is.
    let other = other.replace(|| command("sleep"));
    engine.tells(&json!({"Pid": pid, "StartedAt": started})).ended(3).said("has taken the number over");
    engine.tells(&json!({"Pid": pid, "StartedAt": now()})).ended(6).said("the node's own");
    other.end();
}

#[test]
fn numbers_that_mean_nobody_or_somebody_else_are_errors() {
    if !in_a_pid_namespace("identity::numbers_that_mean_nobody_or_somebody_else_are_errors") {
        return;
    }
    let folder = tempfile::tempdir().expect("folder");
    let engine = Engine::new(folder.path(), &"a".repeat(64));
    let names = |pid: u32| engine.tells(&json!({"Pid": pid, "StartedAt": now()}));
    names(1).ended(6).said("names process 1").said("no container's");
    names(0).ended(6).said("names neither a process");
    names(1 << 23).ended(3).said("its process has ended");
    names(u32::MAX).ended(3).said("its process has ended");
    let dead = Victim::start();
    let pid = dead.pid();
    dead.end();
    names(pid).ended(3).said("its process has ended");
    // Ended, and nobody has asked how: its number is still taken.
    let mut zombie = command("true").spawn().expect("true can be run");
    wait_until("its end", || status(zombie.id()).contains("Z (zombie)"));
    names(zombie.id()).ended(3).said("its process has ended");
    zombie.wait().expect("it has ended");
    // A runtime that counts elsewhere names somebody here who has been there for long.
    let somebody = Victim::start();
    let later = SystemTime::now() + Duration::from_secs(3600);
    let told = json!({"Pid": somebody.pid(), "StartedAt": humantime::format_rfc3339(later).to_string()});
    engine.tells(&told).ended(6).said("older than the container");
    somebody.end();
}

#[test]
fn a_number_that_is_taken_over_after_the_process_was_held_is_an_error() {
    if !in_a_pid_namespace("identity::a_number_that_is_taken_over_after_the_process_was_held_is_an_error") {
        return;
    }
    let proc_root = Path::new("/proc");
    // Between taking hold and entering.
    let victim = Victim::start();
    let held = Process::hold(proc_root, victim.pid()).expect("it lives");
    assert!(held.netns().is_ok() && held.verify().is_ok() && held.alive().is_ok());
    let other = victim.replace(private);
    assert_eq!(other.pid(), held.pid());
    let missing = Some(std::io::ErrorKind::NotFound);
    assert_eq!(held.netns().err().map(|error| error.kind()), missing);
    assert_eq!(held.verify().err().map(|error| error.kind()), missing);
    assert_eq!(held.alive().err().map(|error| error.kind()), missing);
    assert_eq!(held.read("status").err().map(|error| error.kind()), missing);

    // Between entering and the answer.
    let world = World::here("node", Vec::new());
    let live = find(&Query::Pid(other.pid()), &Choice::default(), &world).expect("it lives");
    let take = || {
        let parts = Parts { rules: Some(Wanted::default()), connections: true, interfaces: true, ..Parts::default() };
        let occasion = Occasion { node: "node", now: 0, asked: "pid", proc_root };
        capture::take(live.workload.clone(), &live.netns, live.process.as_ref(), parts, occasion)
    };
    take().expect("it lives still");
    let third = other.replace(private);
    assert!(matches!(take(), Err(CaptureError::Gone { .. })), "an answer of the dead");
    third.end();
}

/// A control group that a test makes, with those around it.
struct Cgroup {
    top: PathBuf,
    path: PathBuf,
}

impl Cgroup {
    fn new(below: &str) -> Self {
        static MADE: AtomicU32 = AtomicU32::new(0);
        // The unified hierarchy, alone or beside the others, else the oldest of these.
        let mounted = ["", "unified", "pids"].map(|name| Path::new("/sys/fs/cgroup").join(name));
        let root = mounted.into_iter().find(|path| path.join("cgroup.procs").exists()).expect("control groups");
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let top = root.join(format!("nslens-test-{}-{number}", std::process::id()));
        let path = top.join(below);
        fs::create_dir_all(&path).expect("a control group");
        Self { top, path }
    }

    fn add(&self, pid: u32) {
        fs::write(self.path.join("cgroup.procs"), pid.to_string()).expect("it is moved");
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // Empty only when the kernel has done with those that ended.
        for _ in 0..200 {
            let mut path = self.path.as_path();
            while fs::remove_dir(path).is_ok() && path != self.top {
                path = path.parent().unwrap_or(&self.top);
            }
            if !self.top.exists() {
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// A process in a network namespace of its own, which no control group names.
struct Victim(Child);

impl Victim {
    fn start() -> Self {
        Self::of(private().spawn().expect("unshare can be run"))
    }

    fn of(child: Child) -> Self {
        let words = || fs::read(format!("/proc/{}/cmdline", child.id())).unwrap_or_default();
        wait_until("it sleeps", || words().starts_with(b"sleep\0"));
        Self(child)
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }

    fn netns(&self) -> u64 {
        fs::metadata(format!("/proc/{}/ns/net", self.pid())).expect("it lives").ino()
    }

    fn end(mut self) {
        self.0.kill().and_then(|()| self.0.wait()).expect("it ends");
    }

    /// Ends it and gives its number to another process.
    fn replace(self, with: impl Fn() -> Command) -> Self {
        let pid = self.pid();
        self.end();
        for _ in 0..100 {
            fs::write("/proc/sys/kernel/ns_last_pid", (pid - 1).to_string()).expect("this PID namespace is ours");
            let child = with().spawn().expect("it can be run");
            if child.id() == pid {
                return Self::of(child);
            }
            Self(child).end();
        }
        panic!("the number {pid} was never given out again");
    }
}

/// `sleep`, or what ends as soon, and never outlives the test.
fn command(program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", program, "1000"]).stdin(Stdio::null()).stdout(Stdio::null());
    command
}

fn private() -> Command {
    let mut command = Command::new("unshare");
    command.args(["--net", "setpriv", "--pdeathsig", "KILL", "sleep", "1000"]);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// The process that sleeps for 7331 seconds in a container, as the machine counts.
fn sleeper(id: &str) -> Option<u32> {
    let pids = fs::read_dir("/proc").expect("/proc").flatten();
    let mut pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let text = |pid: u32, file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
    pids.find(|pid| text(*pid, "cgroup").contains(id) && text(*pid, "cmdline").ends_with("\x007331\0"))
}

fn status(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default()
}

pub(crate) fn now() -> String {
    humantime::format_rfc3339_nanos(SystemTime::now()).to_string()
}

/// True in a PID namespace of its own, in which numbers can be given out at will; outside, runs the test of this name in one.
#[expect(clippy::print_stderr, reason = "a test that was left out must not look like one that passed")]
fn in_a_pid_namespace(test: &str) -> bool {
    const INSIDE: &str = "NSLENS_TEST_INSIDE";
    if std::env::var_os(INSIDE).is_some_and(|name| name == test) {
        assert_eq!(std::process::id(), 1, "this is somebody else's PID namespace");
        return true;
    }
    if !nix::unistd::geteuid().is_root() {
        assert!(std::env::var_os("CI").is_none(), "this test needs root, and CI is set");
        eprintln!("\n*** LEFT OUT: this test needs root (sudo -E cargo test) ***\n");
        return false;
    }
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "unshare", "--pid", "--mount", "--fork", "--kill-child", "--mount-proc"]);
    command.arg(std::env::current_exe().expect("this program")).args([test, "--exact", "--nocapture"]);
    let output = command.env(INSIDE, test).stdin(Stdio::null()).output().expect("unshare can be run");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (said, errors) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success() && said.contains("1 passed"), "inside:\n{said}\n{errors}");
    false
}

/// An Engine API that has one container, named `web`.
struct Engine {
    folder: PathBuf,
    id: String,
}

impl Engine {
    fn new(folder: &Path, id: &str) -> Self {
        Self { folder: folder.to_owned(), id: id.to_owned() }
    }

    /// What becomes of a question when it tells this state of the container.
    fn tells(&self, state: &Value) -> Answer {
        let state = state.clone();
        self.asks(move || state.clone())
    }

    /// The same, with something that happens just before it tells.
    fn asks(&self, state: impl FnOnce() -> Value + Send + 'static) -> Answer {
        static ASKED: AtomicU32 = AtomicU32::new(0);
        let path = self.folder.join(format!("{}.sock", ASKED.fetch_add(1, Ordering::Relaxed)));
        let listener = UnixListener::bind(&path).expect("bind");
        let id = self.id.clone();
        thread::spawn(move || {
            let mut state = Some(state);
            let mut told = Value::Null;
            while let Ok((stream, _)) = listener.accept() {
                answer(stream, &id, || {
                    if let Some(state) = state.take() {
                        told = state();
                    }
                    told.clone()
                });
            }
        });
        let path = path.to_str().expect("a path");
        let patience = ["--timeout", "30s"];
        outside(
            &[
                &["rules", "container/web", "--runtime", "docker", "--runtime-endpoint", path, "-o", "json"],
                &patience[..],
            ]
            .concat(),
        )
    }
}

/// What it says to one connection.
pub(crate) fn answer(mut stream: UnixStream, id: &str, state: impl FnOnce() -> Value) {
    let mut request = [0; 4096];
    let read = stream.read(&mut request).unwrap_or(0);
    let request = String::from_utf8_lossy(&request[..read]);
    let body = if request.starts_with("GET /version") {
        r#"{"ApiVersion":"1.41"}"#.to_owned()
    } else if request.starts_with("GET /containers/json") {
        format!(r#"[{{"Id":"{id}","Names":["/web"],"State":"running"}}]"#)
    } else if read == 0 {
        // Only looked whether somebody listens.
        return;
    } else {
        json!({"Id": id, "State": state()}).to_string()
    };
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n", body.len());
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes()));
}
