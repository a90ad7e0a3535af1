//! Rules that act in an order of their own: what really becomes of a connection, beside what is said of it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::thread;
use std::time::Duration;

use nslens::analysis::paths::blocks;
use nslens::analysis::summary::{Fate, Summary, summarise};
use nslens::capture::rules::{Wanted, read};

use nslens::model::Snapshot;

use crate::look_at;
use crate::support::{Lab, require_root};

/// What becomes of a connection: the port where it arrived, `direct` where it was dialled, `dropped`; or nobody knows.
pub(crate) fn said(fate: &Fate) -> String {
    match fate {
        Fate::Direct => "direct".to_owned(),
        Fate::Redirected(to) => to.port.map_or("elsewhere".to_owned(), |port| port.to_string()),
        Fate::Dropped(_) => "dropped".to_owned(),
        Fate::Undecided(because) => format!("undecided: {because}"),
    }
}

/// Answers every caller with the name of the place.
pub(crate) fn serve(lab: &Lab, end: &str, name: &'static str) {
    let listener = lab.netns().enter(|| TcpListener::bind(end)).expect("inside").expect("a listener");
    thread::spawn(move || {
        for mut caller in listener.incoming().flatten() {
            caller.write_all(name.as_bytes()).ok();
        }
    });
}

pub(crate) fn dial(lab: &Lab, end: &str) -> String {
    let end: SocketAddr = end.parse().expect("an end");
    let answer = lab.netns().enter(|| {
        let mut stream = TcpStream::connect_timeout(&end, Duration::from_millis(600)).ok()?;
        stream.set_read_timeout(Some(Duration::from_millis(600))).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    });
    answer.expect("inside").unwrap_or_else(|| "dropped".to_owned())
}

/// A pod with these rules (a shell script), a proxy on 15001, and a server in the world.
pub(crate) fn loaded(rules: &str) -> (Lab, Lab, Summary) {
    let (pod, world, snapshot) = taken(rules);
    let summary = summarise(&snapshot, false);
    (pod, world, summary)
}

/// The same, with what was read of it.
pub(crate) fn taken(rules: &str) -> (Lab, Lab, Snapshot) {
    let (pod, world) = Lab::pod_and_world();
    pod.sh(rules);
    serve(&pod, "0.0.0.0:15001", "15001");
    serve(&pod, "0.0.0.0:80", "direct");
    serve(&world, "0.0.0.0:80", "direct");
    let mut snapshot = look_at(&pod);
    let wanted = Wanted::default();
    let (rulesets, unread) = read(pod.netns(), Path::new("/proc"), wanted).expect("the rules");
    assert!(unread.is_empty(), "{unread:?}");
    snapshot.rulesets = Some(rulesets);
    assert!(snapshot.unread.is_empty(), "{:?}", snapshot.unread);
    (pod, world, snapshot)
}

/// What is said of outbound connections is what becomes of one.
pub(crate) fn outbound(rules: &str, becomes: &str) {
    let (pod, _world, summary) = loaded(rules);
    let found = (dial(&pod, "10.0.0.5:80"), said(&summary.outbound.fate));
    assert_eq!(found, (becomes.to_owned(), becomes.to_owned()), "(what becomes of it, what is said) with\n{rules}");
}

/// What is said alone.
pub(crate) fn saying(rules: &str, inbound: bool) -> String {
    let summary = loaded(rules).2;
    said(if inbound { &summary.inbound.fate } else { &summary.outbound.fate })
}

/// The same of inbound ones.
pub(crate) fn inbound(rules: &str, becomes: &str) {
    let (_pod, world, summary) = loaded(rules);
    let found = (dial(&world, "10.0.0.2:80"), said(&summary.inbound.fate));
    assert_eq!(found, (becomes.to_owned(), becomes.to_owned()), "(what becomes of it, what is said) with\n{rules}");
}

/// A script that loads a table with these chains.
pub(crate) fn table(chains: &[&str]) -> String {
    format!("nft -f - <<'END'\ntable ip f {{\n{}\n}}\nEND", chains.join("\n"))
}

const REDIRECT: &str = "chain n { type nat hook output priority -100; meta l4proto tcp redirect to :15001; }";

