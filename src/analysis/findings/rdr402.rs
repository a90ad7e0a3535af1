//! IPv6 leaves (or enters) unproxied.

use super::{Kind, Page};
use crate::analysis::check::{Case, Found, Going, Severity, Stopped};
use crate::model::{Endpoint, Protocol};

pub(super) const KIND: Kind = Kind {
    id: "RDR402",
    title: "IPv6 leaves (or enters) unproxied",
    severity: Severity::Error,
    page: Page {
        seen: "Calls to services with IPv6 skip the sidecar; policies have a hole.",
        why: "Rules were made for one family: by the first address of the pod, a dual-stack switch that is off, a module \
              that is missing.",
        evidence: "The pod has an address and a route of IPv6, and a connection that is redirected over IPv4 is not over IPv6: \
              both were asked of the rules.",
        remedy: "Switch dual stack on in the mesh and its CNI agent, load the modules for ip6tables, or switch IPv6 off in the \
              pod.",
        references: &["istio/istio#46625", "istio/istio#35310", "istio/istio#38041", "hashicorp/consul#9910"],
    },
    silenced_by: &["RDR001", "RDR009"],
    look,
};

fn look(case: &Case<'_>, found: &mut Found) {
    // Where addresses are not known, nobody knows whether there is a second family.
    if case.expected.mesh.is_none() || case.speaks(false) != Some(true) || case.speaks(true) != Some(true) {
        return;
    }
    // By the family that is lost: one cause, whatever directions it has.
    for lost in [true, false] {
        let directions: Vec<bool> = [false, true].into_iter().filter(|incoming| loses(case, lost, *incoming)).collect();
        if !directions.is_empty() {
            leaks(case, found, lost, &directions);
        }
    }
}

/// Whether a direction is redirected in the other family, and in this one it is not. What a rule does is told by its own finding.
fn loses(case: &Case<'_>, ipv6: bool, incoming: bool) -> bool {
    case.stopped(!ipv6, incoming) == Stopped::Not
        && !matches!(
            case.stopped(ipv6, incoming),
            Stopped::Not | Stopped::By(_) | Stopped::Ended(_) | Stopped::Unclear(_)
        )
}

fn leaks(case: &Case<'_>, found: &mut Found, lost: bool, directions: &[bool]) {
    let name = |ipv6: bool| if ipv6 { "IPv6" } else { "IPv4" };
    let which = match directions {
        [false, true] => "inbound and outbound",
        [true] => "inbound",
        _ => "outbound",
    };
    let mut finding = KIND.found(
        format!("{which} {} is not redirected, and {} is", name(lost), name(!lost)),
        format!("make rules for {} too, or switch it off in the pod", name(lost)),
    );
    for incoming in directions {
        let (Some((to, Going::Direct(_))), Some((from, goes))) =
            (probe(case, lost, *incoming), probe(case, !lost, *incoming))
        else {
            continue;
        };
        let direction = if *incoming { "from outside " } else { "" };
        finding = finding.because(format!("a connection {direction}to {to} goes there as it is"));
        if let Going::Proxy { port, rule: Some(rule), .. } = goes {
            finding = finding.because(format!("one to {from} is sent to port {port} by {rule}"));
        }
    }
    if finding.evidence.is_empty() {
        return;
    }
    if let Some(own) = case.own_address(lost) {
        finding = finding.because(format!("the pod has {own}"));
    }
    found.finding(finding);
}

/// A connection of a direction, and where it goes.
fn probe(case: &Case<'_>, ipv6: bool, incoming: bool) -> Option<(Endpoint, Going)> {
    if incoming {
        let to = case.served(ipv6).into_iter().next()?;
        return Some((to, case.comes(Protocol::Tcp, to)));
    }
    let to = Endpoint::new(case.outside(ipv6), case.port());
    Some((to, case.dials(case.identities().first()?.as_ref(), Protocol::Tcp, to)))
}
