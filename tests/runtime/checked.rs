//! `check` with what real runtimes tell: pods that say they are in a mesh and have no rules, and their twins.

use serde_json::Value;

use crate::mesh::{Mesh, Writer};
use crate::program::nslens;
use crate::runtimes::{ContainerSpec, CriLab, DockerLab, Node, Place, PodSpec, SLEEP};

const FAILS: &[&str] = &["/bin/sh", "-c", "exit 3"];
const ENDS: &[&str] = &["/bin/sh", "-c", "exit 0"];

/// The document of a check, whatever its verdict.
fn check(place: &Place, words: &[&str]) -> Value {
    let answer = nslens(place, &[&["check"], words, &["-o", "json"]].concat());
    assert!(matches!(answer.code, 0 | 1 | 5), "{answer:#?}");
    serde_json::from_str(&answer.stdout).unwrap_or_else(|error| panic!("{error}: {answer:#?}"))
}

/// The evidence of a finding, if it is there.
fn evidence(document: &Value, id: &str) -> Option<String> {
    let findings = document["findings"].as_array().expect("findings");
    findings.iter().find(|finding| finding["id"] == id).map(|finding| finding["evidence"].to_string())
}

/// A pod that an injector marked and whose rules nobody made, beside one that has them.
fn injected_in_vain(lab: &impl Node) {
    let place = lab.place();
    lab.run_istio_pod("bare", "blue");
    Mesh::run(lab, "web", "blue", Writer::Nft);
    let bare = check(place, &["pod/bare", "--once"]);
    let told = evidence(&bare, "RDR001").unwrap_or_else(|| panic!("{bare:#}"));
    assert!(told.contains("sidecar.istio.io/status") && told.contains("istio-proxy"), "{told}");
    assert_eq!(bare["verdict"], "fail", "{bare:#}");
    let web = check(place, &["pod/web", "--once"]);
    assert_eq!(evidence(&web, "RDR001"), None, "{web:#}");
    let all = check(place, &["-A", "--once"]);
    let without = all["meshed_without_rules"].to_string();
    assert!(without.contains("bare") && !without.contains("web"), "{all:#}");
}

#[test]
fn a_pod_of_docker_that_was_injected_in_vain() {
    let Some(lab) = DockerLab::start() else { return };
    injected_in_vain(&lab);
}

#[test]
fn a_pod_of_containerd_that_was_injected_in_vain() {
    let Some(lab) = CriLab::start() else { return };
    injected_in_vain(&lab);
}

/// A pod whose init container ended with an error, and one whose own did not; nobody made rules in either.
#[test]
fn a_pod_whose_init_container_failed() {
    let Some(lab) = CriLab::start() else { return };
    let place = lab.place();
    for (name, args) in [("failed", FAILS), ("ended", ENDS)] {
        let own = ContainerSpec { uid: 1000, args: SLEEP, ..ContainerSpec::default() };
        let containers = [
            ContainerSpec { name: "istio-init", args, ends: true, ..own.clone() },
            ContainerSpec { name: "istio-proxy", uid: 1337, ..own.clone() },
            ContainerSpec { name: "app", ..own },
        ];
        let annotations: &[(&str, &str)] = &[("sidecar.istio.io/status", r#"{"initContainers":["istio-init"]}"#)];
        lab.run_pod(&PodSpec { name, namespace: "blue", containers: &containers, annotations, ..PodSpec::default() });
    }
    let failed = check(place, &["pod/failed", "--once"]);
    assert!(evidence(&failed, "RDR001").is_some(), "{failed:#}");
    let told = evidence(&failed, "RDR005").unwrap_or_else(|| panic!("{failed:#}"));
    assert!(told.contains("it has ended with code 3"), "{told}");
    let ended = check(place, &["pod/ended", "--once"]);
    assert!(evidence(&ended, "RDR001").is_some() && evidence(&ended, "RDR005").is_none(), "{ended:#}");
}

#[test]
fn a_pod_that_is_enrolled_by_its_annotation_alone() {
    let Some(lab) = CriLab::start() else { return };
    let place = lab.place();
    let app = ContainerSpec { name: "app", uid: 1000, args: SLEEP, ..ContainerSpec::default() };
    let pod = PodSpec { namespace: "blue", containers: &[app], ..PodSpec::default() };
    let enrolled: &[(&str, &str)] = &[("ambient.istio.io/redirection", "enabled")];
    lab.run_pod(&PodSpec { name: "enrolled", annotations: enrolled, ..pod.clone() });
    lab.run_pod(&PodSpec { name: "plain", ..pod.clone() });
    lab.run_pod(&PodSpec {
        name: "agent",
        host_network: true,
        annotations: &[("sidecar.istio.io/status", r#"{"containers":["istio-proxy"]}"#)],
        ..pod
    });
    let known = check(place, &["pod/enrolled", "--once"]);
    let told = evidence(&known, "RDR601").unwrap_or_else(|| panic!("{known:#}"));
    assert!(told.contains("ambient.istio.io/redirection"), "{told}");
    let plain = check(place, &["pod/plain", "--once"]);
    assert_eq!((&plain["expected"]["mesh"], &plain["verdict"]), (&Value::Null, &Value::from("pass")), "{plain:#}");
    assert_eq!(plain["findings"], Value::Array(Vec::new()), "{plain:#}");
    // Nobody redirects on the node, whatever a pod of its network says.
    let agent = check(place, &["pod/agent", "--once"]);
    assert!(evidence(&agent, "RDR009").is_some_and(|told| told.contains("sidecar.istio.io/status")), "{agent:#}");
    assert_eq!(agent["verdict"], "pass", "{agent:#}");
}
