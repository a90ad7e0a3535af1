//! Where a lab lives: namespaces of its own, private folders, a cgroup of its own, and an end that cannot be missed.

use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Begins the name of every lab's cgroup; the number of the process that made it follows.
const CGROUP: &str = "nslens-test-";

/// Begins the name of every lab's folder, likewise.
const FOLDER: &str = "nslens-lab-";

/// Why a lab did not come up.
#[derive(Debug)]
pub(crate) struct Trouble(String);

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self(error.to_string())
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Under `CI` a lab that does not start is a failure; elsewhere it is said so that nobody can miss it.
pub(crate) fn or_say<T>(what: &str, lab: Result<T, Trouble>) -> Option<T> {
    match lab {
        Ok(lab) => Some(lab),
        Err(trouble) if std::env::var_os("CI").is_some() => panic!("the {what} lab does not start: {trouble}"),
        Err(trouble) => {
            // Not `eprintln`: the harness keeps what that prints in tests that pass.
            let _ = writeln!(io::stderr(), "\n*** NOT TESTED: the {what} lab does not start: {trouble}\n");
            None
        }
    }
}

/// A process tree of its own.
pub(crate) struct Place {
    folder: tempfile::TempDir,
    cgroup: String,
    unshare: Child,
    init: u32,
}

