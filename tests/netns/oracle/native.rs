//! Random rules of nft itself.

use super::chance::Chance;
use super::packets::{IDS, PORTS};
use super::rules::{Chain, Kind, Rules, Table, settings};

/// Named sets and maps, for tables of either family.
const SETS: &str = "set hosts { type ipv4_addr; elements = { 10.0.0.5, 127.0.0.1, 10.0.0.2 }; }
set nets { type ipv4_addr; flags interval; elements = { 10.0.0.0/29, 127.0.0.0/8, 10.96.0.0-10.96.1.0 }; }
set six { type ipv6_addr; flags interval; elements = { fd00::/64, ::1 }; }
set ports { type inet_service; flags interval; elements = { 80, 443, 15000-15010 }; }
set ids { type uid; elements = { 0, 1337 }; }
set marks { type mark; elements = { 0x1, 0x5 }; }
set pairs { type ipv4_addr . inet_service; elements = { 10.0.0.5 . 80, 127.0.0.1 . 443, 10.0.0.2 . 8080 }; }
map goes { type inet_service : inet_service; elements = { 80 : 15001, 443 : 15006, 53 : 8080 }; }
map marked { type inet_service : mark; elements = { 80 : 0x1, 443 : 0x2, 8080 : 0x15 }; }";

/// Where a rule stands.
struct Spot<'a> {
    family: &'a str,
    hook: &'a str,
    kind: &'a str,
    chains: &'a [String],
    open: bool,
}

impl Spot<'_> {
    fn four(&self) -> bool {
        matches!(self.family, "ip" | "inet")
    }

    fn six(&self) -> bool {
        matches!(self.family, "ip6" | "inet")
    }

    fn out(&self) -> bool {
        matches!(self.hook, "output" | "postrouting")
    }
}

fn compared(chance: &mut Chance, words: &str, several: bool) -> String {
    match chance.below(if several { 6 } else { 3 }) {
        0 | 1 => chance.word(words),
        2 => format!("!= {}", chance.word(words)),
        other => {
            let mut all: Vec<String> = (0..1 + chance.below(3)).map(|_| chance.word(words)).collect();
            all.sort();
            all.dedup();
            format!("{}{{ {} }}", if other == 5 { "!= " } else { "" }, all.join(", "))
        }
    }
}

/// One comparison that can be decided.
fn decidable(chance: &mut Chance, spot: &Spot<'_>) -> String {
    let equal = |chance: &mut Chance| if chance.percent(25) { "!= " } else { "" };
    let sign = equal(chance);
    let side = chance.word("daddr daddr saddr");
    match chance.below(20) {
        0..3 => format!("{} dport {}", chance.word("tcp udp udp th"), compared(chance, PORTS, true)),
        3 => format!("{} dport {sign}{}", chance.word("tcp udp udp"), chance.word("@ports 80-443 1-1023")),
        4 => chance.text("udp sport > 1023|udp sport < 1024|tcp sport 20000-65535|th dport != 80|th dport { 80, 443 }"),
        5..7 if spot.four() => format!("ip {side} {}", compared(chance, "10.0.0.5 127.0.0.1 10.0.0.2 10.96.0.10 192.0.2.7", true)),
        7 if spot.four() => format!("ip {side} {sign}{}", chance.word("10.0.0.0/24 127.0.0.0/8 @hosts @nets 10.0.0.1-10.0.0.4")),
        5 | 6 if spot.six() => format!("ip6 {side} {}", compared(chance, "fd01::9 ::1 fd00::2 fd00::1", true)),
        7 | 8 if spot.six() => format!("ip6 {side} {sign}{}", chance.word("fd00::/64 ::1 @six 2001:db8::/32")),
        8 if spot.four() => format!("ip daddr . th dport {sign}@pairs"),
        9 => format!("meta l4proto {}", compared(chance, "tcp udp", true)),
        10 | 11 if spot.out() => format!("meta skuid {}", if chance.percent(30) { format!("{sign}@ids") } else { compared(chance, IDS, true) }),
        12 if spot.out() => format!("meta skgid {}", compared(chance, IDS, true)),
        10..14 => format!("meta mark {}", chance.text("0x1|!= 0x0|0x5|and 0x1 == 0x1|and 0xf0 != 0x10|@marks|!= @marks|{ 0x1, 0x2 }|0x0-0x5|and 0xff00 == 0x100")),
        14 if matches!(spot.hook, "prerouting" | "input") && chance.percent(40) => {
            chance.text("socket transparent 1|socket transparent 0|socket wildcard 1")
        }
        14 => format!("ct mark {}", chance.text("0x1|!= 0x0|0x5|and 0x1 == 0x1|@marks|0x0")),
        15 => format!("ct state {}", chance.text("new|!= new|established,related|new,established|invalid|untracked|{ new, related }|! new")),
        16 => chance.text("oifname lo|oifname eth0|oifname != lo|oif lo|oif != lo|oifname eth*|oifname { eth0, lo }|oif eth0|oif != eth0"),
        17 => chance.text("iifname lo|iifname eth0|iifname != lo|iif lo|iif != lo|iifname e*|iifname != { lo }|iif eth0|iif != eth0"),
        18 => chance.text("fib daddr type local|fib daddr type != local|fib saddr type local|ct direction original|ct direction reply|fib daddr type unicast|fib daddr type { local, broadcast }|fib daddr . iif type local|ct status dnat|ct status ! dnat"),
        19 if spot.family == "inet" => chance.text("meta nfproto ipv4|meta nfproto ipv6|meta nfproto != ipv4|meta protocol ip|meta protocol ip6|meta protocol != ip"),
        _ => chance.text("tcp flags syn|tcp flags & 0x12 == 0x2|tcp flags ! ack|meta l4proto { tcp, udp }|ct original protocol udp"),
    }
}

