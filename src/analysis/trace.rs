//! `trace`: where one packet goes and why, over a snapshot alone.
//!
//! It asks the evaluator for every way that the packet may take, and the sockets of the snapshot who receives it. What is not told
//! of the packet is worked out from the snapshot, or stays unknown: then every answer is followed.

pub mod asked;
mod beginning;
mod follow;
mod identity;
pub(super) mod receiver;
mod sender;
pub mod why;

use std::cell::OnceCell;
use std::net::IpAddr;

pub use beginning::Assumed;
pub use follow::{Followed, Step, Stop};
pub use identity::{Candidate, Identity, IdentityError};
use receiver::{Receivers, Waiting};
use sender::Sender;

use super::eval::{Doubt, End, Gone, Ground, Path, Place, Routed, Rulebase, Taken};
use super::routes::Kind;
use crate::model::{Endpoint, Protocol, RuleRef, Snapshot, Socket, SocketState};
use crate::packet::{DeviceName, Known, Packet};

/// What is open where a socket cannot be told to be transparent.
const ANSWER: &str = "whether the socket that waits is transparent: only such a one can answer for an address that is not the workload's";

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
    /// Type of ICMP or ICMPv6; an echo request where it is not told.
    pub icmp: Option<u8>,
    /// State of its tracking, a bit of [`state`]; `None`: that of the tracked connection that has just these ends, else new.
    pub state: Option<u32>,
}

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
            icmp: None,
            state: None,
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
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Delivered, Self::Refused, Self::Sent, Self::Dropped, Self::Rejected, Self::Undecided];

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
    /// A rule has given it to a transparent socket, with its ends as they are.
    pub taken: bool,
    /// What it met on this way.
    pub met: Path,
    /// How it was routed.
    pub routed: Vec<Routed>,
    /// Its route led nowhere.
    pub lost: Option<Kind>,
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
    /// Chains stand at the same priority, in an order that nobody knows (K5): the answer is the same in each, and the rules that are
    /// told are those of one.
    pub same_in_any_order: bool,
    /// What was taken for want of better.
    pub assumed: Vec<Assumed>,
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
    pub(super) snapshot: &'a Snapshot,
    pub(super) rules: Rulebase<'a>,
    pub(super) ground: Option<Ground<'a>>,
    pub(super) receivers: Receivers<'a>,
    /// Strangers of IPv4 and of IPv6, from whom packets come unless it is told.
    strangers: [OnceCell<Option<IpAddr>>; 2],
    /// Who sends packets of which that is not told, once that was asked.
    sender: OnceCell<Option<Sender>>,
}

impl<'a> Tracer<'a> {
    /// Prepares a snapshot.
    #[must_use]
    pub fn of(snapshot: &'a Snapshot) -> Self {
        let (rules, ground, receivers) = (Rulebase::of(snapshot), Ground::of(snapshot), Receivers::of(snapshot));
        Self { snapshot, rules, ground, receivers, strangers: Default::default(), sender: OnceCell::new() }
    }

    /// The rules that are asked.
    #[must_use]
    pub fn rules(&self) -> &Rulebase<'a> {
        &self.rules
    }

    /// Where this packet goes.
    #[must_use]
    pub fn trace(&self, question: &Question) -> Trace<'a> {
        let (start, assumed) = self.start(question);
        let every = self.rules.every_way(&start, self.ground.as_ref(), Some(&self.receivers));
        let name = |by: Place| self.rules.at(by).and_then(|at| at.name());
        let packet = Packet { source: beginning::source(&start, &every), ..start.packet };
        let outcomes = every.ways.into_iter().map(|gone| {
            let (verdict, rule, receivers, why) = match (&gone.end, gone.lost) {
                (_, Some(kind)) => (refusal(kind, gone.unsent), None, Vec::new(), None),
                (End::Dropped { by }, _) => (self.stopped(*by), by.and_then(name), Vec::new(), None),
                (End::Undecided { because }, _) => (Verdict::Undecided, None, Vec::new(), Some(because.clone())),
                (End::Untouched { by }, _) => self.arrived(&gone.packet, gone.comes_in, None, by.and_then(name)),
                (End::Redirected { by, .. }, _) => self.arrived(&gone.packet, gone.comes_in, gone.taken, name(*by)),
            };
            let taken = gone.taken.is_some();
            let Gone { packet, met, routed, lost, hangs_on, .. } = gone;
            Outcome { verdict, packet, rule, receivers, taken, met, routed, lost, hangs_on, why }
        });
        Trace {
            packet,
            outcomes: outcomes.collect(),
            doubts: every.doubts,
            same_in_any_order: every.same_in_any_order,
            assumed,
        }
    }

    /// What a packet is that passed all its hooks.
    pub(super) fn arrived(
        &self,
        packet: &Packet,
        comes_in: bool,
        taken: Option<Taken>,
        rule: Option<RuleRef>,
    ) -> (Verdict, Option<RuleRef>, Vec<&'a Socket>, Option<String>) {
        if !comes_in {
            return (Verdict::Sent, rule, Vec::new(), None);
        }
        match self.receivers.of_packet(packet, taken) {
            Waiting::These(sockets) => match self.can_answer(packet, &sockets) {
                Some(false) => (Verdict::Dropped, rule, Vec::new(), None),
                None => (Verdict::Undecided, rule, Vec::new(), Some(ANSWER.to_owned())),
                Some(true) => (Verdict::Delivered, rule, sockets, None),
            },
            Waiting::Kernel => (Verdict::Delivered, rule, Vec::new(), None),
            Waiting::Nobody => (Verdict::Refused, rule, Vec::new(), None),
            Waiting::Silent => (Verdict::Dropped, rule, Vec::new(), None),
            Waiting::Unknown(why) => (Verdict::Undecided, rule, Vec::new(), Some(why.to_owned())),
        }
    }

    /// Whether one that waits can answer a packet of IPv4 that opens a connection: the answer's source is the packet's destination, and
    /// where that is no own address only transparent sockets may send so (`inet_csk_route_req`).
    fn can_answer(&self, packet: &Packet, sockets: &[&Socket]) -> Option<bool> {
        let (Known::Is(IpAddr::V4(address)), Some(ground)) = (packet.destination, &self.ground) else {
            return Some(true);
        };
        if packet.protocol != Known::Is(6) || ground.is_own(address.into()) {
            return Some(true);
        }
        let mut may = sockets.iter().map(|socket| match socket.state {
            SocketState::Listen => socket.details.transparent,
            _ => Some(true),
        });
        let first = may.next()??;
        may.all(|other| other == Some(first)).then_some(first)
    }

    /// A rule that ends a packet says so to its sender, or does not.
    pub(super) fn stopped(&self, by: Option<Place>) -> Verdict {
        if by.is_some_and(|by| self.rules.rejects(by)) { Verdict::Rejected } else { Verdict::Dropped }
    }
}

/// What becomes of a packet whose route leads nowhere: its program is told, or whoever sent it from outside where a route says so.
pub(super) fn refusal(kind: Kind, unsent: bool) -> Verdict {
    match kind {
        _ if unsent => Verdict::Rejected,
        Kind::Unreachable | Kind::Prohibit | Kind::NoRoute => Verdict::Rejected,
        _ => Verdict::Dropped,
    }
}
