//! What differs in effect: forms of one rule set do the same, and a set with one thing changed does the same just where every packet
//! says so. `trace` is asked, packet by packet.
//!
//! `NSLENS_EFFECTS=kuma/` looks at all cases whose names hold this.

use std::collections::BTreeMap;
use std::sync::Mutex;

use nslens::analysis::coverage::{self, Area, Coverage, Kind, Narrow};
use nslens::analysis::diff::{Effects, effects};
use nslens::analysis::trace::{Question, Tracer};
use nslens::model::{Protocol, Snapshot};

use crate::corpus::corpus;
use crate::corpus_grid::{Case, cases, pod};
use crate::drawn::{Edges, Numbers, draw, ends};
use crate::mutants::{mutants, rules, texts};
use crate::program::say;

/// A protocol that no rule of the corpus names.
const OTHER: Protocol = Protocol::Other(250);

/// What is found in all cases.
#[derive(Default)]
struct Found {
    counts: BTreeMap<String, usize>,
    wrong: Vec<String>,
}

impl Found {
    fn count(&mut self, what: &str, by: usize) {
        *self.counts.entry(what.to_owned()).or_default() += by;
    }
}

/// Asks about all cases that are wanted, two at a time.
fn each(cases: &[&Case], of: impl Fn(&Case) -> Found + Sync) -> Found {
    let (all, next) = (Mutex::new(Found::default()), Mutex::new(cases.iter()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let Some(case) = next.lock().expect("whole").next() else { break };
                    let found = of(case);
                    let mut all = all.lock().expect("whole");
                    found.counts.iter().for_each(|(what, by)| all.count(what, *by));
                    all.wrong.extend(found.wrong);
                }
            });
        }
    });
    all.into_inner().expect("whole")
}

fn wanted(cases: &[Case]) -> Vec<&Case> {
    let only = std::env::var("NSLENS_EFFECTS").ok();
    cases.iter().filter(|case| only.as_ref().is_none_or(|only| case.name.contains(only.as_str()))).collect()
}

/// The first differences in words.
fn shown(effects: &Effects<'_>) -> String {
    let words = effects.differences.iter().take(2).map(|one| {
        let end = |outcomes: &[coverage::Outcome<'_>]| -> Vec<String> {
            outcomes
                .iter()
                .map(|it| {
                    format!("{} {:?} {:?} by {:?} {:?}", it.verdict.word(), it.destination, it.port, it.rule, it.why)
                })
                .collect()
        };
        let (certain, because) = (one.certain, &one.because);
        format!(
            "{:?} {:?}\n  before {:#?}\n  after {:#?}\n  certain {certain} {because:?}",
            one.kind,
            one.area,
            end(&one.before),
            end(&one.after)
        )
    });
    let first: Vec<String> = words.collect();
    format!("{} differences, {:?} given up\n{}", effects.differences.len(), effects.given_up, first.join("\n"))
}

#[test]
fn every_form_of_a_rule_set_does_the_same() {
    let Some(corpus) = corpus() else { return };
    let cases = cases(&corpus);
    let found = each(&wanted(&cases), |case| {
        let mut found = Found::default();
        let pods: Vec<(&str, Snapshot)> = case
            .forms
            .iter()
            .filter_map(|form| Some((form.word, form.rules().ok()?)))
            .map(|(word, rules)| (word, pod::with(case, rules)))
            .collect();
        let Some(((one, before), others)) = pods.split_first() else { return found };
        for (other, after) in others {
            // nft 1.0.6 lists its rule about tracking without what makes it one.
            if case.name == "kube-proxy/iptables-services" && *other == "nft-list" {
                continue;
            }
            let effects = effects(before, after, &Narrow::default());
            found.count("pairs", 1);
            found.count("of which what nft does not list makes it open", effects.is_open().into());
            // What nft cuts short is not known from its list.
            let cut = |word: &str| word.starts_with("nft-");
            if effects.differs() || effects.is_open() && !cut(one) && !cut(other) {
                found.wrong.push(format!("{}: {one} and {other}: {}", case.name, shown(&effects)));
            }
        }
        found
    });
    assert!(found.wrong.is_empty(), "{} wrong:\n{}", found.wrong.len(), found.wrong.join("\n\n"));
    say(&format!("{:?}: each pair of forms does the same", found.counts));
    assert!(std::env::var_os("NSLENS_EFFECTS").is_some() || found.counts["pairs"] > 300, "{:?}", found.counts);
}

