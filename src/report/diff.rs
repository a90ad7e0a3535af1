//! The answer of `diff`: for people like a patch, place by place; for programs as `nslens.diff/v1`.

mod effect;
mod junit;
mod many;
mod markdown;
mod unified;

pub use junit::junit;
pub use many::{Pair, sweep, table};
pub use markdown::markdown;
pub use unified::unified;

use serde_json::{Map, Value, json};

use crate::analysis::diff::{Change, ConnectionChange, Effects, RuleChange, RuleChanges};
use crate::model::{Backend, Family, RuleRef, Snapshot, Syntax};
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
    /// The second; the same where its two families are compared.
    pub after: &'a Snapshot,
    /// IPv4 of one workload is compared with its IPv6.
    pub parity: bool,
    /// Differences in the rules; `None` when they were not asked for.
    pub rules: Option<RuleChanges>,
    /// Differences in what becomes of traffic; `None` when they were not asked for.
    pub effects: Option<Effects<'a>>,
    /// Differences in the connections; `None` when they were not asked for.
    pub connections: Option<Vec<ConnectionChange>>,
}

impl Difference<'_> {
    /// Nothing that was asked for differs; `None` where that cannot be told.
    #[must_use]
    pub fn equal(&self) -> Option<bool> {
        let texts = self.rules.as_ref().is_none_or(|rules| rules.changes.is_empty());
        let connections = self.connections.as_ref().is_none_or(Vec::is_empty);
        let effects = self.effects.as_ref();
        if !texts || !connections || effects.is_some_and(Effects::differs) {
            return Some(false);
        }
        (!effects.is_some_and(Effects::is_open)).then_some(true)
    }
}

/// The document.
#[must_use]
pub fn json(difference: &Difference<'_>) -> Map<String, Value> {
    let Difference { before, after, parity, rules, effects, connections } = difference;
    let mut document = document::head("nslens.diff/v1", before);
    document.remove("target");
    document.insert("targets".to_owned(), json!([document::target(before), document::target(after)]));
    document
        .insert("unread".to_owned(), before.unread.iter().chain(&after.unread).map(|unread| json!(unread)).collect());
    document.insert("family_parity".to_owned(), json!(parity));
    document.insert("equal".to_owned(), json!(difference.equal()));
    document.insert("rules".to_owned(), json!(rules.as_ref().map(|rules| &rules.changes)));
    let kept_by = rules.as_ref().map(|rules| {
        let one = |(family, table, before, after): &(Family, String, Backend, Backend)| json!({"family": family, "table": table, "before": before, "after": after});
        rules.kept_by.iter().map(one).collect::<Vec<_>>()
    });
    document.insert("kept_by".to_owned(), json!(kept_by));
    let of_effects = |of: fn(&Effects<'_>) -> Value| effects.as_ref().map_or(Value::Null, of);
    document.insert("effects".to_owned(), of_effects(effect::json));
    document.insert("stands_for".to_owned(), of_effects(effect::stands_for));
    document.insert("not_compared".to_owned(), of_effects(|effects| json!(effect::left_out(effects))));
    let connections = connections.as_ref().map(|changes| changes.iter().map(connection).collect::<Vec<_>>());
    document.insert("connections".to_owned(), json!(connections));
    document
}

fn connection(change: &ConnectionChange) -> Value {
    let word = match change.change {
        Change::Added => "appeared",
        Change::Removed => "gone",
        _ => "changed",
    };
    json!({"change": word, "subject": change.subject, "before": change.before, "after": change.after})
}

/// How it looks.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    /// Not all rules could be read: what is called equal is only what could.
    pub unread_rules: bool,
    /// Everything, however much it is.
    pub verbose: bool,
    /// Colours.
    pub paint: Paint,
    /// Characters in a line.
    pub width: usize,
}

/// For people: a heading for each chain, `-` for what only the first has, `+` for what only the second has.
#[must_use]
pub fn text(difference: &Difference<'_>, looks: Look) -> String {
    let Look { paint, width, .. } = looks;
    let mut out = String::new();
    let name = |snapshot: &Snapshot, family: &str| {
        let family = if difference.parity { format!(" ({family})") } else { String::new() };
        format!("{}{family}", escape(&snapshot.asked))
    };
    line(&mut out, &paint.text(Label::Removed, &format!("--- {}", name(difference.before, "IPv4"))));
    line(&mut out, &paint.text(Label::Added, &format!("+++ {}", name(difference.after, "IPv6"))));
    if let Some(changes) = &difference.rules {
        rules(changes, looks, &mut out);
    }
    if let Some(effects) = &difference.effects {
        told_effects(difference, effects, (looks.verbose, paint, width), &mut out);
    }
    if let Some(changes) = &difference.connections {
        connections(changes, paint, width, &mut out);
    }
    out
}

