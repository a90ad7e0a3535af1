//! What fills the table of tracked connections: destinations, states and proxy ports, counted one flow after the other in a room
//! that does not grow with the table.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use crate::model::{Endpoint, Flow, Protocol};

/// Destinations that are counted at the same time, some 5 MB of them.
const ROOM: usize = 1 << 16;
/// States that are kept apart: there are some thirty, a file may invent more.
const MOST_STATES: usize = 1 << 10;

/// How often something was seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// Flows.
    pub flows: u64,
    /// Of these, without an answer.
    pub unanswered: u64,
    /// Of these, redirected to a port of this namespace.
    pub redirected: u64,
}

impl Count {
    fn add(&mut self, more: Self) {
        self.flows += more.flows;
        self.unanswered += more.unanswered;
        self.redirected += more.redirected;
    }
}

/// Protocol and state of TCP, SCTP and DCCP.
pub type State = (Protocol, Option<Cow<'static, str>>);

/// What was counted.
#[derive(Debug, Clone)]
pub struct Tracked {
    /// All flows.
    pub all: Count,
    /// Of these, IPv6.
    pub ipv6: u64,
    /// Flows whose destination is translated, wherever to.
    pub dnat: u64,
    /// Flows whose source is translated.
    pub snat: u64,
    /// By state.
    pub states: BTreeMap<State, Count>,
    /// Redirected flows by the port of this namespace that they go to.
    pub ports: BTreeMap<u16, u64>,
    /// Flows by zone.
    pub zones: BTreeMap<u16, u64>,
    destinations: HashMap<(Protocol, Endpoint), Count>,
    room: usize,
    short: u64,
    left_out: bool,
}

impl Default for Tracked {
    fn default() -> Self {
        Self::new()
    }
}

impl Tracked {
    /// Nothing counted yet.
    #[must_use]
    pub fn new() -> Self {
        Self::with_room(ROOM)
    }

    /// The same, with room for so many destinations.
    fn with_room(room: usize) -> Self {
        Self {
            all: Count::default(),
            ipv6: 0,
            dnat: 0,
            snat: 0,
            states: BTreeMap::new(),
            ports: BTreeMap::new(),
            zones: BTreeMap::new(),
            destinations: HashMap::new(),
            room,
            short: 0,
            left_out: false,
        }
    }

    /// Counts a flow; `is_local` tells the namespace's own addresses.
    pub fn add(&mut self, flow: &Flow, is_local: impl Fn(IpAddr) -> bool) {
        let unanswered = u64::from(flow.status & Flow::SEEN_REPLY == 0);
        let dnat = flow.status & Flow::DST_NAT != 0;
        let redirected = dnat && flow.reply.0 != flow.original.1 && is_local(flow.reply.0.address);
        let one = Count { flows: 1, unanswered, redirected: u64::from(redirected) };
        self.all.add(one);
        self.ipv6 += u64::from(flow.original.0.address.is_ipv6());
        self.dnat += u64::from(dnat);
        self.snat += u64::from(flow.status & Flow::SRC_NAT != 0);
        if redirected {
            *self.ports.entry(flow.reply.0.port).or_default() += 1;
        }
        *self.zones.entry(flow.zone).or_default() += 1;
        self.count_state(flow, one);
        self.count_destination((flow.protocol, destination(flow)), one);
    }

    fn count_state(&mut self, flow: &Flow, one: Count) {
        let state = (flow.protocol, flow.state.clone());
        if self.states.len() < MOST_STATES || self.states.contains_key(&state) {
            self.states.entry(state).or_default().add(one);
        } else {
            self.states.entry((flow.protocol, Some(Cow::Borrowed("OTHER")))).or_default().add(one);
        }
    }

    /// Where there is no room left, all counts are lowered until half of the destinations are gone: what was seen more often than it
    /// was lowered by is surely still there (Misra and Gries, "Finding repeated elements", 1982).
    fn count_destination(&mut self, destination: (Protocol, Endpoint), one: Count) {
        if self.destinations.len() >= self.room && !self.destinations.contains_key(&destination) {
            let mut counts: Vec<u64> = self.destinations.values().map(|count| count.flows).collect();
            let middle = counts.len() / 2;
            let (_, lowered, _) = counts.select_nth_unstable(middle);
            let lowered = *lowered;
            self.destinations.retain(|_, count| {
                count.flows = count.flows.saturating_sub(lowered);
                count.unanswered = count.unanswered.min(count.flows);
                count.redirected = count.redirected.min(count.flows);
                count.flows > 0
            });
            self.short += lowered;
            self.left_out = true;
        }
        self.destinations.entry(destination).or_default().add(one);
    }

    /// The destinations with most flows, the most first.
    #[must_use]
    pub fn top(&self, most: usize) -> Vec<(Protocol, Endpoint, Count)> {
        let mut all: Vec<_> =
            self.destinations.iter().map(|((protocol, end), count)| (*protocol, *end, *count)).collect();
        all.sort_by(|(protocol, end, count), (other_protocol, other_end, other)| {
            other.flows.cmp(&count.flows).then_with(|| (protocol, end).cmp(&(other_protocol, other_end)))
        });
        all.truncate(most);
        all
    }

    /// How many destinations there are; none where there were too many to be told apart.
    #[must_use]
    pub fn destinations(&self) -> Option<usize> {
        (!self.left_out).then_some(self.destinations.len())
    }

    /// The counts of [`Tracked::top`] may be too low by so much: 0 where there was room for all.
    #[must_use]
    pub fn short(&self) -> u64 {
        self.short
    }
}

/// Without its port where that says nothing.
fn destination(flow: &Flow) -> Endpoint {
    let end = flow.original.1;
    if flow.has_ports() { end } else { Endpoint::new(end.address, 0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(text: &str) -> Endpoint {
        let end: std::net::SocketAddr = text.parse().expect("an end");
        Endpoint::new(end.ip(), end.port())
    }

    fn flow(to: &str, went: &str, status: u32) -> Flow {
        let from = end("10.0.0.2:1000");
        Flow { status, ..Flow::between(Protocol::Tcp, (from, end(to)), (end(went), from)) }
    }

    fn is_local(address: IpAddr) -> bool {
        address.is_loopback() || address == end("10.0.0.2:1").address
    }

    #[test]
    fn destinations_states_and_proxy_ports_are_counted() {
        let mut tracked = Tracked::new();
        let nat = Flow::DST_NAT | Flow::SEEN_REPLY;
        for (to, went, status) in [
            ("10.0.0.5:80", "127.0.0.1:15001", nat),
            ("10.0.0.5:80", "127.0.0.1:15001", Flow::DST_NAT),
            ("10.0.0.2:8080", "10.0.0.2:15006", nat),
            ("10.0.0.6:80", "10.0.0.7:80", nat),
            ("10.0.0.7:80", "10.0.0.7:80", 0),
        ] {
            tracked.add(&flow(to, went, status), is_local);
        }
        assert_eq!(tracked.all, Count { flows: 5, unanswered: 2, redirected: 3 });
        assert_eq!(tracked.ports, BTreeMap::from([(15001, 2), (15006, 1)]));
        let top = tracked.top(1);
        assert_eq!(top, [(Protocol::Tcp, end("10.0.0.5:80"), Count { flows: 2, unanswered: 1, redirected: 2 })]);
        assert_eq!((tracked.destinations(), tracked.short(), tracked.dnat), (Some(4), 0, 4));
    }

    /// More destinations than there is room for: the room is kept, and what is frequent is found with a count that is not too high
    /// and not lower than it is said to be at most.
    #[test]
    fn what_is_frequent_is_found_in_little_room() {
        let mut tracked = Tracked::with_room(64);
        for round in 0..2000_u32 {
            let rare = format!("10.{}.{}.1:{}", round >> 8 & 255, round & 255, 1 + round % 60_000);
            tracked.add(&flow(&rare, &rare, 0), is_local);
            if round % 4 == 0 {
                tracked.add(&flow("10.0.0.5:80", "10.0.0.5:80", 0), is_local);
            }
            assert!(tracked.destinations.len() <= 64);
        }
        let (_, most, count) = tracked.top(1)[0];
        assert_eq!(most, end("10.0.0.5:80"));
        assert!(count.flows <= 500 && count.flows + tracked.short() >= 500, "{count:?} {}", tracked.short());
        assert_eq!((tracked.destinations(), tracked.all.flows), (None, 2500));
        assert!(tracked.short() <= 2500 / 32, "{}", tracked.short());
    }
}
