//! What a rule asks of a packet, told by its counter: rules without a target are loaded by the real programs, one packet is sent, and
//! each rule that it moved must be one of which nslens says that it matches, or that nobody can know.

use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::time::Duration;

use nslens::analysis::ipsets::IpSets;
use nslens::analysis::native::reading;
use nslens::capture::sets::Elements;
use nslens::model::{Body, Family, Hook, Rule};
use nslens::nft::Expression;
use nslens::packet::{Answer, DeviceName, Known, Packet, Tracked};

use crate::sets::look;
use crate::support::{Lab, require_root, wait_until};

const TCP: u8 = 6;
const UDP: u8 = 17;
const PORT: u16 = 80;
/// `XT_CONNTRACK_STATE_BIT(IP_CT_NEW)`
const NEW: u32 = 1 << 3;

/// The packet that is sent, as far as it can be told.
fn sent(protocol: u8, ipv6: bool, source_port: u16) -> Packet {
    let end = |four: [u8; 4], six: u16| -> std::net::IpAddr {
        if ipv6 { [0xfd00, 0, 0, 0, 0, 0, 0, six].into() } else { four.into() }
    };
    let (source, destination) = (Known::Is(end([10, 0, 0, 2], 2)), Known::Is(end([10, 0, 0, 5], 5)));
    let (source_port, destination_port) = (Known::Is(source_port), Known::Is(PORT));
    let tcp = protocol == TCP;
    let connection = Tracked {
        protocol: Known::Is(protocol),
        original_source: source,
        original_destination: destination,
        reply_source: destination,
        reply_destination: source,
        original_source_port: source_port,
        original_destination_port: destination_port,
        reply_source_port: destination_port,
        reply_destination_port: source_port,
        status: Known::Is(0),
        expiry: Known::Unknown,
        is_reply: Known::Is(false),
    };
    Packet {
        protocol: Known::Is(protocol),
        source,
        destination,
        source_local: Known::Is(true),
        destination_local: Known::Is(false),
        source_port,
        destination_port,
        input: Known::Absent,
        output: Known::from_option(DeviceName::new("eth0")),
        uid: Known::Is(0),
        gid: Known::Is(0),
        mark: Known::Is(0),
        connection_mark: Known::Is(0),
        state: Known::Is(NEW),
        hop_limit: Known::Is(64),
        traffic_class: Known::Is(0),
        tcp_flags: if tcp { Known::Is(2) } else { Known::Absent },
        icmp_type: Known::Absent,
        icmp_code: Known::Absent,
        dccp_type: Known::Absent,
        mobility_type: Known::Absent,
        ah_spi: Known::Absent,
        esp_spi: Known::Absent,
        compression_index: Known::Absent,
        connection,
        ..Packet::default()
    }
}

/// Sends it, just once; the port from which.
fn send(pod: &Lab, protocol: u8, ipv6: bool) -> u16 {
    let to: SocketAddr = if ipv6 { "[fd00::5]:80" } else { "10.0.0.5:80" }.parse().expect("an end");
    let from = if ipv6 { "[::]:0" } else { "0.0.0.0:0" };
    let sent = || match protocol {
        UDP => {
            let socket = UdpSocket::bind(from).expect("a socket");
            socket.send_to(b"?", to).expect("sent");
            socket.local_addr().expect("an end").port()
        }
        // Nobody answers: there is one packet, until it is sent anew after a second.
        _ => {
            TcpStream::connect_timeout(&to, Duration::from_millis(100)).expect_err("nobody answers");
            0
        }
    };
    pod.netns().enter(sent).expect("inside")
}

/// The packets that a rule has counted.
fn counted(rule: &Rule) -> u64 {
    let native = match &rule.body {
        Body::Nft(native) => native.expressions.iter().find_map(|part| match part {
            Expression::Counter { packets, .. } => Some(*packets),
            _ => None,
        }),
        Body::Xt(_) => None,
    };
    rule.counters.map(|counters| counters.packets).or(native).unwrap_or(0)
}

