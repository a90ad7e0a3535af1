//! `check --wait`: until it passes, or until the time is over.

use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use crate::check_many::{pod, without_ipv6, without_rules};
use crate::program::{Folder, command, nslens};

/// Puts a file in the place of another at once, as whoever takes snapshots does.
fn replace(folder: &Folder, name: &str, content: String) {
    let new = folder.put("new", content);
    std::fs::rename(new, folder.path(name)).expect("it is moved");
}

#[test]
fn it_ends_as_soon_as_it_passes() {
    let folder = Folder::new();
    let path = folder.path("pod.json");
    let start = Instant::now();
    let waiting = command(&["check", &path, "--wait", "60s"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let waiting = waiting.expect("it starts");
    thread::sleep(Duration::from_millis(400));
    replace(
        &folder,
        "pod.json",
        pod(|pod| {
            without_ipv6(pod);
            without_rules(pod);
        }),
    );
    thread::sleep(Duration::from_millis(900));
    replace(&folder, "pod.json", pod(without_ipv6));
    let output = waiting.wait_with_output().expect("it ends");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{out}{err}");
    assert!(start.elapsed() < Duration::from_secs(50), "{:?}", start.elapsed());
    assert!(out.ends_with(": pass\n") && !out.contains("RDR001"), "only the last answer is printed: {out}");
}

#[test]
fn it_ends_as_the_last_look_did_when_the_time_is_over() {
    let folder = Folder::new();
    let lost = folder.put("lost.json", pod(without_rules));
    let start = Instant::now();
    let run = nslens(&["check", &lost, "--wait", "1s"]).ended(1);
    assert!(start.elapsed() >= Duration::from_secs(1), "{:?}", start.elapsed());
    assert_eq!(run.out.matches("RDR001 ").count(), 2, "once, and where more is told: {}", run.out);
    assert_eq!(run.err.matches("is a snapshot of").count(), 1, "{}", run.err);
    nslens(&["check", &folder.path("nowhere.json"), "--wait", "300ms"]).ended(3);
    nslens(&["check", &folder.path(""), "--wait", "300ms"]).ended(1);
}

#[test]
fn what_can_never_pass_is_not_waited_for() {
    let folder = Folder::new();
    let damaged = folder.put("damaged.json", "{");
    let start = Instant::now();
    nslens(&["check", &damaged, "--wait", "60s"]).ended(2);
    nslens(&["check", "nonsense/x", "--wait", "60s"]).ended(2);
    nslens(&["check", "-", "--wait", "60s"]).ended(2);
    let good = folder.put("good.json", pod(without_ipv6));
    nslens(&["check", &good, "--wait", "60s"]).ended(0);
    assert!(start.elapsed() < Duration::from_secs(50), "{:?}", start.elapsed());
    nslens(&["check", &good, "--wait", "0"]).ended(2);
}
