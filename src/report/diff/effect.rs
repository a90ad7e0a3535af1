//! What becomes of traffic otherwise: for people by what becomes of it, for programs part by part.

use std::net::IpAddr;

use serde_json::{Value, json};

use crate::analysis::coverage::{Area, Kind, Outcome, together, usual};
use crate::analysis::diff::{Difference, Effects};
use crate::analysis::trace::{Question, Verdict, asked};
use crate::model::{Endpoint, Snapshot};
use crate::packet::DeviceName;
use crate::report::coverage::json as classes;
use crate::report::coverage::text::{goes_with, rules, title, told_areas};
use crate::report::coverage::words::{People, ends, new_destination};
use crate::report::escape::escape;

/// Packets of which something else becomes, told for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Told {
    /// Which packets: `outgoing TCP, IPv4`.
    pub(super) title: String,
    /// Which of these; none stands for all.
    pub(super) areas: Vec<String>,
    /// What becomes of them in the first, and by which rules.
    pub(super) before: (String, Vec<String>),
    /// The same in the second.
    pub(super) after: (String, Vec<String>),
    /// It cannot be told whether they differ; on what that hangs.
    pub(super) open: Option<Vec<String>>,
    /// One of them, as `nslens trace` takes it.
    pub(super) example: String,
}

/// Differences of one kind that people would not tell apart.
struct Group<'e, 'a> {
    kind: Kind,
    words: [String; 2],
    differences: Vec<&'e Difference<'a>>,
    areas: Vec<Area>,
    share: f64,
}

/// All differences, the widest of each kind first; the same of several kinds is told once. Unless `all` are wanted, those of packets that
/// no connection has are left out and counted, where there are others.
pub(super) fn told(difference: &super::Difference<'_>, effects: &Effects<'_>, all: bool) -> (Vec<Told>, usize) {
    let super::Difference { before, after, parity, .. } = *difference;
    let people = [People::of(before), People::of(after)];
    let (mut groups, mut left_out) = (groups(effects, &people, (before, all)), 0);
    if groups.iter().any(|group| !group.areas.is_empty()) {
        let before = groups.len();
        groups.retain(|group| !group.areas.is_empty());
        left_out = before - groups.len();
    } else {
        groups = self::groups(effects, &people, (before, true));
    }
    let mut found: Vec<(Vec<Kind>, Told)> = Vec::new();
    for group in groups {
        let [first, _] = &people;
        let areas = told_areas(&group.areas, first, &group.kind, all);
        let everything = areas == ["everything"];
        let (of, kind) = (&group.differences, group.kind);
        let [was, is] = group.words;
        let by_first = rules(of.iter().flat_map(|difference| &difference.before));
        let by_second = rules(of.iter().flat_map(|difference| &difference.after));
        let told = Told {
            title: String::new(),
            areas: if everything { Vec::new() } else { areas },
            before: (was, by_first),
            after: (is, by_second),
            open: because(of),
            example: of.first().map(|first| as_options(&first.example[0])).unwrap_or_default(),
        };
        let same = |known: &Told| {
            (&known.areas, &known.before, &known.after, &known.open)
                == (&told.areas, &told.before, &told.after, &told.open)
        };
        match found.iter_mut().find(|(of, known)| same(known) && goes_with(of, &kind)) {
            Some((of, _)) => of.push(kind),
            None => found.push((vec![kind], told)),
        }
    }
    let named = |(mut kinds, told): (Vec<Kind>, Told)| {
        if parity {
            kinds.extend(kinds.clone().into_iter().map(|kind| Kind { ipv6: true, ..kind }));
        }
        Told { title: title(&kinds), ..told }
    };
    (found.into_iter().map(named).collect(), left_out)
}