/// How often the answers were yes, no and cannot know.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    yes: usize,
    no: usize,
    open: usize,
}

/// Sends a packet, and holds what each rule has counted beside what is said of it.
///
/// The kernel may send something of its own meanwhile (it looks for its neighbours): what is wrong is wrong of three packets.
fn compare(pod: &Lab, protocol: u8, ipv6: bool, wrong: &mut Vec<String>, tally: &mut Tally) {
    let mut always = compare_once(pod, protocol, ipv6, tally);
    for _ in 1..3 {
        if always.is_empty() {
            return;
        }
        let again = compare_once(pod, protocol, ipv6, &mut Tally::default());
        always.retain(|one| again.contains(one));
    }
    wrong.extend(always);
}

fn compare_once(pod: &Lab, protocol: u8, ipv6: bool, tally: &mut Tally) -> Vec<String> {
    let mut wrong = Vec::new();
    let family = if ipv6 { Family::Ip6 } else { Family::Ip };
    let before = look(pod, Elements::All);
    let port = send(pod, protocol, ipv6);
    let packet =
        Packet { source_port: if port == 0 { Known::Unknown } else { Known::Is(port) }, ..sent(protocol, ipv6, port) };
    let after = look(pod, Elements::All);
    let sets = IpSets::of(&after);
    for (ruleset, earlier) in
        after.rulesets().iter().zip(before.rulesets()).filter(|(ruleset, _)| ruleset.family.sees(ipv6))
    {
        for (table, earlier) in ruleset.tables.iter().zip(&earlier.tables) {
            let chains = table.chains.iter().zip(&earlier.chains);
            for (chain, earlier) in chains.filter(|(chain, _)| chain.hook == Some(Hook::Output)) {
                for (rule, earlier) in chain.rules.iter().zip(&earlier.rules) {
                    let Some(asked) = reading(ruleset.family, table, rule) else { continue };
                    let answer = sets.condition(&asked, ruleset.family).ask(&packet);
                    let matched = counted(rule) > counted(earlier);
                    match answer {
                        Answer::Yes => tally.yes += 1,
                        Answer::No => tally.no += 1,
                        Answer::CannotKnow => tally.open += 1,
                    }
                    if answer == Answer::from(!matched) {
                        let text = nslens::syntax::print_rule(ruleset.family, table, chain, rule);
                        wrong.push(format!(
                            "{:?} {family:?} protocol {protocol}: {text}: matched {matched}, said {answer:?}",
                            ruleset.backend
                        ));
                    }
                }
            }
        }
    }
    wrong
}

/// A pod, and a world that hears and says nothing; both know where the other is.
fn silent() -> (Lab, Lab) {
    let (pod, world) = Lab::pod_and_world();
    world.sh("nft 'table inet s { chain i { type filter hook input priority 0; meta l4proto { tcp, udp } drop; }; }'");
    // They know where the other is, so that nothing waits later.
    for ipv6 in [false, true] {
        wait_until("the way", || {
            send(&pod, UDP, ipv6);
            !pod.sh("ip neigh").contains("FAILED")
                && pod.sh("ip neigh").contains(if ipv6 { "fd00::5" } else { "10.0.0.5" })
        });
    }
    (pod, world)
}

/// The matches of a line of the tables of extensions, without the target.
fn matches(line: &str) -> Option<(&str, String)> {
    let mut words = line.splitn(4, ' ');
    let (families, _table, _chain, rule) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let families = families.trim_start_matches('~');
    let end = [" -j ", " -g "].iter().filter_map(|target| rule.find(target)).min().unwrap_or(rule.len());
    let rule = rule.get(..end)?;
    (!families.starts_with('-') && !rule.starts_with("-j") && !rule.contains('\n')).then(|| (families, rule.to_owned()))
}

