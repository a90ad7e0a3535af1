//! The chains of a workload as a graph: one model of boxes and lines, and one file for each form in which it is drawn.

mod dot;
mod layout;
mod mermaid;
mod place;
mod svg;
mod taken;
mod text;
mod wires;

use std::collections::HashMap;
use std::time::{Duration, UNIX_EPOCH};

use crate::analysis::describe::{self, Outcome, Told};
use crate::analysis::leftover::takes_everything;
use crate::analysis::paths::{Block, Chosen, Paths, blocks, goes_for_good, rivals, unreached};
use crate::model::{Chain, Snapshot, Table};
use crate::report::escape::escape;
use crate::report::who::{facts, standing_words, who_wrote};
use crate::syntax::print_rule;

pub use dot::dot;
pub use layout::{Area, Card, Picture, Plate, picture};
pub use mermaid::mermaid;
pub use svg::svg;
pub use taken::{Passed, taken};
pub use wires::Wire;

/// Destinations more than this are not drawn as boxes of their own: the rules name them.
const MOST_EXITS: usize = 24;

/// Everything that is drawn. Texts are free of characters that steer a terminal; each form escapes what it must besides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Graph {
    /// Who it is.
    pub title: String,
    /// What else is known of them.
    pub facts: Vec<String>,
    /// Where and when it was read, as far as that is known.
    pub origin: String,
    /// Where traffic goes, in a sentence.
    pub sentence: String,
    /// The chains, in the order in which a packet meets them, each once.
    pub chains: Vec<Node>,
    /// Where redirected packets go, each destination once in its table; none where there are too many.
    pub exits: Vec<String>,
    /// From a rule to a chain or a destination.
    pub edges: Vec<Edge>,
}

/// What a picture of one packet's way says of a rule or a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Mark {
    /// Nothing: it is no such picture.
    #[default]
    None,
    /// The packet passes it by.
    Not,
    /// Whether the packet takes it cannot be known.
    Perhaps,
    /// The packet takes it.
    Taken,
}

/// A chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Name.
    pub name: String,
    /// `nat · iptables-nft · ipv4`
    pub place: String,
    /// Where packets enter, for a base chain: the hook in capitals, and where it stands there.
    pub entry: Option<(String, String)>,
    /// What to know of it: that it is switched off, that nothing leads here, that its turn is not known.
    pub notes: Vec<String>,
    /// The group under which it is drawn: a hook in capitals, or that none leads here.
    pub group: String,
    /// Number of the block within the picture: chains that hang together.
    pub block: usize,
    /// Its rules; behind them what becomes of packets at its end, where some come there.
    pub rows: Vec<Row>,
}

/// A rule, or the end of a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// From 1; `None` for the end of the chain.
    pub number: Option<usize>,
    /// Which packets.
    pub who: String,
    /// What happens to them; empty where the rule is not understood and `who` is its text.
    pub what: String,
    /// The same at a glance.
    pub outcome: Outcome,
    /// Packets that it has counted.
    pub packets: Option<u64>,
    /// Its own text.
    pub text: String,
    /// Whether a packet takes it.
    pub mark: Mark,
}

/// A line in the picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edge {
    /// The chain that it comes from.
    pub from: usize,
    /// Which of its rows.
    pub row: usize,
    /// Where it leads.
    pub to: End,
    /// Packets do not come back.
    pub for_good: bool,
    /// It leads to where something redirects.
    pub redirects: bool,
    /// Whether a packet takes it.
    pub mark: Mark,
}

/// What a line leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum End {
    /// The chain of this number.
    Chain(usize),
    /// The destination of this number.
    Exit(usize),
}

/// The graph of a snapshot's chains; `sentence` is the one that the table ends with.
#[must_use]
pub fn graph(snapshot: &Snapshot, chosen: &Chosen<'_>, sentence: &str) -> Graph {
    let mut builder = Builder::default();
    let (reached, left) = (blocks(snapshot, chosen.whole()), unreached(snapshot, chosen.whole()));
    let everyone = blocks(snapshot, true);
    let all = reached.iter().map(|block| (block, true)).chain(left.iter().map(|block| (block, false)));
    for (block, hooked) in all.filter(|(block, _)| chosen.table(&block.table.name)) {
        for chain in block.chains.iter().filter(|chain| chosen.chain(&chain.name)) {
            builder.chain(block, chain, hooked, &everyone);
        }
        builder.block += 1;
    }
    builder.lines();
    finish(builder, snapshot, sentence)
}

fn finish(builder: Builder<'_>, snapshot: &Snapshot, sentence: &str) -> Graph {
    let (title, facts) = facts(snapshot);
    let unread = snapshot.unread.iter().map(|unread| escape(&format!("could not read {}", unread.source)).into_owned());
    Graph {
        title,
        facts: facts.into_iter().chain(unread).collect(),
        origin: origin(snapshot),
        sentence: escape(sentence).into_owned(),
        chains: builder.nodes,
        exits: builder.exits,
        edges: builder.edges,
    }
}

/// `node worker-1 · 2026-11-22T18:00:00Z`; nothing for a text, which tells neither.
fn origin(snapshot: &Snapshot) -> String {
    /// The end of the year 9999, the last that can be written as a date.
    const LAST: u64 = 253_402_300_799;
    if snapshot.taken == 0 || snapshot.taken > LAST {
        return String::new();
    }
    let taken = humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(snapshot.taken));
    format!("node {} · {taken}", escape(&snapshot.node))
}

