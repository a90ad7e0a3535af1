//! IPv4: packets of the namespace's own, and those that come in.

use std::cmp::Reverse;
use std::net::{IpAddr, Ipv4Addr};

use super::flow::Flow;
use super::policy::Looked;
use super::{Answer, Decision, End, Ends, Found, Kind, Query, Routes, Why};
use crate::model::{NextHop, PolicyRule, Route, RouteKind, RuleAction};
use crate::packet::Known;

/// `RT_TABLE_*`.
const LOCAL: u32 = 255;
const MAIN: u32 = 254;
const DEFAULT: u32 = 253;

/// `RT_SCOPE_*`.
const LINK: u8 = 253;
const UNIVERSE: u8 = 0;

const IGMP: u8 = 2;

/// The order in which the kernel tries routes of one table: long prefixes, then TOS, then low metrics.
pub(super) fn sort(table: &mut [&Route]) {
    table.sort_by_key(|route| (Reverse(route.destination.bits), Reverse(route.tos), route.priority));
}

/// `fib_table_lookup`: the first route that fits, and its first next hop that does.
pub(super) fn look<'a>(table: &[&'a Route], flow: &Flow) -> Looked<'a> {
    let mut looked = Looked { falls_through: true, ..Looked::default() };
    for route in table.iter().copied().filter(|route| route.destination.holds(flow.destination)) {
        let certain = match flow.tos {
            _ if route.tos == 0 => true,
            Known::Is(tos) if tos & 0x1c == route.tos => true,
            Known::Unknown => false,
            Known::Is(_) | Known::Absent => continue,
        };
        if route.kind != RouteKind::Throw {
            let end = match (Kind::refusal(route.kind), usable(route, flow.device)) {
                (Some(kind), _) => End::Refused(kind),
                (None, Some(hop)) => End::Route(route, Some(hop)),
                (None, None) if route.hops.is_empty() => {
                    looked.why = Some(Why::NextHopObject);
                    return looked;
                }
                (None, None) => continue,
            };
            looked.ends.push(end);
        }
        if certain {
            looked.falls_through = route.kind == RouteKind::Throw;
            return looked;
        }
        looked.why.get_or_insert(Why::TrafficClass);
    }
    looked
}

/// The first next hop that is alive and leads to the device, if it has to be one.
fn usable(route: &Route, device: u32) -> Option<usize> {
    let dead = |flags: u8| flags & NextHop::DEAD != 0;
    route.hops.iter().position(|hop| !dead(hop.flags) && (device == 0 || hop.interface == device))
}

/// The three rules that every namespace begins with.
pub(super) fn are_default(rules: &[&PolicyRule]) -> bool {
    let plain = |rule: &&PolicyRule, priority, table| {
        let bare = PolicyRule {
            priority,
            action: RuleAction::Lookup(table),
            maker: rule.maker,
            flags: rule.flags & 1,
            from: None,
            to: None,
            invert: false,
            input: None,
            output: None,
            mark: None,
            users: None,
            protocol: None,
            source_ports: None,
            destination_ports: None,
            tos: 0,
            vrf: false,
            suppress_prefix: None,
            suppress_group: None,
            ipv6: false,
            unknown: Vec::new(),
        };
        **rule == bare
    };
    matches!(rules, [local, main, default]
        if plain(local, 0, LOCAL) && plain(main, 32_766, MAIN) && plain(default, 32_767, DEFAULT))
}

