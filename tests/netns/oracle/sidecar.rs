//! Rules as sidecars have them, with faults: one rule too few, twice, elsewhere, for somebody else, or in the other family only.

use super::chance::Chance;
use super::rules::{Chain, Kind, Rules, Table};

/// Istio's, each line a chain and a rule.
const ISTIO: &str = "PREROUTING -p PROTO -j ISTIO_INBOUND
OUTPUT -j ISTIO_OUTPUT
ISTIO_INBOUND -p PROTO -m PROTO --dport 15008 -j RETURN
ISTIO_INBOUND -p PROTO -m PROTO --dport 9090 -j RETURN
ISTIO_INBOUND -p PROTO -j ISTIO_IN_REDIRECT
ISTIO_IN_REDIRECT -p PROTO -j REDIRECT --to-ports 15006
ISTIO_REDIRECT -p PROTO -j REDIRECT --to-ports 15001
ISTIO_OUTPUT -s INNER -o lo -j RETURN
ISTIO_OUTPUT ! -d LOOP -o lo -p PROTO -m PROTO ! --dport 53 -m owner --uid-owner 1337 -j ISTIO_IN_REDIRECT
ISTIO_OUTPUT -o lo -m owner ! --uid-owner 1337 -j RETURN
ISTIO_OUTPUT -m owner --uid-owner 1337 -j RETURN
ISTIO_OUTPUT ! -d LOOP -o lo -m owner --gid-owner 1337 -j ISTIO_IN_REDIRECT
ISTIO_OUTPUT -o lo -m owner ! --gid-owner 1337 -j RETURN
ISTIO_OUTPUT -m owner --gid-owner 1337 -j RETURN
ISTIO_OUTPUT -d LOOP -j RETURN
ISTIO_OUTPUT -p PROTO -m PROTO --dport 443 -j RETURN
ISTIO_OUTPUT -j ISTIO_REDIRECT";

/// Linkerd's.
const LINKERD: &str = "PREROUTING -j PROXY_INIT_REDIRECT
OUTPUT -j PROXY_INIT_OUTPUT
PROXY_INIT_REDIRECT -p PROTO -m multiport --dports 9090,15008 -j RETURN
PROXY_INIT_REDIRECT -p PROTO -j REDIRECT --to-ports 15006
PROXY_INIT_OUTPUT -m owner --uid-owner 2102 -j RETURN
PROXY_INIT_OUTPUT -o lo -j RETURN
PROXY_INIT_OUTPUT -p PROTO -m multiport --dports 443 -j RETURN
PROXY_INIT_OUTPUT -p PROTO -j REDIRECT --to-ports 15001";

/// Ambient's, in mangle and nat: by marks.
const AMBIENT: &str =
    "PREROUTING ! -d LOOP -p PROTO -m PROTO ! --dport 15008 -m mark ! --mark 0x539/0xfff -j REDIRECT --to-ports 15006
OUTPUT -p PROTO -m mark --mark 0x539/0xfff -j ACCEPT
OUTPUT ! -d LOOP -o lo -j ACCEPT
OUTPUT ! -d LOOP -p PROTO -m mark ! --mark 0x539/0xfff -j REDIRECT --to-ports 15001";

/// Istio's mode of transparent proxies.
const TPROXY: &str = "PREROUTING -p PROTO -m PROTO --dport 9090 -j RETURN
PREROUTING -p PROTO -m mark --mark 0x539 -j RETURN
PREROUTING -i lo -p PROTO -j RETURN
PREROUTING -p PROTO -m conntrack --ctstate RELATED,ESTABLISHED -j MARK --set-mark 0x539
PREROUTING ! -d LOOP -p PROTO -j TPROXY --on-port 15006 --tproxy-mark 0x539/0xffffffff
OUTPUT -p PROTO -m connmark --mark 0x539 -j CONNMARK --restore-mark";

