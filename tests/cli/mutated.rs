//! Rule sets of the corpus with one thing changed: what changes what happens to some packet is reported, and what does not is no error.
//!
//! `NSLENS_MUTATED=kuma/` looks at all cases whose names hold this, whether or not they are whole.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use nslens::analysis::check::{Answer, Asked, Severity, check};
use nslens::analysis::mesh::expected;
use nslens::analysis::trace::{Question, Tracer};
use nslens::model::{Container, Endpoint, Kind, Process, Resolver, Snapshot, Workload};

use crate::corpus::corpus;
use crate::corpus_grid::{Case, cases, pod, rows, told};
use crate::mutants::{Rules, mutants, rules, texts};
use crate::program::say;

/// What metadata and processes tell of a pod of each producer: an annotation, the proxy's container and its process.
const MESHES: [(&str, (&str, &str), &str, &str); 11] = [
    ("istio-sidecar", ("sidecar.istio.io/status", "{}"), "istio-proxy", "envoy"),
    ("istio-nft-sidecar", ("sidecar.istio.io/status", "{}"), "istio-proxy", "envoy"),
    ("linkerd", ("linkerd.io/proxy-version", "edge"), "linkerd-proxy", "linkerd2-proxy"),
    ("kuma", ("kuma.io/sidecar-injected", "true"), "kuma-sidecar", "envoy"),
    ("consul", ("consul.hashicorp.com/connect-inject-status", "injected"), "consul-dataplane", "envoy"),
    ("app-mesh", ("appmesh.k8s.aws/sidecarInjectorWebhook", "enabled"), "envoy", "envoy"),
    ("ecs-service-connect", ("", ""), "ecs-service-connect", "envoy"),
    ("osm", ("openservicemesh.io/sidecar-injection", "enabled"), "envoy", "envoy"),
    ("fsm", ("flomesh.io/sidecar-injection", "enabled"), "sidecar", "pipy"),
    ("istio-ambient", ("ambient.istio.io/redirection", "enabled"), "", "ztunnel"),
    ("istio-nft-ambient", ("ambient.istio.io/redirection", "enabled"), "", "ztunnel"),
];

/// The pod with rules, the proxy and an application.
fn stage(case: &Case, rules: Rules, proxy: (u32, u32), resolvers: Option<Vec<String>>) -> Snapshot {
    let mut snapshot = pod::with(case, rules);
    let producer = case.name.split('/').next().unwrap_or_default();
    let (_, (name, value), container, process) =
        MESHES.iter().find(|(mesh, ..)| *mesh == producer).copied().expect("a known producer");
    let mut workload = Workload { runtime: Some("containerd".to_owned()), ..Workload::named(Kind::Pod, "web") };
    if !name.is_empty() {
        workload.annotations.insert(name.to_owned(), value.to_owned());
    }
    let elsewhere = container.is_empty();
    for name in [container, "app"].into_iter().filter(|name| !name.is_empty()) {
        workload.containers.push(Container { name: name.to_owned(), ..Container::default() });
    }
    snapshot.workload = workload;
    if !snapshot.rulesets().iter().any(|ruleset| ruleset.family.sees(true)) {
        only_ipv4(&mut snapshot);
    }
    // Where the set captures queries, the pod asks those resolvers.
    let families = expected(&snapshot).families;
    let dns = families.iter().filter_map(|family| Some(family.dns.as_ref()?.resolver?.to_string()));
    let mut asks: Vec<String> = dns.collect();
    if asks.is_empty() {
        asks.push("10.96.0.10".to_owned());
    }
    snapshot.resolver = Some(Resolver { nameservers: resolvers.unwrap_or(asks), search: Vec::new() });
    let held = |application: bool| {
        let sockets = snapshot.sockets.iter().flatten();
        let applications = [80, 443];
        sockets.filter(|it| applications.contains(&it.local.port) == application).map(|it| it.inode).collect()
    };
    let person = |pid: u32, name: &str, (uid, gid): (u32, u32), container: &str, application: bool| Process {
        pid,
        name: name.to_owned(),
        uid,
        gid,
        container: Some(container.to_owned()).filter(|name| !name.is_empty()),
        elsewhere: elsewhere && !application,
        sockets: held(application),
        start_time: 1,
        user: None,
        groups: Vec::new(),
        capabilities: None,
        netns: None,
        descriptors: None,
        state: Some('S'),
    };
    let people = vec![person(10, process, proxy, container, false), person(20, "app", (1000, 1000), "app", true)];
    snapshot.processes = Some(people);
    for socket in snapshot.sockets.iter_mut().flatten() {
        if elsewhere && ![80, 443].contains(&socket.local.port) {
            socket.mark = Some(0x539);
        }
        socket.details.transparent = Some(elsewhere || case.named().tproxy);
    }
    snapshot
}

