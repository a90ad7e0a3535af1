//! A node with a hundred pods and a thousand processes: `cargo bench --bench whole_node` (as root; a minute to make the node).
//!
//! What `list` takes is compared with the runtime's own answer alone (`list --runtimes` asks for the same lists and looks at
//! nothing), what a name takes without a runtime with a program that does nothing.
#![expect(clippy::print_stdout, reason = "it prints its figures")]

mod pairs;

#[path = "../tests/support/runtimes.rs"]
#[expect(dead_code, reason = "the benchmark needs a part of the tests' labs")]
mod runtimes;

use std::process::Command;

use pairs::{headings, pair};
use runtimes::{ContainerSpec, CriLab, Node as _, PodSpec, SLEEP};

const NSLENS: &str = env!("CARGO_BIN_EXE_nslens");
const PODS: usize = 100;
/// Beside those of the pods: with them there are more than a thousand.
const PROCESSES: usize = 400;
/// A listener, and a connection to it: the kernel counts a namespace without sockets much faster.
const TALKING: &[&str] = &["/bin/sh", "-c", "nc -ll -p 8080 -e /bin/sleep 1000 & sleep 1; exec nc 127.0.0.1 8080"];

fn main() {
    let Some(lab) = CriLab::start() else { return };
    let place = lab.place();
    let app = ContainerSpec { name: "app", args: TALKING, ..ContainerSpec::default() };
    let containers = [app, ContainerSpec { name: "istio-proxy", args: SLEEP, ..ContainerSpec::default() }];
    let mut last = None;
    for number in 0..PODS {
        let name = format!("web-{number}");
        last = Some(lab.run_pod(&PodSpec {
            name: &name,
            namespace: "blue",
            containers: &containers,
            ..PodSpec::default()
        }));
    }
    let Some(pod) = last else { return };
    let sandbox = pod.sandbox_pid;
    place.sh(&format!(
        "for table in nat mangle; do for i in $(seq 10); do \
         nsenter -n -t {sandbox} iptables-nft -t $table -A OUTPUT -p tcp --dport $i -j ACCEPT; done; done"
    ));
    place.sh(&format!("for i in $(seq {PROCESSES}); do sleep 10000 >/dev/null 2>&1 & done"));
    println!("{} processes, {PODS} pods of two containers", place.sh("ls -d /proc/[0-9]* | wc -l").trim());
    let inside = |words: &str| -> Command {
        let mut command = place.inside("sh");
        command.args(["-c", &format!("exec {words}")]);
        command
    };
    headings();
    pair(
        "list, against the runtime's answer alone",
        || inside(&format!("{NSLENS} list")),
        || inside(&format!("{NSLENS} list --runtimes")),
    );
    let (id, pid) = (&pod.ids["app"], pod.pids["app"]);
    pair(
        "rules of a pod by name, against the same",
        || inside(&format!("{NSLENS} rules pod/web-99 -o save")),
        || inside(&format!("{NSLENS} list --runtimes")),
    );
    pair(
        "rules by ID and cgroups alone, against pid/",
        || inside(&format!("{NSLENS} rules {id} --runtime proc -o save")),
        || inside(&format!("{NSLENS} rules pid/{pid} -o save")),
    );
    pair(
        "rules by pod's name and cgroups alone, against `true`",
        || inside(&format!("{NSLENS} rules pod/web-99 --runtime proc -o save")),
        || inside("true"),
    );
    pair("rules pid/, against `true`", || inside(&format!("{NSLENS} rules pid/{pid} -o save")), || inside("true"));
}
