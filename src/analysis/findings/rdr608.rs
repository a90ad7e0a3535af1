//! Sidecar and ambient mode in one pod.

use super::{Kind, Page};
use crate::analysis::check::{Case, Found, Severity};
use crate::analysis::mesh::{Contradiction, Mesh, Source, Variant};

pub(super) const KIND: Kind = Kind {
    id: "RDR608",
    title: "Sidecar and ambient in one pod",
    severity: Severity::Warning,
    page: Page {
        seen: "The pod does not become ready, or its connections are redirected twice.",
        why: "The label of ambient mode was set while a sidecar is still injected, or what tells the agent of the sidecar is missing.",
        evidence: "Rules of both are there; or a sidecar's container runs, and the node's proxy waits in the pod's namespace.",
        remedy: "Choose one of both, and make the pod anew.",
        references: &["istio/istio#45393"],
    },
    silenced_by: &["RDR009"],
    look,
};

fn look(case: &Case<'_>, found: &mut Found) {
    let expected = &case.expected;
    let Some(variant) = expected.variant.filter(|_| expected.mesh == Some(Mesh::Istio)) else { return };
    let ours = |source: Source| expected.because.iter().any(|because| because.source == source);
    let injected = case.snapshot.workload.annotations.contains_key("sidecar.istio.io/status");
    let mut facts = Vec::new();
    for contradiction in &expected.contradictions {
        let Contradiction::AnotherMesh { mesh: Mesh::Istio, name, source } = contradiction else { continue };
        match source {
            Source::Rules if ours(Source::Rules) => facts.push(format!("there are rules of {name} too")),
            // A gateway runs the sidecar's programs too: only what was injected counts.
            Source::Processes if variant == Variant::Sidecar || injected => {
                facts.push(format!("processes of {name} are here too"))
            }
            _ => {}
        }
    }
    let sidecar = expected.proxy_containers.first().copied().filter(|_| variant == Variant::Sidecar);
    let waits =
        case.waiting_elsewhere().find(|socket| case.owners(socket).any(|person| person.process.name == "ztunnel"));
    if let (Some(name), Some(socket)) = (sidecar, waits) {
        facts.push(format!("container {name} is a sidecar's, and the node's proxy waits at {}", socket.local));
    }
    if facts.is_empty() {
        return;
    }
    let finding = KIND.found(
        "the pod is in both of Istio's modes: with a sidecar, and ambient",
        "choose one: take the label of ambient mode or the sidecar away, and make the pod anew",
    );
    let because = expected.because.iter().take(4).map(|because| because.what.clone());
    found.finding(because.chain(facts).fold(finding, super::Finding::because));
}