#[test]
#[expect(clippy::print_stdout, reason = "the counts are wanted, with --nocapture")]
fn matches_of_iptables_match_what_is_said_that_they_match() {
    if !require_root() {
        return;
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/xt");
    let mut files: Vec<_> =
        std::fs::read_dir(folder).expect("the tables").map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    let texts: Vec<String> = files.iter().map(|path| std::fs::read_to_string(path).expect("a table")).collect();
    let (mut wrong, mut tally) = (Vec::new(), Tally::default());
    for backend in ["legacy", "nft"] {
        let (pod, _world) = silent();
        for text in &texts {
            let setup: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("#!")).collect();
            pod.sh(&format!("{{ :\n{}\n}} >/dev/null 2>&1; true", setup.join("\n")));
        }
        for (six, word) in [(false, "iptables"), (true, "ip6tables")] {
            let rules = texts.iter().flat_map(|text| text.lines()).filter(|line| !line.starts_with('#'));
            let rules =
                rules.filter_map(matches).filter(|(families, _)| families.contains(if six { '6' } else { '4' }));
            let script: String =
                rules.map(|(_, rule)| format!("{word}-{backend} -w -t mangle -A OUTPUT {rule}\n")).collect();
            let file = tempfile::NamedTempFile::new().expect("a file");
            std::fs::write(file.path(), script).expect("written");
            let each = "while IFS= read -r line; do sh -c \"$line\" >/dev/null 2>&1 </dev/null; done";
            let done = pod.command("sh").arg("-c").arg(format!("{each} < {}", file.path().display())).status();
            done.expect("sh runs");
        }
        for (protocol, ipv6) in [(TCP, false), (UDP, false), (TCP, true), (UDP, true)] {
            compare(&pod, protocol, ipv6, &mut wrong, &mut tally);
        }
    }
    println!("{tally:?}");
    assert!(wrong.is_empty(), "{} of {tally:?}\n{}", wrong.len(), wrong.join("\n"));
    assert!(tally.yes >= 300 && tally.no >= 1000, "{tally:?}");
}

