//! The manual of nft, section by section and family by family: tables of rules, sets and objects, and rules put together by chance,
//! loaded by the real program, and listed by both.
//!
//! What this kernel or nft refuses is left out. So are rules whose list nft itself could not load again: fields of less than a byte in
//! concatenations and under masks, and Ethernet addresses behind `vlan`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::native::load;
use crate::rules::printed;
use crate::support::{Lab, require_root};

const FAMILIES: [&str; 6] = ["ip", "ip6", "inet", "arp", "bridge", "netdev"];

/// What rules of the tables name.
const NAMED: &str = "
 set sa { type ipv4_addr; flags interval; elements = { 10.0.0.0/8 } }
 map ma { type ipv4_addr : mark; }
 set dyn { type ipv4_addr; size 1000; flags dynamic,timeout; timeout 1m; }
 set dynp { type ipv4_addr . inet_service; size 1000; flags dynamic,timeout; }
 map dynm { type ipv4_addr : inet_service; size 1000; flags dynamic,timeout; }
 counter cnt { }
 quota quo { 10 mbytes }
 limit lim { rate 5/second }
 chain other { }
";

/// Objects that are not there in every family.
const OBJECTS: [&str; 4] = [
    "ct helper hlp { type \"ftp\" protocol tcp; }",
    "ct timeout tmo { protocol tcp; policy = { established: 100, close: 4 }; }",
    "ct expectation exp { protocol tcp; dport 9876; timeout 2m; size 12; }",
    "synproxy syn { mss 1460; wscale 7; timestamp sack-perm; }",
];

pub(crate) fn lab() -> Lab {
    let lab = Lab::new();
    lab.sh("ip link add eth0 type veth peer name eth1");
    for family in FAMILIES {
        assert!(load(&lab, &format!("table {family} t {{\n{NAMED}\n}}\n")), "{family}");
        for object in OBJECTS {
            load(&lab, &format!("table {family} t {{\n {object}\n}}\n"));
        }
    }
    lab
}

/// A rule, and where it goes: `family | type, hook and priority of its chain, or - | rule`.
pub(crate) struct Line<'a> {
    family: &'a str,
    hook: &'a str,
    rule: &'a str,
}

pub(crate) fn lines(table: &str) -> Vec<Line<'_>> {
    let parts = |line: &'_ str| -> Option<(usize, usize)> {
        let first = line.find('|')?;
        Some((first, first + 1 + line[first + 1..].find('|')?))
    };
    table
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(|line| {
            let (first, second) = parts(line).unwrap_or_else(|| panic!("{line:?} is no line of three parts"));
            Line { family: &line[..first], hook: &line[first + 1..second], rule: &line[second + 1..] }
        })
        .collect()
}

/// Loads as many as nft takes, many in one go; how many that were.
pub(crate) fn load_rules<'a>(lab: &Lab, lines: &[Line<'a>], chains: &mut BTreeMap<(&'a str, &'a str), usize>) -> usize {
    let mut text = String::new();
    for line in lines {
        let number = chains.len();
        let chain = chains.entry((line.family, line.hook)).or_insert(number);
        let head = if line.hook == "-" { String::new() } else { format!("{};", line.hook) };
        writeln!(text, "table {} t {{\n chain c{chain} {{\n {head}\n {}\n }}\n}}", line.family, line.rule)
            .expect("a text");
    }
    if load(lab, &text) {
        return lines.len();
    }
    if lines.len() < 2 {
        return 0;
    }
    let (first, second) = lines.split_at(lines.len() / 2);
    load_rules(lab, first, chains) + load_rules(lab, second, chains)
}

/// How long an element still stays is another moment's answer.
pub(crate) fn without_expiry(text: &str) -> String {
    let mut words = text.split(' ').peekable();
    let mut kept = Vec::new();
    while let Some(word) = words.next() {
        if word == "expires" {
            words.next();
        } else {
            kept.push(word);
        }
    }
    kept.join(" ")
}

pub(crate) fn assert_listed(lab: &Lab, what: &str) -> usize {
    let (ours, theirs) = (printed(lab, &["rules", "-o", "nft"]), lab.sh("nft list ruleset"));
    let (ours, theirs) = (without_expiry(&ours), without_expiry(&theirs));
    let different: Vec<String> = ours
        .lines()
        .zip(theirs.lines())
        .filter(|(line, wanted)| line != wanted)
        .map(|(line, wanted)| format!(" ours: {}\n  nft: {}", line.trim(), wanted.trim()))
        .collect();
    assert!(
        different.is_empty(),
        "{what}: {} lines differ\n{}",
        different.len(),
        different[..different.len().min(20)].join("\n")
    );
    assert_eq!(ours.lines().count(), theirs.lines().count(), "{what}");
    theirs.lines().count()
}

