//! What happens to all new connections, by itself: `cargo bench --bench coverage`. Rule sets of meshes in a pod with its routes (those
//! of the corpus, where it is at hand), a node's services, and a long flat chain; what is read and printed does not count.
#![expect(clippy::print_stdout, reason = "figures that criterion does not take are said")]

#[path = "made/services.rs"]
mod made;

use std::fmt::Write;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::Instant;

use criterion::Criterion;
use made::services;
use nslens::analysis::coverage;
use nslens::archive::{Loaded, read};
use nslens::model::{Family, Snapshot};
use nslens::syntax::parse_save;

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
