//! A packet on its way: what becomes of it between the hooks and by the targets of rules, and what was decided about it so far.

use super::super::paths::{is_nat, standing};
use super::ground::Ground;
use super::journey::{Adopted, Chosen, Routed, Way};
use super::path::{Path, Place};
use super::reached::Reached;
use super::walk::Base;
use super::{End, Taken, Target, headers};
use crate::analysis::routes::Kind;
use crate::model::{Chain, Hook, Syntax};
use crate::packet::{Answer, DeviceName, Known, Packet, state};
use crate::xt::targets::{Direction, Shift, Zone};
use crate::xt::{self, Effect};

/// Priority at which packets get their tracking, in PREROUTING and OUTPUT (`NF_IP_PRI_CONNTRACK`).
const TRACKING: i32 = -200;

/// A packet on its way, and what was decided about it so far.
#[derive(Clone, PartialEq)]
pub(super) struct Traveller {
    pub(super) packet: Packet,
    /// The rule that took it out of a chain.
    pub(super) left_by: Option<Place>,
    /// The rule that sends it elsewhere, and where to.
    pub(super) redirected: Option<(Place, Target)>,
    /// A transparent socket is to take it as it is: where that waits.
    pub(super) taken: Option<Taken>,
    /// Its ends count, not only what becomes of it.
    pub(super) traced: bool,
    /// What it met, where that is asked for.
    pub(super) path: Path,
    tracking: Tracking,
    /// A nat chain has chosen its destination.
    pub(super) destination_bound: bool,
    /// A nat chain has chosen its source, or left it as it is for good.
    pub(super) source_bound: bool,
    pub(super) way: Way,
    /// By what its route was chosen, while it is in a chain behind which that is looked at again.
    pub(super) routed_by: Option<Routing>,
    /// Its route was chosen anew, by something that no rule tells.
    pub(super) rerouted: bool,
    /// Where that cannot be known: whether it comes in again.
    pub(super) comes_in: Option<bool>,
    /// Its route, where routes are known.
    pub(super) route: Option<Chosen>,
    /// All choices of route so far.
    pub(super) routed: Vec<Routed>,
    /// Its destination became another address, and its route was not yet chosen anew.
    pub(super) moved: bool,
    /// Its route leads nowhere.
    pub(super) lost: Option<Kind>,
    /// Something about it cannot be known, and decides.
    pub(super) open: Option<&'static str>,
    /// The device that its socket is bound to.
    pub(super) bound: Option<DeviceName>,
    /// The tracked connection that it belongs to.
    pub(super) entry: Option<Adopted>,
    /// Whether it may belong to one.
    pub(super) belongs: Belongs,
    /// A rule has said how its tracking begins.
    template: bool,
    /// Its zones of tracking, among first packets and among replies.
    zones: (Known<u16>, Known<u16>),
    /// Who ended it tells its sender.
    pub(super) rejected: bool,
    /// Nothing is known but rules: what comes in is for the only address.
    pub(super) bare: bool,
    /// The kernel tracks connections here (K22).
    pub(super) tracked: bool,
}

/// Whether a packet belongs to a connection that is tracked already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Belongs {
    /// It begins one.
    #[default]
    No,
    /// If there is one.
    Perhaps,
    /// It does, and where there is none it is taken to begin one.
    Yes,
}

/// What of a packet its route hangs on, beside its ends.
pub(super) type Routing = (Known<u32>, Known<u8>);

/// How far the packet's tracking is.
#[derive(Clone, PartialEq)]
enum Tracking {
    /// It gets this state and this connection mark when it comes to it.
    Later(Known<u32>, Known<u32>),
    /// It is tracked.
    Done,
    /// It never will be, and so never translated (K9).
    Never,
}

/// What a target leaves to be done.
pub(super) enum Outcome {
    /// The packet goes on in its chain.
    Stays,
    /// It goes on in the next base chain.
    Leaves,
    /// That was it.
    Ends(End<Place>),
}

