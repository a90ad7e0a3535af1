//! Nobody waits for captured queries, or the answers come from the wrong address.

use std::collections::BTreeMap;

use super::{Kind, Page};
use crate::analysis::check::{Asks, Case, Found, Query, Severity};
use crate::model::{Endpoint, Flow, Protocol, RuleRef, Socket, SocketState, Subject};

pub(super) const KIND: Kind = Kind {
    id: "RDR507",
    title: "DNS listener missing, or answering from the wrong address",
    severity: Severity::Error,
    page: Page {
        seen: "Every name is refused or times out; or answers come and the resolver library ignores them.",
        why: "The proxy's listener could not bind, because the port was taken or IPv6 has no loopback. Or it is bound to every address: \
              what it answers a redirected query leaves from the pod's address then, and nothing translates that back.",
        evidence: "A rule sends queries to a port of the namespace at which no socket waits for them. Or the socket there is bound to the \
                   wildcard, and tracking holds queries and answers as two entries, neither answered.",
        remedy: "Restart the proxy, enable ::1, and let the listener bind to loopback.",
        references: &["istio/istio#52487", "istio/istio#38824"],
    },
    silenced_by: &["RDR001", "RDR601", "RDR009", "RDR301", "RDR602", "RDR605"],
    look,
};

fn look(case: &Case<'_>, found: &mut Found) {
    if case.wants_dns().is_none() || case.expected.families.iter().all(|family| family.dns.is_none()) {
        return;
    }
    if let Some(why) = case.unread(&[Subject::Sockets, Subject::Rules]) {
        return found.cannot_tell(&KIND, why);
    }
    let resolvers = case.resolvers().filter(|all| !all.is_empty()).unwrap_or_else(|| anybody(case));
    let mut silent: BTreeMap<(Endpoint, Protocol), Vec<RuleRef>> = BTreeMap::new();
    for lookup in case.lookups(&resolvers) {
        let Query::Captured { to: Some(to), rule, received: Some(false) } = lookup.query else { continue };
        let rules = silent.entry((to, lookup.protocol)).or_default();
        rules.extend(rule.filter(|rule| !rules.contains(rule)));
    }
    if silent.is_empty() {
        return wrong_source(case, found);
    }
    let ports: Vec<String> = silent.keys().map(|(to, protocol)| format!("{protocol} {to}")).collect();
    let mut finding = KIND.found(
        format!("nobody waits for captured queries at {}", ports.join(", ")),
        "look at the proxy's log: its DNS listener could not bind, or has not started",
    );
    for ((to, protocol), rules) in &silent {
        for rule in rules {
            finding = finding.because(format!("{rule} sends queries over {protocol} to {to}"));
        }
        for socket in waiting(case, to.port, *protocol).take(4) {
            finding = finding.because(format!("one that waits there is bound to {}", socket.local));
        }
    }
    let rule = silent.values().flatten().next().cloned();
    found.finding(finding.about(rule));
}

/// Resolvers that rules name, or any where they name none.
fn anybody(case: &Case<'_>) -> Vec<Asks> {
    let of = |ipv6: bool| {
        let dns = case.expected.family(ipv6)?.dns.as_ref()?;
        let resolver = dns.resolver.unwrap_or_else(|| case.outside(ipv6));
        Some(Asks { resolver, by: format!("captured by {}", dns.rule) })
    };
    case.families().into_iter().filter_map(of).collect()
}

fn waiting<'c>(case: &'c Case<'_>, port: u16, protocol: Protocol) -> impl Iterator<Item = &'c Socket> {
    case.snapshot.sockets.iter().flatten().filter(move |socket| {
        let waits = socket.state == SocketState::Listen || socket.is_unconnected();
        waits && socket.protocol == protocol && socket.local.port == port
    })
}

/// Answers that leave from another address than the query was sent to.
fn wrong_source(case: &Case<'_>, found: &mut Found) {
    let ports = case.dns_ports();
    let lonely = |flow: &&Flow| flow.protocol == Protocol::Udp && flow.status & Flow::SEEN_REPLY == 0;
    let flows = || case.snapshot.flows.iter().flatten().filter(lonely);
    let queries = flows().filter(|query| query.reply.0 != query.original.1 && ports.contains(&query.reply.0.port));
    let mut pairs = queries.filter_map(|query| {
        let answer = flows().find(|answer| {
            let (from, to) = answer.original;
            to == query.reply.1 && from.port == query.reply.0.port && from.address != query.reply.0.address
        })?;
        Some((query, answer.original.0))
    });
    let Some((query, from)) = pairs.next() else { return };
    let more = pairs.count();
    let expected = query.reply.0;
    let mut finding = KIND.found(
        format!("answers to captured queries come from {from} and not from {expected}: nothing translates them back"),
        format!("let the proxy's DNS listener bind to {}", expected.address),
    );
    finding = finding.because(format!(
        "the query of {} to {}, sent to {expected}, is unanswered, and {} more",
        query.original.0, query.original.1, more
    ));
    for socket in waiting(case, expected.port, Protocol::Udp).take(4) {
        let whose =
            case.owners(socket).next().map_or_else(|| "somebody".to_owned(), crate::analysis::check::Person::words);
        finding = finding.because(format!("{whose} waits at {}", socket.local));
    }
    let rule = case.expected.family(expected.address.is_ipv6()).and_then(|family| family.dns.as_ref());
    found.finding(finding.about(rule.map(|dns| dns.rule.clone())));
}
