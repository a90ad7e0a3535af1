//! `nslens check` of one pod against `nslens rules` of it, and of a node's 200 pods against a loop over them:
//! `cargo bench --bench check` (as root; two minutes to make the node).
//!
//! Each pod has 30 processes, 50 sockets and Istio's rules of both families. `NSLENS_PODS=20` makes a smaller node. Called again by itself
//! with `hold` this is a program that has connections. There is no crictl here: `ctr` stands for what asks a runtime for a process
//! number, and the loop without any such question is measured too.
#![expect(clippy::print_stdout, reason = "it prints its figures")]

#[expect(dead_code, reason = "what judges is not timed like others")]
mod pairs;

#[path = "../tests/support/runtimes.rs"]
#[expect(dead_code, reason = "the benchmark needs a part of the tests' labs")]
mod runtimes;

use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use pairs::{headings, median, pairs_of_verdicts};
use runtimes::{ContainerSpec, CriLab, Node as _, PodHandle, PodSpec, SLEEP};

/// The program: `NSLENS_PROGRAM`, to measure the static one that is handed out, else the one just built.
static NSLENS: LazyLock<String> =
    LazyLock::new(|| std::env::var("NSLENS_PROGRAM").unwrap_or_else(|_| env!("CARGO_BIN_EXE_nslens").to_owned()));
const PODS: usize = 200;
/// Pairs of commands that take a second or more.
const FEW: usize = 3;
/// Others.
const MANY: usize = 40;

/// With the shell, its sandbox, the proxy's container and two holders of sockets there are 30.
const CROWD: &[&str] = &["/bin/sh", "-c", "i=0; while [ $i -lt 25 ]; do sleep 100000 & i=$((i+1)); done; wait"];
const PROXY: (u32, &[&str], &str) =
    (1337, &["[::]:15001", "[::]:15006", "[::]:15021", "[::]:15090", "127.0.0.1:15000"], "10");
const APP: (u32, &[&str], &str) = (1000, &["0.0.0.0:8080"], "12");
const RULES: [(&str, &str); 2] = [
    ("iptables-restore", include_str!("../tests/fixtures/istio.v4.rules")),
    ("ip6tables-restore", include_str!("../tests/fixtures/istio.v6.rules")),
];

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let [word, connections, listeners @ ..] = words.as_slice()
        && word == "hold"
    {
        return hold(connections, listeners);
    }
    if let [word, program, arguments @ ..] = words.as_slice()
        && word == "peak"
    {
        return peak(program, arguments);
    }
    let Some(lab) = CriLab::start() else { return };
    let count = std::env::var("NSLENS_PODS").ok().and_then(|count| count.parse().ok()).unwrap_or(PODS);
    let node = Node::make(&lab, 1);
    println!("one pod of {} processes and {} sockets", node.processes(0), node.sockets(0));
    headings();
    one(&node);
    let node = node.grow(count);
    println!(
        "{count} pods; {} processes; the last pod has {} and {} sockets",
        node.all(),
        node.processes(count - 1),
        node.sockets(count - 1)
    );
    headings();
    many(&node);
}

/// Listens at these places, and has so many connections with itself at the last of them, until it is ended.
fn hold(connections: &str, listeners: &[String]) {
    let held: Vec<TcpListener> = listeners.iter().map(|at| TcpListener::bind(at).expect("a listener")).collect();
    let last = held.last().expect("one listener");
    let port = last.local_addr().expect("an address").port();
    let connect = |_| {
        let client = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
        (client, last.accept().expect("an accepted half").0)
    };
    let _connected: Vec<_> = (0..connections.parse::<usize>().expect("a count")).map(connect).collect();
    println!("ready");
    loop {
        std::thread::park();
    }
}

/// A node's pods, and who holds sockets in them.
struct Node<'a> {
    lab: &'a CriLab,
    pods: Vec<PodHandle>,
    holders: Vec<Child>,
}

impl Drop for Node<'_> {
    fn drop(&mut self) {
        for holder in &mut self.holders {
            holder.kill().ok();
            holder.wait().ok();
        }
    }
}

impl<'a> Node<'a> {
    fn make(lab: &'a CriLab, count: usize) -> Self {
        Self { lab, pods: Vec::new(), holders: Vec::new() }.grow(count)
    }

    fn grow(mut self, count: usize) -> Self {
        let place = self.lab.place();
        for number in self.pods.len()..count {
            let name = format!("web-{number}");
            let app = ContainerSpec { name: "app", uid: 1000, args: CROWD, ..ContainerSpec::default() };
            let proxy = ContainerSpec { name: "istio-proxy", uid: 1337, args: SLEEP, ..ContainerSpec::default() };
            let pod = self.lab.run_pod(&PodSpec {
                name: &name,
                namespace: "blue",
                labels: &[("app", &name), ("security.istio.io/tlsMode", "istio")],
                annotations: &[(
                    "sidecar.istio.io/status",
                    r#"{"initContainers":["istio-init"],"containers":["istio-proxy"]}"#,
                )],
                containers: &[app, proxy],
                ..PodSpec::default()
            });
            for (program, rules) in RULES {
                let script = format!("{program} <<'END'\n{rules}\nEND");
                runtimes::run(place.beside(pod.sandbox_pid, "sh").args(["-euc", &script]));
            }
            for (container, (user, listeners, connections)) in [("istio-proxy", PROXY), ("app", APP)] {
                self.holders.push(holder(
                    self.lab,
                    (pod.sandbox_pid, pod.pids[container]),
                    user,
                    connections,
                    listeners,
                ));
            }
            self.pods.push(pod);
        }
        self
    }

