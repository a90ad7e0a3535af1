//! Which connections go past the proxy although rules redirect, and what is the likely cause.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::super::join::{Connection, Dialled, Direction, Rulebook, Way};
use super::people::is_node;
use super::{Ground, Kind, Observation, names};
use crate::model::{Endpoint, Protocol, RuleRef};

/// Observations of one kind before it is enough.
const MOST: usize = 20;

/// Connections of applications that rules leave alone, or never see, while they redirect others (RDR201, 202, 206, 402, 702).
pub(super) fn bypasses(ground: &Ground<'_>) -> Vec<Observation> {
    let mut found = [exempt(ground), untracked(ground), sixth(ground)].concat();
    found.truncate(MOST);
    found
}

/// A connection by its process, and what it dialled.
type Theirs<'a> = BTreeMap<(Option<RuleRef>, u32), Vec<&'a Connection>>;

fn dialled(group: &[&Connection]) -> String {
    names::list(group.iter().filter_map(|one| one.original_destination.or(one.peer)))
}

fn inodes(group: &[&Connection]) -> Vec<u32> {
    group.iter().map(|one| one.inode).collect()
}

/// Left alone by a rule that names an owner or a mark, which they share with the proxy.
fn exempt(ground: &Ground<'_>) -> Vec<Observation> {
    // What runs beside the proxy in its container belongs to it.
    let proxys: HashSet<&str> = ground
        .snapshot
        .processes
        .iter()
        .flatten()
        .filter(|process| ground.proxies.contains(&process.pid))
        .filter_map(|process| process.container.as_deref())
        .collect();
    let beside = |one: &Connection| {
        one.processes.iter().any(|owner| owner.container.as_deref().is_some_and(|name| proxys.contains(name)))
    };
    let mut groups = Theirs::new();
    if ground.proxies.is_empty() {
        // Nobody can be told from it.
        return Vec::new();
    }
    for one in ground.going(Direction::Out).filter(|one| one.way == Way::Exempt) {
        let Some(owner) = one.process().filter(|_| !ground.is_proxys(one) && !beside(one)) else { continue };
        groups.entry((one.rule.clone(), owner.pid)).or_default().push(one);
    }
    let say = |((rule, _), group): ((Option<RuleRef>, u32), Vec<&Connection>)| {
        let first = group.first()?;
        let uid = first.uid.map_or_else(String::new, |uid| format!(" (UID {uid})"));
        Some(Observation {
            kind: Kind::Bypass,
            words: format!(
                "{}{uid} is not the proxy, yet {} takes it for that by its owner or mark: {} past the proxy, to {}.",
                names::holder(first),
                rule?,
                names::connections(group.len()),
                dialled(&group),
            ),
            connections: inodes(&group),
            flows: Vec::new(),
        })
    };
    groups.into_iter().filter_map(say).collect()
}

/// Exempt from tracking, and so from every redirection (K9).
fn untracked(ground: &Ground<'_>) -> Vec<Observation> {
    if ground.targets.iter().all(BTreeSet::is_empty) {
        return Vec::new();
    }
    let mut groups = Theirs::new();
    let without_entry = |one: &&Connection| one.is_live() && one.way == Way::Direct && one.flow.is_none();
    for one in ground.connections.iter().filter(without_entry).filter(|one| !ground.is_proxys(one)) {
        let Some((owner, packet)) = one.process().zip(packet(ground, one)) else { continue };
        if let Some(rule) = ground.rules.untracking(&packet) {
            groups.entry((Some(rule), owner.pid)).or_default().push(one);
        }
    }
    let say = |((rule, _), group): ((Option<RuleRef>, u32), Vec<&Connection>)| {
        let first = group.first()?;
        Some(Observation {
            kind: Kind::Bypass,
            words: format!(
                "{} of {} past the proxy, to {}: {} exempts the packets from tracking, and what is not tracked is never \
                 redirected.",
                names::connections(group.len()),
                names::holder(first),
                dialled(&group),
                rule?,
            ),
            connections: inodes(&group),
            flows: Vec::new(),
        })
    };
    groups.into_iter().filter_map(say).collect()
}

