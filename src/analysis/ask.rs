//! Packets to ask a snapshot's rules about: one that no rule speaks of by name, to be changed in single respects.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::eval::{End, Rulebase};
use crate::model::{Body, Hook, Ruleset, Snapshot};
use crate::packet::{Condition, Field, Known, Packet, number};
use crate::xt::AddressMatch;

/// Values that some rule speaks of. Of a range its first value stands for all.
#[derive(Debug, Default)]
pub(super) struct Named {
    pub(super) uids: BTreeSet<u32>,
    pub(super) gids: BTreeSet<u32>,
    pub(super) marks: BTreeSet<u32>,
    pub(super) ports: BTreeSet<u16>,
    pub(super) sources: BTreeSet<(IpAddr, String)>,
    pub(super) destinations: BTreeSet<(IpAddr, String)>,
    conditions: Vec<Condition>,
    /// More values are spoken of than are asked about.
    pub(super) more: bool,
}

/// Values of one kind that are asked about: a bound on the time for rule sets that speak of thousands.
const MOST: usize = 200;

/// Asks the rules of one family.
pub(super) struct Asker<'a> {
    rules: Rulebase<'a>,
    ipv6: bool,
    pub(super) named: Named,
    device: String,
    own: IpAddr,
}

/// The bit of a new connection (`XT_CONNTRACK_STATE_BIT(IP_CT_NEW)`).
const NEW: u32 = 1 << 3;
const TCP: u8 = 6;
/// What a pod's device is called where the snapshot does not tell.
const DEVICE: &str = "eth0";

impl<'a> Asker<'a> {
    pub(super) fn new(snapshot: &'a Snapshot, ipv6: bool) -> Self {
        let mut named = Named::default();
        for ruleset in snapshot.rulesets().iter().filter(|ruleset| ruleset.family.sees(ipv6)) {
            named.gather(ruleset);
        }
        let interface = snapshot.interfaces.iter().flatten().find(|interface| !interface.loopback && interface.up);
        let own = interface.and_then(|interface| {
            let own = interface.addresses.iter().map(|(address, _)| *address);
            own.into_iter().find(|address| address.is_ipv6() == ipv6)
        });
        let unnamed = named.unnamed_address(&[Field::Source, Field::Destination], ipv6);
        let device = interface.map_or(DEVICE, |interface| interface.name.as_str()).to_owned();
        Self { rules: Rulebase::of(snapshot.rulesets()), ipv6, named, device, own: own.unwrap_or(unnamed) }
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

    /// A connection from the namespace to somewhere else.
    pub(super) fn outbound(&self, change: impl FnOnce(&mut Packet)) -> End {
        let mut packet = Packet {
            source: Known::Is(self.own),
            destination: Known::Is(self.named.unnamed_address(&[Field::Destination], self.ipv6)),
            source_local: Known::Is(true),
            destination_local: Known::Is(false),
            output: Known::Is(self.device.clone()),
            input: Known::Absent,
            uid: Known::Is(self.named.unnamed_id(Field::Uid)),
            gid: Known::Is(self.named.unnamed_id(Field::Gid)),
            ..self.packet()
        };
        change(&mut packet);
        self.rules.through(&[Hook::Output], &packet, self.ipv6)
    }

    /// A connection from somewhere else to the namespace.
    pub(super) fn inbound(&self, change: impl FnOnce(&mut Packet)) -> End {
        let mut packet = Packet {
            source: Known::Is(self.named.unnamed_address(&[Field::Source], self.ipv6)),
            destination: Known::Is(self.own),
            source_local: Known::Is(false),
            destination_local: Known::Is(true),
            input: Known::Is(self.device.clone()),
            output: Known::Absent,
            uid: Known::Absent,
            gid: Known::Absent,
            ..self.packet()
        };
        change(&mut packet);
        self.rules.through(&[Hook::Prerouting, Hook::Input], &packet, self.ipv6)
    }
}

impl Named {
    fn gather(&mut self, ruleset: &Ruleset) {
        let chains = ruleset.tables.iter().flat_map(|table| &table.chains);
        for rule in chains.flat_map(|chain| &chain.rules) {
            let Body::Xt(rule) = &rule.body else { continue };
            let network = |part: &AddressMatch| (part.address, part.words());
            for (part, into) in [(&rule.ip.source, &mut self.sources), (&rule.ip.destination, &mut self.destinations)] {
                if let Some(part) = part {
                    self.more |= !insert(into, network(part));
                }
            }
            rule.condition().visit(&mut |condition| {
                self.value(condition);
                self.conditions.push(condition.clone());
            });
        }
    }

    fn value(&mut self, condition: &Condition) {
        let (field, value) = match condition {
            Condition::Range(field, from, _) => (*field, *from),
            Condition::Masked { field, value, .. } => (*field, *value),
            _ => return,
        };
        let small = u32::try_from(value).unwrap_or(u32::MAX);
        let whole = match field {
            Field::Uid => insert(&mut self.uids, small),
            Field::Gid => insert(&mut self.gids, small),
            Field::Mark => insert(&mut self.marks, small),
            Field::DestinationPort => insert(&mut self.ports, u16::try_from(value).unwrap_or(u16::MAX)),
            _ => true,
        };
        self.more |= !whole;
    }

    fn is_named(&self, field: Field, value: u128) -> bool {
        self.conditions.iter().any(|condition| match condition {
            Condition::Range(asked, from, to) => *asked == field && (*from..=*to).contains(&value),
            Condition::Masked { field: asked, mask, value: wanted } => *asked == field && value & mask == *wanted,
            _ => false,
        })
    }

    fn unnamed_port(&self, field: Field) -> u16 {
        let mut ports = (20_000..u16::MAX).chain(1024..20_000);
        ports.find(|port| !self.is_named(field, (*port).into())).unwrap_or(39_999)
    }

    fn unnamed_id(&self, field: Field) -> u32 {
        let mut ids = (1000..4000_u32).chain(1_000_000_000..1_000_001_000);
        ids.find(|id| !self.is_named(field, (*id).into())).unwrap_or(999_999)
    }

    /// An address that no rule's network of these fields holds; documentation prefixes first, they are nobody's.
    fn unnamed_address(&self, fields: &[Field], ipv6: bool) -> IpAddr {
        let block4 = |a, b, c| IpAddr::from(Ipv4Addr::new(a, b, c, 77));
        let block6 = |prefix: u16| IpAddr::from(Ipv6Addr::new(prefix, 0xdb8, 0, 0, 0, 0, 0, 77));
        let blocks = match ipv6 {
            false => {
                [block4(198, 51, 100), block4(203, 0, 113), block4(9, 9, 9), block4(100, 64, 7), block4(172, 30, 7)]
            }
            true => [block6(0x2001), block6(0x2a00), block6(0x2600), block6(0x2400), block6(0xfd77)],
        };
        let [first, ..] = blocks;
        let free = |address: &IpAddr| !fields.iter().any(|field| self.is_named(*field, number(*address)));
        blocks.into_iter().find(free).unwrap_or(first)
    }
}

/// Adds a value unless there are enough; says whether it is there then.
fn insert<T: Ord>(into: &mut BTreeSet<T>, value: T) -> bool {
    into.contains(&value) || (into.len() < MOST && into.insert(value))
}
