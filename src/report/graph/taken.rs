//! The way of one packet: the chains that it passes, with what it takes in them marked.

use std::collections::{HashMap, HashSet};

use super::{Builder, Edge, End, Graph, Mark, Row, finish};
use crate::analysis::describe::Outcome;
use crate::analysis::paths::blocks;
use crate::model::{Chain, Snapshot, Table};

/// Rules of a chain that are all drawn; of more, those that the packet passes by are counted.
const MOST_ROWS: usize = 24;

/// What a packet met: a rule by its place from 0, or the end of the chain.
#[derive(Debug, Clone, Copy)]
pub struct Passed<'a> {
    /// The table.
    pub table: &'a Table,
    /// The chain.
    pub chain: &'a Chain,
    /// The rule; `None` for the chain's policy.
    pub rule: Option<usize>,
    /// It matched; `None` where that cannot be known.
    pub matched: Option<bool>,
}

/// The graph of the chains that a packet passes; `sentence` is what becomes of it.
#[must_use]
pub fn taken(snapshot: &Snapshot, passed: &[Passed<'_>], sentence: &str) -> Graph {
    type Key = (*const Table, *const Chain);
    let key = |table: &Table, chain: &Chain| -> Key { (std::ptr::from_ref(table), std::ptr::from_ref(chain)) };
    let mut marks: HashMap<Key, HashMap<Option<usize>, Mark>> = HashMap::new();
    for passed in passed {
        let rows = marks.entry(key(passed.table, passed.chain)).or_default();
        let mark = match passed.matched {
            Some(true) => Mark::Taken,
            None => Mark::Perhaps,
            Some(false) => continue,
        };
        // It may meet a chain more than once.
        let known = rows.entry(passed.rule).or_insert(mark);
        if mark == Mark::Taken {
            *known = mark;
        }
    }
    let mut builder = Builder::default();
    let everyone = blocks(snapshot, true);
    for block in &everyone {
        let met = |chain: &&Chain| marks.contains_key(&key(block.table, chain));
        // A chain into which a packet jumps is met by its first rule; an empty one by none.
        let chains: Vec<&Chain> = block.chains.iter().copied().filter(met).collect();
        if !chains.first().is_some_and(|first| block.chains.first().is_some_and(|base| std::ptr::eq(*first, *base))) {
            continue;
        }
        for chain in chains {
            builder.chain(block, chain, true, &everyone);
        }
        builder.block += 1;
    }
    builder.lines();
    for (node, (table, chain)) in builder.nodes.iter_mut().zip(&builder.of) {
        let marks = marks.get(&key(table, chain));
        for (at, row) in node.rows.iter_mut().enumerate() {
            let rule = row.number.map(|_| at);
            let mark = marks.and_then(|marks| marks.get(&rule)).copied();
            row.mark = mark.unwrap_or(Mark::Not);
        }
    }
    let mut graph = finish(builder, snapshot, sentence);
    mark_lines(&mut graph);
    shorten(&mut graph);
    graph
}

/// Lines are taken with the rules from which they lead; destinations that the packet does not come to are left out.
fn mark_lines(graph: &mut Graph) {
    let Graph { chains, exits, edges, .. } = graph;
    for edge in edges.iter_mut() {
        let row = chains.get(edge.from).and_then(|node| node.rows.get(edge.row));
        edge.mark = row.map_or(Mark::Not, |row| row.mark);
    }
    edges.retain(|edge| edge.mark != Mark::Not || matches!(edge.to, End::Chain(_)));
    let reached: HashSet<End> = edges.iter().map(|edge| edge.to).collect();
    let mut places = HashMap::new();
    let all = std::mem::take(exits);
    for (at, exit) in all.into_iter().enumerate().filter(|(at, _)| reached.contains(&End::Exit(*at))) {
        places.insert(at, exits.len());
        exits.push(exit);
    }
    for edge in edges {
        if let End::Exit(at) = &mut edge.to {
            *at = places.get(at).copied().unwrap_or_default();
        }
    }
}

/// Of long chains only what is taken, and how much lies between.
fn shorten(graph: &mut Graph) {
    for (from, node) in graph.chains.iter_mut().enumerate().filter(|(_, node)| node.rows.len() > MOST_ROWS) {
        let (mut rows, mut places, mut skipped): (Vec<Row>, HashMap<usize, usize>, usize) =
            (Vec::new(), HashMap::new(), 0);
        for (at, row) in std::mem::take(&mut node.rows).into_iter().enumerate() {
            if row.mark == Mark::Not && row.number.is_some() {
                skipped += 1;
                continue;
            }
            rows.extend(between(skipped));
            skipped = 0;
            places.insert(at, rows.len());
            rows.push(row);
        }
        rows.extend(between(skipped));
        node.rows = rows;
        let placed = |edge: &Edge| edge.from != from || places.contains_key(&edge.row);
        graph.edges.retain(placed);
        for edge in graph.edges.iter_mut().filter(|edge| edge.from == from) {
            edge.row = places.get(&edge.row).copied().unwrap_or_default();
        }
    }
}

fn between(skipped: usize) -> Option<Row> {
    let many = if skipped == 1 { "rule that does" } else { "rules that do" };
    (skipped > 0).then(|| Row {
        number: None,
        who: format!("{skipped} {many} not match"),
        what: String::new(),
        outcome: Outcome::GoesOn,
        packets: None,
        text: String::new(),
        mark: Mark::Not,
    })
}
