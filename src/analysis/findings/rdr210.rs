//! A foreign agent's exemption matches application processes.

use super::{Kind, Page};
use crate::analysis::check::{Case, Exemption, Found, Severity};

pub(super) const KIND: Kind = Kind {
    id: "RDR210",
    title: "A foreign agent's exemption matches application processes",
    severity: Severity::Error,
    page: Page {
        seen: "Once an agent for debugging or observing is injected, the application loses what the mesh does, or names that \
              only the mesh knows.",
        why: "The agent puts a rule for an owner ahead of the mesh's, and that owner is the application's too.",
        evidence: "A rule about an owner that is not the one by which the proxy passes leaves a process of the application alone, \
              while anybody else's connections are redirected.",
        remedy: "Give the agent a user of its own, or upgrade it.",
        references: &["telepresenceio/telepresence#4156", "telepresenceio/telepresence#2582"],
    },
    silenced_by: &["RDR001", "RDR009"],
    look,
};

fn look(case: &Case<'_>, found: &mut Found) {
    for (person, exemption) in case.exempted() {
        let Exemption::Foreign(rule) = exemption else { continue };
        let finding = KIND.found(
            format!("{rule}, which is not how the proxy passes, leaves {} alone", person.words()),
            "give the agent that made this rule a user of its own",
        );
        found.finding(finding.because("connections of other users are redirected").about(Some(rule)));
    }
}