/// Comparisons of nft; sets that are named belong to the table.
const NATIVE: &str = "meta l4proto tcp|meta l4proto != tcp|meta l4proto { tcp, udp }|meta l4proto != { tcp, icmp }|meta l4proto 6-16|meta l4proto != 6-16
tcp dport 80|tcp dport != 80|udp dport 80|udp dport != 80|tcp dport 80-90|tcp dport != 80-90|tcp dport { 79, 80 }|tcp dport != { 79, 80 }
tcp dport { 1-79, 81-100 }|tcp dport != { 1-79, 81-100 }|udp sport 1-1023|udp sport != 1-1023|tcp sport > 1023|tcp dport < 81
th dport 80|th dport != 80|th dport { 80, 443 }|th dport != { 80, 443 }|th dport 0-79|th sport 1024-65535|th sport != 0
ip daddr 10.0.0.5|ip daddr != 10.0.0.5|ip daddr 10.0.0.0/29|ip daddr != 10.0.0.0/29|ip daddr 10.0.0.4/31|ip daddr != 10.0.0.0/30
ip daddr 10.0.0.2-10.0.0.9|ip daddr != 10.0.0.2-10.0.0.9|ip daddr { 10.0.0.0/24, 192.168.0.1 }|ip daddr != { 10.0.0.4, 10.0.0.5 }
ip saddr 10.0.0.2 ip daddr 10.0.0.5|ip saddr & 0.0.0.255 == 2|ip saddr & 255.0.0.255 != 10.0.0.2|ip saddr 0.0.0.0/0|ip saddr 10.0.0.0/8
ip6 daddr fd00::5|ip6 daddr != fd00::5|ip6 daddr fd00::/126|ip6 daddr != fd00::/64|ip6 daddr { fd00::4, fd00::5 }|ip6 saddr fd00::-fd00::ff
ip6 daddr fd00::/15|ip6 saddr & ::ff == ::2|ip protocol tcp|ip protocol != tcp|ip protocol { tcp, udp }|ip6 nexthdr udp|ip6 nexthdr != udp
ip ttl 64|ip ttl != 64|ip ttl > 63|ip version 4|ip dscp 0|ip length 20-100|ip6 hoplimit 64
meta nfproto ipv4|meta nfproto ipv6|meta nfproto != ipv4|meta nfproto 7|meta protocol ip|meta protocol ip6|meta protocol != ip|meta protocol arp
meta skuid 0|meta skuid != 0|meta skuid 1-1000|meta skuid != 1-1000|meta skuid { 0, 5 }|meta skuid != { 0, 5 }|meta skuid { 0-7 }|meta skuid < 1
meta skgid 0|meta skgid != 5|meta skgid 0-4|meta skgid != { 1, 2 }
meta mark 0|meta mark != 0|meta mark 1|meta mark != 1|meta mark & 0xf0 == 0|meta mark & 0xf0 != 0x10|meta mark 0-5|meta mark != 1-5|meta mark { 0, 7 }
meta mark 0x10000000/4|meta mark & 0xff000000 == 0|meta mark and 0xf or 1 == 1|meta mark xor 1 == 1
ct mark 0|ct mark != 0|ct mark & 1 == 0|ct mark != 7|ct mark { 0, 1 }|ct mark 0-5
ct state new|ct state != new|ct state established,related|ct state new,established|ct state ! established|ct state invalid|ct state { new, related }|ct state & new == new
ct direction original|ct direction reply|ct status snat|ct status & dnat == 0|ct original ip daddr 10.0.0.5|ct original proto-dst 80|ct l3proto ipv4
oifname eth0|oifname != eth0|oifname lo|oifname != lo|oifname eth*|oifname != eth*|oifname e*|oif eth0|oif != lo|oif lo|oifname { eth0, lo }
iifname lo|iifname != lo|iifname eth0|iifname != eth0|iif lo|iif != lo|iifname e*
fib daddr type local|fib daddr type != local|fib saddr type local|fib saddr type != local|fib daddr type unicast|fib daddr . oif type local
tcp flags syn|tcp flags != syn|tcp flags ! syn|tcp flags & syn != syn|tcp flags syn / syn,ack
@th,16,16 80|@nh,72,8 6|icmp type echo-request|icmpv6 type echo-request|exthdr frag exists|meta pkttype host|meta pkttype != host
ip daddr @four|ip daddr != @four|ip6 daddr @six|tcp dport @ports|th dport != @ports|meta skuid @ids|meta skuid != @ids|ip daddr . tcp dport @pairs
tcp dport vmap { 81 : continue }|ip daddr @nets|ip daddr != @nets|udp dport @ranges|th dport != @ranges|meta mark @marks|meta mark != @marks
tcp dport 80 tcp sport 1024-65535|tcp dport 80 ip daddr 10.0.0.5|meta l4proto udp th dport 80|ip protocol udp th dport 80 meta skuid 0
meta l4proto != tcp meta l4proto != udp|tcp dport != 80 tcp dport != 81|ip daddr 10.0.0.5 ip daddr != 10.0.0.6|meta skuid 0 meta skuid != 1
";

const SETS: &str = "
set four { type ipv4_addr; elements = { 10.0.0.5, 10.0.0.9 }; }
set six { type ipv6_addr; elements = { fd00::5 }; }
set ports { type inet_service; elements = { 80, 443 }; }
set ids { type uid; elements = { 0, 7 }; }
set pairs { type ipv4_addr . inet_service; elements = { 10.0.0.5 . 80 }; }
set nets { type ipv4_addr; flags interval; elements = { 10.0.0.0/29, 10.0.1.0-10.0.1.255 }; }
set ranges { type inet_service; flags interval; elements = { 1-79, 81, 90-65535 }; }
set marks { type mark; elements = { 0x0, 0x1 }; }
";