fn open(chance: &mut Chance) -> String {
    chance.text(
        "numgen random mod 2 0|numgen inc mod 2 == 1|limit rate 1/minute burst 2 packets|limit rate over 1/minute|meta length < 50|meta pkttype host\
        |jhash udp sport mod 2 == 0|quota over 100 bytes|meta cpu 0|meta hour < 12:00|meta random < 0x7fffffff|ct count over 2|@th,64,8 0x6e\
        |meta iifgroup 0|ct expiration < 30s|ct status seen-reply|meta priority 0|rt nexthop 10.0.0.1\
        |fib saddr . iif oif 0|ct bytes > 100|meta cgroup 0|meta rtclassid 0",
    )
}

/// A port behind an address, where the family is known to have ports.
fn nat(chance: &mut Chance, spot: &Spot<'_>) -> String {
    let four = spot.four() && (!spot.six() || chance.percent(50));
    let word = match (spot.family, four) {
        ("inet", true) => "ip ",
        ("inet", false) => "ip6 ",
        _ => "",
    };
    let port = if chance.percent(50) { format!(":{}", chance.word(PORTS)) } else { String::new() };
    let to = |address: String| match (four, port.is_empty()) {
        (false, false) => format!("[{address}]{port}"),
        _ => format!("{address}{port}"),
    };
    // A port asks for a protocol that has some.
    match spot.hook {
        "prerouting" | "output" => match chance.below(8) {
            0..3 => format!("meta l4proto {{ tcp, udp }} COUNT redirect to :{}", chance.word("15001 15006 80 81")),
            3 => "COUNT redirect".to_owned(),
            4 => format!("redirect to :{} dport map @goes", chance.word("udp tcp")),
            _ => {
                let address = chance.word(if four {
                    "10.0.0.5 10.0.0.2 127.0.0.1 10.0.0.1 192.0.2.7 10.0.0.3"
                } else {
                    "fd01::9 fd00::2 ::1 fd00::1"
                });
                format!("meta l4proto {} dnat {word}to {}", chance.word("udp udp tcp"), to(address))
            }
        },
        "input" => format!("snat {word}to {}", if four { "10.9.9.9" } else { "fd00::77" }),
        _ if chance.percent(50) => "COUNT masquerade".to_owned(),
        _ => format!(
            "snat {word}to {}",
            chance.word(if four { "10.0.0.3 10.0.0.77 10.0.0.2" } else { "fd00::2 fd00::77" })
        ),
    }
}

/// What is done to who matches; `COUNT` stands where it is counted. Not where something is asked behind it still, by a map or by what is
/// for one family only: that would count what the rule does nothing to.
fn done(chance: &mut Chance, spot: &Spot<'_>) -> String {
    let jumps = !spot.chains.is_empty();
    match chance.below(20) {
        0..6 if jumps => format!("COUNT {} {}", chance.word("jump jump jump goto"), chance.one(spot.chains)),
        6 if jumps => format!(
            "{} dport vmap {{ 80 : jump {}, 443 : accept, 53 : return }}",
            chance.word("udp tcp th"),
            chance.one(spot.chains)
        ),
        0..4 => "COUNT accept".to_owned(),
        4 | 5 => "COUNT return".to_owned(),
        6 => "udp dport vmap { 80 : drop, 443 : accept, 8000-9999 : continue }".to_owned(),
        7 if chance.percent(50) => "ct mark vmap { 0x1 : drop, 0x0 : accept }".to_owned(),
        7 => "COUNT".to_owned(),
        8 => "COUNT continue".to_owned(),
        _ if spot.kind == "nat" => nat(chance, spot),
        9 | 10 => format!("COUNT {}", chance.word("drop drop")),
        11 | 12 if matches!(spot.hook, "input" | "output" | "forward") => {
            let with = match spot.family {
                "ip" => chance.text("reject|reject with icmp type admin-prohibited"),
                "ip6" => chance.text("reject|reject with icmpv6 type admin-prohibited"),
                _ => chance.text("reject|reject with icmpx type admin-prohibited"),
            };
            if chance.percent(30) {
                "meta l4proto tcp COUNT reject with tcp reset".to_owned()
            } else {
                format!("COUNT {with}")
            }
        }
        13 if matches!(spot.hook, "prerouting" | "output") => "COUNT notrack".to_owned(),
        14 if spot.hook == "prerouting" => {
            let family = match spot.family {
                "inet" => chance.word("ip ip6") + " ",
                _ => String::new(),
            };
            format!(
                "meta l4proto {} tproxy {family}to :{}{}",
                chance.word("udp tcp"),
                chance.word("15006 15006 15001 9090"),
                chance.text(" accept| meta mark set 0x100 accept|")
            )
        }
        15 if chance.percent(25) => "meta mark set udp dport map @marked".to_owned(),
        15 | 16 => format!(
            "COUNT meta mark set {}",
            chance.text("0x1|0x2|meta mark or 0x4|meta mark xor 0x15|meta mark and 0x1|ct mark|0x100")
        ),
        17 => format!("COUNT ct mark set {}", chance.text("0x1|0x5|meta mark|ct mark or 0x4")),
        18 => "COUNT log group 5".to_owned(),
        _ => "COUNT drop".to_owned(),
    }
}

