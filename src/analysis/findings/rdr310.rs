//! Nobody listens behind a captured port.

use super::{Kind, Page};
use crate::analysis::check::{Case, Found, Severity};
use crate::model::{Protocol, SocketState};
use std::collections::BTreeSet;

pub(super) const KIND: Kind = Kind {
    id: "RDR310",
    title: "A captured inbound port has no application behind it",
    severity: Severity::Info,
    page: Page {
        seen: "A connection is made, since the proxy takes it, and closed at once: it looks like a fault of the \
              network.",
        why: "The application has not started, has died, or listens on another port.",
        evidence: "Tracked connections from outside that were sent to the proxy, and whose dialled port no application \
              listens on.",
        remedy: "Look at the application; the redirect is right.",
        references: &["istio/istio.io#10119", "istio/istio#53696", "istio/istio#14738"],
    },
    silenced_by: &["RDR009"],
    look,
};

fn look(case: &Case<'_>, found: &mut Found) {
    if case.snapshot.sockets.is_none() || !case.expected.captures_something() {
        return;
    }
    let waits = |port: u16| {
        let mut sockets = case.snapshot.sockets.iter().flatten();
        sockets.any(|socket| socket.state == SocketState::Listen && socket.local.port == port)
    };
    let ports: BTreeSet<u16> = case
        .snapshot
        .flows
        .iter()
        .flatten()
        .filter(|flow| flow.protocol == Protocol::Tcp && !case.snapshot.is_local(flow.original.0.address))
        .filter(|flow| flow.reply.0 != flow.original.1 && case.snapshot.is_local(flow.original.1.address))
        .map(|flow| flow.original.1.port)
        .filter(|port| !waits(*port))
        .collect();
    for port in ports {
        let finding = KIND.found(
            format!("connections to port {port} get to the proxy, and nobody listens on it"),
            format!("look whether the application that serves port {port} runs"),
        );
        found.finding(finding.because(format!("no socket waits for TCP on port {port}")));
    }
}
