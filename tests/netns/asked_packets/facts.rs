//! What the kernel does that nobody would guess (K11, K12, K21 to K31 of the catalogue of failures), said by the tracer and done by
//! the kernel for the same packets. K10 is PQ33, K30 is PQ09.

use std::net::UdpSocket;

use nix::sys::socket::{setsockopt, sockopt};
use nslens::model::Protocol;

use super::ask::{Means, Pod, inward, out};
use crate::support::require_root;
use crate::traffic::{Place, Properties};

/// A pod with an application and these lines of iptables, without the program's name; `6` before a line makes it one of IPv6.
fn each(lines: &str, mut each: impl FnMut(Pod)) {
    if !require_root() {
        return;
    }
    for means in Means::IPTABLES {
        let mut pod = Pod::bare(means);
        pod.waits("proxy", "[::]:15001", 1337);
        pod.waits("application", "[::]:8080", 1000);
        add(&pod, lines);
        each(pod);
    }
}

fn add(pod: &Pod, lines: &str) {
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (program, line) = line.strip_prefix("6 ").map_or(("iptables", line), |line| ("ip6tables", line));
        pod.stage.pod.sh(&format!("{program}-{} -w {line}", pod.means().word()));
    }
}

/// Native chains of a table, beside what there is.
fn native(pod: &Pod, chains: &str) {
    pod.stage.pod.sh(&format!("nft -f - <<'END'\ntable inet guard {{\n{chains}\n}}\nEND"));
}

/// On what a packet's way hangs.
const CONNECTED: &str = "whether its socket is connected";

/// Packets with this mark are for the pod, whatever their address.
const TAKEN_BY_MARK: &str = "ip rule add fwmark 7 lookup 7; ip route add local default dev lo table 7";

#[test]
fn k11_loopback_from_outside_needs_a_setting() {
    each("-t nat -A PREROUTING -p tcp --dport 80 -j DNAT --to-destination 127.0.0.1:8080", |mut pod| {
        let asked = inward("10.0.0.1", "10.0.0.2:80");
        pod.ask(&asked, "dropped", "no rule");
        pod.stage.pod.sh("sysctl -qw net.ipv4.conf.eth0.route_localnet=1");
        pod.ask(&asked, "application gets 10.0.0.1 > 127.0.0.1:8080 for 10.0.0.2:80", "nat PREROUTING 1");
    });
}

#[test]
fn k12_a_transparent_proxy_of_others_addresses_needs_routes() {
    let rule = "-t mangle -A PREROUTING -p tcp --dport 80 -j TPROXY --on-port 15006 --tproxy-mark 7";
    each(rule, |mut pod| {
        let transparent = Properties { uid: 1337, gid: 1337, transparent: true, ..Properties::default() };
        pod.waits_so("transparent", (Place::Pod, Protocol::Tcp), "0.0.0.0:15006", &transparent);
        let own = "transparent gets 10.0.0.1 > 10.0.0.2:80 for 10.0.0.2:80";
        pod.ask(&inward("10.0.0.1", "10.0.0.2:80"), own, "mangle PREROUTING 1");
        let other = inward("10.0.0.1", "198.51.100.7:80");
        pod.ask(&other, "dropped", "no rule");
        pod.stage.pod.sh(TAKEN_BY_MARK);
        pod.ask(&other, "transparent gets 10.0.0.1 > 198.51.100.7:80 for 198.51.100.7:80", "mangle PREROUTING 1");
        pod.stage.pod.sh("sysctl -qw net.ipv4.conf.eth0.rp_filter=1 net.ipv4.conf.eth0.src_valid_mark=1");
        pod.ask(&other, "dropped", "no rule");
    });
}

