//! What connections that are open show: RDR101, RDR105, RDR207 to RDR209, RDR701 to RDR709.

use nslens::analysis::check::{Asked, Severity, check};
use nslens::model::TableUse;

use super::stage::{Pod, istio, noted, only, silent, without};
use crate::questions::stage::{Program, dial, run};
use crate::support::wait_until;

const BACKENDS: [&str; 2] = ["legacy", "nft"];

/// A server in the world at 10.0.0.5:80.
fn served(pod: &Pod) -> Program {
    let server = run(&pod.world, 0, "accept:[::]:80");
    pod.world.wait_for_sockets(1, "state listening sport = 80");
    server
}

#[test]
fn rdr101_the_seed_case_a_proxy_that_nobody_leaves_alone() {
    for backend in BACKENDS {
        let exempt = "-A ISTIO_OUTPUT -m owner --uid-owner 1337 -j RETURN";
        let group = "-A ISTIO_OUTPUT -m owner --gid-owner 1337 -j RETURN";
        let Some(mut pod) = Pod::bare() else { return };
        pod.loads(backend, |ipv6| Some(without(&without(&istio(ipv6), exempt), group)));
        pod.is_istio_with("forward:0.0.0.0:15001>original accept:[::1]:15001 accept:[::]:15006");
        // Before anybody calls, it is known that it will happen.
        only(&pod.checked(), "RDR102", Severity::Error);
        pod.runs(1000, "app", "dial:10.0.0.5:80", 7);
        wait_until("the circles", || pod.lab.sh("ss -Htn state established dport = :80").lines().count() >= 15);
        let (first, later) = (pod.snapshot(), pod.snapshot());
        let answer = check(&first, Asked { later: Some(&later), demand: None });
        let finding = only(&answer, "RDR101", Severity::Error);
        assert!(finding.evidence.iter().any(|fact| fact.contains("dials 10.0.0.5:80")), "{finding:?}");
        assert!(finding.evidence.iter().any(|fact| fact.contains("second sample")), "{finding:?}");
        assert!(finding.remedy.contains("UID 1337"), "{finding:?}");
        assert_eq!(finding.rule.as_ref().map(|rule| rule.chain.as_str()), Some("ISTIO_REDIRECT"), "{finding:?}");
        // With the exemption the same call goes out once.
        let Some(mut pod) = Pod::bare() else { return };
        let _server = served(&pod);
        pod.loads(backend, |ipv6| Some(istio(ipv6)));
        pod.is_istio_with("forward:0.0.0.0:15001>original accept:[::1]:15001 accept:[::]:15006");
        pod.runs(1000, "app", "dial:10.0.0.5:80", 7);
        pod.world.wait_for_sockets(1, "state established");
        silent(&pod.checked());
    }
}

#[test]
fn rdr105_somebody_calls_the_port_of_the_proxy() {
    for backend in BACKENDS {
        let Some(pod) = Pod::istio(backend) else { return };
        let call = |to: &str| pod.world.netns().enter(|| dial(to, None)).expect("inside");
        let _usual = call("10.0.0.2:8080");
        pod.lab.wait_for_sockets(1, "state established sport = 15006");
        silent(&pod.checked());
        let _wrong = call("10.0.0.2:15001");
        pod.lab.wait_for_sockets(2, "state established sport = 15006");
        let answer = pod.checked();
        let finding = only(&answer, "RDR105", Severity::Warning);
        assert!(finding.title.contains("15001"), "{finding:?}");
        assert!(finding.evidence.iter().any(|fact| fact.contains("10.0.0.5") && fact.contains("10.0.0.2:15001")));
    }
}

#[test]
fn rdr207_a_program_that_chooses_before_rules_do() {
    let Some(pod) = Pod::istio("nft") else { return };
    let mut snapshot = pod.snapshot();
    snapshot.programs = Some(vec!["cgroup_skb egress 11 acl".to_owned()]);
    silent(&check(&snapshot, Asked::default()));
    snapshot.programs = Some(vec!["connect4 12 cil_sock4_connect".to_owned()]);
    let answer = check(&snapshot, Asked::default());
    let finding = only(&answer, "RDR207", Severity::Warning);
    assert!(finding.evidence.iter().any(|fact| fact.contains("cil_sock4_connect")), "{finding:?}");
}

