//! An application process runs with the proxy's exempt UID.

use super::{Kind, Page};
use crate::analysis::check::{Case, Exemption, Found, Severity};
use crate::model::Subject;

pub(super) const KIND: Kind = Kind {
    id: "RDR201",
    title: "An application process runs with the proxy's exempt UID",
    severity: Severity::Error,
    page: Page {
        seen: "Everything works, but outbound calls have no mTLS, no policy and no telemetry; peers that insist on TLS refuse \
              them.",
        why: "The image, a security context or the platform gives the application the user that rules take for the proxy's.",
        evidence: "A process outside of the proxy's container runs as a user that a rule leaves alone, while anybody else's \
              connections are redirected: both were asked of the rules.",
        remedy: "Run the application as another user; where an init container is meant to pass, give the user to that container \
              alone.",
        references: &[
            "istio/istio#31991",
            "istio/istio#12147",
            "istio/istio.io#9462",
            "Kong/docker-kong#257",
            "kserve/kserve#2096",
        ],
    },
    silenced_by: &["RDR001", "RDR009"],
    look,
};

fn look(case: &Case<'_>, found: &mut Found) {
    let judged = case.expected.mesh.is_some() && case.expected.captures_something();
    let unread = case.unread(&[Subject::Processes]).filter(|_| judged && case.snapshot.workload.netns.is_some());
    if let Some(why) = unread {
        return found.cannot_tell(&KIND, why);
    }
    for (person, exemption) in case.exempted() {
        let Exemption::User(rule) = exemption else { continue };
        let uid = person.uid().unwrap_or_default();
        let finding = KIND.found(
            format!(
                "{} runs as UID {uid}, which rules take for the proxy's: its connections pass the mesh by",
                person.words()
            ),
            format!("run it as another user than {uid}"),
        );
        let fact = format!("{rule} leaves connections of UID {uid} alone, and those of others are redirected");
        found.finding(finding.because(fact).about(Some(rule)));
    }
}
