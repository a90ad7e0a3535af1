//! The exemption does not match the proxy that runs.

use super::{Kind, Page};
use crate::analysis::check::{Case, Found, Severity};
use crate::analysis::mesh::{Captured, within};
use crate::model::Subject;

pub(super) const KIND: Kind = Kind {
    id: "RDR102",
    title: "The exemption does not match the proxy that runs",
    severity: Severity::Error,
    page: Page {
        seen: "Every outbound call times out or ends in 500, right after a change of a security context, or where the platform gives out users.",
        why: "The proxy runs as another user than the rules leave alone: its own connections are sent back to it.",
        evidence: "Who is left alone before the outbound redirect (users, groups, marks), and the user and group of the process that \
                   listens at its target: none of the first fits the second.",
        remedy: "Give the proxy's container the user that the rules name, or make the rules for the user that it has.",
        references: &["istio/istio#51012", "istio/istio#52614", "istio/istio#30306", "hashicorp/nomad#23508"],
    },
    silenced_by: &["RDR009", "RDR101"],
    look,
};

fn look(case: &Case<'_>, found: &mut Found) {
    let exempt = &case.expected.exempt;
    let captured = case.expected.families.iter().any(|family| family.outbound.captured == Captured::All);
    if !captured || !exempt.marks.is_empty() {
        return;
    }
    if let Some(why) = case.unread(&[Subject::Processes]) {
        return found.cannot_tell(&KIND, why);
    }
    for person in case.proxies().filter(|person| !person.process.elsewhere && !person.process.sockets.is_empty()) {
        let Some(identity) = &person.identity else {
            found.cannot_tell(
                &KIND,
                format!("the user of {} has no number in the namespace's counting", person.words()),
            );
            continue;
        };
        if within(&exempt.uids, identity.uid) || within(&exempt.gids, identity.gid) {
            continue;
        }
        let names = |ids: &std::collections::BTreeSet<(u32, u32)>| {
            ids.iter()
                .map(|(from, to)| if from == to { from.to_string() } else { format!("{from}-{to}") })
                .collect::<Vec<_>>()
                .join(", ")
        };
        let left_alone = match (exempt.uids.is_empty(), exempt.gids.is_empty()) {
            (true, true) => "rules leave nobody's connections alone".to_owned(),
            (false, true) => format!("rules leave UID {} alone", names(&exempt.uids)),
            (true, false) => format!("rules leave GID {} alone", names(&exempt.gids)),
            (false, false) => format!("rules leave UID {} and GID {} alone", names(&exempt.uids), names(&exempt.gids)),
        };
        let finding = KIND.found(
            format!(
                "the proxy runs as UID {}, whom no rule leaves alone: its own connections come back to it",
                identity.uid
            ),
            format!(
                "run the proxy as the user that rules name, or leave UID {} alone before the outbound redirect",
                identity.uid
            ),
        );
        found.finding(finding.because(format!("the proxy is {}", person.words())).because(left_alone));
    }
}
