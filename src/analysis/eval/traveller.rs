//! A packet on its way: what becomes of it between the hooks and by the targets of rules, and what was decided about it so far.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::super::paths::{is_nat, standing};
use super::{End, Target, headers};
use crate::model::{Chain, Hook, RuleRef};
use crate::packet::{Known, Packet};
use crate::xt::targets::Shift;
use crate::xt::{self, Effect, NatRange, PortRange};

/// Priority at which packets get their tracking, in PREROUTING and OUTPUT (`NF_IP_PRI_CONNTRACK`).
const TRACKING: i32 = -200;
/// `XT_CONNTRACK_STATE_INVALID`: what a packet without tracking has.
const INVALID: u32 = 1;
/// `XT_CONNTRACK_STATE_DNAT`
const DESTINATION_TRANSLATED: u32 = 1 << 7;
/// `XT_CONNTRACK_STATE_UNTRACKED`
const UNTRACKED: u32 = 1 << 8;
const LOOPBACK: &str = "lo";

/// A packet on its way, and what was decided about it so far.
#[derive(Clone)]
pub(super) struct Traveller {
    pub(super) packet: Packet,
    /// The rule that took it out of a chain.
    pub(super) left_by: Option<RuleRef>,
    /// The rule that sends it elsewhere, and where to.
    pub(super) redirected: Option<(RuleRef, Target)>,
    tracking: Tracking,
    /// A nat chain has chosen its source, or left it as it is for good.
    source_bound: bool,
    way: Way,
}

/// How far the packet's tracking is.
#[derive(Clone)]
enum Tracking {
    /// It gets this state and this connection mark when it comes to it.
    Later(Known<u32>, Known<u32>),
    /// It is tracked.
    Done,
    /// It never will be, and so never translated (K9).
    Never,
}

/// Where the packet is between its hooks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// From outside.
    In,
    /// From a socket of the namespace.
    Own,
    /// The same, with its route chosen.
    Leaving,
    /// The same, come in again by loopback.
    Again,
}

/// What a target leaves to be done.
pub(super) enum Outcome {
    /// The packet goes on in its chain.
    Stays,
    /// It goes on in the next base chain.
    Leaves,
    /// That was it.
    Ends(End),
}

impl Traveller {
    /// A packet that starts at its first hook, of a socket of the namespace (`own`) or from outside.
    pub(super) fn new(mut packet: Packet, own: bool) -> Self {
        let state = std::mem::replace(&mut packet.state, Known::Is(INVALID));
        let mark = std::mem::replace(&mut packet.connection_mark, Known::Absent);
        Self {
            packet,
            left_by: None,
            redirected: None,
            tracking: Tracking::Later(state, mark),
            source_bound: false,
            way: if own { Way::Own } else { Way::In },
        }
    }

    /// Brings the packet to a base chain, as it then is; `false` where it does not come there.
    pub(super) fn meets(&mut self, chain: &Chain) -> bool {
        let Some(hook) = chain.hook else { return false };
        match (hook, self.way) {
            // Sent to another machine, it is forwarded.
            (Hook::Input, Way::In) if self.packet.destination_local == Known::Is(false) => return false,
            (Hook::Postrouting | Hook::Egress, Way::Own) => self.leave(),
            // What goes to an address of the namespace itself comes in again.
            (Hook::Ingress | Hook::Prerouting | Hook::Input, Way::Own | Way::Leaving) => {
                if self.packet.destination_local != Known::Is(true) {
                    return false;
                }
                self.come_again();
            }
            _ => {}
        }
        if is_nat(chain) && !self.translates(hook) || !self.on_device(chain, hook) {
            return false;
        }
        let place = standing(chain).0.unwrap_or_default();
        let early = match hook {
            Hook::Prerouting | Hook::Output => place < TRACKING,
            other => other == Hook::Ingress,
        };
        if matches!(hook, Hook::Prerouting | Hook::Output) && place == TRACKING {
            // Of two at the same priority nobody can tell which is the first (K5).
            if matches!(self.tracking, Tracking::Later(..)) {
                (self.packet.state, self.packet.connection_mark) = (Known::Unknown, Known::Unknown);
            }
        } else if !early {
            self.be_tracked();
        }
        true
    }