#[test]
fn rdr208_the_proxy_gets_what_no_rule_redirects() {
    let Some(mut pod) = Pod::bare() else { return };
    pod.is_istio();
    only(&pod.checked(), "RDR001", Severity::Error);
    // As a program of the kernel would do it.
    pod.runs(1000, "app", "dial:127.0.0.1:15001", 6);
    pod.lab.wait_for_sockets(2, "state established");
    let answer = pod.checked();
    noted(&answer, "RDR208");
    assert!(!answer.findings.iter().any(|finding| finding.kind.id == "RDR001"), "{answer:?}");
    assert!(answer.undecided.iter().any(|open| open.id == "RDR208"), "{answer:?}");
}

#[test]
fn rdr209_calls_within_the_pod() {
    let Some(mut pod) = Pod::istio("nft") else { return };
    pod.runs(1000, "app", "dial:127.0.0.1:8080", 6);
    pod.lab.wait_for_sockets(2, "state established");
    let answer = pod.checked();
    silent(&answer);
    let finding = noted(&answer, "RDR209");
    let rule = finding.rule.as_ref().expect("the rule");
    assert_eq!((rule.chain.as_str(), rule.number), ("ISTIO_OUTPUT", 3), "{finding:?}");
}

#[test]
fn rdr701_a_connection_older_than_the_rules() {
    for backend in BACKENDS {
        let Some(mut pod) = Pod::bare() else { return };
        let _server = served(&pod);
        // So that it is tracked.
        pod.lab.sh(&format!("iptables-{backend} -w -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT"));
        pod.is_istio();
        pod.runs(1000, "app", "dial:10.0.0.5:80", 6);
        pod.world.wait_for_sockets(1, "state established");
        pod.loads(backend, |ipv6| Some(istio(ipv6)));
        let answer = pod.checked();
        let finding = only(&answer, "RDR701", Severity::Warning);
        assert_eq!(finding.rule.as_ref().map(|rule| rule.chain.as_str()), Some("ISTIO_REDIRECT"), "{finding:?}");
        assert!(finding.evidence.iter().any(|fact| fact.contains("10.0.0.5:80")), "{finding:?}");
        // Dialled anew it is redirected.
        pod.programs.pop();
        pod.world.wait_for_sockets(0, "state established");
        pod.runs(1000, "app", "dial:10.0.0.5:80", 6);
        pod.lab.wait_for_sockets(1, "state established sport = 15001");
        silent(&pod.checked());
    }
}

#[test]
fn rdr702_a_connection_past_the_proxy_that_nothing_else_explains() {
    for backend in BACKENDS {
        let Some(mut pod) = Pod::istio(backend) else { return };
        let _server = served(&pod);
        pod.lab.sh(&format!("iptables-{backend} -w -t nat -I ISTIO_OUTPUT -m mark --mark 0x77 -j RETURN"));
        silent(&pod.checked());
        pod.runs(0, "app", "mark:10.0.0.5:80#119", 6);
        pod.world.wait_for_sockets(1, "state established");
        let answer = pod.checked();
        let finding = only(&answer, "RDR702", Severity::Error);
        let rule = finding.rule.as_ref().expect("the rule");
        assert_eq!((rule.chain.as_str(), rule.number), ("ISTIO_OUTPUT", 1), "{finding:?}");
    }
}

