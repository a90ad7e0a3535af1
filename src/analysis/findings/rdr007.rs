//! A served port is not captured.

use super::{Kind, Page};
use crate::analysis::check::{Case, Found, HBONE, Severity};

pub(super) const KIND: Kind = Kind {
    id: "RDR007",
    title: "Inbound port not captured although the pod serves it",
    severity: Severity::Warning,
    page: Page {
        seen: "Calls to one port meet no policy and show no metrics; TLS of the mesh does nothing there.",
        why: "The list of ports to be captured was made from declared ports, has a misspelt one or is empty; or the \
              mesh captures listed ports only.",
        evidence: "A port on which an application listens for others, and to which a connection from outside goes as it is, \
              while others are captured; and no rule names that port to leave it alone (that is RDR211).",
        remedy: "Capture all ports (*), or add this one; bind what is private to 127.0.0.1.",
        references: &["istio/istio#5070", "istio/istio#15633", "istio/istio#58135", "aws/aws-app-mesh-roadmap#166"],
    },
    silenced_by: &["RDR009", "RDR001", "RDR003", "RDR006", "RDR402"],
    look,
};

fn look(case: &Case<'_>, found: &mut Found) {
    for port in case.uncaptured() {
        // An application that has taken a port of the proxy's has a finding of its own.
        if port.excluded.is_some() || case.is_ambient() && port.to.port == HBONE {
            continue;
        }
        let finding = KIND.found(
            format!("port {}, which {} serves, is not captured", port.to.port, port.who),
            format!("capture port {} too, or bind it to 127.0.0.1 where it is private", port.to.port),
        );
        let passed = match &port.rule {
            Some(rule) => format!("a connection to {} is left alone by {rule}", port.to),
            None => format!("no rule is written for a connection to {}", port.to),
        };
        found.finding(finding.because(passed).about(port.rule));
    }
}
