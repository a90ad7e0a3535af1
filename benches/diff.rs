//! What differs in effect: `cargo bench --bench diff`. Two Istio pods, the whole process from their snapshots, beside what a user would run
//! instead, which tells texts apart only; and a node's services that differ in one rule.
#![expect(clippy::print_stdout, reason = "figures that criterion does not take are said")]

#[path = "made/services.rs"]
mod made;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use std::time::Instant;

use criterion::Criterion;
use made::services;
use nslens::analysis::coverage::Narrow;
use nslens::analysis::diff::{effects, rules};
use nslens::archive::{Loaded, read, write};
use nslens::model::{Family, Snapshot};
use nslens::syntax::parse_save;

static NSLENS: LazyLock<String> =
    LazyLock::new(|| std::env::var("NSLENS_PROGRAM").unwrap_or_else(|_| env!("CARGO_BIN_EXE_nslens").to_owned()));

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let folder = tempfile::tempdir().expect("a folder");
    let istio = include_str!("../tests/fixtures/istio.v4.rules");
    let without = istio.replace("-A ISTIO_OUTPUT -m owner --uid-owner 1337 -j RETURN\n", "");
    assert!(without.len() < istio.len(), "it has the rule");
    let files: Vec<PathBuf> =
        [("good", istio), ("bad", &without)].map(|(name, text)| saved(folder.path(), name, text)).to_vec();
    let texts: Vec<PathBuf> = [("good.rules", istio), ("bad.rules", &without)]
        .map(|(name, text)| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).expect("written");
            path
        })
        .to_vec();
    let mut group = criterion.benchmark_group("two Istio pods");
    group.sample_size(40);
    group.bench_function("nslens diff --effect", |bench| {
        bench.iter(|| run(&NSLENS, &["diff", "--effect", "-q"], &files))
    });
    group.bench_function("nslens diff", |bench| bench.iter(|| run(&NSLENS, &["diff", "-q"], &files)));
    group.bench_function("diff of two iptables-save texts", |bench| bench.iter(|| run("diff", &[], &texts)));
    group.finish();
    let all = services();
    let endpoint = "--to-destination 10.244.4.81:8080";
    assert!(all.contains(endpoint), "it has the rule");
    let [before, after] = [&all, &all.replace(endpoint, "--to-destination 10.244.99.1:8080")].map(|text| pod(text));
    let start = Instant::now();
    let found = effects(&before, &after, &Narrow::default());
    println!(
        "8,000 rules that differ in one, by effect: {:.2?}, {} differences, certain: {}",
        start.elapsed(),
        found.differences.len(),
        found.differs()
    );
    let start = Instant::now();
    let changes = rules(&before, &after).changes.len();
    println!("the same by rules: {:.2?}, {changes} differences; {}", start.elapsed(), memory());
}

fn run(program: &str, words: &[&str], files: &[PathBuf]) {
    let done = Command::new(program).args(words).args(files).output().expect("it starts");
    assert_eq!(done.status.code(), Some(1), "{}", String::from_utf8_lossy(&done.stderr));
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

fn saved(folder: &Path, name: &str, rules: &str) -> PathBuf {
    let path = folder.join(format!("{name}.json"));
    let mut bytes = Vec::new();
    write(&pod(rules), false, &mut bytes).expect("written");
    std::fs::write(&path, bytes).expect("written");
    path
}

/// The most memory that the program had.
fn memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("?").trim();
    format!("{peak} at most")
}
