//! The table for people: a block for each kind of packets, the widest row first, its exceptions under it.

use std::collections::{BTreeMap, BTreeSet};

use super::words::{People, area, ends};
use crate::analysis::coverage::{Area, Class, Coverage, Kind, Outcome, rows, usual};
use crate::model::{Protocol, RuleRef, Snapshot};
use crate::report::escape::escape;
use crate::report::paint::{Label, Paint};
use crate::report::wrap::wrap;

/// Areas of one row that are told before the rest is counted.
const AREAS: usize = 4;

/// Kinds of packets with the same rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Block {
    /// Which packets: `outgoing TCP, IPv4`.
    pub title: String,
    /// How they end, the widest first.
    pub rows: Vec<Told>,
}

/// Packets that end alike, told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// How they end.
    pub ends: String,
    /// Which they are; for the widest nothing: all that the others are not.
    pub areas: Vec<String>,
    /// The rules that decide.
    pub rules: Vec<String>,
    /// What it hangs on where there are several ends.
    pub because: Vec<String>,
}

/// All blocks; kinds of which the same is told share one.
#[must_use]
pub fn blocks(snapshot: &Snapshot, coverage: &Coverage<'_>, all: bool) -> Vec<Block> {
    let people = People::of(snapshot);
    let mut found: Vec<(Vec<Kind>, Vec<Told>)> = Vec::new();
    let mut kinds: Vec<Kind> = coverage.classes.iter().map(|class| class.kind).collect();
    kinds.dedup();
    for kind in kinds {
        let classes: Vec<&Class<'_>> = coverage.classes.iter().filter(|class| class.kind == kind).collect();
        let of = if all { Area::default() } else { usual(snapshot, &kind, &classes) };
        let rows = rows(&kind, &classes, &of, |class| ends(&class.outcomes, &people));
        let wide = rows.len();
        let told: Vec<Told> = (0..)
            .zip(&rows)
            .filter(|(at, row)| all || *at == 0 || !row.ends.ends_with("by the kernel itself"))
            .map(|(at, row)| Told {
                ends: row.ends.clone(),
                areas: match at {
                    0 if wide > 1 => Vec::new(),
                    _ => told_areas(&row.areas, &people, &kind, all),
                },
                rules: rules(row.classes.iter().flat_map(|class| &class.outcomes)),
                because: because(&row.classes),
            })
            .collect();
        let place = found.iter_mut().find(|(of, known)| *known == told && goes_with(of, &kind));
        match place {
            Some((of, _)) => of.push(kind),
            None => found.push((vec![kind], told)),
        }
    }
    found.into_iter().map(|(kinds, rows)| Block { title: title(&kinds), rows }).collect()
}

pub(in crate::report) fn goes_with(kinds: &[Kind], kind: &Kind) -> bool {
    kinds.first().is_some_and(|first| (first.incoming, first.interface) == (kind.incoming, kind.interface))
}

pub(in crate::report) fn told_areas(areas: &[Area], people: &People<'_>, kind: &Kind, all: bool) -> Vec<String> {
    let most = if all { usize::MAX } else { AREAS };
    let mut told: Vec<String> =
        areas.iter().take(most).map(|one| area(one, people, (kind.incoming, kind.ipv6))).collect();
    if areas.len() > most {
        told.push(format!("and {} more: -v", areas.len() - most));
    }
    told
}

/// `legacy ip nat ISTIO_INBOUND 1, 2, 3`: the numbers of one chain stand together.
pub(in crate::report) fn rules<'o>(outcomes: impl Iterator<Item = &'o Outcome<'o>>) -> Vec<String> {
    let mut found: BTreeMap<String, BTreeSet<usize>> = BTreeMap::new();
    for rule in outcomes.filter_map(|outcome| outcome.rule.as_ref()) {
        let RuleRef { backend, family, table, chain, number } = rule;
        let chain = format!("{} {} {} {}", backend.word(), family.word(), escape(table), escape(chain));
        found.entry(chain).or_default().insert(*number);
    }
    let one = |(chain, numbers): (String, BTreeSet<usize>)| {
        let numbers: Vec<String> = numbers.iter().map(usize::to_string).collect();
        format!("{chain} {}", numbers.join(", "))
    };
    found.into_iter().map(one).collect()
}

