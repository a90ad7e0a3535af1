//! Which mesh is expected, by rules, metadata and processes: over the corpus, over changed rules, and over made-up workloads.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use nslens::analysis::mesh::{Captured, Contradiction, Expected, Lane, Mesh, Mode, Picked, Variant, expected};
use nslens::archive::{self, Loaded};
use nslens::model::{Container, Family, Kind, Snapshot, Workload};

use crate::corpus::corpus;
use crate::program::say;

/// The reviewed table: all that is known of some cases, read in their rules and descriptions.
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
        out.extend(
            family.dns.as_ref().map(|dns| format!("dns={}", dns.port.map_or("-".to_owned(), |port| port.to_string()))),
        );
        let mut exempt = |name: &str, text: String| out.extend((!text.is_empty()).then(|| format!("{name}={text}")));
        exempt("uid", ranges(found.exempt.uids.iter().copied()));
        exempt("gid", ranges(found.exempt.gids.iter().copied()));
        let marks = found.exempt.marks.iter().map(|(mark, mask)| format!("{mark:#x}/{mask:#x}"));
        exempt("mark", marks.collect::<Vec<_>>().join(","));
    }
    out.extend(found.bystanders.iter().map(|name| format!("[{name}]")));
    out.join(" ")
}

/// Mesh, variant and mode as the corpus' own index has them: by the producer, and by the bracket that it computes from the rules.
fn indexed(producer: &str, bracket: &str) -> String {
    let mesh = match producer {
        "istio-ambient" | "istio-nft-ambient" => "istio ambient",
        "istio-sidecar" | "istio-nft-sidecar" | "kmesh" | "devtools" => "istio sidecar",
        "linkerd" => "linkerd sidecar",
        "kuma" => "kuma sidecar",
        "consul" => "consul sidecar",
        "app-mesh" => "appmesh sidecar",
        "osm" | "fsm" => "osm sidecar",
        "ecs-service-connect" => "custom sidecar",
        "mosn" => "custom -",
        _ => return "- - -".to_owned(),
    };
    let mode = match bracket {
        with if with.contains("tproxy") => "tproxy",
        with if with.contains("redirect") => "redirect",
        _ => "-",
    };
    format!("{mesh} {mode}")
}

