//! What every JSON document begins with.

use std::io::{self, BufWriter, Write};

use serde::Serialize;
use serde_json::{Map, Serializer, Value, json};

use super::layout::{OneLine, Readable};
use crate::model::{Kind, Snapshot};

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

/// A document as it is printed: readable, one line feed at its end, and harmless on a terminal.
#[must_use]
pub fn print(document: Map<String, Value>) -> String {
    let mut out = Vec::new();
    // Writing to memory cannot fail.
    write(&document, &mut out).ok();
    String::from_utf8(out).unwrap_or_default()
}

/// The same, written piece by piece: the rules of a large node are many megabytes.
///
/// # Errors
/// The writer's own.
pub fn write(document: &impl Serialize, out: &mut dyn io::Write) -> io::Result<()> {
    const PIECE: usize = 64 * 1024;
    let mut out = BufWriter::with_capacity(PIECE, out);
    document.serialize(&mut Serializer::with_formatter(&mut out, Readable::default()))?;
    out.write_all(b"\n")?;
    out.flush()
}

/// A value on one line, without its end.
#[must_use]
pub fn line(value: &Value) -> String {
    let mut out = Vec::new();
    // Writing to memory cannot fail.
    value.serialize(&mut Serializer::with_formatter(&mut out, OneLine)).ok();
    String::from_utf8(out).unwrap_or_default()
}
