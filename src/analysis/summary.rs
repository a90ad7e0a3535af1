//! The sentence at the end of `rules`: where new connections go, and who is exempt.
//!
//! It is worked out by asking the rules about packets, never from chain names: one packet that no rule speaks of by name, then one
//! for each UID, GID, mark, port and network that some rule does speak of, at last one made to the measure of each rule.

use std::collections::BTreeSet;

use super::ask::{Asker, Named};
use super::eval::{End, Target};
use super::paths::blocks;
use crate::model::{Hook, RuleRef, Snapshot};
use crate::packet::{Known, Packet};

/// What happens to new connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// Nothing redirects them.
    Direct,
    /// They are sent here.
    Redirected(Target),
    /// They are dropped; by this rule, or by a policy.
    Dropped(Option<RuleRef>),
    /// Not known, and why.
    Undecided(String),
}

impl From<End> for Fate {
    fn from(end: End) -> Self {
        match end {
            End::Untouched { .. } => Self::Direct,
            End::Redirected { to, .. } => Self::Redirected(to),
            End::Dropped { by } => Self::Dropped(by),
            End::Undecided { because } => Self::Undecided(because),
        }
    }
}

/// Those that are treated otherwise than the rest of their direction: left alone where the rest is redirected, redirected where
/// the rest is not. Ranges have both their ends.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Others {
    /// By UID of the sender.
    pub uids: BTreeSet<(u32, u32)>,
    /// By GID of the sender.
    pub gids: BTreeSet<(u32, u32)>,
    /// By packet mark.
    pub marks: BTreeSet<u32>,
    /// By destination port.
    pub ports: BTreeSet<(u16, u16)>,
    /// By network: of the destination when outbound, of the source when inbound; loopback left out.
    pub networks: Vec<String>,
    /// Where those are sent that are redirected although the rest is not.
    pub sent: BTreeSet<u16>,
    /// Rules that treat others otherwise by several properties at once.
    pub further: Vec<Further>,
    /// One of these names an owner or a mark, and leaves it alone.
    pub further_owner: bool,
}

/// A rule that treats packets otherwise than the rest, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Further {
    /// The rule.
    pub rule: RuleRef,
    /// What it does.
    pub does: Does,
}

/// What a rule does to those that it treats otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Does {
    /// It sends them elsewhere.
    Redirects,
    /// It leaves them alone.
    LeavesAlone,
    /// It drops them.
    Drops,
}

impl Others {
    /// Nobody is treated otherwise.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Somebody is told by one property.
    #[must_use]
    pub fn told(&self) -> bool {
        !(self.uids.is_empty()
            && self.gids.is_empty()
            && self.marks.is_empty()
            && self.ports.is_empty()
            && self.networks.is_empty())
    }
}

/// New TCP connections of one direction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Direction {
    /// What becomes of one that no rule names.
    pub fate: Fate,
    /// Who is treated otherwise.
    pub others: Others,
    /// Some rule on its way redirects something, perhaps nothing of what was asked about.
    pub redirects_some: bool,
}

/// New connections of one family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// IPv6 rather than IPv4.
    pub ipv6: bool,
    /// Out of the namespace.
    pub outbound: Direction,
    /// Into the namespace.
    pub inbound: Direction,
    /// The rules speak of more values than were asked about: there may be others who are treated otherwise.
    pub more: bool,
    /// The port that outbound DNS queries over UDP are redirected to.
    pub dns: Option<u16>,
}

impl Summary {
    /// Nothing is redirected, dropped or unknown.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        let plain = |direction: &Direction| {
            direction.fate == Fate::Direct && direction.others.is_empty() && !direction.redirects_some
        };
        plain(&self.outbound) && plain(&self.inbound) && self.dns.is_none()
    }
}

/// What the rules of one family do to new connections. The caller makes sure that all of them were read.
#[must_use]
pub fn summarise(snapshot: &Snapshot, ipv6: bool) -> Summary {
    let asker = Asker::new(snapshot, ipv6);
    let leads = |hook: Hook| {
        let mut blocks = blocks(snapshot, false).into_iter();
        blocks.any(|block| block.hook() == Some(hook) && block.ruleset.family.sees(ipv6))
    };
    Summary {
        ipv6,
        outbound: direction(&asker, Hook::Output, leads(Hook::Output), |change| asker.outbound(change)),
        inbound: direction(&asker, Hook::Prerouting, leads(Hook::Prerouting), |change| asker.inbound(change)),
        more: asker.more(),
        dns: dns(&asker),
    }
}

