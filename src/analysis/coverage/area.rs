//! Areas: which packets a class is, as the product of what they have in each field.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::Kind;
use crate::analysis::diagram::{Set, Values};
use crate::analysis::eval::flood::Sets;
use crate::model::{Network, Protocol};
use crate::packet::{Field, number};

/// Values of each field; none stands for all.
#[derive(Debug, Clone, PartialEq, Eq, Default, PartialOrd, Ord)]
pub struct Area {
    /// Users of the sending socket, as the namespace's owner counts.
    pub uids: Vec<Values>,
    /// Its groups.
    pub gids: Vec<Values>,
    /// Its marks.
    pub marks: Vec<Values>,
    /// Addresses to which they are sent.
    pub destinations: Vec<Values>,
    /// Ports to which they are sent.
    pub ports: Vec<Values>,
    /// Addresses from which they come.
    pub sources: Vec<Values>,
    /// Ports from which they come.
    pub source_ports: Vec<Values>,
}

/// Which packets are asked about; what is not told is everything.
#[derive(Debug, Clone, Default)]
pub struct Narrow {
    /// Outgoing or incoming ones only.
    pub incoming: Option<bool>,
    /// Of one family.
    pub ipv6: Option<bool>,
    /// Of one protocol.
    pub protocol: Option<Protocol>,
    /// Of one user.
    pub uid: Option<u32>,
    /// Of one group.
    pub gid: Option<u32>,
    /// With one mark.
    pub mark: Option<u32>,
    /// To a network.
    pub to: Option<Network>,
    /// To ports, both ends included.
    pub ports: Option<(u16, u16)>,
}

impl Narrow {
    /// Whether packets of this kind are asked about.
    pub(in crate::analysis) fn has_kind(&self, kind: &Kind) -> bool {
        let ipv6 = self.ipv6.or(self.to.map(|to| to.address.is_ipv6()));
        let owned = self.uid.is_some() || self.gid.is_some() || self.mark.is_some();
        self.incoming.is_none_or(|incoming| kind.incoming == incoming)
            && ipv6.is_none_or(|ipv6| kind.ipv6 == ipv6)
            && self.protocol.is_none_or(|protocol| kind.protocol == Some(protocol))
            && (self.ports.is_none() || kind.protocol.is_some_and(Protocol::has_ports))
            && !(owned && kind.incoming)
    }

    /// Those packets.
    pub(in crate::analysis) fn space(&self, sets: &mut Sets, kind: &Kind) -> Set {
        let exactly = |value: Option<u32>| value.map(|value| (u128::from(value), u128::from(value)));
        let ports = self.ports.map(|(from, to)| (from.into(), to.into()));
        let ranges = [
            (Field::Uid, exactly(self.uid)),
            (Field::Gid, exactly(self.gid)),
            (Field::Mark, exactly(self.mark)),
            (Field::DestinationPort, ports),
        ];
        let mut space = Set::ALL;
        for (field, (from, to)) in ranges.into_iter().filter_map(|(field, range)| Some((field, range?))) {
            let set = sets.range(field, from, to);
            space = sets.diagrams.and(space, set);
        }
        if let Some(Network { address, bits }) = self.to.filter(|to| to.address.is_ipv6() == kind.ipv6) {
            let width: u32 = if kind.ipv6 { 128 } else { 32 };
            let all = u128::MAX >> (128 - width);
            let mask = all & !(all.checked_shr(bits.into()).unwrap_or(0));
            let set = sets.masked(Field::Destination, mask, number(address) & mask);
            space = sets.diagrams.and(space, set);
        }
        space
    }
}

/// All other values of a field.
#[must_use]
pub fn others(field: Field, values: &[Values], ipv6: bool) -> Vec<Values> {
    let mut sets = Sets::new(ipv6);
    let mut area = Area::default();
    area.set(field, values.to_vec());
    let these = area.space(&mut sets);
    let others = sets.diagrams.without(Set::ALL, these);
    sets.values(others, field).into_iter().map(|(values, _)| values).collect()
}

impl Values {
    /// Whether a number is one of them.
    #[must_use]
    pub fn holds(&self, number: u128) -> bool {
        match self {
            Self::Range { from, to } => (*from..=*to).contains(&number),
            Self::Masked { value, mask } => number & mask == *value,
        }
    }
}

