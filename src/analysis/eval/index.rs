//! What can be for a packet at all, of many rules of a chain or many elements of a map: found by the values that they ask for.

use crate::packet::{Compiled, Field, Known, Packet};

/// Fewer are asked one after the other.
const FEW: usize = 16;
/// Ways to look them up, each by one field and mask.
const GROUPS: usize = 8;
/// Kinds of questions (field and mask) that are compared when these are chosen.
const KINDS: usize = 64;

/// Conditions in a row, sorted by the values that they ask for.
#[derive(Debug, Default)]
pub(super) struct Index {
    groups: Vec<Group>,
    /// Places of all that are in no group.
    rest: Vec<u32>,
}

/// Those that ask for one value of a field's bits under a mask.
#[derive(Debug)]
struct Group {
    field: Field,
    mask: u128,
    /// Sorted.
    values: Vec<u128>,
    /// For each of these its place; of equal values in their order.
    places: Vec<u32>,
    /// All of them in their order, for packets of which the value is not known.
    all: Vec<u32>,
}

/// The places that may be for a packet, in their order.
pub(super) struct Candidates<'i> {
    heads: [&'i [u32]; GROUPS + 1],
    count: usize,
}

impl Index {
    /// Sorts conditions, where there are many; `None` stands for one that is always to be asked.
    pub(super) fn of<'c>(conditions: impl ExactSizeIterator<Item = Option<&'c Compiled>>) -> Option<Self> {
        if conditions.len() <= FEW {
            return None;
        }
        let conditions: Vec<Option<&Compiled>> = conditions.collect();
        let mut kinds: Vec<((Field, u128), Vec<u128>)> = Vec::new();
        for (field, mask, value) in conditions.iter().copied().flatten().flat_map(Compiled::required) {
            let known = kinds.len();
            match kinds.iter_mut().find(|(kind, _)| *kind == (field, mask)) {
                Some((_, values)) => values.push(value),
                None if known < KINDS => kinds.push(((field, mask), vec![value])),
                None => {}
            }
        }
        for (_, values) in &mut kinds {
            values.sort_unstable();
            values.dedup();
        }
        // The more values, the fewer conditions there are for each.
        kinds.sort_by_key(|(_, values)| std::cmp::Reverse(values.len()));
        kinds.truncate(GROUPS);
        kinds.retain(|(_, values)| values.len() > 1);
        let mut found: Vec<Vec<(u128, u32)>> = kinds.iter().map(|_| Vec::new()).collect();
        let mut rest = Vec::new();
        for (place, condition) in (0_u32..).zip(&conditions) {
            let required = |kind: (Field, u128)| {
                let mut all = condition.iter().flat_map(|condition| condition.required());
                all.find_map(|(field, mask, value)| (kind == (field, mask)).then_some(value))
            };
            let best = kinds.iter().zip(&mut found).find_map(|((kind, _), group)| Some((required(*kind)?, group)));
            match best {
                Some((value, group)) => group.push((value, place)),
                None => rest.push(place),
            }
        }
        let groups = kinds.iter().zip(found).map(|(((field, mask), _), found)| Group::new(*field, *mask, found));
        Some(Self { groups: groups.collect(), rest })
    }

    /// The places from this one on that may be for the packet as it is.
    pub(super) fn candidates(&self, from: usize, packet: &Packet) -> Candidates<'_> {
        let mut candidates = Candidates { heads: [&[]; GROUPS + 1], count: 0 };
        let groups = self.groups.iter().map(|group| group.places(packet));
        for places in groups.chain([self.rest.as_slice()]) {
            let after = places.partition_point(|place| (*place as usize) < from);
            if let (Some(head @ [_, ..]), Some(free)) =
                (places.get(after..), candidates.heads.get_mut(candidates.count))
            {
                *free = head;
                candidates.count += 1;
            }
        }
        candidates
    }
}

