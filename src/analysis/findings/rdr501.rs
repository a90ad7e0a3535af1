//! DNS capture is configured, and queries are not captured.

use super::{Kind, Page};
use crate::analysis::check::{Asks, Case, Found, Lookup, Query};
use crate::model::{Protocol, Subject};

pub(super) const KIND: Kind = Kind {
    id: "RDR501",
    title: "DNS capture is configured but queries are not captured",
    severity: super::Severity::Warning,
    page: Page {
        seen: "Names that only the mesh knows do not resolve, and addresses that it gives to services never appear.",
        why: "The proxy was told to answer names and the rules were made without it; or rules name the resolver that was there when they \
              were made, and programs ask another one: on loopback, of the other family, or from a dnsConfig.",
        evidence: "DNS capture is expected, by metadata, a rule or a listener of the proxy, and a query over UDP to none of the resolvers in \
                   the applications' resolv.conf gets there: each was asked of the rules, as the users that run.",
        remedy: "Make the pod anew after the setting was changed; capture all queries rather than those to one address; align dnsConfig.",
        references: &["istio/istio#33360", "istio/istio#44996", "kumahq/kuma#10799"],
    },
    silenced_by: &["RDR001", "RDR601", "RDR009", "RDR201", "RDR210"],
    look,
};

fn look(case: &Case<'_>, found: &mut Found) {
    let Some(reason) = case.wants_dns() else { return };
    if let Some(why) = case.unread(&[Subject::Rules]) {
        return found.cannot_tell(&KIND, why);
    }
    let known = case.resolvers();
    let resolvers = known.clone().unwrap_or_else(|| anybody(case));
    let lookups = case.lookups(&resolvers);
    let queries: Vec<&Lookup> = lookups.iter().filter(|lookup| lookup.protocol == Protocol::Udp).collect();
    if queries.is_empty() || queries.iter().any(|lookup| matches!(lookup.query, Query::Captured { .. })) {
        return;
    }
    let unclear = queries.iter().find_map(|one| if let Query::Unclear(why) = &one.query { Some(why) } else { None });
    if let Some(why) = unclear {
        return found.cannot_tell(&KIND, format!("whether queries are captured: {why}"));
    }
    let captures = case.expected.families.iter().any(|family| family.dns.is_some());
    if known.is_none() && captures {
        return found
            .cannot_tell(&KIND, "which resolvers programs ask was not read, and rules capture queries to some alone");
    }
    let mut finding = KIND.found(
        "names are to be answered by the mesh, and no query of the applications gets there",
        "make the pod anew so that its rules fit the setting, or capture queries to the resolvers that it has",
    );
    finding = finding.because(format!("expected: {reason}"));
    for lookup in queries.iter().take(6) {
        finding = finding.because(match &lookup.query {
            Query::Direct(Some(rule)) => format!("{} goes there as it is, by {rule}", lookup.words()),
            Query::Direct(None) => format!("{} goes there as it is", lookup.words()),
            Query::Ended => format!("{} is dropped or has no route", lookup.words()),
            _ => format!("{} goes elsewhere than to the mesh", lookup.words()),
        });
    }
    let dns = case.expected.families.iter().find_map(|family| family.dns.as_ref());
    if let Some(dns) = dns {
        let of = dns.resolver.map_or_else(String::new, |resolver| format!(" to {resolver}"));
        finding = finding.because(format!("{} captures queries{of} alone", dns.rule));
    }
    found.finding(finding.about(dns.map(|dns| dns.rule.clone())));
}

/// Resolvers of which no rule speaks, where nobody says whom programs ask.
fn anybody(case: &Case<'_>) -> Vec<Asks> {
    let of = |ipv6: bool| Asks { resolver: case.outside(ipv6), by: "any resolver".to_owned() };
    case.families().into_iter().map(of).collect()
}