fn groups<'e, 'a>(
    effects: &'e Effects<'a>,
    people: &[People<'_>; 2],
    (before, all): (&Snapshot, bool),
) -> Vec<Group<'e, 'a>> {
    let [first, second] = people;
    let mut found: Vec<Group<'e, 'a>> = Vec::new();
    for difference in &effects.differences {
        let words = [ends(&difference.before, first), ends(&difference.after, second)];
        let same = |group: &&mut Group<'_, '_>| {
            let of = group.differences.first().is_some_and(|first| first.certain == difference.certain);
            of && group.kind == difference.kind && group.words == words
        };
        match found.iter_mut().find(same) {
            Some(group) => group.differences.push(difference),
            None => found.push(Group {
                kind: difference.kind,
                words,
                differences: vec![difference],
                areas: Vec::new(),
                share: 0.0,
            }),
        }
    }
    for group in &mut found {
        let areas: Vec<&Area> = group.differences.iter().map(|difference| &difference.area).collect();
        let of = if all { Area::default() } else { usual(before, &group.kind, &[]) };
        (group.areas, group.share) = together(&areas, &of, group.kind.ipv6);
        // What connections have stands for the others.
        group.differences.sort_by_key(|difference| together(&[&difference.area], &of, group.kind.ipv6).0.is_empty());
    }
    let mut sorted = Vec::new();
    while let Some(kind) = found.first().map(|group| group.kind) {
        let (mut of_kind, others): (Vec<_>, Vec<_>) = found.into_iter().partition(|group| group.kind == kind);
        of_kind.sort_by(|one, other| other.share.total_cmp(&one.share));
        sorted.append(&mut of_kind);
        found = others;
    }
    sorted
}

fn because(differences: &[&Difference<'_>]) -> Option<Vec<String>> {
    let open = differences.iter().any(|difference| !difference.certain);
    let doubts = differences.iter().flat_map(|difference| &difference.because);
    let mut found: Vec<String> = doubts.map(|doubt| escape(&doubt.why).into_owned()).collect();
    found.sort();
    found.dedup();
    open.then_some(found)
}

/// `--to 203.0.113.10:80 --uid 1337`: what `nslens trace` needs to be asked about it.
fn as_options(question: &Question) -> String {
    let ports = asked::has_ports(question.protocol);
    let end = |end: Endpoint| if ports { end.to_string() } else { end.address.to_string() };
    let mut words = Vec::new();
    if question.incoming {
        words.push("--in".to_owned());
        let from = question.source.map(|source| end(Endpoint::new(source, question.source_port.unwrap_or_default())));
        words.extend(from.map(|from| format!("--from {from}")));
        words.extend(question.interface.map(|device| format!("--interface {}", escape(device.as_str()))));
    }
    words.push(format!("--to {}", end(question.destination)));
    if question.protocol != crate::model::Protocol::Tcp {
        words.push(format!("--protocol {}", asked::name(question.protocol)));
    }
    words.extend(question.uid.map(|uid| format!("--uid {uid}")));
    words.extend(question.gid.map(|gid| format!("--gid {gid}")));
    words.extend((question.mark != 0).then(|| format!("--mark {:#x}", question.mark)));
    words.join(" ")
}

/// The elements of `effects`.
pub(super) fn json(effects: &Effects<'_>) -> Value {
    effects.differences.iter().map(difference).collect()
}

fn difference(difference: &Difference<'_>) -> Value {
    let Difference { kind, area, before, after, because, certain, example } = difference;
    let [packet, seen] = example;
    let ports = kind.protocol.is_some_and(asked::has_ports);
    json!({
        "packet": self::packet(packet),
        "packet_after": (seen != packet).then(|| self::packet(seen)),
        "certain": certain,
        "before": end(before),
        "after": end(after),
        "direction": classes::direction(kind.incoming),
        "family": classes::family(kind.ipv6),
        "protocol": classes::protocol(kind.protocol),
        "interface": kind.interface.map(|device| device.as_str().to_owned()),
        "who": classes::who(kind.incoming, area),
        "sources": kind.incoming.then(|| classes::addresses(&area.sources, kind.ipv6)),
        "source_ports": ports.then(|| classes::numbers(&area.source_ports, 0xffff)),
        "destinations": classes::addresses(&area.destinations, kind.ipv6),
        "ports": ports.then(|| classes::numbers(&area.ports, 0xffff)),
        "uncertain": because.iter().map(|doubt| json!({"rule": doubt.rule, "why": doubt.why})).collect::<Vec<_>>(),
    })
}

/// What becomes of them, as of a class of `coverage`.
fn end(outcomes: &[Outcome<'_>]) -> Value {
    let only = match outcomes {
        [only] => Some(only),
        _ => None,
    };
    json!({
        "verdict": only.map_or(Verdict::Undecided, |only| only.verdict).word(),
        "destination": only.and_then(new_destination),
        "rule": only.and_then(|only| only.rule.as_ref()),
        "outcomes": outcomes.iter().map(classes::outcome).collect::<Vec<_>>(),
    })
}

/// A packet in the form that `trace --batch` takes.
fn packet(question: &Question) -> Value {
    let ports = asked::has_ports(question.protocol);
    let end = |end: Endpoint| if ports { end.to_string() } else { end.address.to_string() };
    let source = question.source.map(|source| end(Endpoint::new(source, question.source_port.unwrap_or_default())));
    json!({
        "direction": classes::direction(question.incoming),
        "protocol": asked::name(question.protocol),
        "source": source,
        "destination": end(question.destination),
        "uid": question.uid,
        "gid": question.gid,
        "groups": question.groups,
        "mark": question.mark,
        "interface": question.interface.map(|device| device.as_str().to_owned()),
        "state": question.state.and_then(asked::state_word),
    })
}

/// What stands for what.
pub(super) fn stands_for(effects: &Effects<'_>) -> Value {
    let one = |(before, after): &(IpAddr, IpAddr)| json!({"before": before, "after": after});
    effects.stands_for.iter().map(one).collect()
}

/// What is not compared, in words.
pub(super) fn left_out(effects: &Effects<'_>) -> Vec<String> {
    let mut found = Vec::new();
    let names = |devices: &[DeviceName]| -> String {
        devices.iter().map(|device| escape(device.as_str()).into_owned()).collect::<Vec<_>>().join(", ")
    };
    for (devices, which) in effects.alone.iter().zip(["first", "second"]).filter(|(devices, _)| !devices.is_empty()) {
        found.push(format!("what comes in by {} is not compared: only the {which} has it", names(devices)));
    }
    if !effects.given_up.is_empty() {
        let kinds: Vec<String> = effects.given_up.iter().map(|kind| title(&[*kind])).collect();
        found.push(format!("not compared, since there are more parts than can be followed: {}", kinds.join("; ")));
    }
    found
}

/// The same, and what stands for what.
pub(super) fn notes(effects: &Effects<'_>) -> Vec<String> {
    let near = |address: &IpAddr| matches!(address, IpAddr::V6(address) if address.is_unicast_link_local());
    let pairs: Vec<String> = effects
        .stands_for
        .iter()
        .filter(|(one, _)| !near(one))
        .map(|(one, other)| format!("{one} for {other}"))
        .collect();
    let two = effects.stands_for.iter().any(|(one, other)| one.is_ipv4() != other.is_ipv4());
    let which = if two { "family" } else { "workload" };
    let told = || format!("an own address of the first {which} stands for that of the second: {}", pairs.join(", "));
    (!pairs.is_empty()).then(told).into_iter().chain(left_out(effects)).collect()
}
