//! Rows of the grid as people read them.

use std::collections::BTreeMap;

use crate::corpus_grid::rows::Row;
use crate::corpus_grid::{Block, Cell, Told, is_own};

/// The rows of a block as lines of five columns.
pub(super) fn lines(block: &Block, rows: &[Row], said: &BTreeMap<Cell, Told>) -> String {
    let cells: Vec<[String; 5]> = rows
        .iter()
        .map(|row| {
            let [who, places, ports] = row;
            let told = &said[&[who[0], places[0], ports[0]]];
            let who = listed(who, block.who.len(), |at| block.who[at].label.clone());
            let places = places_of(block, places);
            [who, places, ports_of(block, ports), told.becomes.clone(), told.by.clone()]
        })
        .collect();
    let width = |column: usize| cells.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths = [width(0), width(1), width(2), width(3)];
    let line = |row: &[String; 5]| {
        let [who, places, ports, becomes, by] = row;
        let [a, b, c, d] = widths;
        format!("    {who:a$}  {places:b$}  {ports:c$}  {becomes:d$}  {by}").trim_end().to_owned() + "\n"
    };
    cells.iter().map(line).collect()
}

/// `any`, `any but X`, or all of them.
fn listed(chosen: &[usize], all: usize, name: impl Fn(usize) -> String) -> String {
    let names = |chosen: &[usize]| chosen.iter().map(|at| name(*at)).collect::<Vec<_>>().join(",");
    let others: Vec<usize> = (0..all).filter(|at| !chosen.contains(at)).collect();
    match others.len() {
        0 => "any".to_owned(),
        few if few < chosen.len() => format!("any but {}", names(&others)),
        _ => names(chosen),
    }
}

/// `outside` and `inside` stand for all places there.
fn places_of(block: &Block, chosen: &[usize]) -> String {
    let all = block.places.len();
    if chosen.len() == all {
        return "any".to_owned();
    }
    let (mut parts, mut left) = (Vec::new(), chosen.to_vec());
    for (word, inside) in [("outside", false), ("inside", true)] {
        let there: Vec<usize> = (0..all).filter(|at| is_own(block.places[*at].address) == inside).collect();
        let found = there.iter().filter(|at| chosen.contains(at)).count();
        // One that is left out is more telling than those that are there.
        if there.len() > 2 && found + 1 >= there.len() {
            left.retain(|at| !there.contains(at));
            let but = there.iter().find(|at| !chosen.contains(at));
            parts.push(but.map_or(word.to_owned(), |but| format!("{word} but {}", block.places[*but].label)));
        }
    }
    parts.extend(left.iter().map(|at| block.places[*at].label.clone()));
    parts.join(",")
}

/// Where a packet comes in at the very port that it was sent to, it is the listeners that decide, and they are told once.
pub(super) fn shown(block: &Block, listening: &[u16], told: &BTreeMap<Cell, Told>) -> BTreeMap<Cell, Told> {
    let one = |(cell, told): (&Cell, &Told)| {
        let expected = if listening.contains(&block.ports[cell[2]].1) { "delivered" } else { "refused" };
        let becomes = if told.becomes == expected { "here".to_owned() } else { told.becomes.clone() };
        (*cell, Told { becomes, by: told.by.clone() })
    };
    told.iter().map(one).collect()
}

fn ports_of(block: &Block, chosen: &[usize]) -> String {
    if chosen.len() == block.ports.len() {
        return "any".to_owned();
    }
    let of = |protocol: &str| {
        let all: Vec<usize> = (0..block.ports.len()).filter(|at| block.ports[*at].0.to_string() == protocol).collect();
        let these: Vec<usize> = (0..all.len()).filter(|at| chosen.contains(&all[*at])).collect();
        let text = listed(&these, all.len(), |at| block.ports[all[at]].1.to_string());
        (!these.is_empty()).then(|| format!("{protocol} {text}"))
    };
    [of("tcp"), of("udp")].into_iter().flatten().collect::<Vec<_>>().join(" + ")
}
