//! What differs in effect, asked of the kernel: rule sets of the corpus do the same in both backends, and where a changed one is said to do
//! another thing with a packet, the kernel does.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Duration;

use nslens::analysis::coverage::{Narrow, usual};
use nslens::analysis::diff::{Difference, Effects, effects};
use nslens::analysis::trace::{Question, Tracer};
use nslens::model::{Protocol, Snapshot};

use crate::corpus_grid::{Case, cases, pod};
use crate::grid::{is_so, load, load_texts, stage};
use crate::mutants::{Mutant, mutants, texts};
use crate::rules::corpus;
use crate::support::require_root;
use crate::traffic::{Place, Properties, Sent, Stage};

/// Differences of a changed rule set whose packets are sent.
const SENT: usize = 4;

/// What is found in all cases.
#[derive(Default)]
struct Found {
    counts: BTreeMap<&'static str, usize>,
    wrong: Vec<String>,
}

fn each<T: Sync>(all: &[T], of: impl Fn(&T, &Mutex<Found>) + Sync) -> Found {
    let (found, next) = (Mutex::new(Found::default()), Mutex::new(all.iter()));
    let take = || next.lock().expect("the list").next();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(one) = take() {
                    of(one, &found);
                }
            });
        }
    });
    found.into_inner().expect("what was found")
}

fn count(found: &Mutex<Found>, what: &'static str) {
    *found.lock().expect("what was found").counts.entry(what).or_default() += 1;
}

fn wrong(found: &Mutex<Found>, what: String) {
    found.lock().expect("what was found").wrong.push(what);
}

fn first(effects: &Effects<'_>) -> String {
    let words = |difference: &Difference<'_>| {
        let end = |outcomes: &[nslens::analysis::coverage::Outcome<'_>]| -> Vec<String> {
            outcomes.iter().map(|one| format!("{} {:?} by {:?}", one.verdict.word(), one.port, one.rule)).collect()
        };
        format!("{:?}: {:?} | {:?}", difference.example[0], end(&difference.before), end(&difference.after))
    };
    effects.differences.first().map(words).unwrap_or_default()
}

#[test]
#[expect(clippy::print_stderr, reason = "the counts are wanted, also where all is well")]
fn what_loads_in_both_backends_does_the_same_in_both() {
    if !require_root() {
        return;
    }
    let Some(corpus) = corpus() else { return };
    let cases: Vec<Case> = cases(&corpus).into_iter().filter(|case| case.forms[0].word != "nft").collect();
    let found = each(&cases, |case, found| {
        let stages = ["legacy", "nft"].map(|backend| {
            let stage = stage(case);
            let (_, errors) = load(&stage, case, backend);
            (stage, errors)
        });
        if stages.iter().any(|(_, errors)| !errors.is_empty()) {
            return count(found, "do not load in both");
        }
        let [before, after] = stages.each_ref().map(|(stage, _)| stage.snapshot());
        let effects = effects(&before, &after, &Narrow::default());
        count(found, "the same in both");
        if effects.differs() || effects.is_open() || effects.kinds == 0 {
            wrong(
                found,
                format!("{}: {} differences, such as {}", case.name, effects.differences.len(), first(&effects)),
            );
        }
    });
    eprintln!("{:?}", found.counts);
    assert!(found.wrong.is_empty(), "{}", found.wrong.join("\n"));
    assert!(found.counts["the same in both"] > 100, "{:?}", found.counts);
}

/// Cases of which every changed form is loaded.
const CHANGED: [&str; 3] = ["istio-sidecar/live-default-1.22", "kuma/2.6-install-defaults", "linkerd/nft-experiment"];

