//! The application sees the proxy as its client.

use super::{Kind, Page};
use crate::analysis::check::{Case, Found, Severity};
use crate::analysis::observations::Kind as Seen;

pub(super) const KIND: Kind = Kind {
    id: "RDR707",
    title: "The application sees 127.0.0.6, 127.0.0.1 or its own address as client",
    severity: Severity::Info,
    page: Page {
        seen: "Lists of allowed addresses, membership of clusters or audit logs go wrong.",
        why: "The proxy is the application's client: 127.0.0.6 stands for a port that Istio knows of no service for, \
              127.0.0.1 for older versions, the pod's own address for a call to itself.",
        evidence: "Connections that an application has accepted from such an address, and whose other end the proxy holds.",
        remedy: "Read the client from headers or the proxy protocol, use TPROXY, or leave the port out of the mesh.",
        references: &["istio/istio#29603", "istio/istio#35486", "istio/istio#5679", "istio/istio#15236"],
    },
    silenced_by: &["RDR009"],
    look,
};

fn look(case: &Case<'_>, found: &mut Found) {
    for one in case.observed(Seen::HiddenClient) {
        let finding =
            KIND.found("an application sees the proxy as its client", "nothing, unless it needs the client's address");
        found.finding(finding.because(one.words.clone()));
    }
}
