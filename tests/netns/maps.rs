//! Maps of nft: the way that packets really take, told by the counters of the rules at its end, beside what is said of it.

use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use nslens::analysis::eval::{End, Rulebase};
use nslens::capture::sets::Elements;
use nslens::model::{Body, Hook, Snapshot};
use nslens::nft::Expression;
use nslens::packet::{DeviceName, Known, Packet};

use crate::sets::look;
use crate::support::{Lab, require_root};

const TCP: u8 = 6;
const UDP: u8 = 17;
/// `XT_CONNTRACK_STATE_BIT(IP_CT_NEW)`
const NEW: u32 = 1 << 3;

/// A packet that is sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sent {
    pub(crate) protocol: u8,
    pub(crate) to: SocketAddr,
    pub(crate) mark: u32,
}

impl Sent {
    /// Every one of a grid; the ports from which they come are the kernel's choice.
    fn all() -> Vec<Self> {
        let ends = ["10.0.0.5:80", "10.0.0.5:81", "10.0.0.9:80", "10.0.0.9:443", "127.0.0.1:80"];
        let ends = ends.into_iter().chain(["[fd00::5]:80", "[fd00::5]:81", "[fd00::9]:443", "[::1]:80"]);
        let ends: Vec<SocketAddr> = ends.map(|end| end.parse().expect("an end")).collect();
        let marks = |protocol: u8| if protocol == UDP { vec![0, 1, 0x101] } else { vec![0] };
        let with = |protocol: u8| marks(protocol).into_iter().map(move |mark| (protocol, mark));
        let ways: Vec<(u8, u32)> = [TCP, UDP].into_iter().flat_map(with).collect();
        // What nobody on loopback answers to, TCP is answered all the same.
        let apart = |sent: &Self| sent.protocol == UDP || !sent.to.ip().is_loopback();
        ends.iter()
            .flat_map(|to| ways.iter().map(|(protocol, mark)| Self { protocol: *protocol, to: *to, mark: *mark }))
            .filter(apart)
            .collect()
    }

    pub(crate) fn send(self, pod: &Lab) {
        let from = if self.to.is_ipv6() { "[::]:0" } else { "0.0.0.0:0" };
        let send = || match self.protocol {
            UDP => {
                let socket = UdpSocket::bind(from).expect("a socket");
                setsockopt(&socket.as_fd(), sockopt::Mark, &self.mark).expect("marked");
                // A rule that drops it lets it fail.
                socket.send_to(b"?", self.to).ok();
            }
            _ => drop(TcpStream::connect_timeout(&self.to, Duration::from_millis(2))),
        };
        pod.netns().enter(send).expect("inside");
    }

    /// As far as it can be told.
    fn packet(self) -> Packet {
        let (ipv6, address) = (self.to.is_ipv6(), self.to.ip());
        let own: SocketAddr = if ipv6 { "[fd00::2]:0" } else { "10.0.0.2:0" }.parse().expect("an end");
        let loopback = address.is_loopback();
        Packet {
            protocol: Known::Is(self.protocol),
            source: Known::Is(if loopback { address } else { own.ip() }),
            destination: Known::Is(address),
            source_local: Known::Is(true),
            destination_local: Known::Is(loopback),
            destination_port: Known::Is(self.to.port()),
            input: Known::Absent,
            output: Known::from_option(DeviceName::new(if loopback { "lo" } else { "eth0" })),
            uid: Known::Is(0),
            gid: Known::Is(0),
            mark: Known::Is(self.mark),
            connection_mark: Known::Is(0),
            state: Known::Is(NEW),
            ..Packet::default()
        }
    }
}

/// What the rules of the chains `t…` have counted, and the chains' names: packets end there.
pub(crate) fn ends(snapshot: &Snapshot) -> Vec<(String, u64)> {
    let tables = snapshot.rulesets().iter().flat_map(|ruleset| &ruleset.tables);
    let chains = tables.flat_map(|table| &table.chains).filter(|chain| chain.name.starts_with('t'));
    let counted = |chain: &nslens::model::Chain| match chain.rules.first().map(|rule| &rule.body) {
        Some(Body::Nft(rule)) => rule.expressions.iter().find_map(|part| match part {
            Expression::Counter { packets, .. } => Some(*packets),
            _ => None,
        }),
        _ => None,
    };
    chains.map(|chain| (chain.name.clone(), counted(chain).unwrap_or_default())).collect()
}

