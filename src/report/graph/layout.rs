//! Where everything stands: cards in columns, rows within cards, nothing over anything else. In pixels, the same every time.

use std::collections::HashMap;

use super::place::columns;
use super::text::Face;
use super::wires::{self, Wire};
use super::{End, Graph, Node, Row};
use crate::analysis::describe::Outcome;

pub(super) const TITLE: Face = Face::bold(20);
pub(super) const FACTS: Face = Face::plain(12);
pub(super) const SENTENCE: Face = Face::plain(14);
pub(super) const GROUP: Face = Face::bold(13);
pub(super) const NAME: Face = Face::bold(14);
pub(super) const SMALL: Face = Face::plain(11);
pub(super) const RULE: Face = Face::plain(12);
pub(super) const PILL: Face = Face::bold(11);
pub(super) const PLATE: Face = Face::bold(13);

/// Room around the picture.
pub(super) const MARGIN: i32 = 28;
/// Room within a card, left and right.
pub(super) const PADDING: i32 = 12;
/// From line to line.
pub(super) const LINE: i32 = 17;
/// Cards are not narrower and not wider than this.
const WIDTHS: (i32, i32) = (230, 540);
/// Between cards one below the other.
const GAP: i32 = 22;
/// Between blocks.
const BLOCK_GAP: i32 = 34;
/// Height of a group's title.
const GROUP_HEIGHT: i32 = 44;
/// Around the text of a pill.
const PILL_SIDE: i32 = 8;
/// Lines that one text may take.
const MOST_LINES: usize = 8;

/// A rectangle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(missing_docs, reason = "left, top, width, height")]
pub struct Area {
    pub x: i32,
    pub y: i32,
    pub width: i32,
    pub height: i32,
}

impl Area {
    /// Where it ends on the right.
    #[must_use]
    pub fn right(&self) -> i32 {
        self.x + self.width
    }

    /// Where it ends below.
    #[must_use]
    pub fn bottom(&self) -> i32 {
        self.y + self.height
    }

    /// Whether both cover the same place somewhere.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.x < other.right() && other.x < self.right() && self.y < other.bottom() && other.y < self.bottom()
    }
}

/// What happens, as a mark in its row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pill {
    /// Where.
    pub area: Area,
    /// Lines of text.
    pub lines: Vec<String>,
}

/// A rule within a card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Where.
    pub area: Area,
    /// Which packets, in lines.
    pub who: Vec<String>,
    /// What happens to them; none where only the text is known.
    pub pill: Option<Pill>,
}

/// A chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Card {
    /// Where.
    pub area: Area,
    /// Height of its head.
    pub head: i32,
    /// Its name, in lines.
    pub name: Vec<String>,
    /// Its place and what to know of it; the latter from the second number on.
    pub about: (Vec<String>, usize),
    /// Its rules and its end.
    pub rows: Vec<Line>,
    /// Where the number, the counter and the words of its rules begin.
    pub tabs: (i32, i32),
    /// Column, from 0.
    pub column: usize,
}

/// A destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plate {
    /// Where.
    pub area: Area,
    /// Text.
    pub lines: Vec<String>,
    /// Column, from 0.
    pub column: usize,
}

/// A picture.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Picture {
    /// Width in pixels.
    pub width: i32,
    /// Height in pixels.
    pub height: i32,
    /// Titles of groups, each with the line on which it stands.
    pub groups: Vec<(i32, String)>,
    /// A card for each chain.
    pub cards: Vec<Card>,
    /// A plate for each destination.
    pub plates: Vec<Plate>,
    /// A line for each edge.
    pub wires: Vec<Wire>,
    /// The sentence below, in lines, and where it begins.
    pub sentence: (i32, Vec<String>),
    /// Where the legend stands.
    pub legend: i32,
    /// Who it is, in lines.
    pub title: Vec<String>,
    /// What else is known of them, in lines.
    pub facts: Vec<String>,
}

