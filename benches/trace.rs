//! Where packets go, by itself: questions a second of one core, over snapshots that the benchmark makes; nothing is read and nothing
//! printed: `cargo bench --bench trace`. With `NSLENS_SNAPSHOTS=FOLDER` it leaves snapshots and questions there, for the program.
#![expect(clippy::print_stdout, reason = "what is left behind is said")]

use std::fmt::Write;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use criterion::{Criterion, Throughput};
use nslens::analysis::trace::{Question, Tracer, Verdict};
use nslens::archive;
use nslens::model::{
    Endpoint, Family, Interface, Kind, Network, NextHop, OwnAddress, PolicyRule, Protocol, Route, RouteKind, Routing,
    RuleAction, Snapshot, Socket, SocketDetails, SocketState, Workload,
};
use nslens::syntax::parse_save;

const ISTIO: &str = include_str!("../tests/fixtures/istio.v4.rules");
const OWN: Ipv4Addr = Ipv4Addr::new(10, 244, 1, 12);
const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 244, 1, 1);
/// Few enough to stay in the processor's cache, and more than any branch predictor knows by heart.
const QUESTIONS: u32 = 4096;
const MANY: u32 = 50_000;
const ASKED_OF_MANY: u32 = 1000;
const MAIN: u32 = 254;
const LOCAL: u32 = 255;

/// A pod with one address, its routes, and proxy and application in it.
fn pod(rules: &str) -> Snapshot {
    let mut snapshot = Snapshot::of("node", 0, "pod/web", Workload::named(Kind::Pod, "web"));
    snapshot.rulesets = Some(parse_save(rules, Family::Ip).expect("rules"));
    let interface = |index: u32, name: &str, address: Ipv4Addr, bits| Interface {
        index,
        name: name.to_owned(),
        loopback: index == 1,
        up: true,
        addresses: vec![(address.into(), bits)],
    };
    snapshot.interfaces = Some(vec![interface(1, "lo", Ipv4Addr::LOCALHOST, 8), interface(2, "eth0", OWN, 24)]);
    snapshot.routes = Some(routing());
    snapshot.flows = Some(Vec::new());
    let socket = |port, address: Ipv4Addr| Socket {
        protocol: Protocol::Tcp,
        family: Family::Ip,
        mapped: false,
        state: SocketState::Listen,
        local: Endpoint::new(address.into(), port),
        peer: None,
        uid: 1337,
        inode: port.into(),
        mark: None,
        interface: 0,
        receive_queue: 0,
        send_queue: 128,
        details: SocketDetails::default(),
    };
    let any = Ipv4Addr::UNSPECIFIED;
    snapshot.sockets = Some([15001, 15006, 15008, 15020, 15021, 15090, 8080].map(|port| socket(port, any)).to_vec());
    snapshot
}

fn routing() -> Routing {
    let network = |address: Ipv4Addr, bits| Network { address: address.into(), bits };
    let route = |kind, destination, table, interface, gateway: Option<Ipv4Addr>, source: Option<Ipv4Addr>| Route {
        kind,
        destination,
        source: None,
        tos: 0,
        table,
        protocol: 2,
        scope: match (kind, gateway) {
            (RouteKind::Local, _) => 254,
            (_, None) => 253,
            _ => 0,
        },
        flags: 0,
        priority: 0,
        preferred_source: source.map(IpAddr::from),
        preference: None,
        hops: vec![NextHop { interface, gateway: gateway.map(IpAddr::from), weight: 1, flags: 0 }],
        next_hop_object: None,
        unknown: Vec::new(),
    };
    let (unicast, local, broadcast) = (RouteKind::Unicast, RouteKind::Local, RouteKind::Broadcast);
    let home = Ipv4Addr::LOCALHOST;
    let subnet = Ipv4Addr::new(10, 244, 1, 0);
    let routes = vec![
        route(unicast, Network::all(false), MAIN, 2, Some(ROUTER), None),
        route(unicast, network(subnet, 24), MAIN, 2, None, Some(OWN)),
        route(local, network(OWN, 32), LOCAL, 2, None, Some(OWN)),
        route(broadcast, network(Ipv4Addr::new(10, 244, 1, 255), 32), LOCAL, 2, None, Some(OWN)),
        route(local, network(Ipv4Addr::new(127, 0, 0, 0), 8), LOCAL, 1, None, Some(home)),
        route(local, network(home, 32), LOCAL, 1, None, Some(home)),
        route(broadcast, network(Ipv4Addr::new(127, 255, 255, 255), 32), LOCAL, 1, None, Some(home)),
    ];
    let rule = |priority, table| PolicyRule {
        ipv6: false,
        priority,
        action: RuleAction::Lookup(table),
        invert: false,
        from: None,
        to: None,
        input: None,
        output: None,
        mark: None,
        users: None,
        protocol: None,
        source_ports: None,
        destination_ports: None,
        tos: 0,
        vrf: false,
        suppress_prefix: None,
        suppress_group: None,
        flags: 0,
        maker: 2,
        unknown: Vec::new(),
    };
    let own = |interface, address: Ipv4Addr, bits, scope| OwnAddress {
        interface,
        address: address.into(),
        network: network(address, bits),
        scope,
        flags: 0x80,
    };
    let mut routing = Routing {
        routes: Some(routes),
        rules: Some(vec![rule(0, LOCAL), rule(32_766, MAIN), rule(32_767, 253)]),
        addresses: Some(vec![own(1, home, 8, 254), own(2, OWN, 24, 0)]),
        ..Routing::default()
    };
    for device in ["all", "default", "lo", "eth0"] {
        let settings = nslens::model::RoutingSettings::IPV4.map(|name| (name.to_owned(), 0));
        routing.settings.ipv4.insert(device.to_owned(), settings.into());
    }
    routing
}

