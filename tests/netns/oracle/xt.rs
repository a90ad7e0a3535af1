//! Random rules of iptables, in either backend and family.

use super::chance::Chance;
use super::packets::{IDS, PORTS};
use super::rules::{Chain, Kind, Rules, Table, chains_of, settings};

/// Addresses for rules: those of packets, and networks around them.
const NETS: &str = "10.0.0.5 10.0.0.0/24 10.0.0.0/8 127.0.0.1 127.0.0.0/8 10.96.0.10 10.96.0.0/16 10.0.0.2 10.0.0.2/31 127.0.0.6 0.0.0.0/0 \
    192.0.2.0/24 10.0.0.1 10.0.0.5/255.0.0.255 198.51.100.9";
const NETS6: &str = "fd01::9 fd00::/64 fd00::/8 ::1 fd00::2 fd00::1 ::/0 2001:db8::/32 2001:db8:1::9 fd00::2/127";
const MARKS: &str = "0x1 0x2 0x5 0x1/0x1 0x15 0x10/0xf0 0x539/0xfff 0x100/0xff00 0x0 0x0/0x4";

/// Where a rule stands.
pub(super) struct Spot<'a> {
    pub(super) kind: Kind,
    pub(super) table: &'a str,
    /// Where packets come from that reach it.
    pub(super) hook: &'a str,
    /// It stands there itself, and not in a chain of its own.
    pub(super) base: bool,
    /// Chains to which it may jump.
    pub(super) chains: &'a [String],
    /// Sets to look into.
    pub(super) sets: bool,
    /// What cannot be known may be asked, too.
    pub(super) open: bool,
}

impl Spot<'_> {
    fn out(&self) -> bool {
        matches!(self.hook, "OUTPUT" | "POSTROUTING")
    }

    fn six(&self) -> bool {
        self.kind.ipv6()
    }
}

fn not(chance: &mut Chance) -> &'static str {
    if chance.percent(20) { "! " } else { "" }
}

fn ports(chance: &mut Chance, most: usize) -> String {
    let count = 1 + chance.below(most);
    let mut ports: Vec<String> = (0..count).map(|_| chance.word(PORTS)).collect();
    if chance.percent(20) {
        ports.push("8000:9999".to_owned());
    }
    ports.join(",")
}

/// Matches about the protocol and its ports; the protocol that it then is.
fn transport(chance: &mut Chance, needs_ports: bool) -> (String, Option<&'static str>) {
    let protocol = match chance.below(100) {
        _ if needs_ports => *chance.one(&["udp", "udp", "tcp"]),
        0..30 => return (String::new(), None),
        30..70 => "udp",
        70..90 => "tcp",
        90..94 => return (format!("{} ", chance.text("! -p udp|! -p tcp|-p icmp|-p 132|! -p 6|-p all")), None),
        _ => return (format!("-p {} ", chance.word("6 17")), None),
    };
    let mut text = format!("-p {protocol} ");
    match chance.below(10) {
        0..4 => text += &format!("-m {protocol} {}--dport {} ", not(chance), chance.word(PORTS)),
        4 => text += &format!("-m {protocol} {}--dport {} ", not(chance), chance.word("0:1023 15000:15010 81: :443")),
        5 => text += &format!("-m {protocol} {}--sport {} ", not(chance), chance.word("20000:65535 1024:19999 0:1023")),
        6 => {
            text +=
                &format!("-m multiport {}--{} {} ", not(chance), chance.word("dports dports ports"), ports(chance, 4))
        }
        7 if protocol == "tcp" => {
            text += &format!(
                "-m tcp {} ",
                chance.text("--syn|! --syn|--tcp-flags SYN,ACK SYN|--tcp-flags ALL SYN|! --tcp-flags RST RST")
            );
        }
        _ => {}
    }
    (text, Some(protocol))
}

