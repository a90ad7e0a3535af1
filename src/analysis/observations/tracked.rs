//! What entries of connection tracking tell by themselves: handshakes that wait, and queries that have two entries.

use std::collections::HashMap;

use super::{Ground, Kind, Observation, names};
use crate::model::{Endpoint, Flow, Protocol};

fn unanswered(flow: &Flow) -> bool {
    flow.status & Flow::SEEN_REPLY == 0
}

/// Whether the kernel gave the caller another port, to keep two flows apart (K13). A rule that translates sources gives another
/// address as a rule.
#[must_use]
pub fn is_rewritten(flow: &Flow) -> bool {
    let (from, answered) = (flow.original.0, flow.reply.1);
    flow.has_ports() && from.address == answered.address && from.port != answered.port
}

/// Handshakes with a port that rules redirect to which nobody answers, and with whom they clash (RDR703).
pub(super) fn stalled(ground: &Ground<'_>) -> Vec<Observation> {
    let flows = || ground.snapshot.flows.iter().flatten();
    let waits = |flow: &&Flow| {
        flow.protocol == Protocol::Tcp
            && flow.state.as_deref() == Some("SYN_SENT")
            && unanswered(flow)
            && ground.is_target(flow.reply.0)
    };
    let stalled: Vec<&Flow> = flows().filter(waits).collect();
    if stalled.is_empty() {
        return Vec::new();
    }
    // Who has the tuple that the rewritten one would have had.
    let mut holders: HashMap<(Endpoint, Endpoint), &Flow> = HashMap::new();
    for flow in flows().filter(|flow| flow.protocol == Protocol::Tcp) {
        holders.insert(flow.reply, flow);
    }
    let sockets = ground.snapshot.sockets.iter().flatten().filter(|socket| socket.protocol == Protocol::Tcp);
    let by_ends = sockets.filter_map(|socket| Some(((socket.local, socket.peer?), socket.inode))).collect();
    let mut found = Vec::new();
    let (moved, plain): (Vec<&Flow>, Vec<&Flow>) = stalled.into_iter().partition(|flow| is_rewritten(flow));
    for flow in moved {
        let ((from, dialled), (went, answered)) = (flow.original, flow.reply);
        let partner = holders.get(&(went, from)).filter(|other| other.id != flow.id);
        let clash = partner.map_or_else(
            || "in place of one that is gone, or by a rule that changes sources".to_owned(),
            |other| {
                format!(
                    "because it clashes with the one to {} ({})",
                    other.original.1,
                    other.state.as_deref().unwrap_or("no state")
                )
            },
        );
        found.push(Observation {
            kind: Kind::Stalled,
            words: format!(
                "The handshake of {from} with {dialled}, redirected to {went}, waits for an answer: the kernel gave it the source \
                 port {} instead of {}, {clash}.",
                answered.port, from.port,
            ),
            connections: inodes(&by_ends, flow),
            flows: std::iter::once(flow.id).chain(partner.map(|other| other.id)).collect(),
        });
    }
    found.truncate(MOST);
    // One by itself may be on its way just now.
    if plain.len() >= 3 {
        let ports = names::list(plain.iter().map(|flow| flow.reply.0));
        found.push(Observation {
            kind: Kind::Stalled,
            words: format!(
                "{} with {ports}, where rules redirect to, wait for an answer; their source ports are their own.",
                names::count(plain.len(), "handshake", "handshakes"),
            ),
            connections: plain.iter().flat_map(|flow| inodes(&by_ends, flow)).collect(),
            flows: plain.iter().map(|flow| flow.id).collect(),
        });
    }
    found
}

/// Observations of one kind before it is enough.
const MOST: usize = 10;

/// The sockets here at either end of an entry.
fn inodes(by_ends: &HashMap<(Endpoint, Endpoint), u32>, flow: &Flow) -> Vec<u32> {
    let ends = [flow.original, flow.reply];
    ends.iter().filter_map(|(local, peer)| by_ends.get(&(*local, *peer)).copied()).collect()
}

/// Why a query has two entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Cause {
    /// The answers are tracked in another zone (RDR503).
    Zone(u16, u16),
    /// The answers come from another address than the one redirected to, so that nothing translates them back (RDR507, K20).
    Source(Endpoint, Endpoint),
}

/// Queries over UDP with two entries, each the mirror of the other and neither answered.
pub(super) fn mirrored(ground: &Ground<'_>) -> Vec<Observation> {
    let lonely = |flow: &&Flow| flow.protocol == Protocol::Udp && unanswered(flow);
    let lonely: Vec<&Flow> = ground.snapshot.flows.iter().flatten().filter(lonely).collect();
    // Queries by who asks and by the port that the answer comes from.
    let mut asked: HashMap<(Endpoint, u16), Vec<&Flow>> = HashMap::new();
    for flow in &lonely {
        asked.entry((flow.reply.1, flow.reply.0.port)).or_default().push(flow);
    }
    let mut pairs: HashMap<Cause, Vec<(&Flow, &Flow)>> = HashMap::new();
    for answer in &lonely {
        let (from, to) = answer.original;
        // Two machines may ask each other: only one of the two is the query, the one with the greater port.
        let queries = asked.get(&(to, from.port)).into_iter().flatten();
        for query in queries.filter(|query| query.id != answer.id && query.original.0.port > query.original.1.port) {
            let cause = if query.reply.0 != from {
                Cause::Source(query.reply.0, from)
            } else if zones(query) != zones(answer) {
                Cause::Zone(zones(query), zones(answer))
            } else {
                continue;
            };
            pairs.entry(cause).or_default().push((query, answer));
        }
    }
    let mut pairs: Vec<_> = pairs.into_iter().collect();
    pairs.sort_by_key(|(cause, _)| *cause);
    pairs.truncate(MOST);
    pairs.into_iter().map(|(cause, pairs)| mirror(ground, cause, &pairs)).collect()
}

/// The zone that the entry's first packet was in.
fn zones(flow: &Flow) -> u16 {
    flow.details.original.zone.unwrap_or(flow.zone)
}

fn mirror(ground: &Ground<'_>, cause: Cause, pairs: &[(&Flow, &Flow)]) -> Observation {
    let many = names::count(pairs.len(), "query", "queries");
    let asked = names::list(pairs.iter().map(|(query, _)| query.original.1));
    let has = if pairs.len() == 1 { "has" } else { "have" };
    let why = match cause {
        Cause::Source(expected, from) => {
            let who = ground.waits_on(Protocol::Udp, expected.port).next();
            let who = who.map_or_else(
                || "what answers".to_owned(),
                |(socket, process)| format!("{}, which waits at {},", names::process(process), socket.local),
            );
            format!("{who} answers from {from} and not from {expected}, and nothing translates that back.")
        }
        Cause::Zone(query, answer) => {
            format!("queries are tracked in zone {query}, answers in zone {answer}: look at the rules that set zones.")
        }
    };
    Observation {
        kind: Kind::Mirrored,
        words: format!("{many} over UDP to {asked} {has} two entries each, neither answered: {why}"),
        connections: Vec::new(),
        flows: pairs.iter().flat_map(|(query, answer)| [query.id, answer.id]).collect(),
    }
}
