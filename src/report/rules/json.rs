//! Rules as `nslens.rules/v1` has them. Always whole; texts are data here and not escaped beyond what JSON itself wants.

use serde_json::{Map, Value, json};

use crate::analysis::describe;
use crate::analysis::paths::Paths;
use crate::model::{Chain, Family, Ruleset, Snapshot, Table};
use crate::report::document;
use crate::syntax::print_rule;

/// Schema of the document.
const SCHEMA: &str = "nslens.rules/v1";

/// The document; `summary` is the sentence that the table ends with.
#[must_use]
pub fn json(snapshot: &Snapshot, summary: &str) -> Map<String, Value> {
    let mut document = document::head(SCHEMA, snapshot);
    document.insert("rulesets".to_owned(), snapshot.rulesets().iter().map(ruleset).collect());
    document.insert("sets".to_owned(), super::sets::json_sets(snapshot).into());
    document.insert("summary".to_owned(), json!(summary));
    document
}

fn ruleset(ruleset: &Ruleset) -> Value {
    let tables: Vec<Value> = ruleset.tables.iter().map(|table| self::table(ruleset.family, table)).collect();
    json!({"backend": ruleset.backend, "family": ruleset.family, "tables": tables})
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
