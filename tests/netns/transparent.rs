//! TPROXY: to which socket a rule gives a packet, and what becomes of one that nobody takes, against the kernel: random sockets, some
//! of them transparent, random rules in every backend, and real packets.

use std::path::Path;

use nslens::analysis::trace::{Outcome, Tracer, Verdict};
use nslens::capture::rules::{Wanted, read as read_rules};

use crate::received::{Got, PEER, PORT, Sent, Socket, Wish, at, gets, look, opened, question, talking, wish};
use crate::routes_asked::Dice;
use crate::support::{Lab, require_root};

/// A port where nobody waits, of packets that a rule gives to somebody.
const OTHER: u16 = 8000;

/// The commands that make one rule, in a namespace where there is none. Answers, which it would drop on loopback, are spared.
fn rule(dice: &mut Dice, ipv6: bool) -> String {
    let protocol = dice.one_of(&["tcp", "udp"]);
    let marked = !dice.once_in(3);
    let addresses: [&str; 4] = match ipv6 {
        true => ["", "", "fd00::2", "::1"],
        false => ["", "", "10.0.0.2", "127.0.0.1"],
    };
    let (address, port) = (dice.one_of(&addresses), if dice.once_in(5) { 0 } else { PORT });
    match dice.below(4) {
        3 => {
            let program = if ipv6 { "ip6tables" } else { "iptables" };
            let backend = dice.one_of(&["legacy", "nft"]);
            let begins = if protocol == "tcp" { "--syn" } else { "" };
            let asks = [dice.one_of(&["", "--transparent"]), dice.one_of(&["", "--nowildcard"])].join(" ");
            let hook = dice.one_of(&["PREROUTING", "INPUT"]);
            format!(
                "{program}-{backend} -w -t mangle -A {hook} -p {protocol} --dport 7000:8000 {begins} \
                 -m socket {asks} -j DROP"
            )
        }
        0 => {
            let place = match (address, port) {
                ("", 0) => format!(":{PORT}"),
                (address, 0) => address.to_owned(),
                ("", port) => format!(":{port}"),
                (address, port) if ipv6 => format!("[{address}]:{port}"),
                (address, port) => format!("{address}:{port}"),
            };
            let family = if ipv6 { "ip6" } else { "ip" };
            let mark = if marked { "meta mark set 1 " } else { "" };
            format!(
                "nft -f - <<'END'
                 table {family} t {{
                     chain pre {{
                         type filter hook prerouting priority mangle
                         {protocol} dport 7000-8000 tproxy to {place} {mark}accept
                     }}
                 }}\nEND"
            )
        }
        backend => {
            let program = if ipv6 { "ip6tables" } else { "iptables" };
            let backend = if backend == 1 { "legacy" } else { "nft" };
            let place = if address.is_empty() { String::new() } else { format!("--on-ip {address}") };
            let mark = if marked { "--tproxy-mark 1/1" } else { "" };
            format!(
                "{program}-{backend} -w -t mangle -A PREROUTING -p {protocol} --dport 7000:8000 -j TPROXY --on-port {port} {place} {mark}"
            )
        }
    }
}

fn packet(dice: &mut Dice, ipv6: bool, tcp: bool, port: u16) -> Sent {
    let ends: [(bool, &str, &str); 4] = match ipv6 {
        false => [
            (true, "10.0.0.5", "10.0.0.2"),
            (true, "10.0.0.5", "10.9.9.9"),
            (false, "10.0.0.2", "10.0.0.2"),
            (false, "127.0.0.1", "127.0.0.1"),
        ],
        true => [
            (true, "fd00::5", "fd00::2"),
            (true, "fd00::5", "fd09::9"),
            (false, "fd00::2", "fd00::2"),
            (false, "::1", "::1"),
        ],
    };
    let (incoming, from, to) = ends[usize::try_from(dice.below(4)).expect("small")];
    let port = if tcp || dice.once_in(2) { port } else { PEER };
    let to = at(to, if dice.once_in(2) { PORT } else { OTHER });
    Sent { incoming, tcp, from: at(from, port), to }
}

