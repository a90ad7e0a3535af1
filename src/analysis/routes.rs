//! Where a packet goes by the routes of its namespace: policy rules, tables, source addresses and the check of the way back, as the
//! kernel asks them, in three values.
//!
//! Sources: net/core/fib_rules.c, net/ipv4/fib_rules.c, fib_trie.c, fib_semantics.c, fib_frontend.c, route.c, devinet.c;
//! net/ipv6/fib6_rules.c, ip6_fib.c, route.c, addrconf.c.

pub(in crate::analysis) mod address_types;
mod flow;
mod ipv4;
mod ipv6;
mod policy;
mod source;
#[cfg(test)]
mod tests;

pub(super) use source::{LINK_LOCAL, scope_of};

use std::collections::HashMap;
use std::net::IpAddr;

use crate::model::{Interface, OwnAddress, PolicyRule, Route, RouteKind, RoutingSettings, Snapshot};
use crate::packet::Known;

/// What is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// Source address; `None` where the kernel chooses it.
    pub source: Option<IpAddr>,
    /// Destination address.
    pub destination: IpAddr,
    /// The packet's mark.
    pub mark: Known<u32>,
    /// Device that it came in by; `None` for the namespace's own packets.
    pub input: Option<String>,
    /// Device that the socket of an own packet is bound to.
    pub output: Option<String>,
    /// User of an own packet's socket, as the node counts.
    pub uid: Known<u32>,
    /// IANA protocol number.
    pub protocol: Known<u8>,
    /// Source port.
    pub source_port: Known<u16>,
    /// Destination port.
    pub destination_port: Known<u16>,
    /// TOS byte or traffic class.
    pub traffic_class: Known<u8>,
    /// The source of an own packet need not be an address of the namespace: it was translated, or its socket is transparent.
    pub any_source: bool,
}

impl Query {
    /// An own packet without mark, TOS or anything else to this destination, by root.
    #[must_use]
    pub fn to(destination: IpAddr) -> Self {
        Self {
            source: None,
            destination,
            mark: Known::Is(0),
            input: None,
            output: None,
            uid: Known::Is(0),
            protocol: Known::Is(0),
            source_port: Known::Is(0),
            destination_port: Known::Is(0),
            traffic_class: Known::Is(0),
            any_source: false,
        }
    }
}

/// What becomes of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The namespace takes it in.
    Local,
    /// It leaves, or is forwarded.
    Unicast,
    /// It is a broadcast.
    Broadcast,
    /// The namespace takes it in as anycast.
    Anycast,
    /// It goes to a group.
    Multicast,
    /// Dropped without a word.
    Blackhole,
    /// Refused by a route: host unreachable.
    Unreachable,
    /// Refused: prohibited.
    Prohibit,
    /// No route, or a policy rule says so: network unreachable.
    NoRoute,
    /// The device does not forward.
    NotForwarded,
    /// Its source or destination is one that it must not have here (a martian, or `EINVAL` to the program).
    Invalid,
    /// The way back to its source leads elsewhere (`rp_filter`).
    ReversePath,
}

/// One outcome of a lookup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// What becomes of it.
    pub kind: Kind,
    /// The router.
    pub gateway: Option<IpAddr>,
    /// Device that it leaves by; `lo` where it is taken in.
    pub device: Option<String>,
    /// Source address of an own packet: the given one, or the kernel's choice.
    pub source: Known<IpAddr>,
    /// Table of the route; `None` where there is none, or more than one would do the same.
    pub table: Option<u32>,
    /// Priority of the policy rule, likewise.
    pub rule: Option<u32>,
}

/// Why an outcome is not certain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Why {
    /// The list of routes, rules, addresses or interfaces was not read.
    Unread,
    /// A setting below `/proc/sys/net` is not known.
    Setting,
    /// A rule asks for the mark.
    Mark,
    /// A rule asks for the user.
    User,
    /// A rule asks for the protocol or a port.
    Ports,
    /// A rule or a route asks for the TOS.
    TrafficClass,
    /// A rule has parts that are not understood.
    Foreign,
    /// A rule asks for a VRF, or for the group of a device.
    Vrf,
    /// Several routes or next hops share the packets.
    Multipath,
    /// The route goes by a next hop object of which nothing is told.
    NextHopObject,
    /// The route is another one when its router does not answer.
    Reachability,
    /// Whether there were other policy rules or local routes once, which the kernel does not tell.
    History,
    /// Which groups the device joined.
    Groups,
    /// No such device.
    Device,
    /// The packet's source or device is not known.
    Source,
    /// The packet's destination is not known.
    Destination,
    /// It hangs on whether the socket was connected before it sends.
    Socket,
}