impl Area {
    /// The values of a field; none stands for all.
    #[must_use]
    pub fn of(&self, field: Field) -> &[Values] {
        match field {
            Field::Uid => &self.uids,
            Field::Gid => &self.gids,
            Field::Mark => &self.marks,
            Field::Destination => &self.destinations,
            Field::DestinationPort => &self.ports,
            Field::Source => &self.sources,
            Field::SourcePort => &self.source_ports,
            _ => &[],
        }
    }

    /// Its packets as a set.
    pub(in crate::analysis) fn space(&self, sets: &mut Sets) -> Set {
        let mut space = Set::ALL;
        for field in ORDER {
            if self.of(field).is_empty() {
                continue;
            }
            let each = self.of(field).iter().map(|values| match values {
                Values::Range { from, to } => sets.range(field, *from, *to),
                Values::Masked { value, mask } => sets.masked(field, *mask, *value),
            });
            let each = each.collect();
            let values = sets.diagrams.union(each);
            space = sets.diagrams.and(space, values);
        }
        space
    }

    /// What is in both; `None` where nothing is.
    #[must_use]
    pub fn within(&self, other: &Self, ipv6: bool) -> Option<Self> {
        let mut sets = Sets::new(ipv6);
        let (one, other) = (self.space(&mut sets), other.space(&mut sets));
        let both = sets.diagrams.and(one, other);
        // What two products have in common is one.
        areas(&sets, both).into_iter().next()
    }

    fn set(&mut self, field: Field, values: Vec<Values>) {
        match field {
            Field::Uid => self.uids = values,
            Field::Gid => self.gids = values,
            Field::Mark => self.marks = values,
            Field::Destination => self.destinations = values,
            Field::DestinationPort => self.ports = values,
            Field::Source => self.sources = values,
            _ => self.source_ports = values,
        }
    }

    /// Whether a packet with these ends is in it.
    #[must_use]
    pub fn holds_ends(&self, source: Option<IpAddr>, destination: IpAddr, ports: Option<(u16, u16)>) -> bool {
        let has = |field, value: Option<u128>| value.is_none_or(|value| super::holds(self.of(field), value));
        has(Field::Source, source.map(number))
            && has(Field::Destination, Some(number(destination)))
            && has(Field::SourcePort, ports.map(|(from, _)| from.into()))
            && has(Field::DestinationPort, ports.map(|(_, to)| to.into()))
    }

    /// Whether a sender of this user, group and mark is in it.
    #[must_use]
    pub fn holds_owner(&self, uid: u32, gid: u32, mark: u32) -> bool {
        [(Field::Uid, uid), (Field::Gid, gid), (Field::Mark, mark)]
            .into_iter()
            .all(|(field, value)| super::holds(self.of(field), value.into()))
    }
}

/// The order in which fields are told apart.
pub(in crate::analysis) const ORDER: [Field; 7] =
    [Field::Uid, Field::Gid, Field::Mark, Field::Destination, Field::DestinationPort, Field::Source, Field::SourcePort];

/// A set as disjoint areas.
pub(in crate::analysis) fn areas(sets: &Sets, space: Set) -> Vec<Area> {
    let mut found = Vec::new();
    divide(sets, space, &ORDER, Area::default(), &mut found);
    found
}

fn divide(sets: &Sets, space: Set, fields: &[Field], area: Area, found: &mut Vec<Area>) {
    let Some((field, later)) = fields.split_first() else {
        found.push(area);
        return;
    };
    let mut by_rest: BTreeMap<Set, Vec<Values>> = BTreeMap::new();
    for (values, rest) in sets.values(space, *field) {
        by_rest.entry(rest).or_default().push(values);
    }
    let mut by_rest: Vec<(Vec<Values>, Set)> = by_rest.into_iter().map(|(rest, values)| (values, rest)).collect();
    by_rest.sort_unstable();
    let whole = Values::Range { from: 0, to: sets.most(*field) };
    for (mut values, rest) in by_rest {
        if values == [whole] {
            values.clear();
        }
        let mut one = area.clone();
        one.set(*field, values);
        divide(sets, rest, later, one, found);
    }
}
