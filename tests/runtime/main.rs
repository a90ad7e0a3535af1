//! Names of real containers and pods, asked of a real dockerd and a real containerd in private namespaces.

#[path = "../support/runtimes.rs"]
mod runtimes;

mod cri;
mod docker;
mod identity;

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

/// What `find` says inside a lab. Nothing of it may ever hold what was planted in environments and manifests.
fn ask(inside: impl Fn(&std::path::Path) -> Command, words: &[&str]) -> Value {
    let output = inside(&program()).args(words).output().expect("start");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let all = format!("{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(!all.contains(runtimes::PLANTED), "{words:?} gave a secret away: {all}");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{words:?}: {error}: {all}"))
}

/// The example lies beside the folder of this test's own program.
fn program() -> PathBuf {
    let own = std::env::current_exe().expect("own path");
    let folder = own.ancestors().nth(2).expect("the profile's folder");
    let program = folder.join("examples/find");
    assert!(program.exists(), "{} is not built: cargo build --examples", program.display());
    program
}

/// The inode of the network namespace of a process, as the lab counts it.
fn netns_of(mut readlink: Command, pid: u32) -> u64 {
    let text = runtimes::run(readlink.arg(format!("/proc/{pid}/ns/net")));
    let number = text.trim().trim_start_matches("net:[").trim_end_matches(']');
    number.parse().expect("an inode")
}