#[test]
fn k21_filters_behind_a_redirect_see_the_device_of_before() {
    let redirect = "-t nat -A OUTPUT -p tcp --dport 80 -j REDIRECT --to-ports 15001
         6 -t nat -A OUTPUT -p tcp --dport 80 -j REDIRECT --to-ports 15001";
    let delivered = "proxy gets 10.0.0.2 > 127.0.0.1:15001 for 10.0.0.5:80";
    each(redirect, |mut pod| {
        add(&pod, "-A OUTPUT -o lo -p tcp --dport 15001 -j DROP");
        pod.ask(&out("10.0.0.5:80"), delivered, "nat OUTPUT 1");
        add(
            &pod,
            "-A OUTPUT -o eth0 -d 127.0.0.1 -p tcp --dport 15001 -j DROP
             6 -A OUTPUT -o eth0 -d ::1 -p tcp --dport 15001 -j DROP",
        );
        pod.ask(&out("10.0.0.5:80"), "dropped", "filter OUTPUT 2");
        pod.ask(&out("[fd01::9]:80"), "dropped", "filter OUTPUT 1");
    });
    each(redirect, |mut pod| {
        add(
            &pod,
            "-t mangle -A POSTROUTING -o eth0 -p tcp --dport 15001 -j DROP
             -t mangle -A POSTROUTING -o lo -p tcp --dport 15001 -j DROP",
        );
        pod.ask(&out("10.0.0.5:80"), "dropped", "mangle POSTROUTING 2");
    });
    each("-t mangle -A OUTPUT -p udp --dport 53 -j MARK --set-mark 7", |mut pod| {
        pod.stage.pod.sh(TAKEN_BY_MARK);
        pod.hears("listener", "0.0.0.0:53", 1000);
        add(&pod, "-A OUTPUT -o lo -m mark --mark 7 -j DROP");
        pod.ask(&out("10.0.0.5:53").udp(), "listener gets 10.0.0.2 > 10.0.0.5:53", "no rule");
        add(&pod, "-A OUTPUT -o eth0 -m mark --mark 7 -j DROP");
        pod.ask(&out("10.0.0.5:53").udp(), "dropped", "filter OUTPUT 2");
    });
}

#[test]
fn k22_nothing_is_asked_in_nat_while_nothing_is_tracked() {
    let rules = "-t nat -A OUTPUT -p tcp -j RETURN
         -t raw -A OUTPUT -p tcp --dport 9 -j NOTRACK
         6 -t nat -A OUTPUT -p tcp -j REDIRECT --to-ports 15001";
    each(rules, |mut pod| {
        // Whether the rule is met is held beside its counter.
        pod.ask(&out("10.0.0.5:80"), "leaves 10.0.0.2 > 10.0.0.5:80", "no rule");
        pod.ask(&out("[fd01::9]:80"), "proxy gets fd00::2 > [::1]:15001 for [fd01::9]:80", "nat OUTPUT 1");
        add(&pod, "-A OUTPUT -m conntrack --ctstate INVALID");
        pod.ask(&out("10.0.0.5:80"), "leaves 10.0.0.2 > 10.0.0.5:80", "no rule");
    });
}

#[test]
fn k23_over_loopback_some_tables_come_twice_and_nat_does_not() {
    let nat = "-t nat -A PREROUTING -p tcp -j REDIRECT --to-ports 15001
         -t nat -A INPUT -p tcp -j SNAT --to-source 10.0.0.9";
    each(nat, |mut pod| {
        let expected = "application gets 127.0.0.1 > 127.0.0.1:8080 for 127.0.0.1:8080";
        pod.ask(&out("127.0.0.1:8080"), expected, "no rule");
        add(
            &pod,
            "-t mangle -A OUTPUT -p tcp --dport 8080 -j MARK --set-mark 5
             -t mangle -A PREROUTING -p tcp --syn -m mark ! --mark 5 -j DROP
             -t mangle -A PREROUTING -p tcp --syn -m conntrack ! --ctstatus CONFIRMED -j DROP",
        );
        pod.ask(&out("127.0.0.1:8080"), expected, "no rule");
        add(&pod, "-t raw -A PREROUTING -i lo -p tcp --dport 8080 -m mark --mark 5 -j DROP");
        pod.ask(&out("127.0.0.1:8080"), "dropped", "raw PREROUTING 1");
    });
}

