//! A pod in the node's own network namespace.

use super::{Kind, Page};
use crate::analysis::check::{Case, Found, Severity};
use crate::analysis::mesh::{Because, Source};

pub(super) const KIND: Kind = Kind {
    id: "RDR009",
    title: "A host-network pod: redirect rules on the node itself",
    severity: Severity::Error,
    page: Page {
        seen: "The node loses its network, or a pod that looks meshed is never captured.",
        why: "Rules were made in the node's own network namespace, for everybody on it; or the injector rightly left a pod alone that \
              uses the node's network.",
        evidence: "The pod's network namespace is that of the node. Rules of a mesh that redirect there are an error; without them the \
                   pod is merely not redirected.",
        remedy: "Remove the mesh's chains from the node, and leave pods with hostNetwork out of the injection.",
        references: &["istio/istio.io#655", "istio/istio#51711", "istio/istio#55139"],
    },
    silenced_by: &[],
    look,
};

fn look(case: &Case<'_>, found: &mut Found) {
    let expected = &case.expected;
    if !case.snapshot.workload.host_network || expected.mesh.is_none() {
        return;
    }
    let of = |source: Source| expected.because.iter().filter(move |because| because.source == source);
    let with = |mut finding: super::Finding, signs: &mut dyn Iterator<Item = &Because>| {
        for because in signs {
            finding = finding.because(because.what.clone());
        }
        finding
    };
    if expected.captures_something() {
        let finding = KIND.found(
            "rules of a mesh redirect connections of the node itself",
            "remove these chains from the node, and leave pods with hostNetwork out of the injection",
        );
        found.finding(with(finding, &mut of(Source::Rules)));
    } else if of(Source::Metadata).next().is_some() {
        let finding = KIND
            .found(
                "a pod with hostNetwork is not redirected, whatever its metadata says",
                "nothing, unless it was to be in the mesh: then take hostNetwork away",
            )
            .severity(Severity::Info);
        found.settles(with(finding, &mut of(Source::Metadata)));
    }
}