fn table(chance: &mut Chance, kind: Kind, name: &str, lines: &str) -> Table {
    let proto = chance.word("udp udp tcp");
    let (inner, looped) = if kind.ipv6() { ("::6/128", "::1/128") } else { ("127.0.0.6/32", "127.0.0.1/32") };
    let text = lines.replace("PROTO", &proto).replace("INNER", inner).replace("LOOP", looped);
    let mut rules: Vec<(String, String)> = text
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(chain, rule)| (chain.to_owned(), rule.to_owned()))
        .collect();
    for _ in 0..chance.below(3) {
        let (one, other) = (chance.below(rules.len()), chance.below(rules.len()));
        match chance.below(5) {
            0 => drop(rules.remove(one)),
            1 => rules.swap(one, other),
            2 => rules.insert(other, rules[one].clone()),
            3 => {
                rules[one].1 = rules[one].1.replace("1337", "1000").replace("15001", "15006").replace("15006", "15001")
            }
            _ => {
                rules[one].1 =
                    rules[one].1.replace("-o lo ", "").replace("! --uid", "--uid").replace("RETURN", "ACCEPT")
            }
        }
    }
    let mut chains: Vec<Chain> = Vec::new();
    for name in super::rules::chains_of(name) {
        chains.push(Chain { name: (*name).to_owned(), base: "ACCEPT".to_owned(), rules: Vec::new() });
    }
    for (chain, rule) in rules {
        let known = chains.iter().position(|known| known.name == chain);
        let at = known.unwrap_or_else(|| {
            chains.push(Chain { name: chain, base: String::new(), rules: Vec::new() });
            chains.len() - 1
        });
        chains[at].rules.push(rule);
    }
    // Where a fault took all rules of a chain away, it is there still.
    let jumped: Vec<String> = chains
        .iter()
        .flat_map(|chain| &chain.rules)
        .filter_map(|rule| rule.rsplit_once("-j "))
        .map(|(_, to)| to.to_owned())
        .collect();
    for to in jumped.into_iter().filter(|to| to.starts_with("ISTIO") || to.starts_with("PROXY")) {
        if chains.iter().all(|chain| chain.name != to) {
            chains.push(Chain { name: to, base: String::new(), rules: Vec::new() });
        }
    }
    Table { kind, name: name.to_owned(), sets: Vec::new(), chains }
}

/// Rules of a sidecar, in one backend or in either.
pub(super) fn rules(chance: &mut Chance) -> Rules {
    let mut rules = Rules::default();
    for (legacy, compat) in [(Kind::Legacy4, Kind::Compat4), (Kind::Legacy6, Kind::Compat6)] {
        if legacy.ipv6() && chance.percent(40) {
            continue;
        }
        let kind = if chance.percent(50) { legacy } else { compat };
        let own = match chance.below(4) {
            0 | 1 => ("nat", ISTIO),
            2 => ("nat", LINKERD),
            _ => ("nat", AMBIENT),
        };
        rules.tables.push(table(chance, kind, own.0, own.1));
        if chance.percent(35) {
            rules.tables.push(table(chance, kind, "mangle", TPROXY));
            if chance.percent(70) {
                let (six, all) = if kind.ipv6() { ("-6", "::/0") } else { ("-4", "0.0.0.0/0") };
                let table = if kind.ipv6() { 1336 } else { 1335 };
                rules.settings.push((
                    format!("ip {six} rule add fwmark 0x539 lookup {table}; ip {six} route add local {all} dev lo table {table}"),
                    format!("ip {six} rule del fwmark 0x539 lookup {table}; ip {six} route flush table {table}"),
                ));
            }
        }
    }
    for (name, six) in [("route_localnet", false), ("rp_filter", false)] {
        if chance.percent(15) && !six {
            let path = format!("/proc/sys/net/ipv4/conf/eth0/{name}");
            rules.settings.push((format!("echo 1 > {path}"), format!("echo 0 > {path}")));
        }
    }
    if chance.percent(30) {
        let path = "/proc/sys/net/ipv4/ip_forward";
        rules.settings.push((format!("echo 1 > {path}"), format!("echo 0 > {path}")));
    }
    rules
}