impl Traveller {
    /// A packet that starts at its first hook, of a socket of the namespace (`own`) or from outside.
    pub(super) fn new(mut packet: Packet, own: bool) -> Self {
        let state = std::mem::replace(&mut packet.state, Known::Is(state::INVALID));
        let mark = std::mem::replace(&mut packet.connection_mark, Known::Absent);
        Self {
            packet,
            left_by: None,
            redirected: None,
            taken: None,
            traced: false,
            path: Path::default(),
            tracking: Tracking::Later(state, mark),
            destination_bound: false,
            source_bound: false,
            way: if own { Way::Own } else { Way::In },
            routed_by: None,
            rerouted: false,
            comes_in: None,
            route: None,
            routed: Vec::new(),
            moved: false,
            lost: None,
            rejected: false,
            open: None,
            bound: None,
            entry: None,
            belongs: Belongs::No,
            template: false,
            zones: (Known::Is(0), Known::Is(0)),
            bare: false,
            tracked: true,
        }
    }

    /// The same, whose ends count, and not only what becomes of it.
    pub(super) fn traced(self) -> Self {
        Self { traced: true, ..self }
    }

    /// Whether the packet that is before it meets a base chain.
    pub(super) fn meets(&mut self, base: &Base<'_>, ground: Option<&Ground<'_>>) -> Answer {
        let chain = base.chain;
        let Some(hook) = chain.hook else { return Answer::No };
        let on_device = self.on_device(chain, hook);
        if on_device == Answer::No {
            return Answer::No;
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
            self.be_tracked(ground);
        }
        if is_nat(chain) && !self.translates(hook) {
            return Answer::No;
        }
        let reroutes = chain.kind.as_deref() == Some("route")
            || base.table.table.name == "mangle" && chain.syntax == Syntax::Iptables;
        if hook == Hook::Output && reroutes {
            self.routed_by = Some(self.routing());
        }
        on_device
    }

    pub(super) fn routing(&self) -> Routing {
        (self.packet.mark, self.packet.traffic_class)
    }

    /// The packet comes to its tracking, where it was not there yet.
    pub(super) fn be_tracked(&mut self, ground: Option<&Ground<'_>>) {
        let Tracking::Later(state, mark) = &self.tracking else { return };
        (self.packet.state, self.packet.connection_mark) = (*state, *mark);
        self.tracking = Tracking::Done;
        let Some(ground) = ground.filter(|_| self.tracked) else { return };
        self.begin();
        if self.belongs == Belongs::No {
            return;
        }
        match (ground.entry(&self.packet, self.zones), self.belongs) {
            (Ok(Some(entry)), _) => self.adopt(entry),
            (Err(why), Belongs::Yes) => self.open = Some(why),
            _ => {}
        }
    }

    /// What conntrack holds of a connection that begins with this packet.
    fn begin(&mut self) {
        if self.packet.state != Known::Is(state::NEW) {
            return;
        }
        let Packet { source, destination, source_port, destination_port, protocol, connection, .. } = &mut self.packet;
        connection.protocol = *protocol;
        (connection.original_source, connection.original_destination) = (*source, *destination);
        (connection.original_source_port, connection.original_destination_port) = (*source_port, *destination_port);
        (connection.reply_source, connection.reply_destination) = (*destination, *source);
        (connection.reply_source_port, connection.reply_destination_port) = (*destination_port, *source_port);
        (connection.status, connection.is_reply) = (Known::Is(0), Known::Is(false));
    }

    /// What is known of its tracking now.
    pub(super) fn tracked_state(&self) -> &Known<u32> {
        match &self.tracking {
            Tracking::Later(state, _) => state,
            Tracking::Done => &self.packet.state,
            Tracking::Never => &Known::Is(state::UNTRACKED),
        }
    }

    /// It has come in again by loopback.
    pub(super) fn is_again(&self) -> bool {
        self.way == Way::Again
    }

    fn on_device(&self, chain: &Chain, hook: Hook) -> Answer {
        let device = match hook {
            Hook::Ingress => &self.packet.input,
            Hook::Egress => &self.packet.output,
            _ => return Answer::Yes,
        };
        let fits = |bound: &String, own: &DeviceName| match bound.strip_suffix('*') {
            Some(beginning) => own.as_bytes().starts_with(beginning.as_bytes()),
            None => bound == own.as_str(),
        };
        match device {
            _ if chain.devices.is_empty() => Answer::Yes,
            Known::Is(own) => Answer::from(chain.devices.iter().any(|bound| fits(bound, own))),
            Known::Unknown => Answer::CannotKnow,
            Known::Absent => Answer::No,
        }
    }

