//! Which mesh is expected, by rules, metadata and processes: over the corpus, over changed rules, and over made-up workloads.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use nslens::analysis::mesh::{Captured, Contradiction, Expected, Lane, Mesh, Mode, Picked, Variant, expected};
use nslens::archive::{self, Loaded};
use nslens::model::{Container, Family, Kind, Snapshot, Workload};

use crate::corpus::{corpus, files};
use crate::program::say;

/// The reviewed table: what each case of the corpus is, by its description there.
const REVIEWED: &str = include_str!("../fixtures/mesh/corpus.txt");

fn read(text: &str, family: Family) -> Option<Snapshot> {
    let mut snapshot = Snapshot::of("node", 0, "case", Workload::named(Kind::File, "case"));
    match archive::read(text.as_bytes(), family).ok()? {
        Loaded::Rules(rulesets, unread) => (snapshot.rulesets, snapshot.unread) = (Some(rulesets), unread),
        Loaded::Snapshot(_) => return None,
    }
    Some(snapshot)
}

fn ranges<T: std::fmt::Display + PartialEq>(ranges: impl IntoIterator<Item = (T, T)>) -> String {
    let text = |(from, to): (T, T)| if from == to { from.to_string() } else { format!("{from}-{to}") };
    ranges.into_iter().map(text).collect::<Vec<_>>().join(",")
}

fn picked(picked: &Picked) -> String {
    let mut out = Vec::new();
    let ports = ranges(picked.ports.iter().copied());
    out.extend((!ports.is_empty()).then_some(ports));
    out.extend(picked.networks.iter().cloned());
    out.join(",")
}

fn lane(lane: &Lane) -> String {
    let captured = match lane.captured {
        Captured::All => "all",
        Captured::Some => "some",
        Captured::Nothing => "none",
        Captured::Dropped => "dropped",
        Captured::Undecided => "undecided",
    };
    let mut out = format!("{captured}:{}", lane.port.map_or("-".to_owned(), |port| port.to_string()));
    let (excluded, included) = (picked(&lane.excluded), picked(&lane.included));
    if !excluded.is_empty() {
        let _ = write!(out, "!{excluded}");
    }
    if !included.is_empty() {
        let _ = write!(out, "+{included}");
    }
    out
}

/// `istio sidecar redirect native out=… in=… dns=… uid=… gid=… mark=…`
fn line(found: &Expected, ipv6: bool) -> String {
    let mut out = vec![found.mesh.map_or("-", Mesh::word).to_owned()];
    out.push(found.variant.map_or("-", Variant::word).to_owned());
    out.push(found.mode.map_or("-", Mode::word).to_owned());
    out.extend(found.native.then(|| "native".to_owned()));
    if let Some(family) = found.family(ipv6).filter(|_| found.mesh.is_some()) {
        out.push(format!("out={}", lane(&family.outbound)));
        out.push(format!("in={}", lane(&family.inbound)));
        out.extend(family.dns.as_ref().map(|dns| format!("dns={}", dns.port.map_or("-".to_owned(), |port| port.to_string()))));
        let mut exempt = |name: &str, text: String| out.extend((!text.is_empty()).then(|| format!("{name}={text}")));
        exempt("uid", ranges(found.exempt.uids.iter().copied()));
        exempt("gid", ranges(found.exempt.gids.iter().copied()));
        let marks = found.exempt.marks.iter().map(|(mark, mask)| format!("{mark:#x}/{mask:#x}"));
        exempt("mark", marks.collect::<Vec<_>>().join(","));
    }
    out.extend(found.bystanders.iter().map(|name| format!("[{name}]")));
    out.join(" ")
}

#[test]
fn every_case_of_the_corpus_is_what_it_is_said_to_be() {
    let Some(corpus) = corpus() else { return };
    let reviewed: BTreeMap<&str, &str> =
        REVIEWED.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(": ")).collect();
    let (mut wrong, mut cases, mut unread) = (Vec::new(), 0, 0);
    for path in files(&corpus, &[".rules", ".nft"]) {
        let name = path.strip_prefix(&corpus).unwrap_or(&path).to_string_lossy().into_owned();
        let ipv6 = name.contains(".v6.");
        let text = std::fs::read_to_string(&path).expect("text");
        let Some(snapshot) = read(&text, if ipv6 { Family::Ip6 } else { Family::Ip }) else {
            unread += 1;
            continue;
        };
        cases += 1;
        let got = line(&expected(&snapshot), ipv6);
        if reviewed.get(&*name) != Some(&&*got) {
            wrong.push(format!("{name}: {got}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {cases} differ ({unread} not read):\n{}", wrong.len(), wrong.join("\n"));
    say(&format!("{cases} cases, {unread} not read"));
}
