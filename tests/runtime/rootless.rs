//! A runtime that is a user's own: it may name that user's processes, and nobody else's.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::unistd::geteuid;
use rustix::process::Uid;
use serde_json::json;

use crate::identity::{answer, now};
use crate::program::{Answer, NSLENS};

/// The user.
const USER: u32 = 65_534;
/// Not the user, but somebody in the user's namespace.
const MAPPED: u32 = 100_000;

/// A process that ends with the test.
struct Process(Child);

impl Process {
    /// In a network namespace of its own: the machine's is not looked at.
    fn start(words: &[&str]) -> Self {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "unshare", "--net", "--"]).args(words).args(["sleep", "1000"]);
        Self(command.spawn().expect("a process"))
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }

    fn status(&self, file: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{file}", self.pid())).unwrap_or_default()
    }

    /// Waits until it sleeps, having become what it is to be.
    fn asleep(self) -> Self {
        let begun = Instant::now();
        while self.status("comm") != "sleep\n" {
            assert!(begun.elapsed() < Duration::from_secs(10), "{}", self.status("status"));
            thread::sleep(Duration::from_millis(5));
        }
        self
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An Engine API on which the user listens, with one container of this process.
fn serve(path: &Path, pid: u32) {
    listen(path, move |stream| answer(stream, &"c".repeat(64), || json!({"Pid": pid, "StartedAt": now()})));
}

/// A socket on which the user listens.
fn listen(path: &Path, serve: impl Fn(UnixStream) + Send + 'static) {
    let (path, (ready, wait)) = (path.to_owned(), std::sync::mpsc::channel());
    thread::spawn(move || {
        let user = Uid::from_raw(USER);
        rustix::thread::set_thread_res_uid(user, user, user).expect("this thread is the user's");
        let listener = UnixListener::bind(path).expect("bind");
        ready.send(()).expect("somebody waits");
        while let Ok((stream, _)) = listener.accept() {
            serve(stream);
        }
    });
    wait.recv().expect("it listens");
}

#[test]
fn a_users_own_runtime_is_believed_of_the_users_processes_only() {
    if !geteuid().is_root() {
        assert!(std::env::var_os("CI").is_none(), "needs root");
        return;
    }
    let user = USER.to_string();
    let own = Process::start(&["setpriv", "--reuid", &user, "--regid", &user, "--clear-groups"]).asleep();
    let maker = Process::start(&["setpriv", "--reuid", &user, "--regid", &user, "--clear-groups", "unshare", "--user"])
        .asleep();
    for file in ["uid_map", "gid_map"] {
        fs::write(format!("/proc/{}/{file}", maker.pid()), format!("0 {MAPPED} 10")).expect("a mapping");
    }
    let maker_pid = maker.pid().to_string();
    let inside = Process::start(&["nsenter", "-t", &maker_pid, "--user", "-S", "1", "-G", "1"]).asleep();
    assert!(inside.status("status").contains(&format!("Uid:\t{}", MAPPED + 1)), "{}", inside.status("status"));
    let others = Process::start(&["setpriv", "--reuid", &MAPPED.to_string(), "--clear-groups"]).asleep();
    let roots = Process::start(&[]).asleep();

    let folder = tempfile::tempdir().expect("folder");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).expect("anybody's");
    for (process, theirs) in [(&own, true), (&inside, true), (&others, false), (&roots, false)] {
        // Where rootless Docker has it.
        let users = folder.path().join(process.pid().to_string());
        fs::create_dir(&users).expect("folder");
        fs::set_permissions(&users, fs::Permissions::from_mode(0o777)).expect("anybody's");
        serve(&users.join("docker.sock"), process.pid());
        let answer = beside(&users, &["rules", "container/web", "-o", "json", "--timeout", "30s"]);
        if theirs {
            assert_eq!(answer.ended(0).json()["target"]["pid"], json!(process.pid()));
        } else {
            answer.ended(6).said(&format!("process {} is not of user {USER}", process.pid()));
        }
    }

    // What a user left there is nothing of the node's.
    let left = folder.path().join("left");
    fs::create_dir(&left).expect("folder");
    drop(UnixListener::bind(left.join("docker.sock")).expect("bind"));
    std::os::unix::fs::chown(left.join("docker.sock"), Some(USER), None).expect("the user's");
    beside(&left, &["rules", "container/web"]).ended(3).said("no container");
}

