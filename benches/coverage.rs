//! What happens to all new connections, by itself: `cargo bench --bench coverage`. Rule sets of meshes in a pod with its routes (those
//! of the corpus, where it is at hand), a node's services, and a long flat chain; what is read and printed does not count.
#![expect(clippy::print_stdout, reason = "figures that criterion does not take are said")]

use std::fmt::Write;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::Instant;

use criterion::Criterion;
use nslens::analysis::coverage;
use nslens::archive::{Loaded, read};
use nslens::model::{Family, Snapshot};
use nslens::syntax::parse_save;

/// Services, each with eight rules.
const SERVICES: u32 = 1000;
/// Rules of the flat chain.
const FLAT: u32 = 10_000;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("coverage");
    group.sample_size(20);
    group.bench_function("istio", |bench| {
        let snapshot = pod(include_str!("../tests/fixtures/istio.v4.rules"));
        bench.iter(|| black_box(coverage::of(&snapshot).classes.len()));
    });
    for name in
        ["istio-sidecar/live-default-1.22", "linkerd/default", "kuma/2.6-install-dns", "docker/container-embedded-dns"]
    {
        let Some(rules) =
            corpus().and_then(|corpus| std::fs::read_to_string(corpus.join(format!("{name}.rules"))).ok())
        else {
            println!("not measured: the corpus has no {name} here");
            continue;
        };
        let snapshot = pod(&rules);
        group.bench_function(name, |bench| bench.iter(|| black_box(coverage::of(&snapshot).classes.len())));
    }
    group.finish();
    for (name, rules) in [("1,000 services, 8,000 rules", services()), ("10,000 rules in one chain", flat())] {
        let snapshot = pod(&rules);
        let before = Instant::now();
        let answer = coverage::of(&snapshot);
        let took = before.elapsed();
        println!(
            "{name}: {took:.2?}, {} classes, {} given up, {}",
            answer.classes.len(),
            answer.given_up.len(),
            memory()
        );
    }
}

/// The pod of the tests, with these rules.
fn pod(rules: &str) -> Snapshot {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/grid/pod.json");
    let bytes = std::fs::read(path).expect("the pod");
    let Ok(Loaded::Snapshot(snapshot)) = read(&bytes, Family::Ip) else { panic!("no snapshot") };
    let mut snapshot = *snapshot;
    snapshot.rulesets = Some(parse_save(rules, Family::Ip).expect("rules"));
    snapshot
}

fn corpus() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus");
    let path = std::env::var_os("NSLENS_CORPUS").map_or(beside, PathBuf::from);
    path.is_dir().then_some(path)
}

/// As kube-proxy writes them: two endpoints each, drawn by chance, and marked for masquerading.
fn services() -> String {
    let (mut heads, mut first, mut rest) = (String::new(), String::new(), String::new());
    for service in 0..SERVICES {
        let cluster = format!("10.96.{}.{}", service / 250, service % 250 + 1);
        let port = 80 + service % 3;
        // Writing to a String cannot fail.
        writeln!(
            heads,
            ":KUBE-SVC-{service:04} - [0:0]\n:KUBE-SEP-{service:04}A - [0:0]\n:KUBE-SEP-{service:04}B - [0:0]"
        )
        .ok();
        writeln!(first, "-A KUBE-SERVICES -d {cluster}/32 -p tcp -m tcp --dport {port} -j KUBE-SVC-{service:04}").ok();
        writeln!(
            rest,
            "-A KUBE-SVC-{service:04} ! -s 10.244.0.0/16 -d {cluster}/32 -p tcp -m tcp --dport {port} -j KUBE-MARK-MASQ"
        )
        .ok();
        writeln!(
            rest,
            "-A KUBE-SVC-{service:04} -m statistic --mode random --probability 0.5 -j KUBE-SEP-{service:04}A"
        )
        .ok();
        writeln!(rest, "-A KUBE-SVC-{service:04} -j KUBE-SEP-{service:04}B").ok();
        for (name, place) in [('A', 1), ('B', 2)] {
            let endpoint = format!("10.244.{}.{}", service / 120, service % 120 * 2 + place);
            writeln!(rest, "-A KUBE-SEP-{service:04}{name} -s {endpoint}/32 -j KUBE-MARK-MASQ").ok();
            writeln!(rest, "-A KUBE-SEP-{service:04}{name} -p tcp -m tcp -j DNAT --to-destination {endpoint}:8080")
                .ok();
        }
    }
    format!(
        "*nat\n:PREROUTING ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n:KUBE-SERVICES - [0:0]\n\
         :KUBE-MARK-MASQ - [0:0]\n:KUBE-POSTROUTING - [0:0]\n{heads}-A PREROUTING -j KUBE-SERVICES\n-A OUTPUT -j KUBE-SERVICES\n\
         -A POSTROUTING -j KUBE-POSTROUTING\n-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000\n\
         -A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN\n-A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0\n\
         -A KUBE-POSTROUTING -j MASQUERADE --random-fully\n{first}{rest}COMMIT\n"
    )
}

/// Distinct ports and networks.
fn flat() -> String {
    let mut rules = "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n".to_owned();
    for rule in 0..FLAT {
        // A step that has no divisor in common with the number of ports comes to each of them once.
        let port = rule * 40_503 % 65_536;
        let network = format!("{}.{}.{}.0/24", 1 + rule % 200, rule / 200 % 256, rule % 256);
        writeln!(rules, "-A INPUT -s {network} -p tcp -m tcp --dport {port} -j DROP").ok();
    }
    rules + "COMMIT\n"
}

/// The most memory that the program had.
fn memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("?").trim();
    format!("{peak} at most")
}
