//! Where routes lead, asked once for all packets that cannot be told apart by them.
//!
//! Of addresses routes ask only in which networks they lie, and which of a few kinds they are of: between two bounds of all these no two
//! addresses are different. Where an answer names an address that was asked about, the next one who asks gets its own in that place.
//!
//! For whole sets of packets that come in it is found once which groups of sources make no difference to which groups of destinations.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::rc::Rc;

use foldhash::{HashMap, HashMapExt};

use super::super::routes::{Decision, Kind, LINK_LOCAL, Why, scope_of};
use super::flood::address;
use crate::model::{Network, Routing};
use crate::packet::{DeviceName, Known, Packet, number};

/// Stretches of addresses, each with its first and its last.
pub(super) type Group = Vec<(u128, u128)>;

/// Answers that are kept.
const MOST: usize = 1 << 14;

/// Where a route leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lead {
    pub(super) kind: Kind,
    pub(super) gateway: Option<IpAddr>,
    pub(super) device: Known<DeviceName>,
    pub(super) source: Known<IpAddr>,
    pub(super) table: Option<u32>,
    pub(super) rule: Option<u32>,
}

/// What a lookup leads to: one thing, or one of several for a reason; or why nothing can be said.
pub(super) type Looked = Result<Leads, Why>;

/// What may become of a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Leads {
    One(Lead),
    Several(Vec<Lead>, Option<Why>),
}

/// Which question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Asks {
    /// Where an own packet goes at first.
    First,
    /// Where it goes by what rules have made of it.
    Next,
    /// Where one goes that came in.
    In,
}

/// All of a packet that routes ask for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    asks: Asks,
    ipv6: bool,
    source: Option<usize>,
    destination: usize,
    input: Option<DeviceName>,
    bound: Option<DeviceName>,
    protocol: Option<u8>,
    /// Mark, user, ports and class of traffic, where some rule or route asks for one of them.
    heeded: Option<Heeded>,
}

type Heeded = [Option<Option<u32>>; 5];

/// Answers that were given already.
#[derive(Debug)]
pub(super) struct Answers {
    /// Bounds of the networks of IPv4 and of IPv6: the first address of each stretch.
    bounds: [Vec<u128>; 2],
    /// Whether the addresses of a stretch are the namespace's own, where that was asked.
    own: [Vec<Cell<Option<bool>>>; 2],
    /// The stretches of each family that routes treat alike, once they were asked for.
    groups: [OnceCell<Vec<Group>>; 2],
    /// Some rule or route asks for more than addresses, devices and the protocol.
    heeds: bool,
    /// Some rule asks for the protocol.
    heeds_protocol: bool,
    /// What was asked, and the ends about which it was.
    given: RefCell<HashMap<Key, (Ends, Looked)>>,
    /// The same of whole groups.
    ways: RefCell<HashMap<WaysKey, Rc<Ways>>>,
}

/// Groups of destinations and groups of sources by which packets that come in go the same way; an end that is one address has none.
pub(super) type Ways = Vec<(Vec<usize>, Vec<usize>)>;

/// What they hang on: the ends that are one address, the device, and what else of a packet routes ask for.
type WaysKey = (Fixed, bool, Option<DeviceName>, Option<u8>, Option<Heeded>);

/// Destination and source, where these are one address for all packets, known or not.
type Fixed = [Option<Option<IpAddr>>; 2];

/// Source and destination.
type Ends = (Option<IpAddr>, IpAddr);

impl Answers {
    pub(super) fn of(routing: &Routing) -> Self {
        let bounds = [false, true].map(|ipv6| bounds(routing, ipv6));
        let own = [0, 1].map(|family: usize| {
            bounds.get(family).into_iter().flatten().map(|_| Cell::new(None)).collect::<Vec<Cell<Option<bool>>>>()
        });
        let asks = routing.rules.iter().flatten().any(|rule| {
            let who = rule.mark.is_some() || rule.users.is_some();
            who || rule.source_ports.is_some() || rule.destination_ports.is_some() || rule.tos != 0
        });
        let heeds = asks || routing.routes.iter().flatten().any(|route| route.tos != 0);
        Self {
            bounds,
            own,
            groups: Default::default(),
            heeds,
            heeds_protocol: routing.rules.iter().flatten().any(|rule| rule.protocol.is_some()),
            given: RefCell::default(),
            ways: RefCell::default(),
        }
    }