#[test]
fn nat_chains_stand_where_the_kernel_runs_them() {
    if !require_root() {
        return;
    }
    let late = "chain p { type nat hook output priority 50; meta l4proto tcp redirect to :15001; }";
    outbound(&table(&["chain o { type filter hook output priority 0; tcp dport 15001 drop; }", late]), "dropped");
    outbound(&table(&["chain o { type filter hook output priority 0; tcp dport 80 drop; }", late]), "15001");
    let (_pod, _world, snapshot) =
        taken(&table(&["chain o { type filter hook output priority 0; tcp dport 15001 drop; }", late]));
    let shown: Vec<&str> = blocks(&snapshot, true).iter().map(|block| block.chains[0].name.as_str()).collect();
    assert_eq!(shown, ["p", "o"], "blocks stand in the order of the packet's way");
    // Among themselves they go by their own.
    let early = "chain q { type nat hook output priority -150; return; }";
    outbound(
        &table(&["chain o { type filter hook output priority -120; tcp dport 15001 drop; }", early, late]),
        "15001",
    );
    let inward = "chain p { type nat hook prerouting priority 50; meta l4proto tcp redirect to :15001; }";
    inbound(&table(&["chain i { type filter hook prerouting priority 0; tcp dport 15001 drop; }", inward]), "dropped");
}

#[test]
fn chains_before_the_tracking_see_an_untracked_packet() {
    if !require_root() {
        return;
    }
    let raw = |rule: &str| format!("chain o {{ type filter hook output priority -300; {rule}; }}");
    for (rule, becomes) in [
        ("ct state invalid drop", "dropped"),
        ("ct state new drop", "15001"),
        ("ct state != invalid drop", "15001"),
        ("ct mark 0 drop", "15001"),
        ("ct mark != 7 drop", "15001"),
        ("meta l4proto tcp drop", "dropped"),
    ] {
        outbound(&table(&[&raw(rule), REDIRECT]), becomes);
    }
    let inward = "chain n { type nat hook prerouting priority -100; meta l4proto tcp redirect to :15001; }";
    inbound(&table(&["chain i { type filter hook prerouting priority -300; ct state new drop; }", inward]), "15001");
    inbound(
        &table(&["chain i { type filter hook prerouting priority -300; ct state invalid drop; }", inward]),
        "dropped",
    );
    inbound(&table(&["chain i { type filter hook prerouting priority -150; ct state new drop; }", inward]), "dropped");
    for tool in ["iptables-legacy", "iptables-nft"] {
        for (rule, becomes) in [
            ("-m conntrack --ctstate INVALID", "dropped"),
            ("-m conntrack --ctstate NEW", "15001"),
            ("-m conntrack ! --ctstate NEW", "dropped"),
            ("-m connmark ! --mark 7", "15001"),
        ] {
            let script = format!(
                "{tool} -t raw -A OUTPUT {rule} -j DROP
                 {tool} -t nat -A OUTPUT -p tcp -j REDIRECT --to-ports 15001"
            );
            outbound(&script, becomes);
        }
    }
}

#[test]
fn a_mark_that_the_connection_gets_is_seen_by_later_rules() {
    if !require_root() {
        return;
    }
    let asks = "chain n { type nat hook output priority -100; ct mark 1 return; meta l4proto tcp redirect to :15001; }";
    let sets = |rule: &str| format!("chain o {{ type filter hook output priority -150; {rule}; }}");
    outbound(&table(&[&sets("ct mark set 1"), asks]), "direct");
    outbound(&table(&[&sets("ct mark set 2"), asks]), "15001");
    outbound(&table(&[&sets("ct mark set ct mark or 1"), asks]), "direct");
    outbound(
        &table(&[
            "chain m { type filter hook output priority -160; meta mark set 1; }",
            &sets("ct mark set mark"),
            asks,
        ]),
        "direct",
    );
    let restores = "chain p { type filter hook output priority -140; meta mark set ct mark; }";
    let by_mark = "chain n { type nat hook output priority -100; mark 1 return; meta l4proto tcp redirect to :15001; }";
    outbound(&table(&[&sets("ct mark set 1"), restores, by_mark]), "direct");
    outbound(&table(&[restores, by_mark]), "15001");
    // Where nothing is tracked yet, there is no mark to set.
    outbound(&table(&["chain o { type filter hook output priority -300; ct mark set 1; }", asks]), "15001");
    outbound(
        "iptables-legacy -t mangle -A OUTPUT -j MARK --set-mark 0x31
         iptables-legacy -t mangle -A OUTPUT -j CONNMARK --save-mark --nfmask 0xf --ctmask 0xf
         iptables-legacy -t nat -A OUTPUT -m connmark --mark 1 -j RETURN
         iptables-legacy -t nat -A OUTPUT -p tcp -j REDIRECT --to-ports 15001",
        "direct",
    );
}

