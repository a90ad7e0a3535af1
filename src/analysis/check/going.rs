//! Where connections go that somebody of the workload might open, or that might come in: asked of the rules, one packet each.

use std::net::IpAddr;

use super::case::Case;
use crate::analysis::ask::Asker;
use crate::analysis::mesh::Captured;
use crate::analysis::trace::{Identity, Outcome, Question, Verdict};
use crate::model::{Endpoint, Protocol, RuleRef};
use crate::packet::{Field, Known};

/// Where a connection goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Going {
    /// To a port of the namespace that it did not ask for.
    Proxy {
        /// The address; `None` where a transparent socket takes it with its ends as they are.
        address: Option<IpAddr>,
        /// The port.
        port: u16,
        /// The rule that sends it there.
        rule: Option<RuleRef>,
        /// Somebody waits there; `None` where sockets were not read.
        received: Option<bool>,
    },
    /// Where it was to go; by the rule that leaves it alone, where one does.
    Direct(Option<RuleRef>),
    /// It is dropped or rejected, by this rule; `None` for a policy. `moved` is the port that it had been sent to before.
    Ended {
        /// The rule.
        rule: Option<RuleRef>,
        /// The port.
        moved: Option<u16>,
    },
    /// No route leads there.
    Nowhere,
    /// Cannot be told, and why.
    Unclear(String),
}

impl Going {
    /// It goes to a port that it did not ask for.
    #[must_use]
    pub fn is_captured(&self) -> bool {
        matches!(self, Self::Proxy { .. })
    }
}

impl Case<'_> {
    /// An address outside of the namespace of which no rule speaks.
    #[must_use]
    pub fn outside(&self, ipv6: bool) -> IpAddr {
        let [of_ipv4, of_ipv6] = &self.outsides;
        *if ipv6 { of_ipv6 } else { of_ipv4 }.get_or_init(|| {
            let far = Asker::new(self.snapshot, ipv6).named.unnamed_address(&[Field::Destination], ipv6);
            // Where no route leads out there is perhaps a neighbour.
            match self.dials(None, Protocol::Tcp, Endpoint::new(far, self.port())) {
                Going::Nowhere => self.tracer.stranger(ipv6).unwrap_or(far),
                _ => far,
            }
        })
    }

    /// A port of which no rule speaks.
    #[must_use]
    pub fn port(&self) -> u16 {
        *self.unnamed_port.get_or_init(|| Asker::new(self.snapshot, false).named.unnamed_port(Field::DestinationPort))
    }

    /// Where a connection goes that a process with these users and groups opens; one that no rule names where that is not told.
    #[must_use]
    pub fn dials(&self, who: Option<&Identity>, protocol: Protocol, to: Endpoint) -> Going {
        let asker = || Asker::new(self.snapshot, to.address.is_ipv6());
        let (uid, gid, groups) = match who {
            Some(who) => (who.uid, who.gid, who.groups.clone()),
            None => {
                let named = asker().named;
                (named.unnamed_id(Field::Uid), named.unnamed_id(Field::Gid), Vec::new())
            }
        };
        let question = Question {
            protocol,
            uid: Some(uid),
            gid: Some(gid),
            groups: Some(groups),
            state: Some(crate::packet::state::NEW),
            ..Question::to(to)
        };
        self.going(&question)
    }

    /// Where a connection goes that a process with these users and groups opens by a socket with this mark.
    #[must_use]
    pub fn dials_marked(&self, who: &Identity, mark: u32, to: Endpoint) -> Going {
        self.going(&Question {
            uid: Some(who.uid),
            gid: Some(who.gid),
            groups: Some(who.groups.clone()),
            mark,
            state: Some(crate::packet::state::NEW),
            ..Question::to(to)
        })
    }

    /// A destination outside to which somebody's connections are sent to the proxy: one that no rule names, else one that rules pick.
    #[must_use]
    pub fn drawn(&self, ipv6: bool) -> Option<Endpoint> {
        let lane = self.lane(ipv6, false).filter(|lane| matches!(lane.captured, Captured::All | Captured::Some))?;
        let outside = self.outside(ipv6);
        let ports = lane.included.ports.iter().map(|(port, _)| Endpoint::new(outside, *port));
        let networks = lane.included.networks.iter().filter_map(|network| {
            let address: IpAddr = network.split('/').next()?.parse().ok()?;
            Some(Endpoint::new(address, self.port()))
        });
        let named = std::iter::once(Endpoint::new(outside, self.port())).chain(ports).chain(networks);
        let mut named = named.filter(|to| !to.address.is_loopback());
        named.find(|to| self.dials(None, Protocol::Tcp, *to).is_captured())
    }

    /// Where a connection goes that such a process opens from an address of the namespace to one of it.
    #[must_use]
    pub fn passes_on(&self, who: Option<&Identity>, source: Option<IpAddr>, to: Endpoint) -> Going {
        let question = Question {
            source,
            uid: who.map(|who| who.uid),
            gid: who.map(|who| who.gid),
            groups: who.map(|who| who.groups.clone()),
            state: Some(crate::packet::state::NEW),
            ..Question::to(to)
        };
        self.going(&question)
    }

    /// Where a connection goes that comes in from outside.
    #[must_use]
    pub fn comes(&self, protocol: Protocol, to: Endpoint) -> Going {
        let question =
            Question { incoming: true, protocol, state: Some(crate::packet::state::NEW), ..Question::to(to) };
        self.going(&question)
    }

    /// Where the first packet of a connection goes.
    #[must_use]
    pub fn going(&self, question: &Question) -> Going {
        let trace = self.trace(question);
        let mut ends = trace.outcomes.iter().map(|outcome| end(question, outcome));
        let Some(first) = ends.next() else { return Going::Unclear("nothing came of it".to_owned()) };
        if ends.all(|end| end == first) {
            return first;
        }
        let why = trace.doubts.last().map_or("several things", |doubt| doubt.why.as_str());
        Going::Unclear(format!("it hangs on {why}"))
    }
}

fn end(question: &Question, outcome: &Outcome<'_>) -> Going {
    let packet = &outcome.packet;
    let asked = question.destination;
    let moved = match packet.destination_port {
        Known::Is(port) if port != asked.port => Some(port),
        Known::Is(port) if packet.destination != Known::Is(asked.address) => Some(port),
        _ => None,
    };
    if outcome.lost.is_some() {
        return Going::Nowhere;
    }
    let address = if let Known::Is(address) = packet.destination { Some(address) } else { None };
    match outcome.verdict {
        Verdict::Undecided => Going::Unclear(outcome.why.clone().unwrap_or_else(|| "it cannot be decided".to_owned())),
        Verdict::Dropped | Verdict::Rejected => Going::Ended { rule: outcome.rule.clone(), moved },
        Verdict::Delivered | Verdict::Refused if outcome.taken => Going::Proxy {
            address: None,
            port: outcome.receivers.first().map_or(asked.port, |socket| socket.local.port),
            rule: outcome.rule.clone(),
            received: Some(outcome.verdict == Verdict::Delivered),
        },
        Verdict::Delivered | Verdict::Refused => match moved {
            Some(port) => Going::Proxy {
                address,
                port,
                rule: outcome.rule.clone(),
                received: Some(outcome.verdict == Verdict::Delivered),
            },
            None => Going::Direct(outcome.rule.clone()),
        },
        Verdict::Sent => Going::Direct(outcome.rule.clone()),
    }
}
