//! What a proxy of the node lives by in a workload's namespace: the marks by which its packets are known, and its sockets.

use std::collections::BTreeSet;

use super::case::Case;
use super::people::Person;
use crate::analysis::mesh::Variant;
use crate::analysis::trace::Question;
use crate::model::{Endpoint, Hook, RouteKind, RuleAction, RuleRef, Socket, SocketState};
use crate::packet::{Known, Packet, state};

/// The port on which other proxies call: no rule leads there, it is dialled (istio.io, "Application Requirements").
pub const HBONE: u16 = 15_008;
/// The mark that ztunnel's packets carry where no rule tells another (`cni/pkg/iptables`).
const USUAL: (u32, u32) = (0x539, 0xfff);

/// What becomes of a mark on a packet's way.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MarkWay {
    /// What it is in the end, as far as that is known.
    pub last: Option<u32>,
    /// The rule that last gave it bits that it had not.
    pub given: Option<RuleRef>,
    /// The rule that took away what it had.
    pub wiped: Option<RuleRef>,
}

impl<'a> Case<'a> {
    /// The proxy is the node's.
    #[must_use]
    pub fn is_ambient(&self) -> bool {
        self.expected.variant == Some(Variant::Ambient)
    }

    /// Marks with their masks by which rules know the proxy's packets: those that its sockets have; else those that rules leave alone,
    /// but for the mark of answers, which routes lead back to it.
    #[must_use]
    pub fn proxy_marks(&self) -> Vec<(u32, u32)> {
        let exempt = &self.expected.exempt.marks;
        if !self.is_ambient() {
            return exempt.iter().copied().collect();
        }
        let own: BTreeSet<u32> =
            self.waiting_elsewhere().filter_map(|socket| socket.mark).filter(|mark| *mark != 0).collect();
        let known = |mark: &u32| exempt.iter().find(|(value, mask)| mark & mask == *value).copied();
        let live: BTreeSet<(u32, u32)> = own.iter().map(|mark| known(mark).unwrap_or((*mark, u32::MAX))).collect();
        if !live.is_empty() {
            return live.into_iter().collect();
        }
        let answers = |mark: u32| [false, true].into_iter().any(|ipv6| self.leads_home(ipv6, mark) == Some(true));
        let left: Vec<(u32, u32)> = exempt.iter().copied().filter(|(mark, _)| !answers(*mark)).collect();
        if left.is_empty() { vec![USUAL] } else { left }
    }

    /// The sockets of the node's proxy that wait for connections here.
    pub fn waiting_elsewhere(&self) -> impl Iterator<Item = &Socket> {
        let listens = |socket: &&Socket| socket.state == SocketState::Listen;
        let held = |socket: &&Socket| self.owners(socket).any(|person| person.process.elsewhere);
        self.snapshot.sockets.iter().flatten().filter(listens).filter(held)
    }

    /// Those who wait for connections at a port.
    pub fn listeners(&self, port: u16) -> impl Iterator<Item = (&Socket, Vec<&Person<'a>>)> {
        let at = move |socket: &&Socket| socket.state == SocketState::Listen && socket.local.port == port;
        self.snapshot.sockets.iter().flatten().filter(at).map(|socket| (socket, self.owners(socket).collect()))
    }

    /// The runtime made another namespace for the workload than its processes use, and the node's proxy is not in this one: it was
    /// given the other.
    #[must_use]
    pub fn is_served_elsewhere(&self) -> bool {
        let workload = &self.snapshot.workload;
        let other = workload.sandbox_netns.is_some() && workload.sandbox_netns != workload.netns;
        let looked = self.snapshot.sockets.is_some() && self.snapshot.processes.is_some();
        other && looked && self.is_ambient() && self.waiting_elsewhere().next().is_none()
    }

    /// What becomes of the proxy's mark on what it sends to others; `None` where that cannot be told.
    #[must_use]
    pub fn own_mark(&self, ipv6: bool, (mark, mask): (u32, u32)) -> Option<MarkWay> {
        let to = Endpoint::new(self.outside(ipv6), self.port());
        let question = Question { mark, state: Some(state::NEW), ..Question::to(to) };
        self.marks(&question, 0, &[Hook::Output], mask, |packet| packet.mark)
    }

    /// What becomes of the mark of a connection that the proxy opens to the workload's own port.
    #[must_use]
    pub fn connection_mark(&self, ipv6: bool, mark: u32) -> Option<MarkWay> {
        let to = self.served(ipv6).into_iter().next()?;
        let question = Question { mark, state: Some(state::NEW), ..Question::to(to) };
        let hooks = [Hook::Output, Hook::Postrouting, Hook::Prerouting, Hook::Input];
        self.marks(&question, 0, &hooks, u32::MAX, |packet| packet.connection_mark)
    }

    /// What becomes of the mark of a packet that answers on a connection with this mark.
    #[must_use]
    pub fn answer_mark(&self, ipv6: bool, connection: u32) -> Option<MarkWay> {
        let to = Endpoint::new(self.outside(ipv6), self.port());
        let question = Question { state: Some(state::NEW), ..Question::to(to) };
        self.marks(&question, connection, &[Hook::Output], u32::MAX, |packet| packet.mark)
    }

    /// Follows a mark through hooks; `None` where ways differ.
    fn marks(
        &self,
        question: &Question,
        connection: u32,
        hooks: &[Hook],
        mask: u32,
        mark: impl Fn(&Packet) -> Known<u32>,
    ) -> Option<MarkWay> {
        let tracer = &self.tracer;
        let (mut start, _) = tracer.start(question);
        start.packet.connection_mark = Known::Is(connection);
        let every = tracer.rules.every_way(&start, tracer.ground.as_ref(), Some(&tracer.receivers));
        let mut ways = every.ways.iter().map(|gone| {
            let mut way = MarkWay::default();
            if let Known::Is(first) = mark(&start.packet) {
                way.last = Some(first & mask);
            }
            for met in gone.met.iter().filter(|met| hooks.contains(&met.hook)) {
                let (Known::Is(before), Known::Is(after)) = (mark(met.before), mark(met.after)) else { continue };
                let (before, after) = (before & mask, after & mask);
                way.last = Some(after);
                if before != after {
                    let name = tracer.rules().at(met.place).and_then(|at| at.name());
                    if before & !after != 0 {
                        way.wiped = way.wiped.or_else(|| name.clone());
                    }
                    if after & !before != 0 {
                        way.given = name;
                    }
                }
            }
            way
        });
        let first = ways.next()?;
        ways.all(|way| way == first).then_some(first)
    }

    /// Whether packets with this mark are led to loopback, whatever their destination; `None` where routes were not read.
    #[must_use]
    pub fn leads_home(&self, ipv6: bool, mark: u32) -> Option<bool> {
        let routing = self.snapshot.routes.as_ref()?;
        let (rules, routes) = (routing.rules.as_ref()?, routing.routes.as_ref()?);
        let tables = rules.iter().filter_map(|rule| match (rule.mark, rule.action) {
            (Some((value, mask)), RuleAction::Lookup(table)) if rule.ipv6 == ipv6 && mark & mask == value => {
                Some(table)
            }
            _ => None,
        });
        let home = |table: u32| {
            routes.iter().any(|route| {
                let all = route.destination.bits == 0 && route.kind == RouteKind::Local;
                all && route.table == table && route.ipv6() == ipv6
            })
        };
        Some(tables.into_iter().any(home))
    }
}
