//! What goes wrong between a name and its answer: exit codes, what is said, and how long it takes.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::actor::Actor;
use crate::program::{Answer, NSLENS, nslens, outside, refused, target};
use crate::runtimes::{CriLab, DockerLab, Node, Place, SLEEP};

const CONTAINERD: &str = "/run/containerd/containerd.sock";

/// Every place where a runtime's socket usually is.
const USUAL: [&str; 8] = [
    CONTAINERD,
    "/run/crio/crio.sock",
    "/run/k3s/containerd/containerd.sock",
    "/run/k0s/containerd.sock",
    "/var/snap/microk8s/common/run/containerd.sock",
    "/run/cri-dockerd.sock",
    "/var/run/docker.sock",
    "/run/podman/podman.sock",
];

#[test]
fn endpoints_are_named_absent_silent_or_foreign() {
    let Some(lab) = CriLab::start() else { return };
    let place = lab.place();
    let pod = lab.run_istio_pod("web", "blue");
    named(place, pod.pids["app"]);
    absent(place);
    silent(place);

    // Asked from outside, it would tell of numbers that mean other processes here.
    let socket = lab.socket();
    let words = ["rules", "web", "--runtime-endpoint", socket.to_str().expect("a path")];
    outside(&words).ended(6).said("another PID namespace");
}

/// `--runtime-endpoint`, its forms and its rivals; `-v` tells what was tried, `-q` nothing.
fn named(place: &Place, pid: u32) {
    place.sh(&format!("mkdir /run/moved; ln {CONTAINERD} /run/moved/runtime.sock"));
    for endpoint in ["/run/moved/runtime.sock", "unix:///run/moved/runtime.sock"] {
        let words = ["rules", "pod/web", "--runtime-endpoint", endpoint, "-v", "-o", "json"];
        let answer = nslens(place, &words).ended(0).said("/run/moved/runtime.sock: containerd: 1 pods, 2 containers");
        assert!(USUAL.iter().all(|usual| !answer.stderr.contains(usual)), "this one and no other: {answer:#?}");
        assert!(answer.stdout.contains(&format!("\"pid\": {pid}")), "{answer:#?}");
    }
    let mut command = place.inside("env");
    command.args(["CONTAINER_RUNTIME_ENDPOINT=unix:///run/moved/runtime.sock", NSLENS]);
    let answer = Answer::of(command, &["rules", "pod/web", "-v"]).ended(0);
    assert!(answer.stderr.starts_with("/run/moved/runtime.sock: containerd"), "{answer:#?}");

    let answer = nslens(place, &["rules", "pod/web", "-v"]).ended(0);
    for usual in USUAL {
        assert!(answer.stderr.contains(usual), "{usual}: {answer:#?}");
    }
    for words in
        [&["rules", "pod/web", "-q"][..], &["conns", "web", "-q"], &["snapshot", "web", "-q", "-f", "/run/q.json"]]
    {
        assert_eq!(nslens(place, words).ended(0).stderr, "", "{words:?}");
    }
    assert_eq!(target(place, &["pod/web", "--runtime", "containerd"])["pid"], json!(pid));
    let answer = refused(place, &["pod/web", "--runtime", "docker"], 3).said("/var/run/docker.sock");
    assert!(!answer.stderr.contains("containerd"), "{answer:#?}");
    refused(place, &["pod/web", "--runtime-endpoint", "tcp://10.0.0.1:2375"], 2).said("no unix socket");
}

/// No socket anywhere: all places are named.
fn absent(place: &Place) {
    let answer = refused(place, &["pod/web", "--runtime-endpoint", "/run/nowhere.sock"], 3);
    answer.said("no container runtime on this node").said("/run/nowhere.sock").said("hint: ");
    let mut command = place.inside("unshare");
    command.args(["--mount", "sh", "-euc", "mount -t tmpfs none /run; exec \"$0\" \"$@\"", NSLENS]);
    let begun = Instant::now();
    let answer = Answer::of(command, &["rules", "pod/web"]).ended(3).said("no pod/web on this node");
    assert!(USUAL.iter().all(|usual| answer.stderr.contains(usual)), "{answer:#?}");
    assert!(begun.elapsed() < Duration::from_secs(5), "absent ones cost nothing");
}

