//! Protocols that are not TCP.

use super::{Kind, Page};
use crate::analysis::check::{Case, Found, Severity};
use crate::model::{Endpoint, Flow, Protocol};
use std::collections::BTreeSet;

pub(super) const KIND: Kind = Kind {
    id: "RDR205",
    title: "Protocols no TCP redirect can catch (UDP, QUIC, ICMP, SCTP)",
    severity: Severity::Info,
    page: Page {
        seen: "HTTP/3 or logs over UDP leave a pod whose egress was thought to be closed.",
        why: "Redirects are for TCP, and where it is set up for DNS.",
        evidence: "Connections over UDP or SCTP that applications have open, or that are tracked, to somewhere outside, and \
              that are not redirected.",
        remedy: "Policies of the network, or a firewall; switch QUIC off. Capture is no boundary of security.",
        references: &["istio/istio.io#9995", "istio/istio#44843"],
    },
    silenced_by: &["RDR009"],
    look,
};

fn look(case: &Case<'_>, found: &mut Found) {
    if !case.expected.captures_something() {
        return;
    }
    let out = |flow: &&Flow| {
        flow.protocol != Protocol::Tcp
            && flow.has_ports()
            && case.snapshot.is_local(flow.original.0.address)
            && !case.snapshot.is_local(flow.original.1.address)
            && flow.reply.0 == flow.original.1
            && flow.original.1.port != DNS
    };
    let to: BTreeSet<(Protocol, Endpoint)> =
        case.snapshot.flows.iter().flatten().filter(out).map(|flow| (flow.protocol, flow.original.1)).collect();
    if to.is_empty() {
        return;
    }
    let finding = KIND.found(
        "the pod speaks to others by protocols that are not redirected",
        "nothing, unless its egress was to be closed",
    );
    let evidence =
        |finding: super::Finding, (protocol, to): &(Protocol, Endpoint)| finding.because(format!("{protocol} to {to}"));
    found.finding(to.iter().take(MOST).fold(finding, evidence));
}

/// What is said of DNS is said by its own findings.
const DNS: u16 = 53;
/// Destinations that are told.
const MOST: usize = 5;