/// The rules of a table, by many at a time.
#[expect(clippy::print_stdout, reason = "the counts are wanted, with --nocapture")]
fn compare(name: &str, table: &str, at_least: usize) {
    if !require_root() {
        return;
    }
    let lab = lab();
    let lines = lines(table);
    let (mut chains, mut taken) = (BTreeMap::new(), 0);
    // One chain's rules lie together, so that few tables are opened and closed.
    for part in lines.chunks(128) {
        taken += load_rules(&lab, part, &mut chains);
    }
    assert_listed(&lab, name);
    println!("{name}: {taken} of {} rules compared", lines.len());
    assert!(taken >= at_least, "only {taken} of {} rules of {name} were taken", lines.len());
}

#[test]
fn fields_of_headers_under_every_operator() {
    compare("fields.txt", include_str!("../fixtures/nft/manual/fields.txt"), 4800);
}

#[test]
fn options_and_connections() {
    compare("options.txt", include_str!("../fixtures/nft/manual/options.txt"), 210);
}

#[test]
fn properties_of_packets_in_every_family() {
    compare("packet.txt", include_str!("../fixtures/nft/manual/packet.txt"), 225);
}

#[test]
fn what_rules_do() {
    compare("statements.txt", include_str!("../fixtures/nft/manual/statements.txt"), 300);
}

#[test]
#[expect(clippy::print_stdout, reason = "the count is wanted, with --nocapture")]
fn sets_and_objects_of_every_type() {
    if !require_root() {
        return;
    }
    let lab = Lab::new();
    assert!(load(&lab, "table inet t {\n chain cc { }\n}\n"));
    let table = include_str!("../fixtures/nft/manual/sets.txt");
    let mut taken = 0;
    for line in table.lines().filter(|line| !line.starts_with('#')) {
        taken += usize::from(load(&lab, &format!("table inet t {{\n {line}\n}}\n")));
    }
    assert_listed(&lab, "sets.txt");
    println!("{taken} sets and objects compared");
    assert!(taken >= 320, "only {taken} were taken");
}

/// Comparisons that may stand in any family; then those of each.
const ANY: &[&str] = &[
    "meta mark 1",
    "meta mark != 0xff",
    "meta mark & 0xff == 0x5",
    "iifname \"lo\"",
    "iifname \"eth*\"",
    "iif \"lo\"",
    "meta l4proto tcp",
    "meta l4proto udp",
    "meta l4proto { tcp, udp }",
    "meta pkttype host",
    "meta cpu 1-3",
    "ct state new",
    "ct state established,related",
    "ct mark 5",
    "ct status dnat",
    "meta skuid 1000",
    "limit rate 5/second",
    "counter",
    "meta day \"Monday\"",
    "fib daddr type local",
    "meta l4proto icmp",
    "meta l4proto gre",
    "meta l4proto 1-5",
    "meta l4proto != tcp",
];
const IPV4: &[&str] = &[
    "ip saddr 1.2.3.4",
    "ip saddr 10.0.0.0/8",
    "ip saddr != 10.0.0.0/9",
    "ip daddr 1.1.1.1-1.1.1.9",
    "ip ttl 5",
    "ip dscp cs1",
    "ip dscp { cs1, ef }",
    "ip ecn ce",
    "ip protocol tcp",
    "ip protocol { tcp, udp }",
    "ip protocol icmp",
    "ip protocol != udp",
    "ip version 4",
    "ip hdrlength 5",
    "ip frag-off 5",
    "ip length 100-200",
    "ip saddr . ip daddr { 1.1.1.1 . 2.2.2.2 }",
    "icmp type echo-request",
    "icmp type { echo-reply, redirect }",
    "icmp code 1",
    "icmp id 5",
    "icmp sequence 6",
    "icmp mtu 1500",
    "ip option rr exists",
    "ip saddr @sa",
];
const IPV6: &[&str] = &[
    "ip6 saddr ::1",
    "ip6 saddr fe80::/10",
    "ip6 nexthdr tcp",
    "ip6 nexthdr { tcp, udp }",
    "ip6 hoplimit 5",
    "ip6 dscp cs1",
    "ip6 flowlabel 5",
    "icmpv6 type echo-request",
    "icmpv6 code no-route",
    "icmpv6 id 5",
    "icmpv6 mtu 1280",
    "frag more-fragments 1",
    "exthdr hbh exists",
    "rt type 0",
    "ip6 nexthdr ipv6-icmp",
    "icmpv6 type nd-neighbor-solicit",
    "icmpv6 max-delay 5",
];
const TRANSPORT: &[&str] = &[
    "tcp dport 80",
    "tcp sport 1-5",
    "tcp dport != { 1, 5-9 }",
    "tcp flags syn",
    "tcp flags & (syn|ack) == syn",
    "tcp flags & syn == syn",
    "tcp flags == 0x12",
    "tcp doff 5",
    "tcp window > 5",
    "udp dport 53",
    "udp sport 5 udp dport 6",
    "udp length 5",
    "th dport 5",
    "sctp dport 5",
    "dccp type request",
    "ah spi 5",
    "esp sequence 5",
    "comp cpi 5",
    "tcp option maxseg size 5",
    "tcp option timestamp exists",
    "udplite sport 5",
    "tcp sport . tcp dport { 1 . 2 }",
    "@th,0,32 5",
    "@th,160,32 5",
    "tcp dport vmap { 5 : accept }",
    "tcp dport . meta mark { 5 . 6 }",
    "igmp type membership-query",
];
const LINK: &[&str] = &[
    "ether saddr 00:11:22:33:44:55",
    "ether type ip",
    "ether type arp",
    "vlan id 5",
    "vlan pcp 3",
    "arp operation request",
    "arp saddr ip 1.2.3.4",
];
const FAMILY: &[&str] = &["meta nfproto ipv4", "meta nfproto ipv6"];
const ACTIONS: &[&str] = &[
    "",
    "counter",
    "accept",
    "drop",
    "log prefix \"x\"",
    "log group 5",
    "meta mark set 5",
    "ct mark set meta mark",
    "meta mark set ct mark",
    "ip dscp set cs1",
    "tcp dport set 5",
    "reject",
    "reject with tcp reset",
    "reject with icmp type host-unreachable",
    "reject with icmpx type no-route",
    "notrack",
    "quota 5 bytes",
    "limit rate 5/minute burst 7 packets",
    "add @dyn { ip saddr }",
    "update @dyn { ip saddr timeout 5s counter }",
    "meta mark set ip saddr map @ma",
    "jump other",
    "meta priority set 1:2",
    "meta nftrace set 1",
    "ct label set 5",
    "ip ttl set 5",
    "meta mark set tcp dport map { 5 : 6 }",
    "tcp dport vmap { 5 : accept, 6 : drop }",
    "ip saddr . tcp dport vmap { 1.1.1.1 . 5 : accept }",
    "meta mark set jhash ip saddr mod 5",
    "return",
    "fib saddr . iif oif missing drop",
    "add @dynp { ip saddr . tcp dport }",
];

