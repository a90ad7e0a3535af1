//! The listener has another address.

use super::{Kind, Page};
use crate::analysis::check::{Case, Found, Severity};
use crate::model::{Endpoint, Socket, Subject};
use std::net::IpAddr;

pub(super) const KIND: Kind = Kind {
    id: "RDR303",
    title: "Listener bound to an address the translation does not produce",
    severity: Severity::Error,
    page: Page {
        seen: "Outbound works and inbound is refused, or IPv4 works and IPv6 is refused.",
        why: "An inbound redirect goes to the interface's address and an outbound one to loopback; a listener of IPv4 \
              takes no connection of IPv6.",
        evidence: "Rules send connections to a port, somebody listens on that port, and the address that rules produce is \
              not one that it is bound to.",
        remedy: "Bind the proxy to all addresses of both families, or take the rules of that family away.",
        references: &["istio/istio#52487", "kumahq/kuma#2847", "istio/istio#8059", "envoyproxy/envoy#15402"],
    },
    silenced_by: &["RDR009"],
    look,
};

fn look(case: &Case<'_>, found: &mut Found) {
    if case.expected.mesh.is_none() || case.unread(&[Subject::Sockets, Subject::Rules]).is_some() {
        return;
    }
    let speaks = case.families();
    let mut told: Vec<(u16, Option<IpAddr>)> = Vec::new();
    for target in case.targets().iter().filter(|target| target.refused && speaks.contains(&target.ipv6)) {
        let there: Vec<&Socket> = case.waiting_at(target).collect();
        if there.is_empty() || target.port == 0 || told.contains(&(target.port, target.address)) {
            continue;
        }
        told.push((target.port, target.address));
        let to = target
            .address
            .map_or_else(|| format!("port {}", target.port), |to| Endpoint::new(to, target.port).to_string());
        let at = there.iter().map(|socket| socket.local.to_string()).collect::<Vec<_>>().join(", ");
        let finding = KIND.found(
            format!("rules send connections to {to}, and the listener is at {at}"),
            format!("bind it to [::]:{} (both families), or take these rules away", target.port),
        );
        let mut finding = finding.because(format!("{} sends them there", target.rule));
        for person in there.iter().flat_map(|socket| case.owners(socket)).take(1) {
            finding = finding.because(format!("it is held by {}", person.words()));
        }
        found.finding(finding.about(Some(target.rule.clone())));
    }
}
