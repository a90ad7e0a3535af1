//! Sets against plain sets of numbers.

use proptest::prelude::*;

use super::*;

const BITS: u16 = 6;

fn of(diagrams: &mut Diagrams, numbers: &BTreeSet<u8>) -> Set {
    let one = |diagrams: &mut Diagrams, number: u8| {
        (0..BITS).rev().fold(Set::ALL, |rest, bit| match number >> (BITS - 1 - bit) & 1 {
            0 => diagrams.choose(bit, rest, Set::NONE),
            _ => diagrams.choose(bit, Set::NONE, rest),
        })
    };
    let sets = numbers.iter().map(|number| one(diagrams, *number)).collect();
    diagrams.union(sets)
}

fn back(diagrams: &Diagrams, set: Set) -> BTreeSet<u8> {
    let all = diagrams.values(set, 0, BITS).into_iter().flat_map(|(values, rest)| {
        assert_eq!(rest, Set::ALL);
        (0..1_u8 << BITS).filter(move |number| match values {
            Values::Range { from, to } => (from..=to).contains(&u128::from(*number)),
            Values::Masked { value, mask } => u128::from(*number) & mask == value,
        })
    });
    all.collect()
}

proptest! {
    #[test]
    fn sets_are_what_they_hold(one: BTreeSet<u8>, other: BTreeSet<u8>) {
        let small = |set: BTreeSet<u8>| set.into_iter().map(|number| number % (1 << BITS)).collect::<BTreeSet<u8>>();
        let (one, other) = (small(one), small(other));
        let mut diagrams = Diagrams::default();
        let (left, right) = (of(&mut diagrams, &one), of(&mut diagrams, &other));
        prop_assert_eq!(left == right, one == other);
        let (both, either, only) =
            (diagrams.and(left, right), diagrams.or(left, right), diagrams.without(left, right));
        prop_assert_eq!(back(&diagrams, both), &one & &other);
        prop_assert_eq!(back(&diagrams, either), &one | &other);
        prop_assert_eq!(back(&diagrams, only), &one - &other);
        prop_assert_eq!(back(&diagrams, left), one.clone());
        // Within the other it is what it was, and not bigger.
        let short = diagrams.where_it_matters(left, right);
        prop_assert_eq!(diagrams.and(short, right), both);
        let again = diagrams.or(both, only);
        prop_assert_eq!(again, left);
        // Without its last bit a number stands for its neighbour too; with another name for that bit it is the same.
        let blurred = diagrams.forget(left, &|bit| bit == BITS - 1);
        let neighbours: BTreeSet<u8> = one.iter().flat_map(|number| [*number, *number ^ 1]).collect();
        prop_assert_eq!(back(&diagrams, blurred), neighbours);
        let away = diagrams.renamed(left, 2, &|bit| 2 * BITS - bit);
        prop_assert_eq!(diagrams.renamed(away, BITS + 1, &|bit| 2 * BITS - bit), left);
        if !one.is_empty() {
            let mut number = 0;
            diagrams.one_of(left, &mut |bit| number |= 1 << (BITS - 1 - bit));
            prop_assert!(one.contains(&number));
        }
    }
}

#[test]
fn a_bit_in_the_midst_is_told_as_a_mask_where_others_are_too_many() {
    let mut diagrams = Diagrams::default();
    let odd = diagrams.choose(31, Set::NONE, Set::ALL);
    assert_eq!(diagrams.values(odd, 0, 32), [(Values::Masked { value: 1, mask: 1 }, Set::ALL)]);
    let odd = diagrams.choose(3, Set::NONE, Set::ALL);
    assert_eq!(diagrams.values(odd, 0, 4).len(), 8);
}

#[test]
fn it_grows() {
    let mut diagrams = Diagrams::default();
    let set = of(&mut diagrams, &(0..40).step_by(3).collect());
    for bit in BITS..1_000 {
        let one = diagrams.choose(bit, Set::NONE, Set::ALL);
        let both = diagrams.or(set, one);
        assert_eq!(diagrams.without(both, one), diagrams.without(set, one));
    }
    assert!(diagrams.size() > 1 << 10 && !diagrams.exhausted());
}
