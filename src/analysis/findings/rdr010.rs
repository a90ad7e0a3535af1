//! Metadata says otherwise than rules.

use super::{Kind, Page};
use crate::analysis::check::{Case, Found, Severity};
use crate::analysis::mesh::{Contradiction, Mesh, Source};

pub(super) const KIND: Kind = Kind {
    id: "RDR010",
    title: "Annotation says enrolled / injected, reality says otherwise (or vice versa)",
    severity: Severity::Warning,
    page: Page {
        seen: "Tools of the control plane list the pod as one of the mesh, and nothing goes through a proxy; or rules \
              are still there after it has left the mesh.",
        why: "What says so is written by one program and taken back by none: injection was switched off later, or a \
              label was taken away.",
        evidence: "Rules of a mesh in a pod whose metadata is known and names none. The other way round is RDR001, and \
              rules without a proxy are RDR301.",
        remedy: "Make the pod anew after its labels were changed, and clean rules that are left over.",
        references: &["istio/istio#51711", "istio/istio#55139"],
    },
    silenced_by: &["RDR009"],
    look,
};

fn look(case: &Case<'_>, found: &mut Found) {
    let expected = &case.expected;
    let silent = expected.contradictions.contains(&Contradiction::MetadataSilent);
    if !silent || expected.mesh == Some(Mesh::Custom) || !expected.captures_something() {
        return;
    }
    let name = expected.name.unwrap_or("a mesh");
    let mut finding = KIND.found(
        format!("rules of {name} are there, and nothing in the pod's metadata names it"),
        "make the pod anew, so that it has no rules, or has its proxy and its labels",
    );
    for because in expected.because.iter().filter(|because| because.source == Source::Rules) {
        finding = finding.because(because.what.clone());
    }
    let containers: Vec<&str> =
        case.snapshot.workload.containers.iter().map(|container| container.name.as_str()).collect();
    found.finding(finding.because(format!("its containers are {}", containers.join(", "))));
}
