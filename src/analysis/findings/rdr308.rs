//! The application listens elsewhere.

use super::{Kind, Page};
use crate::analysis::check::{Case, Found, Person, Severity};
use crate::analysis::mesh::{Mesh, Variant};
use crate::model::{Endpoint, Protocol, Socket, SocketState};
use std::collections::BTreeMap;
use std::net::IpAddr;

pub(super) const KIND: Kind = Kind {
    id: "RDR308",
    title: "Application listens where the proxy does not dial",
    severity: Severity::Error,
    page: Page {
        seen: "Only by way of the mesh the answer is 503, or that the upstream has refused.",
        why: "The proxy passes on to the pod's address, or in older versions to 127.0.0.1, and the application is \
              bound to the other one.",
        evidence: "A port that is called from outside, or that the metadata declares, and at which an application listens \
              for 127.0.0.1 alone while the proxy dials the pod's address; or a connection within the pod that gets no \
              answer.",
        remedy: "Bind the application to all addresses, or tell the mesh where it listens.",
        references: &["istio/istio#14738", "istio/istio#13906", "istio/istio#10603", "istio/istio#47412"],
    },
    silenced_by: &["RDR009"],
    look,
};

fn look(case: &Case<'_>, found: &mut Found) {
    // Others than Istio's proxies dial whatever was dialled, or 127.0.0.1.
    if case.expected.mesh != Some(Mesh::Istio) || case.expected.variant == Some(Variant::Ambient) {
        return;
    }
    for ipv6 in case.families() {
        let Some(own) = case.own_address(ipv6) else { continue };
        for (port, why) in wanted(case, own) {
            let listeners = case.snapshot.sockets.iter().flatten();
            let listeners: Vec<&Socket> =
                listeners.filter(|socket| socket.state == SocketState::Listen && socket.local.port == port).collect();
            let here = |socket: &&&Socket| socket.local.address.is_loopback() && socket.local.address.is_ipv6() == ipv6;
            let Some(first) = listeners
                .iter()
                .find(here)
                .filter(|_| listeners.iter().all(|socket| socket.local.address.is_loopback()))
            else {
                continue;
            };
            // What is not captured does not get to the proxy.
            if !case.comes(Protocol::Tcp, Endpoint::new(own, port)).is_captured() {
                continue;
            }
            let who = case.owners(first).next().map_or_else(|| "nobody".to_owned(), Person::words);
            let finding = KIND.found(
                format!(
                    "the proxy dials {}, and the application listens at {} alone",
                    Endpoint::new(own, port),
                    first.local
                ),
                format!("bind the application to all addresses, port {port}"),
            );
            found.finding(finding.because(why).because(format!("{} is held by {who}", first.local)));
        }
    }
}

/// Ports that somebody wants to reach from outside, and how that is known.
fn wanted(case: &Case<'_>, own: IpAddr) -> BTreeMap<u16, String> {
    let declared = case.snapshot.workload.containers.iter().flat_map(|container| {
        let ports = container.ports.iter().filter(|port| port.protocol == "tcp");
        ports.map(|port| (port.port, format!("container {} declares port {}", container.name, port.port)))
    });
    let called = case.snapshot.flows.iter().flatten().filter(|flow| {
        flow.protocol == Protocol::Tcp
            && flow.original.1.address == own
            && !case.snapshot.is_local(flow.original.0.address)
    });
    let called = called.map(|flow| (flow.original.1.port, format!("{} called {}", flow.original.0, flow.original.1)));
    declared.chain(called).collect()
}
