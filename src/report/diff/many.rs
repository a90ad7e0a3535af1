//! Many workloads of two times or two places, pair by pair: one line each, then what differs, a summary last.

use serde_json::{Map, Value, json};

use super::{Difference, Look, json as document, text};
use crate::model::Snapshot;
use crate::report::check::name;
use crate::report::document::target;
use crate::report::escape::escape;
use crate::report::paint::Label;

/// One workload of both, or of one.
#[derive(Debug)]
pub enum Pair<'a> {
    /// Both have it.
    Both(Box<Difference<'a>>),
    /// Only the first has it.
    Gone(&'a Snapshot),
    /// Only the second has it.
    Appeared(&'a Snapshot),
    /// It could not be looked at.
    Broken {
        /// Who it is, as far as that is known.
        who: String,
        /// Why.
        error: String,
    },
}

impl Pair<'_> {
    /// Nothing of it differs; `None` where that cannot be told.
    #[must_use]
    pub fn equal(&self) -> Option<bool> {
        match self {
            Pair::Both(difference) => difference.equal(),
            Pair::Gone(_) | Pair::Appeared(_) => Some(false),
            Pair::Broken { .. } => None,
        }
    }

    /// Its name, escaped.
    #[must_use]
    pub(super) fn name(&self) -> String {
        match self {
            Pair::Both(difference) => named(difference),
            Pair::Gone(who) | Pair::Appeared(who) => name(who),
            Pair::Broken { who, .. } => escape(who).into_owned(),
        }
    }
}

/// The name of both; where it is another one, both.
fn named(difference: &Difference<'_>) -> String {
    let (before, after) = (name(difference.before), name(difference.after));
    if before == after { before } else { format!("{before} → {after}") }
}

/// What differs of one, in few words.
#[must_use]
pub(super) fn words(pair: &Pair<'_>) -> String {
    let difference = match pair {
        Pair::Both(difference) => difference,
        Pair::Gone(_) => return "only in the first".to_owned(),
        Pair::Appeared(_) => return "only in the second".to_owned(),
        Pair::Broken { error, .. } => return format!("could not be looked at: {}", escape(error)),
    };
    let mut found = Vec::new();
    let places = |count: usize| if count == 1 { "one place".to_owned() } else { format!("{count} places") };
    if let Some(rules) = difference.rules.as_ref().filter(|rules| !rules.changes.is_empty()) {
        found.push(format!("rules differ in {}", places(rules.changes.len())));
    }
    if let Some(effects) = &difference.effects {
        match (effects.differs(), effects.is_open()) {
            (true, _) => found.push("the effect differs".to_owned()),
            (_, true) => found.push("whether the effect differs cannot be told".to_owned()),
            _ if !found.is_empty() => found.push("the effect is the same".to_owned()),
            _ => {}
        }
    }
    if let Some(changes) = difference.connections.as_ref().filter(|changes| !changes.is_empty()) {
        found.push(format!("connections differ in {}", places(changes.len())));
    }
    if found.is_empty() { "equal".to_owned() } else { found.join(", ") }
}

/// For people.
#[must_use]
pub fn table(pairs: &[Pair<'_>], looks: Look) -> String {
    let mut out = String::new();
    let width = pairs.iter().map(|pair| pair.name().chars().count()).max().unwrap_or_default().min(looks.width / 2);
    for pair in pairs {
        let (mark, label) = match (pair, pair.equal()) {
            (Pair::Gone(_), _) => ("-", Label::Removed),
            (Pair::Appeared(_), _) => ("+", Label::Added),
            (_, Some(true)) => ("=", Label::Dim),
            (_, Some(false)) => ("!", Label::Warning),
            (_, None) => ("?", Label::Warning),
        };
        let line = format!("{mark} {:width$}  {}", pair.name(), words(pair));
        out.push_str(&format!("{}\n", looks.paint.text(label, line.trim_end())));
    }
    for pair in pairs {
        if let (Pair::Both(difference), false) = (pair, pair.equal() == Some(true)) {
            out.push_str(&format!("\n{}", text(difference, looks)));
        }
    }
    let count = |of: &dyn Fn(&Pair<'_>) -> bool| pairs.iter().filter(|pair| of(pair)).count();
    let both = |pair: &Pair<'_>| matches!(pair, Pair::Both(_) | Pair::Broken { .. });
    let mut parts = Vec::new();
    let counts = [
        (count(&|pair| both(pair) && pair.equal() == Some(true)), "equal"),
        (count(&|pair| both(pair) && pair.equal() == Some(false)), "different"),
        (count(&|pair| both(pair) && pair.equal().is_none()), "cannot be told"),
        (count(&|pair| matches!(pair, Pair::Gone(_))), "gone"),
        (count(&|pair| matches!(pair, Pair::Appeared(_))), "appeared"),
    ];
    parts.extend(counts.iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!("{count} {word}")));
    let word = if pairs.len() == 1 { "workload" } else { "workloads" };
    out.push_str(&format!("\n{} {word}: {}\n", pairs.len(), parts.join(", ")));
    out
}

/// `nslens.sweep/v1`, its documents `nslens.diff/v1`.
#[must_use]
pub fn sweep(node: Option<&str>, pairs: &[Pair<'_>], unread: Vec<Value>) -> Map<String, Value> {
    let (mut documents, mut failed, mut gone, mut appeared) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for pair in pairs {
        match pair {
            Pair::Both(difference) => documents.push(Value::Object(document(difference))),
            Pair::Gone(who) => gone.push(target(who)),
            Pair::Appeared(who) => appeared.push(target(who)),
            Pair::Broken { who, error } => failed.push(json!({"target": {"asked": who}, "error": error})),
        }
    }
    let equal = match pairs.iter().map(Pair::equal).collect::<Option<Vec<bool>>>() {
        Some(all) => Some(all.into_iter().all(|equal| equal)),
        None if pairs.iter().any(|pair| pair.equal() == Some(false)) => Some(false),
        None => None,
    };
    let mut sweep = Map::new();
    sweep.insert("schema".to_owned(), json!("nslens.sweep/v1"));
    sweep.insert("node".to_owned(), json!(node));
    sweep.insert("unread".to_owned(), Value::Array(unread));
    sweep.insert("equal".to_owned(), json!(equal));
    sweep.insert("documents".to_owned(), Value::Array(documents));
    sweep.insert("failed".to_owned(), Value::Array(failed));
    sweep.insert("gone".to_owned(), Value::Array(gone));
    sweep.insert("appeared".to_owned(), Value::Array(appeared));
    sweep
}
