//! The graph as a Mermaid flowchart: chains and ends as boxes, rules as the words on the lines between them.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::dot::sign;
use super::{End, Graph, Mark, Node, Row};
use crate::analysis::describe::Outcome;

/// What a chain's rules lead to, in the order of the first that does.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum To<'a> {
    Node(End),
    /// What becomes of a packet that leaves the chain otherwise.
    Leaf(&'a str, Outcome),
    /// A rule that lets the packet go on.
    Onward,
}

/// The text for `mermaid`.
#[must_use]
pub fn mermaid(graph: &Graph) -> String {
    let mut out = String::new();
    line(&mut out, "---");
    line(&mut out, &format!("title: {}", front(&graph.title)));
    line(&mut out, "---");
    line(&mut out, "flowchart LR");
    for part in [&graph.facts.join(" · "), &graph.origin, &graph.sentence].into_iter().filter(|part| !part.is_empty())
    {
        line(&mut out, &format!("  %% {}", part.replace(['{', '}'], " ")));
    }
    let mut leads: BTreeMap<(usize, usize), Vec<End>> = BTreeMap::new();
    for edge in &graph.edges {
        leads.entry((edge.from, edge.row)).or_default().push(edge.to);
    }
    let mut hooks: Vec<&str> = Vec::new();
    let (mut styles, mut took, mut links) = (Vec::new(), Vec::new(), 0_usize);
    for (at, node) in graph.chains.iter().enumerate() {
        self::node(&mut out, at, node);
        if let Some((hook, _)) = &node.entry {
            if hooks.last() != Some(&hook.as_str()) {
                line(&mut out, &format!("  h{}([\"{}\"]):::hook", hooks.len(), words(hook)));
                hooks.push(hook);
            }
            line(&mut out, &format!("  h{} ==> c{at}", hooks.len() - 1));
            links += 1;
        }
    }
    for (at, exit) in graph.exits.iter().enumerate() {
        line(&mut out, &format!("  x{at}([\"{}\"]):::redirected", words(exit)));
    }
    for (at, node) in graph.chains.iter().enumerate() {
        for (number, (to, rows, mark)) in grouped(at, node, &leads).iter().enumerate() {
            let label = rows.iter().map(|row| words(row)).collect::<Vec<_>>().join("<br/>");
            let (name, redirect) = match to {
                To::Node(End::Chain(to)) => (format!("c{to}"), false),
                To::Node(End::Exit(to)) => (format!("x{to}"), true),
                To::Leaf(what, outcome) => {
                    let name = format!("c{at}l{number}");
                    line(&mut out, &format!("  {name}([\"{}\"]):::{}", words(what), class(*outcome)));
                    (name, *outcome == Outcome::Redirected)
                }
                To::Onward => (format!("c{at}"), false),
            };
            line(&mut out, &format!("  c{at} -->|\"{label}\"| {name}"));
            match mark {
                Mark::Taken | Mark::Perhaps => took.push(links.to_string()),
                _ if redirect => styles.push(links.to_string()),
                _ => {}
            }
            links += 1;
        }
    }
    if !styles.is_empty() {
        line(&mut out, &format!("  linkStyle {} stroke:#2563b0,stroke-width:2px", styles.join(",")));
    }
    if !took.is_empty() {
        line(&mut out, &format!("  linkStyle {} stroke:#b5530b,stroke-width:4px", took.join(",")));
    }
    for (name, style) in CLASSES {
        line(&mut out, &format!("  classDef {name} {style}"));
    }
    out
}

