//! Connections as `nslens.conns/v1` has them. Texts are data here and not escaped beyond what JSON itself wants.

use serde::Serialize;
use serde_json::Value;

use crate::analysis::join::{Connection, Direction, Evidence, Owner};
use crate::model::{Endpoint, Family, Protocol, RuleRef, SocketState};

/// One element of `connections[]`.
#[derive(Debug, Serialize)]
struct Row<'a> {
    protocol: Protocol,
    family: Family,
    mapped: bool,
    state: SocketState,
    direction: Option<&'static str>,
    local: Endpoint,
    peer: Option<Endpoint>,
    uid: Option<u32>,
    inode: u32,
    process: Option<Holder<'a>>,
    processes: Vec<Holder<'a>>,
    original_destination: Option<Endpoint>,
    actual_destination: Option<Endpoint>,
    way: &'static str,
    rule: Option<&'a RuleRef>,
    twin: Option<u32>,
    evidence: Option<&'static str>,
    flow: Option<u32>,
    would_redirect: Option<&'a RuleRef>,
    rewritten_port: bool,
    age: Option<u64>,
}

/// A process that holds the socket.
#[derive(Debug, Serialize)]
struct Holder<'a> {
    pid: u32,
    name: &'a str,
    container: Option<&'a str>,
    user: Option<&'a str>,
}

/// The list of connections, the value of the document's key `connections`.
#[must_use]
pub fn rows_json(connections: &[Connection]) -> Value {
    let rows: Vec<_> = connections.iter().map(row).collect();
    // Rows have text keys and finite numbers only, which is all that could fail.
    serde_json::to_value(rows).unwrap_or_default()
}

fn row(connection: &Connection) -> Row<'_> {
    Row {
        protocol: connection.protocol,
        family: connection.family,
        mapped: connection.mapped,
        state: connection.state,
        direction: connection.direction.map(|direction| match direction {
            Direction::Out => "out",
            Direction::In => "in",
        }),
        local: connection.local,
        peer: connection.peer,
        uid: connection.uid,
        inode: connection.inode,
        process: connection.process().map(holder),
        processes: connection.processes.iter().map(holder).collect(),
        original_destination: connection.original_destination,
        actual_destination: connection.actual_destination,
        way: connection.way.word(),
        rule: connection.rule.as_ref(),
        twin: connection.twin,
        evidence: connection.evidence.map(Evidence::word),
        flow: connection.flow,
        would_redirect: connection.would.as_ref(),
        rewritten_port: connection.rewritten_port,
        age: connection.age,
    }
}

fn holder(owner: &Owner) -> Holder<'_> {
    Holder { pid: owner.pid, name: &owner.name, container: owner.container.as_deref(), user: owner.user.as_deref() }
}
