//! The graph as a picture that stands alone: SVG, light and dark, without script, font or link.

use std::fmt::Write;

use super::layout::{
    Area, Card, FACTS, GROUP, LEGEND, LINE, MARGIN, NAME, PADDING, PILL, PLATE, Picture, Pill, Plate, RULE, SENTENCE,
    SMALL, TITLE, counted, picture,
};
use super::text::Face;
use super::wires::Wire;
use super::{Graph, Mark, Node};
use crate::analysis::describe::Outcome;

/// What the hooks are, for those who do not know their names.
const HOOKS: [(&str, &str); 8] = [
    ("INGRESS", "as frames arrive at a device"),
    ("PREROUTING", "as packets arrive, before it is decided where they go"),
    ("INPUT", "as packets are delivered to this namespace"),
    ("FORWARD", "as packets pass through"),
    ("OUTPUT", "as programs of this namespace send packets"),
    ("POSTROUTING", "as packets leave"),
    ("EGRESS", "as frames leave by a device"),
    ("NO HOOK LEADS HERE", "no packet meets these chains"),
];

/// The picture of a graph.
#[must_use]
pub fn svg(graph: &Graph, version: &str) -> String {
    let picture = picture(graph);
    let mut out = Drawing { text: String::new() };
    out.head(graph, &picture);
    for (y, _) in &picture.groups {
        let right = picture.width - MARGIN;
        out.push(&format!("<path class=\"rule\" d=\"M{MARGIN} {y}H{right}\"/>"));
    }
    // The lines first: should one pass behind a card, the card stays legible.
    let mut wires: Vec<&Wire> = picture.wires.iter().collect();
    wires.sort_by_key(|wire| (wire.mark, wire.redirects));
    wires.into_iter().for_each(|wire| out.wire(wire));
    for (y, group) in &picture.groups {
        out.group(*y, group);
    }
    for (card, node) in picture.cards.iter().zip(&graph.chains) {
        out.card(card, node);
    }
    for (plate, whole) in picture.plates.iter().zip(&graph.exits) {
        out.plate(plate, whole);
    }
    out.foot(&picture, &graph.origin, version);
    out.text
}

struct Drawing {
    text: String,
}

impl Drawing {
    fn push(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    fn head(&mut self, graph: &Graph, picture: &Picture) {
        let Picture { width, height, title, facts, .. } = picture;
        self.push(&format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
             role=\"img\" aria-labelledby=\"nslens-title nslens-desc\">"
        ));
        self.push(&format!("<title id=\"nslens-title\">Packet filter chains of {}</title>", xml(&graph.title)));
        let count: usize =
            graph.chains.iter().map(|node| node.rows.iter().filter(|row| row.number.is_some()).count()).sum();
        self.push(&format!(
            "<desc id=\"nslens-desc\">{} chains with {count} rules. {}</desc>",
            graph.chains.len(),
            xml(&graph.sentence)
        ));
        self.push(include_str!("style.txt").trim_end());
        // Not in every picture is there a way to mark.
        let marked = graph.edges.iter().any(|edge| edge.mark != Mark::None);
        let way = if marked { arrow("arrow-taken", "tip tip-taken") } else { String::new() };
        let arrows = arrow("arrow", "tip") + &arrow("arrow-redirect", "tip tip-redirect") + &way;
        self.push(&format!("<defs>{arrows}</defs>"));
        self.push(&format!("<rect class=\"paper\" width=\"{width}\" height=\"{height}\"/>"));
        let mut y = MARGIN - 4;
        for line in title {
            y += LINE * 3 / 2;
            self.words(MARGIN, y - 6, "title", TITLE, line);
        }
        for line in facts {
            y += LINE;
            self.words(MARGIN, y - 3, "muted", FACTS, line);
        }
    }

    fn words(&mut self, x: i32, y: i32, class: &str, face: Face, text: &str) {
        if text.is_empty() {
            return;
        }
        let bold = if face.bold { " b" } else { "" };
        let Face { size, .. } = face;
        self.push(&format!(
            "<text x=\"{x}\" y=\"{y}\" class=\"{class}{bold}\" font-size=\"{size}\">{}</text>",
            xml(text)
        ));
    }