/// A folder that is the user's.
fn users(folder: &Path, name: &str) -> PathBuf {
    let users = folder.join(name);
    fs::create_dir(&users).expect("folder");
    std::os::unix::fs::chown(&users, Some(USER), None).expect("the user's");
    users
}

/// Listens there and never stops talking; how many bytes went out. The words stand before those without end.
fn talk(path: &Path, words: &'static str) -> Arc<AtomicUsize> {
    let said = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&said);
    listen(path, move |mut stream| {
        let _ = stream.read(&mut [0; 4096]);
        let mut words = words.as_bytes();
        while let Ok(written) = stream.write(words) {
            counted.fetch_add(written, Ordering::Relaxed);
            words = &[b' '; 65_536];
        }
    });
    said
}

#[test]
fn what_a_user_left_in_a_default_place_makes_nothing_fail() {
    if !geteuid().is_root() {
        assert!(std::env::var_os("CI").is_none(), "needs root");
        return;
    }
    let folder = tempfile::tempdir().expect("folder");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("to be seen");
    type Plant<'a> = &'a dyn Fn(&Path) -> Option<Arc<AtomicUsize>>;
    const ENDLESS: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n[";
    let others = folder.path().join("others.sock");
    let _others = UnixListener::bind(&others).expect("bind");
    let cases: [(&str, Plant<'_>, &str); 6] = [
        ("body", &|path| Some(talk(path, ENDLESS)), "its answer is too long"),
        ("head", &|path| Some(talk(path, "HTTP/1.1 200 OK\r\nA:")), ""),
        (
            "silent",
            &|path| {
                let kept = std::sync::Mutex::new(Vec::new());
                listen(path, move |stream| kept.lock().expect("one thread").push(stream));
                None
            },
            "no answer in time",
        ),
        (
            "refused",
            &|path| {
                listen(path, |mut stream| {
                    let _ = stream.read(&mut [0; 4096]);
                    let _ = stream.write_all(b"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\n{}");
                });
                None
            },
            "permission denied",
        ),
        (
            "link",
            &|path| std::os::unix::fs::symlink(&others, path).map(|()| None).expect("a link"),
            "no answer in time",
        ),
        (
            "file",
            &|path| std::os::unix::fs::symlink("/etc/passwd", path).map(|()| None).expect("a link"),
            "no socket at",
        ),
    ];
    for (case, plant, words) in cases {
        let users = users(folder.path(), case);
        let said = plant(&users.join("docker.sock"));
        let shown = beside(&users, &["list", "--runtimes"]).ended(0);
        assert!(shown.stdout.contains(words) && shown.stdout.contains("docker.sock"), "{case}: {shown:#?}");
        // Neither is it "not permitted", nor "not every runtime answered".
        beside(&users, &["rules", "container/web"]).ended(3);
        let listed = beside(&users, &["list", "-n", "nowhere"]);
        // 5: this machine may have pods that nothing names.
        assert!(matches!(listed.code, 0 | 5), "{case}: {listed:#?}");
        let noted = listed.stderr.contains(words) && listed.stderr.contains("65534's own");
        assert!(noted || case == "file", "{case}: {listed:#?}");
        if let Some(said) = said {
            // Three runs; some of it only ever lay in the sockets' buffers.
            let said = said.load(Ordering::Relaxed);
            assert!(said < 8 << 20, "{case}: {said} bytes were read");
        }
    }
}

/// The program on a machine where only this user has a folder.
fn beside(users: &Path, words: &[&str]) -> Answer {
    let mut command = Command::new("unshare");
    let script = format!(
        "mount -t tmpfs none /run; mkdir -p /run/user/{USER}; mount --bind {} /run/user/{USER}; exec \"$0\" \"$@\"",
        users.display()
    );
    command.args(["--mount", "sh", "-euc", &script, NSLENS]).process_group(0);
    Answer::of(command, words)
}