fn because(classes: &[&Class<'_>]) -> Vec<String> {
    let mut found: Vec<String> =
        classes.iter().flat_map(|class| &class.because).map(|doubt| escape(&doubt.why).into_owned()).collect();
    found.sort();
    found.dedup();
    found
}

fn protocol(kind: &Kind) -> String {
    match kind.protocol {
        None => "other protocols".to_owned(),
        Some(Protocol::Tcp) => "TCP".to_owned(),
        Some(Protocol::Udp) => "UDP".to_owned(),
        Some(Protocol::Other(1 | 58)) => "ICMP".to_owned(),
        Some(Protocol::Other(number)) => format!("protocol {number}"),
    }
}

/// `outgoing TCP, IPv4`, `incoming UDP and ICMP by eth0, IPv4 and IPv6`.
pub(in crate::report) fn title(kinds: &[Kind]) -> String {
    let Some(first) = kinds.first() else { return String::new() };
    let direction = if first.incoming { "incoming" } else { "outgoing" };
    let by = first.interface.map(|device| format!(" by {}", escape(device.as_str()))).unwrap_or_default();
    let mut families: Vec<(bool, Vec<String>)> = Vec::new();
    for kind in kinds {
        match families.iter_mut().find(|(ipv6, _)| *ipv6 == kind.ipv6) {
            Some((_, protocols)) => protocols.push(protocol(kind)),
            None => families.push((kind.ipv6, vec![protocol(kind)])),
        }
    }
    let family = |ipv6: bool| if ipv6 { "IPv6" } else { "IPv4" };
    let listed = |names: &[String]| match names.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => names.concat(),
    };
    match families.as_slice() {
        [(_, one), (_, other)] if one == other => format!("{direction} {}{by}, IPv4 and IPv6", listed(one)),
        several => {
            let each: Vec<String> =
                several.iter().map(|(ipv6, protocols)| format!("{}, {}", listed(protocols), family(*ipv6))).collect();
            format!("{direction} {}{by}", each.join("; "))
        }
    }
}

/// The blocks as text.
#[must_use]
pub fn text(blocks: &[Block], paint: Paint, width: usize) -> String {
    let mut out = String::new();
    let mut line = |indent: usize, label: Option<Label>, words: &str| {
        for part in wrap(words, width.saturating_sub(indent)) {
            let part = label.map_or_else(|| part.clone(), |label| paint.text(label, &part));
            out.push_str(&format!("{:indent$}{part}\n", ""));
        }
    };
    for (at, block) in blocks.iter().enumerate() {
        if at > 0 {
            line(0, None, "");
        }
        line(0, Some(Label::Name), &block.title);
        for (at, row) in block.rows.iter().enumerate() {
            let first = at == 0;
            let except = if first && block.rows.len() > 1 { ", except:" } else { "" };
            line(if first { 2 } else { 4 }, label(&row.ends), &format!("{}{except}", row.ends));
            let indent = if first { 4 } else { 6 };
            row.areas.iter().filter(|area| *area != "everything").for_each(|area| line(indent, None, area));
            if !row.rules.is_empty() {
                line(indent, Some(Label::Dim), &format!("by {}", row.rules.join("; ")));
            }
            if !row.because.is_empty() {
                line(indent, Some(Label::Warning), &format!("it hangs on {}", row.because.join("; ")));
            }
        }
    }
    out
}

pub(in crate::report) fn label(ends: &str) -> Option<Label> {
    let doubtful = ends.contains("nobody listens") || ends.starts_with("undecided") || ends.contains(" | ");
    match ends {
        _ if doubtful => Some(Label::Warning),
        _ if ends.starts_with("dropped") || ends.starts_with("rejected") => Some(Label::Dropped),
        _ if ends.starts_with('→') => Some(Label::Redirect),
        _ => None,
    }
}