impl Why {
    /// What cannot be known, in words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Unread => "how it routes, which was not read",
            Self::Setting => "a setting of routing that was not read",
            Self::Mark => "the mark, by which it is routed",
            Self::User => "the user, by whom it is routed",
            Self::Ports => "the protocol or port, by which it is routed",
            Self::TrafficClass => "the TOS, by which it is routed",
            Self::Foreign => "a policy rule that is not understood",
            Self::Vrf => "a policy rule that asks for a VRF or a group of devices",
            Self::Multipath => "which of several next hops it takes",
            Self::NextHopObject => "a next hop object of which nothing is told",
            Self::Reachability => "whether a router answers",
            Self::History => "whether the namespace ever had other policy rules, which the kernel does not tell",
            Self::Groups => "which groups the device joined",
            Self::Device => "which device it takes",
            Self::Source => "its source or device, by which it is routed",
            Self::Socket => "whether its socket is connected",
            Self::Destination => "its destination, by which it is routed",
        }
    }
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// So it is.
    Decided(Decision),
    /// One of these.
    OneOf(Vec<Decision>, Why),
    /// It cannot be known.
    CannotKnow(Why),
}

/// `RT_TABLE_LOCAL`
const LOCAL: u32 = 255;
/// `RT_SCOPE_UNIVERSE`
const UNIVERSE: u8 = 0;

/// The routes of a snapshot, ready to be asked.
#[derive(Debug)]
pub struct Routes<'a> {
    tables: HashMap<(bool, u32), Vec<&'a Route>>,
    rules: [Vec<&'a PolicyRule>; 2],
    addresses: &'a [OwnAddress],
    interfaces: &'a [Interface],
    settings: &'a RoutingSettings,
}

/// A lookup's end, before it is told in names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Found<'a> {
    end: End<'a>,
    table: Option<u32>,
    rule: Option<u32>,
}

/// What a lookup leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End<'a> {
    /// A route, and the next hop of it by its place; of kinds that lead somewhere.
    Route(&'a Route, Option<usize>),
    /// None, for this reason.
    Refused(Kind),
}

/// All ends that a lookup may have, and why there are several.
#[derive(Debug, Default)]
struct Ends<'a> {
    found: Vec<Found<'a>>,
    why: Option<Why>,
}

impl<'a> Routes<'a> {
    /// The routes of a snapshot; `None` where they, the rules, the addresses or the interfaces were not read.
    #[must_use]
    pub fn of(snapshot: &'a Snapshot) -> Option<Self> {
        let routing = snapshot.routes.as_ref()?;
        let mut tables: HashMap<(bool, u32), Vec<&'a Route>> = HashMap::new();
        for route in routing.routes.as_ref()? {
            tables.entry((route.ipv6(), route.table)).or_default().push(route);
        }
        for ((ipv6, _), table) in &mut tables {
            if *ipv6 { ipv6::sort(table) } else { ipv4::sort(table) }
        }
        let all = routing.rules.as_ref()?;
        let rules = [false, true].map(|ipv6| {
            let mut rules: Vec<&PolicyRule> = all.iter().filter(|rule| rule.ipv6 == ipv6).collect();
            rules.sort_by_key(|rule| rule.priority);
            rules
        });
        Some(Self {
            tables,
            rules,
            addresses: routing.addresses.as_ref()?,
            interfaces: snapshot.interfaces.as_ref()?,
            settings: &routing.settings,
        })
    }

    /// Where a packet goes. An own packet without a source is looked up once with none, as a connected socket's first lookup is;
    /// with the source that is chosen then the kernel asks again before it sends.
    #[must_use]
    pub fn lookup(&self, query: &Query) -> Outcome {
        match self.ask(query) {
            Ok((decisions, why)) => outcome(decisions, why),
            Err(why) => Outcome::CannotKnow(why),
        }
    }

    /// The same as a list of what may become of it.
    pub(in crate::analysis) fn ask(&self, query: &Query) -> Answer {
        let (input, output) = (self.index_of(query.input.as_deref())?, self.index_of(query.output.as_deref())?);
        match (query.destination, input) {
            (IpAddr::V4(_), 0) => self.output4(query, output),
            (IpAddr::V4(_), _) => self.input4(query, input),
            (IpAddr::V6(_), 0) => self.output6(query, output),
            (IpAddr::V6(_), _) => self.input6(query, input),
        }
    }

    /// Whether an address is one of the namespace: its local table says so (`inet_addr_type`).
    #[must_use]
    pub fn is_own(&self, address: IpAddr) -> bool {
        let local = self.table(address.is_ipv6(), LOCAL).iter().find(|route| route.destination.holds(address));
        local.is_some_and(|route| route.kind == RouteKind::Local)
    }

    /// The address that a device gives to what leaves by it for a router or a destination.
    pub(in crate::analysis) fn source_for(&self, device: &str, gateway: Option<IpAddr>, to: IpAddr) -> Known<IpAddr> {
        let Ok(index) = self.index_of(Some(device)) else { return Known::Unknown };
        match to {
            IpAddr::V4(_) => {
                Known::from_option(self.select4(index, gateway.filter(IpAddr::is_ipv4).or(Some(to)), UNIVERSE).ok())
            }
            IpAddr::V6(to) => self.select6(Some(index), to),
        }
    }

    /// Index of a device; 0 for none.
    pub(in crate::analysis) fn index_of(&self, name: Option<&str>) -> Result<u32, Why> {
        let Some(name) = name else { return Ok(0) };
        self.interfaces.iter().find(|interface| interface.name == name).map(|found| found.index).ok_or(Why::Device)
    }