/// Whether the kernel does what is said.
fn is_right(sent: Sent, got: Got, outcome: &Outcome<'_>, sockets: &[Socket]) -> bool {
    let said: Vec<u32> = outcome.receivers.iter().map(|socket| socket.inode).collect();
    match (got, outcome.verdict) {
        (Got::By(inode), Verdict::Delivered) => said.contains(&inode),
        (Got::Refused, Verdict::Refused) | (Got::Silent, Verdict::Dropped) => true,
        // What is for elsewhere has no route from here; of that a caller is told nothing that ends its call.
        (Got::Silent, Verdict::Rejected) => outcome.lost.is_some(),
        // A listener on loopback's device answers, and takes the caller's next packet, by another device, for somebody else's.
        (Got::Silent, Verdict::Delivered) => {
            let bound = |one: &Socket| said.contains(&one.inode) && one.wish.device == Some("lo");
            sent.tcp && !sent.incoming && !sent.to.ip().is_loopback() && sockets.iter().any(bound)
        }
        (_, Verdict::Undecided) => outcome.why.as_deref().is_some_and(|why| why.contains("some of which")),
        _ => false,
    }
}

/// Compares one rule and one set of sockets with packets: how many, and how many got by a socket.
fn compare(labs: (&Lab, &Lab), dice: &mut Dice, port: &mut u16) -> (usize, usize) {
    const EMPTY: &str = "nft flush ruleset; iptables-legacy -w -t mangle -F; ip6tables-legacy -w -t mangle -F";
    let ipv6 = dice.once_in(2);
    let rule = rule(dice, ipv6);
    labs.0.sh(&format!("{EMPTY}\n{rule}"));
    let mut wishes: Vec<_> = (0..2 + dice.below(6)).map(|number| wish(dice, number % 2 == 0)).collect();
    wishes.iter_mut().for_each(|wish| wish.transparent = !dice.once_in(3));
    let sockets = opened(labs.0, wishes);
    let mut snapshot = look(labs.0);
    let (rulesets, unread) = read_rules(labs.0.netns(), Path::new("/proc"), Wanted::default()).expect("the rules");
    assert!(unread.is_empty(), "{unread:?}");
    snapshot.rulesets = Some(rulesets);
    let tracer = Tracer::of(&snapshot);
    let (packets, mut taken) = (16, 0);
    for _ in 0..packets {
        let tcp = dice.once_in(2);
        *port = if *port < 60000 { *port + 1 } else { 20000 };
        let sent = packet(dice, ipv6, tcp, *port);
        let got = gets(labs, sent, &sockets);
        let trace = tracer.trace(&question(sent));
        let shown = || sockets.iter().map(|one: &Socket| format!("\n{} {:?}", one.inode, one.wish)).collect::<String>();
        // Which of several sockets it is that share a port, one of them transparent, hangs on what nobody can tell.
        let differ = |wish: &Wish| {
            sockets.iter().any(|one| one.wish.tcp == wish.tcp && one.wish.transparent != wish.transparent)
        };
        let mixed = sockets.iter().any(|one| one.wish.tcp == tcp && differ(&one.wish));
        assert!(trace.outcomes.len() == 1 || mixed, "{sent:?} {got:?} {trace:#?} {rule}{}", shown());
        let right = trace.outcomes.iter().any(|outcome| is_right(sent, got, outcome, &sockets));
        let said: Vec<_> = trace.outcomes.iter().map(|one| (one.verdict, &one.receivers, &one.why)).collect();
        assert!(right, "{sent:?} is {got:?}, {said:#?}\n{rule}{}", shown());
        taken += usize::from(trace.outcomes.iter().any(|outcome| outcome.taken));
    }
    (packets, taken)
}

#[test]
#[expect(clippy::print_stdout, reason = "how many were compared is worth knowing")]
fn packets_are_taken_by_the_socket_that_the_kernel_picks() {
    if !require_root() {
        return;
    }
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let (seed, rounds) = (number("NSLENS_SEED").unwrap_or(11), number("NSLENS_ROUNDS").unwrap_or(60));
    let (pod, world) = talking();
    for family in ["-4", "-6"] {
        pod.sh(&format!(
            "ip {family} rule add fwmark 1 lookup 100
             ip {family} route add local default dev lo table 100"
        ));
    }
    world.sh("ip route add 10.9.9.9 via 10.0.0.2; ip -6 route add fd09::9 via fd00::2");
    let (mut dice, mut port, mut all, mut taken) = (Dice(seed), 20000, 0, 0);
    for _ in 0..rounds {
        let (compared, by_rule) = compare((&pod, &world), &mut dice, &mut port);
        (all, taken) = (all + compared, taken + by_rule);
    }
    println!("seed {seed}: {all} packets, {taken} taken by transparent sockets");
    assert!(taken * 20 > all, "only {taken} of {all} are taken");
}
