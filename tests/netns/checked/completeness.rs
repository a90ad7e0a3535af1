//! Whether rules are whole, reach what they are written for, in every family and in one backend: RDR003, RDR006, RDR401, RDR402.

use nslens::analysis::check::Severity;

use super::stage::{Pod, istio, only, silent, without, words};

const BACKENDS: [&str; 2] = ["legacy", "nft"];

#[test]
fn rdr003_chains_to_which_no_hook_leads() {
    for backend in BACKENDS {
        for (hook, chain, direction) in
            [("-A OUTPUT", "ISTIO_OUTPUT", "outbound"), ("-A PREROUTING", "ISTIO_INBOUND", "inbound")]
        {
            let Some(pod) = Pod::with_rules(backend, |ipv6| Some(without(&istio(ipv6), hook))) else { return };
            let answer = pod.checked();
            let finding = only(&answer, "RDR003", Severity::Error);
            assert!(finding.title.contains(chain) && finding.title.contains(direction), "{finding:?}");
            assert_eq!(finding.rule.as_ref().map(|rule| rule.chain.as_str()), Some(chain), "{finding:?}");
        }
    }
}

#[test]
fn rdr003_a_direction_that_is_switched_off_on_purpose() {
    let off = |ipv6| Some(without(&without(&istio(ipv6), "-A PREROUTING"), "-A ISTIO_INBOUND"));
    let Some(mut pod) = Pod::with_rules("nft", off) else { return };
    pod.annotate("traffic.sidecar.istio.io/includeInboundPorts", "");
    let answer = pod.checked();
    silent(&answer);
    assert!(answer.findings.iter().any(|finding| finding.kind.id == "RDR003"), "{}", words(&answer));
}

#[test]
fn rdr003_a_chain_that_is_there_and_redirects_nothing() {
    for backend in BACKENDS {
        let Some(pod) = Pod::istio(backend) else { return };
        pod.both(backend, "-t nat -D ISTIO_OUTPUT -j ISTIO_REDIRECT");
        pod.both(backend, "-t nat -F ISTIO_REDIRECT");
        let answer = pod.checked();
        let finding = only(&answer, "RDR003", Severity::Error);
        let fact = "chain ISTIO_REDIRECT (nat) is there for that, and redirects nothing";
        assert!(finding.evidence.iter().any(|told| told == fact), "{finding:?}");
    }
}

#[test]
fn rdr006_a_rule_that_leaves_everything_alone_before() {
    for backend in BACKENDS {
        let Some(pod) = Pod::istio(backend) else { return };
        for program in ["iptables", "ip6tables"] {
            pod.lab.sh(&format!("{program}-{backend} -w -t nat -I OUTPUT -j ACCEPT"));
        }
        let answer = pod.checked();
        let finding = only(&answer, "RDR006", Severity::Error);
        let rule = finding.rule.as_ref().expect("the rule");
        assert_eq!((rule.chain.as_str(), rule.number), ("OUTPUT", 1), "{finding:?}");
        assert!(
            finding.title.contains("ip nat OUTPUT 1 and") && finding.title.contains("ip6 nat OUTPUT 1"),
            "{finding:?}"
        );
        // One that leaves a port of its own alone takes nothing away.
        let Some(pod) = Pod::istio(backend) else { return };
        pod.both(backend, "-t nat -I OUTPUT -p tcp --dport 4567 -j ACCEPT");
        silent(&pod.checked());
    }
}

#[test]
fn rdr006_an_exclusion_behind_the_redirect() {
    for backend in BACKENDS {
        let Some(pod) = Pod::istio(backend) else { return };
        pod.lab.sh(&format!("iptables-{backend} -w -t nat -A ISTIO_OUTPUT -p tcp --dport 3306 -j RETURN"));
        let answer = pod.checked();
        let finding = only(&answer, "RDR006", Severity::Warning);
        let rule = finding.rule.as_ref().expect("the rule");
        assert_eq!((rule.chain.as_str(), rule.number), ("ISTIO_OUTPUT", 10), "{finding:?}");
        assert!(finding.evidence.iter().any(|fact| fact.contains("ISTIO_OUTPUT 9")), "{finding:?}");
        // Ahead of it, it is what somebody wanted.
        let Some(pod) = Pod::istio(backend) else { return };
        pod.both(backend, "-t nat -I ISTIO_OUTPUT 9 -p tcp --dport 3306 -j RETURN");
        silent(&pod.checked());
    }
}

#[test]
fn rdr401_rules_of_both_backends() {
    for (one, other) in [("legacy", "nft"), ("nft", "legacy")] {
        let Some(pod) = Pod::istio(one) else { return };
        pod.lab
            .sh(&format!("iptables-{other} -w -t nat -A PREROUTING -p tcp --dport 9999 -j REDIRECT --to-ports 15006"));
        let answer = pod.checked();
        let finding = only(&answer, "RDR401", Severity::Warning);
        assert!(finding.title.contains("IPv4"), "{finding:?}");
        assert!(finding.evidence.iter().any(|fact| fact.starts_with("legacy: nat")), "{finding:?}");
        assert!(finding.evidence.iter().any(|fact| fact.starts_with("nf_tables: nat")), "{finding:?}");
        // A filter of the other kind is none of redirection's business.
        let Some(pod) = Pod::istio(one) else { return };
        pod.lab.sh(&format!("iptables-{other} -w -A INPUT -p tcp --dport 9999 -j ACCEPT"));
        silent(&pod.checked());
    }
}

#[test]
fn rdr402_a_family_that_was_forgotten() {
    for backend in BACKENDS {
        for lost in [false, true] {
            let Some(pod) = Pod::with_rules(backend, |ipv6| (ipv6 != lost).then(|| istio(ipv6))) else { return };
            let answer = pod.checked();
            let finding = only(&answer, "RDR402", Severity::Error);
            let family = if lost { "IPv6" } else { "IPv4" };
            assert!(finding.title.starts_with(&format!("inbound and outbound {family}")), "{finding:?}");
        }
        // A pod that has no address of that family loses nothing.
        let Some(pod) = Pod::with_rules(backend, |ipv6| (!ipv6).then(|| istio(ipv6))) else { return };
        pod.lab.sh("ip -6 addr flush dev eth0; ip -6 route flush dev eth0");
        silent(&pod.checked());
    }
}
