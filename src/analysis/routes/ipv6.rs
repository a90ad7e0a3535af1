//! IPv6: packets of the namespace's own, and those that come in.

use std::cmp::Reverse;
use std::net::{IpAddr, Ipv6Addr};

use super::flow::Flow;
use super::ipv4::refused;
use super::policy::Looked;
use super::{Answer, Decision, End, Ends, Kind, Query, Routes, Why};
use crate::model::{NextHop, Route, RouteKind};
use crate::packet::Known;

/// The order in which the kernel tries routes of one table: long prefixes of destinations, then of sources; equal ones as they are.
pub(super) fn sort(table: &mut [&Route]) {
    table.sort_by_key(|route| (Reverse(route.destination.bits), Reverse(source_bits(route))));
}

fn source_bits(route: &Route) -> u8 {
    route.source.map_or(0, |source| source.bits)
}

/// How routes are chosen in one lookup.
#[derive(Debug, Clone, Copy)]
struct Choice {
    /// A route has to lead to the flow's device (`RT6_LOOKUP_F_IFACE`).
    strict: bool,
    /// Routers that do not answer are passed over (`RT6_LOOKUP_F_REACHABLE`).
    reachable: bool,
}

/// `fib6_table_lookup`: the longest prefix that has a route that fits, and the best of its routes.
fn look<'a>(table: &[&'a Route], flow: &Flow, choice: Choice) -> Looked<'a> {
    let nowhere = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    let holds = |route: &&Route| {
        let from = route.source.is_none_or(|source| source.holds(flow.source.unwrap_or(nowhere)));
        route.destination.holds(flow.destination) && from
    };
    let fitting: Vec<&'a Route> = table.iter().copied().filter(holds).collect();
    let mut looked = Looked { falls_through: true, ..Looked::default() };
    let mut passed: Vec<&'a Route> = Vec::new();
    loop {
        let left = |route: &&Route| !passed.iter().any(|gone| std::ptr::eq(*gone, *route));
        let remaining: Vec<&'a Route> = fitting.iter().copied().filter(left).collect();
        let Some((route, hop)) = select(&remaining, flow, choice) else { return looked };
        if route.hops.is_empty() && route.next_hop_object.is_some() {
            looked.why = Some(Why::NextHopObject);
            return looked;
        }
        // Only what is found first is certain; the others are found when its routers do not answer.
        let throws = route.kind == RouteKind::Throw;
        looked.falls_through = throws || looked.falls_through && !passed.is_empty();
        match Kind::refusal(route.kind) {
            _ if throws => {}
            Some(kind) => looked.ends.push(End::Refused(kind)),
            None => looked.ends.extend(hops(route, hop, flow, choice).map(|hop| End::Route(route, hop))),
        }
        if looked.ends.len() > 1 || throws && !passed.is_empty() {
            looked.why.get_or_insert(if passed.is_empty() { Why::Multipath } else { Why::Reachability });
        }
        let routed = route.hops.iter().any(|hop| hop.gateway.is_some());
        if !choice.reachable || !routed {
            return looked;
        }
        passed.push(route);
    }
}

/// The next hops that a packet may take by a route: of several, those that its device allows.
fn hops<'a>(
    route: &'a Route,
    first: Option<usize>,
    flow: &Flow,
    choice: Choice,
) -> impl Iterator<Item = Option<usize>> + use<'a> {
    let (device, strict) = (flow.device, choice.strict);
    let several = route.hops.len() > 1;
    let fits =
        move |hop: &NextHop| hop.flags & NextHop::DEAD == 0 && (!strict || device == 0 || hop.interface == device);
    let others = route.hops.iter().enumerate().filter(move |(_, hop)| several && fits(hop)).map(|(at, _)| Some(at));
    std::iter::once(first).filter(move |_| !several).chain(others)
}

/// `rt6_select` of one prefix after the other.
fn select<'a>(fitting: &[&'a Route], flow: &Flow, choice: Choice) -> Option<(&'a Route, Option<usize>)> {
    let node = |route: &Route| (route.destination.bits, source_bits(route));
    fitting.chunk_by(|one, other| node(one) == node(other)).find_map(|routes| {
        // Of the lowest metric, the best; else the best of all others.
        let lowest = routes.first()?.priority;
        let end = routes.iter().position(|route| route.priority != lowest).unwrap_or(routes.len());
        let (first, rest) = routes.split_at_checked(end)?;
        best(first, flow, choice).or_else(|| best(rest, flow, choice))
    })
}

