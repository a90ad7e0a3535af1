//! DNS capture without zones of tracking of its own.

use super::{Kind, Page};
use crate::analysis::check::{Asks, Case, Found, Query, Severity, ZoneOf};
use crate::analysis::mesh::Mesh;
use crate::analysis::trace::{Identity, Question};
use crate::model::{Endpoint, Protocol, RuleRef, Subject};
use crate::packet::state;

pub(super) const KIND: Kind = Kind {
    id: "RDR502",
    title: "DNS capture without separate conntrack zones",
    severity: Severity::Error,
    page: Page {
        seen: "Names of the mesh are unknown now and then, under load; a packet capture shows queries that leave for port 53 directly.",
        why: "Translation of UDP is decided once for each pair of ends. Where an application happens to ask from a source port from which \
              the proxy has just asked the same resolver, its query belongs to the proxy's flow, which is not translated. Two zones of \
              tracking keep both apart; and the answers of the proxy have to be in the applications' zone to be translated back.",
        evidence: "An application's query and the proxy's own to the same resolver, from the same port, begin their tracking in the same \
                   zone, by the rules that both meet; or an answer of the proxy is in another zone than the query. It is told as \
                   information of Consul, which never writes zones.",
        remedy: "Let the mesh write its rules for zones (a kernel with them, the raw table), or upgrade it.",
        references: &["istio/istio#33469", "istio/istio#33480", "istio/istio#33572", "kumahq/kuma#3459"],
    },
    silenced_by: &["RDR001", "RDR601", "RDR009"],
    look,
};

fn look(case: &Case<'_>, found: &mut Found) {
    if case.wants_dns().is_none() || case.unread(&[Subject::Rules]).is_some() {
        return;
    }
    for asks in captured(case) {
        if let Some(shared) = judge(case, &asks) {
            match shared {
                Shared::Unclear => found.cannot_tell(&KIND, format!("the zone of queries to {}", asks.resolver)),
                Shared::Queries { zone, rule, to } => queries(case, found, &asks, (zone, rule, to)),
                Shared::Answers { query, answer, by } => answers(found, (query, answer, by)),
            }
            // One cause, whatever resolvers it is about.
            return;
        }
    }
}

enum Shared {
    /// The application's query and the proxy's.
    Queries {
        zone: u16,
        rule: RuleRef,
        to: Option<Endpoint>,
    },
    /// The proxy's answers are not in the zone of the queries.
    Answers {
        query: u16,
        answer: u16,
        by: Option<RuleRef>,
    },
    Unclear,
}

/// Resolvers to which queries over UDP are captured.
pub(super) fn captured(case: &Case<'_>) -> Vec<Asks> {
    let of_rules = || {
        let dns = case.expected.families.iter().filter_map(|family| Some((family.ipv6, family.dns.as_ref()?)));
        let asks = dns.map(|(ipv6, dns)| Asks {
            resolver: dns.resolver.unwrap_or_else(|| case.outside(ipv6)),
            by: format!("captured by {}", dns.rule),
        });
        asks.collect()
    };
    let spoken = case.families();
    let resolvers = case.resolvers().unwrap_or_else(of_rules);
    let all = case.lookups(&resolvers).into_iter();
    let over_udp = all.filter(|one| one.protocol == Protocol::Udp && matches!(one.query, Query::Captured { .. }));
    let mut asks: Vec<Asks> = over_udp.map(|one| one.asks).collect();
    asks.dedup();
    asks.retain(|asks| spoken.contains(&asks.resolver.is_ipv6()));
    asks
}

fn judge(case: &Case<'_>, asks: &Asks) -> Option<Shared> {
    let mut judged = case.forwarders().into_iter().map(|(proxy, mark)| with(case, asks, proxy.as_ref(), mark));
    let first = judged.next()?;
    // Of several who may be the proxy, one that is right is enough.
    if judged.any(|other| other.is_none()) { None } else { first }
}

/// What is wrong where the proxy has these users and groups, or this mark.
fn with(case: &Case<'_>, asks: &Asks, proxy: Option<&Identity>, mark: u32) -> Option<Shared> {
    let who = case.identities().into_iter().next()?;
    let Query::Captured { to, rule: Some(rule), .. } = case.asks(who.as_ref(), Protocol::Udp, asks.resolver) else {
        return None;
    };
    let own = case.query(proxy, mark, Protocol::Udp, asks.resolver);
    let theirs = case.query(who.as_ref(), 0, Protocol::Udp, asks.resolver);
    // A proxy whose own queries would be captured asks from elsewhere: there is nothing to leak to.
    let forwards = matches!(case.asks_as(&own, asks.resolver), Query::Direct(_));
    let zones = (case.zone(&theirs), case.zone(&own));
    let (ZoneOf::Is(query, _), ZoneOf::Is(other, _)) = zones else { return Some(Shared::Unclear) };
    if query == other && (forwards || case.expected.mesh == Some(Mesh::Consul)) {
        return Some(Shared::Queries { zone: query, rule, to });
    }
    let to = to.filter(|to| case.snapshot.is_local(to.address))?;
    let back = Endpoint::new(case.own_address(to.address.is_ipv6())?, theirs.source_port?);
    let answer = Question {
        source: Some(to.address),
        source_port: Some(to.port),
        state: Some(state::NEW),
        destination: back,
        ..own
    };
    match case.zone(&answer) {
        ZoneOf::Is(zone, by) if zone != query => Some(Shared::Answers { query, answer: zone, by }),
        ZoneOf::Is(..) => None,
        ZoneOf::Unclear => Some(Shared::Unclear),
    }
}

fn queries(case: &Case<'_>, found: &mut Found, asks: &Asks, (zone, rule, to): (u16, RuleRef, Option<Endpoint>)) {
    let resolver = asks.whom(case);
    let severity = if case.expected.mesh == Some(Mesh::Consul) { Severity::Info } else { Severity::Error };
    let to = to.map_or_else(|| "elsewhere".to_owned(), |to| format!("to {to}"));
    let finding = KIND.found(
        format!("queries of applications to {resolver} share zone {zone} of tracking with the proxy's own"),
        "let the mesh write its conntrack zone rules (raw table), or upgrade it",
    );
    let finding = finding.because(format!("{rule} sends queries of applications {to}")).because(
        "one from a port from which the proxy has just asked follows the proxy's flow, past that rule".to_owned(),
    );
    found.finding(finding.severity(severity).about(Some(rule)));
}

fn answers(found: &mut Found, (query, answer, by): (u16, u16, Option<RuleRef>)) {
    let finding = KIND.found(
        format!(
            "the proxy's answers are tracked in zone {answer}, and the queries in zone {query}: none is translated back"
        ),
        "put what comes from the proxy's DNS port into the zone of the queries",
    );
    let fact = match &by {
        Some(by) => format!("{by} gives the answers their zone"),
        None => "no rule gives the answers a zone".to_owned(),
    };
    found.finding(finding.because(fact).about(by));
}