/// One match that can be decided of any packet that is told in full.
fn decidable(chance: &mut Chance, spot: &Spot<'_>) -> String {
    let six = spot.six();
    let nets = if six { NETS6 } else { NETS };
    let device = || "eth0 lo eth+ e+ wlan0 +".to_owned();
    let inverted = not(chance);
    match chance.below(16) {
        0 | 1 => format!("{inverted}-d {}", chance.word(nets)),
        2 => format!("{inverted}-s {}", chance.word(nets)),
        3 if !spot.base || !spot.out() => format!("{inverted}-i {}", chance.word(&device())),
        3 | 4 if !spot.base || spot.out() || spot.hook == "FORWARD" => {
            format!("{inverted}-o {}", chance.word(&device()))
        }
        5 | 6 if spot.out() => {
            let what = chance.word("uid uid gid");
            let ids = chance.word(&format!("{IDS} 1000-1999 0-1000"));
            let groups = if what == "gid" && chance.percent(50) { " --suppl-groups" } else { "" };
            format!("-m owner {inverted}--{what}-owner {ids}{groups}")
        }
        7 if spot.out() => format!("-m owner {inverted}--socket-exists"),
        7 | 8 => format!("-m mark {inverted}--mark {}", chance.word(MARKS)),
        9 => format!("-m connmark {inverted}--mark {}", chance.word(MARKS)),
        10 => {
            let states =
                "NEW NEW ESTABLISHED RELATED NEW,ESTABLISHED INVALID UNTRACKED RELATED,ESTABLISHED DNAT SNAT NEW,DNAT";
            format!("-m conntrack {inverted}--ctstate {}", chance.word(states))
        }
        11 => {
            let address = if six { "fd01::9 fd00::/64 ::1" } else { "10.0.0.5 10.0.0.0/24 127.0.0.1" };
            match chance.below(4) {
                0 => format!("-m conntrack {inverted}--ctorigdst {}", chance.word(address)),
                1 => format!("-m conntrack --ctproto udp {inverted}--ctorigdstport {}", chance.word(PORTS)),
                2 => format!("-m conntrack {inverted}--ctproto {}", chance.word("tcp udp")),
                _ => format!("-m conntrack --ctdir {}", chance.word("ORIGINAL ORIGINAL REPLY")),
            }
        }
        12 => {
            let types = chance
                .word("LOCAL LOCAL LOCAL UNICAST LOCAL,UNICAST BROADCAST MULTICAST,BROADCAST ANYCAST UNREACHABLE");
            let side = chance.word("dst dst src");
            // The kernel looks at the hook of base chains only.
            let device = match (spot.base && chance.percent(25), spot.hook) {
                (true, "PREROUTING" | "INPUT") => " --limit-iface-in",
                (true, "OUTPUT" | "POSTROUTING") => " --limit-iface-out",
                _ => "",
            };
            format!("-m addrtype {inverted}--{side}-type {types}{device}")
        }
        13 if six => format!("-m iprange {inverted}--{}-range fd00::1-fd01::ffff", chance.word("src dst")),
        13 => {
            let range = chance.word("10.0.0.1-10.0.0.4 10.0.0.5-10.96.0.10 127.0.0.0-127.0.0.5 10.0.0.2-192.0.2.9");
            format!("-m iprange {inverted}--{}-range {range}", chance.word("src dst"))
        }
        14 if spot.sets => {
            let set = if six {
                chance.text("six dst|six src|six-ports dst,dst")
            } else {
                chance.text("hosts dst|hosts src|nets dst|nets src|pairs dst,dst|pairs src,dst|ports dst|devices dst,src|both dst,dst")
            };
            format!("-m set {inverted}--match-set {set}")
        }
        _ => format!("-m comment --comment \"{}\"", chance.word("a b c")),
    }
}

/// One match of which not everything can be known.
pub(super) fn open(chance: &mut Chance, spot: &Spot<'_>) -> String {
    let six = spot.six();
    let matches = "-m statistic --mode random --probability 0.5|-m statistic --mode nth --every 2 --packet 0\
        |-m limit --limit 1/min --limit-burst 2|-m hashlimit --hashlimit-upto 1/min --hashlimit-burst 2 --hashlimit-name h --hashlimit-mode dstip\
        |-m recent --name r --set|-m recent --name r --rcheck|-m length --length 28:60|-m length ! --length 0:48\
        |-m quota --quota 100|-m pkttype --pkt-type host|-m pkttype --pkt-type broadcast\
        |-m u32 --u32 \"0>>22&0x3c@0>>16=20000:25000\"|-m bpf --bytecode \"4,48 0 0 9,21 0 1 6,6 0 0 1,6 0 0 0\"\
        |-m string --algo bm --string nslens|-m tos --tos 0|-m dscp --dscp 0|-m connbytes --connbytes 1 --connbytes-dir original --connbytes-mode packets\
        |-m connlimit --connlimit-upto 3|-m cpu --cpu 0|-m time --timestart 00:00 --timestop 12:00|-m cluster --cluster-total-nodes 2 --cluster-local-node 1 --cluster-hash-seed 7\
        |-m conntrack --ctstatus CONFIRMED|-m conntrack --ctstatus SEEN_REPLY|-m conntrack --ctexpire 0:100\
        |-m connlabel --label 1|-m helper --helper ftp\
        |-m nfacct --nfacct-name none|-m ecn --ecn-tcp-cwr|-m cgroup --cgroup 1";
    // Of these the kernel checks the hook in base chains alone where iptables-nft wrote them. In a chain of its own that is reached
    // from elsewhere, where there is no device or no route, some of them take the whole kernel down with them (`devgroup_mt`,
    // Linux 6.18): they stand in base chains only, and `devgroup`, `realm` and `rpfilter` nowhere.
    if spot.base && matches!(spot.hook, "PREROUTING" | "INPUT") && chance.percent(20) {
        return chance.text(
            "-m socket|-m socket --transparent --restore-skmark|-m mac --mac-source 02:00:00:00:00:01|-m policy --dir in --pol none\
            |-m physdev --physdev-is-in",
        );
    }
    match chance.below(6) {
        0 if six => "-m hl --hl-eq 64".to_owned(),
        0 => chance.text("-m ttl --ttl-eq 64|-m ttl --ttl-gt 64"),
        _ => chance.text(matches),
    }
}