/// Where everything of a graph stands.
#[must_use]
pub fn picture(graph: &Graph) -> Picture {
    let (chain_columns, exit_columns) = columns(graph);
    let count = chain_columns.iter().chain(&exit_columns).max().map_or(0, |last| last + 1);
    let mut widths = vec![WIDTHS.0; count];
    for (node, column) in graph.chains.iter().zip(&chain_columns) {
        if let Some(width) = widths.get_mut(*column) {
            *width = (*width).max(natural(node));
        }
    }
    for (exit, column) in graph.exits.iter().zip(&exit_columns) {
        if let Some(width) = widths.get_mut(*column) {
            *width = (*width).max((PLATE.width(exit) + 2 * PADDING).min(WIDTHS.1));
        }
    }
    let width_of = |column: usize| widths.get(column).copied().unwrap_or(WIDTHS.0);
    let mut cards: Vec<Card> =
        graph.chains.iter().zip(&chain_columns).map(|(node, column)| card(node, *column, width_of(*column))).collect();
    let mut plates: Vec<Plate> =
        graph.exits.iter().zip(&exit_columns).map(|(exit, column)| plate(exit, *column, width_of(*column))).collect();
    let gutters = wires::gutters(graph, &chain_columns, &exit_columns, count);
    let left: Vec<i32> = lefts(&widths, &gutters);
    let last = left.last().zip(widths.last()).map_or(0, |(left, width)| left + width);
    let across = last + gutters.get(count).copied().unwrap_or(0) + MARGIN;
    let width = across.max(640);
    let mut picture = Picture { width, ..Picture::default() };
    picture.title = TITLE.lines(&graph.title, width - 2 * MARGIN, 3);
    picture.facts = FACTS.lines(&graph.facts.join(" · "), width - 2 * MARGIN, MOST_LINES);
    let top = MARGIN + LINE * 3 / 2 * lines(&picture.title) + LINE * lines(&picture.facts);
    let bottom = stack(graph, &mut cards, &mut plates, &left, top, &mut picture.groups);
    picture.wires = wires::route(graph, &cards, &plates, &left, &widths, &gutters);
    let sentence = SENTENCE.lines(&graph.sentence, width - 2 * MARGIN, 40);
    picture.legend = bottom + 20 + 20 * lines(&sentence);
    picture.sentence = (bottom + 20, sentence);
    picture.height = picture.legend + MARGIN + LINE * 3;
    (picture.cards, picture.plates) = (cards, plates);
    picture
}

fn lines<T>(of: &[T]) -> i32 {
    i32::try_from(of.len()).unwrap_or(i32::MAX / LINE / 4)
}

/// The left ends of the columns.
fn lefts(widths: &[i32], gutters: &[i32]) -> Vec<i32> {
    let mut x = MARGIN + gutters.first().copied().unwrap_or(0);
    let after = gutters.iter().skip(1).copied().chain(std::iter::repeat(0));
    let mut left = Vec::with_capacity(widths.len());
    for (width, gutter) in widths.iter().zip(after) {
        left.push(x);
        x += width + gutter;
    }
    left
}

/// Where numbers end and words begin within a card: a column for what was counted only where something was.
fn tabs(node: &Node) -> (i32, i32) {
    let number = PADDING + SMALL.width(&node.rows.len().to_string());
    let most = node.rows.iter().filter_map(|row| row.packets).max().filter(|most| *most > 0);
    let packets = most.map_or(number, |most| number + 10 + SMALL.width(&counted(most)));
    (number, packets + 10)
}

/// `×3`
pub(super) fn counted(packets: u64) -> String {
    format!("×{packets}")
}