const CLASSES: [(&str, &str); 10] = [
    ("hook", "fill:#e2e8ef,stroke:#5b6570,color:#1b1f24,stroke-width:2px"),
    ("chain", "fill:#ffffff,stroke:#8b96a2,color:#1b1f24"),
    ("redirected", "fill:#dceafb,stroke:#2563b0,color:#143a6b"),
    ("exempt", "fill:#e0f3e4,stroke:#2e7d43,color:#17502a"),
    ("accepted", "fill:#f2f8f3,stroke:#8db39a,color:#2d5a3c"),
    ("dropped", "fill:#fce4e1,stroke:#b3362b,color:#7c1d15"),
    ("enters", "fill:#f1f4f7,stroke:#8b96a2,color:#2b333b"),
    ("returns", "fill:#ffffff,stroke:#b6c0ca,color:#4a545e"),
    ("goeson", "fill:#f0eafa,stroke:#7a57b5,color:#45297a"),
    ("unknown", "fill:#fdf1d3,stroke:#b07c10,color:#6b4a00"),
];

fn class(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Redirected => "redirected",
        Outcome::Exempt => "exempt",
        Outcome::Accepted => "accepted",
        Outcome::Dropped => "dropped",
        Outcome::Enters => "enters",
        Outcome::Returns => "returns",
        Outcome::GoesOn | Outcome::Handed => "goeson",
        Outcome::Unknown => "unknown",
    }
}

fn line(out: &mut String, text: &str) {
    out.push_str(text);
    out.push('\n');
}

fn node(out: &mut String, at: usize, node: &Node) {
    let mut label = format!("<b>{}</b><br/>{}", words(&node.name), words(&node.place));
    let standing = node.entry.as_ref().map(|(_, standing)| standing);
    for note in standing.into_iter().chain(&node.notes) {
        // Writing to a String cannot fail.
        write!(label, "<br/>{}", words(note)).ok();
    }
    line(out, &format!("  c{at}[\"{label}\"]:::chain"));
}

/// The rules of a chain by where they lead; each with its number and words.
fn grouped<'a>(
    at: usize,
    node: &'a Node,
    leads: &BTreeMap<(usize, usize), Vec<End>>,
) -> Vec<(To<'a>, Vec<String>, Mark)> {
    let mut found: Vec<(To<'a>, Vec<String>, Mark)> = Vec::new();
    // That a chain comes back at its end goes without saying; the policy of a base chain does not.
    let rows = node.rows.iter().enumerate().filter(|(_, row)| row.number.is_some() || node.entry.is_some());
    for (index, row) in rows {
        let Row { number, who, what, outcome, packets, mark, .. } = row;
        let counted = packets.filter(|packets| *packets > 0).map_or(String::new(), |packets| format!(" (×{packets})"));
        let number = number.map_or(String::new(), |number| format!("{}{number}: ", sign(*mark)));
        let ends = leads.get(&(at, index)).map(Vec::as_slice).unwrap_or_default();
        // A jump is told by its line, what happens at an end by its box; only a rule that goes on says it itself.
        let on = *outcome == Outcome::GoesOn && ends.is_empty();
        let told = if on { format!("{number}{who} → {what}{counted}") } else { format!("{number}{who}{counted}") };
        let to = match ends.first() {
            Some(end) => To::Node(*end),
            None if on => To::Onward,
            None => To::Leaf(if what.is_empty() { "see the rule" } else { what }, *outcome),
        };
        let more = ends.iter().skip(1).map(|end| (To::Node(*end), told.clone()));
        for (to, told) in std::iter::once((to, told.clone())).chain(more) {
            match found.iter_mut().find(|(known, ..)| *known == to) {
                Some((_, rules, known)) => {
                    rules.push(told);
                    *known = (*known).max(*mark);
                }
                None => found.push((to, vec![told], *mark)),
            }
        }
    }
    found
}

/// Text within a label: what Mermaid or HTML might take for something else is written as its number.
fn words(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            letter if letter.is_alphanumeric() => out.push(letter),
            ' ' | '.' | ',' | ':' | '/' | '-' | '_' | '·' | '→' | '–' | '×' | '(' | ')' | '[' | ']' | '+' | '='
            | '%' | '@' | '!' | '✓' => {
                out.push(character);
            }
            // Writing to a String cannot fail.
            other => drop(write!(out, "#{};", u32::from(other))),
        }
    }
    if out.trim().is_empty() { "#160;".to_owned() } else { out }
}

/// A text of the front matter, which is YAML.
fn front(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
