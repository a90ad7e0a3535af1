//! `check -A` on a real node: every workload side by side, both samples of all within one interval, a broken one costs one line.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::actor::Actor;
use crate::netns_of;
use crate::program::nslens;
use crate::runtimes::{CriLab, Node, PodHandle};

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

#[test]
fn a_node_is_saved_and_compared_with_what_it_has_become() {
    let Some(lab) = CriLab::start() else { return };
    let place = lab.place();
    let rules = include_str!("../fixtures/istio.v4.rules");
    let load = |pod: &PodHandle, rules: &str| {
        let file = place.folder().join("rules");
        std::fs::write(&file, rules).expect("written");
        place.sh(&format!("nsenter -n -t {} iptables-nft-restore {}", pod.sandbox_pid, file.display()));
    };
    let pods = ["cart-6b746f74dc-9rlmh", "web"].map(|name| lab.run_istio_pod(name, "blue"));
    pods.iter().for_each(|pod| load(pod, rules));
    let folder = place.folder().join("saved");
    let path = folder.to_str().expect("UTF-8");
    let answer = nslens(place, &["snapshot", "-A", "-f", path]);
    assert_eq!(answer.code, 0, "{answer:#?}");
    assert!(answer.stderr.contains("2 workloads saved to"), "{answer:#?}");
    let manifest: Value =
        serde_json::from_slice(&std::fs::read(folder.join("manifest.json")).expect("a manifest")).expect("JSON");
    let files: Vec<&str> =
        manifest["workloads"].as_array().expect("workloads").iter().filter_map(|one| one["file"].as_str()).collect();
    assert_eq!(files, ["pod.blue.cart-6b746f74dc-9rlmh.json.gz", "pod.blue.web.json.gz"]);
    let verified = nslens(place, &["snapshot", "--verify", path]);
    assert_eq!((verified.code, verified.stdout.lines().count()), (0, 2), "{verified:#?}");
    // A folder that holds something is not written into.
    assert_eq!(nslens(place, &["snapshot", "-A", "-f", path]).code, 2);
    // Nothing has changed since.
    let same = nslens(place, &["diff", "-A", path]);
    assert_eq!(same.code, 0, "{same:#?}");
    assert!(same.stdout.ends_with("2 workloads: 2 equal\n"), "{same:#?}");
    let archive = place.folder().join("all.tar.gz");
    let archive = archive.to_str().expect("UTF-8");
    assert_eq!(nslens(place, &["snapshot", "-A", "-f", archive]).code, 0);
    assert_eq!(nslens(place, &["diff", archive, path]).code, 0);
    // A pod is started anew under another name, and another one loses the proxy's exemption.
    let [cart, web] = pods;
    lab.remove_pod(&cart);
    load(&lab.run_istio_pod("cart-7c5ddbdf54-zzzzz", "blue"), rules);
    load(&web, &rules.replace("-A ISTIO_OUTPUT -m owner --uid-owner 1337 -j RETURN\n", ""));
    let answer = nslens(place, &["diff", "-A", path]);
    assert_eq!(answer.code, 1, "{answer:#?}");
    for line in ["= blue/cart-6b746f74dc-9rlmh → blue/cart-7c5ddbdf54-zzzzz  equal", "! blue/web"] {
        assert!(answer.stdout.lines().any(|told| told.starts_with(line)), "{line}: {answer:#?}");
    }
    assert!(answer.stdout.contains("+ → 127.0.0.1:15001"), "{answer:#?}");
}
