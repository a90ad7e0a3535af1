//! What goes past the proxy: RDR007, RDR103, RDR204 to RDR206, RDR211, RDR212.

use nslens::analysis::check::Severity;

use super::stage::{Pod, istio, noted, only, silent, without};
use crate::questions::stage::{dial, run};
use crate::support::wait_until;

const BACKENDS: [&str; 2] = ["legacy", "nft"];

/// Istio's rules with one in place of another.
fn instead(ipv6: bool, rule: &str, other: &str) -> String {
    let rules = istio(ipv6);
    assert!(rules.contains(rule), "{rule}");
    rules.replace(rule, other)
}

#[test]
fn rdr007_a_served_port_that_nobody_captures() {
    for backend in BACKENDS {
        let listed = |ipv6| {
            Some(instead(
                ipv6,
                "-A ISTIO_INBOUND -p tcp -j ISTIO_IN_REDIRECT",
                "-A ISTIO_INBOUND -p tcp --dport 8080 -j ISTIO_IN_REDIRECT",
            ))
        };
        let Some(mut pod) = Pod::with_rules(backend, listed) else { return };
        silent(&pod.checked());
        pod.runs(1000, "app", "accept:[::]:9090", 7);
        let answer = pod.checked();
        let finding = only(&answer, "RDR007", Severity::Warning);
        assert!(finding.title.contains("port 9090") && finding.title.contains("container app"), "{finding:?}");
        // So it is: who calls that port gets the application.
        let _call = pod.world.netns().enter(|| dial("10.0.0.2:9090", None)).expect("inside");
        pod.lab.wait_for_sockets(1, "state established sport = 9090");
        // What listens for the pod alone is nobody's business.
        pod.programs.pop();
        pod.lab.wait_for_sockets(6, "state listening");
        pod.runs(1000, "app", "accept:127.0.0.1:9090", 7);
        silent(&pod.checked());
    }
}

#[test]
fn rdr211_a_port_that_a_rule_leaves_alone() {
    for backend in BACKENDS {
        let Some(pod) = Pod::istio(backend) else { return };
        pod.lab.sh(&format!("iptables-{backend} -w -t nat -I ISTIO_INBOUND -p tcp --dport 8080 -j RETURN"));
        let answer = pod.checked();
        let finding = only(&answer, "RDR211", Severity::Warning);
        let rule = finding.rule.as_ref().expect("the rule");
        assert_eq!((rule.chain.as_str(), rule.number), ("ISTIO_INBOUND", 1), "{finding:?}");
        let _call = pod.world.netns().enter(|| dial("10.0.0.2:8080", None)).expect("inside");
        pod.lab.wait_for_sockets(1, "state established sport = 8080");
        // A port that nobody serves may be left alone.
        let Some(pod) = Pod::istio(backend) else { return };
        pod.both(backend, "-t nat -I ISTIO_INBOUND -p tcp --dport 9999 -j RETURN");
        silent(&pod.checked());
    }
}

#[test]
fn rdr103_what_the_proxy_passes_on_comes_back() {
    for backend in BACKENDS {
        let Some(pod) = Pod::with_rules(backend, |ipv6| Some(without(&istio(ipv6), "-A ISTIO_OUTPUT -s "))) else {
            return;
        };
        let answer = pod.checked();
        let found: Vec<_> = answer.findings.iter().filter(|finding| finding.severity > Severity::Info).collect();
        let ids: Vec<_> = found.iter().map(|finding| finding.kind.id).collect();
        assert_eq!(ids, ["RDR103"; 2], "one for each family");
        assert!(found.iter().any(|finding| finding.title.contains("127.0.0.6")), "{found:?}");
        assert_eq!(
            found.first().and_then(|finding| finding.rule.as_ref()).map(|rule| rule.chain.as_str()),
            Some("ISTIO_IN_REDIRECT")
        );
        // So it is: the proxy's own call lands at its own port.
        let _passing = run(&pod.lab, 1337, "dial:10.0.0.2:8080@127.0.0.6:0");
        pod.lab.wait_for_sockets(1, "state established sport = 15006");
    }
    // Over IPv6 the address has to be there.
    let Some(pod) = Pod::istio("nft") else { return };
    silent(&pod.checked());
    pod.lab.sh("ip -6 addr del ::6/128 dev lo");
    let answer = pod.checked();
    assert!(only(&answer, "RDR103", Severity::Error).title.contains("::6 is missing"), "{answer:?}");
}

