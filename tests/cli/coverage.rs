//! `coverage` says of a class what `trace` says of each packet of it: the corpus in a made pod, and as text alone.

use nslens::analysis::coverage::{self, Kind};
use nslens::analysis::trace::Tracer;
use nslens::model::{Kind as Workloads, Protocol, Snapshot, Workload};

use crate::corpus::corpus;
use crate::corpus_grid::{cases, pod};
use crate::drawn::{Edges, Numbers, differs, draw};

/// Packets of each kind.
const PACKETS: usize = 60;

/// A protocol that no rule of the corpus names.
const OTHER: Protocol = Protocol::Other(250);

#[test]
fn a_class_says_what_trace_says_of_its_packets() {
    let Some(corpus) = corpus() else { return };
    let only = std::env::var("NSLENS_CASE").ok();
    let (mut packets, mut wrong, mut cases_asked) = (0, Vec::new(), 0);
    for case in cases(&corpus).iter().filter(|case| only.as_ref().is_none_or(|only| case.name.contains(only))) {
        let Some(Ok(rules)) = case.forms.first().map(|form| form.rules()) else { continue };
        cases_asked += 1;
        let mut bare = Snapshot::of("node", 0, "text", Workload::named(Workloads::Pod, "text"));
        (bare.rulesets, bare.unread) = (Some(rules.0.clone()), rules.1.clone());
        let mut wrong_here = 0;
        for (form, snapshot) in [("pod", pod::with(case, rules)), ("text", bare)] {
            let tracer = Tracer::of(&snapshot);
            let before = std::time::Instant::now();
            let coverage = coverage::of(&snapshot);
            let took = before.elapsed();
            assert!(coverage.given_up.is_empty(), "{} {form}: {:?}", case.name, coverage.given_up);
            assert_eq!(coverage.is_exact(&coverage::Narrow::default()), Ok(()), "{} {form}", case.name);
            if took.as_millis() > 400 || only.is_some() {
                eprintln!("{} {form}: {} classes in {took:?}", case.name, coverage.classes.len());
            }
            let mut kinds: Vec<Kind> = coverage.classes.iter().map(|class| class.kind).collect();
            kinds.dedup();
            let mut numbers = Numbers::of(7);
            for kind in kinds {
                let of_kind: Vec<_> = coverage.classes.iter().filter(|class| class.kind == kind).collect();
                let edges = Edges::of(&of_kind, kind.ipv6);
                for _ in 0..PACKETS {
                    let question = draw(&kind, OTHER, &edges, &mut numbers);
                    packets += 1;
                    if let Some(how) = differs(&tracer, &coverage, &kind, &question) {
                        wrong_here += 1;
                        if wrong_here <= 2 {
                            wrong.push(format!("{} {form}: {how}", case.name));
                        }
                    }
                }
            }
        }
        if wrong.len() > 8 {
            break;
        }
    }
    assert!(wrong.is_empty(), "{} of {packets} packets:\n{}", wrong.len(), wrong.join("\n"));
    assert!(cases_asked > 0, "no case");
    eprintln!("{packets} packets of {cases_asked} cases");
}