    /// The first address of each stretch of a family, in their order.
    pub(super) fn bounds(&self, ipv6: bool) -> &[u128] {
        let [of_ipv4, of_ipv6] = &self.bounds;
        if ipv6 { of_ipv6 } else { of_ipv4 }
    }

    /// The stretches of a family that routes treat alike, each with its first address and its last.
    pub(super) fn groups(&self, routing: &Routing, ipv6: bool) -> &[Group] {
        let [of_ipv4, of_ipv6] = &self.groups;
        if ipv6 { of_ipv6 } else { of_ipv4 }.get_or_init(|| groups(routing, self.bounds(ipv6), ipv6))
    }

    /// The stretch in which an address lies.
    fn stretch(&self, address: IpAddr) -> usize {
        let bounds = self.bounds(address.is_ipv6());
        let address = number(address);
        bounds.partition_point(|bound| *bound <= address).saturating_sub(1)
    }

    /// Whether an address is one of the namespace, which `look` finds out.
    pub(super) fn is_own(&self, address: IpAddr, look: impl FnOnce() -> bool) -> bool {
        let [of_ipv4, of_ipv6] = &self.own;
        let own = if address.is_ipv6() { of_ipv6 } else { of_ipv4 };
        let Some(known) = own.get(self.stretch(address)) else { return look() };
        known.get().unwrap_or_else(|| {
            let found = look();
            known.set(Some(found));
            found
        })
    }

    /// The answer to a question about a packet, which `look` finds out.
    pub(super) fn get(
        &self,
        asks: Asks,
        packet: &Packet,
        bound: Option<DeviceName>,
        look: impl FnOnce() -> Result<(Vec<Decision>, Option<Why>), Why>,
    ) -> Looked {
        let Some((key, ends)) = self.key(asks, packet, bound) else { return look().map(Leads::from) };
        if let Some((known, looked)) = self.given.borrow().get(&key) {
            return looked.clone().map(|leads| leads.instead(*known, ends));
        }
        let looked = look().map(Leads::from);
        let mut given = self.given.borrow_mut();
        if given.len() >= MOST {
            given.clear();
        }
        given.insert(key, (ends, looked.clone()));
        looked
    }

    /// `None` for what is not kept.
    fn key(&self, asks: Asks, packet: &Packet, bound: Option<DeviceName>) -> Option<(Key, Ends)> {
        let Known::Is(destination) = packet.destination else { return None };
        let source = match packet.source {
            Known::Is(source) => Some(source),
            _ => None,
        };
        // Which of both an answer names could not be told.
        if source == Some(destination) {
            return None;
        }
        let input = match (asks, packet.input) {
            (Asks::In, Known::Is(input)) => Some(input),
            (Asks::In, _) => return None,
            _ => None,
        };
        let key = Key {
            asks,
            ipv6: destination.is_ipv6(),
            source: source.map(|source| self.stretch(source)),
            destination: self.stretch(destination),
            input,
            bound,
            protocol: self.protocol(packet, asks),
            heeded: self.heeded(packet),
        };
        Some((key, (source, destination)))
    }

    fn heeded(&self, packet: &Packet) -> Option<Heeded> {
        self.heeds.then(|| {
            let Packet { mark, uid, source_port, destination_port, traffic_class, .. } = *packet;
            let port = |port: Known<u16>| heeded(port);
            [heeded(mark), heeded(uid), port(source_port), port(destination_port), heeded(traffic_class)]
        })
    }

    /// One that stands for all that no route tells apart.
    fn protocol(&self, packet: &Packet, asks: Asks) -> Option<u8> {
        let connects = asks == Asks::First;
        match packet.protocol {
            Known::Is(protocol) if self.heeds_protocol || protocol == IGMP => Some(protocol),
            Known::Is(TCP) if connects => Some(TCP),
            Known::Is(_) => Some(ANY_OTHER),
            _ => None,
        }
    }

