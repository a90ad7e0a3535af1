//! The pod's address is missing from the set of the node's probes.

use super::{Kind, Page};
use crate::analysis::check::{Case, Found, Probe, Severity};

pub(super) const KIND: Kind = Kind {
    id: "RDR604",
    title: "Pod address missing from (or stale in) the host probe set",
    severity: Severity::Error,
    page: Page {
        seen: "The probes of one pod fail while its neighbours are fine.",
        why: "Enrolment failed half-way, the pod was evicted while the agent restarted, or its address was used before.",
        evidence: "The node's rule that gives its calls the address that pods let through asks a set, the pod's address is not in it, and \
                   with it there the call would pass: asked of the node's rules with and without. Families are looked at each by itself.",
        remedy: "Restart the CNI agent, then make the pod anew.",
        references: &[
            "istio/istio#60882",
            "istio/istio#52320",
            "istio/istio#51081",
            "istio/istio#52127",
            "istio/istio#53862",
        ],
    },
    silenced_by: &["RDR009", "RDR601", "RDR602", "RDR603", "RDR605"],
    look,
};

fn look(case: &Case<'_>, found: &mut Found) {
    if !case.is_ambient() {
        return;
    }
    for ipv6 in case.families() {
        let (Some(Probe::NotInSet { wanted, sets }), Some(own)) = (case.probe(ipv6), case.own_address(ipv6)) else {
            continue;
        };
        let finding = KIND.found(
            format!("{own} is not in the node's set {}: the node's own calls to the pod are captured", sets.join(", ")),
            "restart the mesh's CNI agent on this node, then make the pod anew",
        );
        let finding = finding.because(format!(
            "on the node {wanted} gives calls to members of that set the address that the pod lets through"
        ));
        return found.finding(finding.about(Some(wanted)));
    }
}