#[test]
fn every_case_of_the_corpus_is_what_it_is_said_to_be() {
    let Some(corpus) = corpus() else { return };
    let reviewed: BTreeMap<&str, &str> =
        REVIEWED.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(": ")).collect();
    let index = std::fs::read_to_string(corpus.join("INDEX.tsv")).expect("an index");
    let (mut wrong, mut cases) = (Vec::new(), 0);
    for row in index.lines().skip(1) {
        let columns: Vec<&str> = row.split('\t').collect();
        let [name, _, mode, ..] = columns[..] else { continue };
        if name.ends_with(".commands") {
            continue;
        }
        let ipv6 = name.contains(".v6.");
        let text = std::fs::read_to_string(corpus.join(name)).expect("text");
        let snapshot = read(&text, if ipv6 { Family::Ip6 } else { Family::Ip }).expect("rules");
        let got = line(&expected(&snapshot), ipv6);
        let producer = name.split('/').next().unwrap_or_default();
        let bracket = mode.split(']').next().unwrap_or_default();
        let said = indexed(producer, bracket);
        // Of tables that hold nothing that redirects nobody can say whose they are.
        let silent = bracket == "[none" && got.starts_with("- - -");
        cases += 1;
        if !(got.starts_with(&said) || silent) || reviewed.get(name).is_some_and(|wanted| *wanted != got) {
            wrong.push(format!("{name}: {got}, said: {said}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {cases} differ:\n{}", wrong.len(), wrong.join("\n"));
    assert!(reviewed.keys().all(|name| index.contains(name)), "a reviewed case is not in the corpus");
    say(&format!("{cases} cases, {} of them whole", reviewed.len()));
}

/// A pod's rules in the manner of Istio, with names and numbers of one's own.
fn sidecar(prefix: &str, (out, into, owner): (u16, u16, u32)) -> String {
    format!(
        "*nat\n:PREROUTING ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n\
         :{prefix}_INBOUND - [0:0]\n:{prefix}_IN_REDIRECT - [0:0]\n:{prefix}_OUTPUT - [0:0]\n:{prefix}_REDIRECT - [0:0]\n\
         -A PREROUTING -p tcp -j {prefix}_INBOUND\n-A OUTPUT -p tcp -j {prefix}_OUTPUT\n\
         -A {prefix}_INBOUND -p tcp -m tcp --dport 7 -j RETURN\n-A {prefix}_INBOUND -p tcp -j {prefix}_IN_REDIRECT\n\
         -A {prefix}_IN_REDIRECT -p tcp -j REDIRECT --to-ports {into}\n\
         -A {prefix}_OUTPUT ! -d 127.0.0.1/32 -o lo -m owner --uid-owner {owner} -j {prefix}_IN_REDIRECT\n\
         -A {prefix}_OUTPUT -m owner --uid-owner {owner} -j RETURN\n-A {prefix}_OUTPUT -d 127.0.0.1/32 -j RETURN\n\
         -A {prefix}_OUTPUT -d 10.9.0.0/16 -j RETURN\n-A {prefix}_OUTPUT -j {prefix}_REDIRECT\n\
         -A {prefix}_REDIRECT -p tcp -j REDIRECT --to-ports {out}\nCOMMIT\n"
    )
}

#[test]
fn names_suggest_a_mesh_and_numbers_are_read() {
    for (prefix, mesh) in [
        ("ISTIO", "istio sidecar"),
        ("MESH", "kuma sidecar"),
        ("CONSUL_PROXY", "consul sidecar"),
        ("HOUSE", "custom -"),
    ] {
        for numbers @ (out, into, owner) in
            [(15001, 15006, 1337), (4140, 4143, 2102), (1, 65535, 0), (9000, 9001, 70000)]
        {
            let snapshot = read(&sidecar(prefix, numbers), Family::Ip).expect("rules");
            let wanted = format!("{mesh} redirect out=all:{out}!10.9.0.0/16 in=all:{into}!7 uid={owner}");
            assert_eq!(line(&expected(&snapshot), false), wanted, "{prefix}");
        }
    }
}

#[test]
fn metadata_alone_names_a_mesh_and_its_rules_are_missed() {
    type Given<'a> = (&'a str, Option<(&'a str, &'a str)>, Option<(&'a str, &'a str)>, Option<&'a str>);
    let cases: [Given<'_>; 9] = [
        ("istio sidecar", Some(("sidecar.istio.io/status", "{}")), None, None),
        ("istio sidecar", None, None, Some("istio-proxy")),
        ("istio ambient", Some(("ambient.istio.io/redirection", "enabled")), None, None),
        ("istio ambient", None, Some(("istio.io/dataplane-mode", "ambient")), None),
        ("linkerd sidecar", Some(("linkerd.io/proxy-version", "stable")), None, None),
        ("kuma sidecar", Some(("kuma.io/sidecar-injected", "true")), None, None),
        ("consul sidecar", Some(("consul.hashicorp.com/connect-inject-status", "injected")), None, None),
        ("appmesh sidecar", None, None, Some("proxyinit")),
        ("osm sidecar", None, Some(("osm-proxy-uuid", "1")), None),
    ];
    for (wanted, annotation, label, container) in cases {
        let mut workload = Workload::named(Kind::Pod, "pod");
        workload.annotations.extend(annotation.map(|(name, value)| (name.to_owned(), value.to_owned())));
        workload.labels.extend(label.map(|(name, value)| (name.to_owned(), value.to_owned())));
        workload.containers.extend(container.map(|name| Container { name: name.to_owned(), ..Container::default() }));
        let mut snapshot = Snapshot::of("node", 0, "pod", workload);
        snapshot.rulesets = Some(Vec::new());
        let found = expected(&snapshot);
        assert_eq!(line(&found, false), format!("{wanted} -"));
        assert_eq!(found.contradictions, [Contradiction::RulesAbsent], "{wanted}");
        snapshot.rulesets = None;
        assert_eq!(expected(&snapshot).contradictions, [], "rules that were not read are not missed");
    }
    let nothing = Snapshot::of("node", 0, "pod", Workload::named(Kind::Pod, "pod"));
    assert_eq!((expected(&nothing).mesh, expected(&nothing).contradictions), (None, Vec::new()));
}

#[test]
fn what_metadata_sets_is_held_against_what_rules_do() {
    let mut snapshot = read(&sidecar("ISTIO", (15001, 15006, 1337)), Family::Ip).expect("rules");
    let set = |snapshot: &mut Snapshot, value: &str| {
        let name = "traffic.sidecar.istio.io/excludeInboundPorts".to_owned();
        snapshot.workload.annotations.insert(name, value.to_owned());
        expected(snapshot).contradictions
    };
    assert_eq!(set(&mut snapshot, "7"), []);
    let found = set(&mut snapshot, "7,8");
    assert!(matches!(&found[..], [Contradiction::Setting { found, .. }] if found == "they capture 8"), "{found:?}");
}
