//! Packets of which the same is said make one row, so that people can read what is said of all.

use std::collections::{BTreeMap, BTreeSet};

use super::{Block, Cell, Told};

/// Packets that meet the same fate: every one of these senders, to every one of these places, at every one of these ports.
pub(crate) type Row = [Vec<usize>; 3];

/// The least number of rows, nearly: always the greatest that can be had of what is left.
pub(crate) fn rows(block: &Block, told: &BTreeMap<Cell, Told>) -> Vec<Row> {
    let mut left: BTreeMap<Cell, ()> = block.cells().map(|cell| (cell, ())).collect();
    let mut found = Vec::new();
    while let Some((first, ())) = left.first_key_value() {
        let first = *first;
        let candidates = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]].map(|order| {
            let sets = grown(block, told, first, order);
            let new = cells(&sets).filter(|cell| left.contains_key(cell)).count();
            (new, sets)
        });
        let (_, sets) = candidates.into_iter().max_by_key(|(new, _)| *new).expect("six of them");
        for cell in cells(&sets) {
            left.remove(&cell);
        }
        found.push(sets);
    }
    found
}

/// What can be had around a packet, one list after the other.
fn grown(block: &Block, told: &BTreeMap<Cell, Told>, first: Cell, order: [usize; 3]) -> Row {
    let wanted = &told[&first];
    let mut sets = first.map(|at| vec![at]);
    for list in order {
        let fits = |at: &usize| {
            let mut tried = sets.clone();
            tried[list] = vec![*at];
            cells(&tried).all(|cell| told[&cell] == *wanted)
        };
        sets[list] = (0..block.sizes()[list]).filter(fits).collect();
    }
    sets
}

/// Of each row the first packet and another.
pub(crate) fn few(rows: &[Row]) -> Vec<Cell> {
    let mut chosen = BTreeSet::new();
    for (number, row) in rows.iter().enumerate() {
        let all: Vec<Cell> = cells(row).collect();
        chosen.extend([all[0], all[(number * 7919 + all.len() * 31) % all.len()]]);
    }
    chosen.into_iter().collect()
}

/// The packets of a row.
pub(crate) fn cells(sets: &Row) -> impl Iterator<Item = Cell> + '_ {
    let [who, places, ports] = sets;
    who.iter()
        .flat_map(move |who| places.iter().flat_map(move |place| ports.iter().map(move |port| [*who, *place, *port])))
}
