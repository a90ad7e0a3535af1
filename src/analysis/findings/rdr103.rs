//! What is passed on inbound comes back.

use super::{Kind, Page};
use crate::analysis::check::{Case, Found, Going, Severity};
use crate::analysis::mesh::{Mesh, Variant};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// From where Istio's and Kuma's proxies dial the application.
const PASSED_ON: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 6);
/// The same over IPv6.
const PASSED_ON_V6: Ipv6Addr = Ipv6Addr::new(0, 0, 0, 0, 0, 0, 0, 6);

pub(super) const KIND: Kind = Kind {
    id: "RDR103",
    title: "Inbound passthrough re-enters the inbound listener",
    severity: Severity::Error,
    page: Page {
        seen: "A call to a port that no service declares goes round between proxy and rules; over IPv6 such ports fail.",
        why: "The proxy dials the pod's own address by loopback, from an address of its own (127.0.0.6, ::6). Without \
              a rule that leaves that address alone the call is sent to the inbound port again; without the address on \
              lo it cannot be made.",
        evidence: "Asked of the rules: a connection of the proxy's user from that address to a served port goes to the \
              inbound port. Or the address is missing on lo where rules name it.",
        remedy: "Put the exception back in front, add ::6/128 to lo, or make the pod anew.",
        references: &[
            "istio/istio#14443",
            "istio/istio#15906",
            "istio/istio#29603",
            "kumahq/kuma#11207",
            "linkerd/linkerd2#10816",
        ],
    },
    silenced_by: &["RDR009", "RDR001", "RDR101", "RDR104"],
    look,
};

fn look(case: &Case<'_>, found: &mut Found) {
    let passes = matches!(case.expected.mesh, Some(Mesh::Istio | Mesh::Kuma));
    if !passes || case.expected.variant == Some(Variant::Ambient) {
        return;
    }
    let Some(proxy) = case.proxies().find(|person| !person.process.elsewhere && person.identity.is_some()) else {
        return;
    };
    for ipv6 in case.families() {
        let Some(to) = case.served(ipv6).into_iter().next() else { continue };
        let from = |source: Option<IpAddr>| case.passes_on(proxy.identity.as_ref(), source, to);
        // Without the redirect of calls to oneself nothing comes back.
        if !from(None).is_captured() {
            continue;
        }
        let own = if ipv6 { IpAddr::from(PASSED_ON_V6) } else { IpAddr::from(PASSED_ON) };
        if let Going::Proxy { port, rule, .. } = from(Some(own)) {
            let finding = KIND.found(
                format!("what the proxy passes on from {own} is sent to its port {port} again"),
                format!("leave source {own} on lo alone, ahead of all others"),
            );
            let by = rule.as_ref().map_or_else(String::new, |rule| format!(" by {rule}"));
            found.finding(finding.because(format!("a connection from {own} to {to} is redirected{by}")).about(rule));
        } else if ipv6 && !case.snapshot.is_local(own) && case.snapshot.interfaces.is_some() && can_be_added(case) {
            let finding = KIND.found(
                format!("{own} is missing on lo: the proxy cannot pass on what comes in over IPv6"),
                "add ::6/128 to lo in the pod, or make the pod anew",
            );
            found.finding(finding.because("rules leave it alone, and no interface has it"));
        }
    }
}

/// Whether lo may have addresses of IPv6: where a setting forbids it, that is told instead.
fn can_be_added(case: &Case<'_>) -> bool {
    let settings = case.snapshot.routes.as_ref().map(|routing| &routing.settings);
    settings.is_none_or(|settings| settings.ipv6("lo", "disable_ipv6") != Some(1))
}
