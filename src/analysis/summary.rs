//! The one sentence at the end of `rules`: where TCP goes, and who is exempt.
//!
//! It is worked out by asking the rules about packets, never from chain names: one packet that no rule speaks of by name, then one
//! for each UID, GID, mark, port and network that some rule does speak of.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::eval::{End, at_hook};
use crate::model::{Body, Family, Hook, Ruleset, Snapshot};
use crate::packet::{Condition, Field, Known, Packet};

/// What happens to new TCP connections of one direction.
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

/// New TCP connections of one family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// IPv6 rather than IPv4.
    pub ipv6: bool,
    /// Outbound ones of somebody whom no rule names.
    pub outbound: Fate,
    /// Inbound ones to a port that no rule names.
    pub inbound: Fate,
    /// UIDs whose outbound connections are left alone.
    pub uids: BTreeSet<u32>,
    /// GIDs likewise.
    pub gids: BTreeSet<u32>,
    /// Marks likewise.
    pub marks: BTreeSet<u32>,
    /// Destination ports that outbound connections reach unredirected.
    pub outbound_ports: BTreeSet<u16>,
    /// Destination networks likewise, outside of loopback.
    pub outbound_networks: BTreeSet<String>,
    /// Inbound ports that are left alone.
    pub inbound_ports: BTreeSet<u16>,
    /// Inbound ports that are redirected although others are not.
    pub only_inbound_ports: BTreeSet<u16>,
}

/// What the rules of one family do to TCP; `None` where the family's rules could not all be read.
#[must_use]
pub fn summarise(snapshot: &Snapshot, ipv6: bool) -> Summary {
    let asker = Asker::new(snapshot, ipv6);
    let outbound: Fate = asker.outbound(|_| {}).into();
    let inbound: Fate = asker.inbound(|_| {}).into();
    let exempt = |change: &dyn Fn(&mut Packet)| {
        matches!(outbound, Fate::Redirected(_)) && matches!(asker.outbound(change), End::Untouched { .. })
    };
    let spared_port = |port: &u16| {
        let end = asker.inbound(|packet| packet.destination_port = Known::Is(*port));
        matches!(inbound, Fate::Redirected(_)) && matches!(end, End::Untouched { .. })
    };
    let caught_port = |port: &u16| {
        let end = asker.inbound(|packet| packet.destination_port = Known::Is(*port));
        inbound == Fate::Direct && matches!(end, End::Redirected { .. })
    };
    let named = &asker.named;
    let networks = named.networks.iter().filter(|(address, _)| !address.is_loopback() && !address.is_unspecified());
    let networks = networks.filter(|(address, _)| exempt(&|packet| packet.destination = Known::Is(*address)));
    Summary {
        ipv6,
        uids: named.uids.iter().filter(|id| exempt(&|packet| packet.uid = Known::Is(**id))).copied().collect(),
        gids: named.gids.iter().filter(|id| exempt(&|packet| packet.gid = Known::Is(**id))).copied().collect(),
        marks: named.marks.iter().filter(|mark| exempt(&|packet| packet.mark = Known::Is(**mark))).copied().collect(),
        outbound_ports: named
            .ports
            .iter()
            .filter(|port| exempt(&|packet| packet.destination_port = Known::Is(**port)))
            .copied()
            .collect(),
        outbound_networks: networks.map(|(_, text)| text.clone()).collect(),
        inbound_ports: named.ports.iter().filter(|port| spared_port(port)).copied().collect(),
        only_inbound_ports: named.ports.iter().filter(|port| caught_port(port)).copied().collect(),
        outbound,
        inbound,
    }
}

/// Values that some rule speaks of.
#[derive(Debug, Default)]
struct Named {
    uids: BTreeSet<u32>,
    gids: BTreeSet<u32>,
    marks: BTreeSet<u32>,
    ports: BTreeSet<u16>,
    networks: BTreeSet<(IpAddr, String)>,
    conditions: Vec<Condition>,
}

struct Asker<'a> {
    rulesets: &'a [Ruleset],
    ipv6: bool,
    named: Named,
    device: String,
    own: IpAddr,
}

/// The bit of a new connection (`XT_CONNTRACK_STATE_BIT(IP_CT_NEW)`).
const NEW: u32 = 1 << 3;
const TCP: u8 = 6;

impl<'a> Asker<'a> {
    fn new(snapshot: &'a Snapshot, ipv6: bool) -> Self {
        let mut named = Named::default();
        for ruleset in snapshot.rulesets().iter().filter(|ruleset| ruleset.family.sees(ipv6)) {
            named.gather(ruleset, ipv6);
        }
        let interface = snapshot.interfaces.iter().flatten().find(|interface| !interface.loopback && interface.up);
        let own = interface.and_then(|interface| {
            let own = interface.addresses.iter().map(|(address, _)| *address);
            own.into_iter().find(|address| address.is_ipv6() == ipv6)
        });
        let unnamed = named.unnamed_address(Field::Source, ipv6);
        let device = interface.map_or("eth0", |interface| interface.name.as_str()).to_owned();
        Self { rulesets: snapshot.rulesets(), ipv6, named, device, own: own.unwrap_or(unnamed) }
    }

