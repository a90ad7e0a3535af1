//! Connections older than the rules.

use super::{Kind, Page};
use crate::analysis::check::{Case, Found, Severity};
use crate::analysis::observations::Kind as Seen;

pub(super) const KIND: Kind = Kind {
    id: "RDR701",
    title: "Connections older than the rules keep bypassing the proxy",
    severity: Severity::Warning,
    page: Page {
        seen: "A database or message queue has a connection of long standing that no metric of the proxy shows.",
        why: "Translation is decided when a connection begins. What was open when the rules came stays as it was.",
        evidence: "An established connection of an application whose tracked entry is not translated, though a connection \
              like it would be redirected if it began now.",
        remedy: "Restart the client's process; let rules be made before applications start.",
        references: &["istio/istio#48876", "coreos/go-iptables#89", "google/gvisor#2895"],
    },
    silenced_by: &["RDR009", "RDR206", "RDR606"],
    look,
};

fn look(case: &Case<'_>, found: &mut Found) {
    // What nobody holds any more ends by itself.
    for one in case.observed(Seen::Older).filter(|one| !one.connections.is_empty()) {
        let rule = case.connections().iter().find(|other| one.connections.contains(&other.inode));
        let rule = rule.and_then(|other| other.would.clone());
        let finding = KIND.found(
            format!("{} older than the rules go past the proxy", connections(one.connections.len())),
            "restart the process that holds them, so that it dials anew",
        );
        found.finding(finding.because(one.words.clone()).about(rule));
    }
}

fn connections(count: usize) -> String {
    if count == 1 { "a connection".to_owned() } else { format!("{count} connections") }
}
