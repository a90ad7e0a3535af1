//! What lies around the rules: routes and addresses, and what is tracked already.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::rc::Rc;

use super::super::routes::{Decision, Query, Routes, Why};
use super::flood::address;
use super::leads::{Answers, Asks, Group, Leads, Looked, Ways};
use crate::model::{Endpoint, Flow, OwnAddress, PolicyRule, Snapshot};
use crate::packet::{DeviceName, Known, Packet, number};

/// `IFA_F_*` of addresses that are not used yet (`TENTATIVE`), unless they are taken on trust (`OPTIMISTIC`).
const TENTATIVE: u32 = 0x40;
const OPTIMISTIC: u32 = 0x04;

const TCP: u8 = 6;

/// The first address of IPv6 that holds for one link only (`fe80::/10`), and the first one behind these.
const NEAR: u128 = 0xfe80 << 112;
const FAR: u128 = 0xfec0 << 112;

/// The surroundings of a snapshot's rules.
#[derive(Debug)]
pub struct Ground<'a> {
    snapshot: &'a Snapshot,
    /// The routes, where they were read whole.
    pub(super) routes: Routes<'a>,
    /// Where they lead, as far as that was asked.
    pub(super) answers: Answers,
    /// Tracked connections by both of their tuples; `None` where they were not read.
    entries: Option<HashMap<Tuple, &'a Flow>>,
}

/// It is one of replies; protocol, source, destination, zone.
type Tuple = (bool, u8, Endpoint, Endpoint, u16);

/// What a lookup may lead to, and why there are several; or why nothing can be said.
type Decided = Result<(Vec<Decision>, Option<Why>), Why>;

/// A tracked connection as a packet of it meets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    /// What the packet's ends become.
    pub(super) source: Endpoint,
    pub(super) destination: Endpoint,
    /// It travels against the first one.
    pub(super) is_reply: bool,
    /// `IPS_*` bits.
    pub(super) status: u32,
    pub(super) mark: u32,
    /// Ends of the first packet, and of the replies.
    pub(super) original: (Endpoint, Endpoint),
    pub(super) reply: (Endpoint, Endpoint),
}

impl<'a> Ground<'a> {
    /// The surroundings; `None` where it was not read how the namespace routes.
    #[must_use]
    pub fn of(snapshot: &'a Snapshot) -> Option<Self> {
        let routes = Routes::of(snapshot)?;
        let entries = snapshot.flows.as_ref().map(|flows| {
            let both = flows.iter().flat_map(|flow| {
                let tuple = |is_reply, (source, destination): (Endpoint, Endpoint), zone: Option<u16>| {
                    (is_reply, flow.protocol.number(), source, destination, zone.unwrap_or(flow.zone))
                };
                let Flow { original, reply, details, .. } = flow;
                let reply = (tuple(true, *reply, details.reply.zone), flow);
                [(tuple(false, *original, details.original.zone), flow), reply]
            });
            both.collect()
        });
        let answers = Answers::of(snapshot.routes.as_ref()?);
        Some(Self { snapshot, routes, answers, entries })
    }

