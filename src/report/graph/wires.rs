//! The way of each line: right out of its row, along the free room between columns and between cards, to its end from the left.

use std::collections::BTreeMap;

use super::layout::{Card, Line, Plate};
use super::{Edge, End, Graph, Mark};

/// A line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wire {
    /// Its corners, from the row to the end.
    pub points: Vec<(i32, i32)>,
    /// Packets do not come back.
    pub for_good: bool,
    /// It leads to where something redirects.
    pub redirects: bool,
    /// Whether a packet takes it.
    pub mark: Mark,
    /// Where it leads.
    pub to: End,
}

/// Between two lines beside each other.
const LANE: i32 = 9;
/// Room between two columns: at least, and at most.
const GUTTER: (i32, i32) = (56, 420);
/// From the edge of a card to the first line.
const FIRST: i32 = 16;

/// The lanes that ends need in each gutter; gutter 0 is left of the first column, gutter `n + 1` right of column `n`.
type Lanes = BTreeMap<(usize, End), usize>;

/// The gutters that an edge passes: where it leaves, and where it arrives.
fn passes(edge: &Edge, chains: &[usize], exits: &[usize]) -> Option<(usize, usize)> {
    let from = chains.get(edge.from)?;
    let to = match edge.to {
        End::Chain(chain) => chains.get(chain)?,
        End::Exit(exit) => exits.get(exit)?,
    };
    Some((from + 1, *to))
}

fn lanes(graph: &Graph, chains: &[usize], exits: &[usize]) -> (Lanes, BTreeMap<usize, usize>) {
    let (mut lanes, mut used): (Lanes, BTreeMap<usize, usize>) = (BTreeMap::new(), BTreeMap::new());
    for edge in &graph.edges {
        let Some((out, into)) = passes(edge, chains, exits) else { continue };
        for gutter in [out, into] {
            lanes.entry((gutter, edge.to)).or_insert_with(|| {
                let next = used.entry(gutter).or_insert(0);
                *next += 1;
                *next - 1
            });
        }
    }
    (lanes, used)
}

/// How wide each gutter is.
pub(super) fn gutters(graph: &Graph, chains: &[usize], exits: &[usize], columns: usize) -> Vec<i32> {
    let (_, used) = lanes(graph, chains, exits);
    let width = |gutter: usize| {
        let lanes = used.get(&gutter).copied().unwrap_or(0);
        let lanes = i32::try_from(lanes).unwrap_or(i32::MAX / LANE / 2);
        match (gutter, lanes) {
            (gutter, 0) if gutter == 0 || gutter == columns => 0,
            (_, lanes) => (2 * FIRST + LANE * lanes).clamp(GUTTER.0, GUTTER.1),
        }
    };
    (0..=columns).map(width).collect()
}

/// The way of every line.
pub(super) fn route(
    graph: &Graph,
    cards: &[Card],
    plates: &[Plate],
    left: &[i32],
    widths: &[i32],
    gutters: &[i32],
) -> Vec<Wire> {
    let chains: Vec<usize> = cards.iter().map(|card| card.column).collect();
    let exits: Vec<usize> = plates.iter().map(|plate| plate.column).collect();
    let (lanes, used) = lanes(graph, &chains, &exits);
    let lane = |gutter: usize, to: End| {
        let (number, of) = (lanes.get(&(gutter, to)).copied().unwrap_or(0), used.get(&gutter).copied().unwrap_or(1));
        let start = match gutter.checked_sub(1) {
            None => left.first().copied().unwrap_or(0) - gutters.first().copied().unwrap_or(0),
            Some(column) => left.get(column).copied().unwrap_or(0) + widths.get(column).copied().unwrap_or(0),
        };
        let room = gutters.get(gutter).copied().unwrap_or(GUTTER.0) - 2 * FIRST;
        let number = i32::try_from(number).unwrap_or(0);
        let of = i32::try_from(of).unwrap_or(1).max(1);
        // The last ones stand farthest to the left, so that those further down cross fewer of them.
        start + FIRST + room * (of - 1 - number) / of + room / of / 2
    };
    let mut busy: Vec<Vec<(i32, i32)>> = vec![Vec::new(); left.len()];
    for (column, area) in cards.iter().map(|c| (c.column, c.area)).chain(plates.iter().map(|p| (p.column, p.area))) {
        if let Some(busy) = busy.get_mut(column) {
            busy.push((area.y, area.bottom()));
        }
    }
    let below = busy.iter().flatten().map(|(_, bottom)| *bottom).max().unwrap_or(0);
    graph.edges.iter().filter_map(|edge| wire(edge, cards, plates, &lane, &busy, below)).collect()
}