fn rules(rules: &RuleChanges, looks: Look, out: &mut String) {
    let (changes, paint) = (&rules.changes, looks.paint);
    if changes.is_empty() {
        let unread = if looks.unread_rules { " as far as they could be read" } else { "" };
        line(out, &format!("rules: equal{unread}"));
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
        changed(change, paint, out);
    }
    for (family, table, before, after) in &rules.kept_by {
        let [before, after] = [before, after].map(|backend| who_wrote(*backend, *family, Syntax::Iptables));
        let text = format!("table {}: {before} keeps it in the first, {after} in the second", escape(table));
        wrap(&text, looks.width).iter().for_each(|part| line(out, &paint.text(Label::Dim, part)));
    }
}

/// The lines of one difference.
fn changed(change: &RuleChange, paint: Paint, out: &mut String) {
    let rule = &change.rule;
    match (change.change, &change.to, &change.before) {
        (Change::Renamed, ..) => {
            let name = escape(change.after.as_deref().unwrap_or_default());
            return line(out, &paint.text(Label::Warning, &format!("~      the second has it under the name {name}")));
        }
        (Change::Moved, Some(to), Some(text)) => {
            let chain = if to.chain == rule.chain { String::new() } else { format!(" of {}", escape(&to.chain)) };
            let text = format!("~{:>4} {} (now {}{chain})", rule.number, escape(text), to.number);
            return line(out, &paint.text(Label::Warning, &text));
        }
        _ => {}
    }
    let numbered = rule.number != 0 && !rule.chain.is_empty();
    let number = if numbered { rule.number.to_string() } else { String::new() };
    for (sign, label, text) in [('-', Label::Removed, &change.before), ('+', Label::Added, &change.after)] {
        if let Some(text) = text {
            line(out, &paint.text(label, &format!("{sign}{number:>4} {}", escape(text))));
        }
    }
}

fn told_effects(
    difference: &Difference<'_>,
    effects: &Effects<'_>,
    (verbose, paint, width): (bool, Paint, usize),
    out: &mut String,
) {
    let mut wrapped = |lead: &str, label: Option<Label>, words: &str| {
        for (at, part) in wrap(words, width.saturating_sub(lead.len())).iter().enumerate() {
            let lead = if at == 0 { lead.to_owned() } else { " ".repeat(lead.len().max(2)) };
            let text = format!("{lead}{part}");
            line(out, &label.map_or_else(|| text.clone(), |label| paint.text(label, &text)));
        }
    };
    let (told, left_out) = effect::told(difference, effects, verbose);
    if told.is_empty() && effects.given_up.is_empty() {
        let places = difference.rules.as_ref().map_or(0, |rules| rules.changes.len());
        let texts = match places {
            0 => String::new(),
            1 => "; the texts differ in one place".to_owned(),
            many => format!("; the texts differ in {many} places"),
        };
        let all = if difference.parity { "the same in both families" } else { "the same for all new connections" };
        wrapped("", None, &format!("effect: {all}{texts}"));
    }
    let mut last = "";
    for one in &told {
        if one.title != last {
            wrapped("", Some(Label::Heading), &format!("@@ {} @@", one.title));
        }
        last = &one.title;
        one.areas.iter().for_each(|area| wrapped("  ", None, area));
        for (sign, label, (ends, rules)) in [("- ", Label::Removed, &one.before), ("+ ", Label::Added, &one.after)] {
            let by = if rules.is_empty() { String::new() } else { format!(", by {}", rules.join("; ")) };
            wrapped(sign, Some(label), &format!("{ends}{by}"));
        }
        if let Some(open) = &one.open {
            let why = if open.is_empty() { String::new() } else { format!(": it hangs on {}", open.join("; ")) };
            wrapped("  ", Some(Label::Warning), &format!("whether that differs cannot be told{why}"));
        }
        wrapped("  ", Some(Label::Dim), &format!("nslens trace TARGET {}", one.example));
    }
    if left_out > 0 {
        wrapped(
            "",
            Some(Label::Dim),
            "packets that no connection has (to groups, to all, from own addresses) differ too: -v",
        );
    }
    effect::notes(effects).iter().for_each(|note| wrapped("", Some(Label::Dim), note));
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
