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
}