impl Place {
    /// Opens one and starts in it what `daemon` says in the shell's language (`exec_daemon` starts the daemon itself).
    pub(crate) fn open(
        needs: &[&str],
        daemon: impl FnOnce(&Path, &str) -> io::Result<String>,
    ) -> Result<Self, Trouble> {
        for program in needs.iter().chain(&["unshare", "nsenter", "setpriv", "tar", "sha256sum"]) {
            found(program)?;
        }
        if !nix::unistd::geteuid().is_root() {
            return Err(Trouble("only root can make one".to_owned()));
        }
        sweep();
        let folder = tempfile::Builder::new().prefix(&format!("{FOLDER}{}-", std::process::id())).tempdir()?;
        let cgroup = cgroup_name();
        make_cgroup(&cgroup)?;
        let script = format!("{PRELUDE}\n{}\n{EPILOGUE}", daemon(folder.path(), &cgroup)?);
        let log = fs::File::create(folder.path().join("log"))?;
        let unshare = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "unshare", "--net", "--mount", "--pid", "--uts", "--ipc"])
            .args(["--fork", "--kill-child", "--mount-proc", "--", "/bin/sh", "-c"])
            .arg(script)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let mut place = Self { folder, cgroup, unshare, init: 0 };
        let child = place.unshare.id();
        place.wait_for(Duration::from_secs(10), || child_of(child).is_some())?;
        place.init = child_of(child).ok_or_else(|| Trouble("its first process has ended".to_owned()))?;
        Ok(place)
    }

    /// A folder outside that is seen inside under the same path, and removed at the end.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The cgroup below which everything in the lab belongs.
    pub(crate) fn cgroup(&self) -> &str {
        &self.cgroup
    }

    /// A path inside, for connecting to from outside.
    pub(crate) fn socket(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root/{path}", self.init))
    }

    /// A command inside.
    pub(crate) fn inside(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.init.to_string(), "-n", "-m", "-p", "-u", "-i", "--"]).arg(program);
        command
    }

    /// A command inside, in the network namespace of one of the lab's processes and with no other part of that process's world.
    pub(crate) fn beside(&self, pid: u32, program: impl AsRef<OsStr>) -> Command {
        let mut command = self.inside("nsenter");
        command.arg(format!("--net=/proc/{pid}/ns/net")).arg("--").arg(program);
        command
    }

    /// What a shell script prints that is run inside and must succeed.
    pub(crate) fn sh(&self, script: &str) -> String {
        run(self.inside("sh").args(["-euc", script]))
    }

    /// Holds the daemon as SIGSTOP does, or lets it go on: its socket still takes connections, and nobody answers.
    pub(crate) fn hold_daemon(&self, held: bool) {
        self.sh(&format!("kill -{} $(cat /run/daemon.pid)", if held { "STOP" } else { "CONT" }));
        // On a busy machine some of its threads still run for a while.
        let running = "grep -L '^State:.T' /proc/$(cat /run/daemon.pid)/task/*/status || true";
        self.wait_for(Duration::from_secs(5), || !held || self.sh(running).is_empty())
            .unwrap_or_else(|why| panic!("{why:?}"));
    }

    /// Waits until it is so.
    pub(crate) fn wait_for(&self, patience: Duration, so: impl Fn() -> bool) -> Result<(), Trouble> {
        let begun = Instant::now();
        while !so() {
            let ended = self.init != 0 && !Path::new(&format!("/proc/{}", self.init)).exists();
            if ended || begun.elapsed() > patience {
                let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
                let lines: Vec<&str> = log.lines().collect();
                let tail = lines[lines.len().saturating_sub(15)..].join("\n");
                return Err(Trouble(format!("no answer after {:?}; its last words:\n{tail}", begun.elapsed())));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // `unshare` sends SIGKILL to the namespace's first process when it ends, and the kernel to all others.
        let _ = self.unshare.kill();
        let _ = self.unshare.wait();
        let begun = Instant::now();
        while !remove_cgroup(&self.cgroup) && begun.elapsed() < Duration::from_secs(10) {
            thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Mounts are made private before they are shared among themselves: none gets out, and the runtimes find them shared.
///
/// The folders in which runtimes keep things get a layer of their own above them, whether those things exist outside or not:
/// what is written there is written to the lab's tmpfs. Bridges do not report that they listen to multicast: that comes at any
/// time, and the counters of a pod at rest stay as they are without it.
const PRELUDE: &str = r#"set -e
mount --make-rprivate /
mount -t tmpfs tmpfs /run
for folder in /var/lib /opt /etc; do
  mkdir -p "/run/lab$folder/upper" "/run/lab$folder/work"
  mount -t overlay -o "lowerdir=$folder,upperdir=/run/lab$folder/upper,workdir=/run/lab$folder/work" overlay "$folder"
done
mkdir -p /var/lib/containerd /var/lib/docker /var/lib/cni /run/lock
for folder in containerd docker cni; do
  mount -t tmpfs tmpfs "/var/lib/$folder"
done
mount --make-rshared /
rm -f /etc/crictl.yaml
echo 0 > /proc/sys/net/ipv4/igmp_link_local_mcast_reports
ip link set lo up
exec_daemon() { "$@" & echo $! > /run/daemon.pid; }"#;

/// The shell stays the first process and reaps.
const EPILOGUE: &str = "wait";

/// Runs a command that must succeed; its output.
pub(crate) fn run(command: &mut Command) -> String {
    let output = command.output().expect("start");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Makes trouble of a failure.
pub(crate) fn succeed(what: &str, output: &Output) -> Result<(), Trouble> {
    if output.status.success() {
        return Ok(());
    }
    Err(Trouble(format!("{what}: {}", String::from_utf8_lossy(&output.stderr).trim())))
}

/// Where a program lies.
pub(crate) fn found(program: &str) -> Result<PathBuf, Trouble> {
    let path = std::env::var("PATH").unwrap_or_default();
    let folders = path.split(':').chain(["/usr/sbin", "/sbin", "/usr/bin", "/bin"]);
    folders
        .map(|folder| Path::new(folder).join(program))
        .find(|file| file.is_file())
        .ok_or_else(|| Trouble(format!("{program} is not installed")))
}

fn cgroup_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{CGROUP}{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// The roots of all cgroup hierarchies, v1, v2 or both.
fn hierarchies() -> Vec<PathBuf> {
    let root = Path::new("/sys/fs/cgroup");
    let below = fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path());
    let all = std::iter::once(root.to_owned()).chain(if root.join("cgroup.procs").exists() {
        vec![]
    } else {
        below.collect()
    });
    all.filter(|folder| folder.join("cgroup.procs").exists()).collect()
}

fn make_cgroup(name: &str) -> io::Result<()> {
    for hierarchy in hierarchies() {
        let folder = hierarchy.join(name);
        fs::create_dir_all(&folder)?;
        // A new cpuset of v1 is empty, and no process may enter an empty one.
        for file in ["cpuset.cpus", "cpuset.mems"] {
            if let Ok(text) = fs::read_to_string(hierarchy.join(file)) {
                fs::write(folder.join(file), text)?;
            }
        }
    }
    Ok(())
}

/// Whether nothing of it is left.
fn remove_cgroup(name: &str) -> bool {
    // Each is tried: what keeps one busy may be frozen in another.
    let left = hierarchies().into_iter().filter(|hierarchy| !remove_tree(&hierarchy.join(name))).count();
    left == 0
}

/// Cgroups' files cannot be removed, only their folders, from the innermost outwards.
fn remove_tree(folder: &Path) -> bool {
    // What a test has paused does not even die before it is thawed.
    for (file, thawed) in [("freezer.state", "THAWED"), ("cgroup.freeze", "0")] {
        if folder.join(file).exists() {
            let _ = fs::write(folder.join(file), thawed);
        }
    }
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path());
        }
    }
    let _ = fs::remove_dir(folder);
    !folder.exists()
}

/// Removes what labs of processes that were killed have left.
fn sweep() {
    for hierarchy in hierarchies() {
        for folder in abandoned(&hierarchy, CGROUP) {
            remove_tree(&folder);
        }
    }
    for folder in abandoned(&std::env::temp_dir(), FOLDER) {
        let _ = fs::remove_dir_all(folder);
    }
}

/// What a process that is gone has made there: `PREFIX`, its number, a dash, anything.
fn abandoned(place: &Path, prefix: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(place).into_iter().flatten().flatten();
    let left = entries.filter(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        let maker = name.strip_prefix(prefix).and_then(|rest| rest.split('-').next()?.parse::<u32>().ok());
        maker.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists())
    });
    left.map(|entry| entry.path()).collect()
}

/// The only child of a process.
fn child_of(parent: u32) -> Option<u32> {
    let entries = fs::read_dir("/proc").ok()?.flatten();
    let mut pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.find(|pid| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
        fields.split_ascii_whitespace().nth(1) == Some(parent.to_string().as_str())
    })
}