impl Group {
    fn new(field: Field, mask: u128, mut found: Vec<(u128, u32)>) -> Self {
        let all = found.iter().map(|(_, place)| *place).collect();
        found.sort_unstable();
        let (values, places) = found.into_iter().unzip();
        Self { field, mask, values, places, all }
    }

    fn places(&self, packet: &Packet) -> &[u32] {
        match packet.field(self.field) {
            Known::Unknown => &self.all,
            // What does not exist has no value.
            Known::Absent => &[],
            Known::Is(value) => {
                let value = value & self.mask;
                let from = self.values.partition_point(|known| *known < value);
                let same = self.values.get(from..).unwrap_or_default().partition_point(|known| *known == value);
                self.places.get(from..from + same).unwrap_or_default()
            }
        }
    }
}

impl Iterator for Candidates<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let heads = self.heads.get_mut(..self.count)?;
        let first = heads.iter_mut().filter(|head| !head.is_empty()).min_by_key(|head| head.first().copied())?;
        let (place, behind) = first.split_first()?;
        *first = behind;
        Some(*place as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{Answer, Condition};

    fn masked(field: Field, mask: u128, value: u128) -> Condition {
        Condition::Masked { field, mask, value }
    }

    /// Of every kind some, in turn.
    fn conditions() -> Vec<Compiled> {
        let one = |number: u128| match number % 6 {
            0 => Condition::equals(Field::DestinationPort, number),
            1 => Condition::All(vec![
                Condition::equals(Field::Protocol, 6_u8),
                masked(Field::Destination, u32::MAX.into(), 0x0a00_0000 + number % 18),
            ]),
            2 => masked(Field::Destination, 0xffff_ff00, (0x0a00_0000 + number) << 8 & 0xffff_ff00),
            3 => Condition::Not(Box::new(Condition::equals(Field::Mark, number))),
            4 => Condition::Any(vec![Condition::equals(Field::Mark, number), Condition::equals(Field::Uid, number)]),
            _ => Condition::Range(Field::Uid, number, number + 10),
        };
        (0..600).map(|number| Compiled::of(&one(number))).collect()
    }

    #[test]
    fn nothing_that_may_be_for_a_packet_is_left_out_and_most_of_the_rest_is() {
        let conditions = conditions();
        let index = Index::of(conditions.iter().map(Some)).expect("there are many");
        let mut asked = 0;
        for number in 0..600_u32 {
            let known = |bit: u32, value: u32| match number.rotate_left(3 * bit) % 7 {
                0 => Known::Unknown,
                1 => Known::Absent,
                _ => Known::Is(value),
            };
            let packet = Packet {
                protocol: Known::Is(6),
                destination: match number % 5 {
                    0 => Known::Unknown,
                    1 => Known::Is(std::net::Ipv4Addr::from(0x0a00_0000 + number % 30).into()),
                    _ => Known::Is(std::net::Ipv4Addr::from((0x0a00_0000 + number) << 8).into()),
                },
                destination_port: match known(1, number) {
                    Known::Is(port) => Known::Is(u16::try_from(port).expect("small")),
                    Known::Absent => Known::Absent,
                    Known::Unknown => Known::Unknown,
                },
                mark: known(2, number),
                uid: known(3, number),
                ..Packet::default()
            };
            for from in [0, 1, 300, 599, 600] {
                let may = |place: &usize| conditions[*place].ask(&packet) != Answer::No;
                let plain: Vec<usize> = (from..600).filter(may).collect();
                let found: Vec<usize> = index.candidates(from, &packet).collect();
                assert!(found.is_sorted_by(|one, next| one < next) && found.iter().all(|place| *place >= from));
                asked += found.len();
                assert_eq!(found.into_iter().filter(may).collect::<Vec<_>>(), plain, "{packet:?}");
            }
        }
        assert!(asked < 600 * 5 * 600 / 3, "{asked}");
    }

    #[test]
    fn few_have_no_index() {
        let conditions = conditions();
        assert!(Index::of(conditions.iter().take(FEW).map(Some)).is_none());
    }
}