/// A pod of which no rule of IPv6 is known has none.
fn only_ipv4(snapshot: &mut Snapshot) {
    for interface in snapshot.interfaces.iter_mut().flatten() {
        interface.addresses.retain(|(address, _)| address.is_ipv4() || interface.loopback);
    }
    let routing = snapshot.routes.as_mut().expect("routes");
    let far = |address: &IpAddr| address.is_ipv6() && !address.is_loopback() && address.to_string() != "::6";
    routing.routes.iter_mut().for_each(|routes| {
        routes.retain(|route| route.destination.address.is_ipv4() || is_own_v6(route.destination.address));
    });
    routing.addresses.iter_mut().for_each(|addresses| addresses.retain(|held| !far(&held.address)));
}

fn is_own_v6(address: IpAddr) -> bool {
    address.is_loopback() || address.to_string() == "::6"
}

/// What a proxy dials from the address that Istio and Kuma keep for it, to the application that the pod is.
fn passed_on((uid, gid): (u32, u32)) -> Vec<Question> {
    let ends = [("127.0.0.6", "10.0.0.2"), ("::6", "fd00::2")];
    let asked = ends.map(|(from, to)| Question {
        source: from.parse().ok(),
        source_port: Some(40_001),
        uid: Some(uid),
        gid: Some(gid),
        groups: Some(Vec::new()),
        ..Question::to(Endpoint::new(to.parse().expect("an address"), 80))
    });
    asked.to_vec()
}

/// What becomes of the packets of the grid.
fn becomes(snapshot: &Snapshot, asked: &[Question]) -> Vec<String> {
    let tracer = Tracer::of(snapshot);
    asked.iter().map(|question| told(&tracer.trace(question)).becomes).collect()
}

fn findings(answer: &Answer, least: Severity) -> BTreeSet<(&'static str, String)> {
    let told = answer.findings.iter().filter(|finding| finding.severity >= least);
    told.map(|finding| (finding.kind.id, finding.title.clone())).collect()
}

/// Cases that are whole, each with what has no report and why: rules that other right sets lack, too.
const CASES: [(&str, &[&str]); 14] = [
    // A port of an agent that does not run in this pod.
    ("istio-sidecar/live-default-1.22", &["--dport 15021 -j RETURN"]),
    // What is excluded by choice: metadata tells, and this pod has none.
    ("linkerd/uid-gid", &[]),
    ("linkerd/nft-experiment", &["tcp dport { 443, 4567, 4568 }", "tcp dport { 4190, 4191, 4567, 4568 }"]),
    ("linkerd/default", &[]),
    ("kuma/2.6-install-defaults", &[]),
    ("kuma/2.7-default-nft", &[]),
    ("kuma/default-nft", &[]),
    // Queries over TCP to the pod itself, where nobody answers them; and zones, which no packet of the grid shows.
    ("kuma/2.7-dns-nft", &["--dport 53 -j REDIRECT --to-ports 15053 <> -A KUMA_MESH_OUTBOUND -d 127.0.0.1/32"]),
    ("consul/k8s-default", &[]),
    ("consul/nft-dualstack-dns-port", &[]),
    // Exclusions by choice, as above.
    ("app-mesh/route-manager-defaults", &["--dports 22 -j RETURN", "-d 169.254.169.254,169.254.170.2 -j RETURN"]),
    ("linkerd/redirect-listed", &["--destination-port 90"]),
    // Probes of the node, and calls of the pod to itself, which ztunnel takes as well.
    ("istio-ambient/virtual-interfaces", &["169.254.7.127", "0x111/0xfff -j ACCEPT", "-o lo -j ACCEPT"]),
    // Ports of the proxy at which nobody waits here, and a way round for what it calls itself that not every mesh has.
    ("osm/default", &["--dport 15010", "--dport 1590", "-o lo ! -d 127.0.0.1/32 -m owner --uid-owner 1500"]),
];

/// What no packet of the grid shows: zones and marks of connections under way, and a proxy whose user is left alone by one rule among
/// several.
fn is_unseen(id: &str, what: &str) -> bool {
    match id {
        "RDR502" => what.contains("CT --zone"),
        "RDR102" => what.contains("--uid-owner"),
        "RDR601" => what.contains("MARK") || what.contains("-j ISTIO_"),
        _ => false,
    }
}

