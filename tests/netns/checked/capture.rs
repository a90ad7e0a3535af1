//! Whether connections are captured, and by somebody who is there: RDR001, RDR009, RDR102, RDR301.

use nslens::analysis::check::Severity;

use crate::questions::stage::dial;

use super::stage::{Pod, istio, only, restore, silent, words};

const BACKENDS: [&str; 2] = ["legacy", "nft"];

#[test]
fn a_healthy_pod_of_istio_has_no_finding() {
    for backend in BACKENDS {
        let Some(pod) = Pod::istio(backend) else { return };
        let answer = pod.checked();
        silent(&answer);
        assert_eq!(answer.expected.mesh.map(|mesh| mesh.word()), Some("istio"));
        // And so it is: who calls the application gets the proxy.
        let call = pod.world.netns().enter(|| dial("10.0.0.2:8080", None)).expect("inside");
        pod.lab.wait_for_sockets(1, "state established sport = 15006");
        drop(call);
    }
}

#[test]
fn rdr001_a_pod_that_claims_a_mesh_without_rules() {
    let Some(mut pod) = Pod::bare() else { return };
    pod.claims_istio();
    pod.runs(1337, "istio-proxy", "accept:[::]:15001 accept:[::]:15006", 2);
    let answer = pod.checked();
    let finding = only(&answer, "RDR001", Severity::Error);
    assert!(finding.evidence.iter().any(|fact| fact.contains("sidecar.istio.io/status")), "{finding:?}");
    // The same without a claim: nothing is expected.
    let Some(pod) = Pod::bare() else { return };
    let answer = pod.checked();
    silent(&answer);
    assert!(answer.expected.mesh.is_none());
}

#[test]
fn rdr301_nobody_listens_where_rules_send() {
    for backend in BACKENDS {
        let Some(mut pod) = Pod::bare() else { return };
        for ipv6 in [false, true] {
            restore(&pod.lab, backend, ipv6, &istio(ipv6));
        }
        pod.claims_istio();
        pod.runs(1337, "istio-proxy", "accept:[::]:15006", 1);
        let answer = pod.checked();
        let finding = only(&answer, "RDR301", Severity::Error);
        assert!(finding.title.contains("15001"), "{finding:?}");
        let rule = finding.rule.as_ref().expect("the rule");
        assert_eq!((rule.chain.as_str(), rule.number), ("ISTIO_REDIRECT", 1));
        // What it says is so: a call is refused at once.
        let refused =
            pod.lab.command_as(1000, 1000, "busybox").args(["nc", "-w", "2", "10.0.0.5", "80"]).output().expect("nc");
        assert!(!refused.status.success());
    }
}

#[test]
fn rdr102_a_proxy_of_another_user_than_the_rules_leave_alone() {
    let Some(mut pod) = Pod::bare() else { return };
    for ipv6 in [false, true] {
        restore(&pod.lab, "nft", ipv6, &istio(ipv6));
    }
    pod.claims_istio();
    pod.runs(2000, "istio-proxy", "accept:[::]:15001 accept:[::]:15006", 2);
    let answer = pod.checked();
    let finding = only(&answer, "RDR102", Severity::Error);
    assert!(finding.title.contains("2000") && finding.evidence.iter().any(|fact| fact.contains("1337")), "{finding:?}");
}

#[test]
fn rdr009_rules_of_a_mesh_on_the_node() {
    let Some(mut pod) = Pod::istio("nft") else { return };
    pod.workload.host_network = true;
    only(&pod.checked(), "RDR009", Severity::Error);
    // A pod of the node's network that only claims to be in a mesh is not redirected, and that is all.
    let Some(mut pod) = Pod::bare() else { return };
    pod.claims_istio();
    pod.workload.host_network = true;
    let answer = pod.checked();
    silent(&answer);
    assert!(answer.findings.iter().any(|finding| finding.kind.id == "RDR009"), "{}", words(&answer));
}
