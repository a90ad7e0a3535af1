//! What the pod's processes send: PQ01 to PQ17, PQ25 and PQ26.

use super::ask::{Means, Pod, out};
use super::profiles::{AMBIENT, APP_MESH, ISTIO, ISTIO6, LINKERD, Rules};
use crate::support::require_root;

/// Each of these with each of the rule sets' forms.
pub(super) fn every(rules: &[Rules], mut each: impl FnMut(Pod, &Rules, Means)) {
    if !require_root() {
        return;
    }
    for rules in rules {
        for means in Means::ALL.into_iter().filter(|means| *means != Means::Native || !rules.native.is_empty()) {
            each(Pod::meshed(means, rules), rules, means);
        }
    }
}

/// The last rule of Istio's, by which all that is not exempt goes to the proxy.
const CAPTURED: &str = "nat OUTPUT 1, ISTIO_OUTPUT 9, ISTIO_REDIRECT 1";
/// The rule for the proxy's own user.
const EXEMPT: &str = "nat OUTPUT 1, ISTIO_OUTPUT 4";

#[test]
fn pq01_an_applications_request_is_intercepted() {
    every(&[ISTIO], |mut pod, _, _| {
        let asked = out("10.0.0.5:3306").uid(1000);
        pod.ask(&asked, "proxy gets 10.0.0.2 > 127.0.0.1:15001 for 10.0.0.5:3306", CAPTURED);
    });
}

#[test]
fn pq02_the_proxys_own_is_not() {
    every(&[ISTIO], |mut pod, _, _| {
        pod.ask(&out("10.0.0.5:3306").uid(1337).gid(1000), "leaves 10.0.0.2 > 10.0.0.5:3306", EXEMPT);
    });
}

#[test]
fn pq03_the_proxys_group_where_a_rule_asks_for_it() {
    every(&[ISTIO], |mut pod, _, _| {
        let asked = out("10.0.0.5:3306").uid(1000).gid(1337);
        pod.ask(&asked, "leaves 10.0.0.2 > 10.0.0.5:3306", "nat OUTPUT 1, ISTIO_OUTPUT 7");
        for _ in 0..3 {
            pod.remove("ISTIO_OUTPUT", 5);
        }
        pod.ask(
            &asked,
            "proxy gets 10.0.0.2 > 127.0.0.1:15001 for 10.0.0.5:3306",
            "nat OUTPUT 1, ISTIO_OUTPUT 6, ISTIO_REDIRECT 1",
        );
    });
}

#[test]
fn pq04_to_the_same_pod_over_loopback() {
    every(&[ISTIO, LINKERD, AMBIENT], |mut pod, rules, _| {
        let by = match rules.proxy {
            1337 => "nat OUTPUT 1, ISTIO_OUTPUT 3",
            2102 => "nat OUTPUT 1, PROXY_INIT_OUTPUT 2",
            _ => "no rule",
        };
        let expected = "application gets 127.0.0.1 > 127.0.0.1:8080 for 127.0.0.1:8080";
        pod.ask(&out("127.0.0.1:8080").uid(1000), expected, by);
    });
}

#[test]
fn pq05_to_the_pods_own_address() {
    every(&[ISTIO, LINKERD, AMBIENT], |mut pod, rules, _| {
        let by = match rules.proxy {
            1337 => "nat OUTPUT 1, ISTIO_OUTPUT 3",
            2102 => "nat OUTPUT 1, PROXY_INIT_OUTPUT 2",
            _ => "nat OUTPUT 1, ISTIO_OUTPUT 5",
        };
        let expected = "application gets 10.0.0.2 > 10.0.0.2:8080 for 10.0.0.2:8080";
        pod.ask(&out("10.0.0.2:8080").uid(1000), expected, by);
    });
}

#[test]
fn pq06_to_its_own_service_it_passes_the_proxy_twice() {
    every(&[ISTIO], |mut pod, _, _| {
        let asked = out("10.96.0.10:80").uid(1000);
        pod.ask(&asked, "proxy gets 10.0.0.2 > 127.0.0.1:15001 for 10.96.0.10:80", CAPTURED);
        let then = out("10.0.0.2:8080").uid(1337);
        let by = "nat OUTPUT 1, ISTIO_OUTPUT 2, ISTIO_IN_REDIRECT 1";
        pod.ask(&then, "proxy gets 10.0.0.2 > 127.0.0.1:15006 for 10.0.0.2:8080", by);
    });
}

