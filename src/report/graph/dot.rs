//! The graph in Graphviz' language: each chain a table with a row for each rule, each jump a line from its row.

use std::fmt::Write;

use super::{Edge, End, Graph, Mark, Node, Row};
use crate::analysis::describe::Outcome;

/// Colours of a row's last cell, and what stands for it without colour is the text itself.
fn colour(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Redirected => "#dceafb",
        Outcome::Exempt => "#e0f3e4",
        Outcome::Accepted => "#f2f8f3",
        Outcome::Dropped => "#fce4e1",
        Outcome::Enters => "#f1f4f7",
        Outcome::Returns => "#ffffff",
        Outcome::GoesOn | Outcome::Handed => "#f0eafa",
        Outcome::Unknown => "#fdf1d3",
    }
}

/// The text for `dot`.
#[must_use]
pub fn dot(graph: &Graph) -> String {
    let mut out = String::from("digraph chains {\n");
    let label = [graph.title.as_str(), &graph.facts.join(" · "), &graph.origin, &graph.sentence]
        .map(html)
        .join("<br align=\"left\"/>");
    line(&mut out, "  rankdir=LR; nodesep=0.35; ranksep=0.9;");
    line(&mut out, "  graph [fontname=\"Helvetica\", fontsize=13, labelloc=b, labeljust=l];");
    line(&mut out, "  node [fontname=\"Helvetica\", fontsize=11, shape=plain];");
    line(&mut out, "  edge [fontname=\"Helvetica\", fontsize=10, color=\"#6b7680\", arrowsize=0.7];");
    line(&mut out, &format!("  label=<{label}<br align=\"left\"/>>;"));
    let mut hooks: Vec<(&str, String)> = Vec::new();
    for (at, node) in graph.chains.iter().enumerate() {
        line(&mut out, &format!("  c{at} [label=<{}>];", table(node)));
        if let Some((hook, _)) = &node.entry {
            if hooks.last().is_none_or(|(last, _)| last != hook) {
                let name = format!("hook{}", hooks.len());
                line(
                    &mut out,
                    &format!("  {name} [shape=cds, style=filled, fillcolor=\"#e2e8ef\", label={}];", quoted(hook)),
                );
                hooks.push((hook, name));
            }
            if let Some((_, name)) = hooks.last() {
                line(&mut out, &format!("  {name} -> c{at}:h:w [penwidth=1.5];"));
            }
        }
    }
    for (at, exit) in graph.exits.iter().enumerate() {
        line(
            &mut out,
            &format!(
                "  x{at} [shape=box, style=\"rounded,filled\", fillcolor=\"#2563b0\", fontcolor=white, margin=\"0.2,0.1\", label={}];",
                quoted(exit)
            ),
        );
    }
    for edge in &graph.edges {
        line(&mut out, &arrow(graph, edge));
    }
    out.push_str("}\n");
    out
}

/// What stands before the number of a rule that a packet takes.
pub(super) fn sign(mark: Mark) -> &'static str {
    match mark {
        Mark::Taken => "✓ ",
        Mark::Perhaps => "? ",
        Mark::None | Mark::Not => "",
    }
}

fn line(out: &mut String, text: &str) {
    out.push_str(text);
    out.push('\n');
}

fn arrow(graph: &Graph, edge: &Edge) -> String {
    let to = match edge.to {
        End::Chain(to) => format!("c{to}:h:w"),
        End::Exit(to) => format!("x{to}:w"),
    };
    let row = graph.chains.get(edge.from).and_then(|node| node.rows.get(edge.row));
    let tip = row.map_or(String::new(), |row| format!("{} → {}", row.who, row.what));
    let style = match (edge.mark, edge.redirects, edge.for_good) {
        (Mark::Taken, ..) => ", color=\"#b5530b\", penwidth=3",
        (Mark::Perhaps, ..) => ", color=\"#b5530b\", penwidth=3, style=dashed",
        (Mark::Not, ..) => ", color=\"#c9d0d7\"",
        (Mark::None, true, _) => ", color=\"#2563b0\", penwidth=1.6",
        (Mark::None, false, true) => ", style=dashed",
        (Mark::None, false, false) => "",
    };
    format!("  c{}:r{}:e -> {to} [tooltip={}{style}];", edge.from, edge.row, quoted(&tip))
}

fn table(node: &Node) -> String {
    let mut out =
        String::from("<table border=\"1\" color=\"#8b96a2\" cellborder=\"0\" cellspacing=\"0\" cellpadding=\"4\">");
    let about = node.entry.as_ref().map_or(String::new(), |(_, standing)| format!(" · {standing}"));
    // Writing to a String cannot fail.
    write!(
        out,
        "<tr><td colspan=\"3\" port=\"h\" align=\"left\" bgcolor=\"#e2e8ef\"><b>{}</b><br align=\"left\"/>\
         <font point-size=\"9\">{}</font><br align=\"left\"/>",
        html(&node.name),
        html(&format!("{}{about}", node.place)),
    )
    .ok();
    for note in &node.notes {
        write!(out, "<font point-size=\"9\" color=\"#9a4a00\">{}</font><br align=\"left\"/>", html(note)).ok();
    }
    out.push_str("</td></tr>");
    for (at, row) in node.rows.iter().enumerate() {
        let Row { number, who, what, outcome, packets, mark, .. } = row;
        let number = format!("{}{}", sign(*mark), number.map_or(String::new(), |number| number.to_string()));
        let who = html(who);
        let who = match mark {
            Mark::None => who,
            Mark::Taken | Mark::Perhaps => format!("<b>{who}</b>"),
            Mark::Not => format!("<font color=\"#9aa4ad\">{who}</font>"),
        };
        let counted = packets.filter(|packets| *packets > 0).map_or(String::new(), |packets| format!(" ×{packets}"));
        write!(
            out,
            "<hr/><tr><td align=\"right\"><font color=\"#5b6570\">{number}{counted} </font></td><td align=\"left\">{}</td>\
             <td align=\"left\" port=\"r{at}\" bgcolor=\"{}\">{}</td></tr>",
            who,
            if *mark == Mark::Not { "#ffffff" } else { colour(*outcome) },
            if what.is_empty() { " ".to_owned() } else { html(what) },
        )
        .ok();
    }
    out.push_str("</table>");
    out
}

/// Text within a label of Graphviz' own HTML. An empty one is no label at all.
fn html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\u{fffe}' | '\u{ffff}' => out.push_str(&format!("\\u{{{:x}}}", u32::from(character))),
            other => out.push(other),
        }
    }
    if out.is_empty() { " ".to_owned() } else { out }
}

/// Text in double quotes. Backslashes are doubled: `\N` and the like stand for something else in a label.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
