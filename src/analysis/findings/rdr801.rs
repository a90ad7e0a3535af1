//! A pod with a user namespace of its own.

use super::{Kind, Page};
use crate::analysis::check::{Case, Found, Severity};
use crate::analysis::mesh::Captured;
use crate::model::IdMaps;

pub(super) const KIND: Kind = Kind {
    id: "RDR801",
    title: "A user-namespaced pod (hostUsers: false)",
    severity: Severity::Info,
    page: Page {
        seen: "Set-up is refused for such pods alone, or tools show the proxy as UID 101337 and find no exemption for it.",
        why: "Rules count users as the owner of the network namespace does. From outside of the pod's user namespace no rule of iptables \
              about owners can be added, and sockets are told with the node's numbers.",
        evidence: "The user namespace that owns the network namespace counts otherwise than the node. It is an error where connections \
                   are captured and nobody is exempt.",
        remedy: "An agent that enters the pod's user namespace, native nftables, or an init container instead of the CNI plugin.",
        references: &["istio/istio#58750", "istio/istio#59448", "istio/istio#61173"],
    },
    silenced_by: &["RDR009"],
    look,
};

fn look(case: &Case<'_>, found: &mut Found) {
    let Some(ids) = case.snapshot.ids.as_ref().filter(|ids| **ids != IdMaps::same()) else { return };
    let expected = &case.expected;
    if expected.mesh.is_none() {
        return;
    }
    let exempt = &expected.exempt;
    let nobody = exempt.uids.is_empty() && exempt.gids.is_empty() && exempt.marks.is_empty();
    let captured = expected.families.iter().any(|family| family.outbound.captured == Captured::All);
    let (title, severity, remedy) = if nobody && captured {
        (
            "the pod has a user namespace of its own, and its rules leave nobody alone: the proxy's connections come back to it",
            Severity::Error,
            "make the rules from within the pod's user namespace, or as native nftables, which counts as it does",
        )
    } else {
        ("the pod has a user namespace of its own: rules count users as it does", Severity::Info, "nothing")
    };
    let mut finding = KIND.found(title, remedy).severity(severity);
    for range in ids.uids.iter().take(3) {
        finding = finding.because(format!(
            "UID {} to {} are on the node {} and up",
            range.inside,
            u64::from(range.inside) + u64::from(range.count) - 1,
            range.outside
        ));
    }
    found.finding(finding);
}