    /// The routes.
    #[must_use]
    pub fn routes(&self) -> &Routes<'a> {
        &self.routes
    }

    /// The tracked connection of a packet in its zones, those of first packets and of replies; `None` where there is none, and `Err`
    /// where that cannot be known.
    pub(super) fn entry(
        &self,
        packet: &Packet,
        zones: (Known<u16>, Known<u16>),
    ) -> Result<Option<Entry>, &'static str> {
        let unknown = "which tracked connection it belongs to";
        let Some(entries) = &self.entries else { return Err("what is tracked, which was not read") };
        let (Known::Is(protocol), Known::Is(source), Known::Is(destination)) =
            (packet.protocol, packet.source, packet.destination)
        else {
            return Err(unknown);
        };
        if entries.is_empty() {
            return Ok(None);
        }
        let (Known::Is(from), Known::Is(to)) = (packet.source_port, packet.destination_port) else {
            return Err(unknown);
        };
        let (Known::Is(first), Known::Is(back)) = zones else { return Err(unknown) };
        let (source, destination) = (Endpoint::new(source, from), Endpoint::new(destination, to));
        let find = |is_reply, zone| {
            let flow = entries.get(&(is_reply, protocol, source, destination, zone))?;
            Some((*flow, is_reply))
        };
        let found = find(false, first).or_else(|| find(true, back)).map(|(flow, is_reply)| {
            let towards = if is_reply { flow.original } else { flow.reply };
            Entry {
                source: towards.1,
                destination: towards.0,
                is_reply,
                status: flow.status,
                mark: flow.mark,
                original: flow.original,
                reply: flow.reply,
            }
        });
        Ok(found)
    }

    /// Where an own packet goes that is about to be sent by a socket: one of TCP is connected, one of UDP may be or not.
    pub(super) fn first_route(&self, packet: &Packet, bound: Option<DeviceName>) -> Looked {
        self.answers.get(Asks::First, packet, bound, || self.ask_first(packet, bound))
    }

    pub(super) fn ask_first(&self, packet: &Packet, bound: Option<DeviceName>) -> Decided {
        let given = match packet.source {
            Known::Is(source) => Some(source),
            _ => None,
        };
        let strange = given.is_some_and(|source| !self.is_own(source));
        let first = Query {
            source: given,
            protocol: packet.protocol,
            source_port: packet.source_port,
            destination_port: packet.destination_port,
            any_source: strange,
            ..self.query(packet, bound)?
        };
        let (decisions, mut why) = self.routes.ask(&first)?;
        let mut found = Vec::new();
        for decision in decisions {
            // A connected socket is looked up again with the source that was chosen.
            let Known::Is(source) = decision.source else {
                found.push(decision);
                continue;
            };
            if given.is_some() || !decision.kind.leads() || packet.is_ipv6() {
                found.push(decision);
                continue;
            }
            let (again, more) = self.routes.ask(&Query { source: Some(source), ..first.clone() })?;
            why = why.or(more);
            let same = |other: &Decision| (other.kind, &other.device) == (decision.kind, &decision.device);
            let unconnected = packet.protocol != Known::Is(TCP) && !again.iter().all(same);
            found.extend(again);
            // What hangs on something is told with the way first where that is so.
            if unconnected {
                why = why.or(Some(Why::Socket));
                found.push(decision);
            }
        }
        Ok((found, why))
    }

    /// Where an own packet goes by what rules have made of it (`ip_route_me_harder`, `ip6_route_me_harder`): neither its protocol nor its
    /// ports are asked about, and its source may be any.
    pub(super) fn next_route(&self, packet: &Packet, bound: Option<DeviceName>) -> Looked {
        self.answers.get(Asks::Next, packet, bound, || self.ask_next(packet, bound))
    }

    pub(super) fn ask_next(&self, packet: &Packet, bound: Option<DeviceName>) -> Decided {
        let Known::Is(source) = packet.source else { return Err(Why::Source) };
        self.routes.ask(&Query { source: Some(source), any_source: true, ..self.query(packet, bound)? }).map(distinct)
    }

    /// Where a packet goes that came in.
    pub(super) fn way_in(&self, packet: &Packet) -> Looked {
        self.answers.get(Asks::In, packet, None, || self.ask_in(packet))
    }

    pub(super) fn ask_in(&self, packet: &Packet) -> Decided {
        let (Known::Is(source), Known::Is(device)) = (packet.source, packet.input) else { return Err(Why::Source) };
        let query = Query {
            source: Some(source),
            input: Some(device.as_str().to_owned()),
            protocol: packet.protocol,
            source_port: packet.source_port,
            destination_port: packet.destination_port,
            ..self.query(packet, None)?
        };
        self.routes.ask(&query).map(distinct)
    }

    /// Which groups of the ends that differ, destination and source, lead packets that came in the same way.
    pub(super) fn ways_in(&self, packet: &Packet, ipv6: bool, differ: [bool; 2]) -> Rc<Ways> {
        let look = |destination, source| self.ask_in(&Packet { destination, source, ..*packet }).map(Leads::from);
        self.answers.ways_in(packet, (self.groups(ipv6), ipv6, differ), look)
    }

    fn query(&self, packet: &Packet, bound: Option<DeviceName>) -> Result<Query, Why> {
        let Known::Is(destination) = packet.destination else { return Err(Why::Destination) };
        let ids = self.snapshot.ids.as_ref();
        let uid = match packet.uid {
            Known::Is(uid) => Known::from_option(ids.map_or(Some(uid), |ids| ids.outside_uid(uid))),
            Known::Absent => Known::Is(0),
            Known::Unknown => Known::Unknown,
        };
        Ok(Query {
            mark: packet.mark,
            output: bound.map(|device| device.as_str().to_owned()),
            uid,
            traffic_class: packet.traffic_class,
            ..Query::to(destination)
        })
    }

    /// Whether an address is one of the namespace, by its local table.
    #[must_use]
    pub fn is_own(&self, address: IpAddr) -> bool {
        self.answers.is_own(address, || self.routes.is_own(address))
    }

    /// The first address of each stretch in which no two addresses of a family are different to routes.
    #[must_use]
    pub(in crate::analysis) fn bounds(&self, ipv6: bool) -> &[u128] {
        self.answers.bounds(ipv6)
    }

    /// Stretches of addresses that routes treat alike.
    pub(in crate::analysis) fn groups(&self, ipv6: bool) -> &[Group] {
        self.snapshot.routes.as_ref().map_or(&[], |routes| self.answers.groups(routes, ipv6))
    }

    /// The rules of policy.
    pub(super) fn policy(&self) -> impl Iterator<Item = &PolicyRule> {
        self.snapshot.routes.iter().flat_map(|routes| routes.rules.iter().flatten())
    }

    /// Where users, as the namespace's owner counts, begin or end to be these, as the node counts.
    pub(super) fn inside_users(&self, from: u32, to: u32) -> Vec<u128> {
        let Some(ids) = &self.snapshot.ids else { return vec![from.into(), u128::from(to) + 1] };
        let ranges = ids.uids.iter().flat_map(|range| {
            let count = u128::from(range.count);
            let inside = |outside: u32| {
                let offset = u128::from(outside.saturating_sub(range.outside)).min(count);
                u128::from(range.inside) + offset
            };
            [range.inside.into(), inside(from), inside(to.saturating_add(1)), u128::from(range.inside) + count]
        });
        let mut bounds: Vec<u128> = ranges.collect();
        bounds.sort_unstable();
        bounds
    }

    fn addresses(&self) -> impl Iterator<Item = &OwnAddress> {
        self.snapshot.routes.iter().flat_map(|routes| routes.addresses.iter().flatten())
    }

    /// The address to which a packet is redirected that came in by a device: its first (`nf_nat_redirect_ipv4`, `_ipv6`); `None`
    /// where it has none, and the packet is dropped.
    pub(super) fn redirect_address(&self, device: DeviceName, dialled: IpAddr) -> Option<IpAddr> {
        let interfaces = self.snapshot.interfaces.iter().flatten();
        let index = interfaces.into_iter().find(|interface| interface.name == device.as_str())?.index;
        let near = |address: &Ipv6Addr| address.is_unicast_link_local();
        let usable = |own: &&OwnAddress| match (own.address, dialled) {
            (IpAddr::V4(_), IpAddr::V4(_)) => true,
            (IpAddr::V6(address), IpAddr::V6(dialled)) => {
                let ready = own.flags & TENTATIVE == 0 || own.flags & OPTIMISTIC != 0;
                ready && (!near(&dialled) || near(&address)) && address.to_ipv4_mapped().is_none()
            }
            _ => false,
        };
        self.addresses().filter(|own| own.interface == index).find(usable).map(|own| own.address)
    }

    /// Where addresses that are dialled begin to be different to a redirection of what came in by a device.
    pub(super) fn redirect_bounds(&self, device: Known<DeviceName>, ipv6: bool) -> Vec<u128> {
        let mut bounds = if ipv6 { vec![NEAR, FAR] } else { Vec::new() };
        let dialled = if ipv6 { vec![address(0, true), address(NEAR, true)] } else { vec![address(0, false)] };
        let Known::Is(device) = device else { return bounds };
        for own in dialled.into_iter().filter_map(|dialled| self.redirect_address(device, dialled)).map(number) {
            bounds.extend([own, own.saturating_add(1)]);
        }
        bounds.sort_unstable();
        bounds
    }

    /// The address that `MASQUERADE` gives to a packet that leaves by a device (`nf_nat_masquerade_ipv4`, `_ipv6`).
    pub(super) fn outgoing_source(&self, device: DeviceName, gateway: Option<IpAddr>, to: IpAddr) -> Known<IpAddr> {
        match self.routes.source_for(device.as_str(), gateway, to) {
            Known::Is(address) if address.is_unspecified() => Known::Absent,
            other => other,
        }
    }
}

/// Those that differ in where they lead.
fn distinct((decisions, why): (Vec<Decision>, Option<Why>)) -> (Vec<Decision>, Option<Why>) {
    let mut found: Vec<Decision> = Vec::new();
    for decision in decisions {
        if !found.iter().any(|known| (known.kind, &known.device) == (decision.kind, &decision.device)) {
            found.push(decision);
        }
    }
    (found, why)
}

impl Packet {
    /// Whether it is one of IPv6, as far as its destination tells.
    fn is_ipv6(&self) -> bool {
        matches!(self.destination, Known::Is(IpAddr::V6(_)))
    }
}

/// The loopback address of a family.
pub(super) fn loopback(ipv6: bool) -> IpAddr {
    if ipv6 { Ipv6Addr::LOCALHOST.into() } else { Ipv4Addr::LOCALHOST.into() }
}
