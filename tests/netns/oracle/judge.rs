//! What the kernel did to a packet, beside what was said of it.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};

use nslens::analysis::trace::{Outcome, Trace, Tracer, Verdict};
use nslens::model::{Body, Protocol, RuleRef, Ruleset};
use nslens::nft::Expression;
use nslens::packet::{Known, Packet};

use crate::traffic::{Arrived, Place, Receiver, Told};

/// What the kernel did.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) arrived: Arrived,
    /// Rules that counted something meanwhile.
    pub(super) moved: BTreeSet<RuleRef>,
    pub(super) protocol: Protocol,
}

/// How many packets each rule has counted, of those that count.
pub(super) fn counters(rulesets: &[Ruleset]) -> HashMap<RuleRef, u64> {
    let mut found = HashMap::new();
    for ruleset in rulesets {
        for table in &ruleset.tables {
            for chain in &table.chains {
                for (at, rule) in chain.rules.iter().enumerate() {
                    let native = match &rule.body {
                        Body::Nft(native) => native.expressions.iter().find_map(|part| match part {
                            Expression::Counter { packets, .. } => Some(*packets),
                            _ => None,
                        }),
                        Body::Xt(_) => None,
                    };
                    let Some(count) = rule.counters.map(|counters| counters.packets).or(native) else { continue };
                    let name = RuleRef {
                        backend: ruleset.backend,
                        family: ruleset.family,
                        table: table.name.clone(),
                        chain: chain.name.clone(),
                        number: at + 1,
                    };
                    found.insert(name, count);
                }
            }
        }
    }
    found
}

/// Those that have counted more than before.
pub(super) fn moved(before: &HashMap<RuleRef, u64>, after: &HashMap<RuleRef, u64>) -> BTreeSet<RuleRef> {
    after.iter().filter(|(name, count)| before.get(name) != Some(count)).map(|(name, _)| name.clone()).collect()
}

impl Seen {
    /// What became of it, in a word or two.
    pub(super) fn words(&self, receivers: &[Receiver]) -> String {
        let Arrived { by, wire, told, source, refused, complaints, requests, .. } = &self.arrived;
        let mut words: Vec<String> = Vec::new();
        for one in by {
            let receiver = &receivers[one.receiver];
            words.push(format!(
                "delivered in {:?} to {:?} {} (inode {}): local {:?} peer {} original {:?}",
                receiver.place, receiver.protocol, receiver.at, receiver.inode, one.local, one.peer, one.original
            ));
        }
        words.extend(wire.iter().map(|frame| format!("sent {} -> {}", frame.source, frame.destination)));
        words.extend(requests.iter().map(|(local, peer)| format!("a request from {peer} at {local}")));
        if self.arrived.unanswered > 0 {
            words.push("unanswered".to_owned());
        }
        if *refused > 0 {
            words.push("refused".to_owned());
        }
        if words.is_empty() {
            words.push("gone".to_owned());
        }
        let moved: Vec<String> = self.moved.iter().map(ToString::to_string).collect();
        format!(
            "{}; sender told {told:?}, was {source:?}, errors meant {complaints}\n    counted: {}",
            words.join(", "),
            moved.join(", ")
        )
    }

    /// Something was seen that such an end leaves behind, not only nothing of another's.
    pub(super) fn shows(&self, verdict: Verdict) -> bool {
        let Arrived { by, requests, complaints, told, .. } = &self.arrived;
        match verdict {
            Verdict::Delivered => !by.is_empty() || !requests.is_empty() || self.arrived.abandoned > 0,
            Verdict::Rejected => *complaints > 0 || matches!(told, Told::Error(_)),
            _ => true,
        }
    }

    /// Only the one packet itself passed the rules: no reply, no message of an error.
    fn is_single(&self) -> bool {
        let Arrived { by, refused, complaints, told, requests, .. } = &self.arrived;
        let answered = match self.protocol {
            Protocol::Tcp => !by.is_empty() || !requests.is_empty() || matches!(told, Told::Connected),
            _ => false,
        };
        !answered && *refused == 0 && *complaints == 0 && !matches!(told, Told::Error(nix::errno::Errno::ECONNREFUSED))
    }
}

