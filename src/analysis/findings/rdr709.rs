//! Handshakes with the redirect target never complete.

use super::{Kind, Page};
use crate::analysis::check::{Case, Found, Severity};
use crate::analysis::observations::{Kind as Seen, is_rewritten};

pub(super) const KIND: Kind = Kind {
    id: "RDR709",
    title: "Handshakes to the redirect target never complete",
    severity: Severity::Error,
    page: Page {
        seen: "Every connection times out, and the proxy runs.",
        why: "Packets are dropped between the translation and the socket.",
        evidence: "Several handshakes that rules sent to the proxy, that nobody answers, and no finding that explains it.",
        remedy: "Look for a filter on the translated port (RDR808), for pieces of TPROXY that are missing (RDR012), for a \
              queue that is full (RDR306).",
        references: &["linkerd/linkerd2#15505", "clabernetes/clabernetes#325", "MetaCubeX/Meta-Docs#214"],
    },
    silenced_by: &["RDR009", "RDR808", "RDR012", "RDR306", "RDR101", "RDR301"],
    look,
};

fn look(case: &Case<'_>, found: &mut Found) {
    let flows = || case.snapshot.flows.iter().flatten();
    for one in case.observed(Seen::Stalled) {
        // Where the kernel changed a port, that is why.
        if flows().any(|flow| one.flows.contains(&flow.id) && is_rewritten(flow)) {
            continue;
        }
        let finding = KIND.found(
            "handshakes that rules send to the proxy get no answer",
            "look for what drops packets to the proxy's port in the pod: a filter, a setting of routing, a full queue",
        );
        found.finding(finding.because(one.words.clone()));
    }
}
