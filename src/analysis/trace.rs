//! `trace`: where one packet goes and why, over a snapshot alone.
//!
//! It asks the evaluator for every way that the packet may take, and the sockets of the snapshot who receives it. What is not told
//! of the packet is worked out from the snapshot, or stays unknown: then every answer is followed.

pub mod asked;
mod receiver;
pub mod why;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use receiver::{Receivers, Waiting};

use super::eval::{Doubt, End, Met, Rulebase};
use crate::model::{Body, Endpoint, Hook, Interface, Protocol, RuleRef, Snapshot, Socket};
use crate::packet::{DeviceName, Known, Packet};
use crate::xt::{Action, Target};

/// What is asked about: the first packet of a connection, unless its state says otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// It comes from outside; else a process of the namespace sends it.
    pub incoming: bool,
    /// Transport protocol.
    pub protocol: Protocol,
    /// Source address; worked out where it is not told.
    pub source: Option<IpAddr>,
    /// Source port.
    pub source_port: Option<u16>,
    /// Where it is sent.
    pub destination: Endpoint,
    /// User of the sending socket, as the namespace's owner counts.
    pub uid: Option<u32>,
    /// Group of the sending socket.
    pub gid: Option<u32>,
    /// Further groups of the process that opened the socket.
    pub groups: Option<Vec<u32>>,
    /// Mark of the sending socket, or of the packet where it comes in; 0 where it is not told.
    pub mark: u32,
    /// Device by which it comes in or leaves; worked out where it is not told.
    pub interface: Option<DeviceName>,
    /// `XT_CONNTRACK_STATE_*` bit of its tracking.
    pub state: u32,
}

/// The bit of a new connection (`XT_CONNTRACK_STATE_BIT(IP_CT_NEW)`).
pub const NEW: u32 = 1 << 3;

impl Question {
    /// The first packet of a TCP connection that a process of the namespace, nobody knows whose, opens to there.
    #[must_use]
    pub fn to(destination: Endpoint) -> Self {
        Self {
            incoming: false,
            protocol: Protocol::Tcp,
            source: None,
            source_port: None,
            destination,
            uid: None,
            gid: None,
            groups: None,
            mark: 0,
            interface: None,
            state: NEW,
        }
    }
}

/// What becomes of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// A socket of the namespace gets it.
    Delivered,
    /// It is for the namespace, and nobody waits.
    Refused,
    /// It leaves.
    Sent,
    /// It is no more, and nobody is told.
    Dropped,
    /// It is no more, and its sender is told.
    Rejected,
    /// Cannot be told.
    Undecided,
}

impl Verdict {
    /// The word that stands for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Refused => "refused",
            Self::Sent => "sent",
            Self::Dropped => "dropped",
            Self::Rejected => "rejected",
            Self::Undecided => "undecided",
        }
    }
}

/// One end that the packet may have.
#[derive(Debug, Clone)]
pub struct Outcome<'a> {
    /// What becomes of it.
    pub verdict: Verdict,
    /// The packet as it then is.
    pub packet: Packet,
    /// The rule that decided: the one that sends it elsewhere, that ends it, or that takes it out of a chain that redirects.
    pub rule: Option<RuleRef>,
    /// The sockets one of which gets it.
    pub receivers: Vec<&'a Socket>,
    /// What it met on this way.
    pub met: Vec<Met>,
    /// What it hangs on: places in [`Trace::doubts`], and whether that holds.
    pub hangs_on: Vec<(usize, bool)>,
    /// Why nothing can be told, where that is so.
    pub why: Option<String>,
}

/// The answer.
#[derive(Debug, Clone)]
pub struct Trace<'a> {
    /// The packet as it was asked about.
    pub packet: Packet,
    /// Every end that it may have; one where all is known.
    pub outcomes: Vec<Outcome<'a>>,
    /// What is not known and makes a difference.
    pub doubts: Vec<Doubt>,
}

impl Trace<'_> {
    /// What becomes of it, whichever of the outcomes it is.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        match self.outcomes.as_slice() {
            [only] => only.verdict,
            _ => Verdict::Undecided,
        }
    }
}

/// A port by its number or by the name of its service.
#[must_use]
pub fn port(text: &str) -> Option<u16> {
    text.parse().ok().or_else(|| crate::xt::service(text))
}

/// A snapshot, prepared for many packets.
#[derive(Debug)]
pub struct Tracer<'a> {
    snapshot: &'a Snapshot,
    rules: Rulebase<'a>,
    receivers: Receivers<'a>,
}

impl<'a> Tracer<'a> {
    /// Prepares a snapshot.
    #[must_use]
    pub fn of(snapshot: &'a Snapshot) -> Self {
        Self { snapshot, rules: Rulebase::of(snapshot), receivers: Receivers::of(snapshot) }
    }

