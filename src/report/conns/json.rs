//! Connections as `nslens.conns/v1` has them. Texts are data here and not escaped beyond what JSON itself wants.

use serde::Serialize;
use serde_json::Value;

use super::Beside;
use crate::analysis::join::{Connection, Direction, Evidence, Owner};
use crate::model::{Endpoint, Family, Process, Protocol, RuleRef, Socket, SocketDetails, SocketState};

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
    uid_inner: Option<u32>,
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
    details: Option<Details<'a>>,
}

/// A process that holds the socket. Numbers of users and groups are the node's, and `_inner` those of the user namespace that owns
/// the network namespace.
#[derive(Debug, Serialize)]
pub(super) struct Holder<'a> {
    pid: u32,
    name: &'a str,
    container: Option<&'a str>,
    user: Option<&'a str>,
    uid: u32,
    uid_inner: Option<u32>,
    gid: Option<u32>,
    gid_inner: Option<u32>,
    groups: Option<&'a [u32]>,
    groups_inner: Option<Vec<Option<u32>>>,
    start_time: Option<u64>,
    elsewhere: Option<bool>,
}

/// What the kernel tells of the socket beside its ends.
#[derive(Debug, Serialize)]
struct Details<'a> {
    receive_queue: u32,
    send_queue: u32,
    mark: Option<u32>,
    interface: u32,
    device: Option<&'a str>,
    #[serde(flatten)]
    more: &'a SocketDetails,
}

/// The list of connections, the value of the document's key `connections`.
#[must_use]
pub fn rows_json(connections: &[Connection], beside: Option<&Beside<'_>>) -> Value {
    let rows: Vec<_> = connections.iter().map(|connection| row(connection, beside)).collect();
    // Rows have text keys and finite numbers only, which is all that could fail.
    serde_json::to_value(rows).unwrap_or_default()
}

fn row<'a>(connection: &'a Connection, beside: Option<&Beside<'a>>) -> Row<'a> {
    let details = |socket: &'a Socket| Details {
        receive_queue: socket.receive_queue,
        send_queue: socket.send_queue,
        mark: socket.mark,
        interface: socket.interface,
        device: beside.and_then(|beside| beside.device(socket.interface)),
        more: &socket.details,
    };
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
        uid_inner: connection.uid.and_then(|uid| beside?.inner_uid(uid)),
        inode: connection.inode,
        process: connection.process().map(|owner| holder(owner, beside)),
        processes: connection.processes.iter().map(|owner| holder(owner, beside)).collect(),
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
        details: beside.and_then(|beside| beside.socket(connection)).map(details),
    }
}

fn holder<'a>(owner: &'a Owner, beside: Option<&Beside<'a>>) -> Holder<'a> {
    let whole = beside.and_then(|beside| beside.process(owner.pid)).map(|process| of_process(process, beside));
    whole.unwrap_or_else(|| Holder {
        pid: owner.pid,
        name: &owner.name,
        container: owner.container.as_deref(),
        user: owner.user.as_deref(),
        uid: owner.uid,
        uid_inner: None,
        gid: None,
        gid_inner: None,
        groups: None,
        groups_inner: None,
        start_time: None,
        elsewhere: None,
    })
}

pub(super) fn of_process<'a>(process: &'a Process, beside: Option<&Beside<'_>>) -> Holder<'a> {
    Holder {
        pid: process.pid,
        name: &process.name,
        container: process.container.as_deref(),
        user: process.user.as_deref(),
        uid: process.uid,
        uid_inner: beside.and_then(|beside| beside.inner_uid(process.uid)),
        gid: Some(process.gid),
        gid_inner: beside.and_then(|beside| beside.inner_gid(process.gid)),
        groups: Some(&process.groups),
        groups_inner: beside.and_then(|beside| beside.inner_groups(&process.groups)),
        start_time: Some(process.start_time),
        elsewhere: Some(process.elsewhere),
    }
}
