//! The answer of `diff`: for people like a patch, place by place; for programs as `nslens.diff/v1`.

use serde_json::{Map, Value, json};

use crate::analysis::diff::{Change, ConnectionChange, RuleChange};
use crate::model::{RuleRef, Snapshot};
use crate::report::document;
use crate::report::escape::escape;
use crate::report::paint::{Label, Paint};
use crate::report::who::who_wrote;
use crate::report::wrap::wrap;

/// What was compared and what came of it.
#[derive(Debug)]
pub struct Difference<'a> {
    /// The first.
    pub before: &'a Snapshot,
    /// The second.
    pub after: &'a Snapshot,
    /// Differences in the rules; `None` when they were not asked for.
    pub rules: Option<Vec<RuleChange>>,
    /// Differences in the connections; `None` when they were not asked for.
    pub connections: Option<Vec<ConnectionChange>>,
}

impl Difference<'_> {
    /// Nothing that was asked for differs.
    #[must_use]
    pub fn equal(&self) -> bool {
        self.rules.as_ref().is_none_or(Vec::is_empty) && self.connections.as_ref().is_none_or(Vec::is_empty)
    }
}

/// The document.
#[must_use]
pub fn json(difference: &Difference<'_>) -> Map<String, Value> {
    let Difference { before, after, rules, connections } = difference;
    let mut document = document::head("nslens.diff/v1", before);
    document.remove("target");
    document.insert("targets".to_owned(), json!([document::target(before), document::target(after)]));
    document
        .insert("unread".to_owned(), before.unread.iter().chain(&after.unread).map(|unread| json!(unread)).collect());
    document.insert("equal".to_owned(), json!(difference.equal()));
    document.insert("rules".to_owned(), json!(rules));
    document.insert("effects".to_owned(), Value::Null);
    let connections = connections.as_ref().map(|changes| changes.iter().map(connection).collect::<Vec<_>>());
    document.insert("connections".to_owned(), json!(connections));
    document
}

fn connection(change: &ConnectionChange) -> Value {
    let word = match change.change {
        Change::Added => "appeared",
        Change::Removed => "gone",
        Change::Changed => "changed",
    };
    json!({"change": word, "subject": change.subject, "before": change.before, "after": change.after})
}

/// For people (`unread_rules`: what is called equal is only what could be read): a heading for each chain, `-` for what only the first has, `+` for what only the second has.
#[must_use]
pub fn text(difference: &Difference<'_>, unread_rules: bool, paint: Paint, width: usize) -> String {
    let mut out = String::new();
    let name = |snapshot: &Snapshot| escape(&snapshot.asked).into_owned();
    line(&mut out, &paint.text(Label::Removed, &format!("--- {}", name(difference.before))));
    line(&mut out, &paint.text(Label::Added, &format!("+++ {}", name(difference.after))));
    if let Some(changes) = &difference.rules {
        rules(changes, unread_rules, paint, &mut out);
    }
    if let Some(changes) = &difference.connections {
        connections(changes, paint, width, &mut out);
    }
    out
}

fn rules(changes: &[RuleChange], unread: bool, paint: Paint, out: &mut String) {
    if changes.is_empty() {
        line(out, if unread { "rules: equal as far as they could be read" } else { "rules: equal" });
    }
    let mut last: Option<&RuleRef> = None;
    for change in changes {
        let rule = &change.rule;
        let same = last.is_some_and(|last| {
            (last.backend, last.family, &last.table, &last.chain)
                == (rule.backend, rule.family, &rule.table, &rule.chain)
        });
        if !same {
            let RuleRef { backend, family, table, chain, .. } = rule;
            let wrote = who_wrote(*backend, *family, change.syntax);
            // What is of no chain is of the table itself.
            let chain = if chain.is_empty() { String::new() } else { format!("{} · ", escape(chain)) };
            let place = format!("@@ {chain}{} · {wrote} @@", escape(table));
            line(out, &paint.text(Label::Heading, &place));
        }
        last = Some(rule);
        let numbered = rule.number != 0 && !rule.chain.is_empty();
        let number = if numbered { rule.number.to_string() } else { String::new() };
        for (sign, label, text) in [('-', Label::Removed, &change.before), ('+', Label::Added, &change.after)] {
            if let Some(text) = text {
                line(out, &paint.text(label, &format!("{sign}{number:>4} {}", escape(text))));
            }
        }
    }
}

fn connections(changes: &[ConnectionChange], paint: Paint, width: usize, out: &mut String) {
    if changes.is_empty() {
        line(out, "connections: equal");
        return;
    }
    line(out, &paint.text(Label::Heading, "@@ connections @@"));
    for change in changes {
        for (sign, label, text) in [('-', Label::Removed, &change.before), ('+', Label::Added, &change.after)] {
            if let Some(text) = text {
                let words = format!("{}: {text}", escape(&change.subject));
                for (at, part) in wrap(&words, width.saturating_sub(4)).iter().enumerate() {
                    let lead = if at == 0 { format!("{sign} ") } else { "    ".to_owned() };
                    line(out, &paint.text(label, &format!("{lead}{part}")));
                }
            }
        }
    }
}

fn line(out: &mut String, text: &str) {
    out.push_str(text);
    out.push('\n');
}