fn reject(chance: &mut Chance, six: bool, protocol: Option<&str>) -> String {
    match (six, protocol) {
        (_, Some("tcp")) if chance.percent(50) => "REJECT --reject-with tcp-reset".to_owned(),
        (true, _) => format!(
            "REJECT --reject-with {}",
            chance.word("icmp6-port-unreachable icmp6-adm-prohibited icmp6-no-route")
        ),
        (false, _) => format!(
            "REJECT --reject-with {}",
            chance.word("icmp-port-unreachable icmp-admin-prohibited icmp-host-prohibited")
        ),
    }
}

/// Addresses to which connections are sent.
fn sent_to(chance: &mut Chance, six: bool) -> String {
    let port = if chance.percent(60) { format!(":{}", chance.word(PORTS)) } else { String::new() };
    let address = match six {
        true => chance.word("fd01::9 fd00::2 fd00::1 ::1 2001:db8::7"),
        false => chance.word("10.0.0.5 10.0.0.2 10.0.0.3 127.0.0.1 127.0.0.6 10.0.0.1 10.96.0.10 192.0.2.7"),
    };
    match (six, port.is_empty()) {
        (true, false) => format!("[{address}]{port}"),
        _ => format!("{address}{port}"),
    }
}

fn translation(chance: &mut Chance, spot: &Spot<'_>) -> String {
    let six = spot.six();
    match spot.hook {
        "PREROUTING" | "OUTPUT" => match chance.below(12) {
            0..5 => format!("REDIRECT --to-ports {}", chance.word("15001 15006 80 8080 81")),
            5..10 => format!("DNAT --to-destination {}", sent_to(chance, six)),
            _ if six => format!("NETMAP --to {}", chance.word("fd00::/120 fd00::/64 fd00::2/128")),
            _ => {
                format!("NETMAP --to {}", chance.word("10.0.0.0/28 127.0.0.0/24 10.96.0.0/16 10.0.0.2/31 10.0.0.5/32"))
            }
        },
        "INPUT" => format!("SNAT --to-source {}", if six { "fd00::77" } else { "10.9.9.9" }),
        _ if chance.percent(50) => "MASQUERADE".to_owned(),
        _ if six => format!("SNAT --to-source {}", chance.word("fd00::2 fd00::77 fd00::2")),
        _ => format!("SNAT --to-source {}", chance.word("10.0.0.3 10.0.0.2 10.0.0.77")),
    }
}

/// What happens to who matches; the protocol is one with ports where `ports` says so.
fn target(chance: &mut Chance, spot: &Spot<'_>, protocol: Option<&str>) -> String {
    let six = spot.six();
    let jumps = !spot.chains.is_empty();
    let verdict = match chance.below(10) {
        0..4 if jumps => return format!("-{} {}", chance.word("j j j g"), chance.one(spot.chains)),
        0..6 => {
            return format!(
                "-j {}",
                if spot.base { chance.word("ACCEPT RETURN ACCEPT") } else { chance.word("ACCEPT RETURN RETURN") }
            );
        }
        6 => return String::new(),
        _ => &mut *chance,
    };
    let done = match spot.table {
        "filter" if verdict.percent(40) => reject(verdict, six, protocol),
        "filter" | "security" => "DROP".to_owned(),
        "raw" if spot.open => verdict.text("CT --notrack|NOTRACK|CT --zone 5|DROP|CT"),
        "raw" => verdict.text("CT --notrack|NOTRACK|DROP"),
        "nat" => translation(verdict, spot),
        _ => match verdict.below(10) {
            0..4 => format!("MARK {}", verdict.text("--set-mark 0x1|--set-mark 0x2|--set-xmark 0x10/0xf0|--or-mark 0x4|--and-mark 0x1|--xor-mark 0x15|--set-mark 0x100")),
            4..7 => format!("CONNMARK {}", verdict.text("--set-mark 0x1|--set-mark 0x5|--save-mark|--restore-mark|--set-xmark 0x10/0xf0|--restore-mark --nfmask 0xf --ctmask 0xff|--save-mark --nfmask 0xff --ctmask 0xff")),
            7 if spot.hook == "PREROUTING" && protocol.is_some() => {
                let mark = verdict.text("--tproxy-mark 0x100/0xff00| |--tproxy-mark 0x1");
                format!("TPROXY --on-port {} {mark}", verdict.word("15006 15006 15001 9090"))
            }
            7 | 8 => verdict.text("DROP|CLASSIFY --set-class 1:2|NFLOG|CHECKSUM --checksum-fill|DROP").replace("CHECKSUM --checksum-fill", "NFLOG"),
            _ => "TOS --set-tos 0x10".to_owned(),
        },
    };
    format!("-j {done}")
}

