//! The corpus in a real pod: every rule set is loaded by its own tool, the packets of the grid are sent, and what becomes of each is
//! what nslens says, of the pod that it reads as of the made one.
//!
//! Of packets of which the same is said two are sent, and each rule set is loaded into one of its backends in turn; with `NSLENS_LONG`
//! (`cargo xtask test --long`) it is all of them, in both.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Mutex;
use std::time::Duration;

use nslens::analysis::trace::{Outcome, Trace, Tracer, Verdict};
use nslens::model::{Family, Kind, Protocol, Snapshot, Workload};
use nslens::packet::Known;

use crate::corpus_grid::{Block, Case, Cell, cases, pod, rows, told};
use crate::rules::corpus;
use crate::support::require_root;
use crate::traffic::{Arrived, Place, Properties, Sent, Stage, Told};

/// Addresses outside from which packets come.
const CALLERS: [&str; 6] = [
    "203.0.113.7/32",
    "203.0.113.10/32",
    "2001:db8::10/128",
    "169.254.7.127/32",
    "2610:a1::7/128",
    "fd16:9254:7127:1337:ffff:ffff:ffff:ffff/128",
];

#[derive(Default)]
struct Found {
    loaded: usize,
    packets: usize,
    verdicts: BTreeMap<&'static str, usize>,
    /// By case and backend.
    not_loaded: BTreeMap<String, String>,
    wrong: BTreeMap<String, Vec<String>>,
}

/// A pod like the made one, with all that waits in it.
pub(crate) fn stage(case: &Case) -> Stage {
    let mut stage = Stage::new();
    let callers: Vec<String> = CALLERS.iter().map(|own| format!("ip addr add {own} dev lo nodad")).collect();
    stage.ext.sh(&callers.join("\n"));
    let settings = ["all", "default", "lo", "eth0"].map(|device| format!("net.ipv4.conf.{device}.rp_filter=0"));
    // Nobody is spared an answer for having got one a moment ago.
    let talks = "net.ipv4.icmp_ratelimit=0 net.ipv6.icmp.ratelimit=0";
    stage.pod.sh(&format!("sysctl -qw {talks} {}\nip addr add ::6/128 dev lo nodad", settings.join(" ")));
    // Nobody answers who is asked where these are.
    for own in case.named().addresses {
        let (family, neighbour) = if own.is_ipv6() { ("-6", "fd00::") } else { ("-4", "10.0.0.") };
        if own.to_string().starts_with(neighbour) {
            let device = "lladdr 02:00:00:00:00:01 dev eth0 nud permanent";
            stage.pod.sh(&format!("ip {family} neigh replace {own} {device}"));
        }
    }
    if let Some((mark, mask, table)) = pod::policy(case) {
        for family in ["-4", "-6"] {
            stage.pod.sh(&format!(
                "ip {family} rule add fwmark {mark:#x}/{mask:#x} pref 32764 lookup {table}
                 ip {family} route add local default dev lo table {table}"
            ));
        }
    }
    let properties = Properties { transparent: true, ..Properties::default() };
    for port in pod::listening(&case.named()) {
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            let at = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port);
            stage.receive(Place::Pod, protocol, at, &properties).expect("a socket that waits");
        }
    }
    stage
}

/// Loads what a case is; the families that are in force, and what was said against the others.
pub(crate) fn load(stage: &Stage, case: &Case, backend: &str) -> (BTreeSet<Family>, Vec<String>) {
    let files = case.forms.iter().take(1).flat_map(|form| &form.files);
    let texts: Vec<(Family, String)> =
        files.map(|(family, path)| (*family, std::fs::read_to_string(path).expect("a text"))).collect();
    load_texts(stage, &texts, backend)
}

/// The same of texts, each with its family.
pub(crate) fn load_texts(stage: &Stage, texts: &[(Family, String)], backend: &str) -> (BTreeSet<Family>, Vec<String>) {
    let (mut families, mut errors) = (BTreeSet::new(), Vec::new());
    for (family, text) in texts {
        let program = match family {
            Family::Ip => format!("iptables-{backend}-restore"),
            Family::Ip6 => format!("ip6tables-{backend}-restore"),
            _ => "nft -f -".to_owned(),
        };
        match stage.tell(&program, text) {
            Ok(_) => drop(families.insert(*family)),
            Err(error) => errors.push(error.lines().next().unwrap_or_default().trim().to_owned()),
        }
    }
    (families, errors)
}

/// Packets that are sent: all, or of each row the first and another.
fn chosen(block: &Block, tracer: &Tracer<'_>, long: bool) -> Vec<Cell> {
    if long {
        return block.cells().collect();
    }
    let said = block.cells().map(|cell| (cell, told(&tracer.trace(&block.question(cell))))).collect();
    rows::few(&rows::rows(block, &said))
}

