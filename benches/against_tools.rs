//! nslens against what a user would type instead, in one run and pair by pair: `cargo bench --bench against_tools` (as root).
//!
//! Whole processes are timed, starting included, since that is what a user waits for. The machine's speed drifts, so the two
//! commands run in turn, and the median of the ratios is what to quote.
#![expect(clippy::print_stdout, reason = "it prints its figures")]

#[path = "../tests/support/runtimes.rs"]
#[expect(dead_code, reason = "the benchmark needs a part of the tests' labs")]
mod runtimes;

mod pairs;

use std::process::Command;

use nslens::demo::{Lab, Variant};
use pairs::{headings, pair};
use runtimes::{DockerLab, Node as _};

const NSLENS: &str = env!("CARGO_BIN_EXE_nslens");
fn command(program: &str, arguments: &str) -> Command {
    let mut command = Command::new(program);
    command.args(arguments.split_whitespace());
    command
}

fn main() {
    let lab = match Lab::start(NSLENS.as_ref(), Variant::Istio) {
        Ok(lab) => lab,
        Err(error) => {
            println!("NOT RUN: {error}");
            return;
        }
    };
    let pid = lab.pid();
    headings();
    pair("--version, against `true`", || command(NSLENS, "--version"), || command("true", ""));
    pair(
        "a program that does nothing, against nsenter + iptables-save",
        || command("true", ""),
        || command("nsenter", &format!("-t {pid} -n iptables-save")),
    );
    pair(
        "rules -o save -4, against nsenter + iptables-save",
        || command(NSLENS, &format!("rules pid/{pid} -o save -4")),
        || command("nsenter", &format!("-t {pid} -n iptables-save")),
    );
    pair(
        "rules (table, both families), against the same",
        || command(NSLENS, &format!("rules pid/{pid}")),
        || command("nsenter", &format!("-t {pid} -n iptables-save")),
    );
    pair(
        "conns, against nsenter + ss -tnp",
        || command(NSLENS, &format!("conns pid/{pid}")),
        || command("nsenter", &format!("-t {pid} -n ss -tnp")),
    );
    docker();
}

/// By name: what a user types without nslens is `docker inspect` for the PID, then nsenter.
fn docker() {
    let Some(lab) = DockerLab::start() else { return };
    lab.run_container(&["--name", "web"], &["sleep", "1000"]);
    let shell = |script: &str| {
        let mut command = lab.place().inside("sh");
        command.args(["-c", script]);
        command
    };
    pair(
        "rules container/web -o save -4, against inspect + nsenter",
        || shell(&format!("exec {NSLENS} rules container/web -o save -4")),
        || shell("exec nsenter -t $(/usr/bin/docker inspect -f '{{.State.Pid}}' web) -n iptables-save"),
    );
    // The same by cgroups alone, on a node with many more processes, all of them in containers.
    let crowd = "i=0; while [ $i -lt 1000 ]; do sleep 1000 & i=$((i+1)); done; wait";
    lab.run_container(&["--name", "crowd"], &["sh", "-c", crowd]);
    let many = || lab.place().sh("ls -d /proc/[0-9]* | wc -l").trim().parse().is_ok_and(|count: u32| count > 1000);
    if lab.place().wait_for(std::time::Duration::from_secs(60), many).is_err() {
        println!("NOT RUN: the processes do not come up");
        return;
    }
    pair(
        "the same with --runtime proc among 1,000 processes",
        || shell(&format!("exec {NSLENS} rules container/web -o save -4 --runtime proc")),
        || shell("exec nsenter -t $(/usr/bin/docker inspect -f '{{.State.Pid}}' web) -n iptables-save"),
    );
}
