//! What rules ask that the packet alone does not tell, and the snapshot does: types of addresses by the routes, devices by their numbers,
//! the sockets of the namespace. Each rule drops what it matches, and the tracer and the kernel agree on what that is.

use nslens::model::Protocol;

use super::ask::{Asked, Means, Pod, inward, out};
use crate::support::require_root;
use crate::traffic::{Place, Properties};

/// Somebody waits for connections and datagrams at all addresses.
fn pod(means: Means) -> Pod {
    let mut pod = Pod::bare(means);
    pod.waits("application", "[::]:8080", 1000);
    pod.hears("listener", "[::]:53", 1000);
    pod
}

/// What becomes of a packet that no rule drops.
fn usual(to: &str, from: &str) -> String {
    let end: std::net::SocketAddr = to.parse().expect("an end");
    match end.port() {
        8080 => format!("application gets {from} > {to} for {to}"),
        53 => format!("listener gets {from} > {to}"),
        _ => format!("leaves {from} > {to}"),
    }
}

/// `chain|rule|packet|source|dropped`; packets are `out 10.0.0.5:80` or `in 10.0.0.2:8080`.
fn each(pod: &mut Pod, lines: &str, mut with: impl FnMut(&Pod, &str, &str) -> String) {
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let parts: Vec<&str> = line.split('|').map(str::trim).collect();
        let [chain, rule, packet, source, fate] = parts[..] else { panic!("{line}") };
        let (way, to) = packet.split_once(' ').expect("a way");
        let asked: Asked = match way {
            "in" => inward(if source.contains(':') { "[fd00::1]" } else { "10.0.0.1" }, to),
            _ => out(to),
        };
        let asked = if to.ends_with(":53") { asked.udp() } else { asked };
        let name = with(pod, chain, rule);
        match fate {
            "dropped" => pod.ask(&asked, "dropped", &name),
            "nobody" => pod.ask(&asked, &format!("refused at {to}"), "no rule"),
            "marked" => pod.ask(&asked, &format!("marked gets {source} > {to} for {to}"), "no rule"),
            _ => pod.ask(&asked, &usual(to, source), "no rule"),
        }
        with(pod, chain, "");
    }
}

/// One rule in the filter table of iptables, or none where it is empty.
fn iptables(pod: &Pod, chain: &str, rule: &str) -> String {
    let (family, chain) = chain.strip_prefix("6 ").map_or(("", chain), |chain| ("6", chain));
    let (table, chain) = chain.split_once('/').unwrap_or(("filter", chain));
    let program = format!("ip{family}tables-{} -w -t {table}", pod.means().word());
    match rule {
        "" => pod.stage.pod.sh(&format!("{program} -F")),
        rule => pod.stage.pod.sh(&format!("{program} -A {chain} {rule} -j DROP")),
    };
    format!("{table} {chain} 1")
}

/// One rule in a chain of nft's own.
fn native(pod: &Pod, chain: &str, rule: &str) -> String {
    match rule {
        "" => pod.stage.pod.sh("nft flush ruleset"),
        rule => pod.stage.pod.sh(&format!(
            "nft -f - <<'END'\ntable inet guard {{\nchain c {{ type filter hook {chain} priority 0; {rule} counter drop; }}\n}}\nEND"
        )),
    };
    "guard C 1".to_owned()
}