/// A whole rule, without the name of its chain.
pub(super) fn rule(chance: &mut Chance, spot: &Spot<'_>) -> String {
    let needs = spot.table == "nat" || spot.hook == "PREROUTING" && spot.table == "mangle" && chance.percent(50);
    let needs = needs && chance.percent(85);
    let (mut text, protocol) = transport(chance, needs);
    for _ in 0..*chance.one(&[0, 1, 1, 2]) {
        let more = decidable(chance, spot);
        // An option may stand once only.
        let option =
            more.split_whitespace().find(|word| word.starts_with('-') && *word != "-m").unwrap_or_default().to_owned();
        if option.len() > 2 && !text.contains(&option) || !text.contains(&format!("{option} ")) {
            text += &format!("{more} ");
        }
    }
    if spot.open && chance.percent(25) {
        text += &format!("{} ", open(chance, spot));
    }
    let target = target(chance, spot, protocol);
    format!("{text}{target}").trim().to_owned()
}

/// A table with some rules in some of its chains.
pub(super) fn table(chance: &mut Chance, kind: Kind, name: &str, (sets, open): (bool, bool)) -> Table {
    let mut chains = Vec::new();
    for hook in chains_of(name) {
        let drops = name == "filter" && chance.percent(5);
        let count = if chance.percent(45) { 0 } else { chance.below(4) };
        let deep = if count > 0 { chance.below(3) } else { 0 };
        let own: Vec<String> = (0..deep).map(|at| format!("{}-{at}", hook.to_lowercase())).collect();
        let spot = |base: bool, chains| Spot { kind, table: name, hook, base, chains, sets, open };
        let rules = (0..count).map(|_| rule(chance, &spot(true, own.as_slice()))).collect();
        let base = if drops { "DROP" } else { "ACCEPT" }.to_owned();
        chains.push(Chain { name: (*hook).to_owned(), base, rules });
        for (at, chain) in own.iter().enumerate() {
            // Only to those behind it: no jump leads back.
            let further = own.get(at + 1..).unwrap_or_default();
            let rules = (0..1 + chance.below(4)).map(|_| rule(chance, &spot(false, further))).collect();
            chains.push(Chain { name: chain.clone(), base: String::new(), rules });
        }
    }
    Table { kind, name: name.to_owned(), sets: Vec::new(), chains }
}

/// Sets in the kernel's ipset.
const SETS: &str = "create hosts hash:ip\nadd hosts 10.0.0.5\nadd hosts 127.0.0.1\nadd hosts 10.0.0.2\n\
create nets hash:net\nadd nets 10.0.0.0/24\nadd nets 127.0.0.0/8\ncreate but hash:net\nadd but 10.0.0.0/24\nadd but 10.0.0.5 nomatch\n\
create pairs hash:ip,port\nadd pairs 10.0.0.5,udp:80\nadd pairs 127.0.0.1,tcp:80\nadd pairs 10.0.0.2,udp:443\n\
create ports bitmap:port range 0-20000\nadd ports 80\nadd ports 15000-15010\n\
create devices hash:net,iface\nadd devices 10.0.0.0/8,eth0\nadd devices 127.0.0.0/8,lo\n\
create both list:set\nadd both hosts\nadd both pairs\n\
create six hash:net family inet6\nadd six fd00::/64\nadd six ::1\n\
create six-ports hash:ip,port family inet6\nadd six-ports fd01::9,udp:80\nadd six-ports ::1,tcp:80";

/// Tables of iptables, each in one backend, or in either.
pub(super) fn rules(chance: &mut Chance, open: bool, both: bool) -> Rules {
    let mut rules = Rules { settings: settings(chance), ..Rules::default() };
    let sets = chance.percent(30);
    if sets {
        rules.ipsets = SETS.lines().map(str::to_owned).collect();
    }
    for (legacy, compat) in [(Kind::Legacy4, Kind::Compat4), (Kind::Legacy6, Kind::Compat6)] {
        for (name, often) in [("raw", 20), ("mangle", 45), ("nat", 70), ("filter", 50), ("security", 10)] {
            for kind in [legacy, compat] {
                if chance.percent(if both { often } else { often / 2 }) {
                    rules.tables.push(table(chance, kind, name, (sets, open)));
                    if !both {
                        break;
                    }
                }
            }
        }
    }
    rules
}