    fn be_tracked(&mut self) {
        if let Tracking::Later(state, mark) = &self.tracking {
            (self.packet.state, self.packet.connection_mark) = (state.clone(), mark.clone());
            self.tracking = Tracking::Done;
        }
    }

    /// Whether nat chains of a hook are asked: once for the destination, once for the source (K5, K28), and not when the packet
    /// comes in again (K23).
    fn translates(&self, hook: Hook) -> bool {
        let bound = match hook {
            Hook::Prerouting | Hook::Output => self.redirected.is_some(),
            _ => self.source_bound,
        };
        !(bound || self.way == Way::Again || matches!(self.tracking, Tracking::Never))
    }

    fn on_device(&self, chain: &Chain, hook: Hook) -> bool {
        let device = match hook {
            Hook::Ingress => &self.packet.input,
            Hook::Egress => &self.packet.output,
            _ => return true,
        };
        let fits = |bound: &String, own: &String| match bound.strip_suffix('*') {
            Some(beginning) => own.starts_with(beginning),
            None => bound == own,
        };
        match device {
            Known::Is(own) => chain.devices.is_empty() || chain.devices.iter().any(|bound| fits(bound, own)),
            _ => true,
        }
    }

    /// Only now a translated packet has its new device (K21).
    fn leave(&mut self) {
        self.way = Way::Leaving;
        if self.redirected.is_some() {
            let local = self.packet.destination_local == Known::Is(true);
            self.packet.output = if local { Known::Is(LOOPBACK.to_owned()) } else { Known::Unknown };
        }
    }

    /// Mark and tracking stay with a packet on loopback; its socket does not.
    fn come_again(&mut self) {
        self.way = Way::Again;
        self.packet.input = Known::Is(LOOPBACK.to_owned());
        self.packet.output = Known::Absent;
        (self.packet.uid, self.packet.gid) = (Known::Unknown, Known::Unknown);
        (self.packet.input_group, self.packet.output_group) = (Known::Unknown, Known::Absent);
        self.be_tracked();
    }

    /// The two that it may be where nobody knows whether it was sent to this machine or to another.
    pub(super) fn here_and_elsewhere(&self, chain: &Chain) -> Option<[Self; 2]> {
        let unknown = chain.hook == Some(Hook::Input)
            && self.way == Way::In
            && self.redirected.is_some()
            && self.packet.destination_local == Known::Unknown;
        unknown.then(|| {
            [true, false].map(|local| {
                let mut one = self.clone();
                one.packet.destination_local = Known::Is(local);
                one
            })
        })
    }

