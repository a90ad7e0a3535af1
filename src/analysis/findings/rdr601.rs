//! Enrolled in ambient mode, and rules are missing in the pod.

use super::{Finding, Page};
use crate::analysis::check::{Case, Found, Severity, Stopped};
use crate::analysis::mesh::{Captured, Source};
use crate::model::{Kind, Subject};

/// Metadata that switches inbound capture off (docs: ambient.istio.io).
const BYPASS: &str = "ambient.istio.io/bypass-inbound-capture";

/// Chains that ambient mode makes in pods alone.
const IN_PODS: [&str; 2] = ["ISTIO_PRERT", "ISTIO_PREROUTING"];

pub(super) const KIND: super::Kind = super::Kind {
    id: "RDR601",
    title: "Enrolled, but no redirect rules in the pod",
    severity: Severity::Error,
    page: Page {
        seen: "The pod is marked as enrolled and the control plane lists it, but its traffic is plain text, or blocked by policies that \
               expect HBONE; peers are refused on 15008.",
        why: "The node was rebooted without being drained, the agent was not ready when the sandbox was made anew, or it was restarted and \
              could not reconcile.",
        evidence: "Metadata or sockets of ztunnel tell of ambient mode, and something of this is missing, in a family that the pod has: \
                   outbound redirection, inbound redirection, the mark of the proxy's connections, the mark of the answers on them, or the \
                   policy rule that leads those to loopback. Each is asked with a packet.",
        remedy: "Delete the pod; upgrade to an agent that reconciles; drain nodes before they are rebooted.",
        references: &[
            "istio/istio#55913",
            "istio/istio#56652",
            "istio/istio#60882",
            "istio/istio#61182",
            "istio/istio#54630",
        ],
    },
    silenced_by: &["RDR009", "RDR605"],
    look,
};

fn look(case: &Case<'_>, found: &mut Found) {
    if !case.is_ambient() {
        return;
    }
    if let Some(why) = case.unread(&[Subject::Rules]) {
        return found.cannot_tell(&KIND, why);
    }
    if !is_enrolled(case) {
        return;
    }
    let remedy = "delete the pod, so that it is enrolled anew; then look why the mesh's CNI agent left it so";
    if case.expected.mode.is_none() {
        let finding = KIND.found("none of ambient mode's rules are in the pod, though it is enrolled", remedy);
        return found.finding(because(case, finding));
    }
    let families = case.families();
    // One family alone without redirection is told by what compares them.
    let lacks = |incoming: bool| {
        let none = |ipv6: &bool| {
            let lane = case.lane(*ipv6, incoming);
            lane.is_none_or(|lane| lane.written.is_empty() && lane.captured != Captured::All)
        };
        !families.is_empty() && families.iter().all(none)
    };
    let mut missing = Vec::new();
    if lacks(false) {
        missing.push("nothing redirects what it sends".to_owned());
    }
    if lacks(true) && inbound_is_meant(case) {
        missing.push("nothing redirects what comes in".to_owned());
    }
    let whole = missing.is_empty();
    for ipv6 in families.iter().copied().filter(|ipv6| whole && case.stopped(*ipv6, false) == Stopped::Not) {
        missing.extend(marks(case, ipv6));
    }
    if !missing.is_empty() {
        let finding = KIND.found("some of ambient mode's rules are missing in the pod", remedy);
        found.finding(because(case, missing.into_iter().fold(finding, Finding::because)));
    }
}

fn because(case: &Case<'_>, finding: Finding) -> Finding {
    let signs = case.expected.because.iter().filter(|because| because.source != Source::Rules).take(4);
    signs.fold(finding, |finding, because| finding.because(format!("it is a pod of ambient mode: {}", because.what)))
}

/// Something tells that ambient mode's rules are to be in this namespace: metadata, ztunnel's sockets, or a chain that stands in pods. A
/// node has rules of it too, for its own calls.
fn is_enrolled(case: &Case<'_>) -> bool {
    let told = case.expected.because.iter().any(|because| because.source != Source::Rules);
    let of_pods = |name: &str| IN_PODS.contains(&name.to_ascii_uppercase().replace('-', "_").as_str());
    let tables = case.snapshot.rulesets().iter().flat_map(|ruleset| &ruleset.tables);
    let chains = tables.flat_map(|table| &table.chains).any(|chain| of_pods(&chain.name));
    case.snapshot.workload.kind != Kind::Host && (told || chains)
}

/// Metadata is known, and does not switch it off.
fn inbound_is_meant(case: &Case<'_>) -> bool {
    let told = case.expected.because.iter().any(|because| because.source == Source::Metadata);
    told && case.snapshot.workload.annotations.get(BYPASS).is_none_or(|value| value != "true")
}

/// What is missing of the marks by which answers find back to the proxy. That something wipes them is told by another.
fn marks(case: &Case<'_>, ipv6: bool) -> Option<String> {
    let family = if ipv6 { "IPv6" } else { "IPv4" };
    let (mark, mask) = *case.proxy_marks().first()?;
    case.own_mark(ipv6, (mark, mask)).filter(|own| own.wiped.is_none())?;
    let connection = case.connection_mark(ipv6, mark)?;
    let Some(given) = connection.last.filter(|mark| *mark != 0) else {
        let none = connection.wiped.is_none();
        return none.then(|| format!("{family}: no rule marks the connections that the proxy opens with {mark:#x}"));
    };
    let answer = case.answer_mark(ipv6, given)?;
    let Some(restored) = answer.last.filter(|mark| *mark != 0) else {
        let none = answer.wiped.is_none();
        return none
            .then(|| format!("{family}: no rule gives the mark {given:#x} of a connection to the answers on it"));
    };
    let lost = case.leads_home(ipv6, restored) == Some(false);
    lost.then(|| format!("{family}: no policy rule leads packets with the mark {restored:#x} to loopback"))
}
