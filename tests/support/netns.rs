//! Throw-away network namespaces: real sockets, rules and tools, and nothing of it in the machine's own namespace.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use nslens::sys::netns::Netns;

/// Whether privileged tests can run. Under `CI` it is a failure when they cannot, elsewhere it is said loudly.
#[expect(clippy::print_stderr, reason = "a test that was left out must not look like one that passed")]
pub(crate) fn require_root() -> bool {
    if nix::unistd::geteuid().is_root() {
        return true;
    }
    assert!(std::env::var_os("CI").is_none(), "this test needs root, and CI is set");
    eprintln!("\n*** LEFT OUT: this test needs root (sudo -E cargo test) ***\n");
    false
}

/// A network namespace with its loopback up, held by a child process. It and all that runs in it end with this value, or with
/// the test that made it.
pub(crate) struct Lab {
    holder: Child,
    netns: Netns,
}

/// A program in a lab, killed when this value goes away.
pub(crate) struct Running {
    child: Child,
}

impl Lab {
    /// A fresh namespace.
    pub(crate) fn new() -> Self {
        const SCRIPT: &str = "ip link set lo up && echo ready && exec sleep infinity";
        let mut holder = Command::new("unshare")
            .args(["-n", "setpriv", "--pdeathsig", "KILL", "sh", "-c", SCRIPT])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare can be run");
        let mut line = String::new();
        let output = holder.stdout.take().expect("its output is a pipe");
        BufReader::new(output).read_line(&mut line).expect("its output can be read");
        assert_eq!(line, "ready\n", "the namespace could not be made");
        let netns =
            Netns::open(Path::new(&format!("/proc/{}/ns/net", holder.id()))).expect("the namespace can be opened");
        assert_ne!(
            netns.identity(),
            Netns::current().expect("our own").identity(),
            "this is the machine's own namespace"
        );
        Self { holder, netns }
    }

    /// Two namespaces joined by a cable: a pod at 10.0.0.2 and fd00::2, and the world at 10.0.0.5 and fd00::5.
    pub(crate) fn pod_and_world() -> (Self, Self) {
        let (pod, world) = (Self::new(), Self::new());
        pod.sh(&format!("ip link add eth0 type veth peer name eth0 netns {}", world.pid()));
        for (lab, number) in [(&pod, 2), (&world, 5)] {
            lab.sh(&format!(
                "ip addr add 10.0.0.{number}/24 dev eth0
                 ip addr add fd00::{number}/64 dev eth0 nodad
                 ip link set eth0 up"
            ));
        }
        pod.wait_for_address("fd00::2");
        world.wait_for_address("fd00::5");
        (pod, world)
    }

    /// Waits until an address of IPv6 is the namespace's own for routing too: the kernel sees to that when the cable has been noticed.
    pub(crate) fn wait_for_address(&self, own: &str) {
        self.sh(&format!(
            "for again in $(seq 1000); do
                 ip -6 route show table local | grep -q '^local {own} ' && exit 0
                 sleep 0.01
             done
             echo 'the kernel did not make a route for {own}' >&2; exit 1"
        ));
    }

    /// The process that holds the namespace.
    pub(crate) fn pid(&self) -> u32 {
        self.holder.id()
    }

    /// The namespace.
    pub(crate) fn netns(&self) -> &Netns {
        &self.netns
    }

    /// A program to be run inside, as root.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{}/ns/net", self.pid()));
        command.args(["setpriv", "--pdeathsig", "KILL", program]);
        command
    }

    /// A program to be run inside under other IDs and without further groups.
    pub(crate) fn command_as(&self, uid: u32, gid: u32, program: &str) -> Command {
        let mut command = self.command("setpriv");
        command.args(["--reuid", &uid.to_string(), "--regid", &gid.to_string(), "--clear-groups"]);
        command.args(["--pdeathsig", "KILL", program]);
        command
    }

    /// What a shell script prints that is run inside and must succeed.
    pub(crate) fn sh(&self, script: &str) -> String {
        let output = self.command("sh").args(["-euc", script]).stdin(Stdio::null()).output().expect("sh can be run");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{script}\n{errors}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Starts a busybox `nc` with these arguments under these IDs. Its input stays open, so that it does not end by itself.
    pub(crate) fn nc(&self, uid: u32, gid: u32, arguments: &str) -> Running {
        let mut command = self.command_as(uid, gid, "busybox");
        command.arg("nc").args(arguments.split(' ')).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        Running { child: command.spawn().expect("busybox can be run") }
    }

    /// Waits until this many sockets fit a filter of `ss`.
    pub(crate) fn wait_for_sockets(&self, count: usize, filter: &str) {
        let seen = || self.sh(&format!("ss -Htuan {filter}"));
        wait_until(&format!("{count} sockets {filter}"), || seen().lines().count() == count);
    }

    /// Waits until this many established connections have an owner: until then one side may still wait to be accepted.
    pub(crate) fn wait_for_connections(&self, count: usize) {
        let seen = || self.sh("ss -Htuane state established");
        let held = |line: &&str| line.contains(" ino:") && !line.contains(" ino:0 ");
        wait_until(&format!("{count} connections"), || seen().lines().filter(held).count() == count);
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let (device, inode) = self.netns.identity();
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            let inside = fs::metadata(entry.path().join("ns/net"));
            if inside.is_ok_and(|found| (found.dev(), found.ino()) == (device, inode)) {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
        let _ = self.holder.wait();
    }
}

impl Running {
    /// The program's process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits, five seconds at most, until something is so.
pub(crate) fn wait_until(what: &str, mut so: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(5);
    while !so() {
        assert!(Instant::now() < end, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(10));
    }
}
