//! What resolvers ask: PQ37 to PQ41.

use super::ask::{Means, Pod, out};
use super::profiles::{NONE, Rules};
use crate::support::require_root;

/// Only DNS is captured, over UDP, for the address of the cluster's resolver.
const DNS: Rules = Rules {
    four: "
*nat
:ISTIO_OUTPUT - [0:0]
-A OUTPUT -p udp -j ISTIO_OUTPUT
-A ISTIO_OUTPUT -p udp --dport 53 -m owner --uid-owner 1337 -j RETURN
-A ISTIO_OUTPUT -d 10.96.0.10/32 -p udp --dport 53 -j REDIRECT --to-ports 15053
COMMIT
",
    six: NONE,
    native: "
table inet istio-proxy-nat {
    chain output { type nat hook output priority -100; meta l4proto udp counter jump istio-output; }
    chain istio-output {
        udp dport 53 skuid 1337 counter return
        ip daddr 10.96.0.10 udp dport 53 counter redirect to :15053
    }
}
",
    proxy: 1337,
    ports: &[],
};

/// Questions and answers of the proxy are tracked apart from those of the application.
const ZONES: Rules = Rules {
    four: "
*raw
-A OUTPUT -p udp --dport 53 -m owner --uid-owner 1337 -j CT --zone 1
-A OUTPUT -p udp --sport 15053 -m owner --uid-owner 1337 -j CT --zone 2
-A OUTPUT -d 10.96.0.10/32 -p udp --dport 53 -j CT --zone 2
-A PREROUTING -s 10.96.0.10/32 -p udp --sport 53 -j CT --zone 1
COMMIT
",
    six: NONE,
    native: "
table inet istio-proxy-raw {
    chain output {
        type filter hook output priority -300
        udp dport 53 skuid 1337 counter ct zone set 1 return
        udp sport 15053 skuid 1337 counter ct zone set 2 return
        ip daddr 10.96.0.10 udp dport 53 counter ct zone set 2
    }
    chain prerouting { type filter hook prerouting priority -300; ip saddr 10.96.0.10 udp sport 53 counter ct zone set 1; }
}
",
    ..DNS
};

const CAPTURED: &str = "nat OUTPUT 1, ISTIO_OUTPUT 2";

fn each(mut each: impl FnMut(Pod, Means)) {
    if !require_root() {
        return;
    }
    for means in Means::ALL {
        let mut pod = Pod::under(means, &DNS);
        pod.hears("proxy", "127.0.0.1:15053", 1337);
        each(pod, means);
    }
}

#[test]
fn pq37_a_resolver_at_another_address_than_the_rule_names() {
    each(|mut pod, _| {
        let by = "proxy gets 10.0.0.2 > 127.0.0.1:15053";
        pod.ask(&out("10.96.0.10:53").uid(1000).udp(), by, CAPTURED);
        let other = out("169.254.20.10:53").uid(1000).udp();
        pod.ask(&other, "leaves 10.0.0.2 > 169.254.20.10:53", "no rule");
        let text = pod.story(&other);
        // Which address the rule names stands among the rules that did not match.
        let line = text.lines().find(|line| line.contains("10.96.0.10") && line.contains("15053"));
        assert!(line.is_some_and(|line| !line.contains('✓')), "{text}");
    });
}

#[test]
fn pq38_dns_over_tcp_where_udp_alone_is_captured() {
    each(|mut pod, _| {
        pod.ask(&out("10.96.0.10:53").uid(1000), "leaves 10.0.0.2 > 10.96.0.10:53", "no rule");
    });
}

#[test]
fn pq39_the_same_port_that_the_proxy_used_a_second_ago() {
    for zones in [false, true] {
        each(|mut pod, _| {
            if zones {
                pod.load(&ZONES);
            }
            let proxy = out("10.96.0.10:53").uid(1337).udp().from("10.0.0.2:40000");
            pod.ask(&proxy, "leaves 10.0.0.2 > 10.96.0.10:53", "nat OUTPUT 1, ISTIO_OUTPUT 1");
            let asked = out("10.96.0.10:53").uid(1000).udp().from("10.0.0.2:40000");
            // Without zones the entry is the application's, too, and nothing is translated.
            let (expected, by) = match zones {
                false => ("leaves 10.0.0.2 > 10.96.0.10:53", "no rule"),
                true => ("proxy gets 10.0.0.2 > 127.0.0.1:15053", CAPTURED),
            };
            pod.ask(&asked, expected, by);
        });
    }
}

