//! Another owner of the redirect port.

use super::{Kind, Page};
use crate::analysis::check::{Case, Found, Severity};

pub(super) const KIND: Kind = Kind {
    id: "RDR305",
    title: "Someone else owns the redirect port",
    severity: Severity::Error,
    page: Page {
        seen: "The proxy logs that its address is in use; or another process gets all the traffic.",
        why: "An application's port lies among the mesh's, a second proxy or an old one runs, a service declares the \
              port.",
        evidence: "Somebody listens on a port to which rules redirect, none of the mesh's proxies does, and these are known \
              by their name or container.",
        remedy: "Move the application away from the ports that the mesh needs.",
        references: &[
            "istio/istio#38824",
            "istio/istio#52260",
            "istio/istio#48551",
            "istio/istio#31138",
            "istio/istio#49078",
        ],
    },
    silenced_by: &["RDR009"],
    look,
};

fn look(case: &Case<'_>, found: &mut Found) {
    let expected = &case.expected;
    let containers = &case.snapshot.workload.containers;
    let named = containers.iter().any(|container| expected.proxy_containers.contains(&container.name.as_str()));
    if expected.mesh.is_none() || (!named && expected.proxies.is_empty()) || case.snapshot.processes.is_none() {
        return;
    }
    let lanes = expected.families.iter().flat_map(|family| [&family.outbound, &family.inbound]);
    let own: Vec<u16> = lanes.filter_map(|lane| lane.port).collect();
    let mut told: Vec<u16> = Vec::new();
    for target in case.targets().iter().filter(|target| target.received && own.contains(&target.port)) {
        if told.contains(&target.port) || case.is_bystanders(&target.rule) {
            continue;
        }
        let people: Vec<_> = case.waiting_at(target).flat_map(|socket| case.owners(socket)).collect();
        let Some(first) = people.first().filter(|_| people.iter().all(|person| !person.proxy)) else { continue };
        told.push(target.port);
        let finding = KIND.found(
            format!("{} listens on port {}, to which rules send what is the proxy's", first.words(), target.port),
            format!("move it to another port: {} is the mesh's", target.port),
        );
        found.finding(
            finding.because(format!("{} sends connections there", target.rule)).about(Some(target.rule.clone())),
        );
    }
}
