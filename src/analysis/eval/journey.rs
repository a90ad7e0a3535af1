//! What becomes of a packet between the chains that it meets: where routes lead it, what its tracked connection makes of it, and
//! which of the chains to come are for it.
//!
//! Sources: net/ipv4/ip_input.c, ip_output.c, ip_forward.c, netfilter.c (`ip_route_me_harder`); net/ipv6 likewise;
//! net/netfilter/nf_nat_core.c.

use std::net::IpAddr;

use super::super::paths::{is_nat, standing};
use super::super::routes::Kind;
use super::End;
use super::ground::{Entry, Ground};
use super::leads::{Lead, Leads, Looked};
use super::path::Place;
use super::traveller::Traveller;
use super::walk::Base;
use crate::model::{Endpoint, Hook};
use crate::packet::{DeviceName, Known, state};

/// `IPS_*` bits (`include/uapi/linux/netfilter/nf_conntrack_common.h`).
const SEEN_REPLY: u32 = 2;
const CONFIRMED: u32 = 8;
const SOURCE_CHANGED: u32 = 16;
const DESTINATION_CHANGED: u32 = 32;

/// Where the packet is between its hooks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// About to be sent by a socket of the namespace.
    Unsent,
    /// Sent by it.
    Own,
    /// The same, behind OUTPUT.
    Leaving,
    /// The same, come in again by loopback.
    Again,
    /// From outside.
    In,
    /// The same, for this namespace.
    Taken,
    /// The same, for elsewhere.
    Forwarded,
}

/// Where a route leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chosen {
    pub(super) kind: Kind,
    pub(super) device: Known<DeviceName>,
    pub(super) gateway: Option<IpAddr>,
}

/// A choice of route on a packet's way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Routed {
    /// How many rules were met before.
    pub at: usize,
    /// The hook behind which it was chosen; `None` before the first.
    pub behind: Option<Hook>,
    /// What becomes of the packet.
    pub kind: Kind,
    /// Device by which it leaves.
    pub device: Known<DeviceName>,
    /// Router.
    pub gateway: Option<IpAddr>,
    /// Its source address then.
    pub source: Known<IpAddr>,
    /// Table of the route.
    pub table: Option<u32>,
    /// Priority of the policy rule.
    pub rule: Option<u32>,
}

/// What happens to a packet on its way to a chain.
pub(super) enum Advance {
    /// It comes to its hook.
    On,
    /// It does not.
    Past,
    /// That was it.
    Ends(End<Place>),
    /// It may be one of these, for what is not known.
    Forks(Vec<Traveller>, &'static str),
}

impl Traveller {
    /// Brings the packet before a chain, or behind all (`None`).
    pub(super) fn advance(&mut self, to: Option<&Base<'_>>, ground: Option<&Ground<'_>>) -> Advance {
        if self.lost.is_some() {
            return Advance::Ends(End::Dropped { by: None });
        }
        if let Some(because) = self.open {
            return Advance::Ends(End::Undecided { because: because.to_owned() });
        }
        match ground {
            Some(ground) => self.go(to, ground).unwrap_or_else(|on| on),
            None => self.go_blindly(to),
        }
    }

    /// With routes; `Err` where it goes on as usual.
    fn go(&mut self, to: Option<&Base<'_>>, ground: &Ground<'_>) -> Result<Advance, Advance> {
        if self.way == Way::Unsent {
            self.way = Way::Own;
            self.take(ground.first_route(&self.packet, self.bound), ground, Self::set_out)?;
        }
        // Behind iptables' mangle and nft's chains of type `route`.
        if self.routed_by.take().is_some_and(|before| before != self.routing()) {
            self.take(ground.next_route(&self.packet, self.bound), ground, Self::set_route)?;
        }
        self.pass_translation(to, ground);
        let translates = to.is_some_and(|base| base.chain.hook == Some(Hook::Output) && is_nat(base.chain));
        if self.moved && !translates {
            self.moved = false;
            self.take(ground.next_route(&self.packet, self.bound), ground, Self::set_route)?;
        }
        let hook = to.and_then(|base| base.chain.hook);
        match (self.way, hook) {
            (Way::Own, Some(Hook::Output)) | (Way::In, Some(Hook::Ingress | Hook::Prerouting)) => {}
            (Way::Own, _) => self.leave(),
            (Way::In, _) => {
                self.be_tracked(Some(ground));
                self.take(ground.way_in(&self.packet), ground, Self::set_in)?;
            }
            _ => {}
        }
        let turns = self.route.is_some_and(|route| route.kind.takes_in());
        if self.way == Way::Leaving && turns && matches!(hook, Some(Hook::Ingress | Hook::Prerouting | Hook::Input)) {
            self.be_tracked(Some(ground));
            self.come_again();
        }
        let fits = match hook {
            Some(Hook::Output) => self.way == Way::Own,
            Some(Hook::Prerouting) | Some(Hook::Ingress) => matches!(self.way, Way::In | Way::Again),
            Some(Hook::Input) => matches!(self.way, Way::Taken | Way::Again),
            Some(Hook::Forward) => self.way == Way::Forwarded,
            Some(Hook::Postrouting | Hook::Egress) => matches!(self.way, Way::Leaving | Way::Forwarded),
            None => true,
        };
        if let Some(because) = self.open {
            return Ok(Advance::Ends(End::Undecided { because: because.to_owned() }));
        }
        Err(if fits { Advance::On } else { Advance::Past })
    }