/// Chains at whose ends it is told which way a packet took.
fn leaves() -> String {
    (1..=4).map(|at| format!("chain t{at} {{ counter drop; }}\n")).collect()
}

/// Sees every packet that gets out.
const PASSED: &str = "table inet q { chain tpassed { type filter hook postrouting priority 300; counter; }; }";

/// How often it was said that a packet ends in a chain, that it passes, and that nobody knows.
#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    ends: usize,
    passes: usize,
    open: usize,
}

/// Loads the table and compares what is said of each packet with where it went. Three times, should the kernel send something itself.
fn compare(pod: &Lab, table: &str, packets: &[Sent], wrong: &mut Vec<String>, tally: &mut Tally) {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), format!("flush ruleset\n{table}{PASSED}\n")).expect("written");
    let done = pod.command("nft").arg("-f").arg(file.path()).output().expect("nft runs");
    assert!(done.status.success(), "{}\n{table}", String::from_utf8_lossy(&done.stderr));
    for sent in packets {
        let mut said = String::new();
        let differs = (0..3).all(|_| {
            let before = look(pod, Elements::Few);
            sent.send(pod);
            let after = ends(&look(pod, Elements::Few));
            let moved = after.into_iter().zip(ends(&before)).filter(|((_, after), (_, before))| after > before);
            let moved: Vec<String> = moved.map(|((name, _), _)| name).collect();
            let hooks = [Hook::Output, Hook::Postrouting];
            let end = Rulebase::of(&before).through(&hooks, &sent.packet(), sent.to.is_ipv6());
            let same = match &end {
                // By the map itself, or by one of the chains to which it leads.
                End::Dropped { by: Some(by) } if !by.chain.starts_with('t') => !moved.contains(&"tpassed".to_owned()),
                End::Dropped { by: Some(by) } => moved == [by.chain.clone()],
                End::Untouched { .. } | End::Redirected { .. } => moved == ["tpassed"],
                _ => true,
            };
            if same {
                match end {
                    End::Dropped { .. } => tally.ends += 1,
                    End::Undecided { .. } => tally.open += 1,
                    _ => tally.passes += 1,
                }
            }
            said = format!("{sent:?}: went to {moved:?}, said {end:?}");
            !same
        });
        if differs {
            wrong.push(format!("{said}\n{table}"));
        }
    }
}

const FAMILIES: [&str; 3] = ["ip", "ip6", "inet"];

/// Maps that are named, and rules that look into them or into maps of their own: all of it that a family takes.
const DECLARED: &str = "
map ports { type inet_service : verdict; elements = { 80 : jump t1, 81 : goto t2 }; }
map others { type inet_service : verdict; elements = { 80 : continue, * : jump t3 }; }
map ranges { type inet_service : verdict; flags interval; elements = { 1-80 : jump t1, 90-500 : jump t2 }; }
map nothing { type inet_service : verdict; }
map four { type ipv4_addr : verdict; elements = { 10.0.0.5 : jump t1, 10.0.0.9 : return }; }
map nets { type ipv4_addr : verdict; flags interval; elements = { 10.0.0.0/29 : jump t1, 10.0.0.8-10.0.0.255 : jump t2, * : jump t3 }; }
map six { type ipv6_addr : verdict; elements = { fd00::5 : jump t1, ::1 : jump t2 }; }
map nets6 { type ipv6_addr : verdict; flags interval; elements = { fd00::/125 : jump t1, ::/64 : jump t2 }; }
map services { type ipv4_addr . inet_proto . inet_service : verdict; elements = { 10.0.0.5 . tcp . 80 : goto t1, 10.0.0.9 . udp . 443 : goto t2, 10.0.0.5 . udp . 81 : drop }; }
map services6 { type ipv6_addr . inet_proto . inet_service : verdict; elements = { fd00::5 . tcp . 80 : goto t1, fd00::9 . udp . 443 : goto t2 }; }
map wide { type ipv4_addr . inet_service : verdict; flags interval; elements = { 10.0.0.0/29 . 80 : goto t1, 10.0.0.8/29 . 1-500 : goto t2, 127.0.0.0/8 . 0-65535 : goto t3 }; }
map marked { type mark . inet_service : verdict; elements = { 0x00000001 . 80 : jump t1, 0x00000101 . 81 : jump t2 }; }
map marks { type mark : verdict; flags interval; elements = { 0-0xff : jump t1, 0x100-0x1000 : jump t2 }; }
map tomark { type inet_service : mark; elements = { 80 : 0x7, 81 : 0x8 }; }
map mostmark { type inet_service : mark; elements = { 80 : 0x7, * : 0x8 }; }
map timed { type inet_service : verdict; flags timeout; elements = { 80 : jump t1, 81 timeout 1h : jump t2 }; }
map counted { type inet_service : verdict; counter; elements = { 80 counter packets 0 bytes 0 : jump t1 }; }
set pairs { type ipv4_addr . inet_service; elements = { 10.0.0.5 . 80, 10.0.0.9 . 443 }; }
set widepairs { type ipv4_addr . inet_service; flags interval; elements = { 10.0.0.0/29 . 1-80, 10.0.0.9 . 443 }; }
set names { type ifname; elements = { eth0, dummy }; }
set marksports { type mark . inet_service; elements = { 0x00000001 . 80 }; }
set seen { type inet_service; flags dynamic; timeout 1h; elements = { 80 }; }
";