fn wire(
    edge: &Edge,
    cards: &[Card],
    plates: &[Plate],
    lane: &dyn Fn(usize, End) -> i32,
    busy: &[Vec<(i32, i32)>],
    below: i32,
) -> Option<Wire> {
    let from = cards.get(edge.from)?;
    let start = (from.area.right(), from.rows.get(edge.row).map(Line::anchor)?);
    let (end, column) = match edge.to {
        End::Chain(chain) => {
            let card = cards.get(chain)?;
            ((card.area.x, card.area.y + 20), card.column)
        }
        End::Exit(exit) => {
            let plate = plates.get(exit)?;
            ((plate.area.x, plate.area.y + plate.area.height / 2), plate.column)
        }
    };
    let (out, into) = (lane(from.column + 1, edge.to), lane(column, edge.to));
    let points = if column == from.column + 1 {
        vec![start, (out, start.1), (out, end.1), end]
    } else {
        // Across the columns between, or back to the left.
        let between = if column > from.column { from.column + 1..column } else { column..from.column + 1 };
        let columns = busy.get(between).unwrap_or_default();
        let number = match edge.to {
            End::Chain(at) | End::Exit(at) => i32::try_from(at % 5).unwrap_or(0) * 3 - 6,
        };
        let y = crossing(columns, end.1, number, below);
        vec![start, (out, start.1), (out, y), (into, y), (into, end.1), end]
    };
    Some(Wire { points, for_good: edge.for_good, redirects: edge.redirects, mark: edge.mark, to: edge.to })
}

/// The height, near the wanted one, at which nothing stands in these columns. Across very many of them it is below everything.
fn crossing(columns: &[Vec<(i32, i32)>], wanted: i32, offset: i32, below: i32) -> i32 {
    const MANY: usize = 64;
    /// Room that is kept to a card; half of the least room between two, less what the offset takes.
    const ROOM: i32 = 3;
    const SIDE: i32 = 11;
    if columns.len() > MANY {
        return below + SIDE + offset;
    }
    let mut taken: Vec<(i32, i32)> = columns.iter().flatten().map(|(top, end)| (top - ROOM, end + ROOM)).collect();
    taken.sort_unstable();
    // From gap to gap: where the last one ended that reached farthest down, and where the next begins.
    let (mut best, mut end) = (None::<i32>, i32::MIN);
    for (top, bottom) in taken.into_iter().chain([(i32::MAX, i32::MAX)]) {
        if top > end {
            let (first, last) = (end.saturating_add(1), top.saturating_sub(1));
            let inner = (first.saturating_add(SIDE - ROOM), last.saturating_sub(SIDE - ROOM));
            let y = match (first..=last).contains(&wanted) {
                true => wanted,
                false if inner.0 <= inner.1 => (wanted.clamp(inner.0, inner.1) + offset).clamp(first, last),
                false => first + (last - first) / 2,
            };
            if best.is_none_or(|best| (y - wanted).abs() < (best - wanted).abs()) {
                best = Some(y);
            }
        }
        end = end.max(bottom);
    }
    best.unwrap_or(wanted)
}