/// Draws so many packets of each kind, half of them at the edges of classes: how many, and those of which `trace` says another thing than
/// is found.
fn traced(
    (before, of_before): (&Snapshot, &Coverage<'_>),
    (after, of_after): (&Snapshot, &Coverage<'_>),
    effects: &Effects<'_>,
    each: usize,
) -> (usize, Vec<String>) {
    let tracers = [Tracer::of(before), Tracer::of(after)];
    let mut kinds: Vec<Kind> = of_before.classes.iter().chain(&of_after.classes).map(|class| class.kind).collect();
    kinds.dedup();
    let (mut numbers, mut packets, mut wrong) = (Numbers::of(23), 0, Vec::new());
    for kind in kinds {
        let classes = of_before.classes.iter().chain(&of_after.classes).filter(|class| class.kind == kind);
        let edges = Edges::of(&classes.collect::<Vec<_>>(), kind.ipv6);
        for _ in 0..each {
            let question = draw(&kind, OTHER, &edges, &mut numbers);
            let [one, other] = tracers.each_ref().map(|tracer| ends(&tracer.trace(&question)));
            packets += 1;
            let here: Vec<bool> = effects
                .differences
                .iter()
                .filter(|difference| difference.kind == kind && holds(&difference.area, &kind, &question))
                .map(|difference| difference.certain)
                .collect();
            let right = match here.as_slice() {
                [] => one == other,
                [true] => one != other || one.len() > 1,
                [false] => true,
                _ => false,
            };
            if !right {
                wrong.push(format!("{question:?}\n  {one:?}\n  {other:?}\n  found {here:?}"));
            }
        }
    }
    (packets, wrong)
}

fn holds(area: &Area, kind: &Kind, question: &Question) -> bool {
    let ports = question.source_port.map(|from| (from, question.destination.port));
    area.holds_ends(question.source, question.destination.address, ports)
        && (kind.incoming || area.holds_owner(question.uid.expect("told"), question.gid.expect("told"), question.mark))
}

/// Cases whose rule sets are changed rule by rule.
const CHANGED: [&str; 8] = [
    "istio-sidecar/live-default-1.22",
    "linkerd/default",
    "kuma/2.7-dns-nft",
    "consul/k8s-default",
    "istio-ambient/virtual-interfaces",
    "docker/container-embedded-dns",
    "linkerd/nft-experiment",
    "app-mesh/route-manager-defaults",
];

#[test]
fn a_changed_rule_set_does_the_same_just_where_every_packet_says_so() {
    let Some(corpus) = corpus() else { return };
    let cases = cases(&corpus);
    let all = std::env::var_os("NSLENS_EFFECTS").is_some();
    let chosen: Vec<&Case> =
        wanted(&cases).into_iter().filter(|case| all || CHANGED.contains(&case.name.as_str())).collect();
    assert!(all || chosen.len() == CHANGED.len(), "a case is not in the corpus");
    let found = each(&chosen, changed);
    say(&format!("{:?}", found.counts));
    assert!(
        found.wrong.is_empty(),
        "{} wrong:\n{}",
        found.wrong.len(),
        found.wrong[..found.wrong.len().min(5)].join("\n\n")
    );
    assert!(all || found.counts["packets traced"] > 100_000, "{:?}", found.counts);
}

fn changed(case: &Case) -> Found {
    let mut found = Found::default();
    let texts = texts(case);
    let Some(whole) = rules(&texts) else { return found };
    let good = pod::with(case, whole);
    let mutants = mutants(&texts);
    let others: Vec<Snapshot> = mutants.iter().map(|mutant| pod::with(case, mutant.rules.clone())).collect();
    for (mutant, other) in mutants.iter().zip(&others) {
        found.count("of them as tools load them", mutant.texts.is_some().into());
        pair(&format!("{} {} {}", case.name, mutant.kind, mutant.what), &good, other, &mut found);
    }
    // And each with another one, whichever that is.
    for (at, one) in others.iter().enumerate().step_by(2) {
        let other = (at * 7 + 3) % others.len();
        pair(&format!("{} mutants {at} and {other}", case.name), one, &others[other], &mut found);
    }
    found
}

/// Whether two rule sets in the same pod differ just where packets do.
fn pair(name: &str, good: &Snapshot, other: &Snapshot, found: &mut Found) {
    let effects = effects(good, other, &Narrow::default());
    let (of_good, of_other) = (coverage::of(good), coverage::of(other));
    let each = if effects.differs() { 60 } else { 120 };
    let (packets, wrong) = traced((good, &of_good), (other, &of_other), &effects, each);
    found.count("packets traced", packets);
    found.wrong.extend(wrong.first().map(|first| format!("{name}: {} wrong, such as {first}", wrong.len())));
    found.count(
        match (effects.differs(), effects.is_open()) {
            (true, _) => "different",
            (_, true) => "cannot tell",
            _ => "same",
        },
        1,
    );
    let tracers = [Tracer::of(good), Tracer::of(other)];
    for difference in effects.differences.iter().filter(|difference| difference.certain) {
        let [one, two] = &difference.example;
        let (one, two) = (ends(&tracers[0].trace(one)), ends(&tracers[1].trace(two)));
        found.count("examples traced", 1);
        if one == two && one.len() == 1 {
            found.wrong.push(format!("{name}: the example does not differ: {:?}\n{one:?}", difference.example[0]));
        }
    }
}