/// A family, the comparisons of one rule, and what it does.
fn any_rule() -> impl Strategy<Value = (&'static str, Vec<&'static str>, &'static str)> {
    let sorts: [(&str, &[&[&'static str]]); 6] = [
        ("ip", &[ANY, IPV4, TRANSPORT]),
        ("ip6", &[ANY, IPV6, TRANSPORT]),
        ("inet", &[ANY, IPV4, IPV6, TRANSPORT, FAMILY, TRANSPORT]),
        ("arp", &[ANY, LINK]),
        ("bridge", &[ANY, IPV4, IPV6, TRANSPORT, LINK]),
        ("netdev", &[ANY, IPV4, IPV6, TRANSPORT, LINK]),
    ];
    let of = |(family, sorts): (&'static str, &[&'static [&'static str]])| {
        let words: Vec<&'static str> = sorts.iter().flat_map(|sort| sort.iter().copied()).collect();
        (Just(family), proptest::collection::vec(select(words), 1..5), select(ACTIONS)).boxed()
    };
    proptest::strategy::Union::new(sorts.map(of))
}

#[test]
#[expect(clippy::print_stdout, reason = "the counts are wanted, with --nocapture")]
fn rules_put_together_by_chance() {
    if !require_root() {
        return;
    }
    const HOOK: &str = "type filter hook input priority 0";
    const DEVICE: &str = "type filter hook ingress device lo priority 0";
    const RULES: usize = 900;
    let (lab, mut runner, strategy) = (lab(), TestRunner::deterministic(), any_rule());
    let rules: Vec<(&str, String)> = (0..RULES)
        .map(|_| {
            let (family, mut parts, action) = strategy.new_tree(&mut runner).expect("a rule").current();
            parts.push(action);
            (family, parts.join(" ").trim().to_owned())
        })
        .collect();
    let line = |(family, rule): &'_ (&'static str, String)| -> (&'static str, &'static str, String) {
        (*family, if *family == "netdev" { DEVICE } else { HOOK }, rule.clone())
    };
    let rules: Vec<_> = rules.iter().map(line).collect();
    let mut chains = BTreeMap::new();
    let lines: Vec<Line<'_>> = rules.iter().map(|(family, hook, rule)| Line { family, hook, rule }).collect();
    let taken: usize = lines.chunks(16).map(|part| load_rules(&lab, part, &mut chains)).sum();
    assert_listed(&lab, "generated rules");
    println!("{taken} of {RULES} generated rules were taken and compared");
    assert!(taken >= 400, "only {taken} of {RULES} were taken");
}