#[derive(Default)]
struct Builder<'a> {
    nodes: Vec<Node>,
    /// Each node's own chain and table.
    of: Vec<(&'a Table, &'a Chain)>,
    /// The node of a chain, by the place of its table in memory and its name.
    known: HashMap<(*const Table, &'a str), usize>,
    paths: HashMap<*const Table, Paths<'a>>,
    exits: Vec<String>,
    edges: Vec<Edge>,
    block: usize,
}

impl<'a> Builder<'a> {
    fn chain(&mut self, block: &Block<'a>, chain: &'a Chain, hooked: bool, everyone: &[Block<'a>]) {
        let key = (std::ptr::from_ref(block.table), chain.name.as_str());
        if self.known.contains_key(&key) {
            return;
        }
        self.known.insert(key, self.nodes.len());
        self.of.push((block.table, chain));
        let hook = |chain: &Chain| chain.hook.map_or("", |hook| hook.word()).to_uppercase();
        let base = block.chains.first().filter(|_| hooked);
        let mut notes = Vec::new();
        if block.table.dormant {
            notes.push("dormant: not in force".to_owned());
        }
        if chain.hook.is_some() {
            notes.extend(rivals(block, everyone).iter().filter_map(|other| {
                let base = other.chains.first()?;
                let name =
                    if base.name == hook(base) { String::new() } else { format!(" · chain {}", escape(&base.name)) };
                Some(format!("same priority as {}{name}: order unknown", place(other, base)))
            }));
        }
        let paths = self.paths.entry(key.0).or_insert_with(|| Paths::of(block.table));
        let rows = rows(block, paths, chain);
        self.nodes.push(Node {
            name: escape(&chain.name).into_owned(),
            place: place(block, chain),
            entry: chain.hook.map(|_| (hook(chain), standing_words(chain))),
            notes,
            group: base.map_or("NO HOOK LEADS HERE".to_owned(), |base| hook(base)),
            block: self.block,
            rows,
        });
    }

    /// The lines between what is drawn.
    fn lines(&mut self) {
        let mut exits: HashMap<(*const Table, String), usize> = HashMap::new();
        for (from, (table, chain)) in self.of.clone().into_iter().enumerate() {
            let key = std::ptr::from_ref(table);
            let Some(paths) = self.paths.get(&key) else { continue };
            for (row, rule) in chain.rules.iter().enumerate() {
                let for_good = goes_for_good(rule);
                for to in paths.leads_to(rule) {
                    let Some(end) = self.known.get(&(key, to)) else { continue };
                    let redirects = paths.redirects(to);
                    self.edges.push(Edge { from, row, to: End::Chain(*end), for_good, redirects, mark: Mark::None });
                }
                let Some(Row { outcome: Outcome::Redirected, what, .. }) =
                    self.nodes.get(from).and_then(|node| node.rows.get(row)).filter(|row| !row.what.is_empty())
                else {
                    continue;
                };
                let known = &mut self.exits;
                let exit = *exits.entry((key, what.clone())).or_insert_with(|| {
                    known.push(what.clone());
                    known.len() - 1
                });
                self.edges.push(Edge {
                    from,
                    row,
                    to: End::Exit(exit),
                    for_good: true,
                    redirects: true,
                    mark: Mark::None,
                });
            }
        }
        if self.exits.len() > MOST_EXITS {
            self.exits.clear();
            self.edges.retain(|edge| matches!(edge.to, End::Chain(_)));
        }
    }
}

fn rows<'a>(block: &Block<'a>, paths: &Paths<'a>, chain: &'a Chain) -> Vec<Row> {
    let family = block.ruleset.family;
    let mut rows: Vec<Row> = Vec::with_capacity(chain.rules.len() + 1);
    for (index, rule) in chain.rules.iter().enumerate() {
        let text = escape(&print_rule(family, block.table, chain, rule)).into_owned();
        let told = describe::told(family, block.table, paths, chain, index);
        let told = told.unwrap_or_else(|| {
            let outcome = match (paths.sends(chain, rule), paths.leads_to(rule).is_empty()) {
                (true, _) => Outcome::Redirected,
                (false, false) => Outcome::Enters,
                (false, true) => Outcome::Unknown,
            };
            Told { who: text.clone(), what: String::new(), outcome }
        });
        rows.push(Row {
            number: Some(index + 1),
            who: escape(&told.who).into_owned(),
            what: escape(&told.what).into_owned(),
            outcome: told.outcome,
            packets: rule.counters.map(|counters| counters.packets),
            text,
            mark: Mark::None,
        });
    }
    if chain.rules.iter().any(|rule| takes_everything(family, block.table, rule)) {
        return rows;
    }
    let (what, outcome) = describe::end(chain);
    let who = if chain.rules.is_empty() { "everything" } else { "what is left" }.to_owned();
    rows.push(Row {
        number: None,
        who,
        what: what.to_owned(),
        outcome,
        packets: None,
        text: String::new(),
        mark: Mark::None,
    });
    rows
}

fn place(block: &Block<'_>, chain: &Chain) -> String {
    format!("{} · {}", escape(&block.table.name), who_wrote(block.ruleset.backend, block.ruleset.family, chain.syntax))
}