fn natural(node: &Node) -> i32 {
    let words = |row: &Row| {
        // A little more: each blank is rounded up when lines are broken.
        let blanks = i32::try_from(row.who.matches(' ').count()).unwrap_or(0);
        let pill = if row.what.is_empty() { 0 } else { 12 + PILL.width(&row.what) + 2 * PILL_SIDE } + blanks;
        tabs(node).1 + RULE.width(&row.who) + pill + PADDING
    };
    let rows = node.rows.iter().map(words).max().unwrap_or(0);
    let entry = node.entry.as_ref().map_or(0, |(hook, _)| GROUP.width(hook) + 30);
    let head = NAME.width(&node.name) + entry;
    let about = SMALL.width(&about(node));
    rows.max(head.max(about) + 2 * PADDING).clamp(WIDTHS.0, WIDTHS.1)
}

fn about(node: &Node) -> String {
    let standing = node.entry.as_ref().map_or(String::new(), |(_, standing)| format!(" · {standing}"));
    format!("{}{standing}", node.place)
}

/// A card at the origin; it is moved to its place later.
fn card(node: &Node, column: usize, width: i32) -> Card {
    let inner = width - 2 * PADDING;
    let name = NAME.lines(&node.name, inner, 4);
    let mut said = SMALL.lines(&about(node), inner, 4);
    let notes_from = said.len();
    said.extend(node.notes.iter().flat_map(|note| SMALL.lines(note, inner, 4)));
    let head = 10 + lines(&name) * 20 + lines(&said) * 15 + 6;
    let tabs = tabs(node);
    let mut y = head;
    let mut rows = Vec::with_capacity(node.rows.len());
    for one in &node.rows {
        let line = row(one, width, tabs.1, y);
        y += line.area.height;
        rows.push(line);
    }
    let area = Area { x: 0, y: 0, width, height: y + 4 };
    Card { area, head, name, about: (said, notes_from), rows, tabs, column }
}

fn row(row: &Row, width: i32, tab: i32, y: i32) -> Line {
    let room = width - tab - PADDING;
    if row.what.is_empty() {
        let who = RULE.lines(&row.who, room, MOST_LINES);
        let height = lines(&who) * LINE + 8;
        return Line { area: Area { x: 0, y, width, height }, who, pill: None };
    }
    let wide = PILL.width(&row.what) + 2 * PILL_SIDE;
    // Beside the words where that leaves them enough room, else below them.
    let beside = wide + 12 + 140.min(RULE.width(&row.who)) <= room;
    let who = RULE.lines(&row.who, if beside { room - wide - 12 } else { room }, MOST_LINES);
    let (pill_lines, wide) = match beside {
        true => (vec![row.what.clone()], wide),
        false => {
            let broken = PILL.lines(&row.what, room - 2 * PILL_SIDE, MOST_LINES);
            let widest = broken.iter().map(|line| PILL.width(line)).max().unwrap_or(0);
            (broken, (widest + 2 * PILL_SIDE).min(room))
        }
    };
    let pill_height = lines(&pill_lines) * 15 + 4;
    let words = lines(&who) * LINE;
    let pill_y = if beside { y + 4 - 1 } else { y + 4 + words };
    let height = if beside { words.max(pill_height) } else { words + pill_height + 2 } + 8;
    let pill = Area { x: width - PADDING - wide, y: pill_y, width: wide, height: pill_height };
    Line { area: Area { x: 0, y, width, height }, who, pill: Some(Pill { area: pill, lines: pill_lines }) }
}

fn plate(text: &str, column: usize, width: i32) -> Plate {
    let room = width - 2 * PADDING;
    let lines_of = PLATE.lines(text, room, 4);
    let widest = lines_of.iter().map(|line| PLATE.width(line)).max().unwrap_or(0);
    let area = Area { x: 0, y: 0, width: (widest + 2 * PADDING).min(width), height: lines(&lines_of) * 18 + 18 };
    Plate { area, lines: lines_of, column }
}