fn packet(block: &Block, cell: Cell) -> Sent {
    let question = block.question(cell);
    let [who, place, _] = cell;
    let (who, place) = (&block.who[who], &block.places[place]);
    let properties =
        Properties { uid: who.uid, gid: who.gid, mark: who.mark, transparent: block.incoming, ..Properties::default() };
    Sent {
        from: if block.incoming { Place::Ext } else { Place::Pod },
        protocol: question.protocol,
        source: who.source.or(place.source).map(|source| SocketAddr::new(source, 0)),
        to: SocketAddr::new(question.destination.address, question.destination.port),
        socket: properties,
    }
}

/// Whether the kernel did what one of the ends says.
pub(crate) fn is_so(stage: &Stage, trace: &Trace<'_>, outcome: &Outcome<'_>, sent: &Sent, arrived: &Arrived) -> bool {
    let (gone, nobody) = (&outcome.packet, arrived.by.is_empty() && arrived.wire.is_empty());
    let destination =
        |end: SocketAddr| Known::Is(end.ip()) == gone.destination && Known::Is(end.port()) == gone.destination_port;
    let source = |address: IpAddr| gone.source == Known::Is(address);
    let refused = arrived.refused > 0 || arrived.told == Told::Error(nix::errno::Errno::ECONNREFUSED);
    match outcome.verdict {
        Verdict::Delivered => {
            let [by] = arrived.by.as_slice() else { return false };
            let receiver = &stage.receivers()[by.receiver];
            let is = |socket: &nslens::model::Socket| {
                (socket.local.port, socket.protocol) == (receiver.at.port(), receiver.protocol)
            };
            let translated =
                trace.packet.destination != gone.destination || trace.packet.destination_port != gone.destination_port;
            let original = !translated || sent.protocol != Protocol::Tcp || by.original == Some(sent.to);
            outcome.receivers.iter().any(|socket| is(socket))
                && by.local.is_some_and(destination)
                && source(by.peer.ip())
                && original
        }
        Verdict::Sent => {
            let [frame] = arrived.wire.as_slice() else { return false };
            arrived.by.is_empty() && destination(frame.destination) && source(frame.source.ip())
        }
        Verdict::Refused => nobody && refused,
        Verdict::Rejected => nobody && (refused || arrived.complaints > 0 || matches!(arrived.told, Told::Error(_))),
        Verdict::Dropped => nobody && !refused,
        _ => false,
    }
}

/// Sends the packets of a case that is loaded, and says what differs.
fn compare(
    stage: &mut Stage,
    case: &Case,
    loaded: (&BTreeSet<Family>, bool),
    long: bool,
    found: &Mutex<Found>,
) -> Vec<String> {
    let (families, whole) = loaded;
    let snapshot = stage.snapshot();
    let tracer = Tracer::of(&snapshot);
    let made = case.forms[0].rules().ok().filter(|_| whole).map(|rules| pod::with(case, rules));
    let of_made = made.as_ref().map(Tracer::of);
    let mut wrong = Vec::new();
    for block in case.blocks() {
        let family = if block.ipv6 { Family::Ip6 } else { Family::Ip };
        if !families.contains(&family) && !families.contains(&Family::Inet) {
            continue;
        }
        for cell in chosen(&block, &tracer, long) {
            let trace = tracer.trace(&block.question(cell));
            let sent = packet(&block, cell);
            let mut arrived = stage.send(&sent);
            let is_said = |arrived: &Arrived, stage: &Stage| {
                trace.outcomes.iter().any(|outcome| is_so(stage, &trace, outcome, &sent, arrived))
            };
            // On a busy machine the kernel counts late what an earlier packet left behind: what differs has to do so again.
            if !is_said(&arrived, stage) {
                std::thread::sleep(Duration::from_millis(50));
                arrived = stage.send(&sent);
            }
            let (said, verdict) = (told(&trace), trace.verdict());
            let mut found = found.lock().expect("what was found");
            found.packets += 1;
            *found.verdicts.entry(verdict.word()).or_default() += 1;
            drop(found);
            let [who, place, _] = cell;
            let name = format!(
                "{} {} to {} {} {}",
                block.title(),
                block.who[who].label,
                block.places[place].label,
                sent.protocol,
                sent.to
            );
            if !is_said(&arrived, stage) {
                let by: Vec<_> = arrived.by.iter().map(|by| (stage.receivers()[by.receiver].at.port(), *by)).collect();
                wrong.push(format!(
                    "{name}\n      said: {} ({})\n      is: {:?} {by:?} {:?} refused {} complaints {}",
                    said.becomes, said.by, arrived.told, arrived.wire, arrived.refused, arrived.complaints
                ));
            }
            if let Some(theirs) = of_made.as_ref().map(|made| told(&made.trace(&block.question(cell))))
                && theirs.becomes != said.becomes
            {
                wrong.push(format!(
                    "{name}\n      said of the pod: {}\n      said of the made one: {}",
                    said.becomes, theirs.becomes
                ));
            }
        }
    }
    wrong
}

