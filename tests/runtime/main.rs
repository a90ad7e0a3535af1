//! The program itself, run beside a real dockerd and a real containerd in private namespaces: from a name to rules, connections,
//! owners, files and differences. Needs root; without it every test says loudly that it was left out, and fails under `CI`.

#[path = "../support/runtimes.rs"]
mod runtimes;

mod actor;
mod both_ways;
mod checked;
mod connections;
mod cri;
mod docker;
mod failures;
mod identity;
mod istio;
mod list;
mod mesh;
mod program;
mod rootless;
mod swept;
mod told;
mod untouched;

use runtimes::Place;

/// The inode of the network namespace of a process, as the lab counts it.
fn netns_of(place: &Place, pid: u32) -> u64 {
    let text = place.sh(&format!("readlink /proc/{pid}/ns/net"));
    let number = text.trim().trim_start_matches("net:[").trim_end_matches(']');
    number.parse().expect("an inode")
}
