//! What comes to the pod: PQ27 to PQ36, and PQ20 from a container inside of it.

use nslens::model::Protocol;

use super::ask::{Means, Pod, inward, out};
use super::outbound::every;
use super::profiles::{AMBIENT, ISTIO, LINKERD, Rules};
use crate::support::require_root;
use crate::traffic::{Place, Properties};

/// The rule for all that is not exempt.
const CAPTURED: &str = "nat PREROUTING 1, ISTIO_INBOUND 5, ISTIO_IN_REDIRECT 1";

#[test]
fn pq27_a_call_from_another_pod_goes_through_the_proxy() {
    every(&[ISTIO, LINKERD, AMBIENT], |mut pod, rules, _| {
        let (port, by) = match rules.proxy {
            1337 => (15006, CAPTURED),
            2102 => (4143, "nat PREROUTING 1, PROXY_INIT_REDIRECT 2"),
            _ => (15006, "nat PREROUTING 1, ISTIO_PRERT 2"),
        };
        for dialled in ["10.0.0.2:8080", "10.0.0.3:8080"] {
            // At the address of the device, whichever of the pod's was dialled.
            let expected = format!("proxy gets 10.0.0.1 > 10.0.0.2:{port} for {dialled}");
            pod.ask(&inward("10.0.0.1", dialled), &expected, by);
        }
    });
}

#[test]
fn pq28_a_probe_is_captured_but_for_the_proxys_own_ports() {
    every(&[ISTIO], |mut pod, _, _| {
        let expected = "proxy gets 10.0.0.1 > 10.0.0.2:15006 for 10.0.0.2:8080";
        pod.ask(&inward("10.0.0.1", "10.0.0.2:8080"), expected, CAPTURED);
        for (at, port) in [(1, 15008), (2, 15090), (3, 15021), (4, 15020)] {
            let end = format!("10.0.0.2:{port}");
            let by = format!("nat PREROUTING 1, ISTIO_INBOUND {at}");
            pod.ask(&inward("10.0.0.1", &end), &format!("refused at {end}"), &by);
            pod.waits("agent", &end, 1337);
            pod.ask(&inward("10.0.0.1", &end), &format!("agent gets 10.0.0.1 > {end} for {end}"), &by);
        }
    });
}

#[test]
fn pq29_in_ambient_mode_the_nodes_address_decides() {
    every(&[AMBIENT], |mut pod, _, _| {
        pod.stage.ext.sh("ip addr add 169.254.7.127/32 dev lo");
        let expected = "application gets 169.254.7.127 > 10.0.0.2:8080 for 10.0.0.2:8080";
        pod.ask(&inward("169.254.7.127", "10.0.0.2:8080"), expected, "nat PREROUTING 1, ISTIO_PRERT 1");
        let expected = "proxy gets 10.0.0.1 > 10.0.0.2:15006 for 10.0.0.2:8080";
        pod.ask(&inward("10.0.0.1", "10.0.0.2:8080"), expected, "nat PREROUTING 1, ISTIO_PRERT 2");
    });
}

#[test]
fn pq30_hbone_is_delivered_where_it_was_sent() {
    every(&[AMBIENT], |mut pod, _, _| {
        let expected = "proxy gets 10.0.0.1 > 10.0.0.2:15008 for 10.0.0.2:15008";
        pod.ask(&inward("10.0.0.1", "10.0.0.2:15008"), expected, "no rule");
    });
}

/// Istio's with only one port in the list.
const LISTED: Rules = Rules {
    four: "
*nat
:ISTIO_INBOUND - [0:0]
:ISTIO_IN_REDIRECT - [0:0]
-A PREROUTING -p tcp -j ISTIO_INBOUND
-A ISTIO_IN_REDIRECT -p tcp -j REDIRECT --to-ports 15006
-A ISTIO_INBOUND -p tcp --dport 8080 -j ISTIO_IN_REDIRECT
COMMIT
",
    native: "
table inet istio-proxy-nat {
    chain prerouting { type nat hook prerouting priority -100; meta l4proto tcp counter jump istio-inbound; }
    chain istio-in-redirect { meta l4proto tcp counter redirect to :15006; }
    chain istio-inbound { tcp dport 8080 counter jump istio-in-redirect; }
}
",
    ..ISTIO
};

#[test]
fn pq31_a_port_that_is_not_in_the_list_is_direct() {
    every(&[LISTED], |mut pod, _, _| {
        pod.waits("other", "0.0.0.0:9090", 1000);
        let expected = "other gets 10.0.0.1 > 10.0.0.2:9090 for 10.0.0.2:9090";
        pod.ask(&inward("10.0.0.1", "10.0.0.2:9090"), expected, "no rule");
        let expected = "proxy gets 10.0.0.1 > 10.0.0.2:15006 for 10.0.0.2:8080";
        let by = "nat PREROUTING 1, ISTIO_INBOUND 1, ISTIO_IN_REDIRECT 1";
        pod.ask(&inward("10.0.0.1", "10.0.0.2:8080"), expected, by);
    });
}

#[test]
fn pq32_refused_since_the_proxy_waits_at_another_address() {
    if !require_root() {
        return;
    }
    for means in Means::ALL {
        let mut pod = Pod::under(means, &ISTIO);
        pod.waits("proxy", "127.0.0.1:15006", 1337);
        pod.waits("application", "0.0.0.0:8080", 1000);
        pod.ask(&inward("10.0.0.1", "10.0.0.2:8080"), "refused at 10.0.0.2:15006", CAPTURED);
    }
}