fn rule(chance: &mut Chance, spot: &Spot<'_>) -> String {
    let mut text = String::new();
    for _ in 0..*chance.one(&[0, 1, 1, 2, 2]) {
        text += &decidable(chance, spot);
        text.push(' ');
    }
    if spot.open && chance.percent(25) {
        text += &open(chance);
        text.push(' ');
    }
    text += &done(chance, spot);
    text.replace("COUNT", "counter")
}

/// Where a base chain may stand: its type, hook and priorities; no two the same unless that is wanted.
fn priority(
    chance: &mut Chance,
    taken: &mut Vec<(String, i32)>,
    (kind, hook): (&str, &str),
    open: bool,
) -> Option<i32> {
    let places: &[i32] = match kind {
        "nat" => &[-150, -110, -90, 0, 90, 110, 200],
        _ => &[-310, -250, -205, -160, -140, -120, -50, -1, 1, 20, 60, 90, 120, 160, 250],
    };
    let among = if kind == "nat" { format!("nat {hook}") } else { hook.to_owned() };
    let same = open && chance.percent(30);
    let found = *chance.one(if same { &[-150, -100, 0, 50, 100] } else { places });
    let found =
        if kind == "nat" && same { if matches!(hook, "prerouting" | "output") { -100 } else { 100 } } else { found };
    let place = (among, found);
    if !same && taken.contains(&place) {
        return None;
    }
    taken.push(place);
    Some(found)
}

/// A table of nft.
pub(super) fn table(
    chance: &mut Chance,
    family: &str,
    name: &str,
    taken: &mut Vec<(String, i32)>,
    with_open: bool,
) -> Table {
    let mut chains = Vec::new();
    for at in 0..1 + chance.below(4) {
        let kind = chance.word("filter filter nat nat route");
        let hook = match kind.as_str() {
            "route" => "output".to_owned(),
            "nat" => chance.word("prerouting output output postrouting input"),
            _ => chance.word("prerouting input forward output output postrouting"),
        };
        let Some(priority) = priority(chance, taken, (&kind, &hook), with_open) else { continue };
        let own: Vec<String> = (0..chance.below(3)).map(|deep| format!("c{at}-{deep}")).collect();
        let spot = |chains| Spot { family, hook: &hook, kind: &kind, chains, open: with_open };
        let policy = if kind == "filter" && chance.percent(5) { "drop" } else { "accept" };
        let base = format!("type {kind} hook {hook} priority {priority}; policy {policy};");
        let rules = (0..chance.below(4)).map(|_| rule(chance, &spot(&own))).collect();
        chains.push(Chain { name: format!("b{at}"), base, rules });
        for (deep, chain) in own.iter().enumerate() {
            let further = own.get(deep + 1..).unwrap_or_default();
            let rules = (0..1 + chance.below(3)).map(|_| rule(chance, &spot(further))).collect();
            chains.push(Chain { name: chain.clone(), base: String::new(), rules });
        }
    }
    let sets = SETS.lines().map(str::to_owned).collect();
    Table { kind: Kind::Native, name: format!("{family} {name}"), sets, chains }
}

/// One to three tables of nft.
pub(super) fn rules(chance: &mut Chance, open: bool) -> Rules {
    let mut rules = Rules { settings: settings(chance), ..Rules::default() };
    let mut taken = Vec::new();
    for at in 0..1 + chance.below(3) {
        let family = chance.word("ip ip inet inet ip6");
        rules.tables.push(table(chance, &family, &format!("t{at}"), &mut taken, open));
    }
    rules
}
