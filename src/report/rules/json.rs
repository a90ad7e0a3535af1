//! Rules as `nslens.rules/v1` has them. Always whole; texts are data here and not escaped beyond what JSON itself wants.

use serde_json::{Map, Value, json};

use crate::analysis::describe;
use crate::analysis::paths::Paths;
use crate::model::{Chain, Family, Ruleset, Snapshot, Table};
use crate::report::document;
use crate::syntax::{elements_text, place_of, print_rule, set_types};

/// Schema of the document.
const SCHEMA: &str = "nslens.rules/v1";

/// The document; `summary` is the sentence that the table ends with.
#[must_use]
pub fn json(snapshot: &Snapshot, summary: &str) -> Map<String, Value> {
    let mut document = document::head(SCHEMA, snapshot);
    document.insert("rulesets".to_owned(), snapshot.rulesets().iter().map(ruleset).collect());
    document.insert("sets".to_owned(), snapshot.rulesets().iter().flat_map(sets).collect());
    document.insert("summary".to_owned(), json!(summary));
    document
}

fn ruleset(ruleset: &Ruleset) -> Value {
    let tables: Vec<Value> = ruleset.tables.iter().map(|table| self::table(ruleset.family, table)).collect();
    json!({"backend": ruleset.backend, "family": ruleset.family, "tables": tables})
}

/// Named sets and maps; those of a single rule stand in its text.
fn sets(ruleset: &Ruleset) -> Vec<Value> {
    let of = |table: &Table| -> Vec<Value> {
        let place = place_of(ruleset.family, table, &[], true);
        let named = table.sets.iter().filter(|set| !set.is_anonymous());
        named
            .map(|set| {
                let (kind, data) = set_types(set, &place);
                json!({
                    "family": ruleset.family,
                    "table": table.name,
                    "name": set.name,
                    "type": kind,
                    "map": data,
                    "flags": set.flag_words(),
                    "elements": elements_text(set, &place),
                    "comment": set.comment(),
                })
            })
            .collect()
    };
    ruleset.tables.iter().flat_map(of).collect()
}

fn table(family: Family, table: &Table) -> Value {
    let paths = Paths::of(table);
    let chains: Vec<Value> = table.chains.iter().map(|chain| self::chain(family, table, &paths, chain)).collect();
    json!({"name": table.name, "chains": chains})
}

fn chain(family: Family, table: &Table, paths: &Paths<'_>, chain: &Chain) -> Value {
    let rules: Vec<Value> =
        (0..chain.rules.len()).filter_map(|index| rule(family, table, paths, chain, index)).collect();
    json!({
        "name": chain.name,
        "syntax": chain.syntax,
        "hook": chain.hook,
        "priority": chain.priority,
        "policy": chain.policy,
        "rules": rules,
    })
}

fn rule(family: Family, table: &Table, paths: &Paths<'_>, chain: &Chain, index: usize) -> Option<Value> {
    let rule = chain.rules.get(index)?;
    Some(json!({
        "number": index + 1,
        "text": print_rule(family, table, chain, rule),
        "packets": rule.counters.map(|counters| counters.packets),
        "bytes": rule.counters.map(|counters| counters.bytes),
        "means": describe::means(family, table, paths, chain, index),
        "unknown": describe::unknown(rule),
    }))
}