/// Docker's resolver inside a container, and a mesh that captures all of DNS.
const DOCKER: &str = "
*nat
:DOCKER_OUTPUT - [0:0]
:DOCKER_POSTROUTING - [0:0]
-A OUTPUT -d 127.0.0.11/32 -j DOCKER_OUTPUT
-A POSTROUTING -d 127.0.0.11/32 -j DOCKER_POSTROUTING
-A DOCKER_OUTPUT -d 127.0.0.11/32 -p udp --dport 53 -j DNAT --to-destination 127.0.0.11:41234
-A DOCKER_OUTPUT -d 127.0.0.11/32 -p tcp --dport 53 -j DNAT --to-destination 127.0.0.11:35678
-A DOCKER_POSTROUTING -s 127.0.0.11/32 -p udp --sport 41234 -j SNAT --to-source :53
-A DOCKER_POSTROUTING -s 127.0.0.11/32 -p tcp --sport 35678 -j SNAT --to-source :53
COMMIT
";
const MESH: &str = "
*nat
-A OUTPUT -p udp --dport 53 -m owner --uid-owner 5678 -j RETURN
-A OUTPUT -p udp --dport 53 -j REDIRECT --to-ports 15053
COMMIT
";

/// Both wait.
fn resolvers(means: Means) -> Pod {
    let mut pod = Pod::bare(means);
    pod.hears("mesh", "127.0.0.1:15053", 5678);
    pod.hears("docker", "127.0.0.11:41234", 0);
    pod
}

#[test]
fn pq40_whichever_of_docker_and_the_mesh_binds_first() {
    if !require_root() {
        return;
    }
    let asked = out("127.0.0.11:53").uid(1000).udp();
    let (docker, mesh) = ("docker gets 127.0.0.1 > 127.0.0.11:41234", "mesh gets 127.0.0.1 > 127.0.0.1:15053");
    let rules = |four| Rules { four, ..DNS };
    for means in Means::IPTABLES {
        let mut pod = resolvers(means);
        pod.load(&rules(DOCKER));
        pod.load(&rules(MESH));
        pod.ask(&asked, docker, "nat OUTPUT 1, DOCKER_OUTPUT 1");
        let mut pod = resolvers(means);
        pod.load(&rules(MESH));
        pod.load(&rules(DOCKER));
        pod.ask(&asked, mesh, "nat OUTPUT 2");
        // Docker's own resolver, which asks for the container, has the mesh's answer too unless its user is exempt.
        pod.ask(&out("10.0.0.5:53").uid(0).udp(), "mesh gets 10.0.0.2 > 127.0.0.1:15053", "nat OUTPUT 2");
    }
    // In both backends: nobody can tell from a dump.
    for first in Means::IPTABLES {
        let mut pod = resolvers(first);
        pod.load(&rules(DOCKER));
        pod.turn();
        pod.load(&rules(MESH));
        let both = [(docker, "nat OUTPUT 1, DOCKER_OUTPUT 1"), (mesh, "nat OUTPUT 2")];
        let seen = pod.ask_all(&asked, &both);
        assert_eq!(seen, mesh, "who came last is first");
    }
}

#[test]
fn pq41_a_local_resolver_under_another_user_is_captured_again() {
    if !require_root() {
        return;
    }
    for means in Means::IPTABLES {
        let mut pod = Pod::bare(means);
        pod.hears("mesh", "127.0.0.1:15053", 5678);
        pod.hears("resolved", "127.0.0.53:53", 990);
        pod.load(&Rules { four: MESH, ..DNS });
        // The application's query never comes to the local resolver, and the resolver's own comes back to the mesh.
        pod.ask(&out("127.0.0.53:53").uid(1000).udp(), "mesh gets 127.0.0.1 > 127.0.0.1:15053", "nat OUTPUT 2");
        pod.ask(&out("10.0.0.5:53").uid(990).udp(), "mesh gets 10.0.0.2 > 127.0.0.1:15053", "nat OUTPUT 2");
        pod.ask(&out("10.0.0.5:53").uid(5678).udp(), "leaves 10.0.0.2 > 10.0.0.5:53", "nat OUTPUT 1");
        // Where the mesh's upstream is that resolver, each asks the other for ever.
        pod.ask(&out("127.0.0.53:53").uid(5678).udp(), "resolved gets 127.0.0.1 > 127.0.0.53:53", "nat OUTPUT 1");
    }
}