    /// What a target does to the packet in this base chain.
    pub(super) fn gets(&mut self, target: &xt::Target, chain: &Chain, name: impl Fn() -> RuleRef) -> Outcome {
        let own = chain.hook == Some(Hook::Output);
        let before = self.packet.destination.clone();
        match target.effect() {
            Effect::Redirect(ports) => {
                self.redirect(own, name(), ports);
                Outcome::Leaves
            }
            Effect::Destination(range) => {
                self.redirect(own, name(), self.chosen_ports(&range));
                // Shifted ports hang on the packet's own: what is told is for others, too.
                if let Some((_, to)) = self.redirected.as_mut().filter(|_| range.base.is_some()) {
                    to.port = None;
                }
                if let Some((first, last)) = range.addresses {
                    let address = Some(first).filter(|_| first == last);
                    self.send_to(address);
                    if let Some((_, to)) = &mut self.redirected {
                        to.address = address;
                    }
                }
                Outcome::Leaves
            }
            // The packet stays as it is, and is given to another socket.
            Effect::Transparent { port, mark, mask, .. } => {
                let target = Target { port: Some(port).filter(|port| *port != 0), address: None };
                self.redirected = Some((name(), target));
                self.packet.mark = changed(&self.packet.mark, &Known::Is(mark), mask);
                Outcome::Leaves
            }
            // A source translation, too, is the last word of its table.
            Effect::Source(_) | Effect::OutgoingSource(_) => {
                self.source_bound = true;
                self.translated_anew();
                Outcome::Leaves
            }
            Effect::Network { address, mask } if matches!(chain.hook, Some(Hook::Prerouting | Hook::Output)) => {
                self.redirect(own, name(), None);
                let address = moved(&before, address, mask);
                self.send_to(address);
                if let Some((_, to)) = &mut self.redirected {
                    to.address = address;
                }
                Outcome::Leaves
            }
            Effect::Network { .. } => {
                self.source_bound = true;
                self.translated_anew();
                Outcome::Leaves
            }
            Effect::Prefix { destination: true, .. } => {
                Outcome::Ends(End::Undecided { because: format!("the new prefix that rule {} gives", name()) })
            }
            Effect::Prefix { destination: false, .. } => {
                (self.packet.source, self.packet.source_local) = (Known::Unknown, Known::Unknown);
                Outcome::Stays
            }
            Effect::Stop => Outcome::Ends(End::Dropped { by: Some(name()) }),
            Effect::Untracked => self.lose_tracking(name()),
            Effect::Mark { value, mask } => {
                self.packet.mark = changed(&self.packet.mark, &Known::Is(value), mask);
                Outcome::Stays
            }
            effect @ (Effect::ConnectionMark { .. } | Effect::SavedMark { .. } | Effect::RestoredMark { .. }) => {
                self.work_on_marks(&effect);
                Outcome::Stays
            }
            // By a hash that is not computed here; a packet without what is hashed keeps its mark.
            Effect::HashedMark { .. } => {
                self.packet.mark = Known::Unknown;
                Outcome::Stays
            }
            Effect::Template => {
                // A template is what rules before the tracking take for the tracking itself.
                if matches!(self.tracking, Tracking::Later(..)) {
                    (self.packet.state, self.packet.connection_mark) = (Known::Unknown, Known::Unknown);
                }
                Outcome::Stays
            }
            effect @ (Effect::Hops(_)
            | Effect::TrafficClass { .. }
            | Effect::Congestion { .. }
            | Effect::TcpOptions(_)
            | Effect::SegmentSize(_)) => {
                headers::change(&mut self.packet, &effect);
                Outcome::Stays
            }
            Effect::Class(_) | Effect::Copied(_) | Effect::Continue => Outcome::Stays,
            Effect::Queue { .. } => {
                Outcome::Ends(End::Undecided { because: format!("rule {} asks a program", name()) })
            }
            Effect::AnsweredForServer => {
                Outcome::Ends(End::Undecided { because: format!("rule {} answers in the server's place", name()) })
            }
            Effect::Opaque(what) => Outcome::Ends(End::Undecided { because: format!("{what} in rule {}", name()) }),
        }
    }

    /// Before its tracking a packet can be kept from it, later no more; it goes on in its chain.
    fn lose_tracking(&mut self, by: RuleRef) -> Outcome {
        match (&self.tracking, &self.packet.state) {
            (Tracking::Later(..), Known::Is(_)) => {
                self.tracking = Tracking::Never;
                self.packet.state = Known::Is(UNTRACKED);
                self.left_by = Some(by);
                Outcome::Stays
            }
            (Tracking::Later(..), _) => {
                Outcome::Ends(End::Undecided { because: format!("whether the packet is tracked before rule {by}") })
            }
            _ => Outcome::Stays,
        }
    }

    /// Where there is no connection nothing is done (`xt_connmark.c`, `nft_ct.c`).
    fn work_on_marks(&mut self, effect: &Effect) {
        let Packet { mark, connection_mark, .. } = &mut self.packet;
        if *connection_mark == Known::Absent {
            return;
        }
        if *connection_mark == Known::Unknown {
            // Perhaps there is one.
            if let Effect::RestoredMark { .. } = effect {
                *mark = Known::Unknown;
            } else if let Tracking::Later(_, later) = &mut self.tracking {
                *later = Known::Unknown;
            }
            return;
        }
        match effect {
            Effect::ConnectionMark { value, mask, shift } => {
                *connection_mark = shifted(changed(connection_mark, &Known::Is(*value), *mask), *shift);
            }
            Effect::SavedMark { connection_mask, packet_mask, shift } => {
                let saved = shifted(masked(mark, *packet_mask), *shift);
                *connection_mark = changed(connection_mark, &saved, *connection_mask);
            }
            Effect::RestoredMark { connection_mask, packet_mask, shift } => {
                let restored = shifted(masked(connection_mark, *connection_mask), *shift);
                *mark = changed(mark, &restored, *packet_mask);
            }
            _ => {}
        }
    }