    fn interface(&self, index: u32) -> Option<&'a Interface> {
        self.interfaces.iter().find(|interface| interface.index == index)
    }

    fn name_of(&self, index: u32) -> Option<String> {
        self.interface(index).map(|interface| interface.name.clone())
    }

    fn loopback(&self) -> Option<&'a Interface> {
        self.interfaces.iter().find(|interface| interface.loopback)
    }

    pub(in crate::analysis) fn is_loopback(&self, index: u32) -> bool {
        self.interface(index).is_some_and(|interface| interface.loopback)
    }

    /// A setting of IPv4 of a device alone.
    fn of_device(&self, index: u32, name: &str) -> Result<i32, Why> {
        let device = self.interface(index).ok_or(Why::Device)?;
        self.settings.ipv4(&device.name, name).ok_or(Why::Setting)
    }

    /// A setting of IPv4 that the greater of the device's own and that of `all` decides.
    fn greater(&self, index: u32, name: &str) -> Result<i32, Why> {
        let all = self.settings.ipv4("all", name).ok_or(Why::Setting)?;
        self.of_device(index, name).map(|own| own.max(all))
    }

    fn table(&self, ipv6: bool, table: u32) -> &[&'a Route] {
        self.tables.get(&(ipv6, table)).map(Vec::as_slice).unwrap_or_default()
    }

    /// The rules that there are, of one family.
    fn policy(&self, ipv6: bool) -> &[&'a PolicyRule] {
        let [of_ipv4, of_ipv6] = &self.rules;
        if ipv6 { of_ipv6 } else { of_ipv4 }
    }

    /// A decision by a route, before its source address is chosen.
    fn decision(&self, found: Found<'_>) -> Decision {
        let Found { end, table, rule } = found;
        let nowhere = Decision { kind: Kind::NoRoute, gateway: None, device: None, source: Known::Absent, table, rule };
        match end {
            End::Refused(kind) => Decision { kind, ..nowhere },
            End::Route(route, hop) => {
                let hop = hop.and_then(|hop| route.hops.get(hop));
                let kind = match route.kind {
                    RouteKind::Local => Kind::Local,
                    RouteKind::Broadcast => Kind::Broadcast,
                    RouteKind::Anycast => Kind::Anycast,
                    RouteKind::Multicast => Kind::Multicast,
                    _ => Kind::Unicast,
                };
                let device = hop.and_then(|hop| self.name_of(hop.interface));
                Decision { kind, gateway: hop.and_then(|hop| hop.gateway), device, ..nowhere }
            }
        }
    }
}

impl<'a> Ends<'a> {
    fn one(found: Found<'a>) -> Self {
        Self { found: vec![found], why: None }
    }

    fn doubt(&mut self, why: Why) {
        self.why.get_or_insert(why);
    }

    fn add(&mut self, other: Ends<'a>) {
        self.found.extend(other.found);
        self.why = self.why.or(other.why);
    }
}

impl Kind {
    /// The packet goes on, or in.
    #[must_use]
    pub fn leads(self) -> bool {
        matches!(self, Self::Local | Self::Unicast | Self::Broadcast | Self::Anycast | Self::Multicast)
    }

    /// The namespace takes it in.
    #[must_use]
    pub fn takes_in(self) -> bool {
        matches!(self, Self::Local | Self::Anycast)
    }

    /// What a route of a kind that leads nowhere says; `None` for the others.
    fn refusal(kind: RouteKind) -> Option<Self> {
        match kind {
            RouteKind::Blackhole => Some(Self::Blackhole),
            RouteKind::Unreachable => Some(Self::Unreachable),
            RouteKind::Prohibit => Some(Self::Prohibit),
            // NAT, resolved from outside, and whatever comes later: none of them is routed by.
            RouteKind::Other(_) => Some(Self::Invalid),
            _ => None,
        }
    }
}

/// Those that differ in what becomes of the packet.
fn outcome(decisions: Vec<Decision>, why: Option<Why>) -> Outcome {
    let mut distinct: Vec<Decision> = Vec::new();
    for decision in decisions {
        let same = |known: &&mut Decision| {
            (known.kind, &known.gateway, &known.device, &known.source)
                == (decision.kind, &decision.gateway, &decision.device, &decision.source)
        };
        match distinct.iter_mut().find(same) {
            None => distinct.push(decision),
            Some(known) => {
                known.table = known.table.filter(|table| decision.table == Some(*table));
                known.rule = known.rule.filter(|rule| decision.rule == Some(*rule));
            }
        }
    }
    match (distinct.len(), why) {
        (1, _) => distinct.pop().map_or(Outcome::CannotKnow(Why::Unread), Outcome::Decided),
        (0, why) => Outcome::CannotKnow(why.unwrap_or(Why::Unread)),
        (_, why) => Outcome::OneOf(distinct, why.unwrap_or(Why::Multipath)),
    }
}

/// The answer of one family: what may become of it, and why there are several; or why nothing can be said.
pub(super) type Answer = Result<(Vec<Decision>, Option<Why>), Why>;
