//! TCP, a second resolver or one of the node slips through DNS capture.

use std::collections::BTreeSet;

use super::{Finding, Kind, Page};
use crate::analysis::check::{Case, DOMAIN, Found, Going, Lookup, Query, Severity};
use crate::analysis::join::{Direction, Way};
use crate::analysis::mesh::Mesh;
use crate::model::{Endpoint, Protocol, RuleRef, Subject};

/// DNS over TLS.
const DOMAIN_TLS: u16 = 853;
/// Facts of one kind before it is enough.
const MOST: usize = 8;

pub(super) const KIND: Kind = Kind {
    id: "RDR504",
    title: "TCP DNS, a second resolver or node-local DNS slips through",
    severity: Severity::Warning,
    page: Page {
        seen: "Large answers, or some of the programs, resolve names otherwise than the rest.",
        why: "Rules capture UDP alone, or queries to one resolver; a second one was added later, or is the node's own; a program asks \
              one that it has built in, or asks over TLS.",
        evidence: "Queries over UDP to one of the resolvers are captured, and those over TCP, or to another of them, go there as they are; \
                   or a program has a flow to a DNS port that nothing has translated. TCP that goes to the proxy like any other \
                   connection, and Kuma's, is told as information.",
        remedy: "Capture all queries, or let nothing else leave for port 53.",
        references: &["istio/istio#52867", "istio/istio#33469"],
    },
    silenced_by: &["RDR001", "RDR601", "RDR009", "RDR201", "RDR210", "RDR501"],
    look,
};

fn look(case: &Case<'_>, found: &mut Found) {
    let captures = case.expected.families.iter().any(|family| family.dns.is_some());
    if case.wants_dns().is_none() || !captures || case.unread(&[Subject::Rules]).is_some() {
        return;
    }
    let resolvers = case.resolvers().unwrap_or_default();
    let lookups = case.lookups(&resolvers);
    let captured: BTreeSet<_> = lookups
        .iter()
        .filter(|one| one.protocol == Protocol::Udp && matches!(one.query, Query::Captured { .. }))
        .map(|one| one.asks.resolver)
        .collect();
    if captured.is_empty() && !lookups.is_empty() {
        return;
    }
    let kuma = case.expected.mesh == Some(Mesh::Kuma);
    let (mut slips, mut untold) = (Vec::new(), Vec::new());
    for lookup in &lookups {
        match &lookup.query {
            Query::Direct(_) if lookup.protocol == Protocol::Tcp && !captured.contains(&lookup.asks.resolver) => {}
            // Kuma leaves TCP alone on purpose.
            Query::Direct(by) if lookup.protocol == Protocol::Tcp && kuma => untold.push((lookup, by.clone())),
            Query::Direct(by) => slips.push((lookup, by.clone())),
            Query::Proxied(by) if captured.contains(&lookup.asks.resolver) => untold.push((lookup, by.clone())),
            Query::Unclear(why) => found.cannot_tell(&KIND, format!("{}: {why}", lookup.words())),
            _ => {}
        }
    }
    let live = live(case);
    let rule = case.expected.families.iter().find_map(|family| Some(family.dns.as_ref()?.rule.clone()));
    if !slips.is_empty() || !live.is_empty() {
        let mut finding = KIND.found(
            "some queries go past DNS capture",
            "capture all queries, over UDP and TCP and to every resolver, or let nothing else leave for port 53",
        );
        for (lookup, by) in slips.iter().take(MOST) {
            let by = by.as_ref().map_or_else(String::new, |by| format!(", by {by}"));
            finding = finding.because(format!("{} goes there as it is{by}", lookup.words()));
        }
        finding = live.into_iter().take(MOST).fold(finding, Finding::because);
        if let Some(rule) = &rule {
            finding = finding.because(format!("others are captured by {rule}"));
        }
        found.finding(finding.about(rule.clone()));
    }
    told(found, &untold);
}

/// TCP that the proxy gets like any other connection, or that is left alone on purpose.
fn told(found: &mut Found, untold: &[(&Lookup, Option<RuleRef>)]) {
    let Some((_, rule)) = untold.first() else { return };
    let finding = KIND.found(
        "queries over TCP do not come to what answers names: they go as any other connection does",
        "nothing, where programs ask over UDP",
    );
    let fact = |(lookup, by): &(&Lookup, Option<RuleRef>)| {
        let by = by.as_ref().map_or_else(String::new, |by| format!(": by {by}"));
        format!("{}{by}", lookup.words())
    };
    let finding = untold.iter().take(MOST).map(fact).fold(finding, Finding::because);
    found.finding(finding.severity(Severity::Info).about(rule.clone()));
}

/// Live flows of applications to DNS ports that go there as they are, and would today.
fn live(case: &Case<'_>) -> Vec<String> {
    let mut told = BTreeSet::new();
    for one in case.connections().iter().filter(|one| one.is_live() && one.direction == Some(Direction::Out)) {
        let Some(peer) = one.peer.filter(|peer| [DOMAIN, DOMAIN_TLS].contains(&peer.port)) else { continue };
        let untouched = matches!(one.way, Way::Direct | Way::Exempt) && !case.snapshot.is_local(peer.address);
        let Some(person) = case
            .applications()
            .find(|person| untouched && one.processes.iter().any(|owner| owner.pid == person.process.pid))
        else {
            continue;
        };
        let direct = matches!(case.dials(person.identity.as_ref(), one.protocol, peer), Going::Direct(_));
        if direct {
            told.insert(format!(
                "{} asks {} over {}, and nothing translates it",
                person.words(),
                Endpoint::new(peer.address, peer.port),
                words(one.protocol)
            ));
        }
    }
    told.into_iter().collect()
}

fn words(protocol: Protocol) -> &'static str {
    if protocol == Protocol::Tcp { "TCP" } else { "UDP" }
}
