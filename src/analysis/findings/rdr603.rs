//! The exemption of the kubelet's probes does not work.

use super::{Kind, Page};
use crate::analysis::check::{Case, Found, Probe, Severity};
use crate::analysis::mesh::Captured;
use crate::model::{Flow, Protocol, Subject};

pub(super) const KIND: Kind = Kind {
    id: "RDR603",
    title: "Probe exemption (host SNAT to 169.254.7.127) does not work",
    severity: Severity::Error,
    page: Page {
        seen: "Probes time out or are reset as soon as the pod joins the mesh, and recover when it leaves.",
        why: "In ambient mode the node gives its own calls to pods a link-local address that the pod lets through. The node's rule was \
              flushed, or another one comes before it; a CNI goes past it; the IPv6 twin was forgotten; or one side has another address.",
        evidence: "A call of the kubelet's user to a port of the pod is followed through the node's rules, and what leaves there through the \
                   pod's: it is captured. The rule that was to give it the address, and the one that comes before it, are named. Tracked \
                   calls from the node's own addresses that were captured show it live.",
        remedy: "Restore the rule (restart the CNI agent) and let nothing translate before it; with Cilium switch BPF masquerading off.",
        references: &[
            "istio/istio#60607",
            "istio/istio#58531",
            "istio/istio#53105",
            "istio/istio#52765",
            "istio/istio#57911",
            "defenseunicorns/uds-core#1939",
        ],
    },
    silenced_by: &["RDR009", "RDR601", "RDR602", "RDR605"],
    look,
};

fn look(case: &Case<'_>, found: &mut Found) {
    let captures = case.expected.families.iter().any(|family| family.inbound.captured == Captured::All);
    if !case.is_ambient() || !captures || case.unread(&[Subject::Rules]).is_some() {
        return;
    }
    let pod = case.snapshot.workload.kind == crate::model::Kind::Pod;
    for ipv6 in case.families() {
        let (title, facts, rule) = match case.probe(ipv6) {
            None | Some(Probe::Passes | Probe::NotInSet { .. }) => continue,
            Some(Probe::NotRead) => {
                let live = live(case, ipv6);
                if live.is_empty() {
                    if pod {
                        found.cannot_tell(&KIND, "the node's own rules were not read");
                    }
                    continue;
                }
                ("calls of the node come in with its own address and are captured".to_owned(), live, None)
            }
            Some(Probe::Unclear(why)) => {
                if pod {
                    found.cannot_tell(&KIND, why);
                }
                continue;
            }
            Some(Probe::Unknown(source, rule)) => {
                let title = format!("the node calls from {source}, and the pod captures what comes from there");
                let by = rule.as_ref().map(|rule| format!("{rule} captures it in the pod"));
                (title, by.into_iter().collect(), rule)
            }
            Some(Probe::Plain(source)) => {
                let title = format!(
                    "no rule of the node gives its calls the address that the pod lets through: they come from {source}"
                );
                (title, vec!["what comes from there is captured in the pod".to_owned()], None)
            }
            Some(Probe::Outranked { source, wanted, by }) => {
                let title = format!(
                    "calls of the node come from {source} and are captured: another rule comes before {wanted}"
                );
                let by = by.filter(|by| *by != wanted);
                let facts = match &by {
                    Some(by) => vec![format!("on the node {by} settles their source first")],
                    None => vec![format!("on the node {wanted} does not match them")],
                };
                (title, facts, by.or(Some(wanted)))
            }
        };
        let remedy =
            "restart the mesh's CNI agent, and let nothing on the node translate its calls to pods before its rule";
        let mut finding = KIND.found(title, remedy);
        finding = facts.into_iter().fold(finding, super::Finding::because);
        if case.expected.families.len() > 1 {
            finding = finding.because(if ipv6 { "this is so for IPv6" } else { "this is so for IPv4" });
        }
        return found.finding(finding.about(rule));
    }
}

/// Calls from the node's own addresses that were captured.
fn live(case: &Case<'_>, ipv6: bool) -> Vec<String> {
    let port = case.lane(ipv6, true).and_then(|lane| lane.port);
    let captured = |flow: &&Flow| {
        flow.protocol == Protocol::Tcp
            && flow.original.0.address.is_ipv6() == ipv6
            && case.snapshot.node_addresses.contains(&flow.original.0.address)
            && !case.snapshot.is_local(flow.original.0.address)
            && Some(flow.reply.0.port) == port
            && flow.original.1.port != flow.reply.0.port
    };
    let flows = case.snapshot.flows.iter().flatten().filter(captured).take(4);
    flows.map(|flow| format!("a call of {} to {} went to {}", flow.original.0, flow.original.1, flow.reply.0)).collect()
}
