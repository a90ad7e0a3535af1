//! What rules ask that the packet alone does not tell, and the snapshot does: types of addresses by the routes, devices by their numbers,
//! the sockets of the namespace. Each rule drops what it matches, and the tracer and the kernel agree on what that is.


use super::ask::{Asked, Means, Pod, inward, out};
use crate::support::require_root;

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
        eprintln!("{line}");
        match fate {
            "dropped" => pod.ask(&asked, "dropped", &name),
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