    /// The title of a group; a line that passes behind it leaves it legible.
    fn group(&mut self, y: i32, group: &str) {
        self.words(MARGIN, y - 6, "hook halo", GROUP, group);
        if let Some((_, about)) = HOOKS.iter().find(|(name, _)| *name == group) {
            self.words(
                MARGIN + GROUP.width(group) + i32::try_from(group.len()).unwrap_or(0) + 12,
                y - 6,
                "muted halo",
                FACTS,
                about,
            );
        }
    }

    fn wire(&mut self, wire: &Wire) {
        let (redirect, arrow) = match (wire.mark, wire.redirects) {
            (Mark::Taken | Mark::Perhaps, _) => (" wire-taken", "arrow-taken"),
            (Mark::Not, _) => (" wire-not", "arrow"),
            (Mark::None, true) => (" wire-redirect", "arrow-redirect"),
            (Mark::None, false) => ("", "arrow"),
        };
        let dashed = match wire.mark {
            Mark::Perhaps => true,
            Mark::None => wire.for_good && !wire.redirects,
            Mark::Taken | Mark::Not => false,
        };
        let good = if dashed { " stroke-dasharray=\"5 3\"" } else { "" };
        self.push(&format!(
            "<path class=\"wire{redirect}\" d=\"{}\" marker-end=\"url(#{arrow})\"{good}/>",
            path(&wire.points)
        ));
    }

    fn card(&mut self, card: &Card, node: &Node) {
        let Area { x, y, width, height } = card.area;
        let head = card.head;
        let kind = if node.entry.is_some() { "card base" } else { "card" };
        self.push(&format!("<g class=\"{kind}\">"));
        self.push(&format!("<title>{}</title>", xml(&format!("{} · {}", node.name, node.place))));
        self.push(&format!("<rect class=\"box\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"6\"/>"));
        let right = x + width;
        self.push(&format!(
            "<path class=\"head\" d=\"M{x} {}V{}q0 -6 6 -6H{}q6 0 6 6V{}Z\"/>",
            y + head,
            y + 6,
            right - 6,
            y + head
        ));
        let mut line = y + 10;
        for text in &card.name {
            line += 20;
            self.words(x + PADDING, line - 6, "ink", NAME, text);
        }
        for (at, text) in card.about.0.iter().enumerate() {
            line += 15;
            self.words(x + PADDING, line - 4, if at < card.about.1 { "muted" } else { "warning" }, SMALL, text);
        }
        for (row, rule) in card.rows.iter().zip(&node.rows) {
            let Area { y, .. } = row.area;
            self.push(match rule.mark {
                Mark::Not => "<g class=\"not\">",
                _ => "<g>",
            });
            if !rule.text.is_empty() {
                self.push(&format!("<title>{}</title>", xml(&rule.text)));
            }
            if matches!(rule.mark, Mark::Taken | Mark::Perhaps) {
                let Area { height, .. } = row.area;
                let class = if rule.mark == Mark::Taken { "taken" } else { "perhaps" };
                self.push(&format!(
                    "<rect class=\"{class}\" x=\"{}\" y=\"{y}\" width=\"{}\" height=\"{height}\"/>",
                    x + 1,
                    width - 2
                ));
            }
            self.push(&format!("<path class=\"rule\" d=\"M{x} {y}H{right}\"/>"));
            let base = y + 4 + LINE - 5;
            if let Some(number) = rule.number {
                self.right(x + card.tabs.0, base, &number.to_string());
                if let Some(packets) = rule.packets.filter(|packets| *packets > 0) {
                    self.right(x + card.tabs.1 - 10, base, &counted(packets));
                }
            }
            let class = if rule.number.is_some() { "ink" } else { "muted" };
            for (at, text) in row.who.iter().enumerate() {
                let down = LINE * i32::try_from(at).unwrap_or(0);
                self.words(x + card.tabs.1, base + down, class, RULE, text);
            }
            if let Some(pill) = &row.pill {
                self.pill(pill, rule.outcome);
            }
            self.push("</g>");
        }
        self.push("</g>");
    }

    /// Small words that end here.
    fn right(&mut self, x: i32, y: i32, text: &str) {
        let Face { size, .. } = SMALL;
        self.push(&format!(
            "<text x=\"{x}\" y=\"{y}\" class=\"muted\" font-size=\"{size}\" text-anchor=\"end\">{}</text>",
            xml(text)
        ));
    }

