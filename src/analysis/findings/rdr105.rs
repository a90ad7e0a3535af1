//! Something dials the proxy's own port.

use super::{Kind, Page};
use crate::analysis::check::{Case, Found, Severity};
use crate::analysis::mesh::Captured;
use crate::model::{Flow, Protocol};
use std::collections::BTreeSet;

/// Connections that are told one by one.
const MOST: usize = 3;

pub(super) const KIND: Kind = Kind {
    id: "RDR105",
    title: "Something dials the proxy's own port",
    severity: Severity::Warning,
    page: Page {
        seen: "Errors about requests that must not target the proxy itself, connections that end in a black hole, odd \
              connections of the proxy to itself.",
        why: "An application, or another pod, calls the port to which rules redirect: what was dialled, as the proxy \
              then reads it, is the proxy's own listener.",
        evidence: "Tracked connections whose dialled port is one to which rules redirect, and that the proxy has not opened \
              itself.",
        remedy: "Mend the client; keep these ports out of services and out of what policies allow.",
        references: &[
            "linkerd/linkerd2-proxy#525",
            "linkerd/linkerd2-proxy#527",
            "linkerd/linkerd#1411",
            "istio/istio#52487",
        ],
    },
    silenced_by: &["RDR009", "RDR101"],
    look,
};

fn look(case: &Case<'_>, found: &mut Found) {
    if !case.expected.captures_something() {
        return;
    }
    let ports: BTreeSet<u16> = case
        .expected
        .families
        .iter()
        .flat_map(|family| [&family.outbound, &family.inbound])
        .filter(|lane| matches!(lane.captured, Captured::All | Captured::Some))
        .filter_map(|lane| lane.port)
        .collect();
    let opened = |flow: &Flow| {
        let from = flow.original.0;
        let socket = case.snapshot.sockets.iter().flatten().find(|socket| socket.local == from);
        socket.is_some_and(|socket| case.owners(socket).any(|person| person.proxy))
    };
    let of_ports = case
        .snapshot
        .flows
        .iter()
        .flatten()
        .filter(|flow| flow.protocol == Protocol::Tcp && ports.contains(&flow.original.1.port));
    let theirs: Vec<&Flow> = of_ports.filter(|flow| !opened(flow)).collect();
    for port in ports {
        let of_port = || theirs.iter().filter(|flow| flow.original.1.port == port);
        let Some(first) = of_port().next() else { continue };
        let finding = KIND.found(
            format!("port {port}, which is the proxy's own, is dialled as if it were a service"),
            format!("mend whoever calls {}: ports of the proxy are no service", first.original.1),
        );
        let evidence = |finding: super::Finding, flow: &&Flow| {
            finding.because(format!("{} called {}", flow.original.0, flow.original.1))
        };
        found.finding(of_port().take(MOST).fold(finding, evidence));
    }
}
