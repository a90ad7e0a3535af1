//! Live connections contradict the rules.

use super::{Kind, Page};
use crate::analysis::check::{Case, Found, Severity};
use crate::analysis::observations::Kind as Seen;

pub(super) const KIND: Kind = Kind {
    id: "RDR702",
    title: "Live connections contradict the rules",
    severity: Severity::Error,
    page: Page {
        seen: "Many stories of traffic that goes past the mesh end here: rules look right, and connections that are \
              open now go past them.",
        why: "Whatever the cause is: what is open shows it.",
        evidence: "Connections of applications that go past the proxy though rules redirect others like them, where none of \
              the findings that explain such a thing was found.",
        remedy: "Look at the rule and the connections that are named, in this order: who owns them, whether they are \
              tracked, which family they are of.",
        references: &["linkerd/linkerd2#2970", "istio/istio#38415", "istio/istio#60882"],
    },
    silenced_by: &["RDR009", "RDR001", "RDR201", "RDR202", "RDR206", "RDR210", "RDR402", "RDR701"],
    look,
};

fn look(case: &Case<'_>, found: &mut Found) {
    for one in case.observed(Seen::Bypass) {
        let rule = case.connections().iter().find(|other| one.connections.contains(&other.inode));
        let rule = rule.and_then(|other| other.rule.clone());
        let finding = KIND.found(
            "connections that are open go past the proxy, though rules redirect others",
            "look who owns them, whether they are tracked, and of which family they are: nslens conns",
        );
        found.finding(finding.because(one.words.clone()).about(rule));
    }
}
