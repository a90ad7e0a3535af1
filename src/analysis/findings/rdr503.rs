//! A rule gives a conntrack zone to the wrong direction.

use super::rdr502::captured;
use super::{Kind, Page};
use crate::analysis::check::{Case, DOMAIN, Found, Query, Severity, ZoneOf};
use crate::analysis::trace::Question;
use crate::model::{Endpoint, Flow, Protocol, Subject};
use crate::packet::state;

pub(super) const KIND: Kind = Kind {
    id: "RDR503",
    title: "Conntrack zone rule in the wrong direction",
    severity: Severity::Info,
    page: Page {
        seen: "Every query leaves two entries of tracking that were never answered, and the table fills faster.",
        why: "The rule for what comes back from the resolver asks for its address as the destination rather than as the source; or a \
              translation, such as Docker's, has changed the port that the rule looks for.",
        evidence: "The proxy's query to a resolver begins its tracking in one zone and the answer that comes in from there in another. \
                   Pairs of entries that mirror each other, both unanswered, show it live.",
        remedy: "Upgrade the mesh: Istio has mended it.",
        references: &["istio/istio#46935", "kumahq/kuma#11684"],
    },
    silenced_by: &["RDR001", "RDR601", "RDR009", "RDR502"],
    look,
};

fn look(case: &Case<'_>, found: &mut Found) {
    if case.wants_dns().is_none() || case.unread(&[Subject::Rules]).is_some() {
        return;
    }
    // Who it is has to be known.
    let Ok([(proxy, mark)]) = <[_; 1]>::try_from(case.forwarders()) else { return };
    for asks in captured(case) {
        let own = case.query(proxy.as_ref(), mark, Protocol::Udp, asks.resolver);
        let outside = !case.snapshot.is_local(asks.resolver);
        if !outside || !matches!(case.asks_as(&own, asks.resolver), Query::Direct(_)) {
            continue;
        }
        let Some((address, port)) = case.own_address(asks.resolver.is_ipv6()).zip(own.source_port) else { continue };
        let back = Question {
            incoming: true,
            protocol: Protocol::Udp,
            source: Some(asks.resolver),
            source_port: Some(DOMAIN),
            state: Some(state::NEW),
            ..Question::to(Endpoint::new(address, port))
        };
        let (ZoneOf::Is(query, by), ZoneOf::Is(answer, other)) = (case.zone(&own), case.zone(&back)) else { continue };
        if query == answer {
            continue;
        }
        let finding = KIND.found(
            format!(
                "the proxy's queries to {} are tracked in zone {query}, the answers in zone {answer}",
                asks.resolver
            ),
            "upgrade the mesh; answers arrive all the same",
        );
        let mut finding = match &by {
            Some(by) => finding.because(format!("{by} gives the queries their zone")),
            None => finding.because("no rule gives the queries a zone"),
        };
        finding = match &other {
            Some(other) => finding.because(format!("{other} gives the answers theirs")),
            None => finding.because("no rule gives a zone to what comes in from there"),
        };
        let mirrored = mirrored(case, asks.resolver);
        if mirrored > 0 {
            finding = finding.because(format!("{mirrored} queries have two entries each, neither answered"));
        }
        return found.finding(finding.about(by.or(other)));
    }
}

/// Queries to a resolver with a second entry, of the answer, in another zone.
fn mirrored(case: &Case<'_>, resolver: std::net::IpAddr) -> usize {
    let lonely = |flow: &&Flow| flow.protocol == Protocol::Udp && flow.status & Flow::SEEN_REPLY == 0;
    let flows = || case.snapshot.flows.iter().flatten().filter(lonely);
    let to = Endpoint::new(resolver, DOMAIN);
    let zone = |flow: &Flow| flow.details.original.zone.unwrap_or(flow.zone);
    let twin = |query: &Flow, other: &Flow| {
        other.original == (query.original.1, query.original.0) && zone(other) != zone(query)
    };
    flows().filter(|query| query.original.1 == to && flows().any(|other| twin(query, other))).count()
}