#[test]
fn the_made_pod_is_the_one_in_which_the_kernel_is_asked() {
    if !require_root() {
        return;
    }
    let mut real = stage(&Case { name: String::new(), forms: Vec::new() }).snapshot();
    // What the kernel gives a device of IPv6 in its own time, sooner or later than this test looks, is no part of the made pod.
    let own = |address: &IpAddr| matches!(address, IpAddr::V6(it) if it.is_unicast_link_local() || it.is_multicast());
    for interface in real.interfaces.iter_mut().flatten() {
        interface.addresses.retain(|(address, _)| !own(address));
    }
    if let Some(routing) = &mut real.routes {
        routing.addresses.iter_mut().for_each(|addresses| addresses.retain(|held| !own(&held.address)));
        routing.routes.iter_mut().for_each(|routes| routes.retain(|route| !own(&route.destination.address)));
    }
    let made = Snapshot {
        interfaces: real.interfaces,
        routes: real.routes,
        ids: real.ids,
        sockets: Some(Vec::new()),
        ..Snapshot::of("made", 0, "pod", Workload::named(Kind::Netns, "pod"))
    };
    if std::env::var_os("NSLENS_WRITE_GRID").is_some() {
        let mut file = std::fs::File::create(pod::path()).expect("a file");
        nslens::archive::write(&made, false, &mut file).expect("written");
    }
    assert_eq!(
        pod::bare(),
        made,
        "tests/fixtures/grid/pod.json is stale: NSLENS_WRITE_GRID=1 cargo test --test netns made_pod"
    );
}

#[test]
#[expect(clippy::print_stderr, reason = "the counts are wanted, also where all is well")]
fn the_kernel_does_with_the_packets_of_the_corpus_what_is_said() {
    if !require_root() {
        return;
    }
    let Some(corpus) = corpus() else { return };
    let long = std::env::var_os("NSLENS_LONG").is_some();
    let only = std::env::var("NSLENS_GRID_CASE").unwrap_or_default();
    let mut work = Vec::new();
    let cases: Vec<Case> = cases(&corpus).into_iter().filter(|case| case.name.contains(&only)).collect();
    for (number, case) in cases.iter().enumerate() {
        let native = case.forms[0].word == "nft";
        let backends: &[&str] = match (native, long) {
            (true, _) => &["nft"],
            (false, true) => &["legacy", "nft"],
            (false, false) => &[["legacy", "nft"][number % 2]],
        };
        work.extend(backends.iter().map(|backend| (case, *backend)));
    }
    let (found, work) = (Mutex::new(Found::default()), Mutex::new(work.into_iter()));
    let take = || work.lock().expect("the list").next();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some((case, backend)) = take() {
                    let mut stage = stage(case);
                    let (families, errors) = load(&stage, case, backend);
                    let name = format!("{} in {backend}", case.name);
                    let whole = errors.is_empty();
                    if !whole {
                        found.lock().expect("what was found").not_loaded.insert(name.clone(), errors.join("; "));
                    }
                    if families.is_empty() {
                        continue;
                    }
                    let wrong = compare(&mut stage, case, (&families, whole), long, &found);
                    let mut found = found.lock().expect("what was found");
                    found.loaded += 1;
                    if !wrong.is_empty() {
                        found.wrong.insert(name, wrong);
                    }
                }
            });
        }
    });
    let found = found.into_inner().expect("what was found");
    eprintln!("{} cases loaded, {} packets: {:?}", found.loaded, found.packets, found.verdicts);
    for (name, why) in &found.not_loaded {
        eprintln!("not loaded: {name}: {why}");
    }
    let wrong: usize = found.wrong.values().map(Vec::len).sum();
    let text: Vec<String> = found
        .wrong
        .iter()
        .map(|(name, wrong)| {
            format!(
                "{name}: {}\n    {}",
                wrong.len(),
                wrong.iter().take(if long { 12 } else { 40 }).cloned().collect::<Vec<_>>().join("\n    ")
            )
        })
        .collect();
    assert!(wrong == 0, "{wrong} of {} packets, in {} cases:\n{}", found.packets, found.wrong.len(), text.join("\n"));
    assert!(found.loaded > 100 || !only.is_empty(), "only {} cases were loaded", found.loaded);
}