#[test]
fn types_of_addresses_are_told_by_the_routes() {
    if !require_root() {
        return;
    }
    for means in Means::IPTABLES {
        let mut pod = pod(means);
        pod.stage.pod.sh("ip route add local 198.51.100.9 dev eth0 table local; ip -6 route add unreachable fd77::/64");
        let lines = "
            OUTPUT | -m addrtype --dst-type UNICAST | out 10.0.0.5:80 | 10.0.0.2 | dropped
            OUTPUT | -m addrtype ! --dst-type UNICAST | out 10.0.0.5:80 | 10.0.0.2 | goes
            OUTPUT | -m addrtype --src-type UNICAST | out 10.0.0.5:80 | 10.0.0.2 | goes
            OUTPUT | -m addrtype --src-type LOCAL,MULTICAST | out 10.0.0.5:80 | 10.0.0.2 | dropped
            OUTPUT | -m addrtype --dst-type BROADCAST | out 10.0.0.5:80 | 10.0.0.2 | goes
            OUTPUT | -m addrtype ! --dst-type BROADCAST,MULTICAST,ANYCAST | out 10.0.0.5:80 | 10.0.0.2 | dropped
            OUTPUT | -m addrtype --dst-type BLACKHOLE,UNREACHABLE,PROHIBIT | out 10.0.0.5:80 | 10.0.0.2 | goes
            OUTPUT | -m addrtype --src-type LOCAL --dst-type UNICAST | out 10.0.0.5:80 | 10.0.0.2 | dropped
            OUTPUT | -m addrtype --src-type LOCAL ! --dst-type UNICAST | out 10.0.0.5:80 | 10.0.0.2 | goes
            INPUT | -m addrtype --src-type UNICAST | in 10.0.0.2:8080 | 10.0.0.1 | dropped
            INPUT | -m addrtype --dst-type UNICAST,BROADCAST | in 10.0.0.2:8080 | 10.0.0.1 | goes
            INPUT | -m addrtype --dst-type LOCAL --limit-iface-in | in 10.0.0.2:8080 | 10.0.0.1 | dropped
            INPUT | -m addrtype ! --dst-type LOCAL --limit-iface-in | in 10.0.0.2:8080 | 10.0.0.1 | goes
            mangle/PREROUTING | -m addrtype --dst-type LOCAL --limit-iface-in | in 10.0.0.3:8080 | 10.0.0.1 | dropped
            INPUT | -m addrtype --dst-type LOCAL --limit-iface-in | out 10.0.0.2:8080 | 10.0.0.2 | goes
            INPUT | -m addrtype --dst-type UNICAST --limit-iface-in | out 10.0.0.2:8080 | 10.0.0.2 | dropped
            INPUT | -m addrtype --dst-type LOCAL --limit-iface-in | out 127.0.0.1:8080 | 127.0.0.1 | dropped
            OUTPUT | -m addrtype --dst-type LOCAL --limit-iface-out | out 10.0.0.2:8080 | 10.0.0.2 | goes
            OUTPUT | -m addrtype --dst-type LOCAL --limit-iface-out | out 127.0.0.1:8080 | 127.0.0.1 | dropped
            OUTPUT | -m addrtype --src-type LOCAL --limit-iface-out | out 10.0.0.5:80 | 10.0.0.2 | dropped
            6 OUTPUT | -m addrtype --dst-type UNICAST | out [fd01::9]:80 | fd00::2 | dropped
            6 OUTPUT | -m addrtype --dst-type LOCAL,UNICAST | out [fd01::9]:80 | fd00::2 | goes
            6 OUTPUT | -m addrtype --dst-type UNREACHABLE,ANYCAST | out [fd01::9]:80 | fd00::2 | goes
            6 OUTPUT | -m addrtype --src-type LOCAL,UNICAST | out [fd01::9]:80 | fd00::2 | dropped
            6 OUTPUT | -m addrtype ! --dst-type MULTICAST | out [fd01::9]:80 | fd00::2 | dropped
            6 OUTPUT | -m addrtype --src-type LOCAL --limit-iface-out | out [fd01::9]:80 | fd00::2 | dropped
            6 OUTPUT | -m addrtype --dst-type LOCAL --limit-iface-out | out [fd00::2]:8080 | fd00::2 | goes
            6 OUTPUT | -m addrtype --dst-type UNREACHABLE --limit-iface-out | out [fd00::2]:8080 | fd00::2 | dropped
            6 INPUT | -m addrtype --dst-type LOCAL --limit-iface-in | in [fd00::2]:8080 | fd00::1 | dropped";
        each(&mut pod, lines, iptables);
    }
}

#[test]
fn after_a_redirect_loopback_is_not_local_to_the_device_of_before() {
    if !require_root() {
        return;
    }
    for means in Means::IPTABLES {
        let mut pod = pod(means);
        let program = format!("iptables-{} -w", means.word());
        pod.stage.pod.sh(&format!(
            "{program} -t nat -A OUTPUT -p tcp --dport 80 -j REDIRECT --to-ports 8080
             {program} -A OUTPUT -m addrtype --dst-type LOCAL --limit-iface-out -j DROP"
        ));
        pod.ask(&out("10.0.0.5:80"), "application gets 10.0.0.2 > 127.0.0.1:8080 for 10.0.0.5:80", "nat OUTPUT 1");
    }
}