/// What applications and the proxy send, and what comes in: no two of them alike.
fn question(number: u32) -> Question {
    let mixed = number.wrapping_mul(0x9e37_79b9);
    let [high, low, ..] = mixed.to_be_bytes();
    let port = [80, 443, 8080, 9080, 15008, 15020][mixed as usize % 6];
    let to = |address: Ipv4Addr| Question::to(Endpoint::new(address.into(), port));
    let source_port = Some(32_768 + (mixed >> 20) as u16);
    let user = |uid: u32, question: Question| Question { uid: Some(uid), gid: Some(uid), source_port, ..question };
    match number % 8 {
        0..=3 => user(1000, to(Ipv4Addr::from(0x0a60_0000 | mixed >> 12))),
        4 => user(1337, to(Ipv4Addr::from(0x0af4_0000 | mixed >> 16))),
        5 => user(1000, to(Ipv4Addr::LOCALHOST)),
        _ => Question {
            incoming: true,
            source: Some(Ipv4Addr::new(10, 244, high, low | 1).into()),
            source_port,
            ..to(OWN)
        },
    }
}

/// Rules as meshes and kube-proxy write them, one chain of them in front of Istio's.
fn many() -> String {
    let mut text = ISTIO.replace("-A OUTPUT -p tcp -j ISTIO_OUTPUT\n", "");
    let mut rules = String::new();
    for rule in 0..MANY {
        let [_, _, high, low] = rule.to_be_bytes();
        // Writing to a String cannot fail.
        match rule % 5 {
            0 => writeln!(rules, "-A OUTPUT -p tcp -m tcp --dport {} -j RETURN", 20_000 + rule / 5),
            1 => writeln!(rules, "-A OUTPUT -d 172.16.{high}.{low}/32 -p tcp -m tcp --dport 80 -j ISTIO_REDIRECT"),
            2 => writeln!(rules, "-A OUTPUT -o lo -s 172.17.{high}.{low}/32 -m owner --uid-owner 1337 -j ACCEPT"),
            3 => writeln!(
                rules,
                "-A OUTPUT -p udp -m mark --mark 0x{:x}/0xffff -j DNAT --to-destination 10.2.{high}.{low}:8080",
                rule + 1
            ),
            _ => writeln!(rules, "-A OUTPUT -d 172.18.{high}.0/24 -m owner ! --uid-owner {rule} -j RETURN"),
        }
        .ok();
    }
    rules.push_str("-A OUTPUT -p tcp -j ISTIO_OUTPUT\nCOMMIT\n");
    text.truncate(text.rfind("COMMIT").unwrap_or(text.len()));
    text + &rules
}

fn leave(folder: &Path, name: &str, snapshot: &Snapshot, questions: &[Question]) {
    let mut bytes = Vec::new();
    archive::write(snapshot, false, &mut bytes).expect("a snapshot");
    std::fs::write(folder.join(format!("{name}.json")), bytes).expect("a file");
    let line = |question: &Question| {
        let direction = if question.incoming { "in" } else { "out" };
        let mut line = format!("{{\"direction\":\"{direction}\",\"destination\":\"{}\"", question.destination);
        if let (Some(source), Some(port)) = (question.source, question.source_port) {
            line.push_str(&format!(",\"source\":\"{}\"", Endpoint::new(source, port)));
        }
        if let (Some(uid), Some(gid)) = (question.uid, question.gid) {
            line.push_str(&format!(",\"uid\":{uid},\"gid\":{gid}"));
        }
        line + "}\n"
    };
    std::fs::write(folder.join(format!("{name}.jsonl")), questions.iter().map(line).collect::<String>())
        .expect("a file");
    println!("{name}.json, {name}.jsonl: {} questions", questions.len());
}

fn main() {
    let questions: Vec<Question> = (0..QUESTIONS).map(question).collect();
    let few = questions.get(..ASKED_OF_MANY as usize).unwrap_or_default();
    let (istio, many) = (pod(ISTIO), pod(&many()));
    if let Some(folder) = std::env::var_os("NSLENS_SNAPSHOTS") {
        leave(folder.as_ref(), "istio", &istio, &questions);
        leave(folder.as_ref(), "many", &many, few);
        return;
    }
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("trace");
    group.throughput(Throughput::Elements(QUESTIONS.into()));
    let tracer = Tracer::of(&istio);
    let decided = |tracer: &Tracer<'_>, questions: &[Question]| {
        questions.iter().filter(|question| tracer.trace(question).verdict() != Verdict::Undecided).count()
    };
    assert_eq!(decided(&tracer, &questions), questions.len(), "each has an answer");
    group.bench_function("istio, prepared", |bench| {
        bench.iter(|| {
            for question in black_box(&questions) {
                black_box(tracer.trace(question));
            }
        });
    });
    group.throughput(Throughput::Elements(ASKED_OF_MANY.into()));
    assert_eq!(decided(&Tracer::of(&many), few), few.len(), "each has an answer");
    group.bench_function("50,000 rules, 1,000 packets, made ready anew", |bench| {
        bench.iter(|| {
            let tracer = Tracer::of(black_box(&many));
            for question in few {
                black_box(tracer.trace(question));
            }
        });
    });
    group.throughput(Throughput::Elements(1));
    group.bench_function("istio, one packet, made ready anew", |bench| {
        bench.iter(|| black_box(Tracer::of(black_box(&istio)).trace(&questions[0])));
    });
    group.finish();
    criterion.final_summary();
}