/// An outcome in words.
pub(super) fn told(tracer: &Tracer<'_>, outcome: &Outcome<'_>) -> String {
    let Packet { source, destination, source_port, destination_port, .. } = &outcome.packet;
    let (sure, unsure) = matched(tracer, outcome);
    let words = |names: BTreeSet<RuleRef>| names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let receivers: Vec<String> = outcome
        .receivers
        .iter()
        .map(|one| format!("{:?}:{} inode {}", one.local.address, one.local.port, one.inode))
        .collect();
    format!(
        "{} ({source:?} {source_port:?} -> {destination:?} {destination_port:?}) to {receivers:?} by {} lost {:?} why {:?}\n    matched: {}; perhaps: {}",
        outcome.verdict.word(),
        outcome.rule.as_ref().map_or("-".to_owned(), ToString::to_string),
        outcome.lost,
        outcome.why,
        words(sure),
        words(unsure)
    )
}

/// Rules of a way: those that matched; and those of which that is not known, or that were met behind such a one.
fn matched(tracer: &Tracer<'_>, outcome: &Outcome<'_>) -> (BTreeSet<RuleRef>, BTreeSet<RuleRef>) {
    let (mut sure, mut unsure) = (BTreeSet::new(), BTreeSet::new());
    let mut doubtful = false;
    for met in &outcome.met {
        let Some(name) = tracer.rules().at(met.place).and_then(|at| at.name()) else { continue };
        // Where it makes no difference whether a rule matches, the way goes on as if it did not.
        doubtful |= met.supposed && met.matched;
        match met.matched {
            true if !doubtful => sure.insert(name),
            true => unsure.insert(name),
            false => met.supposed && unsure.insert(name),
        };
    }
    unsure.retain(|name| !sure.contains(name));
    (sure, unsure)
}