#[test]
fn rdr703_two_calls_from_one_port() {
    for backend in BACKENDS {
        let Some(pod) = Pod::istio(backend) else { return };
        let call = |to: &str| pod.world.netns().enter(|| dial(to, Some("10.0.0.5:45000"))).expect("inside");
        let _first = call("10.0.0.2:8080");
        pod.lab.wait_for_sockets(1, "state established sport = 15006");
        let _second = call("10.0.0.2:8081");
        pod.lab.wait_for_sockets(2, "state established sport = 15006");
        let answer = pod.checked();
        silent(&answer);
        noted(&answer, "RDR703");
        // A third one gets no answer.
        pod.lab.sh(&format!(
            "iptables-{backend} -w -t raw -A OUTPUT -p tcp --sport 15006 --tcp-flags SYN,ACK SYN,ACK -j DROP"
        ));
        let _third = run(&pod.world, 0, "dial:10.0.0.2:8082@10.0.0.5:45000");
        wait_until("the handshake", || pod.lab.sh("conntrack -L 2>/dev/null").contains("[UNREPLIED]"));
        let answer = pod.checked();
        let finding = only(&answer, "RDR703", Severity::Warning);
        assert!(finding.evidence.iter().any(|fact| fact.contains("10.0.0.2:8082")), "{finding:?}");
    }
}

#[test]
fn rdr704_a_table_that_is_nearly_full() {
    let Some(pod) = Pod::istio("nft") else { return };
    let _call = pod.world.netns().enter(|| dial("10.0.0.2:8080", None)).expect("inside");
    pod.lab.wait_for_sockets(1, "state established sport = 15006");
    let mut snapshot = pod.snapshot();
    let real = snapshot.tracking.as_ref().and_then(|state| state.table).expect("it was read");
    assert!(real.count >= 1, "{real:?}");
    for (count, severity) in [(96, Some(Severity::Error)), (85, Some(Severity::Warning)), (79, None)] {
        // The limit is the machine's, so it is not for tests to lower.
        snapshot.tracking.as_mut().expect("it was read").table = Some(TableUse { count, limit: 100 });
        let answer = check(&snapshot, Asked::default());
        match severity {
            Some(severity) => assert!(only(&answer, "RDR704", severity).title.contains(&count.to_string())),
            None => silent(&answer),
        }
    }
}

#[test]
fn rdr706_an_entry_that_ended_before_its_connection() {
    let Some(mut pod) = Pod::istio("nft") else { return };
    pod.runs(1000, "app", "dial:10.0.0.5:80", 6);
    pod.lab.wait_for_sockets(1, "state established sport = 15001");
    assert!(!pod.checked().findings.iter().any(|finding| finding.kind.id == "RDR706"));
    pod.lab.sh("conntrack -D -p tcp --dport 80 >/dev/null 2>&1");
    let answer = pod.checked();
    silent(&answer);
    assert!(noted(&answer, "RDR706").title.starts_with("1 redirected"), "{answer:?}");
}

#[test]
fn rdr707_the_application_sees_its_proxy() {
    let Some(mut pod) = Pod::bare() else { return };
    pod.loads("nft", |ipv6| Some(istio(ipv6)));
    pod.is_istio_with("accept:[::]:15001 forward:0.0.0.0:15006>10.0.0.2:8080@127.0.0.6:0");
    let _call = pod.world.netns().enter(|| dial("10.0.0.2:8080", None)).expect("inside");
    pod.lab.wait_for_sockets(1, "state established sport = 8080");
    // IPv6 has no listener there: that is another finding.
    let answer = pod.checked();
    let finding = noted(&answer, "RDR707");
    assert!(finding.evidence.iter().any(|fact| fact.contains("127.0.0.6")), "{finding:?}");
}

#[test]
fn rdr709_handshakes_that_nobody_answers() {
    for backend in BACKENDS {
        let Some(pod) = Pod::istio(backend) else { return };
        pod.lab.sh(&format!(
            "iptables-{backend} -w -t raw -A OUTPUT -p tcp --sport 15006 --tcp-flags SYN,ACK SYN,ACK -j DROP"
        ));
        silent(&pod.checked());
        let _callers: Vec<Program> = (0..3).map(|_| run(&pod.world, 0, "dial:10.0.0.2:8080")).collect();
        let waiting = || pod.lab.sh("conntrack -L -p tcp 2>/dev/null").matches("[UNREPLIED]").count();
        wait_until("the handshakes", || waiting() >= 3);
        let answer = pod.checked();
        let finding = only(&answer, "RDR709", Severity::Error);
        assert!(finding.evidence.iter().any(|fact| fact.contains(":15006")), "{finding:?}");
    }
}