/// A rule a line.
const RULES: &str = "
tcp dport vmap @ports
udp dport vmap @ports
meta l4proto { tcp, udp } th dport vmap @ports
th dport vmap @others
th dport vmap @ranges
th dport vmap @nothing
tcp dport != 80 th dport vmap @ports
ip daddr vmap @four
ip daddr vmap @nets
ip6 daddr vmap @six
ip6 daddr vmap @nets6
ip daddr . meta l4proto . th dport vmap @services
ip6 daddr . meta l4proto . th dport vmap @services6
ip daddr . th dport vmap @wide
ip daddr . tcp dport vmap @wide
meta mark . th dport vmap @marked
meta mark vmap @marks
th dport vmap @timed
th dport vmap @counted
tcp dport vmap { 80 : jump t1, 81 : drop }
udp dport vmap { 80-81 : jump t1, 443 : accept }
meta l4proto vmap { tcp : jump t1, udp : jump t2 }
meta l4proto vmap { tcp : continue, * : jump t2 }
meta nfproto vmap { ipv4 : jump t1, ipv6 : jump t2 }
meta protocol vmap { ip : jump t1, ip6 : jump t2 }
oifname vmap { lo : jump t1, eth0 : jump t2 }
oifname vmap { \"et*\" : jump t1, lo : jump t2 }
oifname . th dport vmap { eth0 . 80 : jump t1, lo . 80 : jump t2 }
meta skuid vmap { 0 : jump t1, 5 : jump t2 }
meta skuid vmap { 0-10 : jump t1, 11-20 : jump t2 }
meta skuid != 0 th dport vmap @ports
ct state vmap { new : jump t1, established : jump t2 }
ct state vmap { established : jump t1, related : jump t2 }
ct state vmap { established : jump t1, * : jump t2 }
fib daddr type vmap { local : jump t1, unicast : jump t2 }
fib daddr type vmap { local : jump t1 }
ct mark vmap { 0 : jump t1, 1 : jump t2 }
ip protocol vmap { tcp : jump t1, udp : jump t2 }
ip6 nexthdr vmap { tcp : jump t1, udp : jump t2 }
ip saddr . ip daddr vmap { 10.0.0.2 . 10.0.0.5 : jump t1, 127.0.0.1 . 127.0.0.1 : jump t2 }
ip daddr . ip protocol vmap { 10.0.0.5 . tcp : jump t1, 10.0.0.9 . udp : jump t2 }
numgen inc mod 2 vmap { 0 : jump t1, 1 : jump t1 }
numgen random mod 4 vmap { 0-3 : jump t2 }
numgen random mod 4 vmap { 4-9 : jump t2 }
numgen inc mod 2 vmap { 0 : jump t1, 1 : jump t2 }
numgen inc mod 3 offset 5 vmap { 5 : jump t1, 6 : jump t1, 7 : jump t1 }
jhash ip saddr mod 2 vmap { 0 : goto t1, 1 : goto t1 }
jhash tcp dport mod 2 vmap { 0 : goto t1, 1 : goto t1 }
symhash mod 2 vmap { 0 : goto t1, 1 : goto t1 }
numgen random mod 2 vmap { 0 : jump t1 }
meta mark set th dport map @tomark
meta mark set th dport map @mostmark
meta mark set th dport map { 80 : 0x7, 443 : 0x8 }
meta mark set ip daddr map { 10.0.0.0/29 : 0x7, 10.0.0.9 : 0x8 }
meta mark set meta mark map { 0x1 : 0x7, 0x101 : 0x8 }
meta mark set th dport map @tomark accept
meta mark set 7 accept
meta mark set 7 th dport 80 drop
meta mark set numgen random mod 2 map { 0 : 0x7, 1 : 0x7 }
ct mark set th dport map { 80 : 0x7, 81 : 0x8 } meta mark set ct mark
ct mark set 7 meta mark set ct mark jump t4
update @seen { th sport } jump t1
update @seen { th sport }
th dport @seen jump t1
ip daddr . th dport @pairs jump t1
ip daddr . th dport != @pairs jump t1
ip daddr . tcp dport @pairs jump t1
ip daddr . tcp dport != @pairs jump t1
ip daddr . th dport @widepairs jump t1
ip daddr . th dport != @widepairs jump t1
oifname @names jump t1
oifname != @names jump t1
meta mark . th dport @marksports jump t1
meta mark . th dport != @marksports jump t1
ct state { new, established } jump t1
ct state != { related, established } jump t1
fib daddr type { local, broadcast } jump t1
fib daddr type != { local, broadcast } jump t1
meta priority set 1:2 jump t1
meta nftrace set 1 th dport 80 jump t1
";

/// What nobody can know, or is not followed: where none of it is asked, what is said is certain.
const OPEN: [&str; 8] = ["numgen", "jhash", "fib", "@timed", "@seen", "interval", "prefix", "set 7 th dport"];

#[test]
#[expect(clippy::print_stdout, reason = "the counts are wanted, with --nocapture")]
fn packets_go_where_maps_lead_them() {
    if !require_root() {
        return;
    }
    let (pod, _world) = Lab::pod_and_world();
    let heard = pod.netns().enter(|| ["127.0.0.1:80", "[::1]:80"].map(|end| UdpSocket::bind(end).expect("a socket")));
    let _heard = heard.expect("inside");
    let (mut wrong, mut tally, mut refused) = (Vec::new(), Tally::default(), 0);
    let named = |rule: &str| -> String {
        let used = |line: &&str| {
            line.split(' ').nth(1).is_some_and(|name| rule.split(' ').any(|word| word == format!("@{name}")))
        };
        DECLARED.lines().filter(used).map(|line| format!("{line}\n")).collect()
    };
    for rule in RULES.lines().filter(|line| !line.is_empty()) {
        for family in FAMILIES {
            let leaves = leaves();
            let table = format!(
                "table {family} f {{\n{leaves}{}chain o {{ type filter hook output priority 0; {rule}; meta mark vmap {{ 0x7 : jump t3, 0x8 : jump t4 }}; }}\n}}\n",
                named(rule)
            );
            // What means nothing in a table of this family is refused.
            let file = tempfile::NamedTempFile::new().expect("a file");
            std::fs::write(file.path(), &table).expect("written");
            let checked = pod.command("nft").arg("-c").arg("-f").arg(file.path()).output().expect("nft runs");
            if !checked.status.success() {
                refused += 1;
                if family == "inet" {
                    println!("{rule}: {}", String::from_utf8_lossy(&checked.stderr));
                }
                continue;
            }
            let before = tally.open;
            compare(&pod, &table, &Sent::all(), &mut wrong, &mut tally);
            if tally.open > before && !OPEN.iter().any(|word| rule.contains(word)) {
                wrong.push(format!("open {}: {family} {rule}", tally.open - before));
            }
        }
    }
    println!("{tally:?}, {refused} refused");
    assert!(wrong.is_empty(), "{} of {tally:?}\n{}", wrong.len(), wrong.join("\n"));
    assert!(tally.ends >= 2000 && tally.passes >= 2000, "{tally:?}");
}

/// Translations by maps; where they lead is asked behind them, by address and port.
const TRANSLATED: &str = "
dnat to th dport map { 80 : 10.0.0.7, 81 : 10.0.0.8 }
dnat to th dport map @places
dnat to th dport map { 80 : 10.0.0.7, * : 10.0.0.8 }
dnat to ip daddr map { 10.0.0.5 : 10.0.0.7, 10.0.0.8-10.0.0.9 : 10.0.0.8 }
dnat to ip daddr . th dport map { 10.0.0.5 . 80 : 10.0.0.7, 10.0.0.9 . 80 : 10.0.0.8 }
meta l4proto { tcp, udp } dnat ip to th dport map { 80 : 10.0.0.7 . 8080, 81 : 10.0.0.8 . 8080 }
meta l4proto { tcp, udp } dnat ip to ip daddr . th dport map @pairs
meta l4proto { tcp, udp } dnat ip to ip daddr . th dport map @wide
meta l4proto { tcp, udp } dnat to 10.0.0.7:th dport map { 80 : 8080, 81 : 8081 }
meta l4proto { tcp, udp } redirect to :th dport map { 80 : 8080, 81 : 8081 }
tcp dport 80 redirect to :tcp dport map { 80 : 8080 }
meta l4proto tcp redirect to :tcp dport map @toports
dnat to numgen inc mod 2 map { 0 : 10.0.0.7, 1 : 10.0.0.7 }
dnat to numgen inc mod 2 map { 0 : 10.0.0.7, 1 : 10.0.0.8 }
dnat to jhash ip saddr mod 2 map { 0 : 10.0.0.7, 1 : 10.0.0.8 }
dnat to meta mark map { 0x1 : 10.0.0.7, 0x101 : 10.0.0.8 }
dnat ip interval to ip daddr map { 10.0.0.5 : 10.0.0.7-10.0.0.7, 10.0.0.9 : 10.0.0.7-10.0.0.8 }
dnat ip prefix to ip daddr map { 10.0.0.0/29 : 10.0.1.0/29 }
dnat ip6 to th dport map { 80 : fd00::7, 81 : fd00::8 }
meta l4proto { tcp, udp } dnat ip6 to ip6 daddr . th dport map { fd00::5 . 80 : fd00::7 . 8080, fd00::9 . 443 : fd00::8 . 8080 }
";

const PLACES: &str = "
map places { type inet_service : ipv4_addr; elements = { 80 : 10.0.0.7, 443 : 10.0.0.8 }; }
map pairs { type ipv4_addr . inet_service : ipv4_addr . inet_service; elements = { 10.0.0.5 . 80 : 10.0.0.7 . 8080, 10.0.0.9 . 443 : 10.0.0.8 . 81 }; }
map wide { type ipv4_addr . inet_service : ipv4_addr . inet_service; flags interval; elements = { 10.0.0.0/29 . 1-80 : 10.0.0.7 . 8080, 10.0.0.9 . 443 : 10.0.0.8 . 81 }; }
map toports { type inet_service : inet_service; elements = { 80 : 8080, 443 : 8081 }; }
";

#[test]
#[expect(clippy::print_stdout, reason = "the counts are wanted, with --nocapture")]
fn translations_by_maps_lead_where_they_are_said_to_lead() {
    if !require_root() {
        return;
    }
    let (pod, _world) = Lab::pod_and_world();
    let (mut wrong, mut tally) = (Vec::new(), Tally::default());
    // What comes from loopback finds no route elsewhere, which rules do not tell.
    let packets: Vec<Sent> = Sent::all().into_iter().filter(|sent| !sent.to.ip().is_loopback()).collect();
    for rule in TRANSLATED.lines().filter(|line| !line.is_empty()) {
        let mut loaded = false;
        for family in FAMILIES {
            let asked = match family {
                "ip6" => {
                    "ip6 daddr . th dport vmap { fd00::7 . 80 : jump t1, fd00::7 . 8080 : jump t2, fd00::8 . 81 : jump t3, fd00::8 . 8080 : jump t4 };"
                }
                _ => {
                    "ip daddr . th dport vmap { 10.0.0.7 . 80 : jump t1, 10.0.0.7 . 8080 : jump t2, 10.0.0.8 . 80-443 : jump t3, 10.0.0.8 . 8080 : jump t4, 127.0.0.1 . 8080 : jump t2, 127.0.0.1 . 8081 : jump t3 };"
                }
            };
            let both = if family == "inet" {
                "ip6 daddr . th dport vmap { fd00::7 . 8080 : jump t2, fd00::8 . 8080 : jump t4, ::1 . 8080 : jump t1 };"
            } else {
                ""
            };
            let name = |line: &&str| rule.ends_with(&format!("@{}", line.split(' ').nth(1).unwrap_or_default()));
            let named: String = PLACES.lines().filter(name).map(|line| format!("{line}\n")).collect();
            let table = format!(
                "table {family} f {{\n{}{named}chain n {{ type nat hook output priority -100; {rule}; }}
                chain o {{ type filter hook output priority 0; {asked} {both} }}\n}}\n",
                leaves()
            );
            let file = tempfile::NamedTempFile::new().expect("a file");
            std::fs::write(file.path(), &table).expect("written");
            let checked = pod.command("nft").arg("-c").arg("-f").arg(file.path()).output().expect("nft runs");
            if !checked.status.success() {
                continue;
            }
            loaded = true;
            let before = tally.open;
            compare(&pod, &table, &packets, &mut wrong, &mut tally);
            if tally.open > before && !OPEN.iter().any(|word| rule.contains(word)) {
                wrong.push(format!("open {}: {family} {rule}", tally.open - before));
            }
        }
        if !loaded {
            println!("refused: {rule}");
        }
    }
    println!("{tally:?}");
    assert!(wrong.is_empty(), "{} of {tally:?}\n{}", wrong.len(), wrong.join("\n"));
    assert!(tally.ends >= 100 && tally.passes >= 200, "{tally:?}");
}