/// What of an outcome is not what the kernel did; empty where all is.
pub(super) fn against(
    (tracer, outcome): (&Tracer<'_>, &Outcome<'_>),
    seen: &Seen,
    receivers: &[Receiver],
    (counting, strict): (&HashMap<RuleRef, u64>, bool),
) -> Vec<&'static str> {
    let mut wrong = Vec::new();
    let Arrived { by, wire, refused, complaints, told, requests, .. } = &seen.arrived;
    let here: Vec<_> = by.iter().filter(|one| receivers[one.receiver].place == Place::Pod).collect();
    let gone = here.is_empty() && wire.is_empty() && requests.is_empty() && seen.arrived.unanswered == 0;
    match outcome.verdict {
        Verdict::Delivered => match here.as_slice() {
            [one] => {
                let inode = receivers[one.receiver].inode;
                if outcome.receivers.iter().all(|socket| u64::from(socket.inode) != inode) {
                    wrong.push("receiver");
                }
                let local = one
                    .local
                    .is_none_or(|local| is_end(local, &outcome.packet.destination, &outcome.packet.destination_port));
                if !local {
                    wrong.push("destination");
                }
                if !is_end(one.peer, &outcome.packet.source, &outcome.packet.source_port) {
                    wrong.push("source");
                }
            }
            // A listener got it, and its answer did not come through.
            [] if requests.iter().any(|(local, peer)| {
                is_end(*local, &outcome.packet.destination, &outcome.packet.destination_port)
                    && is_end(*peer, &outcome.packet.source, &outcome.packet.source_port)
            }) => {}
            // Or came through as somebody else's, and was reset: its rules made it an untracked one.
            [] if seen.protocol == Protocol::Tcp && seen.arrived.abandoned > 0 => {}
            // So it is where the listener finds no way back.
            [] if seen.arrived.unanswered > 0 && *refused == 0 => {}
            // Or where rules end its answer, which they count.
            [] if seen.protocol == Protocol::Tcp && *refused == 0 && gone && {
                let (sure, unsure) = matched(tracer, outcome);
                seen.moved.iter().any(|name| !sure.contains(name) && !unsure.contains(name))
            } => {}
            _ => wrong.push("delivered"),
        },
        Verdict::Sent => match wire.as_slice() {
            [frame] if here.is_empty() => {
                if !is_end(frame.destination, &outcome.packet.destination, &outcome.packet.destination_port) {
                    wrong.push("destination");
                }
                if !is_end(frame.source, &outcome.packet.source, &outcome.packet.source_port) {
                    wrong.push("source");
                }
            }
            _ => wrong.push("sent"),
        },
        Verdict::Refused if !gone || *refused == 0 => wrong.push("refused"),
        // A listener that cannot answer lets the request go.
        Verdict::Dropped if seen.protocol == Protocol::Tcp && seen.arrived.unanswered > 0 && here.is_empty() => {}
        Verdict::Dropped if !gone || *refused != 0 || *complaints != 0 => wrong.push("dropped"),
        Verdict::Rejected if !gone || *refused != 0 => wrong.push("rejected"),
        // Who lost nothing is told nothing; the message to others may be lost itself.
        Verdict::Rejected if *complaints == 0 && *told == Told::Nothing && outcome.rule.is_none() => {
            wrong.push("rejected without a word");
        }
        Verdict::Undecided => wrong.push("undecided"),
        _ => {}
    }
    if !wrong.is_empty() {
        return wrong;
    }
    let counts = |names: BTreeSet<RuleRef>| -> BTreeSet<RuleRef> {
        names.into_iter().filter(|name| counting.contains_key(name)).collect()
    };
    // Where chains may stand in several orders that lead to the same end, the rules told are those of one of them.
    if !strict {
        return wrong;
    }
    let (said, unsure) = matched(tracer, outcome);
    let (said, unsure) = (counts(said), counts(unsure));
    // Replies, resets and messages of errors count, too, where there are some; and behind a doubt there may be others.
    let reset = outcome.verdict == Verdict::Rejected && seen.protocol == Protocol::Tcp;
    // So does the answer to who opens a connection, also one that is not let through.
    let answered = outcome.verdict == Verdict::Delivered && seen.protocol == Protocol::Tcp;
    let exact = seen.is_single() && !reset && !answered && unsure.is_empty();
    if !said.is_subset(&seen.moved) || exact && said != seen.moved {
        wrong.push("counters");
    }
    if !unsure.is_empty() {
        wrong.push("undecided match");
    }
    if let Some(rule) = &outcome.rule
        && counting.contains_key(rule)
        && unsure.is_empty()
        && !seen.moved.contains(rule)
    {
        wrong.push("deciding rule");
    }
    wrong
}

/// Whether an end is that which was said, as far as something was.
fn is_end(real: SocketAddr, address: &Known<IpAddr>, port: &Known<u16>) -> bool {
    let address = match address {
        Known::Is(address) => *address == real.ip(),
        _ => true,
    };
    let port = match port {
        Known::Is(port) => *port == real.port(),
        _ => true,
    };
    address && port
}

/// What was dialled is what the receiver is told was dialled, where its connection is tracked and translated.
pub(super) fn original_is(trace: &Trace<'_>, seen: &Seen) -> bool {
    let told = seen.arrived.by.iter().filter_map(|one| one.original);
    told.into_iter().all(|original| is_end(original, &trace.packet.destination, &trace.packet.destination_port))
}

/// An end is not known although something arrived there.
pub(super) fn leaves_ends_open(outcome: &Outcome<'_>) -> bool {
    let Packet { source, destination, source_port, destination_port, .. } = &outcome.packet;
    let open = *source == Known::Unknown
        || *destination == Known::Unknown
        || *source_port == Known::Unknown
        || *destination_port == Known::Unknown;
    open && matches!(outcome.verdict, Verdict::Delivered | Verdict::Sent)
}
