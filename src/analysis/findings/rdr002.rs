//! Rules in a namespace that is not used any more.

use super::{Kind, Page};
use crate::analysis::check::{Case, Found, Severity};
use crate::analysis::mesh::Source;

pub(super) const KIND: Kind = Kind {
    id: "RDR002",
    title: "Rules are in a network namespace the pod no longer uses",
    severity: Severity::Error,
    page: Page {
        seen: "After a restart of the node or its runtime a pod that was well for weeks is outside of the mesh; only \
              its neighbours notice.",
        why: "The pod keeps its name while its sandbox and so its network namespace is made anew. An agent that knows \
              the old one does nothing again, and an init container that has ended does not run again.",
        evidence: "No rule redirects though metadata names a mesh; and the runtime's sandbox has another namespace than the \
              containers, or is younger than the end of the init container that made the rules.",
        remedy: "Delete the pod; drain nodes before they are restarted; use an agent that looks after its pods again.",
        references: &["istio/istio#61182", "istio/istio#61183", "istio/istio#56652", "linkerd/linkerd2#8459"],
    },
    silenced_by: &["RDR009"],
    look,
};

fn look(case: &Case<'_>, found: &mut Found) {
    let workload = &case.snapshot.workload;
    let claimed = case.expected.because.iter().any(|because| because.source == Source::Metadata);
    if case.expected.mesh.is_none() || !claimed || case.expected.captures_something() || workload.host_network {
        return;
    }
    let elsewhere = workload.sandbox_netns.filter(|sandbox| workload.netns.is_some_and(|netns| netns != *sandbox));
    let ended = workload
        .containers
        .iter()
        .filter(|container| container.init == Some(true))
        .filter_map(|container| container.finished)
        .max();
    let younger = workload.created.zip(ended).filter(|(created, ended)| created > ended);
    let fact = match (elsewhere, younger) {
        (Some(sandbox), _) => {
            format!("the runtime's sandbox has netns {}, and the containers have another", sandbox.inode)
        }
        (None, Some((created, ended))) => {
            format!("the sandbox was made {} s after the init container had ended that makes rules", created - ended)
        }
        (None, None) => return,
    };
    let finding = KIND.found(
        "the rules of the mesh were made in another network namespace than the pod has now",
        "delete the pod, so that its sandbox and its rules are made anew",
    );
    let netns = workload.netns.map_or_else(String::new, |netns| format!("no rule redirects in netns {}", netns.inode));
    found.finding(finding.because(fact).because(netns));
}