    /// Which groups of the ends that differ lead packets that came in the same way, where `look` finds the way between two ends.
    pub(super) fn ways_in(
        &self,
        packet: &Packet,
        (groups, ipv6, differ): (&[Group], bool, [bool; 2]),
        look: impl Fn(Known<IpAddr>, Known<IpAddr>) -> Looked,
    ) -> Rc<Ways> {
        let known = |end: Known<IpAddr>| if let Known::Is(end) = end { Some(end) } else { None };
        let [to, from] = differ;
        let fixed = [(!to).then(|| known(packet.destination)), (!from).then(|| known(packet.source))];
        let input = if let Known::Is(input) = packet.input { Some(input) } else { None };
        let key = (fixed, ipv6, input, self.protocol(packet, Asks::In), self.heeded(packet));
        if let Some(known) = self.ways.borrow().get(&key) {
            return Rc::clone(known);
        }
        let any = |(from, to): &(u128, u128), last: bool| address(if last { *to } else { *from }, ipv6);
        let ends = |fixed: Option<Option<IpAddr>>, last| -> Vec<Known<IpAddr>> {
            let each = || groups.iter().map(|group| if last { group.last() } else { group.first() });
            let ends = fixed.map_or_else(|| each().map(|one| one.map(|one| any(one, last))).collect(), |end| vec![end]);
            ends.into_iter().map(Known::from_option).collect()
        };
        let [to, from] = fixed;
        // Of a group that is more than one address, the source is not the destination.
        let (destinations, sources) = (ends(to, false), ends(from, true));
        let mut leads: Vec<Looked> = Vec::new();
        let mut rows: BTreeMap<(bool, Vec<usize>), Vec<usize>> = BTreeMap::new();
        for (at, destination) in destinations.iter().enumerate() {
            let mut row = Vec::with_capacity(sources.len());
            for source in &sources {
                let looked = look(*destination, *source).map(Leads::without_source);
                let known = leads.iter().position(|lead| *lead == looked).unwrap_or(leads.len());
                if known == leads.len() {
                    leads.push(looked);
                }
                row.push(known);
            }
            // What is sent to `::1` is turned away for that alone.
            let loopback = matches!(destination, Known::Is(destination) if destination.is_loopback());
            rows.entry((loopback, row)).or_default().push(at);
        }
        let mut ways = Ways::new();
        for ((_, row), destinations) in rows {
            let mut by_lead: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
            row.into_iter().enumerate().for_each(|(at, lead)| by_lead.entry(lead).or_default().push(at));
            ways.extend(by_lead.into_values().map(|sources| (destinations.clone(), sources)));
        }
        let ways = Rc::new(ways);
        self.ways.borrow_mut().insert(key, Rc::clone(&ways));
        ways
    }
}

/// Protocols that routes tell apart by themselves: groups are joined by IGMP, and sockets of TCP are connected.
const IGMP: u8 = 2;
const TCP: u8 = 6;
/// One that is none of these (RFC 3692).
const ANY_OTHER: u8 = 253;

fn heeded<T: Into<u32>>(known: Known<T>) -> Option<Option<u32>> {
    match known {
        Known::Unknown => None,
        Known::Absent => Some(None),
        Known::Is(value) => Some(Some(value.into())),
    }
}

/// Those that lie in the same networks, and are of the same kind where routes ask for it.
fn groups(routing: &Routing, bounds: &[u128], ipv6: bool) -> Vec<Group> {
    let mut networks = Vec::new();
    each_network(routing, ipv6, &mut |network| networks.push(network));
    let own = || routing.addresses.iter().flatten().filter(|own| own.address.is_ipv6() == ipv6);
    let kind = |address: IpAddr| match address {
        IpAddr::V4(it) => {
            (it.is_multicast(), it.is_broadcast(), it.is_loopback(), it.octets()[0] == 0, u32::from(it) == 0, 0)
        }
        IpAddr::V6(it) => {
            // Of a scope it is only asked which addresses of the namespace have a bigger one.
            let wanted = scope_of(it);
            let bigger = own().filter(|own| matches!(own.address, IpAddr::V6(own) if scope_of(own) >= wanted)).count();
            let near = it.is_unicast_link_local() || it.is_multicast() && wanted <= LINK_LOCAL;
            (it.is_multicast(), near, it.is_loopback(), it.to_ipv4_mapped().is_some(), it.is_unspecified(), bigger)
        }
    };
    let mut found: HashMap<_, Group> = HashMap::new();
    for (at, from) in bounds.iter().enumerate() {
        let most = if ipv6 { u128::MAX } else { u32::MAX.into() };
        let to = bounds.get(at + 1).map_or(most, |next| next - 1);
        let address = address(*from, ipv6);
        let within: Vec<bool> = networks.iter().map(|network| network.holds(address)).collect();
        let local = matches!(address, IpAddr::V4(it) if it.octets().starts_with(&[224, 0, 0]));
        found.entry((within, kind(address), local)).or_default().push((*from, to));
    }
    let mut found: Vec<Group> = found.into_values().collect();
    found.sort_unstable();
    found
}