#[test]
fn k24_loopback_does_not_leave_but_for_a_setting() {
    let rules = "-t nat -A OUTPUT -d 127.0.0.1/32 -p tcp --dport 80 -j DNAT --to-destination 10.0.0.5:80
         -t nat -A POSTROUTING -p tcp --dport 80 -s 127.0.0.0/8 -j MASQUERADE
         6 -t nat -A OUTPUT -d ::1/128 -p tcp --dport 80 -j DNAT --to-destination [fd01::9]:80";
    each(rules, |mut pod| {
        pod.ask(&out("127.0.0.1:80"), "dropped", "no rule");
        pod.ask(&out("[::1]:80"), "leaves ::1 > [fd01::9]:80", "nat OUTPUT 1");
        pod.stage.pod.sh("sysctl -qw net.ipv4.conf.eth0.route_localnet=1");
        pod.ask(&out("127.0.0.1:80"), "leaves 10.0.0.2 > 10.0.0.5:80", "nat OUTPUT 1");
    });
}

#[test]
fn k25_inbound_redirects_of_ipv6() {
    let rules = "6 -t nat -A PREROUTING -p tcp --dport 80 -j DNAT --to-destination [::1]:8080
         6 -t nat -A PREROUTING -p tcp --dport 81 -j REDIRECT --to-ports 8080";
    each(rules, |mut pod| {
        pod.stage.pod.sh("ip -6 addr add fd00::7/128 dev lo");
        pod.stage.ext.sh("ip -6 neigh add fd00::7 lladdr 02:00:00:00:00:02 dev eth0 nud permanent");
        pod.ask(&inward("[fd00::1]", "[fd00::2]:80"), "dropped", "no rule");
        for dialled in ["[fd00::2]:81", "[fd00::7]:81"] {
            // At the device's global address, whichever was dialled.
            let expected = format!("application gets fd00::1 > [fd00::2]:8080 for {dialled}");
            pod.ask(&inward("[fd00::1]", dialled), &expected, "nat PREROUTING 2");
        }
    });
}

#[test]
fn k26_tproxy_ends_its_own_table_alone() {
    let rules = "-t mangle -A PREROUTING -p tcp --dport 80 -j TPROXY --on-port 15006
         -t mangle -A PREROUTING -p tcp --dport 80 -j DROP
         -t mangle -A PREROUTING -p udp --dport 53 -j TPROXY --on-port 15053
         -t nat -A PREROUTING -p udp --dport 53 -j REDIRECT --to-ports 15001";
    each(rules, |mut pod| {
        pod.ask(&inward("10.0.0.1", "10.0.0.2:80"), "dropped", "mangle PREROUTING 1");
        // Even where somebody waits at the packet's own port.
        pod.hears("resolver", "0.0.0.0:53", 1000);
        pod.hears("other", "0.0.0.0:15001", 1000);
        let asked = inward("10.0.0.1", "10.0.0.2:53").udp();
        pod.ask(&asked, "dropped", "mangle PREROUTING 3");
        let transparent = Properties { uid: 1337, gid: 1337, transparent: true, ..Properties::default() };
        pod.waits_so("transparent", (Place::Pod, Protocol::Udp), "0.0.0.0:15053", &transparent);
        pod.ask(&asked, "transparent gets 10.0.0.1 > 10.0.0.2:15001", "mangle PREROUTING 3");
    });
}

