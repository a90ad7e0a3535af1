//! What goes in circles, and what nobody reads.

use std::collections::{BTreeMap, HashMap, HashSet};

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
    let ages: HashMap<_, _> = ground.connections.iter().map(|one| ((one.local, one.peer), one.age)).collect();
    let many = left.into_iter().filter(|(_, sockets)| sockets.len() >= MANY).take(MOST);
    many.map(|((whose, port), sockets)| {
        let age = |socket: &&Socket| ages.get(&(socket.local, socket.peer)).copied().flatten();
        let oldest = sockets.iter().filter_map(age).max();
        Observation {
            kind: Kind::Unread,
            words: left_over(ground, (&whose, port), &sockets, oldest),
            connections: sockets.iter().map(|socket| socket.inode).collect(),
            flows: Vec::new(),
        }
    })
    .collect()
}

/// Says it: how many, how much, who should have read it, and since when where the kernel notes the time.
fn left_over(ground: &Ground<'_>, (whose, port): (&str, u16), sockets: &[&Socket], oldest: Option<u64>) -> String {
    let queues = || sockets.iter().map(|socket| u64::from(socket.receive_queue));
    let each = match (queues().min(), queues().max()) {
        (Some(least), Some(most)) if least < most => format!("{least} to {most} each"),
        (_, most) => format!("{} each", most.unwrap_or_default()),
    };
    let target =
        if ground.targets.iter().any(|ports| ports.contains(&port)) { ", where rules redirect to," } else { "" };
    let unaccepted = match sockets.iter().filter(|socket| socket.inode == 0).count() {
        0 => String::new(),
        some => format!("; {some} of them were never accepted"),
    };
    let oldest = oldest.map_or_else(String::new, |seconds| format!("; the oldest is {seconds} s old"));
    format!(
        "{} on {port}{target} closed by the other side hold {} bytes that {whose} has not read ({each}){unaccepted}{oldest}.",
        names::connections(sockets.len()),
        queues().sum::<u64>(),
    )
}
