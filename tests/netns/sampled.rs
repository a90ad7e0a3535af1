//! `nslens check` on what lives: two samples, a while apart.

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{Lab, require_root};

/// `nslens check` of a process; the runtimes of the machine are left alone.
fn check(pid: u32, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nslens"));
    command.args(["check", &format!("pid/{pid}"), "--runtime", "proc"]).args(words);
    command
}

#[test]
fn the_second_sample_comes_after_the_interval_and_once_does_without() {
    if !require_root() {
        return;
    }
    let lab = Lab::new();
    let took = |words: &[&str]| {
        let start = Instant::now();
        let output = check(lab.pid(), words).output().expect("it runs");
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        start.elapsed()
    };
    let (twice, once) = (took(&["--interval", "1500ms"]), took(&["--once"]));
    assert!(twice >= Duration::from_millis(1500), "{twice:?}");
    assert!(once < Duration::from_millis(1500), "{once:?}");
}

#[test]
fn what_ends_between_the_samples_is_told() {
    if !require_root() {
        return;
    }
    let lab = Lab::new();
    let mut sleeper = lab.command("sleep").arg("60").spawn().expect("sleep starts");
    let child = check(sleeper.id(), &["--interval", "3s"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("it starts");
    thread::sleep(Duration::from_millis(1500));
    kill(Pid::from_raw(i32::try_from(sleeper.id()).expect("a PID")), Signal::SIGKILL).expect("it is ended");
    sleeper.wait().expect("it ends");
    let output = child.wait_with_output().expect("it ends");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{told}");
    assert!(told.contains("went away"), "{told}");
}