    fn inside(&self, script: &str) -> Command {
        let mut command = self.lab.place().inside("sh");
        command.args(["-c", script]);
        command
    }

    fn nslens(&self, words: &str) -> Command {
        let mut command = self.lab.place().inside(&*NSLENS);
        command.args(words.split_whitespace());
        command
    }

    fn all(&self) -> String {
        self.lab.place().sh("ls -d /proc/[0-9]* | wc -l").trim().to_owned()
    }

    fn processes(&self, pod: usize) -> String {
        let pid = self.pods[pod].sandbox_pid;
        let script = format!("ls -lL /proc/[0-9]*/ns/net -i 2>/dev/null | grep -c ^$(stat -Lc %i /proc/{pid}/ns/net)");
        self.lab.place().sh(&script).trim().to_owned()
    }

    fn sockets(&self, pod: usize) -> String {
        let mut ss = self.lab.place().beside(self.pods[pod].sandbox_pid, "ss");
        runtimes::run(ss.args(["-tanH"])).lines().count().to_string()
    }
}

/// A program with sockets in a pod: of the container's control group, and with the container's user.
fn holder(lab: &CriLab, (sandbox, container): (u32, u32), user: u32, connections: &str, listeners: &[&str]) -> Child {
    let own = std::env::current_exe().unwrap_or_default();
    let script = format!(
        "cut -d: -f2,3 /proc/{container}/cgroup | while IFS=: read -r names path; do
             for folder in /sys/fs/cgroup/$names /sys/fs/cgroup/unified /sys/fs/cgroup; do
                 if test -n \"$names\" -o \"$folder\" != /sys/fs/cgroup/; then
                     echo $$ 2>/dev/null > $folder$path/cgroup.procs; fi
             done
         done 2>/dev/null
         exec nsenter --net=/proc/{sandbox}/ns/net setpriv --reuid {user} --regid {user} --clear-groups {} hold {connections} {}",
        own.display(),
        listeners.join(" "),
    );
    let mut command = lab.place().inside("sh");
    command.args(["-c", &script]).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("sh can be run");
    let mut line = String::new();
    child.stdout.take().map(|output| BufReader::new(output).read_line(&mut line));
    assert_eq!(line, "ready\n", "the sockets could not be made");
    child
}

fn one(node: &Node<'_>) {
    let pod = &node.pods[0];
    let pid = pod.pids["app"];
    pairs_of_verdicts(
        MANY,
        "check pid/ --once, against rules of the same",
        || node.nslens(&format!("check pid/{pid} --once")),
        || node.nslens(&format!("rules pid/{pid}")),
    );
    pairs_of_verdicts(
        MANY,
        "check pod/ --once, against the runtime's answer alone",
        || node.nslens("check pod/web-0 --once"),
        || node.nslens("list --runtimes"),
    );
}

fn many(node: &Node<'_>) {
    let pids: Vec<String> = node.pods.iter().map(|pod| pod.sandbox_pid.to_string()).collect();
    let save = format!("for pid in {}; do nsenter -t $pid -n iptables-save; done", pids.join(" "));
    let ids: Vec<&str> = node.pods.iter().map(|pod| pod.sandbox.as_str()).collect();
    let inspect = format!(
        "for id in {}; do pid=$(ctr -n k8s.io tasks ls | awk -v id=$id '$1 == id {{ print $2 }}'); \
         nsenter -t $pid -n iptables-save; done",
        ids.join(" ")
    );
    let check = || node.nslens("check -A --once");
    pairs_of_verdicts(FEW, "check -A --once, against a loop of ctr + nsenter + save", check, || node.inside(&inspect));
    pairs_of_verdicts(FEW, "the same, against a loop of nsenter + save alone", check, || node.inside(&save));
    pairs_of_verdicts(FEW, "the same, against the runtime's answer alone", check, || node.nslens("list --runtimes"));
    let own = std::env::current_exe().unwrap_or_default();
    let mut peak = node.lab.place().inside(own);
    let kilobytes = runtimes::run(peak.args(["peak", NSLENS.as_str(), "check", "-A", "--once"]));
    let kilobytes: f64 = kilobytes.trim().parse().unwrap_or(f64::NAN);
    println!("peak memory of check -A --once: {:.1} MB (at most 64 MB)", kilobytes / 1024.0);
    let times: Vec<f64> = (0..FEW)
        .map(|_| {
            let begun = Instant::now();
            node.nslens("check -A").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().ok();
            (begun.elapsed().saturating_sub(Duration::from_secs(1))).as_secs_f64() * 1000.0
        })
        .collect();
    println!("check -A, two samples, beyond the interval of a second: {:.0} ms", median(times));
}

/// Kilobytes that the command took at most.
fn peak(program: &str, arguments: &[String]) {
    Command::new(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status().expect("it can be run");
    println!("{}", getrusage(UsageWho::RUSAGE_CHILDREN).expect("its usage").max_rss());
}
