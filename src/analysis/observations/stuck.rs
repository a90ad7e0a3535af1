//! What goes in circles, and what nobody reads.

use std::collections::{BTreeMap, HashSet};

use super::super::join::{Connection, Direction, Way};
use super::{Ground, Kind, Observation, names};
use crate::model::{Endpoint, Protocol, Socket, SocketState};

/// Observations of one kind before it is enough.
const MOST: usize = 20;
/// So many of a kind are no accident of the moment.
const MANY: usize = 3;

/// A process whose own connections are redirected back to it (RDR101).
///
/// A call to the pod's own address comes round once in healthy pods too, where a sidecar's outbound half hands it to the inbound one:
/// that one has a connection beside it that went on.
pub(super) fn loops(ground: &Ground<'_>) -> Vec<Observation> {
    let mut circles: BTreeMap<(u32, Endpoint), Vec<&Connection>> = BTreeMap::new();
    for connection in ground.going(Direction::Out) {
        let Some((own, twin)) = connection.process().zip(ground.twin(connection)) else { continue };
        let itself = twin.processes.iter().any(|other| other.pid == own.pid);
        // A process that dials a port that it waits on itself gets what it asked for.
        let sent_back = connection.way == Way::Redirected || connection.actual_destination != connection.peer;
        if let (true, true, Some(dialled)) = (itself, sent_back, connection.original_destination) {
            circles.entry((own.pid, dialled)).or_default().push(connection);
        }
    }
    let on = ground.going(Direction::Out).filter(|one| one.way != Way::Redirected);
    let went_on: HashSet<(u32, Endpoint)> =
        on.filter_map(|one| Some((one.process()?.pid, one.original_destination?))).collect();
    let mut found = Vec::new();
    for ((pid, dialled), circle) in circles {
        let own_address = ground.snapshot.is_local(dialled.address);
        if own_address && (circle.len() < MANY || went_on.contains(&(pid, dialled))) {
            continue;
        }
        let Some(first) = circle.first() else { continue };
        let to = names::list(circle.iter().filter_map(|one| one.actual_destination));
        let rule = first.rule.as_ref().map_or_else(String::new, |rule| format!(" by {rule}"));
        let loops = if circle.len() < MANY { "a loop, if more follow" } else { "a loop" };
        found.push(Observation {
            kind: Kind::Loop,
            words: format!(
                "{} dials {dialled} and is redirected to itself at {to}{rule}, {} times by now: {loops}. Whether it grows, a \
                 second look tells.",
                names::holder(first),
                circle.len(),
            ),
            connections: circle.iter().flat_map(|one| [Some(one.inode), one.twin]).flatten().collect(),
            flows: Vec::new(),
        });
    }
    found.truncate(MOST);
    found
}

/// Many connections that the other side has closed, with bytes that nobody has read (RDR306).
pub(super) fn unread(ground: &Ground<'_>) -> Vec<Observation> {
    let mut left: BTreeMap<(String, u16), Vec<&Socket>> = BTreeMap::new();
    let sockets = ground.snapshot.sockets.iter().flatten();
    for socket in sockets.filter(|socket| socket.state == SocketState::CloseWait && socket.receive_queue > 0) {
        let own = ground.by_inode.get(&socket.inode).and_then(|connection| connection.process());
        // One that was not even accepted belongs to whoever waits on the port.
        let waits = || Some(names::process(ground.waits_on(Protocol::Tcp, socket.local.port).next()?.1));
        let whose = own.map(names::owner).or_else(waits).unwrap_or_else(|| "nobody".to_owned());
        left.entry((whose, socket.local.port)).or_default().push(socket);
    }
    let many = left.into_iter().filter(|(_, sockets)| sockets.len() >= MANY);
    many.take(MOST)
    .map(|((whose, port), sockets)| {
        let bytes: u64 = sockets.iter().map(|socket| u64::from(socket.receive_queue)).sum();
        let least = sockets.iter().map(|socket| socket.receive_queue).min().unwrap_or_default();
        let most = sockets.iter().map(|socket| socket.receive_queue).max().unwrap_or_default();
        let each = if least == most { format!("{most} each") } else { format!("{least} to {most} each") };
        let unaccepted = sockets.iter().filter(|socket| socket.inode == 0).count();
        let proxy = if ground.targets.iter().any(|ports| ports.contains(&port)) { ", a port that rules redirect to" } else { "" };
        let unaccepted = match unaccepted {
            0 => String::new(),
            some => format!("; {some} of them were never accepted"),
        };
        Observation {
            kind: Kind::Unread,
            words: format!(
                "{} on {port}{proxy}, closed by the other side, hold {bytes} bytes that {whose} has not read ({each}){unaccepted}.",
                names::connections(sockets.len()),
            ),
            connections: sockets.iter().map(|socket| socket.inode).collect(),
            flows: Vec::new(),
        }
    })
    .collect()
}