    /// The rules that are asked.
    #[must_use]
    pub fn rules(&self) -> &Rulebase<'a> {
        &self.rules
    }

    /// Where this packet goes.
    #[must_use]
    pub fn trace(&self, question: &Question) -> Trace<'a> {
        const OUT: [Hook; 6] =
            [Hook::Output, Hook::Postrouting, Hook::Egress, Hook::Ingress, Hook::Prerouting, Hook::Input];
        const IN: [Hook; 3] = [Hook::Ingress, Hook::Prerouting, Hook::Input];
        let packet = self.packet(question);
        let hooks: &[Hook] = if question.incoming { &IN } else { &OUT };
        let every = self.rules.every_way(hooks, &packet, question.destination.address.is_ipv6());
        let outcomes = every.ways.into_iter().map(|gone| {
            let (verdict, rule, receivers, why) = match &gone.end {
                End::Dropped { by } => (self.stopped(by.as_ref()), by.clone(), Vec::new(), None),
                End::Undecided { because } => (Verdict::Undecided, None, Vec::new(), Some(because.clone())),
                End::Untouched { by } => self.arrived(&gone.packet, gone.comes_in, None, by.clone()),
                End::Redirected { by, to } => {
                    let taken = gone.taken.map(|_| to.port);
                    self.arrived(&gone.packet, gone.comes_in, taken, Some(by.clone()))
                }
            };
            Outcome { verdict, packet: gone.packet, rule, receivers, met: gone.met, hangs_on: gone.hangs_on, why }
        });
        Trace { packet, outcomes: outcomes.collect(), doubts: every.doubts }
    }

    /// What a packet is that passed all its hooks.
    fn arrived(
        &self,
        packet: &Packet,
        comes_in: bool,
        taken: Option<Option<u16>>,
        rule: Option<RuleRef>,
    ) -> (Verdict, Option<RuleRef>, Vec<&'a Socket>, Option<String>) {
        if !comes_in {
            return (Verdict::Sent, rule, Vec::new(), None);
        }
        match self.receivers.of_packet(packet, taken) {
            Waiting::These(sockets) => (Verdict::Delivered, rule, sockets, None),
            Waiting::Nobody if taken.is_some() => (Verdict::Dropped, rule, Vec::new(), None),
            Waiting::Nobody => (Verdict::Refused, rule, Vec::new(), None),
            Waiting::Unknown(why) => (Verdict::Undecided, rule, Vec::new(), Some(why.to_owned())),
        }
    }

    /// A rule that ends a packet says so to its sender, or does not.
    fn stopped(&self, by: Option<&RuleRef>) -> Verdict {
        let found = by.and_then(|by| super::eval::find(self.snapshot.rulesets(), by));
        let Some((table, rule)) = found else { return Verdict::Dropped };
        let family = by.map_or(crate::model::Family::Inet, |by| by.family);
        let rejects = |action: &Action| matches!(action, Action::Target(Target::Reject(_)));
        let body = match &rule.body {
            Body::Xt(body) => rejects(&body.action),
            _ => super::native::reading(family, table, rule).is_some_and(|reading| rejects(&reading.rule.action)),
        };
        if body { Verdict::Rejected } else { Verdict::Dropped }
    }

    /// The packet that is asked about, with what the snapshot tells of it.
    fn packet(&self, question: &Question) -> Packet {
        let destination = question.destination.address;
        let local = self.snapshot.is_local(destination);
        let interfaces = || self.snapshot.interfaces.iter().flatten();
        let ipv6 = destination.is_ipv6();
        let other = |interface: &&Interface| !interface.loopback && interface.up;
        let only = {
            let mut others = interfaces().filter(other);
            others.next().filter(|_| others.next().is_none())
        };
        let own = |interface: &Interface| {
            interface.addresses.iter().map(|(address, _)| *address).find(|address| address.is_ipv6() == ipv6)
        };
        let source = question.source.or_else(|| match (question.incoming, local) {
            (true, _) => None,
            (false, true) if destination.is_loopback() && ipv6 => Some(Ipv6Addr::LOCALHOST.into()),
            // The source towards any of 127/8 is the first of it (K30).
            (false, true) if destination.is_loopback() => Some(Ipv4Addr::LOCALHOST.into()),
            (false, true) => Some(destination),
            (false, false) => only.and_then(own),
        });
        let named = |interface: Option<&Interface>| {
            let told = question.interface.or_else(|| DeviceName::new(&interface?.name));
            Known::from_option(told)
        };
        let loopback = || interfaces().find(|interface| interface.loopback);
        let holds = |interface: &&Interface| interface.addresses.iter().any(|(address, _)| *address == destination);
        let owner = |id: Option<u32>| if question.incoming { Known::Absent } else { Known::from_option(id) };
        Packet {
            protocol: Known::Is(question.protocol.number()),
            source: Known::from_option(source),
            destination: Known::Is(destination),
            source_local: Known::from_option(source.map(|source| self.snapshot.is_local(source))),
            destination_local: if self.snapshot.interfaces.is_some() { Known::Is(local) } else { Known::Unknown },
            source_port: Known::from_option(question.source_port),
            destination_port: Known::Is(question.destination.port),
            input: match (question.incoming, local) {
                (false, _) => Known::Absent,
                (true, _) => named(only.or_else(|| interfaces().find(holds))),
            },
            output: match (question.incoming, local) {
                (true, _) => Known::Absent,
                (false, true) => named(loopback()),
                (false, false) => named(only),
            },
            uid: owner(question.uid),
            gid: owner(question.gid),
            mark: Known::Is(question.mark),
            connection_mark: Known::Is(0),
            state: Known::Is(question.state),
            ..Packet::default()
        }
    }
}
