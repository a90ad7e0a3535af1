//! Enrolment at run time strands connections.

use super::{Kind, Page};
use crate::analysis::check::{Case, Found, Severity};
use crate::analysis::observations::{Kind as Seen, Observation, observations};
use crate::analysis::rulebook::SnapshotRules;
use crate::model::Subject;

pub(super) const KIND: Kind = Kind {
    id: "RDR606",
    title: "Enrolment (or removal) at run time breaks or strands connections",
    severity: Severity::Warning,
    page: Page {
        seen: "Connections were reset in the minute in which the label changed; webhooks with pooled connections fail later; or old \
               connections stay outside of the mesh.",
        why: "Rules of translation see the first packet of a connection alone. One that was tracked before goes on as it is; one that was not \
              is taken up in its middle, redirected and reset.",
        evidence: "A live connection of an application that is not redirected, and which today's rules would redirect. Connections that were \
                   reset leave nothing to be seen.",
        remedy: "Restart clients that keep connections open, once the pod is enrolled.",
        references: &["istio/istio#48876", "defenseunicorns/uds-core#2946"],
    },
    silenced_by: &["RDR009", "RDR601", "RDR602", "RDR605"],
    look,
};

fn look(case: &Case<'_>, found: &mut Found) {
    let known = case.unread(&[Subject::Rules, Subject::Sockets, Subject::Processes]).is_none();
    if !case.is_ambient() || !known {
        return;
    }
    let rules = SnapshotRules::of(case.snapshot);
    let older: Vec<Observation> = observations(case.snapshot, case.connections(), &rules)
        .into_iter()
        .filter(|observation| observation.kind == Seen::Older && !observation.connections.is_empty())
        .collect();
    if older.is_empty() {
        return;
    }
    let finding = KIND.found(
        "connections that are older than the rules stay outside of the mesh",
        "restart the programs that keep them open",
    );
    let facts = older.iter().map(|observation| observation.words.trim_end_matches('.').to_owned());
    let rule = case
        .connections()
        .iter()
        .find(|one| older.iter().any(|seen| seen.connections.contains(&one.inode)) && one.would.is_some())
        .and_then(|one| one.would.clone());
    found.finding(facts.take(6).fold(finding, super::Finding::because).about(rule));
}
