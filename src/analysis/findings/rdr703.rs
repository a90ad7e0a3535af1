//! Many destinations are folded onto one port.

use super::{Kind, Page};
use crate::analysis::check::{Case, Found, Severity};
use crate::analysis::observations::{Kind as Seen, is_rewritten};
use crate::model::{Flow, Protocol};
use std::collections::BTreeSet;

pub(super) const KIND: Kind = Kind {
    id: "RDR703",
    title: "REDIRECT fan-in: tuple collisions, rewritten ports, stalled handshakes",
    severity: Severity::Warning,
    page: Page {
        seen: "Connections time out now and then, or take a second more; probes of healthy pods fail, the more the \
              fewer clients there are and the more ports.",
        why: "Many destinations become one port of the proxy. Two connections from one client's port to two \
              destinations are then the same to the kernel, which gives one of them another port.",
        evidence: "Tracked connections to a redirect target whose port the kernel has changed, and among them handshakes \
              that nobody answers. The first alone is information.",
        remedy: "TPROXY for inbound connections, ports of probes left alone, or more client ports and addresses.",
        references: &["istio/istio#38982", "istio/istio#26101", "linkerd/linkerd2#15505", "envoyproxy/envoy#15305"],
    },
    silenced_by: &["RDR009", "RDR101"],
    look,
};

fn look(case: &Case<'_>, found: &mut Found) {
    let ports: BTreeSet<u16> = case.targets().iter().map(|target| target.port).collect();
    let flows = case.snapshot.flows.iter().flatten();
    let changed: Vec<&Flow> = flows
        .filter(|flow| flow.protocol == Protocol::Tcp && ports.contains(&flow.reply.0.port))
        .filter(|flow| flow.reply.0 != flow.original.1 && is_rewritten(flow))
        .collect();
    let Some(first) = changed.first() else { return };
    let stalled: Vec<_> =
        case.observed(Seen::Stalled).filter(|one| changed.iter().any(|flow| one.flows.contains(&flow.id))).collect();
    let title = format!(
        "the kernel gave {} another source port, to keep them apart at the proxy",
        if changed.len() == 1 { "a connection".to_owned() } else { format!("{} connections", changed.len()) }
    );
    let finding = KIND.found(title, "leave ports of probes alone, let clients use more ports, or use TPROXY inbound");
    let finding = finding.because(format!(
        "{} to {} comes to {} from port {}",
        first.original.0, first.original.1, first.reply.0, first.reply.1.port
    ));
    let severity = if stalled.is_empty() { Severity::Info } else { Severity::Warning };
    let finding = stalled.into_iter().fold(finding, |finding, one| finding.because(one.words.clone()));
    found.finding(finding.severity(severity));
}
