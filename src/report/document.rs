//! What every JSON document begins with.

use serde_json::{Map, Value, json};

use crate::model::{Kind, Snapshot};
use crate::report::escape::steers;

/// `schema`, `node`, `target` and `unread` of a document about one snapshot; the caller adds its own keys.
#[must_use]
pub fn head(schema: &str, snapshot: &Snapshot) -> Map<String, Value> {
    let mut document = Map::new();
    document.insert("schema".to_owned(), json!(schema));
    document.insert("node".to_owned(), json!(snapshot.node));
    document.insert("target".to_owned(), target(snapshot));
    document.insert("unread".to_owned(), json!(snapshot.unread));
    document
}

/// What was asked, and what it became.
#[must_use]
pub fn target(snapshot: &Snapshot) -> Value {
    let workload = &snapshot.workload;
    let node = (workload.kind != Kind::File).then_some(&snapshot.node);
    json!({
        "asked": snapshot.asked,
        "kind": workload.kind.word(),
        "name": workload.name,
        "namespace": workload.namespace,
        "uid": workload.uid,
        "node": node,
        "runtime": workload.runtime,
        "pid": workload.pid,
        "netns": workload.netns,
        "host_network": workload.host_network,
        "inferred": workload.inferred,
    })
}

/// A document as it is printed: readable, one line feed at its end. JSON itself escapes ASCII's control characters only; those
/// others that steer a terminal are written as JSON's own `\u….` here, so that programs read the same text.
#[must_use]
pub fn print(document: Map<String, Value>) -> String {
    harmless(&format!("{:#}\n", Value::Object(document)))
}

/// A value on one line, without its end.
#[must_use]
pub fn line(value: &Value) -> String {
    harmless(&value.to_string())
}

fn harmless(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut units = [0; 2];
    for character in text.chars() {
        if character != '\n' && steers(character) {
            for unit in character.encode_utf16(&mut units) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            out.push(character);
        }
    }
    out
}
