//! `check -A` on a real node: every workload side by side, both samples of all within one interval, a broken one costs one line.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::actor::Actor;
use crate::netns_of;
use crate::program::nslens;
use crate::runtimes::{CriLab, Node};

#[test]
fn all_pods_of_a_node_are_judged_together() {
    const INTERVAL: Duration = Duration::from_secs(3);
    let Some(lab) = CriLab::start() else { return };
    let place = lab.place();
    let pods = ["cart", "shop", "web"].map(|name| (name, lab.run_istio_pod(name, "blue")));
    let start = Instant::now();
    let answer = nslens(place, &["check", "-A", "--interval", "3s", "-o", "json"]);
    let took = start.elapsed();
    assert!(took >= INTERVAL && took < INTERVAL * 2, "three pods, one interval: {took:?}");
    let sweep: Value = serde_json::from_str(&answer.stdout).unwrap_or_else(|error| panic!("{error}: {answer:#?}"));
    assert_eq!(sweep["failed"].as_array().map(Vec::len), Some(0), "{answer:#?}");
    let documents = sweep["documents"].as_array().expect("documents");
    assert_eq!(documents.len(), pods.len());
    for ((name, pod), document) in pods.iter().zip(documents) {
        assert_eq!(document["target"]["asked"], format!("pod/{name}.blue"), "{document:#}");
        assert_eq!(document["target"]["netns"]["inode"], netns_of(place, pod.sandbox_pid), "{document:#}");
        assert_eq!(document["expected"]["mesh"], "istio", "{document:#}");
    }
    // The same verdicts as of each alone.
    for (name, document) in pods.iter().map(|(name, _)| name).zip(documents) {
        let alone = nslens(place, &["check", &format!("pod/{name}"), "--once", "-o", "json"]);
        let alone: Value = serde_json::from_str(&alone.stdout).expect("JSON");
        assert_eq!(alone["verdict"], document["verdict"], "{alone:#}");
    }
    // A second runtime tells of a container that is not there.
    let ghost = Actor::start(place, "ghost");
    let answer = nslens(place, &["check", "-A", "--once"]);
    assert!(matches!(answer.code, 1 | 5), "{answer:#?}");
    for name in ["blue/cart", "blue/shop", "blue/web", "ghost"] {
        assert!(answer.stdout.lines().any(|line| line.contains(name)), "{name}: {answer:#?}");
    }
    assert!(answer.stdout.contains("could not be looked at"), "{answer:#?}");
    drop(ghost);
}

#[test]
fn where_nothing_fits_nothing_was_checked() {
    let Some(lab) = CriLab::start() else { return };
    let place = lab.place();
    lab.run_istio_pod("web", "blue");
    let answer = nslens(place, &["check", "-A", "-n", "green"]);
    assert_eq!((answer.code, answer.stdout.as_str()), (3, ""), "{answer:#?}");
    assert!(answer.stderr.contains("blue"), "{answer:#?}");
    let answer = nslens(place, &["check", "-A", "-l", "app=nobody"]);
    assert_eq!(answer.code, 3, "{answer:#?}");
}
