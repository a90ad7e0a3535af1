//! What surrounds redirection: RDR801, RDR805, RDR806, RDR808.

use nslens::analysis::check::Severity;
use nslens::model::{IdMaps, IdRange, NetnsId};

use super::stage::{Pod, only, silent, words};

#[test]
fn rdr808_a_filter_that_allows_the_port_of_the_application_alone() {
    for backend in ["legacy", "nft"] {
        let Some(pod) = Pod::istio(backend) else { return };
        let accept = format!("iptables-{backend} -w -A INPUT -i eth0 -p tcp --dport");
        pod.lab.sh(&format!("{accept} 8080 -j ACCEPT; {accept} 1:65535 -j DROP"));
        let answer = pod.checked();
        let finding = only(&answer, "RDR808", Severity::Error);
        let rule = finding.rule.as_ref().expect("the rule");
        assert_eq!((rule.table.as_str(), rule.chain.as_str(), rule.number), ("filter", "INPUT", 2), "{finding:?}");
        assert!(finding.title.contains("15006") && finding.evidence.iter().any(|fact| fact.contains("10.0.0.2:8080")));
        // So it is: nobody gets through.
        let call = pod.world.command("busybox").args(["nc", "-w", "1", "10.0.0.2", "8080"]).output().expect("nc");
        assert!(!call.status.success());
        // One that accepts the proxy's port ahead of it is right.
        pod.lab.sh(&format!("iptables-{backend} -w -I INPUT -p tcp --dport 15006 -j ACCEPT"));
        silent(&pod.checked());
    }
}

#[test]
fn rdr805_a_sandboxed_runtime_leaves_nothing_to_be_judged() {
    let Some(mut pod) = Pod::bare() else { return };
    pod.claims_istio();
    pod.workload.runtime_handler = Some("runsc".to_owned());
    let answer = pod.checked();
    assert_eq!(words(&answer).lines().count(), 2, "{}", words(&answer));
    assert!(answer.findings.iter().all(|finding| finding.kind.id == "RDR805" && finding.severity == Severity::Info));
    assert!(answer.undecided.iter().all(|open| open.id == "RDR805"));
    // With the runtime's usual handler it is a pod without rules.
    pod.workload.runtime_handler = Some("runc".to_owned());
    only(&pod.checked(), "RDR001", Severity::Error);
}

#[test]
fn rdr806_a_process_that_has_left_for_a_namespace_of_its_own() {
    let Some(pod) = Pod::istio("nft") else { return };
    let mut snapshot = pod.snapshot();
    let netns = NetnsId { device: 4, inode: 7 };
    snapshot.workload.netns = Some(NetnsId { device: 4, inode: 5 });
    let astray = snapshot.processes.iter_mut().flatten().find(|process| process.container.as_deref() == Some("app"));
    astray.expect("the application").netns = Some(netns);
    let answer = nslens::analysis::check::check(&snapshot, Default::default());
    let finding = only(&answer, "RDR806", Severity::Warning);
    assert!(
        finding.evidence.iter().any(|fact| fact.contains("netns 7") && fact.contains("container app")),
        "{finding:?}"
    );
}

#[test]
fn rdr801_users_are_counted_as_the_pod_does() {
    let Some(pod) = Pod::istio("nft") else { return };
    let mut snapshot = pod.snapshot();
    let range = |inside| IdRange { inside, outside: 100_000 + inside, count: 65_536 };
    snapshot.ids = Some(IdMaps { uids: vec![range(0)], gids: vec![range(0)] });
    for process in snapshot.processes.iter_mut().flatten() {
        process.uid += 100_000;
        process.gid += 100_000;
    }
    let answer = nslens::analysis::check::check(&snapshot, Default::default());
    silent(&answer);
    let finding = answer.findings.iter().find(|finding| finding.kind.id == "RDR801").expect("it is told");
    assert!(finding.evidence.iter().any(|fact| fact.contains("on the node 100000")), "{finding:?}");
    // The same numbers without the map are another user than the one that rules leave alone.
    snapshot.ids = Some(IdMaps::same());
    let answer = nslens::analysis::check::check(&snapshot, Default::default());
    only(&answer, "RDR102", Severity::Error);
}
