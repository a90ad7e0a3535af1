//! Which branches of a rule can be for a packet at all, found by one value of it: maps may have thousands of elements.

use std::collections::HashMap;

use super::super::native::Branch;
use crate::packet::{Condition, Field, Known, Packet};

/// Fewer are asked one after the other.
const FEW: usize = 16;
/// What elements are told apart by.
const FIELDS: [Field; 6] =
    [Field::Destination, Field::DestinationPort, Field::Source, Field::Mark, Field::SourcePort, Field::Uid];

/// A branch of a rule, and what it asks.
pub(super) type Asking<'a> = (Branch<'a>, Condition);

/// The branches of a rule, in their order.
#[derive(Debug)]
pub(super) struct Branches<'a> {
    pub(super) all: Vec<Asking<'a>>,
    index: Option<Index>,
}

#[derive(Debug)]
struct Index {
    field: Field,
    /// Places of those that ask for just this value.
    by_value: HashMap<u128, Vec<usize>>,
    /// Places of all others.
    rest: Vec<usize>,
}

impl<'a> Branches<'a> {
    /// Sorts them; `ipv4`: all are about packets of IPv4.
    pub(super) fn new(all: Vec<Asking<'a>>, ipv4: bool) -> Self {
        let index = (all.len() > FEW).then(|| {
            let by = FIELDS.map(|field| Index::new(&all, field, ipv4));
            by.into_iter().max_by_key(|index| index.by_value.len())
        });
        Self { all, index: index.flatten().filter(|index| index.by_value.len() > FEW) }
    }

    /// The first branch from this place on that may be for the packet.
    pub(super) fn next(&self, from: usize, packet: &Packet) -> usize {
        let Some(index) = &self.index else { return from };
        let Known::Is(value) = packet.field(index.field) else { return from };
        let after = |places: &[usize]| places.get(places.partition_point(|place| *place < from)).copied();
        let own = index.by_value.get(&value).and_then(|places| after(places));
        let rest = after(&index.rest);
        own.into_iter().chain(rest).min().unwrap_or(self.all.len())
    }
}

impl Index {
    fn new(all: &[Asking<'_>], field: Field, ipv4: bool) -> Self {
        let mut index = Self { field, by_value: HashMap::new(), rest: Vec::new() };
        for (place, (branch, condition)) in all.iter().enumerate() {
            match exactly(condition, field, ipv4 || branch.reading.ipv6 == Some(false)) {
                Some(value) => index.by_value.entry(value).or_default().push(place),
                None => index.rest.push(place),
            }
        }
        index
    }
}

/// The one value of the field that the condition asks for, beside whatever else.
fn exactly(condition: &Condition, wanted: Field, ipv4: bool) -> Option<u128> {
    match condition {
        Condition::All(parts) => parts.iter().find_map(|part| exactly(part, wanted, ipv4)),
        Condition::Any(parts) => match parts.as_slice() {
            [one] => exactly(one, wanted, ipv4),
            _ => None,
        },
        Condition::Range(field, from, to) if *field == wanted && from == to => Some(*from),
        Condition::Masked { field, mask, value } if *field == wanted => {
            let wide = matches!(field, Field::Source | Field::Destination) && !ipv4;
            let whole = if wide { u128::MAX } else { u32::MAX.into() };
            (mask & whole == whole).then_some(*value)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_that_leaves_bits_out_asks_for_no_single_value() {
        let masked = |mask| Condition::Masked { field: Field::Destination, mask, value: 5 };
        let short = masked(u32::MAX.into());
        assert_eq!(exactly(&short, Field::Destination, true), Some(5));
        assert_eq!(exactly(&short, Field::Destination, false), None);
        assert_eq!(exactly(&masked(u128::MAX), Field::Destination, false), Some(5));
        assert_eq!(exactly(&masked(0xff), Field::Destination, true), None);
        assert_eq!(exactly(&short, Field::Source, true), None);
        assert_eq!(exactly(&Condition::Not(Box::new(short.clone())), Field::Destination, true), None);
        let both = Condition::Any(vec![short, masked(u128::MAX)]);
        assert_eq!(exactly(&both, Field::Destination, true), None);
    }
}