/// Calls `each` with every network of a family that routes or rules name, and every address that answers name of their own accord.
fn each_network(routing: &Routing, ipv6: bool, each: &mut dyn FnMut(Network)) {
    let mut network = |network: &Network| {
        if network.address.is_ipv6() == ipv6 {
            each(*network);
        }
    };
    for route in routing.routes.iter().flatten() {
        network(&route.destination);
        // The first address of a network of IPv6 is everybody's (RFC 4291, 2.6.1).
        if ipv6 {
            network(&Network { bits: 128, ..route.destination });
        }
        route.source.iter().for_each(&mut network);
    }
    for rule in routing.rules.iter().flatten() {
        rule.from.iter().chain(&rule.to).for_each(&mut network);
    }
    let preferred = routing.routes.iter().flatten().filter_map(|route| route.preferred_source);
    for own in preferred.chain(routing.addresses.iter().flatten().map(|own| own.address)) {
        network(&Network { address: own, bits: if ipv6 { 128 } else { 32 } });
    }
    for own in routing.addresses.iter().flatten() {
        network(&own.network);
    }
}

/// The first address of each stretch of a family in which no two addresses are different to routes, in their order.
fn bounds(routing: &Routing, ipv6: bool) -> Vec<u128> {
    let mut bounds = vec![0];
    let width: u32 = if ipv6 { 128 } else { 32 };
    let mut add = |first: u128, bits: u32| {
        let size = 1_u128.checked_shl(width.saturating_sub(bits)).unwrap_or(0);
        let first = first & !size.wrapping_sub(1);
        bounds.push(first);
        bounds.extend(first.checked_add(size).filter(|next| size != 0 && (ipv6 || *next <= u32::MAX.into())));
    };
    each_network(routing, ipv6, &mut |network| add(number(network.address), network.bits.into()));
    match ipv6 {
        // Nobody; 0/8, loopback, groups, those of one link, and all.
        false => [(0, 32), (0, 8), (127 << 24, 8), (224 << 24, 4), (224 << 24, 24), (u32::MAX.into(), 32)]
            .iter()
            .for_each(|(first, bits)| add(*first, *bits)),
        true => {
            // Nobody, loopback, mapped ones, those of one link and of one site, groups of each scope.
            [(0, 128), (1, 128), (0xffff << 32, 96), (0xfe80 << 112, 10), (0xfec0 << 112, 10)]
                .iter()
                .for_each(|(first, bits)| add(*first, *bits));
            (0xff00..=0xffff_u128).for_each(|first| add(first << 112, 16));
        }
    }
    bounds.sort_unstable();
    bounds.dedup();
    bounds
}

impl From<Decision> for Lead {
    fn from(decision: Decision) -> Self {
        let Decision { kind, gateway, device, source, table, rule } = decision;
        let device = Known::from_option(device.as_deref().and_then(DeviceName::new));
        Self { kind, gateway, device, source, table, rule }
    }
}

impl From<(Vec<Decision>, Option<Why>)> for Leads {
    fn from((mut decisions, why): (Vec<Decision>, Option<Why>)) -> Self {
        match (decisions.pop(), decisions.is_empty()) {
            (Some(only), true) => Self::One(only.into()),
            (last, _) => Self::Several(decisions.into_iter().chain(last).map(Lead::from).collect(), why),
        }
    }
}

impl Leads {
    /// Where it leads alone, whichever source it would choose.
    fn without_source(mut self) -> Self {
        let leads = match &mut self {
            Self::One(lead) => std::slice::from_mut(lead),
            Self::Several(leads, _) => leads,
        };
        leads.iter_mut().for_each(|lead| lead.source = Known::Unknown);
        self
    }

    /// The same for other ends.
    fn instead(self, of: Ends, ends: Ends) -> Self {
        let one = |mut lead: Lead| {
            if let Known::Is(source) = lead.source {
                let own = [(of.0, ends.0), (Some(of.1), Some(ends.1))].into_iter().find(|(of, _)| *of == Some(source));
                lead.source = own.and_then(|(_, own)| own).map_or(lead.source, Known::Is);
            }
            lead
        };
        match self {
            Self::One(lead) => Self::One(one(lead)),
            Self::Several(leads, why) => Self::Several(leads.into_iter().map(one).collect(), why),
        }
    }
}

#[cfg(test)]
mod tests;