/// Moves everything to its place, block by block; where the last one ends.
fn stack(
    graph: &Graph,
    cards: &mut [Card],
    plates: &mut [Plate],
    left: &[i32],
    top: i32,
    groups: &mut Vec<(i32, String)>,
) -> i32 {
    let ends = Ends::of(graph);
    let (mut y, mut at, mut group) = (top, 0, "");
    while let Some(first) = graph.chains.get(at) {
        let count = graph.chains.iter().skip(at).take_while(|node| node.block == first.block).count();
        if first.group != group {
            group = &first.group;
            groups.push((y + GROUP_HEIGHT - 16, first.group.clone()));
            y += GROUP_HEIGHT;
        }
        let mut below = vec![y; left.len()];
        for chain in at..at + count {
            let wanted = ends.source(End::Chain(chain), cards);
            let Some(card) = cards.get_mut(chain) else { continue };
            let (x, free) = column(left, &mut below, card.column);
            let (dx, dy) = (x, wanted.map_or(*free, |row| (row - 20).max(*free)));
            card.moved(dx, dy);
            *free = card.area.bottom() + GAP;
            for exit in ends.exits(chain) {
                let wanted = ends.source(End::Exit(*exit), cards);
                let Some(plate) = plates.get_mut(*exit) else { continue };
                let (x, free) = column(left, &mut below, plate.column);
                let y = wanted.map_or(*free, |row| (row - plate.area.height / 2).max(*free));
                (plate.area.x, plate.area.y) = (x, y);
                *free = plate.area.bottom() + GAP;
            }
        }
        y = below.iter().max().copied().unwrap_or(y) - GAP + BLOCK_GAP;
        at += count;
    }
    y
}

/// The left end of a column, and where it is still free.
fn column<'a>(left: &[i32], below: &'a mut [i32], column: usize) -> (i32, &'a mut i32) {
    let at = column.min(left.len().saturating_sub(1));
    (left.get(at).copied().unwrap_or(MARGIN), &mut below[at])
}

/// The first row that leads to each end, and the destinations by the chain of that row.
struct Ends {
    first: HashMap<End, (usize, usize)>,
    exits: HashMap<usize, Vec<usize>>,
}

impl Ends {
    fn of(graph: &Graph) -> Self {
        let (mut first, mut exits) = (HashMap::new(), HashMap::<usize, Vec<usize>>::new());
        for edge in &graph.edges {
            first.entry(edge.to).or_insert_with(|| {
                if let End::Exit(exit) = edge.to {
                    exits.entry(edge.from).or_default().push(exit);
                }
                (edge.from, edge.row)
            });
        }
        Self { first, exits }
    }

    fn exits(&self, chain: usize) -> &[usize] {
        self.exits.get(&chain).map(Vec::as_slice).unwrap_or_default()
    }

    /// The height of the row that leads there, where that has its place already.
    fn source(&self, end: End, cards: &[Card]) -> Option<i32> {
        let (from, row) = self.first.get(&end)?;
        let card = cards.get(*from).filter(|card| card.area.x > 0)?;
        card.rows.get(*row).map(Line::anchor)
    }
}

impl Line {
    /// Where a wire leaves it.
    #[must_use]
    pub fn anchor(&self) -> i32 {
        let pill = self.pill.as_ref().map(|pill| pill.area);
        pill.map_or(self.area.y + 4 + LINE / 2, |pill| pill.y + pill.height / 2)
    }
}

impl Card {
    fn moved(&mut self, dx: i32, dy: i32) {
        let areas = self.rows.iter_mut().flat_map(|row| {
            let pill = row.pill.as_mut().map(|pill| &mut pill.area);
            std::iter::once(&mut row.area).chain(pill)
        });
        for area in areas.chain(std::iter::once(&mut self.area)) {
            area.x += dx;
            area.y += dy;
        }
    }
}

/// The words that say in the legend what a colour means.
pub(super) const LEGEND: [(Outcome, &str); 7] = [
    (Outcome::Redirected, "redirected"),
    (Outcome::Exempt, "left alone"),
    (Outcome::Accepted, "accepted"),
    (Outcome::Dropped, "dropped"),
    (Outcome::Enters, "another chain"),
    (Outcome::GoesOn, "goes on"),
    (Outcome::Unknown, "not understood"),
];
