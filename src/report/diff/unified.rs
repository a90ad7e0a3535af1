//! A patch: rules with the lines around them, then what becomes of traffic and connections as places of their own.

use super::many::{Pair, words};
use super::{Difference, Look, connections, told_effects};
use crate::analysis::diff::{Hunk, Kept, hunks};
use crate::report::escape::escape;
use crate::report::paint::{Label, Paint};
use crate::report::who::who_wrote;

/// All pairs, one after the other; those that are equal say nothing.
#[must_use]
pub fn unified(pairs: &[Pair<'_>], looks: Look) -> String {
    let mut out = String::new();
    for pair in pairs {
        match pair {
            Pair::Both(difference) if difference.equal() == Some(true) => {}
            Pair::Both(difference) => one(difference, looks, &mut out),
            other => out.push_str(&format!("{}: {}\n", other.name(), words(other))),
        }
    }
    out
}

fn one(difference: &Difference<'_>, looks: Look, out: &mut String) {
    let paint = looks.paint;
    for (sign, label, side) in [("---", Label::Removed, difference.before), ("+++", Label::Added, difference.after)] {
        out.push_str(&format!("{}\n", paint.text(label, &format!("{sign} {}", escape(&side.asked)))));
    }
    if difference.rules.is_some() {
        hunks(difference.before, difference.after).iter().for_each(|one| hunk(one, paint, out));
    }
    if let Some(effects) = &difference.effects {
        told_effects(difference, effects, (looks.verbose, paint, looks.width), out);
    }
    if let Some(changes) = difference.connections.as_ref().filter(|changes| !changes.is_empty()) {
        connections(changes, paint, looks.width, out);
    }
}

fn hunk(hunk: &Hunk, paint: Paint, out: &mut String) {
    let span = |(from, count): (usize, usize)| if count == 1 { from.to_string() } else { format!("{from},{count}") };
    let head = format!("@@ -{} +{} @@", span(hunk.before), span(hunk.after));
    out.push_str(&format!("{}\n", paint.text(Label::Heading, &head)));
    for (kept, line) in &hunk.lines {
        let text = match line {
            Ok(rule) => escape(rule).into_owned(),
            Err((place, syntax)) => {
                let chain =
                    if place.chain.is_empty() { String::new() } else { format!("{} · ", escape(&place.chain)) };
                format!("# {chain}{} · {}", escape(&place.table), who_wrote(place.backend, place.family, *syntax))
            }
        };
        let (sign, label) = match kept {
            Kept::Both => (' ', None),
            Kept::Before => ('-', Some(Label::Removed)),
            Kept::After => ('+', Some(Label::Added)),
        };
        let line = format!("{sign}{text}");
        out.push_str(&label.map_or_else(|| line.clone(), |label| paint.text(label, &line)));
        out.push('\n');
    }
}