/// A daemon that hangs: its socket still takes connections.
fn silent(place: &Place) {
    place.hold_daemon(true);
    // Named by the user, it is the only one that is to answer. By default each gets a second.
    for (options, seconds) in
        [(&["--runtime-endpoint", CONTAINERD][..], 1.0), (&["--runtime", "cri", "--timeout", "200ms"], 0.2)]
    {
        let begun = Instant::now();
        let answer = Answer::of(place.inside(NSLENS), &[&["rules", "pod/web"], options].concat());
        let answer = answer.ended(6).said(CONTAINERD).said("no answer in time").said("--timeout");
        let took = begun.elapsed().as_secs_f64();
        assert!(took >= seconds && took < seconds + 5.0, "{took} s: {answer:#?}");
    }
    // What is not found without it may be there.
    let answer = Answer::of(place.inside(NSLENS), &["rules", "pod/webb", "--timeout", "200ms"]);
    answer.ended(6).said(CONTAINERD).said("no answer in time").said("and files on disk");
    place.hold_daemon(false);
    assert_eq!(target(place, &["pod/web"])["name"], "web", "it goes on");
}

#[test]
fn those_that_hang_cost_one_deadline_and_the_others_answer() {
    let Some(lab) = CriLab::start() else { return };
    let place = lab.place();
    lab.run_istio_pod("web", "blue");
    let mute = Actor::start(place, "mute");
    let deadline = 0.5;
    let asked = |words: &[&str], code: i32| {
        let begun = Instant::now();
        let answer = Answer::of(place.inside(NSLENS), &[words, &["--timeout", "500ms"]].concat());
        let took = begun.elapsed().as_secs_f64();
        assert_eq!(answer.code, code, "{answer:#?}");
        // Two of them, asked one after the other, would take twice as long.
        assert!(took < 2.0 * deadline, "{words:?} took {took} s");
        answer
    };
    asked(&["rules", "pod/web"], 0);
    // It may be with one of those that did not answer.
    let answer = asked(&["rules", "pod/elsewhere"], 6).said("/run/podman/podman.sock: no answer in time");
    answer.said("/run/crio/crio.sock: no answer in time").said("2 containers");
    let list = asked(&["list"], 6).said("/run/crio/crio.sock").said("/run/podman/podman.sock");
    assert!(list.stdout.contains("\nblue       web"), "{list:#?}");
    let runtimes = asked(&["list", "--runtimes", "-o", "json"], 0);
    let document: Value = serde_json::from_str(&runtimes.stdout).expect("JSON");
    let outcome = |path: &str| {
        let all = document["runtimes"].as_array().expect("runtimes");
        all.iter().find(|one| one["endpoint"] == path).unwrap_or_else(|| panic!("{path}"))["outcome"].clone()
    };
    assert_eq!(outcome(CONTAINERD), "answered");
    assert_eq!([outcome("/run/crio/crio.sock"), outcome("/run/podman/podman.sock")], ["timed-out", "timed-out"]);
    drop(mute);
    // Nobody listens there any more; that is no answer either, and costs no time.
    let begun = Instant::now();
    refused(place, &["pod/elsewhere"], 6);
    assert!(begun.elapsed().as_secs_f64() < deadline);
}

#[test]
fn without_rights_it_is_said_which_are_missing() {
    let Some(lab) = DockerLab::start() else { return };
    let place = lab.place();
    let id = lab.run_container(&["--name", "web"], SLEEP);
    // The program may lie where others may not go.
    place.sh(&format!("install -m 755 {NSLENS} /run/nslens"));
    let nobody = || {
        let mut command = place.inside("setpriv");
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "/run/nslens"]);
        command
    };
    let denied = |words: &[&str]| Answer::of(nobody(), words).ended(4);
    denied(&["rules", "web"]).said("not permitted").said("docker.sock").said("sudo ");
    denied(&["conns", "container/web"]).said("docker.sock");
    denied(&["rules", "pid/1"]).said("not permitted").said("CAP_SYS_PTRACE").said("sudo ");
    denied(&["rules", &format!("pid/{}", lab.pid(&id))]).said("CAP_SYS_PTRACE");
    denied(&["snapshot", "web"]).said("docker.sock");
    // Asking the runtime may be allowed without the right to enter what it names.
    place.sh("chmod 666 /run/docker.sock");
    denied(&["rules", "web"]).said("not permitted").said("CAP_SYS_PTRACE");
    // Root without one of its capabilities.
    let mut command = place.inside("setpriv");
    command.args(["--bounding-set", "-sys_admin", "--inh-caps", "-sys_admin", NSLENS]);
    lacking(command, "CAP_SYS_ADMIN");
}

/// Entering a network namespace takes `CAP_SYS_ADMIN` (setns(2)).
fn lacking(command: Command, capability: &str) {
    Answer::of(command, &["rules", "web"]).ended(4).said(capability);
}