/// A table whose map leads packets to port 80 into a chain that drops, and packets to as many other addresses.
fn large(count: u32) -> String {
    let others: String =
        (0..count - 1).map(|at| format!(", {} . 80 : jump t2", std::net::Ipv4Addr::from(0x0b00_0000 + at))).collect();
    format!(
        "table ip f {{\n{}map m {{ type ipv4_addr . inet_service : verdict; elements = {{ 10.0.0.5 . 80 : jump t1{others} }}; }}
        chain o {{ type filter hook output priority 0; oifname != \"lo\" ip daddr . th dport vmap @m; }}\n}}\n",
        leaves()
    )
}

#[test]
fn maps_are_read_unless_they_are_huge_and_then_nothing_is_said() {
    if !require_root() {
        return;
    }
    let pod = Lab::new();
    let sent = |to: &str| Sent { protocol: TCP, to: to.parse().expect("an end"), mark: 0 };
    for (count, read) in [(16_384, true), (16_385, false)] {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), format!("flush ruleset\n{}", large(count))).expect("written");
        pod.sh(&format!("nft -f {}", file.path().display()));
        for elements in [Elements::None, Elements::Cheap, Elements::Few, Elements::All] {
            let read = elements == Elements::All || read && elements != Elements::None;
            let snapshot = look(&pod, elements);
            let rules = Rulebase::of(&snapshot);
            let end = |to: &str| rules.through(&[Hook::Output], &sent(to).packet(), false);
            let (dropped, passed) = (end("10.0.0.5:80"), end("10.0.0.5:81"));
            if read {
                assert!(matches!(&dropped, End::Dropped { by: Some(by) } if by.chain == "t1"), "{dropped:?}");
                assert!(matches!(passed, End::Untouched { .. }), "{passed:?}");
            } else {
                for end in [dropped, passed] {
                    assert!(matches!(&end, End::Undecided { because } if because.contains("map m")), "{end:?}");
                }
            }
            // What does not come to the map does not hang on it.
            assert!(matches!(end("127.0.0.1:80"), End::Untouched { .. }));
        }
    }
}
