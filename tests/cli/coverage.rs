//! `coverage`: it says of a class what `trace` says of each packet of it, over the whole corpus in a made pod and as text alone; and
//! the tables that people read, checked in.
//!
//! With `NSLENS_WRITE_COVERAGE` set, `tests/fixtures/coverage` is written anew: read the difference afterwards.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use nslens::analysis::coverage::{self, Coverage, Kind, Narrow};
use nslens::analysis::trace::Tracer;
use nslens::model::{Kind as Workloads, Protocol, Snapshot, Workload};
use nslens::report::{coverage as report, paint::Paint};

use crate::corpus::corpus;
use crate::corpus_grid::{Case, cases, pod};
use crate::drawn::{Edges, Numbers, differs, draw};
use crate::program::say;

/// Packets of each kind; more with `NSLENS_LONG`.
const PACKETS: (usize, usize) = (10, 400);

/// A protocol that no rule of the corpus names.
const OTHER: Protocol = Protocol::Other(250);

/// Width of the tables.
const WIDTH: usize = 100;

const STALE: &str = "is stale: NSLENS_WRITE_COVERAGE=1 cargo test --test cli coverage, and read the difference";

/// What is found in all cases.
#[derive(Default)]
struct Found {
    packets: usize,
    cases: usize,
    wrong: Vec<String>,
    /// Tables by the mesh and the case.
    tables: BTreeMap<String, BTreeMap<String, String>>,
}

/// What is wrong with a coverage, where something is: packets drawn at the edges of its classes are traced.
fn compare(snapshot: &Snapshot, coverage: &Coverage<'_>, seed: u64, wrong: &mut Vec<String>) -> usize {
    let tracer = Tracer::of(snapshot);
    if !coverage.given_up.is_empty() {
        wrong.push(format!("given up: {:?}", coverage.given_up));
    }
    if let Err(how) = coverage.is_exact(&Narrow::default()) {
        wrong.push(format!("{how:?}"));
    }
    let mut kinds: Vec<Kind> = coverage.classes.iter().map(|class| class.kind).collect();
    kinds.dedup();
    let each = if std::env::var_os("NSLENS_LONG").is_some() { PACKETS.1 } else { PACKETS.0 };
    let (mut numbers, mut packets) = (Numbers::of(seed), 0);
    for kind in kinds {
        let of_kind: Vec<_> = coverage.classes.iter().filter(|class| class.kind == kind).collect();
        let edges = Edges::of(&of_kind, kind.ipv6);
        for _ in 0..each {
            let question = draw(&kind, OTHER, &edges, &mut numbers);
            packets += 1;
            wrong.extend(differs(&tracer, coverage, &kind, &question));
        }
    }
    packets
}

fn ask(case: &Case, found: &Mutex<Found>) {
    let Some(Ok(rules)) = case.forms.first().map(|form| form.rules()) else { return };
    let mut bare = Snapshot::of("node", 0, "text", Workload::named(Workloads::Pod, "text"));
    (bare.rulesets, bare.unread) = (Some(rules.0.clone()), rules.1.clone());
    let pod = pod::with(case, rules);
    let (mut wrong, mut packets) = (Vec::new(), 0);
    let of_pod = coverage::of(&pod);
    packets += compare(&pod, &of_pod, 7, &mut wrong);
    packets += compare(&bare, &coverage::of(&bare), 11, &mut wrong);
    let blocks = report::blocks(&pod, &of_pod, false);
    let table = report::text(&blocks, Paint::new(false), WIDTH);
    let mut found = found.lock().expect("whole");
    found.cases += 1;
    found.packets += packets;
    found.wrong.extend(wrong.into_iter().take(2).map(|how| format!("{}: {how}", case.name)));
    let mesh = case.name.split('/').next().unwrap_or_default().to_owned();
    found.tables.entry(mesh).or_default().insert(case.name.clone(), table);
}

#[test]
fn a_class_says_what_trace_says_of_its_packets_and_tables_are_those_that_were_read() {
    let Some(corpus) = corpus() else { return };
    let cases = cases(&corpus);
    let (found, next) = (Mutex::new(Found::default()), Mutex::new(cases.iter()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let Some(case) = next.lock().expect("whole").next() else { break };
                    ask(case, &found);
                }
            });
        }
    });
    let found = found.into_inner().expect("whole");
    let first: Vec<&String> = found.wrong.iter().take(5).collect();
    assert!(found.wrong.is_empty(), "{} wrong, the first of them: {first:#?}", found.wrong.len());
    assert!(found.cases > 100 && found.packets > 10_000, "{} cases, {} packets", found.cases, found.packets);
    say(&format!("{} packets at the edges of classes, {} cases: as trace says", found.packets, found.cases));
    let write = std::env::var_os("NSLENS_WRITE_COVERAGE").is_some();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/coverage");
    for (mesh, tables) in &found.tables {
        let text: String = tables.iter().map(|(name, table)| format!("## {name}\n\n{table}\n")).collect();
        let path: PathBuf = folder.join(format!("{mesh}.txt"));
        if write {
            std::fs::create_dir_all(&folder).expect("a folder");
            std::fs::write(&path, text).expect("written");
            continue;
        }
        let known = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(known == text, "{} {STALE}", path.display());
    }
}