#[test]
#[expect(clippy::print_stderr, reason = "the counts are wanted, also where all is well")]
fn where_a_changed_rule_set_is_said_to_differ_the_kernel_does_another_thing() {
    if !require_root() {
        return;
    }
    let Some(corpus) = corpus() else { return };
    let all = cases(&corpus);
    let chosen: Vec<&Case> = CHANGED.iter().filter_map(|name| all.iter().find(|case| case.name == *name)).collect();
    assert_eq!(chosen.len(), CHANGED.len(), "a case is not in the corpus");
    let work: Vec<(&Case, Mutant)> =
        chosen.iter().flat_map(|case| mutants(&texts(case)).into_iter().map(|mutant| (*case, mutant))).collect();
    let found = each(&work, |(case, mutant), found| {
        let Some(changed) = &mutant.texts else { return };
        let (mut good, mut other) = (stage(case), stage(case));
        let loaded = [load(&good, case, "nft"), load_texts(&other, changed, "legacy")];
        if loaded.iter().any(|(_, errors)| !errors.is_empty()) {
            return count(found, "changed sets that do not load");
        }
        let name = format!("{} {} {}", case.name, mutant.kind, mutant.what);
        let differs = one(&name, (&mut good, &mut other), found);
        // The texts alone, in a made pod, say so too.
        let texts = case.forms[0].rules().ok().map(|rules| pod::with(case, rules));
        let made =
            texts.map(|good| effects(&good, &pod::with(case, mutant.rules.clone()), &Narrow::default()).differs());
        if made != Some(differs) {
            wrong(found, format!("{name}: differs {differs}, by the texts {made:?}"));
        }
    });
    eprintln!("{:?}", found.counts);
    assert!(found.wrong.is_empty(), "{} wrong:\n{}", found.wrong.len(), found.wrong.join("\n"));
    assert!(found.counts["packets that end otherwise"] > 50, "{:?}", found.counts);
}

/// Whether it is said to differ.
fn one(name: &str, (good, other): (&mut Stage, &mut Stage), found: &Mutex<Found>) -> bool {
    let (before, after) = (good.snapshot(), other.snapshot());
    let effects = effects(&before, &after, &Narrow::default());
    count(found, if effects.differs() { "changed sets that differ" } else { "changed sets that do the same" });
    let can_be_sent = |difference: &&Difference<'_>| {
        let ends = [&difference.before, &difference.after].iter().all(|ends| ends.len() == 1);
        let usual = difference.area.within(&usual(&before, &difference.kind, &[]), difference.kind.ipv6);
        usual.is_some()
            && ends
            && difference.certain
            && matches!(difference.kind.protocol, Some(Protocol::Tcp | Protocol::Udp))
    };
    for difference in effects.differences.iter().filter(can_be_sent).take(SENT) {
        let [packet, seen] = &difference.example;
        let told = [
            as_said(good, &before, packet),
            as_said(other, &after, seen),
            // And it is not what the other one is said to do: the kernel does differ.
            as_said(good, &after, packet).err().map_or(Err("the same in both".to_owned()), |_| Ok(())),
        ];
        count(found, "packets that end otherwise");
        for told in told.into_iter().filter_map(Result::err) {
            wrong(found, format!("{name}: {packet:?}: {told}"));
        }
    }
    effects.differs()
}

/// Whether the kernel does with a packet what is said of it; else what it does.
fn as_said(stage: &mut Stage, snapshot: &Snapshot, question: &Question) -> Result<(), String> {
    let trace = Tracer::of(snapshot).trace(question);
    let properties = Properties {
        uid: question.uid.unwrap_or_default(),
        gid: question.gid.unwrap_or_default(),
        mark: question.mark,
        transparent: question.incoming,
        ..Properties::default()
    };
    let sent = Sent {
        from: if question.incoming { Place::Ext } else { Place::Pod },
        protocol: question.protocol,
        source: question.source.map(|source| SocketAddr::new(source, 0)),
        to: SocketAddr::new(question.destination.address, question.destination.port),
        socket: properties,
    };
    let mut last = String::new();
    for wait in [0, 50] {
        std::thread::sleep(Duration::from_millis(wait));
        let arrived = stage.send(&sent);
        if trace.outcomes.iter().any(|outcome| is_so(stage, &trace, outcome, &sent, &arrived)) {
            return Ok(());
        }
        last = format!("said {:?}, is {:?} {:?} {:?}", trace.verdict(), arrived.told, arrived.by, arrived.wire);
    }
    Err(last)
}