#[test]
fn rdr204_an_exclusion_of_everything() {
    for backend in BACKENDS {
        for (rule, severity) in [
            ("-j RETURN", Severity::Error),
            ("-p tcp --dport 443 -j RETURN", Severity::Warning),
            ("-p tcp --dport 1:40000 -j RETURN", Severity::Warning),
        ] {
            let Some(pod) = Pod::istio(backend) else { return };
            for program in ["iptables", "ip6tables"] {
                pod.lab.sh(&format!("{program}-{backend} -w -t nat -I ISTIO_OUTPUT 9 {rule}"));
            }
            let answer = pod.checked();
            let finding = only(&answer, "RDR204", severity);
            if severity == Severity::Error {
                let name = finding.rule.as_ref().map(|rule| (rule.chain.as_str(), rule.number));
                assert_eq!(name, Some(("ISTIO_OUTPUT", 9)), "{finding:?}");
            }
        }
    }
    let Some(pod) = Pod::istio("nft") else { return };
    pod.lab.sh("iptables-nft -w -t nat -I ISTIO_OUTPUT 9 -p tcp -d 10.96.0.0/16 --dport 443 -j RETURN");
    silent(&pod.checked());
}

#[test]
fn rdr205_datagrams_are_not_redirected() {
    let Some(mut pod) = Pod::istio("nft") else { return };
    let _server = run(&pod.world, 0, "udp:10.0.0.5:443");
    pod.world.wait_for_sockets(1, "sport = 443");
    pod.runs(1000, "app", "ask:10.0.0.5:443@10.0.0.2:0", 6);
    wait_until("the datagram", || pod.lab.sh("conntrack -L -p udp 2>/dev/null").contains("dport=443"));
    let answer = pod.checked();
    silent(&answer);
    assert!(noted(&answer, "RDR205").evidence.iter().any(|fact| fact.contains("10.0.0.5:443")), "{answer:?}");
}

#[test]
fn rdr206_what_is_not_tracked() {
    for backend in BACKENDS {
        let Some(pod) = Pod::istio(backend) else { return };
        pod.lab.sh(&format!("iptables-{backend} -w -t raw -A OUTPUT -p tcp --dport 80 -j CT --notrack"));
        let answer = pod.checked();
        let finding = only(&answer, "RDR206", Severity::Error);
        let rule = finding.rule.as_ref().expect("the rule");
        assert_eq!((rule.table.as_str(), rule.chain.as_str(), rule.number), ("raw", "OUTPUT", 1), "{finding:?}");
        // So it is: the call arrives as it was made.
        let _server = run(&pod.world, 0, "accept:[::]:80");
        pod.world.wait_for_sockets(1, "state listening sport = 80");
        let _caller = run(&pod.lab, 1000, "dial:10.0.0.5:80");
        pod.world.wait_for_sockets(1, "state established sport = 80");
        // One that keeps from tracking what is left alone anyway changes nothing.
        let Some(pod) = Pod::istio(backend) else { return };
        pod.lab.sh(&format!("iptables-{backend} -w -t raw -A OUTPUT -p udp --dport 53 -j CT --notrack"));
        silent(&pod.checked());
    }
}

#[test]
fn rdr212_the_metadata_of_the_cloud() {
    let Some(mut pod) = Pod::istio("nft") else { return };
    pod.world.sh("ip addr add 169.254.169.254/32 dev lo");
    pod.lab.sh("ip route add 169.254.169.254/32 via 10.0.0.5");
    pod.runs(1000, "app", "dial:169.254.169.254:80", 6);
    pod.lab.wait_for_sockets(1, "state established sport = 15001");
    let answer = pod.checked();
    silent(&answer);
    assert!(noted(&answer, "RDR212").title.contains("169.254.169.254 goes through the proxy"), "{answer:?}");
}