#[test]
fn pq07_and_once_with_linkerd() {
    every(&[LINKERD], |mut pod, _, _| {
        let asked = out("10.96.0.10:80").uid(1000);
        let by = "nat OUTPUT 1, PROXY_INIT_OUTPUT 4";
        pod.ask(&asked, "proxy gets 10.0.0.2 > 127.0.0.1:4140 for 10.96.0.10:80", by);
        let then = out("10.0.0.2:8080").uid(2102);
        let by = "nat OUTPUT 1, PROXY_INIT_OUTPUT 1";
        pod.ask(&then, "application gets 10.0.0.2 > 10.0.0.2:8080 for 10.0.0.2:8080", by);
    });
}

#[test]
fn pq08_why_what_comes_from_127_0_0_6_is_not_looped() {
    every(&[ISTIO], |mut pod, _, _| {
        let asked = out("10.0.0.2:8080").uid(1337).from("127.0.0.6:0");
        let expected = "application gets 127.0.0.6 > 10.0.0.2:8080 for 10.0.0.2:8080";
        pod.ask(&asked, expected, "nat OUTPUT 1, ISTIO_OUTPUT 1");
        pod.remove("ISTIO_OUTPUT", 1);
        let expected = "proxy gets 127.0.0.6 > 127.0.0.1:15006 for 10.0.0.2:8080";
        pod.ask(&asked, expected, "nat OUTPUT 1, ISTIO_OUTPUT 1, ISTIO_IN_REDIRECT 1");
    });
}

#[test]
fn pq09_one_address_of_loopback_is_spared_and_no_other() {
    every(&[ISTIO], |mut pod, _, _| {
        let asked = out("127.0.0.5:8080").uid(1337);
        let by = "nat OUTPUT 1, ISTIO_OUTPUT 2, ISTIO_IN_REDIRECT 1";
        pod.ask(&asked, "proxy gets 127.0.0.1 > 127.0.0.1:15006 for 127.0.0.5:8080", by);
        let expected = "application gets 127.0.0.1 > 127.0.0.1:8080 for 127.0.0.1:8080";
        pod.ask(&out("127.0.0.1:8080").uid(1337), expected, EXEMPT);
    });
}

#[test]
fn pq10_an_excluded_port_where_the_rule_stands_before_the_redirect() {
    every(&[ISTIO], |mut pod, _, _| {
        let asked = out("10.0.0.5:5432").uid(1000);
        // Behind the redirect it is of no use.
        pod.also(
            "-t nat -A ISTIO_OUTPUT -p tcp --dport 5432 -j RETURN",
            "add rule inet istio-proxy-nat istio-output tcp dport 5432 counter return",
        );
        pod.ask(&asked, "proxy gets 10.0.0.2 > 127.0.0.1:15001 for 10.0.0.5:5432", CAPTURED);
        pod.also(
            "-t nat -I ISTIO_OUTPUT 9 -p tcp --dport 5432 -j RETURN",
            "insert rule inet istio-proxy-nat istio-output index 8 tcp dport 5432 counter return",
        );
        pod.ask(&asked, "leaves 10.0.0.2 > 10.0.0.5:5432", "nat OUTPUT 1, ISTIO_OUTPUT 9");
    });
}

#[test]
fn pq12_an_included_port_leaves_the_others_to_the_rule_for_all() {
    every(&[ISTIO], |mut pod, _, _| {
        pod.also(
            "-t nat -I ISTIO_OUTPUT 9 -p tcp --dport 8443 -j ISTIO_REDIRECT",
            "insert rule inet istio-proxy-nat istio-output index 8 tcp dport 8443 counter jump istio-redirect",
        );
        let by = "nat OUTPUT 1, ISTIO_OUTPUT 9, ISTIO_REDIRECT 1";
        pod.ask(&out("10.0.0.5:8443").uid(1000), "proxy gets 10.0.0.2 > 127.0.0.1:15001 for 10.0.0.5:8443", by);
        let by = "nat OUTPUT 1, ISTIO_OUTPUT 10, ISTIO_REDIRECT 1";
        pod.ask(&out("10.0.0.5:8001").uid(1000), "proxy gets 10.0.0.2 > 127.0.0.1:15001 for 10.0.0.5:8001", by);
    });
}

