//! A port is excluded, and peers may speak TLS to it.

use super::{Kind, Page};
use crate::analysis::check::{Case, Found, Severity};

pub(super) const KIND: Kind = Kind {
    id: "RDR211",
    title: "Inbound port excluded while peers speak mTLS to it",
    severity: Severity::Warning,
    page: Page {
        seen: "Connections to one port are reset, or the application's log shows bytes of TLS.",
        why: "Callers of the mesh speak TLS by themselves; the server's side leaves the port alone, and so the \
              application gets TLS.",
        evidence: "A port on which an application listens, and that a rule names to leave it alone. Whether callers speak \
              TLS to it is not seen from the node.",
        remedy: "If callers are in the mesh: switch TLS off for that port on their side, or stop to exclude it.",
        references: &["istio/istio#30311", "istio/istio.io#8917", "istio/istio#27994"],
    },
    silenced_by: &["RDR009", "RDR001", "RDR003", "RDR006"],
    look,
};

fn look(case: &Case<'_>, found: &mut Found) {
    for port in case.uncaptured() {
        let Some(rule) = port.excluded else { continue };
        let finding = KIND.found(
            format!("port {}, which {} serves, is left alone by a rule of its own", port.to.port, port.who),
            format!(
                "if callers are in the mesh, let them speak without TLS to port {}, or stop to exclude it",
                port.to.port
            ),
        );
        found.finding(finding.because(format!("{rule} leaves connections to {} alone", port.to)).about(Some(rule)));
    }
}
