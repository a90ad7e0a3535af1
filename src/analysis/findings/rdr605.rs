//! The node's proxy serves a dead namespace of the pod.

use super::{Kind, Page};
use crate::analysis::check::{Case, Found, Severity};

pub(super) const KIND: Kind = Kind {
    id: "RDR605",
    title: "ztunnel serves a dead namespace of the pod",
    severity: Severity::Error,
    page: Page {
        seen: "As without rules at all, but only in pods whose sandbox was replaced.",
        why: "The agent and ztunnel keep the namespace that they were given, and the pod's processes live in another one by now.",
        evidence: "The runtime's sandbox has another network namespace than the pod's processes use, and ztunnel has no socket that waits in \
                   theirs. What it holds elsewhere cannot be seen from the pod.",
        remedy: "Delete the pod, or restart ztunnel and the CNI agent.",
        references: &["istio/istio#61182", "istio/istio#61183"],
    },
    silenced_by: &["RDR009", "RDR805"],
    look,
};

fn look(case: &Case<'_>, found: &mut Found) {
    if !case.is_served_elsewhere() {
        return;
    }
    let workload = &case.snapshot.workload;
    let (Some(own), Some(other)) = (workload.netns, workload.sandbox_netns) else { return };
    let finding = KIND.found(
        "the node's proxy was given another network namespace than the pod's processes use",
        "delete the pod, or restart ztunnel and the mesh's CNI agent",
    );
    let finding = finding
        .because(format!(
            "the pod's processes are in netns {}, the runtime's sandbox has netns {}",
            own.inode, other.inode
        ))
        .because("no process of another namespace waits for connections in the pod's");
    found.finding(finding);
}