/// The first of those with the highest score.
fn best<'a>(routes: &[&'a Route], flow: &Flow, choice: Choice) -> Option<(&'a Route, Option<usize>)> {
    let mut best: Option<(u8, &'a Route, Option<usize>)> = None;
    for route in routes {
        let hops: Vec<Option<usize>> = match route.hops.is_empty() {
            true => vec![None],
            false => (0..route.hops.len()).map(Some).collect(),
        };
        for hop in hops {
            let score = score(route, hop.and_then(|hop| route.hops.get(hop)), flow, choice);
            if let Some(score) = score.filter(|score| best.is_none_or(|(best, _, _)| *score > best)) {
                best = Some((score, route, hop));
            }
        }
    }
    best.map(|(_, route, hop)| (route, hop))
}

/// `rt6_score_route`; `None` where the next hop does not do.
fn score(route: &Route, hop: Option<&NextHop>, flow: &Flow, choice: Choice) -> Option<u8> {
    if hop.is_some_and(|hop| hop.flags & NextHop::DEAD != 0) {
        return None;
    }
    let interface = hop.map_or(0, |hop| hop.interface);
    let by_device = if flow.device == 0 || interface == flow.device { 2 } else { 0 };
    if by_device == 0 && choice.strict {
        return None;
    }
    let preference = route.preference.unwrap_or(0) & 3;
    Some(by_device | (preference ^ 2) << 2)
}

/// Destinations that belong to one link or to the host: routes to them have to lead to the device.
fn needs_device(destination: Ipv6Addr) -> bool {
    destination.is_multicast() || destination.is_unicast_link_local() || destination.is_loopback()
}

impl<'a> Routes<'a> {
    fn fib6(&self, flow: &Flow, strict: bool) -> Result<Ends<'a>, Why> {
        let forwarding = self.settings.ipv6("all", "forwarding");
        let choice = Choice { strict, reachable: forwarding.is_none_or(|value| value == 0) };
        let ends = self.by_rules(flow, |table, flow| look(table, flow, choice));
        match ends.why {
            Some(Why::NextHopObject) => Err(Why::NextHopObject),
            _ => Ok(ends),
        }
    }

    /// `ip6_route_output`: an own packet, of a socket that is bound to `device` or to none.
    pub(super) fn output6(&self, query: &Query, device: u32) -> Answer {
        let IpAddr::V6(destination) = query.destination else { return Err(Why::Unread) };
        let loopback = self.loopback().map(|loopback| loopback.name.clone());
        let flow = Flow::of(query, loopback, device);
        let ends = self.fib6(&flow, device != 0 || needs_device(destination))?;
        let decide = |found| {
            let decision = self.decision(found);
            let End::Route(route, hop) = found.end else { return decision };
            let source = match query.source.or(route.preferred_source) {
                Some(source) => Known::Is(source),
                None => {
                    let hop = hop.and_then(|hop| route.hops.get(hop));
                    self.select6(hop.map(|hop| hop.interface), destination)
                }
            };
            Decision { source, ..self.taken_in(decision) }
        };
        Ok((ends.found.into_iter().map(decide).collect(), ends.why))
    }

    /// What the namespace takes in goes by its loopback, whichever device has the address.
    fn taken_in(&self, decision: Decision) -> Decision {
        match decision.kind {
            Kind::Local | Kind::Anycast => {
                Decision { device: self.loopback().map(|loopback| loopback.name.clone()), gateway: None, ..decision }
            }
            _ => decision,
        }
    }

    /// `ip6_route_input`, and what `ipv6_rcv` and `ip6_forward` add to it.
    pub(super) fn input6(&self, query: &Query, device: u32) -> Answer {
        let nobody = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        let (IpAddr::V6(destination), IpAddr::V6(source)) = (query.destination, query.source.unwrap_or(nobody)) else {
            return Err(Why::Unread);
        };
        // Of the destination only what is on the cable is looked at (`ipv6_rcv`), and it may have been translated since.
        if source.is_multicast() || source.is_loopback() && !self.is_loopback(device) {
            return Ok((vec![refused(Kind::Invalid)], None));
        }
        if destination.is_multicast() {
            return Err(Why::Groups);
        }
        let flow = Flow { source: Some(source.into()), device, ..Flow::incoming(query) };
        let ends = self.fib6(&flow, needs_device(destination))?;
        let name = self.name_of(device).unwrap_or_default();
        let all = self.settings.ipv6("all", "forwarding").ok_or(Why::Setting)?;
        let forwards = all != 0 || self.settings.ipv6(&name, "force_forwarding").is_some_and(|value| value != 0);
        let decide = |found| {
            let decision = self.taken_in(Decision { source: Known::Is(source.into()), ..self.decision(found) });
            match decision.kind {
                Kind::Unicast | Kind::Multicast if !forwards => {
                    Decision { source: Known::Absent, gateway: None, device: None, ..decision }.with(Kind::NotForwarded)
                }
                _ => decision,
            }
        };
        Ok((ends.found.into_iter().map(decide).collect(), ends.why))
    }
}

impl Decision {
    fn with(self, kind: Kind) -> Self {
        Self { kind, ..self }
    }
}