impl<'a> Routes<'a> {
    /// `fib_lookup`. As long as nobody ever touched the rules, the local and the main table are one; the kernel does not tell.
    pub(super) fn fib4(&self, flow: &Flow) -> Result<Ends<'a>, Why> {
        let mut ends = self.by_rules(flow, look);
        if are_default(self.policy(false)) {
            let before = ends.found.clone();
            ends.add(self.by_one_table(flow));
            let same = |found: &Found<'_>| before.iter().any(|known| known.end == found.end);
            if !ends.found.iter().all(same) {
                ends.doubt(Why::History);
            }
            ends.found.dedup();
        }
        match ends.why {
            // What such a route leads to cannot be listed.
            Some(Why::NextHopObject) => Err(Why::NextHopObject),
            _ => Ok(ends),
        }
    }

    /// The same in a namespace whose rules are those that it was made with.
    fn by_one_table(&self, flow: &Flow) -> Ends<'a> {
        let (looked, mut more) = (look(&self.one_table(), flow), Looked::default());
        if looked.falls_through {
            more = look(self.table(false, DEFAULT), flow);
            if more.falls_through {
                more.ends.push(End::Refused(Kind::NoRoute));
            }
        }
        let found = looked.ends.into_iter().chain(more.ends).map(|end| {
            let (table, rule) = match end {
                End::Route(Route { table: LOCAL, .. }, _) => (Some(LOCAL), Some(0)),
                End::Route(Route { table: DEFAULT, .. }, _) => (Some(DEFAULT), Some(32_767)),
                End::Route(route, _) => (Some(route.table), Some(32_766)),
                End::Refused(Kind::NoRoute) => (None, None),
                End::Refused(_) => (Some(MAIN), Some(32_766)),
            };
            Found { end, table, rule }
        });
        Ends { found: found.collect(), why: looked.why.or(more.why) }
    }

    /// Every next hop that a packet may take by a route, and why there are several; with `defaults`, by equal default routes too.
    fn paths(&self, found: Found<'a>, defaults: bool) -> (Vec<Found<'a>>, Option<Why>) {
        let End::Route(route, _) = found.end else { return (vec![found], None) };
        let equal = |other: &&Route| {
            (other.destination.bits, other.tos, other.priority, other.kind)
                == (route.destination.bits, route.tos, route.priority, RouteKind::Unicast)
        };
        let mut routes = vec![route];
        if route.hops.len() == 1 && defaults && route.destination.bits == 0 && route.kind == RouteKind::Unicast {
            routes = self.table(false, route.table).iter().copied().filter(equal).collect();
        }
        let alive = |hop: &NextHop| hop.flags & NextHop::DEAD == 0;
        let of = |route: &'a Route| {
            let hops = route.hops.iter().enumerate().filter(move |(_, hop)| alive(hop));
            hops.map(move |(hop, _)| Found { end: End::Route(route, Some(hop)), ..found })
        };
        let paths: Vec<Found<'a>> = routes.into_iter().flat_map(of).collect();
        let several = paths.len() > 1;
        (paths, several.then_some(Why::Multipath))
    }

    /// `ip_route_output_key`: an own packet, of a socket that is bound to `device` or to none.
    pub(super) fn output4(&self, query: &Query, device: u32) -> Answer {
        let IpAddr::V4(mut destination) = query.destination else { return Err(Why::Unread) };
        let certain = |decision: Decision| Ok((vec![decision], None));
        let to_all = destination.is_broadcast() || destination.is_multicast();
        if let Some(source) = query.source {
            let IpAddr::V4(address) = source else { return certain(refused(Kind::Invalid)) };
            if address.is_multicast() || address.is_broadcast() || address.is_unspecified() {
                return certain(refused(Kind::Invalid));
            }
            let owner = self.owner_of(source)?;
            if device == 0 && to_all {
                let Some(owner) = owner else { return certain(refused(Kind::Invalid)) };
                return certain(self.send(destination, owner, source)?);
            }
            if owner.is_none() && !query.any_source {
                return certain(refused(Kind::Invalid));
            }
        }
        let mut source = query.source;
        if device != 0 {
            if !self.interface(device).is_some_and(|interface| interface.up) {
                return certain(refused(Kind::NoRoute));
            }
            let [first, second, third, _] = destination.octets();
            let near = (first, second, third) == (224, 0, 0) || query.protocol == Known::Is(IGMP);
            if near || destination.is_broadcast() {
                let source = match source {
                    Some(source) => source,
                    None => self.select4(device, None, LINK)?,
                };
                return certain(self.send(destination, device, source)?);
            }
            if source.is_none() && destination.is_multicast() {
                source = Some(self.select4(device, None, UNIVERSE)?);
            }
        }
        if destination.is_unspecified() {
            destination = match source {
                Some(IpAddr::V4(source)) => source,
                _ => Ipv4Addr::LOCALHOST,
            };
            let loopback = self.loopback().map(|loopback| loopback.name.clone());
            let source = Known::Is(source.unwrap_or(destination.into()));
            return certain(Decision { device: loopback, source, ..refused(Kind::Local) });
        }
        let loopback = self.loopback().map(|loopback| loopback.name.clone());
        let flow = Flow { source, ..Flow::of(query, loopback, device) };
        let ends = self.fib4(&flow)?;
        let (mut decisions, mut why) = (Vec::new(), ends.why);
        for found in ends.found {
            let (paths, several) = if device == 0 { self.paths(found, true) } else { (vec![found], None) };
            why = why.or(several);
            for path in paths {
                decisions.push(self.leave(query, source, path, device)?);
            }
        }
        Ok((decisions, why))
    }

    /// An own packet by one of the ends.
    fn leave(&self, query: &Query, source: Option<IpAddr>, found: Found<'a>, device: u32) -> Result<Decision, Why> {
        let IpAddr::V4(destination) = query.destination else { return Err(Why::Unread) };
        let decision = self.decision(found);
        let (route, hop) = match found.end {
            // The tables are wrong, it seems: the destination is taken to be on the device's own link.
            End::Refused(_) if device != 0 => {
                let source = match source {
                    Some(source) => source,
                    None => self.select4(device, None, LINK)?,
                };
                return self.send(destination, device, source);
            }
            End::Refused(_) => return Ok(decision),
            End::Route(route, hop) => (route, hop.and_then(|hop| route.hops.get(hop)).ok_or(Why::NextHopObject)?),
        };
        if route.kind == RouteKind::Local {
            let source = source.or(route.preferred_source).unwrap_or(query.destination);
            let device = self.loopback().map(|loopback| loopback.name.clone());
            let kind = match destination {
                _ if destination.is_broadcast() => Kind::Broadcast,
                _ if destination.is_multicast() => Kind::Multicast,
                _ => Kind::Local,
            };
            return Ok(Decision { kind, device, gateway: None, source: Known::Is(source), ..decision });
        }
        let near = hop.gateway.filter(IpAddr::is_ipv4);
        let source = match source.or(route.preferred_source) {
            Some(source) => source,
            None => self.select4(hop.interface, near, route.scope)?,
        };
        let sent = self.send(destination, hop.interface, source)?;
        let kind = match sent.kind {
            Kind::Unicast if decision.kind == Kind::Broadcast => Kind::Broadcast,
            // Routes to groups say nothing of other destinations.
            kind => kind,
        };
        let gateway = decision.gateway.filter(|_| match kind {
            Kind::Unicast => true,
            Kind::Multicast => route.destination.bits >= 4,
            _ => false,
        });
        Ok(Decision { kind, gateway, table: found.table, rule: found.rule, ..sent })
    }

    /// The end of `__mkroute_output`: by a device, straight to the destination.
    fn send(&self, destination: Ipv4Addr, device: u32, source: IpAddr) -> Result<Decision, Why> {
        let stays = matches!(source, IpAddr::V4(source) if source.is_loopback());
        if stays && !self.is_loopback(device) && self.greater(device, "route_localnet")? == 0 {
            return Ok(refused(Kind::Invalid));
        }
        let kind = match destination {
            _ if destination.is_broadcast() => Kind::Broadcast,
            _ if destination.is_multicast() => Kind::Multicast,
            // 0.0.0.0/8
            _ if destination.octets().first() == Some(&0) => return Ok(refused(Kind::Invalid)),
            _ => Kind::Unicast,
        };
        let device = self.name_of(device);
        Ok(Decision { kind, gateway: None, device, source: Known::Is(source), table: None, rule: None })
    }

    /// `__ip_dev_find`: the device that has an address, or that the local table gives it to.
    fn owner_of(&self, address: IpAddr) -> Result<Option<u32>, Why> {
        if let Some(own) = self.addresses.iter().find(|own| own.address == address) {
            return Ok(Some(own.interface));
        }
        let to = |found: &[&Route]| {
            let route = found.iter().find(|route| route.destination.holds(address) && route.tos == 0)?;
            let hop = route.hops.first().filter(|_| route.kind == RouteKind::Local);
            hop.map(|hop| hop.interface)
        };
        let owner = to(self.table(false, LOCAL));
        if are_default(self.policy(false)) && to(&self.one_table()) != owner {
            return Err(Why::History);
        }
        Ok(owner)
    }

    /// The local and the main table as one.
    pub(super) fn one_table(&self) -> Vec<&'a Route> {
        let mut both: Vec<&Route> = [LOCAL, MAIN].iter().flat_map(|table| self.table(false, *table)).copied().collect();
        both.sort_by_key(|route| {
            (Reverse(route.destination.bits), Reverse(route.table), Reverse(route.tos), route.priority)
        });
        both
    }

    /// `ip_route_input`: a packet that came in by a device.
    pub(super) fn input4(&self, query: &Query, device: u32) -> Answer {
        let nobody = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let (IpAddr::V4(destination), IpAddr::V4(source)) = (query.destination, query.source.unwrap_or(nobody)) else {
            return Err(Why::Unread);
        };
        let invalid = Ok((vec![refused(Kind::Invalid)], None));
        if destination.is_multicast() {
            return Err(Why::Groups);
        }
        if source.is_multicast() || source.is_broadcast() {
            return invalid;
        }
        let zero = |address: Ipv4Addr| address.octets().first() == Some(&0);
        let all = Found { end: End::Refused(Kind::Broadcast), table: None, rule: None };
        if destination.is_broadcast() || source.is_unspecified() && destination.is_unspecified() {
            return self.come(query, source.into(), device, Ends::one(all));
        }
        if zero(source) || zero(destination) {
            return invalid;
        }
        let stays = destination.is_loopback() || source.is_loopback();
        if stays && self.greater(device, "route_localnet")? == 0 {
            return invalid;
        }
        let flow = Flow { source: Some(source.into()), ..Flow::incoming(query) };
        let ends = self.fib4(&flow)?;
        self.come(query, source.into(), device, ends)
    }

    /// What the ends mean to a packet that came in: it is taken, forwarded or dropped, if its source may come this way.
    fn come(&self, query: &Query, source: IpAddr, device: u32, ends: Ends<'a>) -> Answer {
        let (mut decisions, mut why) = (Vec::new(), ends.why);
        let forwards = self.of_device(device, "forwarding")? != 0;
        let loopback = self.loopback().map(|loopback| loopback.name.clone());
        let spreads = self.of_device(device, "bc_forwarding").is_ok_and(|value| value != 0);
        if spreads && ends.found.iter().any(|found| self.decision(*found).kind == Kind::Broadcast) {
            return Err(Why::Setting);
        }
        for found in ends.found {
            let (paths, several) = self.paths(found, false);
            why = why.or(several);
            for path in paths {
                let decision = Decision { source: Known::Is(source), ..self.decision(path) };
                let (decision, out) = match (path.end, decision.kind) {
                    (_, Kind::Broadcast) | (End::Route(..), Kind::Local) => {
                        (Decision { device: loopback.clone(), gateway: None, ..decision }, 0)
                    }
                    _ if !forwards => (Decision { source: Known::Absent, ..refused(Kind::NotForwarded) }, 0),
                    (End::Refused(_), _) => (decision, 0),
                    (End::Route(route, hop), Kind::Unicast) => {
                        (decision, hop.and_then(|hop| route.hops.get(hop)).map_or(0, |hop| hop.interface))
                    }
                    _ => (refused(Kind::Invalid), 0),
                };
                if !matches!(decision.kind, Kind::Local | Kind::Broadcast | Kind::Unicast) {
                    decisions.push(decision);
                    continue;
                }
                let to = if decision.kind == Kind::Broadcast { None } else { Some(query.destination) };
                if decision.kind == Kind::Broadcast && source.is_unspecified() {
                    decisions.push(decision);
                    continue;
                }
                let (verdicts, doubt) = self.way_back(query, source, to, out, device)?;
                why = why.or(doubt);
                decisions.extend(verdicts.into_iter().map(|refusal| match refusal {
                    None => decision.clone(),
                    Some(kind) => refused(kind),
                }));
            }
        }
        Ok((decisions, why))
    }

    /// `fib_validate_source`: why a packet may not come from there by this device; `None` where it may.
    fn way_back(
        &self,
        query: &Query,
        source: IpAddr,
        destination: Option<IpAddr>,
        out: u32,
        device: u32,
    ) -> Result<(Vec<Option<Kind>>, Option<Why>), Why> {
        let filter = self.greater(device, "rp_filter")?;
        let accepts = self.greater(device, "accept_local")? != 0;
        let (mut verdicts, mut why) = self.full_check(query, source, destination, out, (device, filter, accepts))?;
        let turns = device == out && self.greater(device, "send_redirects")? != 0;
        // Nobody tells whether there were rules or local routes of somebody's own once: with them the check is always the full one.
        if filter == 0 && !turns && are_default(self.policy(false)) {
            let own = self.addresses.iter().any(|own| own.address == source);
            let short = (own && !accepts).then_some(Kind::Invalid);
            if verdicts.iter().any(|verdict| *verdict != short) {
                why.get_or_insert(Why::History);
            }
            verdicts.push(short);
        }
        Ok((verdicts, why))
    }

    fn full_check(
        &self,
        query: &Query,
        source: IpAddr,
        destination: Option<IpAddr>,
        out: u32,
        (device, filter, accepts): (u32, i32, bool),
    ) -> Result<(Vec<Option<Kind>>, Option<Why>), Why> {
        let mark = if self.greater(device, "src_valid_mark")? != 0 { query.mark } else { Known::Is(0) };
        let from = if out == 0 { self.loopback().map(|loopback| loopback.name.clone()) } else { self.name_of(out) };
        let flow = Flow {
            destination: source,
            source: destination,
            input: from,
            mark,
            source_port: query.destination_port,
            destination_port: query.source_port,
            ..Flow::incoming(query)
        };
        let ends = self.fib4(&flow)?;
        let bare = !self.addresses.iter().any(|own| own.interface == device && own.address.is_ipv4());
        let last = (filter != 0).then_some(Kind::ReversePath);
        let verdict = |found: &Found<'_>| {
            let End::Route(route, _) = found.end else { return last };
            match route.kind {
                RouteKind::Unicast => {}
                RouteKind::Local if accepts => {}
                _ => return Some(Kind::Invalid),
            }
            let local = route.kind == RouteKind::Local && self.is_loopback(device);
            match route.hops.iter().any(|hop| hop.interface == device) || local {
                true => None,
                false if bare => last,
                false => (filter == 1).then_some(Kind::ReversePath),
            }
        };
        Ok((ends.found.iter().map(verdict).collect(), ends.why))
    }
}

/// It goes nowhere.
pub(super) fn refused(kind: Kind) -> Decision {
    Decision { kind, gateway: None, device: None, source: Known::Absent, table: None, rule: None }
}