    /// Takes what a lookup leads to; `Err(Err(..))` where that is not one thing.
    fn take(
        &mut self,
        looked: Looked,
        ground: &Ground<'_>,
        set: fn(&mut Self, &Lead, &Ground<'_>),
    ) -> Result<(), Advance> {
        let leads = match looked {
            Ok(leads) => leads,
            Err(why) => return Err(Advance::Ends(End::Undecided { because: why.words().to_owned() })),
        };
        let step = |one: &mut Self, decision: &Lead| {
            set(one, decision, ground);
            one.routed.push(Routed {
                at: one.path.len(),
                behind: one.behind(),
                kind: decision.kind,
                device: decision.device,
                gateway: decision.gateway,
                source: one.packet.source,
                table: decision.table,
                rule: decision.rule,
            });
        };
        let (decisions, why) = match leads {
            Leads::Several(decisions, why) => (decisions, why),
            Leads::One(only) => {
                step(self, &only);
                return match self.lost {
                    Some(_) => Err(Advance::Ends(End::Dropped { by: None })),
                    None => Ok(()),
                };
            }
        };
        let each = decisions.iter().map(|decision| {
            let mut one = self.clone();
            step(&mut one, decision);
            one
        });
        Err(Advance::Forks(each.collect(), why.map_or("where its route leads", |why| why.words())))
    }

    fn behind(&self) -> Option<Hook> {
        match self.way {
            Way::Unsent => None,
            Way::In | Way::Taken | Way::Forwarded => Some(Hook::Prerouting),
            _ if self.routed.is_empty() => None,
            _ => Some(Hook::Output),
        }
    }

    /// The first route of an own packet: it gives the source and the device that rules see.
    fn set_out(&mut self, decision: &Lead, ground: &Ground<'_>) {
        self.set_route(decision, ground);
        if let Known::Is(source) = decision.source {
            self.packet.source = Known::Is(source);
            self.packet.source_local = Known::Is(ground.is_own(source));
        }
        if let Some(route) = self.route {
            self.packet.output = route.device;
        }
    }

    fn set_route(&mut self, decision: &Lead, _: &Ground<'_>) {
        self.lost = (!decision.kind.leads()).then_some(decision.kind);
        self.route = Some(Chosen { kind: decision.kind, device: decision.device, gateway: decision.gateway });
    }

    fn set_in(&mut self, decision: &Lead, ground: &Ground<'_>) {
        self.set_route(decision, ground);
        self.way = match decision.kind {
            Kind::Unicast => Way::Forwarded,
            _ => Way::Taken,
        };
        // What a socket has is not forwarded (`ip_forward`, `ip6_forward`).
        if self.way == Way::Forwarded && self.taken.is_some() {
            self.lost = Some(Kind::NotForwarded);
        }
        // Nobody may send to another's `::1` (`ipv6_rcv`), but who is translated to it goes where a route leads.
        let to = self.packet.destination;
        let dialled = matches!(self.packet.connection.original_destination, Known::Is(first) if Known::Is(first) != to);
        if self.way == Way::Forwarded && !dialled && matches!(to, Known::Is(IpAddr::V6(to)) if to.is_loopback()) {
            self.lost = Some(Kind::Invalid);
        }
        if let (Way::Forwarded, Some(route)) = (self.way, self.route) {
            self.packet.output = route.device;
        }
    }

    /// Only now an own packet that was routed anew has its new device (K21).
    fn leave(&mut self) {
        self.way = Way::Leaving;
        if let Some(route) = self.route {
            self.packet.output = route.device;
        }
    }

    /// What the tracked connection makes of the packet's ends, once it is past the place where the kernel translates (K31).
    fn pass_translation(&mut self, to: Option<&Base<'_>>, ground: &Ground<'_>) {
        let Some(hook) = to.and_then(|base| base.chain.hook) else {
            self.be_tracked(Some(ground));
            self.translate_destination(ground);
            return self.translate_source(ground);
        };
        let behind = to.and_then(|base| standing(base.chain).0).is_some_and(|place| place > hook.table_priority("nat"));
        let first = matches!(hook, Hook::Ingress | Hook::Prerouting | Hook::Output);
        if !first || behind && hook != Hook::Ingress {
            self.be_tracked(Some(ground));
            self.translate_destination(ground);
        }
        if hook == Hook::Egress || behind && matches!(hook, Hook::Postrouting | Hook::Input) {
            self.translate_source(ground);
        }
    }

    fn translate_destination(&mut self, ground: &Ground<'_>) {
        let Some(entry) = self.entry.filter(|entry| !entry.destined) else { return };
        self.entry = Some(Adopted { destined: true, ..entry });
        let Endpoint { address, port } = entry.destination;
        let packet = &mut self.packet;
        let moved = packet.destination != Known::Is(address);
        (packet.destination, packet.destination_port) = (Known::Is(address), Known::Is(port));
        packet.destination_local = Known::Is(ground.is_own(address));
        self.moved |= moved && self.way == Way::Own;
    }

    fn translate_source(&mut self, ground: &Ground<'_>) {
        let Some(entry) = self.entry.filter(|entry| !entry.sourced) else { return };
        self.entry = Some(Adopted { sourced: true, ..entry });
        let Endpoint { address, port } = entry.source;
        let packet = &mut self.packet;
        (packet.source, packet.source_port) = (Known::Is(address), Known::Is(port));
        packet.source_local = Known::Is(ground.is_own(address));
    }

    /// The packet belongs to a connection that is tracked already: no chain of nat is asked about it (K1).
    pub(super) fn adopt(&mut self, entry: Entry) {
        let packet = &mut self.packet;
        let begun = entry.is_reply || entry.status & SEEN_REPLY != 0;
        let mut bits = if begun { state::ESTABLISHED } else { state::NEW };
        for (bit, status) in
            [(state::SOURCE_CHANGED, SOURCE_CHANGED), (state::DESTINATION_CHANGED, DESTINATION_CHANGED)]
        {
            bits |= if entry.status & status != 0 { bit } else { 0 };
        }
        (packet.state, packet.connection_mark) = (Known::Is(bits), Known::Is(entry.mark));
        let connection = &mut packet.connection;
        connection.protocol = packet.protocol;
        connection.status = Known::Is(entry.status);
        connection.is_reply = Known::Is(entry.is_reply);
        let end = |end: Endpoint| (end.address, end.port);
        connection.set_original(end(entry.original.0), end(entry.original.1));
        connection.set_reply(end(entry.reply.0), end(entry.reply.1));
        (self.destination_bound, self.source_bound) = (true, true);
        self.entry =
            Some(Adopted { source: entry.source, destination: entry.destination, sourced: false, destined: false });
    }

    /// Mark and tracking stay with a packet on loopback; its socket does not.
    pub(super) fn come_again(&mut self) {
        self.way = Way::Again;
        self.packet.input = Known::Is(DeviceName::LOOPBACK);
        self.packet.output = Known::Absent;
        (self.packet.uid, self.packet.gid) = (Known::Absent, Known::Absent);
        (self.packet.input_group, self.packet.output_group) = (Known::Unknown, Known::Absent);
        self.be_tracked(None);
        if let Known::Is(status) = &mut self.packet.connection.status {
            *status |= CONFIRMED;
        }
    }

    /// Whether it is for this namespace, behind its last hook.
    pub(super) fn comes_in(&mut self) -> Known<bool> {
        match (self.way, self.route) {
            (Way::Again | Way::Taken, _) => Known::Is(true),
            (Way::Forwarded, _) => Known::Is(false),
            (Way::In, _) => self.packet.destination_local,
            (_, Some(route)) => Known::Is(route.kind.takes_in()),
            (_, None) => {
                self.be_routed();
                self.turns_in()
            }
        }
    }
}

/// A tracked connection that the packet belongs to: what its ends become, and which of them have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Adopted {
    source: Endpoint,
    destination: Endpoint,
    sourced: bool,
    destined: bool,
}