    fn packet(&self) -> Packet {
        Packet {
            protocol: Known::Is(TCP),
            destination_port: Known::Is(self.named.unnamed_port(Field::DestinationPort)),
            source_port: Known::Is(self.named.unnamed_port(Field::SourcePort)),
            mark: Known::Is(0),
            connection_mark: Known::Is(0),
            state: Known::Is(NEW),
            ..Packet::default()
        }
    }

    fn outbound(&self, change: impl FnOnce(&mut Packet)) -> End {
        let mut packet = Packet {
            source: Known::Is(self.own),
            destination: Known::Is(self.named.unnamed_address(Field::Destination, self.ipv6)),
            output: Known::Is(self.device.clone()),
            input: Known::Absent,
            uid: Known::Is(self.named.unnamed_id(Field::Uid)),
            gid: Known::Is(self.named.unnamed_id(Field::Gid)),
            ..self.packet()
        };
        change(&mut packet);
        at_hook(self.rulesets, Hook::Output, &packet, self.ipv6)
    }

    fn inbound(&self, change: impl FnOnce(&mut Packet)) -> End {
        let mut packet = Packet {
            source: Known::Is(self.named.unnamed_address(Field::Source, self.ipv6)),
            destination: Known::Is(self.own),
            input: Known::Is(self.device.clone()),
            output: Known::Absent,
            uid: Known::Absent,
            gid: Known::Absent,
            ..self.packet()
        };
        change(&mut packet);
        at_hook(self.rulesets, Hook::Prerouting, &packet, self.ipv6)
    }
}

impl Named {
    fn gather(&mut self, ruleset: &Ruleset, ipv6: bool) {
        let chains = ruleset.tables.iter().flat_map(|table| &table.chains);
        for rule in chains.flat_map(|chain| &chain.rules) {
            let Body::Xt(rule) = &rule.body else { continue };
            if let Some(part) = &rule.ip.destination {
                self.networks.insert((part.address, part.words()));
            }
            rule.condition().visit(&mut |condition| {
                self.value(condition);
                self.conditions.push(condition.clone());
            });
        }
        debug_assert!(ruleset.family != Family::Ip || !ipv6);
    }

    fn value(&mut self, condition: &Condition) {
        // Of a range its first value stands for all.
        let (field, value) = match condition {
            Condition::Range(field, from, _) => (*field, *from),
            Condition::Masked { field, value, .. } => (*field, *value),
            _ => return,
        };
        let small = u32::try_from(value).unwrap_or(u32::MAX);
        match field {
            Field::Uid => self.uids.insert(small),
            Field::Gid => self.gids.insert(small),
            Field::Mark => self.marks.insert(small),
            Field::DestinationPort => self.ports.insert(u16::try_from(value).unwrap_or(u16::MAX)),
            _ => false,
        };
    }

    fn is_named(&self, field: Field, value: u128) -> bool {
        self.conditions.iter().any(|condition| match condition {
            Condition::Range(asked, from, to) => *asked == field && (*from..=*to).contains(&value),
            Condition::Masked { field: asked, mask, value: wanted } => *asked == field && value & mask == *wanted,
            _ => false,
        })
    }

    fn unnamed_port(&self, field: Field) -> u16 {
        let ports = (20_000..u16::MAX).chain(1024..20_000);
        ports.into_iter().find(|port| !self.is_named(field, (*port).into())).unwrap_or(39_999)
    }

    fn unnamed_id(&self, field: Field) -> u32 {
        let ids = (1000..4000_u32).chain(1_000_000_000..1_000_001_000);
        ids.into_iter().find(|id| !self.is_named(field, (*id).into())).unwrap_or(999_999)
    }

    /// An address outside of the machine that no rule's network holds; documentation prefixes first, they are nobody's.
    fn unnamed_address(&self, field: Field, ipv6: bool) -> IpAddr {
        let blocks: Vec<IpAddr> = if ipv6 {
            let block = |prefix: u16, low: u16| Ipv6Addr::new(prefix, 0xdb8, 0, 0, 0, 0, 0, low).into();
            vec![block(0x2001, 77), block(0x2a00, 77), block(0x2600, 77), block(0xfd77, 77)]
        } else {
            let block = |a, b, c| Ipv4Addr::new(a, b, c, 77).into();
            vec![block(198, 51, 100), block(203, 0, 113), block(9, 9, 9), block(100, 64, 7), block(172, 30, 77)]
        };
        let first = blocks.first().copied();
        let free = blocks.into_iter().find(|address| !self.is_named(field, crate::packet::number(*address)));
        free.or(first).unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
    }
}