    /// What a target does to the packet in this base chain.
    pub(super) fn gets(&mut self, target: &xt::Target, reached: Reached<'_>, ground: Option<&Ground<'_>>) -> Outcome {
        let (chain, name) = (reached.base.chain, || reached.name());
        let by = reached.place();
        let own = chain.hook == Some(Hook::Output);
        match target.effect() {
            Effect::Redirect(ports) => match self.redirect(own, by, ports, ground) {
                true => Outcome::Leaves,
                false => Outcome::Ends(End::Dropped { by: Some(by) }),
            },
            Effect::Destination(range) => {
                self.send(by, &range, ground);
                Outcome::Leaves
            }
            // The packet stays as it is, and is given to another socket.
            Effect::Transparent { port, mark, mask, .. } => {
                self.be_taken(by, port);
                self.packet.mark = changed(&self.packet.mark, &Known::Is(mark), mask);
                Outcome::Leaves
            }
            // A source translation, too, is the last word of its table.
            Effect::Source(range) => {
                self.come_from(range.addresses, &range, ground);
                Outcome::Leaves
            }
            Effect::OutgoingSource(range) => {
                self.come_from_device(&range, ground);
                Outcome::Leaves
            }
            Effect::Network { address, mask } if matches!(chain.hook, Some(Hook::Prerouting | Hook::Output)) => {
                self.move_to(by, address, mask, ground);
                Outcome::Leaves
            }
            Effect::Network { address, mask } => {
                self.move_from(address, mask, ground);
                Outcome::Leaves
            }
            Effect::Prefix { destination, .. } => {
                self.prefixed(destination, &name()).map_or(Outcome::Stays, Outcome::Ends)
            }
            Effect::Stop => {
                self.rejected = matches!(target, xt::Target::Reject(_));
                Outcome::Ends(End::Dropped { by: Some(by) })
            }
            Effect::Untracked => self.lose_tracking(reached),
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
            Effect::Template { zone } => {
                self.begin_with(zone);
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

    /// The first template counts; rules before the tracking take it for the tracking itself (`xt_ct_target`, `nft_ct_set_zone_eval`).
    fn begin_with(&mut self, zone: Option<Zone>) {
        if self.template || !matches!(self.tracking, Tracking::Later(..)) {
            return;
        }
        // It is new to whoever asks before the tracking.
        (self.packet.state, self.packet.connection_mark) = (Known::Is(state::NEW), Known::Unknown);
        self.template = true;
        let Some(zone) = zone else { return };
        let marked = match self.packet.mark {
            Known::Is(mark) => Known::from_option(u16::try_from(mark & 0xffff).ok()),
            _ => Known::Unknown,
        };
        let number = zone.number.map_or(marked, Known::Is);
        self.zones = match zone.direction {
            Direction::Both => (number, number),
            Direction::Original => (number, Known::Is(0)),
            Direction::Reply => (Known::Is(0), number),
        };
    }

    /// Before its tracking a packet can be kept from it, later no more; it goes on in its chain.
    fn lose_tracking(&mut self, by: Reached<'_>) -> Outcome {
        match (&self.tracking, &self.packet.state) {
            (Tracking::Later(..), _) if self.template => Outcome::Stays,
            (Tracking::Later(..), Known::Is(_)) => {
                self.tracking = Tracking::Never;
                self.packet.state = Known::Is(state::UNTRACKED);
                self.left_by = Some(by.place());
                Outcome::Stays
            }
            (Tracking::Later(..), _) => Outcome::Ends(End::Undecided {
                because: format!("whether the packet is tracked before rule {}", by.name()),
            }),
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

    /// A transparent socket takes the packet; what later rules see of an owner is that socket's (K27).
    fn be_taken(&mut self, by: Place, port: u16) {
        let target = Target { port: Some(port).filter(|port| *port != 0), ..Target::default() };
        let taken = *self.taken.get_or_insert(Taken::Unknown("which sockets wait"));
        self.redirected = Some((by, target));
        (self.packet.uid, self.packet.gid) = (taken.uid(), Known::Unknown);
        (self.packet.socket, self.packet.socket_mark) = (Known::Unknown, Known::Unknown);
        // Whether it comes in here hangs on the routes by its mark.
        if self.packet.destination_local == Known::Is(false) {
            self.packet.destination_local = Known::Unknown;
        }
    }
}

fn shifted(mark: Known<u32>, shift: Shift) -> Known<u32> {
    match mark {
        Known::Is(mark) => Known::Is(shift.of(mark)),
        other => other,
    }
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
