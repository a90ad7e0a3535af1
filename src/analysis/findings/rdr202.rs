//! An application process has the exempt GID.

use super::{Kind, Page};
use crate::analysis::check::{Case, Exemption, Found, Severity};

pub(super) const KIND: Kind = Kind {
    id: "RDR202",
    title: "An application process has the exempt GID",
    severity: Severity::Warning,
    page: Page {
        seen: "As with an exempt user, and harder to see: the user is right.",
        why: "Rules that leave a group alone too match the group that a process opens its sockets with; runAsGroup or a \
              setgid program is enough.",
        evidence: "A process outside of the proxy's container has a group that a rule leaves alone, and a user that it does not: \
              both were asked of the rules.",
        remedy: "Give the process another group, or take the exemption of the group out of the rules.",
        references: &["istio/istio#30306", "aws/aws-cdk#10129"],
    },
    silenced_by: &["RDR001", "RDR009"],
    look,
};

fn look(case: &Case<'_>, found: &mut Found) {
    for (person, exemption) in case.exempted() {
        let Exemption::Group(rule) = exemption else { continue };
        let gid = person.identity.as_ref().map_or(0, |identity| identity.gid);
        let finding = KIND.found(
            format!("{} has GID {gid} or a further group that rules take for the proxy's", person.words()),
            "give it another group (runAsGroup, fsGroup), or exempt the proxy by its user alone",
        );
        let fact = format!("{rule} leaves its connections alone; with another group they would be redirected");
        found.finding(finding.because(fact).about(Some(rule)));
    }
}