#[test]
fn pq13_a_skipped_port_and_an_opaque_one() {
    every(&[LINKERD], |mut pod, _, _| {
        let by = "nat OUTPUT 1, PROXY_INIT_OUTPUT 3";
        pod.ask(&out("10.0.0.5:3306").uid(1000), "leaves 10.0.0.2 > 10.0.0.5:3306", by);
        // What is opaque to the proxy no rule tells.
        let by = "nat OUTPUT 1, PROXY_INIT_OUTPUT 4";
        pod.ask(&out("10.0.0.5:4444").uid(1000), "proxy gets 10.0.0.2 > 127.0.0.1:4140 for 10.0.0.5:4444", by);
    });
}

#[test]
fn pq14_ipv6_with_rules_for_ipv4_and_with_its_own() {
    let asked = out("[fd01::9]:80").uid(1000);
    every(&[ISTIO], |mut pod, _, means| {
        if means == Means::Native {
            // The table sees both families, and its redirect names none.
            pod.ask(&asked, "proxy gets fd00::2 > [::1]:15001 for [fd01::9]:80", CAPTURED);
            return;
        }
        pod.ask(&asked, "leaves fd00::2 > [fd01::9]:80", "no rule");
        pod.load(&Rules { four: "", six: ISTIO6, ..ISTIO });
        pod.ask(&asked, "proxy gets fd00::2 > [::1]:15001 for [fd01::9]:80", CAPTURED);
    });
    if !require_root() {
        return;
    }
    for means in Means::IPTABLES {
        let mut pod = Pod::under(means, &Rules { six: ISTIO6, ..ISTIO });
        pod.waits("proxy", "0.0.0.0:15001", 1337);
        pod.ask(&asked, "refused at [::1]:15001", CAPTURED);
    }
}

#[test]
fn pq15_a_mapped_address_goes_by_the_rules_for_ipv4() {
    every(&[ISTIO], |mut pod, _, _| {
        let asked = out("[::ffff:10.0.0.5]:3306").uid(1000);
        pod.ask(&asked, "proxy gets 10.0.0.2 > 127.0.0.1:15001 for 10.0.0.5:3306", CAPTURED);
    });
}

#[test]
fn pq16_neither_quic_nor_icmp_is_intercepted() {
    every(&[ISTIO], |mut pod, _, _| {
        pod.ask(&out("10.0.0.5:443").uid(1000).udp(), "leaves 10.0.0.2 > 10.0.0.5:443", "no rule");
        pod.ping("10.0.0.5", "leaves 10.0.0.2 > 10.0.0.5", "no rule");
    });
}

#[test]
fn pq17_the_address_of_credentials() {
    let asked = out("169.254.169.254:80").uid(1000);
    every(&[ISTIO], |mut pod, _, _| {
        pod.ask(&asked, "proxy gets 10.0.0.2 > 127.0.0.1:15001 for 169.254.169.254:80", CAPTURED);
    });
    every(&[APP_MESH], |mut pod, _, _| {
        pod.ask(&asked, "leaves 10.0.0.2 > 169.254.169.254:80", "nat OUTPUT 1, APPMESH_EGRESS 4");
    });
}

#[test]
fn pq25_an_init_container_without_a_proxy_is_refused() {
    if !require_root() {
        return;
    }
    for means in Means::ALL {
        let mut pod = Pod::under(means, &ISTIO);
        pod.ask(&out("10.0.0.5:80").uid(0), "refused at 127.0.0.1:15001", CAPTURED);
        pod.ask(&out("10.0.0.5:80").uid(1337), "leaves 10.0.0.2 > 10.0.0.5:80", EXEMPT);
    }
}

#[test]
fn pq26_what_another_agent_exempts_does_not_use_the_mesh() {
    every(&[ISTIO], |mut pod, _, _| {
        pod.also(
            "-t nat -N TEL_OUTPUT_TCP
             -t nat -I TEL_OUTPUT_TCP -m owner --uid-owner 0 -j RETURN
             -t nat -I ISTIO_OUTPUT 1 -m owner --uid-owner 0 -j RETURN",
            "insert rule inet istio-proxy-nat istio-output skuid 0 counter return",
        );
        pod.ask(&out("10.0.0.5:80").uid(0), "leaves 10.0.0.2 > 10.0.0.5:80", "nat OUTPUT 1, ISTIO_OUTPUT 1");
        let by = "nat OUTPUT 1, ISTIO_OUTPUT 10, ISTIO_REDIRECT 1";
        pod.ask(&out("10.0.0.5:80").uid(1000), "proxy gets 10.0.0.2 > 127.0.0.1:15001 for 10.0.0.5:80", by);
    });
}
