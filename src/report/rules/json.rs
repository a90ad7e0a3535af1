//! Rules as `nslens.rules/v1` has them. Always whole; texts are data here and not escaped beyond what JSON itself wants.

use std::io;

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Map, Value};

use crate::analysis::describe;
use crate::analysis::paths::Paths;
use crate::model::{Body, Chain, Family, NativeExpression, Rule, Ruleset, Snapshot, Syntax, Table};
use crate::report::document;
use crate::syntax::print_rule;

/// Schema of the document.
const SCHEMA: &str = "nslens.rules/v1";

/// The document; `summary` is the sentence that the table ends with.
#[must_use]
pub fn json(snapshot: &Snapshot, summary: &str) -> Map<String, Value> {
    match serde_json::to_value(Document { snapshot, summary, more: &Map::new() }) {
        Ok(Value::Object(document)) => document,
        _ => Map::new(),
    }
}

/// The same, written rule by rule; `more` are keys that stand behind its own.
///
/// # Errors
/// The writer's own.
pub fn write_json(
    snapshot: &Snapshot,
    summary: &str,
    more: &Map<String, Value>,
    out: &mut dyn io::Write,
) -> io::Result<()> {
    document::write(&Document { snapshot, summary, more }, out)
}

struct Document<'a> {
    snapshot: &'a Snapshot,
    summary: &'a str,
    more: &'a Map<String, Value>,
}

impl Serialize for Document<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let rulesets = self.snapshot.rulesets();
        let mut map = serializer.serialize_map(None)?;
        for (key, value) in document::head(SCHEMA, self.snapshot) {
            map.serialize_entry(&key, &value)?;
        }
        map.serialize_entry("rulesets", &Each(|| rulesets.iter().map(RulesetEntry)))?;
        map.serialize_entry("sets", &super::sets::json_sets(self.snapshot))?;
        map.serialize_entry("summary", self.summary)?;
        for (key, value) in self.more {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

/// A list that is made while it is written.
struct Each<F>(F);

impl<F: Fn() -> I, I: Iterator<Item: Serialize>> Serialize for Each<F> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0())
    }
}

struct RulesetEntry<'a>(&'a Ruleset);

impl Serialize for RulesetEntry<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Ruleset { backend, family, tables } = self.0;
        let mut map = serializer.serialize_map(Some(3))?;
        map.serialize_entry("backend", backend)?;
        map.serialize_entry("family", family)?;
        map.serialize_entry("tables", &Each(|| tables.iter().map(|table| TableEntry { family: *family, table })))?;
        map.end()
    }
}

struct TableEntry<'a> {
    family: Family,
    table: &'a Table,
}

impl Serialize for TableEntry<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { family, table } = *self;
        let paths = Paths::of(table);
        let paths = &paths;
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("name", &table.name)?;
        let chains = || table.chains.iter().map(move |chain| ChainEntry { family, table, paths, chain });
        map.serialize_entry("chains", &Each(chains))?;
        map.end()
    }
}

#[derive(Clone, Copy)]
struct ChainEntry<'a> {
    family: Family,
    table: &'a Table,
    paths: &'a Paths<'a>,
    chain: &'a Chain,
}

impl Serialize for ChainEntry<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let chain = self.chain;
        let mut map = serializer.serialize_map(Some(6))?;
        map.serialize_entry("name", &chain.name)?;
        map.serialize_entry("syntax", &chain.syntax)?;
        map.serialize_entry("hook", &chain.hook)?;
        map.serialize_entry("priority", &chain.priority)?;
        map.serialize_entry("policy", &chain.policy)?;
        let rules = || chain.rules.iter().enumerate().map(|(index, rule)| RuleEntry { of: *self, index, rule });
        map.serialize_entry("rules", &Each(rules))?;
        map.end()
    }
}

struct RuleEntry<'a> {
    of: ChainEntry<'a>,
    index: usize,
    rule: &'a Rule,
}

impl Serialize for RuleEntry<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { of: ChainEntry { family, table, paths, chain }, index, rule } = *self;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("number", &(index + 1))?;
        map.serialize_entry("text", &print_rule(family, table, chain, rule))?;
        map.serialize_entry("packets", &rule.counters.map(|counters| counters.packets))?;
        map.serialize_entry("bytes", &rule.counters.map(|counters| counters.bytes))?;
        map.serialize_entry("means", &describe::means(family, table, paths, chain, index))?;
        map.serialize_entry("unknown", &describe::unknown(rule))?;
        // The rule of a chain of iptables that iptables cannot express.
        if chain.is_foreign(rule) {
            map.serialize_entry("syntax", &Syntax::Nft)?;
        }
        match &rule.body {
            Body::Xt(rule) => map.serialize_entry("rule", &rule.parts())?,
            Body::Nft(rule) => map.serialize_entry("rule", &Expressions { expressions: &rule.expressions })?,
        }
        map.end()
    }
}

/// A rule of nf_tables' own, as it stands in a snapshot file.
#[derive(serde::Serialize)]
struct Expressions<'a> {
    expressions: &'a [NativeExpression],
}