/// IPv6 while only rules of IPv4 redirect.
fn sixth(ground: &Ground<'_>) -> Vec<Observation> {
    let [fourth, sixth] = &ground.targets;
    if fourth.is_empty() || !sixth.is_empty() {
        return Vec::new();
    }
    // The node's probes are exempt where there are rules, too.
    let other = |address| !ground.snapshot.is_local(address) && !is_node(ground, address);
    let outside = |end: Option<Endpoint>| end.is_some_and(|end| end.address.is_ipv6() && other(end.address));
    let group: Vec<&Connection> = ground
        .connections
        .iter()
        .filter(|one| one.protocol == Protocol::Tcp && one.is_live() && outside(one.peer) && !ground.is_proxys(one))
        .filter(|one| matches!(one.way, Way::Direct | Way::Unknown) && one.inode != 0)
        .collect();
    if group.is_empty() {
        return Vec::new();
    }
    vec![Observation {
        kind: Kind::Bypass,
        words: format!(
            "IPv6 goes past the proxy: rules of IPv4 redirect, rules of IPv6 do not. {} of {}: {}.",
            names::connections(group.len()),
            names::list(group.iter().map(|one| names::holder(one))),
            dialled(&group),
        ),
        connections: inodes(&group),
        flows: Vec::new(),
    }]
}

/// Connections that today's rules would redirect and that are not: older than the rules (RDR701, K7). One with an entry stays as it
/// is; one without gets redirected in the middle, and reset. Beside them what was opened anew.
pub(super) fn older(ground: &Ground<'_>) -> Vec<Observation> {
    let mut groups: BTreeMap<(RuleRef, u32, bool), Vec<&Connection>> = BTreeMap::new();
    for one in ground.connections.iter().filter(|one| one.is_live() && one.protocol == Protocol::Tcp) {
        let here = one.peer.is_some_and(|peer| ground.snapshot.is_local(peer.address));
        if ground.is_proxys(one) || (one.direction == Some(Direction::In) && here) {
            continue;
        }
        let (rule, stranded) = match one.way {
            Way::Direct => (one.would.clone(), false),
            Way::Unknown => (redirecting(ground, one), true),
            _ => continue,
        };
        if let Some(rule) = rule {
            let pid = one.process().map_or(0, |owner| owner.pid);
            groups.entry((rule, pid, stranded)).or_default().push(one);
        }
    }
    let anew = |group: &[&Connection]| {
        let again = |one: &&Connection| {
            let same = |old: &Connection| {
                old.original_destination == one.original_destination && names::holder(old) == names::holder(one)
            };
            one.way == Way::Redirected && group.iter().any(|old| same(old))
        };
        ground.going(Direction::Out).filter(again).count()
    };
    let say = |((rule, _, stranded), group): ((RuleRef, u32, bool), Vec<&Connection>)| {
        let first = group.first()?;
        let means = if stranded {
            "no entry of tracking: the next packet will be redirected in the middle of it, and reset it"
        } else {
            "direct until it ends"
        };
        let again = match anew(&group) {
            0 => String::new(),
            some => format!(" Opened anew and redirected: {some}."),
        };
        Some(Observation {
            kind: Kind::Older,
            words: format!(
                "{} of {} to {}, older than {rule}, which would redirect such today: {means}.{again}",
                names::connections(group.len()),
                names::holder(first),
                dialled(&group),
            ),
            connections: inodes(&group),
            flows: Vec::new(),
        })
    };
    groups.into_iter().take(MOST).filter_map(say).collect()
}

/// The rule that would redirect such a connection today.
fn redirecting(ground: &Ground<'_>, connection: &Connection) -> Option<RuleRef> {
    let ports = ground.targets.get(usize::from(connection.local.address.is_ipv6()))?;
    let packet = packet(ground, connection).filter(|_| !ports.is_empty())?;
    ground.rules.redirecting(&packet)
}

/// The first packet of such a connection, were it opened today; none of one whose other half here says more.
fn packet(ground: &Ground<'_>, connection: &Connection) -> Option<Dialled> {
    let (peer, incoming) = (connection.peer?, connection.direction? == Direction::In);
    if incoming && ground.snapshot.is_local(peer.address) {
        return None;
    }
    let socket = ground.sockets.get(&connection.inode).filter(|_| !incoming);
    let process = connection.process().filter(|_| !incoming).and_then(|owner| ground.processes.get(&owner.pid));
    Some(Dialled {
        protocol: connection.protocol,
        source: if incoming { peer } else { connection.local },
        destination: if incoming { connection.local } else { peer },
        incoming,
        uid: connection.uid.filter(|_| !incoming),
        gid: process.map(|process| process.gid),
        mark: socket.and_then(|socket| socket.mark),
    })
}