#[test]
fn an_untracked_packet_stays_untracked() {
    if !require_root() {
        return;
    }
    let notrack = "chain r { type filter hook output priority -300; notrack; }";
    let later = |rule: &str| format!("chain o {{ type filter hook output priority 0; {rule}; }}");
    for (rule, becomes) in [
        ("ct state new drop", "direct"),
        ("ct state untracked drop", "dropped"),
        ("ct state invalid drop", "direct"),
        ("ct mark 0 drop", "direct"),
        ("ct mark != 1 drop", "direct"),
    ] {
        outbound(&table(&[notrack, &later(rule), REDIRECT]), becomes);
    }
    // Once tracked, tracked.
    outbound(&table(&["chain r { type filter hook output priority -150; notrack; }", REDIRECT]), "15001");
}

#[test]
fn a_redirected_packet_comes_in_again_through_every_hook() {
    if !require_root() {
        return;
    }
    let again = |rule: &str| format!("chain i {{ type filter hook prerouting priority 0; {rule}; }}");
    for (rule, becomes) in [
        ("iifname \"lo\" tcp dport 15001 drop", "dropped"),
        ("iifname \"eth0\" tcp dport 15001 drop", "15001"),
        ("ct state new tcp dport 15001 drop", "dropped"),
    ] {
        outbound(&table(&[&again(rule), REDIRECT]), becomes);
    }
    // It is tracked already, and translated once only.
    outbound(
        &table(&["chain i { type filter hook prerouting priority -300; ct state invalid drop; }", REDIRECT]),
        "15001",
    );
    outbound(
        &table(&["chain i { type filter hook prerouting priority -300; ct state new drop; }", REDIRECT]),
        "dropped",
    );
    outbound(
        &table(&["chain i { type nat hook prerouting priority -100; tcp dport 15001 redirect to :9; }", REDIRECT]),
        "15001",
    );
    let marks = "chain m { type filter hook output priority 0; tcp dport 15001 meta mark set 7; }";
    outbound(&table(&[marks, REDIRECT, &again("mark 7 drop")]), "dropped");
    outbound(&table(&[REDIRECT, &again("mark 7 drop")]), "15001");
    // What is not redirected does not come in.
    outbound(&table(&[&again("ct state new drop")]), "direct");
}

#[test]
fn what_leaves_passes_the_last_hook() {
    if !require_root() {
        return;
    }
    let last = |rule: &str| format!("chain i {{ type filter hook postrouting priority 0; {rule}; }}");
    for (rule, becomes) in [
        ("tcp dport 15001 drop", "dropped"),
        ("oifname \"lo\" drop", "dropped"),
        ("oifname \"eth0\" drop", "15001"),
        ("tcp dport 80 drop", "15001"),
    ] {
        outbound(&table(&[&last(rule), REDIRECT]), becomes);
    }
    outbound(&table(&[&last("oifname \"eth0\" drop")]), "dropped");
    outbound(&table(&[&last("oifname \"lo\" drop")]), "direct");
    let nat = "chain s { type nat hook postrouting priority 100; tcp dport 15001 drop; }";
    outbound(&table(&[nat, REDIRECT]), "dropped");
    outbound(&table(&["chain s { type nat hook postrouting priority 100; masquerade; }", REDIRECT]), "15001");
}

