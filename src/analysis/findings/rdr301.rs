//! A redirect target has no listener.

use std::collections::BTreeSet;

use super::{Kind, Page};
use crate::analysis::check::{Case, Found, Severity, Target};
use crate::analysis::mesh::Captured;
use crate::model::Subject;

pub(super) const KIND: Kind = Kind {
    id: "RDR301",
    title: "A redirect target has no listener",
    severity: Severity::Error,
    page: Page {
        seen: "Connections to everywhere are refused, at start-up or after the proxy died; database clients give up, jobs fail at once.",
        why: "Rules stand from the moment that the sandbox or an init container made them, the proxy listens later, or not any more.",
        evidence: "A rule that packets reach sends them to a port of the namespace on which no socket waits, in no address that would do.",
        remedy: "Look at the proxy's log and state. Let applications wait for it: a native sidecar, or holdApplicationUntilProxyStarts.",
        references: &["istio/istio#11130", "istio/istio#19378", "istio/istio#41086", "istio/istio#54884"],
    },
    silenced_by: &["RDR009", "RDR302", "RDR304", "RDR602"],
    look,
};

fn look(case: &Case<'_>, found: &mut Found) {
    // Ambient's ports, and those of queries, have findings of their own.
    if case.expected.mesh.is_none() || case.is_ambient() || !case.families().iter().any(|ipv6| captures(case, *ipv6)) {
        return;
    }
    if let Some(why) = case.unread(&[Subject::Sockets, Subject::Rules]) {
        return found.cannot_tell(&KIND, why);
    }
    let dns = case.dns_ports();
    let silent: Vec<&Target> = case.deserted().into_iter().filter(|target| !dns.contains(&target.port)).collect();
    let ports: BTreeSet<u16> = silent.iter().map(|target| target.port).collect();
    for port in ports {
        let mut finding = KIND.found(
            format!("nobody listens on port {port}, to which rules send connections"),
            "look at the proxy's log and state: it has not started, has died, or listens elsewhere",
        );
        let of_port = silent.iter().filter(|target| target.port == port);
        for target in of_port.clone() {
            let (family, direction) =
                (if target.ipv6 { "IPv6" } else { "IPv4" }, if target.incoming { "incoming" } else { "outgoing" });
            finding = finding.because(format!("{direction} {family} connections are sent there by {}", target.rule));
        }
        let rule = of_port.clone().next().map(|target| target.rule.clone());
        found.finding(finding.about(rule));
    }
}

fn captures(case: &Case<'_>, ipv6: bool) -> bool {
    let lane = |captured| matches!(captured, Captured::All | Captured::Some);
    case.expected.family(ipv6).is_some_and(|family| lane(family.outbound.captured) || lane(family.inbound.captured))
}