#[test]
fn what_nft_asks_the_routing_tables() {
    if !require_root() {
        return;
    }
    let mut pod = pod(Means::Native);
    let lines = "
        output | fib daddr type unicast | out 10.0.0.5:80 | 10.0.0.2 | dropped
        output | fib daddr type != unicast | out 10.0.0.5:80 | 10.0.0.2 | goes
        output | fib daddr type { broadcast, multicast, anycast } | out 10.0.0.5:80 | 10.0.0.2 | goes
        output | fib daddr type { unicast, multicast } | out 10.0.0.5:80 | 10.0.0.2 | dropped
        output | fib saddr type unicast | out 10.0.0.5:80 | 10.0.0.2 | goes
        output | fib daddr . oif type local | out 10.0.0.2:8080 | 10.0.0.2 | goes
        output | fib daddr . oif type unicast | out 10.0.0.2:8080 | 10.0.0.2 | dropped
        output | fib daddr . oif type local | out 127.0.0.1:8080 | 127.0.0.1 | dropped
        input | fib daddr . iif type local | in 10.0.0.2:8080 | 10.0.0.1 | dropped
        input | fib daddr . iif type != local | in 10.0.0.2:8080 | 10.0.0.1 | goes
        prerouting | fib daddr . iif type local | in 10.0.0.2:8080 | 10.0.0.1 | dropped
        prerouting | fib daddr . iif type local | out 10.0.0.2:8080 | 10.0.0.2 | goes
        output | fib daddr type unicast | out [fd01::9]:80 | fd00::2 | dropped
        output | fib saddr type != unicast | out [fd01::9]:80 | fd00::2 | dropped
        output | fib daddr type { local, unreachable, prohibit } | out [fd01::9]:80 | fd00::2 | goes
        output | fib daddr . oif type local | out [fd00::2]:8080 | fd00::2 | goes
        input | fib daddr . iif type local | in [fd00::2]:8080 | fd00::1 | dropped
        input | fib daddr . iif type unicast | in [fd00::2]:8080 | fd00::1 | goes";
    each(&mut pod, lines, native);
}

