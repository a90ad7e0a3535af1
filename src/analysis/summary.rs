//! The sentence at the end of `rules`: where new connections go, and who is exempt.
//!
//! It is worked out by asking the rules about packets, never from chain names: one packet that no rule speaks of by name, then one
//! for each UID, GID, mark, port and network that some rule does speak of.

use std::collections::BTreeSet;

use super::ask::{Asker, Named};
use super::eval::End;
use super::paths::blocks;
use crate::model::{Hook, Snapshot};
use crate::packet::{Known, Packet};

/// What happens to new connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// Nothing redirects them.
    Direct,
    /// They go to this port (none: one that the rules do not fix).
    Redirected(Option<u16>),
    /// They are dropped.
    Dropped,
    /// Not known, and why.
    Undecided(String),
}

impl From<End> for Fate {
    fn from(end: End) -> Self {
        match end {
            End::Untouched { .. } => Self::Direct,
            End::Redirected { port, .. } => Self::Redirected(port),
            End::Dropped { .. } => Self::Dropped,
            End::Undecided { because } => Self::Undecided(because),
        }
    }
}

/// Those that are treated otherwise than the rest of their direction: left alone where the rest is redirected, redirected where
/// the rest is not.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Others {
    /// By UID of the sender.
    pub uids: BTreeSet<u32>,
    /// By GID of the sender.
    pub gids: BTreeSet<u32>,
    /// By packet mark.
    pub marks: BTreeSet<u32>,
    /// By destination port.
    pub ports: BTreeSet<u16>,
    /// By network: of the destination when outbound, of the source when inbound; loopback left out.
    pub networks: BTreeSet<String>,
}

impl Others {
    /// Nobody is treated otherwise.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// New TCP connections of one direction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Direction {
    /// What becomes of one that no rule names.
    pub fate: Fate,
    /// Who is treated otherwise.
    pub others: Others,
    /// Some rule on its way redirects something.
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

/// What the rules of one family do to new connections. The caller makes sure that all of them were read.
#[must_use]
pub fn summarise(snapshot: &Snapshot, ipv6: bool) -> Summary {
    const UDP: u8 = 17;
    const DNS: u16 = 53;
    let asker = Asker::new(snapshot, ipv6);
    let dns = asker.outbound(|packet| {
        packet.protocol = Known::Is(UDP);
        packet.destination_port = Known::Is(DNS);
    });
    let leads = |hook: Hook| {
        let mut blocks = blocks(snapshot, false).into_iter();
        blocks.any(|block| block.hook() == Some(hook) && block.ruleset.family.sees(ipv6))
    };
    Summary {
        ipv6,
        outbound: direction(&asker.named, true, leads(Hook::Output), |change| asker.outbound(change)),
        inbound: direction(&asker.named, false, leads(Hook::Prerouting), |change| asker.inbound(change)),
        more: asker.named.more,
        dns: match dns {
            End::Redirected { port, .. } => port,
            _ => None,
        },
    }
}

/// Asks about one packet of a direction, changed in one respect.
type Change<'a> = &'a dyn Fn(&mut Packet);

fn direction(named: &Named, outbound: bool, redirects_some: bool, ask: impl Fn(Change<'_>) -> End) -> Direction {
    let fate = Fate::from(ask(&|_| {}));
    let otherwise = |change: Change<'_>| match fate {
        Fate::Redirected(_) => matches!(ask(change), End::Untouched { .. }),
        Fate::Direct => matches!(ask(change), End::Redirected { .. }),
        Fate::Dropped | Fate::Undecided(_) => false,
    };
    let ports = named.ports.iter().filter(|port| otherwise(&|packet| packet.destination_port = Known::Is(**port)));
    let mut others = Others { ports: ports.copied().collect(), ..Others::default() };
    let networks = if outbound { &named.destinations } else { &named.sources };
    let networks = networks.iter().filter(|(address, _)| !address.is_loopback() && !address.is_unspecified());
    let networks = networks.filter(|(address, _)| {
        otherwise(&|packet| {
            let end = if outbound { &mut packet.destination } else { &mut packet.source };
            *end = Known::Is(*address);
        })
    });
    others.networks = networks.map(|(_, text)| text.clone()).collect();
    if outbound {
        // Packets from outside have no owner, and no mark before a rule gives them one.
        let of = |ids: &BTreeSet<u32>, set: &dyn Fn(&mut Packet, u32)| -> BTreeSet<u32> {
            ids.iter().copied().filter(|id| otherwise(&|packet| set(packet, *id))).collect()
        };
        others.uids = of(&named.uids, &|packet, id| packet.uid = Known::Is(id));
        others.gids = of(&named.gids, &|packet, id| packet.gid = Known::Is(id));
        others.marks = of(&named.marks, &|packet, mark| packet.mark = Known::Is(mark));
    }
    Direction { fate, others, redirects_some }
}