#[test]
fn pq33_a_filter_sees_the_port_behind_the_redirect() {
    every(&[ISTIO], |mut pod, _, _| {
        pod.also(
            "-A INPUT -p tcp --dport 8080 -j ACCEPT
             -A INPUT -i eth0 -p tcp -j DROP",
            "table inet guard-filter { chain input { type filter hook input priority 0; tcp dport 8080 counter accept; iifname eth0 meta l4proto tcp counter drop; }; }",
        );
        pod.ask(&inward("10.0.0.1", "10.0.0.2:8080"), "dropped", "filter INPUT 2");
    });
}

/// Istio's in TPROXY mode: inbound connections keep both ends.
const TPROXY: Rules = Rules {
    four: "
*mangle
:ISTIO_DIVERT - [0:0]
:ISTIO_TPROXY - [0:0]
:ISTIO_INBOUND - [0:0]
-A ISTIO_DIVERT -j MARK --set-mark 1337
-A ISTIO_DIVERT -j ACCEPT
-A ISTIO_TPROXY ! -d 127.0.0.1/32 -p tcp -j TPROXY --tproxy-mark 1337/0xffffffff --on-port 15006
-A PREROUTING -p tcp -j ISTIO_INBOUND
-A ISTIO_INBOUND -p tcp -m mark --mark 1337 -j RETURN
-A ISTIO_INBOUND -p tcp -s 127.0.0.6/32 -i lo -j RETURN
-A ISTIO_INBOUND -p tcp -i lo -m mark ! --mark 1338 -j RETURN
-A ISTIO_INBOUND -p tcp -m conntrack --ctstate RELATED,ESTABLISHED -j ISTIO_DIVERT
-A ISTIO_INBOUND -p tcp -j ISTIO_TPROXY
-A PREROUTING -p tcp -m mark --mark 1337 -j CONNMARK --save-mark
-A OUTPUT -p tcp -m connmark --mark 1337 -j CONNMARK --restore-mark
COMMIT
",
    native: "
table inet istio-proxy-mangle {
    chain prerouting {
        type filter hook prerouting priority -150;
        meta l4proto tcp counter jump istio-inbound
        meta l4proto tcp meta mark 1337 counter ct mark set mark
    }
    chain output {
        type route hook output priority -150;
        meta l4proto tcp ct mark 1337 counter meta mark set ct mark
    }
    chain istio-divert {
        counter meta mark set 1337
        counter accept
    }
    chain istio-tproxy { meta l4proto tcp ip daddr != 127.0.0.1/32 tproxy ip to :15006 meta mark set 1337 counter accept; }
    chain istio-inbound {
        meta l4proto tcp meta mark 1337 counter return
        meta l4proto tcp ip saddr 127.0.0.6/32 iifname lo counter return
        meta l4proto tcp iifname lo mark != 1338 counter return
        meta l4proto tcp ct state related,established counter jump istio-divert
        meta l4proto tcp counter jump istio-tproxy
    }
}
",
    ..ISTIO
};

/// By which marked packets are for the pod, whatever their address.
const ROUTES: &str = "ip rule add fwmark 1337 lookup 133; ip route add local default dev lo table 133";

#[test]
fn pq34_a_transparent_proxy_has_the_original_address() {
    if !require_root() {
        return;
    }
    for means in Means::ALL {
        let mut pod = Pod::under(means, &TPROXY);
        pod.stage.pod.sh(ROUTES);
        let transparent = Properties { uid: 1337, gid: 1337, transparent: true, ..Properties::default() };
        pod.waits_so("proxy", (Place::Pod, Protocol::Tcp), "0.0.0.0:15006", &transparent);
        pod.waits("application", "0.0.0.0:8080", 1000);
        let by = "mangle PREROUTING 1, ISTIO_INBOUND 5, ISTIO_TPROXY 1";
        let expected = "proxy gets 10.0.0.1 > 10.0.0.2:8080 for 10.0.0.2:8080";
        pod.ask(&inward("10.0.0.1", "10.0.0.2:8080"), expected, by);
    }
    for means in Means::IPTABLES {
        let mut pod = Pod::under(means, &TPROXY);
        pod.stage.pod.sh(ROUTES);
        pod.waits("proxy", "0.0.0.0:15006", 1337);
        pod.waits("application", "0.0.0.0:8080", 1000);
        let by = "mangle PREROUTING 1, ISTIO_INBOUND 5, ISTIO_TPROXY 1";
        pod.ask(&inward("10.0.0.1", "10.0.0.2:8080"), "dropped", by);
    }
    // What nft's own does without a transparent listener: the next rule, and so the application (K26).
    let mut pod = Pod::under(Means::Native, &TPROXY);
    pod.stage.pod.sh(ROUTES);
    pod.waits("proxy", "0.0.0.0:15006", 1337);
    pod.waits("application", "0.0.0.0:8080", 1000);
    let expected = "application gets 10.0.0.1 > 10.0.0.2:8080 for 10.0.0.2:8080";
    pod.ask(&inward("10.0.0.1", "10.0.0.2:8080"), expected, "no rule");
}

#[test]
fn pq35_a_forwarded_port_comes_from_loopback() {
    every(&[ISTIO], |mut pod, _, _| {
        let expected = "application gets 127.0.0.1 > 127.0.0.1:8080 for 127.0.0.1:8080";
        pod.ask(&out("127.0.0.1:8080").uid(0), expected, "nat OUTPUT 1, ISTIO_OUTPUT 3");
    });
}

#[test]
fn pq36_the_proxys_own_port_dialled_from_outside() {
    every(&[ISTIO], |mut pod, _, _| {
        let expected = "proxy gets 10.0.0.1 > 10.0.0.2:15006 for 10.0.0.2:15001";
        pod.ask(&inward("10.0.0.1", "10.0.0.2:15001"), expected, CAPTURED);
    });
}
