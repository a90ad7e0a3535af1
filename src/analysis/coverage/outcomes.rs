//! What becomes of packets that went the same way, each part of them that the sockets of the namespace tell apart.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;

use crate::analysis::diagram::Set;
use crate::analysis::eval::flood::{Form, Reach, Sets, address};
use crate::analysis::eval::{End, Place};
use crate::analysis::trace::{Tracer, Verdict, refusal};
use crate::model::{RuleRef, Socket};
use crate::packet::{DeviceName, Field, Known, state};

/// What an end of a packet is at last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Becomes<T> {
    /// What it was.
    Stays,
    /// This.
    Is(T),
    /// The same place in another network: bits that are kept, and the network.
    Moved(T, T),
    /// One of several, or not known.
    Open,
}

/// What becomes of packets.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome<'a> {
    /// In one word.
    pub verdict: Verdict,
    /// The rule that decided.
    pub rule: Option<RuleRef>,
    /// Their destination address.
    pub destination: Becomes<IpAddr>,
    /// Their destination port.
    pub port: Becomes<u16>,
    /// Their source address. Where the namespace sends them it is at first what the route gives them.
    pub source: Becomes<IpAddr>,
    /// Their source port.
    pub source_port: Becomes<u16>,
    /// The device by which they leave.
    pub interface: Option<DeviceName>,
    /// The sockets one of which gets them.
    pub receivers: Vec<&'a Socket>,
    /// A rule gives them to a transparent socket, with their ends as they are.
    pub taken: bool,
    /// Why nothing can be told, where that is so.
    pub why: Option<String>,
    /// No rule sends them elsewhere or ends them.
    pub(in crate::analysis) left_alone: bool,
}

impl Outcome<'_> {
    /// Whether both are the same for the packet, whichever rule decided it.
    #[must_use]
    pub fn alike(&self, other: &Self) -> bool {
        let of = |one: &Self| {
            (one.verdict, one.destination, one.port, one.source, one.source_port, one.interface, one.taken)
        };
        of(self) == of(other) && self.receivers == other.receivers && self.why == other.why
    }

    /// What finds it among many.
    pub(super) fn key(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.verdict, self.destination, self.port, self.source, self.interface).hash(&mut hasher);
        self.rule.as_ref().map(|rule| (&rule.table, &rule.chain, rule.number)).hash(&mut hasher);
        hasher.finish()
    }
}

/// Whether it is only open who takes a packet that is for the workload: of rules alone nobody expects to be told, and of protocols
/// without ports it is not known.
#[must_use]
pub fn is_about_takers(why: &str) -> bool {
    ["which sockets wait", "who takes packets of this protocol"].contains(&why)
}

/// The parts of what was reached, each with what becomes of it.
pub(super) fn of_reach<'a>(tracer: &Tracer<'a>, sets: &mut Sets, reach: &Reach) -> Vec<(Set, Outcome<'a>)> {
    let name = |by: Place| tracer.rules.at(by).and_then(|at| at.name());
    let outcome = outcome(tracer, reach, sets);
    let done = |verdict, rule, why| vec![(reach.space, Outcome { verdict, rule, why, ..outcome.clone() })];
    let rule = match (&reach.end, reach.lost) {
        (_, Some(kind)) => return done(refusal(kind, reach.unsent), None, None),
        (End::Dropped { by }, _) => return done(tracer.stopped(*by), by.and_then(name), None),
        (End::Undecided { because }, _) => return done(Verdict::Undecided, None, Some(because.clone())),
        (End::Untouched { by }, _) => by.and_then(name),
        (End::Redirected { by, .. }, _) => name(*by),
    };
    if !reach.comes_in {
        let interface = match reach.packet.output {
            Known::Is(device) => Some(device),
            _ => None,
        };
        return vec![(reach.space, Outcome { verdict: Verdict::Sent, rule, interface, ..outcome })];
    }
    let taken = reach.taken.filter(|_| matches!(reach.end, End::Redirected { .. }));
    let mut found = Vec::new();
    for space in apart(tracer, sets, reach) {
        let sample = sets.sample(space);
        let mut packet = reach.packet;
        let of = |form: Form| (sample.number(form.of) & form.keep) ^ form.flip;
        let ipv6 = sets.is_ipv6();
        if let Some(form) = reach.forms.destination {
            packet.destination = Known::Is(address(of(form), ipv6));
        }
        if let Some(form) = reach.forms.destination_port {
            packet.destination_port = Known::from_option(u16::try_from(of(form) & 0xffff).ok());
        }
        let (verdict, rule, receivers, why) = tracer.arrived(&packet, true, taken, rule.clone());
        found.push((space, Outcome { verdict, rule, receivers, why, ..outcome.clone() }));
    }
    found
}

/// Parts of packets that sockets do not tell apart.
fn apart(tracer: &Tracer<'_>, sets: &mut Sets, reach: &Reach) -> Vec<Set> {
    let ipv6 = sets.is_ipv6();
    let (addresses, ports) = tracer.receivers.edges(reach.packet.protocol, ipv6, reach.forms.source_port.is_some());
    let mut parts = match (reach.forms.destination, &tracer.ground) {
        (Some(form), Some(ground)) => sets.routed(reach.space, form, ground),
        _ => vec![reach.space],
    };
    for (form, bounds) in [(reach.forms.destination, addresses), (reach.forms.destination_port, ports)] {
        if let Some(form) = form {
            parts = parts.into_iter().flat_map(|part| sets.stretches(part, form, &bounds)).collect();
        }
    }
    parts
}

/// What the packets' ends have become, whatever becomes of them.
fn outcome<'a>(tracer: &Tracer<'a>, reach: &Reach, sets: &Sets) -> Outcome<'a> {
    let incoming = reach.incoming;
    let (packet, forms, ipv6) = (&reach.packet, &reach.forms, sets.is_ipv6());
    let end = |form: Option<Form>, own: Field, known: Known<IpAddr>| match (form, known) {
        (Some(Form { of, keep: u128::MAX, .. }), _) if of == own => Becomes::Stays,
        (Some(Form { keep, flip, of }), _) if of == own => Becomes::Moved(address(keep, ipv6), address(flip, ipv6)),
        (None, Known::Is(address)) => Becomes::Is(address),
        _ => Becomes::Open,
    };
    let may = packet.doubtful_states & state::SOURCE_CHANGED != 0;
    let blind = tracer.ground.is_none() && !incoming;
    // Where it was never known, it is not known to be another one.
    let unknown = blind && packet.source == Known::Unknown;
    let given_up = !blind && forms.source.is_none() && packet.source == Known::Unknown;
    let moved =
        !unknown && (may || given_up || matches!(packet.state, Known::Is(state) if state & state::SOURCE_CHANGED != 0));
    let port = |form: Option<Form>, known: Known<u16>| match (form, known) {
        (Some(_), _) | (None, Known::Absent) => Becomes::Stays,
        (None, Known::Is(port)) => Becomes::Is(port),
        _ => Becomes::Open,
    };
    Outcome {
        verdict: Verdict::Undecided,
        rule: None,
        destination: end(forms.destination, Field::Destination, packet.destination),
        port: port(forms.destination_port, packet.destination_port),
        source: if moved { end(forms.source, Field::Source, packet.source) } else { Becomes::Stays },
        source_port: port(forms.source_port, packet.source_port),
        interface: None,
        receivers: Vec::new(),
        taken: reach.taken.is_some(),
        why: None,
        left_alone: matches!(reach.end, End::Untouched { .. }),
    }
}