#[test]
#[expect(clippy::print_stdout, reason = "the counts are wanted, with --nocapture")]
fn matches_of_nft_match_what_is_said_that_they_match() {
    if !require_root() {
        return;
    }
    let (pod, _world) = silent();
    for family in ["ip", "ip6", "inet"] {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let chain = "chain o { type filter hook output priority -150; }";
        std::fs::write(file.path(), format!("table {family} f {{\n{}\n{chain}\n}}\n", SETS)).expect("written");
        pod.sh(&format!("nft -f {}", file.path().display()));
        for rule in NATIVE.lines().flat_map(|line| line.split('|')) {
            // What means nothing in a table of this family is refused.
            let rule = format!("add rule {family} f o {rule} counter");
            pod.command("nft").arg(rule).stderr(std::process::Stdio::null()).status().expect("nft runs");
        }
    }
    let (mut wrong, mut tally) = (Vec::new(), Tally::default());
    for (protocol, ipv6) in [(TCP, false), (UDP, false), (TCP, true), (UDP, true)] {
        compare(&pod, protocol, ipv6, &mut wrong, &mut tally);
    }
    println!("{tally:?}");
    assert!(wrong.is_empty(), "{} of {tally:?}\n{}", wrong.len(), wrong.join("\n"));
    assert!(tally.yes >= 300 && tally.no >= 300, "{tally:?}");
}

/// Sets, each with what stands in it.
const IPSETS: [(&str, &[&str]); 17] = [
    ("a hash:ip", &["10.0.0.5", "10.0.0.9"]),
    ("b hash:ip netmask 24", &["10.0.0.0"]),
    ("c hash:net", &["10.0.0.0/29", "192.168.0.0/16"]),
    ("d hash:net", &["10.0.0.0/8", "10.0.0.0/29 nomatch"]),
    ("e hash:ip,port", &["10.0.0.5,tcp:80", "10.0.0.2,udp:80"]),
    ("f hash:net,port", &["10.0.0.0/24,udp:80"]),
    ("g hash:ip,port,ip", &["10.0.0.5,80,10.0.0.2"]),
    ("h hash:ip,port,net", &["10.0.0.5,udp:80,10.0.0.0/30"]),
    ("i hash:net,iface", &["10.0.0.0/24,eth0", "10.0.0.0/8,lo"]),
    ("j bitmap:port range 0-1000", &["80", "53"]),
    ("k bitmap:ip range 10.0.0.0/24", &["10.0.0.5"]),
    ("l hash:ip timeout 100", &["10.0.0.5"]),
    ("m list:set", &["a", "e", "empty"]),
    ("n hash:ip counters", &["10.0.0.5"]),
    ("o hash:net", &["10.0.0.0/30", "10.0.0.4/30", "10.0.0.5"]),
    ("p hash:ip hashsize 64", &["10.0.0.2"]),
    ("six hash:net family inet6", &["fd00::/64"]),
];

#[test]
#[expect(clippy::print_stdout, reason = "the counts are wanted, with --nocapture")]
fn ipsets_hold_what_is_said_that_they_hold() {
    if !require_root() {
        return;
    }
    let (pod, _world) = silent();
    pod.sh("ipset create empty hash:ip");
    for (set, elements) in IPSETS {
        let name = set.split(' ').next().expect("a name");
        pod.sh(&format!("ipset create {set}"));
        for element in elements {
            pod.sh(&format!("ipset add {name} {element}"));
        }
        for program in ["iptables-legacy", "iptables-nft", "ip6tables-legacy"] {
            for ways in ["src", "dst", "src,src", "dst,dst", "dst,src", "dst,dst,src", "src,dst,dst", "dst,dst,dst"] {
                for (not, more) in [("", ""), ("!", ""), ("", "--return-nomatch"), ("", "--packets-gt 5")] {
                    let rule = format!("-A OUTPUT -m set {not} --match-set {name} {ways} {more}");
                    let script = format!("{program} -w -t mangle {rule} 2>/dev/null");
                    pod.command("sh").args(["-c", &script]).status().expect("sh runs");
                }
            }
        }
    }
    let (mut wrong, mut tally) = (Vec::new(), Tally::default());
    for (protocol, ipv6) in [(TCP, false), (UDP, false), (TCP, true), (UDP, true)] {
        compare(&pod, protocol, ipv6, &mut wrong, &mut tally);
    }
    println!("{tally:?}");
    assert!(wrong.is_empty(), "{} of {tally:?}\n{}", wrong.len(), wrong.join("\n"));
    assert!(tally.yes >= 300 && tally.no >= 300, "{tally:?}");
}
