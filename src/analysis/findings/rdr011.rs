//! Two interceptors.

use super::{Kind, Page};
use crate::analysis::check::{Case, Found, Severity, Target};
use crate::analysis::mesh::{Captured, Contradiction, Source};
use crate::model::Protocol;
use std::collections::BTreeSet;

pub(super) const KIND: Kind = Kind {
    id: "RDR011",
    title: "Two interceptors in one namespace",
    severity: Severity::Warning,
    page: Page {
        seen: "Errors of TLS about a wrong version, traffic that is stolen or missing, and all of it different with the \
              order of starts.",
        why: "Two meshes, or a mesh and a tool for developers, an agent, a virtual machine: each puts its rule first, \
              or has a base chain of its own.",
        evidence: "Besides the mesh's ports, rules send TCP to another port of the namespace, and packets really go there; \
              or there are signs of a second mesh whose rules redirect.",
        remedy: "Leave one's ports or user alone in the other's rules, and let both use one backend, so that their order \
              means something.",
        references: &[
            "telepresenceio/telepresence#2582",
            "metalbear-co/mirrord#2272",
            "metalbear-co/mirrord#2456",
            "istio/istio#45393",
            "kubevirt/kubevirt#2331",
        ],
    },
    silenced_by: &["RDR009", "RDR406", "RDR407", "RDR608"],
    look,
};

fn look(case: &Case<'_>, found: &mut Found) {
    let expected = &case.expected;
    let lanes = || expected.families.iter().flat_map(|family| [&family.outbound, &family.inbound]);
    let own: BTreeSet<u16> = lanes()
        .filter_map(|lane| lane.port)
        .chain(expected.families.iter().filter_map(|family| family.dns.as_ref()?.port))
        .collect();
    if expected.mesh.is_none() || own.is_empty() {
        return;
    }
    let others = expected.contradictions.iter().filter_map(|one| match one {
        Contradiction::AnotherMesh { name, source: Source::Rules, .. } => Some(*name),
        _ => None,
    });
    let others: Vec<&str> = others.collect();
    let foreign: Vec<&Target> = case
        .targets()
        .iter()
        .filter(|target| target.protocol == Some(Protocol::Tcp) && !own.contains(&target.port))
        .filter(|target| !case.is_bystanders(&target.rule))
        // What a mesh writes in the same chain is one more port of its own.
        .filter(|target| !lanes().any(|lane| lane.written.contains(&target.port) && lane.captured == Captured::Some))
        .collect();
    let mut ports: BTreeSet<u16> = foreign.iter().map(|target| target.port).collect();
    if foreign.is_empty() && !others.is_empty() {
        let finding = KIND.found(
            format!("signs of {} beside {}", others.join(", "), expected.name.unwrap_or("the mesh")),
            "leave one of them out of this pod, or exempt each in the other's rules",
        );
        return found.finding(finding.because("its rules stand here, and no packet gets to a port of theirs"));
    }
    while let Some(port) = ports.pop_first() {
        let Some(first) = foreign.iter().find(|target| target.port == port) else { continue };
        let way = if first.incoming { "from outside" } else { "from within" };
        let finding = KIND.found(
            format!("some connections {way} go to port {port}, which is not the mesh's"),
            "leave these connections to one of the two: exempt the other's port or user in its rules",
        );
        let ports = own.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let finding = finding.because(format!("{} sends them there", first.rule));
        let finding = finding.because(format!("the mesh's ports are {ports}"));
        found.finding(finding.about(Some(first.rule.clone())));
    }
}
