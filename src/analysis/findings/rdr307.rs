//! A probe gets to the proxy.

use super::{Kind, Page};
use crate::analysis::check::{Case, Found, Going, Severity};
use crate::analysis::mesh::Mesh;
use crate::model::{Endpoint, Flow, Protocol, Socket, SocketState};
use std::collections::BTreeSet;
use std::net::IpAddr;

pub(super) const KIND: Kind = Kind {
    id: "RDR307",
    title: "Kubelet probe is swallowed by the proxy",
    severity: Severity::Warning,
    page: Page {
        seen: "Readiness or liveness fails right after injection; or probes of TCP succeed though the application is \
              dead.",
        why: "A probe has no certificate of the mesh, and was not changed to ask the proxy's agent; or the proxy \
              itself answers it.",
        evidence: "Connections of the node to a port that an application serves, that are tracked and were sent to the \
              proxy.",
        remedy: "Change probes of all containers to the agent's port, leave the probe's port alone, or use a probe that \
              executes a program.",
        references: &[
            "istio/istio#9150",
            "istio/istio#4429",
            "istio/istio#41010",
            "istio/istio#53786",
            "istio/istio#32687",
        ],
    },
    silenced_by: &["RDR009", "RDR001"],
    look,
};

fn look(case: &Case<'_>, found: &mut Found) {
    if case.is_ambient() {
        return; // What lets the node's probes through there has a finding of its own.
    }
    let node = |address: IpAddr| case.snapshot.node_addresses.contains(&address) && !case.snapshot.is_local(address);
    let asked = |flow: &&Flow| {
        flow.protocol == Protocol::Tcp
            && node(flow.original.0.address)
            && case.snapshot.is_local(flow.original.1.address)
            && flow.reply.0.port != flow.original.1.port
    };
    let ports: BTreeSet<(u16, u16)> = case
        .snapshot
        .flows
        .iter()
        .flatten()
        .filter(asked)
        .map(|flow| (flow.original.1.port, flow.reply.0.port))
        .collect();
    for (port, proxy) in ports {
        let finding = KIND.found(
            format!("what the node asks of port {port} gets to port {proxy} of the proxy"),
            format!("let probes ask the agent's port, or leave port {port} alone, if this is the kubelet"),
        );
        // Meshes other than Istio let probes through by themselves.
        let severity = if case.expected.mesh == Some(Mesh::Istio) { Severity::Warning } else { Severity::Info };
        found.finding(
            finding
                .because(format!("tracked connections of the node to port {port} were sent to {proxy}"))
                .severity(severity),
        );
    }
    proxys_own(case, found);
}

/// Ports of the proxy itself, for probes and figures: whoever asks them from outside gets to its inbound port first.
fn proxys_own(case: &Case<'_>, found: &mut Found) {
    let targets: BTreeSet<u16> = case
        .expected
        .families
        .iter()
        .flat_map(|family| {
            family
                .inbound
                .written
                .iter()
                .chain(&family.outbound.written)
                .copied()
                .chain(family.dns.as_ref().and_then(|dns| dns.port))
        })
        .collect();
    let proxys = |socket: &&Socket| {
        socket.state == SocketState::Listen
            && socket.protocol == Protocol::Tcp
            && !socket.local.address.is_loopback()
            && !targets.contains(&socket.local.port)
            && case.owners(socket).any(|person| person.proxy && !person.process.elsewhere)
    };
    let own: BTreeSet<u16> =
        case.snapshot.sockets.iter().flatten().filter(proxys).map(|socket| socket.local.port).collect();
    for port in own {
        let mut families = case.families().into_iter().filter_map(|ipv6| case.own_address(ipv6));
        let sent = families.find_map(|own| match case.comes(Protocol::Tcp, Endpoint::new(own, port)) {
            Going::Proxy { port: to, rule, .. } => Some((own, to, rule)),
            _ => None,
        });
        let Some((own, to, rule)) = sent else { continue };
        let finding = KIND.found(
            format!("what is asked of the proxy's own port {port} from outside gets to its port {to}"),
            format!("leave port {port} alone in the inbound rules, if probes or figures are asked there"),
        );
        let by = rule.as_ref().map_or_else(String::new, |rule| format!(" by {rule}"));
        found.finding(
            finding
                .because(format!("a connection to {} is sent to port {to}{by}", Endpoint::new(own, port)))
                .severity(Severity::Info)
                .about(rule),
        );
    }
}