    /// The packet's destination becomes this machine (K2); which of its addresses is known for packets of its `own` only.
    fn redirect(&mut self, own: bool, by: RuleRef, ports: Option<PortRange>) {
        let packet = &mut self.packet;
        packet.destination = match &packet.destination {
            Known::Is(IpAddr::V4(_)) if own => Known::Is(Ipv4Addr::LOCALHOST.into()),
            Known::Is(IpAddr::V6(_)) if own => Known::Is(Ipv6Addr::LOCALHOST.into()),
            _ => Known::Unknown,
        };
        packet.destination_local = Known::Is(true);
        (packet.output_group, packet.realm) = (Known::Unknown, Known::Unknown);
        let port = ports.and_then(one);
        if ports.is_some() {
            packet.destination_port = Known::from_option(port);
        }
        // What comes later sees a translated connection.
        if let Known::Is(state) = &mut packet.state {
            *state |= DESTINATION_TRANSLATED;
        }
        self.redirected = Some((by, Target { port, address: None }));
        self.translated_anew();
    }

    /// What conntrack holds of the replies changes with a translation.
    fn translated_anew(&mut self) {
        let connection = &mut self.packet.connection;
        (connection.reply_source, connection.reply_destination) = (Known::Unknown, Known::Unknown);
        (connection.reply_source_port, connection.reply_destination_port) = (Known::Unknown, Known::Unknown);
        connection.status = Known::Unknown;
    }

    /// The ports among which the packet gets one: where they are shifted, and its own is known, just one.
    fn chosen_ports(&self, range: &NatRange) -> Option<PortRange> {
        let ports = range.ports?;
        let (Some(base), Known::Is(port)) = (range.base, &self.packet.destination_port) else { return Some(ports) };
        let count = u32::from(ports.to.saturating_sub(ports.from)) + 1;
        let offset = u32::from(port.wrapping_sub(base)) % count;
        let port = u16::try_from(u32::from(ports.from) + offset).ok()?;
        Some(PortRange { from: port, to: port })
    }

    /// The packet's destination becomes this address, or one that is not known.
    fn send_to(&mut self, address: Option<IpAddr>) {
        let packet = &mut self.packet;
        let of_sender = packet.source_local == Known::Is(true)
            && address.is_some_and(|address| packet.source == Known::Is(address));
        let own = of_sender || address.is_some_and(|address| address.is_loopback());
        packet.destination_local = if own { Known::Is(true) } else { Known::Unknown };
        packet.destination = Known::from_option(address);
    }
}

/// The same place in another network.
fn moved(old: &Known<IpAddr>, network: IpAddr, mask: IpAddr) -> Option<IpAddr> {
    Some(match (old, network, mask) {
        (Known::Is(IpAddr::V4(old)), IpAddr::V4(network), IpAddr::V4(mask)) => (*old & !mask | network).into(),
        (Known::Is(IpAddr::V6(old)), IpAddr::V6(network), IpAddr::V6(mask)) => (*old & !mask | network).into(),
        _ => return None,
    })
}

fn shifted(mark: Known<u32>, shift: Shift) -> Known<u32> {
    match mark {
        Known::Is(mark) => Known::Is(shift.of(mark)),
        other => other,
    }
}

/// The only port of a range, if it has but one.
fn one(range: PortRange) -> Option<u16> {
    (range.from == range.to).then_some(range.from)
}

fn masked(mark: &Known<u32>, mask: u32) -> Known<u32> {
    match mark {
        Known::Is(mark) => Known::Is(mark & mask),
        _ => Known::Unknown,
    }
}

/// `(mark & !mask) ^ value`
fn changed(mark: &Known<u32>, value: &Known<u32>, mask: u32) -> Known<u32> {
    match (mark, value) {
        (Known::Is(mark), Known::Is(value)) => Known::Is((mark & !mask) ^ value),
        (_, Known::Is(value)) if mask == u32::MAX => Known::Is(*value),
        _ => Known::Unknown,
    }
}
