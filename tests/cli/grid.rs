//! The corpus in a made pod: what is said of the same packets under every rule set, checked in to be read by people.
//!
//! With `NSLENS_WRITE_GRID` set, `tests/fixtures/grid` is written anew: read the difference afterwards. How to read it and what was
//! found on reading is in its README.

mod text;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use nslens::analysis::trace::{Tracer, Verdict};
use nslens::model::Snapshot;

use crate::corpus::corpus;
use crate::corpus_grid::{Block, Case, Cell, Form, Told, cases, pod, rows, told};
use crate::program::say;

const STALE: &str = "is stale: NSLENS_WRITE_GRID=1 cargo test --test cli grid, and read the difference";

/// Packets by what is said of them.
#[derive(Default)]
struct Count {
    cases: usize,
    forms: usize,
    packets: usize,
    verdicts: BTreeMap<&'static str, usize>,
    /// By case, how many are undecided.
    undecided: BTreeMap<String, usize>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/grid")
}

/// What is said of all packets of a block.
fn ask(tracer: &Tracer<'_>, block: &Block, mut count: impl FnMut(Verdict)) -> BTreeMap<Cell, Told> {
    let one = |cell| {
        let trace = tracer.trace(&block.question(cell));
        // None without an answer.
        assert!(!trace.outcomes.is_empty(), "{:?}", block.question(cell));
        count(trace.verdict());
        (cell, told(&trace))
    };
    block.cells().map(one).collect()
}

/// What stands in the file of a case.
fn page(case: &Case, count: &Mutex<Count>) -> String {
    let mut out = format!("## {}\n", case.name);
    let read: Vec<(&Form, Result<Snapshot, String>)> =
        case.forms.iter().map(|form| (form, form.rules().map(|rules| pod::with(case, rules)))).collect();
    for (form, error) in read.iter().filter_map(|(form, read)| Some((form, read.as_ref().err()?))) {
        writeln!(out, "{} is refused: {error}", form.word).expect("text");
    }
    let good: Vec<(&Form, &Snapshot)> =
        read.iter().filter_map(|(form, read)| Some((*form, read.as_ref().ok()?))).collect();
    let Some(((first, snapshot), others)) = good.split_first() else { return out };
    if let Some((mark, mask, table)) = pod::policy(case) {
        writeln!(out, "beside the rules: fwmark {mark:#x}/{mask:#x} lookup {table}, where all is local").expect("text");
    }
    let listening = pod::listening(&case.named());
    writeln!(out, "listening: {}", numbers(&listening)).expect("text");
    let tracer = Tracer::of(snapshot);
    let others: Vec<(&Form, Tracer<'_>)> = others.iter().map(|(form, other)| (*form, Tracer::of(other))).collect();
    let mut differences: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let (mut body, mut packets) = (String::new(), 0);
    let long = std::env::var_os("NSLENS_LONG").is_some();
    let mut verdicts: BTreeMap<&str, usize> = BTreeMap::new();
    let none = pod::with(case, (Vec::new(), Vec::new()));
    let without = Tracer::of(&none);
    for block in case.blocks() {
        let said = ask(&tracer, &block, |verdict| *verdicts.entry(verdict.word()).or_default() += 1);
        packets += said.len();
        let shown = text::shown(&block, &listening, &said);
        let rows = rows::rows(&block, &shown);
        let asked = if long { block.cells().collect() } else { rows::few(&rows) };
        for (form, other) in &others {
            differences.entry(form.word).or_default().extend(differ(&block, &said, &asked, other));
        }
        if said.iter().all(|(cell, told)| told == &told_of(&without, &block, *cell)) {
            writeln!(body, "  {}: as without rules", block.title()).expect("text");
        } else {
            write!(body, "  {}\n{}", block.title(), text::lines(&block, &rows, &shown)).expect("text");
        }
    }
    let alike: Vec<&str> =
        others.iter().map(|(form, _)| form.word).filter(|word| differences[word].is_empty()).collect();
    writeln!(out, "said of: {}", [&[first.word], alike.as_slice()].concat().join(" = ")).expect("text");
    for (form, found) in differences.iter().filter(|(_, found)| !found.is_empty()) {
        writeln!(out, "{form} says less or else, as {}", found[0]).expect("text");
    }
    let mut count = count.lock().expect("a count");
    (count.cases, count.forms, count.packets) = (count.cases + 1, count.forms + good.len(), count.packets + packets);
    for (verdict, number) in verdicts {
        if verdict == Verdict::Undecided.word() {
            count.undecided.insert(case.name.clone(), number);
        }
        *count.verdicts.entry(verdict).or_default() += number;
    }
    out + &body
}

fn numbers(ports: &[u16]) -> String {
    ports.iter().map(u16::to_string).collect::<Vec<_>>().join(" ")
}

fn told_of(tracer: &Tracer<'_>, block: &Block, cell: Cell) -> Told {
    told(&tracer.trace(&block.question(cell)))
}

/// Packets of which two forms say different things, whatever rule they name: rules have other numbers there.
fn differ(block: &Block, said: &BTreeMap<Cell, Told>, asked: &[Cell], other: &Tracer<'_>) -> Vec<String> {
    let plain = |told: &Told| {
        let undecided = told.becomes.starts_with("undecided");
        if undecided { "undecided".to_owned() } else { told.becomes.clone() }
    };
    let name = |[who, place, port]: Cell| {
        let (protocol, port) = block.ports[port];
        format!("{} {} to {} {protocol} {port}", block.title(), block.who[who].label, block.places[place].label)
    };
    let pairs = asked.iter().map(|cell| (*cell, plain(&said[cell]), plain(&told_of(other, block, *cell))));
    let different = pairs.filter(|(_, one, other)| one != other);
    different.map(|(cell, one, other)| format!("{}: {one}, there {other}", name(cell))).collect()
}

#[test]
fn what_is_said_of_every_packet_is_checked_in() {
    let Some(corpus) = corpus() else { return };
    let cases = cases(&corpus);
    let count = Mutex::new(Count::default());
    let pages = Mutex::new(BTreeMap::new());
    let next = Mutex::new(cases.iter());
    let take = || next.lock().expect("the list").next();
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                while let Some(case) = take() {
                    let page = page(case, &count);
                    pages.lock().expect("the pages").insert(case.name.clone(), page);
                }
            });
        }
    });
    let mut files: BTreeMap<String, String> = BTreeMap::new();
    for (name, page) in pages.into_inner().expect("the pages") {
        let mesh = name.split('/').next().unwrap_or_default();
        let file = files.entry(format!("{mesh}.txt")).or_default();
        if !file.is_empty() {
            file.push('\n');
        }
        file.push_str(&page);
    }
    let count = count.into_inner().expect("a count");
    say(&format!("{} cases in {} forms, {} packets: {:?}", count.cases, count.forms, count.packets, count.verdicts));
    say(&format!("undecided: {:?}", count.undecided));
    let write = std::env::var_os("NSLENS_WRITE_GRID").is_some();
    for (name, page) in &files {
        let path = folder().join(name);
        if write {
            std::fs::write(&path, page).expect("written");
        }
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        let differs = kept.lines().zip(page.lines()).find(|(kept, now)| kept != now);
        assert!(kept == *page, "tests/fixtures/grid/{name} {STALE}\n{differs:?}");
    }
}