/// Queries to anybody, or to a resolver that the rules name.
fn dns(asker: &Asker<'_>) -> Option<u16> {
    const UDP: u8 = 17;
    const DNS: u16 = 53;
    let resolvers = asker.named.destinations.iter().map(|(address, _)| Some(*address));
    let mut resolvers =
        std::iter::once(None).chain(resolvers.filter(|address| !address.is_some_and(|it| it.is_loopback())));
    resolvers.find_map(|resolver| {
        let end = asker.outbound(|packet| {
            packet.protocol = Known::Is(UDP);
            packet.destination_port = Known::Is(DNS);
            if let Some(resolver) = resolver {
                packet.destination = Known::Is(resolver);
            }
        });
        match end {
            End::Redirected { to, .. } => to.port,
            _ => None,
        }
    })
}

/// Asks about one packet of a direction, changed in one respect.
type Change<'a> = &'a dyn Fn(&mut Packet);

fn direction(asker: &Asker<'_>, hook: Hook, redirects_some: bool, ask: impl Fn(Change<'_>) -> End) -> Direction {
    let outbound = hook == Hook::Output;
    let usual = ask(&|_| {});
    let fate = Fate::from(usual.clone());
    let mut others = Others::default();
    if matches!(fate, Fate::Dropped(_) | Fate::Undecided(_)) {
        return Direction { fate, others, redirects_some };
    }
    let mut sent = BTreeSet::new();
    let mut otherwise = |change: Change<'_>| match (&fate, ask(change)) {
        (Fate::Redirected(_), End::Untouched { .. }) => true,
        (Fate::Direct, End::Redirected { to, .. }) => {
            sent.extend(to.port);
            true
        }
        _ => false,
    };
    let Named { uids, gids, marks, ports, sources, destinations, .. } = &asker.named;
    let mut port = |port: u16| otherwise(&|packet| packet.destination_port = Known::Is(port));
    others.ports = ports.iter().copied().filter(|(from, to)| port(*from) && (from == to || port(*to))).collect();
    let networks = if outbound { destinations } else { sources };
    for (address, text) in networks.iter().filter(|(address, _)| !address.is_loopback() && !address.is_unspecified()) {
        let change = |packet: &mut Packet| {
            let end = if outbound { &mut packet.destination } else { &mut packet.source };
            *end = Known::Is(*address);
        };
        if otherwise(&change) {
            others.networks.push(text.clone());
        }
    }
    if outbound {
        // Packets from outside have no owner, and no mark before a rule gives them one.
        let mut uid = |id: u32| otherwise(&|packet| packet.uid = Known::Is(id));
        others.uids = uids.iter().copied().filter(|(from, to)| uid(*from) && (from == to || uid(*to))).collect();
        let mut gid = |id: u32| otherwise(&|packet| packet.gid = Known::Is(id));
        others.gids = gids.iter().copied().filter(|(from, to)| gid(*from) && (from == to || gid(*to))).collect();
        let mark = |mark: &u32| otherwise(&|packet| packet.mark = Known::Is(*mark));
        others.marks = marks.iter().map(|(mark, _)| *mark).filter(mark).collect();
    }
    others.sent = sent;
    further(asker, hook, &usual, &mut others);
    Direction { fate, others, redirects_some }
}

/// Rules that no single property tells.
fn further(asker: &Asker<'_>, hook: Hook, usual: &End, others: &mut Others) {
    let within = |ranges: &BTreeSet<(u32, u32)>, id: &Known<u32>| matches!(id, Known::Is(id) if ranges.iter().any(|(from, to)| (from..=to).contains(&id)));
    let known = others.clone();
    let networks = if hook == Hook::Output { &asker.named.destinations } else { &asker.named.sources };
    let told = |packet: &Packet| {
        let end = if hook == Hook::Output { &packet.destination } else { &packet.source };
        within(&known.uids, &packet.uid)
            || within(&known.gids, &packet.gid)
            || matches!(packet.mark, Known::Is(mark) if known.marks.contains(&mark))
            || matches!(packet.destination_port, Known::Is(port) if known.ports.iter().any(|(a, b)| (*a..=*b).contains(&port)))
            || matches!(end, Known::Is(end) if networks.iter().any(|(it, text)| it == end && known.networks.contains(text)))
    };
    for (further, owner) in asker.further(hook, &told, usual) {
        others.further.push(further);
        others.further_owner |= owner;
    }
}
