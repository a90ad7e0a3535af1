//! The orders in which a packet may meet base chains: at equal priority the one that was registered last comes first, and nobody can
//! tell which that was (K5).

use super::super::paths::{is_nat, standing};
use super::walk::Base;
use crate::model::Hook;

/// So many chains of one place are put into every order; of more each comes first once.
const ALL: usize = 3;

/// The usual order, then those in which the chains of one place stand otherwise, at last the one in which those of every place do.
pub(super) fn orders<'r>(mut bases: Vec<Base<'r>>, hooks: &[Hook]) -> Vec<Vec<Base<'r>>> {
    let hook = |base: &Base<'_>| hooks.iter().position(|known| Some(*known) == base.chain.hook);
    let place = |base: &Base<'_>| (hook(base), standing(base.chain).0);
    bases.sort_by_key(|base| (place(base), !is_nat(base.chain), standing(base.chain).1));
    let groups: Vec<Vec<Vec<Base<'r>>>> =
        bases.chunk_by(|one, next| place(one) == place(next)).map(arrangements).collect();
    let whole = |chosen: &dyn Fn(usize) -> usize| -> Vec<Base<'r>> {
        let chosen = groups.iter().enumerate().filter_map(|(at, group)| group.get(chosen(at)));
        chosen.flatten().copied().collect()
    };
    let mut orders = vec![whole(&|_| 0)];
    for (at, group) in groups.iter().enumerate() {
        orders.extend((1..group.len()).map(|chosen| whole(&|other| if other == at { chosen } else { 0 })));
    }
    if groups.iter().filter(|group| group.len() > 1).count() > 1 {
        orders.push(whole(&|at| groups.get(at).map_or(0, |group| group.len().saturating_sub(1))));
    }
    orders
}

/// The chains of one place. Those of nat run there together, whatever else does, and among themselves by their own priorities (K31).
fn arrangements<'r>(group: &[Base<'r>]) -> Vec<Vec<Base<'r>>> {
    let among_nat = |base: &Base<'_>| standing(base.chain).1;
    let (nat, others): (Vec<Base<'r>>, Vec<Base<'r>>) = group.iter().partition(|base| is_nat(base.chain));
    let ranks = nat.chunk_by(|one, next| among_nat(one) == among_nat(next));
    // Every order of each rank before every order of the next.
    let of_nat = ranks.fold(vec![Vec::new()], |before: Vec<Vec<Base<'r>>>, rank| {
        let orders = permutations(rank);
        before.iter().flat_map(|first| orders.iter().map(|then| [first.as_slice(), then].concat())).collect()
    });
    let units: Vec<Option<Base<'r>>> =
        (!nat.is_empty()).then_some(None).into_iter().chain(others.into_iter().map(Some)).collect();
    let mut found = Vec::new();
    for units in permutations(&units) {
        for nat in &of_nat {
            found.push(units.iter().flat_map(|unit| unit.map_or_else(|| nat.clone(), |base| vec![base])).collect());
        }
    }
    found
}

/// First as they stand, at last the other way round.
fn permutations<T: Clone>(items: &[T]) -> Vec<Vec<T>> {
    let first = |at: usize, then: Vec<T>| items.get(at).cloned().into_iter().chain(then).collect::<Vec<T>>();
    let without = |at: usize| -> Vec<T> {
        items.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, item)| item.clone()).collect()
    };
    match items.len() {
        0 | 1 => vec![items.to_vec()],
        few if few <= ALL => {
            let of = |at: usize| permutations(&without(at)).into_iter().map(move |then| (at, then));
            (0..few).flat_map(of).map(|(at, then)| first(at, then)).collect()
        }
        many => {
            let mut found: Vec<Vec<T>> = (0..many).map(|at| first(at, without(at))).collect();
            found.push(items.iter().rev().cloned().collect());
            found
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_stand_in_every_order_and_of_many_each_comes_first() {
        assert_eq!(permutations::<u8>(&[]), [Vec::<u8>::new()]);
        assert_eq!(permutations(&[1, 2]), [[1, 2], [2, 1]]);
        let three = permutations(&[1, 2, 3]);
        assert_eq!(three.len(), 6);
        assert_eq!((&three[0], &three[5]), (&vec![1, 2, 3], &vec![3, 2, 1]));
        let five = permutations(&[1, 2, 3, 4, 5]);
        assert!((1..=5).all(|first| five.iter().any(|order| order[0] == first && order.len() == 5)));
        assert_eq!(five.last(), Some(&vec![5, 4, 3, 2, 1]));
    }
}