#[test]
fn what_changes_something_is_reported_and_what_does_not_is_no_error() {
    let Some(corpus) = corpus() else { return };
    let only = std::env::var("NSLENS_MUTATED").ok();
    let known: Vec<Case> = cases(&corpus)
        .into_iter()
        .filter(|case| MESHES.iter().any(|(mesh, ..)| case.name.starts_with(&format!("{mesh}/"))))
        .collect();
    let chosen = |case: &&Case| match &only {
        Some(only) => case.name.contains(only),
        None => CASES.iter().any(|(name, _)| *name == case.name),
    };
    let there = |name: &str| known.iter().any(|case| case.name == name);
    assert!(CASES.iter().all(|(name, _)| there(name)), "a case is not in the corpus");
    let (mut wrong, mut counts) = (Vec::new(), BTreeMap::<String, usize>::new());
    for case in known.iter().filter(chosen) {
        one(case, &mut counts, &mut wrong);
    }
    for (result, count) in &counts {
        say(&format!("{result}: {count}"));
    }
    assert!(wrong.is_empty(), "{} mutants:\n{}", wrong.len(), wrong.join("\n"));
    assert!(only.is_some() || counts.values().sum::<usize>() > 100, "too few mutants: {counts:?}");
}

fn one(case: &Case, counts: &mut BTreeMap<String, usize>, wrong: &mut Vec<String>) {
    let texts = texts(case);
    let whole = rules(&texts).unwrap_or_else(|| panic!("{} cannot be read", case.name));
    let told_of = expected(&pod::with(case, whole.clone()));
    let number = |ids: &BTreeSet<(u32, u32)>| ids.iter().next().map(|(first, _)| *first);
    let uid = number(&told_of.exempt.uids).unwrap_or(1337);
    let proxy = (uid, number(&told_of.exempt.gids).unwrap_or(uid));
    let good = stage(case, whole, proxy, None);
    let asks = good.resolver.as_ref().map(|resolver| resolver.nameservers.clone());
    let first = check(&good, Asked::default());
    let tracer = Tracer::of(&good);
    let mut asked = passed_on(proxy);
    for block in case.blocks() {
        let said = block.cells().map(|cell| (cell, told(&tracer.trace(&block.question(cell))))).collect();
        asked.extend(rows::few(&rows::rows(&block, &said)).into_iter().map(|cell| block.question(cell)));
    }
    let was = becomes(&good, &asked);
    let before = findings(&first, Severity::Info);
    let errors = |answer: &Answer| -> BTreeSet<&'static str> {
        findings(answer, Severity::Error).into_iter().map(|(id, _)| id).collect()
    };
    let failed = errors(&first);
    let unreported: Vec<&str> =
        CASES.iter().filter(|(name, _)| *name == case.name).flat_map(|(_, rules)| rules.iter().copied()).collect();
    for mutant in mutants(&texts) {
        let snapshot = stage(case, mutant.rules, proxy, asks.clone());
        let now = becomes(&snapshot, &asked);
        let changed = was.iter().zip(&now).position(|(was, now)| was != now);
        let answer = check(&snapshot, Asked::default());
        let after = findings(&answer, Severity::Info);
        // What fails already may fail in other words.
        let worse = if failed.is_empty() { errors(&answer) } else { BTreeSet::new() };
        let open = answer.undecided.iter().any(|open| !first.undecided.contains(open));
        let result = match changed {
            Some(_) if after != before => "reported",
            Some(_) if open => "left open",
            // What fails already is not told twice.
            Some(_) if !failed.is_empty() => "failed before",
            Some(_) if unreported.iter().any(|rule| mutant.what.contains(rule)) => "another right set",
            Some(at) => {
                wrong.push(format!(
                    "{} {}: {}: nothing is said of {:?}: {} => {}",
                    case.name, mutant.kind, mutant.what, asked[at], was[at], now[at]
                ));
                "missed"
            }
            None if worse.is_empty() => "of no effect",
            None if worse.iter().all(|id| is_unseen(id, &mutant.what)) => "not seen by the grid",
            None => {
                wrong.push(format!("{} {}: {}: changes nothing: {worse:?}", case.name, mutant.kind, mutant.what));
                "false"
            }
        };
        *counts.entry(format!("{} {result}", mutant.kind)).or_default() += 1;
    }
}