#[test]
fn routes_that_nft_asks_for() {
    if !require_root() {
        return;
    }
    let mut pod = pod(Means::Native);
    pod.stage.pod.sh("ip link add dummy0 type veth peer name dummy1; ip link set dummy1 up; ip addr add 10.7.0.1/24 dev dummy0; ip link set dummy0 up;
        ip -6 addr add fd07::1/64 dev dummy0 nodad");
    pod.stage.ext.sh("ip addr add 10.7.0.9/32 dev lo; ip -6 addr add fd07::9/128 dev lo nodad");
    // A packet that comes from where its sender is not.
    let spoofed = |to: &str, from: &str| inward(from, to).udp().through("eth0");
    let lines = "
        prerouting | fib saddr . iif oif missing | in 10.0.0.2:8080 | 10.0.0.1 | goes
        prerouting | fib saddr . iif oif exists | in 10.0.0.2:8080 | 10.0.0.1 | dropped
        prerouting | fib saddr oif eth0 | in 10.0.0.2:8080 | 10.0.0.1 | dropped
        prerouting | fib saddr . mark . iif oif 0 | in 10.0.0.2:8080 | 10.0.0.1 | goes
        prerouting | fib daddr oif exists | in 10.0.0.2:8080 | 10.0.0.1 | goes
        prerouting | fib daddr . iif oif missing | in 10.0.0.2:8080 | 10.0.0.1 | dropped
        prerouting | fib saddr . iif oif missing | out 10.0.0.2:8080 | 10.0.0.2 | goes
        prerouting | fib saddr oif lo | out 10.0.0.2:8080 | 10.0.0.2 | dropped
        input | fib saddr . iif oif missing | in 10.0.0.2:8080 | 10.0.0.1 | goes
        input | fib saddr . iif oif exists | in 10.0.0.2:8080 | 10.0.0.1 | dropped
        prerouting | fib saddr . iif oif missing | in [fd00::2]:8080 | fd00::1 | goes
        prerouting | fib saddr oif eth0 | in [fd00::2]:8080 | fd00::1 | dropped
        prerouting | fib daddr oif missing | in [fd00::2]:8080 | fd00::1 | dropped
        input | fib saddr . iif oif exists | in [fd00::2]:8080 | fd00::1 | dropped
        output | fib daddr . mark type unicast | out 10.0.0.5:80 | 10.0.0.2 | dropped
        output | fib daddr . mark type != unicast | out [fd01::9]:80 | fd00::2 | goes";
    each(&mut pod, lines, native);
    for (rule, dropped) in [
        ("fib saddr . iif oif missing", true),
        ("fib saddr oif eth0", false),
        ("fib saddr oif missing", false),
        ("fib saddr oif dummy0", true),
    ] {
        let name = native(&pod, "prerouting", rule);
        for (to, from) in [("10.0.0.2:53", "10.7.0.9"), ("[fd00::2]:53", "[fd07::9]")] {
            let plain = from.trim_matches(['[', ']']);
            if dropped {
                pod.ask(&spoofed(to, from), "dropped", &name);
            } else {
                pod.ask(&spoofed(to, from), &usual(to, plain), "no rule");
            }
        }
        native(&pod, "prerouting", "");
    }
}

#[test]
fn devices_by_number_are_those_of_the_namespace() {
    if !require_root() {
        return;
    }
    let mut pod = pod(Means::Native);
    let lines = "
        input | iif eth0 | in 10.0.0.2:8080 | 10.0.0.1 | dropped
        input | iif != eth0 | in 10.0.0.2:8080 | 10.0.0.1 | goes
        input | iif eth0 | out 10.0.0.2:8080 | 10.0.0.2 | goes
        output | oif eth0 | out 10.0.0.5:80 | 10.0.0.2 | dropped
        output | oif != { eth0, lo } | out 10.0.0.5:80 | 10.0.0.2 | goes
        output | iif != eth0 | out 10.0.0.5:80 | 10.0.0.2 | dropped
        input | iif 77 | in 10.0.0.2:8080 | 10.0.0.1 | goes
        input | meta iiftype loopback | in 10.0.0.2:8080 | 10.0.0.1 | goes
        input | meta iiftype != loopback | in 10.0.0.2:8080 | 10.0.0.1 | dropped
        input | meta iiftype loopback | out 10.0.0.2:8080 | 10.0.0.2 | dropped
        output | meta iiftype != loopback | out 10.0.0.5:80 | 10.0.0.2 | goes
        output | meta protocol != ip | out 10.0.0.5:80 | 10.0.0.2 | goes
        output | meta protocol != ip6 | out 10.0.0.5:80 | 10.0.0.2 | dropped";
    each(&mut pod, lines, native);
}

#[test]
fn a_rule_for_both_families_at_once_is_for_nobody() {
    if !require_root() {
        return;
    }
    let mut pod = pod(Means::Native);
    for rule in ["meta protocol ip dnat ip6 to fd00::2", "meta protocol ip6 dnat ip to 10.0.0.2"] {
        pod.stage.pod.sh(&format!(
            "nft flush ruleset; nft 'add table inet guard; \
             add chain inet guard c {{ type nat hook output priority -100; }}; add rule inet guard c {rule}'"
        ));
        pod.ask(&out("10.0.0.5:80"), "leaves 10.0.0.2 > 10.0.0.5:80", "no rule");
        pod.ask(&out("[fd01::9]:80"), "leaves fd00::2 > [fd01::9]:80", "no rule");
    }
}

#[test]
fn of_networks_in_a_set_the_smallest_decides() {
    if !require_root() {
        return;
    }
    for means in Means::IPTABLES {
        let mut pod = pod(means);
        pod.stage.pod.sh(
            "ipset create nets hash:net; ipset add nets 10.0.0.0/8; ipset add nets 10.0.0.0/28 nomatch
             ipset add nets 10.0.0.5; ipset add nets 10.0.0.6/31 nomatch
             ipset create ports hash:net,port; ipset add ports 10.0.0.0/8,tcp:80; ipset add ports 10.0.0.4/30,tcp:80 nomatch",
        );
        let lines = "
            OUTPUT | -m set --match-set nets dst | out 10.0.0.5:80 | 10.0.0.2 | dropped
            OUTPUT | -m set --match-set nets dst | out 10.0.0.6:80 | 10.0.0.2 | goes
            OUTPUT | -m set --match-set nets dst | out 10.0.0.4:80 | 10.0.0.2 | goes
            OUTPUT | -m set --match-set nets dst | out 10.0.0.77:80 | 10.0.0.2 | dropped
            OUTPUT | -m set ! --match-set nets dst | out 10.0.0.4:80 | 10.0.0.2 | dropped
            OUTPUT | -m set --match-set nets dst --return-nomatch | out 10.0.0.4:80 | 10.0.0.2 | dropped
            OUTPUT | -m set --match-set nets dst --return-nomatch | out 10.0.0.5:80 | 10.0.0.2 | goes
            OUTPUT | -m set --match-set nets dst --return-nomatch | out 10.0.0.77:80 | 10.0.0.2 | goes
            OUTPUT | -m set ! --match-set nets dst --return-nomatch | out 10.0.0.77:80 | 10.0.0.2 | dropped
            OUTPUT | -m set --match-set ports dst,dst | out 10.0.0.5:80 | 10.0.0.2 | goes
            OUTPUT | -m set --match-set ports dst,dst | out 10.0.0.8:80 | 10.0.0.2 | dropped
            OUTPUT | -m set --match-set ports dst,dst | out 10.0.0.8:81 | 10.0.0.2 | goes";
        each(&mut pod, lines, iptables);
    }
}

#[test]
fn sockets_that_nft_asks_for() {
    if !require_root() {
        return;
    }
    let mut pod = pod(Means::Native);
    let at = |uid, mark, transparent| Properties { uid, gid: uid, mark, transparent, ..Properties::default() };
    pod.waits_so("marked", (Place::Pod, Protocol::Tcp), "10.0.0.2:90", &at(1000, 5, false));
    pod.waits_so("transparent", (Place::Pod, Protocol::Tcp), "0.0.0.0:91", &at(1337, 0, true));
    let lines = "
        input | socket transparent 1 | in 10.0.0.2:8080 | 10.0.0.1 | goes
        input | socket transparent 0 | in 10.0.0.2:8080 | 10.0.0.1 | dropped
        prerouting | socket transparent 1 | in 10.0.0.2:91 | 10.0.0.1 | dropped
        input | socket transparent != 0 | in 10.0.0.2:91 | 10.0.0.1 | dropped
        input | socket wildcard 1 | in 10.0.0.2:91 | 10.0.0.1 | dropped
        input | socket wildcard 0 | in 10.0.0.2:90 | 10.0.0.1 | dropped
        input | socket wildcard 1 | in 10.0.0.2:90 | 10.0.0.1 | marked
        input | socket wildcard 0 | in [fd00::2]:8080 | fd00::1 | goes
        input | socket mark 5 | in 10.0.0.2:90 | 10.0.0.1 | dropped
        input | socket mark != 5 | in 10.0.0.2:90 | 10.0.0.1 | marked
        input | socket mark != 5 | in 10.0.0.2:8080 | 10.0.0.1 | dropped
        input | socket mark != 5 | in 10.0.0.2:99 | 10.0.0.1 | nobody
        input | socket wildcard 0 | in 10.0.0.2:99 | 10.0.0.1 | nobody";
    each(&mut pod, lines, native);
}

#[test]
fn nfts_own_tproxy_lets_the_packet_go_on() {
    if !require_root() {
        return;
    }
    let mut pod = pod(Means::Native);
    let proxy = Properties { uid: 1337, gid: 1337, transparent: true, ..Properties::default() };
    pod.waits_so("transparent", (Place::Pod, Protocol::Tcp), "0.0.0.0:15006", &proxy);
    let got = |by: &str| format!("{by} gets 10.0.0.1 > 10.0.0.2:8080 for 10.0.0.2:8080");
    for (rules, who, rule) in [
        ("tcp dport 8080 counter tproxy to :15006", "transparent", "guard C 1"),
        ("tcp dport 8080 counter tproxy to :15006; counter", "transparent", "guard C 1"),
        ("tcp dport 8080 counter tproxy to :15006 meta mark set 7; meta mark != 7 drop", "transparent", "guard C 1"),
        ("tcp dport 8080 counter tproxy to :15006; tcp dport 8080 counter drop", "dropped", "guard C 2"),
        ("tcp dport 8080 counter tproxy to :15006 drop", "dropped", "guard C 1"),
        ("tcp dport 8080 counter tproxy to :15007 drop", "application", "no rule"),
        ("tcp dport 8080 counter tproxy to :15007; counter", "application", "no rule"),
        ("tcp dport 8080 counter tproxy to :15006 return", "transparent", "guard C 1"),
        ("tcp dport 81 counter tproxy to :15006", "application", "no rule"),
    ] {
        let rules = rules.replace("; ", "\n");
        pod.stage.pod.sh(&format!(
            "nft flush ruleset; nft -f - <<'END'\ntable ip guard {{\nchain c {{ type filter hook prerouting priority -150\n{rules}\n}}\n}}\nEND"
        ));
        let expected = if who == "dropped" { who.to_owned() } else { got(who) };
        pod.ask(&inward("10.0.0.1", "10.0.0.2:8080"), &expected, rule);
    }
}