#[test]
fn chains_of_devices_are_asked() {
    if !require_root() {
        return;
    }
    let device = |device: &str, rules: &str| {
        format!(
            "nft -f - <<'END'
             table netdev d {{
             chain o {{ type filter hook ingress device {device} priority 0; {rules}; }}
             }}
             table ip f {{\n{REDIRECT}\n}}\nEND"
        )
    };
    outbound(&device("lo", "drop"), "dropped");
    outbound(&device("lo", "meta protocol ip accept"), "15001");
    outbound(&device("lo", "tcp dport 15001 drop"), "dropped");
    inbound(&device("eth0", "drop"), "dropped");
    inbound(&device("eth0", "accept"), "direct");
    inbound(&device("lo", "drop"), "direct");
    let inet = "table inet f { chain o { type filter hook ingress device eth0 priority 0; tcp dport 80 drop; }; }";
    let (_pod, world, summary) = loaded(&format!("nft '{inet}'"));
    assert_eq!(dial(&world, "10.0.0.2:80"), "dropped");
    assert_eq!(said(&summary.inbound.fate), "direct", "another port is not dropped");
    let inet = inet.replace("tcp dport 80 drop", "drop");
    inbound(&format!("nft '{inet}'"), "dropped");
    let egress = "table netdev d { chain o { type filter hook egress device eth0 priority 0; drop; }; }";
    outbound(&format!("nft '{egress}'"), "dropped");
    // What leads a packet to another device is not followed.
    let forwards = "table netdev d { chain o { type filter hook ingress device eth0 priority 0; fwd to lo; }; }";
    let (_pod, _world, summary) = loaded(&format!("nft '{forwards}'"));
    assert!(matches!(summary.inbound.fate, Fate::Undecided(_)), "{:?}", summary.inbound.fate);
}

#[test]
fn what_hangs_on_the_tracking_and_cannot_be_told_is_not_told() {
    if !require_root() {
        return;
    }
    let undecided = |chain: &str| {
        let (_pod, _world, summary) = loaded(&table(&[chain, REDIRECT]));
        assert!(matches!(summary.outbound.fate, Fate::Undecided(_)), "{chain}: {:?}", summary.outbound.fate);
    };
    // At the priority of the tracking itself, the one that was there last comes first.
    undecided("chain o { type filter hook output priority -200; ct state new drop; }");
    undecided("chain o { type filter hook output priority -200; notrack; }");
    // A zone is given by a template that looks like the tracking of something new.
    let zoned = "chain o { type filter hook output priority -300; ct zone set 1\n ct state new drop; }";
    outbound(&table(&[zoned, REDIRECT]), "dropped");
    outbound(
        &table(&["chain o { type filter hook output priority -200; meta l4proto tcp drop; }", REDIRECT]),
        "dropped",
    );
}

#[test]
fn what_is_sent_to_another_machine_does_not_come_in() {
    if !require_root() {
        return;
    }
    let sent = |to: &str| {
        let nat = format!("chain n {{ type nat hook prerouting priority -100; meta l4proto tcp dnat to {to}:15001; }}");
        let input = "chain i { type filter hook input priority 0; tcp dport 15001 drop; }";
        format!("sysctl -qw net.ipv4.ip_forward=1\n{}", table(&[&nat, input, MASQUERADE]))
    };
    let (_pod, world, summary) = loaded(&sent("10.0.0.5"));
    serve(&world, "0.0.0.0:15001", "world");
    assert_eq!(dial(&world, "10.0.0.2:80"), "world");
    assert!(!matches!(summary.inbound.fate, Fate::Dropped(_)), "{:?}", summary.inbound.fate);
    let (_pod, world, summary) = loaded(&sent("10.0.0.2"));
    assert_eq!(dial(&world, "10.0.0.2:80"), "dropped");
    assert!(!matches!(summary.inbound.fate, Fate::Redirected(_)), "{:?}", summary.inbound.fate);
    let open = sent("10.0.0.5").replace("drop", "accept");
    assert_eq!(said(&loaded(&open).2.inbound.fate), "15001", "decided where it makes no difference");
}

const MASQUERADE: &str = "chain s { type nat hook postrouting priority 100; masquerade; }";
