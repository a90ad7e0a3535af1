//! Races of translated UDP, and entries that outlive their rules.

use super::{Finding, Kind, Page};
use crate::analysis::check::{Case, DOMAIN, Found, Severity};
use crate::analysis::trace::{Outcome, Question};
use crate::model::{Endpoint, Flow, Protocol, Snapshot, Subject};
use crate::packet::{Known, state};

/// Facts of one kind before it is enough.
const MOST: usize = 6;

pub(super) const KIND: Kind = Kind {
    id: "RDR508",
    title: "UDP NAT races and stale UDP entries",
    severity: Severity::Warning,
    page: Page {
        seen: "Some lookups take five seconds; or a program keeps asking a resolver that is gone.",
        why: "Two queries from one port at the same moment race for one entry of tracking, and the kernel drops the loser. And a program \
              that asks from one port again and again keeps its entry alive, with the translation of the day on which it was made.",
        evidence: "The kernel's counters insert_failed or drop rise between two samples while queries are tracked; or an unanswered entry of \
                   a query is translated elsewhere than today's rules would.",
        remedy: "A resolver on the node, single-request in resolv.conf's options, and the stale entries deleted by their ends.",
        references: &["kubernetes/kubernetes#56903", "kubernetes/kubernetes#62628", "weaveworks/weave#3287"],
    },
    silenced_by: &["RDR009", "RDR507"],
    look,
};

fn look(case: &Case<'_>, found: &mut Found) {
    if case.expected.mesh.is_none() {
        return;
    }
    let queries: Vec<&Flow> = case.snapshot.flows.iter().flatten().filter(|flow| asks(flow)).collect();
    races(case, found, &queries);
    if case.unread(&[Subject::Rules, Subject::Routes]).is_some() {
        return;
    }
    let stale: Vec<(&&Flow, Endpoint)> =
        queries.iter().filter_map(|flow| Some((flow, today(case, flow).filter(|to| *to != flow.reply.0)?))).collect();
    let Some((first, _)) = stale.first() else { return };
    let (from, to) = first.original;
    let finding = KIND.found(
        format!("queries to {to} follow entries that are older than the rules, to {}", first.reply.0),
        format!(
            "delete the entry: conntrack -D -p udp --orig-src {} --orig-dst {} --sport {} --dport {}",
            from.address, to.address, from.port, to.port
        ),
    );
    let fact = |(flow, today): &(&&Flow, Endpoint)| {
        let left = flow.timeout.map_or_else(String::new, |seconds| format!(", for {seconds} s more"));
        format!(
            "from {} to {}: to {}, unanswered{left}; today it would go to {today}",
            flow.original.0, flow.original.1, flow.reply.0
        )
    };
    found.finding(stale.iter().take(MOST).map(fact).fold(finding, Finding::because));
}

/// An unanswered query that is translated.
fn asks(flow: &Flow) -> bool {
    flow.protocol == Protocol::Udp
        && flow.original.1.port == DOMAIN
        && flow.status & Flow::DST_NAT != 0
        && flow.status & Flow::SEEN_REPLY == 0
}

/// Where the first packet of such a query would go today; `None` where that cannot be told.
fn today(case: &Case<'_>, flow: &Flow) -> Option<Endpoint> {
    let (from, to) = flow.original;
    let incoming = !case.snapshot.is_local(from.address);
    let sockets = case.snapshot.sockets.iter().flatten();
    let mut own = sockets.filter(|socket| socket.protocol == Protocol::Udp && socket.local.port == from.port);
    let owner = own.find_map(|socket| case.owners(socket).next()).filter(|_| !incoming);
    let identity = owner.and_then(|person| person.identity.clone());
    // Whose it was is not known any more: only what holds for anybody.
    let question = Question {
        incoming,
        protocol: Protocol::Udp,
        source: Some(from.address),
        source_port: Some(from.port),
        state: Some(state::NEW),
        uid: identity.as_ref().map(|identity| identity.uid),
        gid: identity.as_ref().map(|identity| identity.gid),
        groups: identity.map(|identity| identity.groups),
        ..Question::to(to)
    };
    let trace = case.trace(&question);
    let end = |outcome: &Outcome<'_>| match (outcome.packet.destination, outcome.packet.destination_port) {
        (Known::Is(address), Known::Is(port)) => Some(Endpoint::new(address, port)),
        _ => None,
    };
    let mut ends = trace.outcomes.iter().map(end);
    let first = ends.next()??;
    ends.all(|end| end == Some(first)).then_some(first)
}

/// Counters that rose between two samples.
fn races(case: &Case<'_>, found: &mut Found, queries: &[&Flow]) {
    let tracked = |flow: &Flow| flow.protocol == Protocol::Udp && flow.original.1.port == DOMAIN;
    let any = !queries.is_empty() || case.snapshot.flows.iter().flatten().any(tracked);
    let Some(later) = case.asked.later.filter(|_| any) else { return };
    let rose = |name: &str| counted(later, name)?.checked_sub(counted(case.snapshot, name)?).filter(|more| *more > 0);
    let facts: Vec<String> = ["insert_failed", "drop"]
        .into_iter()
        .filter_map(|name| Some(format!("{name} rose by {} between two samples", rose(name)?)))
        .collect();
    if facts.is_empty() {
        return;
    }
    let finding = KIND.found(
        "packets are dropped because their entries of tracking could not be made, while queries are tracked",
        "ask a resolver on the node, or set single-request in resolv.conf's options",
    );
    found.finding(facts.into_iter().fold(finding, Finding::because));
}

/// The sum of a counter over all processors; `None` where it was not read.
fn counted(snapshot: &Snapshot, name: &str) -> Option<u64> {
    let statistics = &snapshot.tracking.as_ref()?.statistics;
    let all = statistics.iter().flat_map(|cpu| &cpu.counters).filter(|(counter, _)| counter == name);
    let values: Vec<u64> = all.map(|(_, value)| u64::from(*value)).collect();
    (!values.is_empty()).then(|| values.iter().sum())
}
