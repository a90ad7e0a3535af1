//! Who else has a hand in it: RDR005, RDR010, RDR011, RDR303, RDR305.

use nslens::analysis::check::Severity;
use nslens::model::Container;

use super::stage::{Pod, istio, noted, only, restore, silent};
use crate::questions::stage::dial;

const BACKENDS: [&str; 2] = ["legacy", "nft"];

#[test]
fn rdr005_rules_that_stand_twice_and_an_init_container_that_ran_again() {
    for backend in BACKENDS {
        let Some(mut pod) = Pod::istio(backend) else { return };
        assert!(!pod.checked().findings.iter().any(|finding| finding.kind.id == "RDR005"));
        for _ in 0..2 {
            pod.lab.sh(&format!("iptables-{backend} -w -t nat -A PREROUTING -p tcp -j ISTIO_INBOUND"));
        }
        let answer = pod.checked();
        silent(&answer);
        let finding = noted(&answer, "RDR005");
        assert!(finding.title.contains("nat PREROUTING 1 stands 3 times"), "{finding:?}");
        let init = |restarts, code| Container {
            name: "istio-init".to_owned(),
            init: Some(true),
            finished: Some(1),
            restarts: Some(restarts),
            exit_code: Some(code),
            ..Container::default()
        };
        pod.workload.containers.push(init(0, 0));
        silent(&pod.checked());
        for (restarts, code) in [(1, 0), (0, 255)] {
            pod.workload.containers.pop();
            pod.workload.containers.push(init(restarts, code));
            let answer = pod.checked();
            assert!(only(&answer, "RDR005", Severity::Warning).title.contains("istio-init"), "{answer:?}");
        }
    }
}

#[test]
fn rdr010_rules_of_a_mesh_that_metadata_does_not_name() {
    let Some(mut pod) = Pod::istio("nft") else { return };
    pod.workload.annotations.clear();
    silent(&pod.checked());
    pod.workload.containers.retain(|container| container.name == "app");
    for (_, name) in &mut pod.programs {
        *name = "app";
    }
    let answer = pod.checked();
    assert!(answer.findings.iter().any(|finding| finding.kind.id == "RDR010"), "{answer:?}");
}

#[test]
fn rdr011_a_second_redirect_before_the_mesh() {
    for backend in BACKENDS {
        let Some(mut pod) = Pod::istio(backend) else { return };
        pod.runs(0, "agent", "accept:[::]:9999", 7);
        pod.container("agent");
        silent(&pod.checked());
        pod.lab
            .sh(&format!("iptables-{backend} -w -t nat -I PREROUTING -p tcp --dport 8080 -j REDIRECT --to-ports 9999"));
        let answer = pod.checked();
        let finding = only(&answer, "RDR011", Severity::Warning);
        let rule = finding.rule.as_ref().expect("the rule");
        assert_eq!((rule.chain.as_str(), rule.number), ("PREROUTING", 1), "{finding:?}");
        assert!(finding.title.contains("9999"), "{finding:?}");
        let _call = pod.world.netns().enter(|| dial("10.0.0.2:8080", None)).expect("inside");
        pod.lab.wait_for_sockets(1, "state established sport = 9999");
    }
}

#[test]
fn rdr303_a_listener_at_another_address() {
    for backend in BACKENDS {
        let Some(mut pod) = Pod::bare() else { return };
        pod.loads(backend, |ipv6| Some(istio(ipv6)));
        pod.is_istio_with("accept:[::]:15001 accept:127.0.0.1:15006");
        let answer = pod.checked();
        let errors: Vec<_> = answer.findings.iter().filter(|finding| finding.severity == Severity::Error).collect();
        assert!(!errors.is_empty() && errors.iter().all(|finding| finding.kind.id == "RDR303"), "{errors:?}");
        assert!(
            errors
                .iter()
                .any(|finding| finding.title.contains("10.0.0.2:15006") && finding.title.contains("127.0.0.1:15006"))
        );
        let call = pod.world.command("busybox").args(["nc", "-w", "2", "10.0.0.2", "8080"]).output().expect("nc");
        assert!(!call.status.success());
    }
    // A proxy of IPv4 alone.
    let Some(mut pod) = Pod::bare() else { return };
    for ipv6 in [false, true] {
        restore(&pod.lab, "nft", ipv6, &istio(ipv6));
    }
    pod.is_istio_with("accept:0.0.0.0:15001 accept:[::]:15006");
    let answer = pod.checked();
    assert!(only(&answer, "RDR303", Severity::Error).title.contains("[::1]:15001"), "{answer:?}");
}

#[test]
fn rdr305_an_application_at_the_port_of_the_proxy() {
    for backend in BACKENDS {
        let Some(mut pod) = Pod::bare() else { return };
        pod.loads(backend, |ipv6| Some(istio(ipv6)));
        pod.claims_istio();
        pod.runs(1337, "istio-proxy", "accept:[::]:15006", 1);
        pod.runs(1000, "app", "accept:[::]:15001", 2);
        let answer = pod.checked();
        let finding = only(&answer, "RDR305", Severity::Error);
        assert!(finding.title.contains("container app") && finding.title.contains("15001"), "{finding:?}");
    }
}