    fn pill(&mut self, pill: &Pill, outcome: Outcome) {
        let Area { x, y, width, height } = pill.area;
        let class = class(outcome);
        self.push(&format!(
            "<rect class=\"pill {class}\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"9\"/>"
        ));
        let Face { size, .. } = PILL;
        for (at, line) in pill.lines.iter().enumerate() {
            let base = y + 13 + 15 * i32::try_from(at).unwrap_or(0);
            self.push(&format!(
                "<text x=\"{}\" y=\"{base}\" class=\"on-{class} b\" font-size=\"{size}\" text-anchor=\"middle\">{}</text>",
                x + width / 2,
                xml(line)
            ));
        }
    }

    fn plate(&mut self, plate: &Plate, whole: &str) {
        let Area { x, y, width, height } = plate.area;
        self.push(&format!("<g><title>{}</title>", xml(whole)));
        self.push(&format!(
            "<rect class=\"plate\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"{}\"/>",
            height / 2
        ));
        let Face { size, .. } = PLATE;
        for (at, line) in plate.lines.iter().enumerate() {
            let base = y + 9 + 14 + 18 * i32::try_from(at).unwrap_or(0);
            self.push(&format!(
                "<text x=\"{}\" y=\"{base}\" class=\"on-plate b\" font-size=\"{size}\" text-anchor=\"middle\">{}</text>",
                x + width / 2,
                xml(line)
            ));
        }
        self.push("</g>");
    }

    fn foot(&mut self, picture: &Picture, origin: &str, version: &str) {
        let (mut y, lines) = (picture.sentence.0, &picture.sentence.1);
        for line in lines {
            y += 20;
            self.words(MARGIN, y - 6, "ink", SENTENCE, line);
        }
        let (mut x, y) = (MARGIN, picture.legend + 8);
        for (outcome, words) in LEGEND {
            let width = PILL.width(words) + 16;
            if x + width > picture.width - MARGIN {
                break;
            }
            let area = Area { x, y, width, height: 19 };
            self.pill(&Pill { area, lines: vec![words.to_owned()] }, outcome);
            x += width + 8;
        }
        let by = format!("{origin}{}nslens {version}", if origin.is_empty() { "" } else { " · " });
        let room = picture.width - 2 * MARGIN;
        let line = SMALL.lines(&by, room, 1).concat();
        self.right(picture.width - MARGIN, y + 19 + LINE + 2, &line);
        self.text.push_str("</svg>\n");
    }
}

fn arrow(id: &str, class: &str) -> String {
    format!(
        "<marker id=\"{id}\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"8\" markerHeight=\"8\" \
         markerUnits=\"userSpaceOnUse\" orient=\"auto\"><path class=\"{class}\" d=\"M0 0L8 4L0 8Z\"/></marker>"
    )
}

/// The class of an outcome's colours.
fn class(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Redirected => "redirected",
        Outcome::Exempt => "exempt",
        Outcome::Accepted => "accepted",
        Outcome::Dropped => "dropped",
        Outcome::Enters => "enters",
        Outcome::Returns => "returns",
        Outcome::GoesOn | Outcome::Handed => "goes-on",
        Outcome::Unknown => "unknown",
    }
}

/// A line with its corners rounded.
fn path(points: &[(i32, i32)]) -> String {
    const ROUND: i32 = 6;
    let mut out = String::new();
    let towards =
        |from: i32, to: i32| (to - from).clamp(-ROUND, ROUND).clamp(-(to - from).abs() / 2, (to - from).abs() / 2);
    for (at, (x, y)) in points.iter().copied().enumerate() {
        let (before, after) = (at.checked_sub(1).and_then(|before| points.get(before)), points.get(at + 1));
        // Writing to a String cannot fail.
        match (before, after) {
            (None, _) => write!(out, "M{x} {y}").ok(),
            (Some(_), None) => write!(out, "L{x} {y}").ok(),
            (Some((bx, by)), Some((ax, ay))) => {
                let (fx, fy) = (x - towards(*bx, x), y - towards(*by, y));
                let (tx, ty) = (x + towards(x, *ax), y + towards(y, *ay));
                write!(out, "L{fx} {fy}Q{x} {y} {tx} {ty}").ok()
            }
        };
    }
    out
}

/// Text within XML. What no XML may hold is written as its number; the rest was escaped when the graph was made.
fn xml(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\u{fffe}' | '\u{ffff}' => out.push_str(&format!("\\u{{{:x}}}", u32::from(character))),
            control if control.is_control() => out.push('\u{fffd}'),
            other => out.push(other),
        }
    }
    out
}