#[test]
fn k27_the_user_of_a_packet_that_comes_in() {
    let rule = "-t mangle -A PREROUTING -p tcp --dport 80 -j TPROXY --on-port 15006";
    each(rule, |mut pod| {
        let transparent = Properties { uid: 1337, gid: 1337, transparent: true, ..Properties::default() };
        pod.waits_so("transparent", (Place::Pod, Protocol::Tcp), "0.0.0.0:15006", &transparent);
        native(
            &pod,
            "chain i {
                 type filter hook input priority 0
                 meta skuid != 1337 tcp flags syn counter drop
                 oifname != lo tcp dport 8080 tcp flags syn counter drop
                 meta skuid 1337 tcp flags syn counter drop
             }",
        );
        pod.ask(&inward("10.0.0.1", "10.0.0.2:80"), "dropped", "guard I 3");
        pod.ask(&inward("10.0.0.1", "10.0.0.2:8080"), "dropped", "guard I 2");
        pod.ask(&inward("10.0.0.1", "10.0.0.2:81"), "refused at 10.0.0.2:81", "no rule");
    });
}

#[test]
fn k28_what_one_nat_chain_accepts_the_next_still_translates() {
    each("-t nat -A OUTPUT -p tcp --dport 80 -j REDIRECT --to-ports 15001", |mut pod| {
        native(&pod, "chain o { type nat hook output priority -110; tcp dport 80 counter accept; }");
        let expected = "proxy gets 10.0.0.2 > 127.0.0.1:15001 for 10.0.0.5:80";
        pod.ask(&out("10.0.0.5:80"), expected, "nat OUTPUT 1");
    });
}

#[test]
fn k29_a_route_that_a_sockets_mark_chooses() {
    each("", |mut pod| {
        pod.stage.pod.sh(TAKEN_BY_MARK);
        pod.hears("listener", "0.0.0.0:53", 1000);
        // A socket that is connected looks twice, and finds no way from there.
        let asked = out("10.0.0.5:53").udp().mark(7);
        let open = [("listener gets 10.0.0.5 > 10.0.0.5:53", "no rule"), ("rejected", "no rule")];
        let seen = pod.ask_all(&asked, &open);
        assert_eq!((seen.as_str(), pod.open(&asked)), ("rejected", vec![CONNECTED.into()]));
        let got = pod.stage.pod.netns().enter(|| {
            let listener = UdpSocket::bind("0.0.0.0:54").expect("a listener");
            let sender = UdpSocket::bind("0.0.0.0:0").expect("a sender");
            setsockopt(&sender, sockopt::Mark, &7).expect("a mark");
            sender.send_to(b"x", "10.0.0.5:54").expect("it is sent");
            listener.recv_from(&mut [0; 8]).expect("it comes").1
        });
        assert_eq!(got.expect("inside").ip().to_string(), "10.0.0.5");
        pod.ask(&out("10.0.0.5:8080").mark(7), "rejected", "no rule");
        // A mark that comes from a chain of this type is no reason to look for another route.
        let chain = |kind: &str| {
            format!("chain {kind} {{ type {kind} hook output priority -150; udp dport 53 counter meta mark set 7; }}")
        };
        native(&pod, &chain("filter"));
        pod.ask(&out("10.0.0.5:53").udp(), "leaves 10.0.0.2 > 10.0.0.5:53", "no rule");
        pod.stage.pod.sh("nft delete table inet guard");
        native(&pod, &chain("route"));
        pod.ask(&out("10.0.0.5:53").udp(), "listener gets 10.0.0.2 > 10.0.0.5:53", "no rule");
    });
}

#[test]
fn k31_nat_chains_stand_where_nat_is_done() {
    each("", |mut pod| {
        native(
            &pod,
            "chain f { type filter hook output priority 0; tcp dport 80 counter drop; }
             chain n { type nat hook output priority 100; tcp dport 80 counter redirect to :15001; }
             chain p { type nat hook output priority -199; meta l4proto tcp meta mark 5 counter redirect to :8080; }
             chain m { type filter hook output priority -150; tcp dport 81 counter meta mark set 5; }",
        );
        let expected = "proxy gets 10.0.0.2 > 127.0.0.1:15001 for 10.0.0.5:80";
        pod.ask(&out("10.0.0.5:80"), expected, "guard N 1");
        let expected = "application gets 10.0.0.2 > 127.0.0.1:8080 for 10.0.0.5:81";
        pod.ask(&out("10.0.0.5:81"), expected, "guard P 1");
    });
}
