//! Who runs in the workload: its proxies and its applications, with the users and groups that rules know them by.

use super::super::mesh::{Expected, within};
use super::super::trace::Identity;
use crate::model::{IdMaps, Process, Snapshot, SocketState};

/// A process.
#[derive(Debug, Clone)]
pub struct Person<'a> {
    /// What was read of it.
    pub process: &'a Process,
    /// Its user and groups as rules count; `None` where the namespace's owner does not count them.
    pub identity: Option<Identity>,
    /// It is a proxy of the mesh, or in one's container.
    pub proxy: bool,
}

impl Person<'_> {
    /// `envoy (PID 12, container istio-proxy, UID 1337)`; both numbers where the two countings differ (K14). Not escaped.
    #[must_use]
    pub fn words(&self) -> String {
        let Process { pid, name, container, uid, .. } = self.process;
        let container = container.as_ref().map_or(String::new(), |container| format!(", container {container}"));
        let user = match &self.identity {
            Some(identity) if identity.uid != *uid => format!("UID {} (on the node {uid})", identity.uid),
            _ => format!("UID {uid}"),
        };
        format!("{name} (PID {pid}{container}, {user})")
    }

    /// Its user as rules count, as far as that is known.
    #[must_use]
    pub fn uid(&self) -> Option<u32> {
        self.identity.as_ref().map(|identity| identity.uid)
    }
}

/// Everybody whose processes were read, by PID.
pub(super) fn people<'a>(snapshot: &'a Snapshot, expected: &Expected) -> Vec<Person<'a>> {
    let same = IdMaps::same();
    let ids = snapshot.ids.as_ref().unwrap_or(&same);
    // One that has ended does nothing any more.
    let processes = || snapshot.processes.iter().flatten().filter(|process| !process.has_ended());
    let named: Vec<u32> = expected.proxies.iter().map(|proxy| proxy.pid).collect();
    let containers: Vec<&str> = processes()
        .filter(|process| named.contains(&process.pid))
        .filter_map(|process| process.container.as_deref())
        .collect();
    let mut people: Vec<Person<'a>> = processes()
        .map(|process| Person {
            process,
            identity: Identity::of(process, ids),
            proxy: named.contains(&process.pid)
                || process.container.as_deref().is_some_and(|container| {
                    containers.contains(&container) || expected.proxy_containers.contains(&container)
                }),
        })
        .collect();
    if !people.iter().any(|person| person.proxy) {
        by_listening(snapshot, expected, &mut people);
    }
    people
}

/// Where no name tells a proxy: who listens at the ports that rules send to; of several the ones that rules leave alone.
fn by_listening(snapshot: &Snapshot, expected: &Expected, people: &mut [Person<'_>]) {
    let ports: Vec<u16> = expected
        .families
        .iter()
        .flat_map(|family| [family.outbound.port, family.inbound.port, family.dns.as_ref().and_then(|dns| dns.port)])
        .flatten()
        .collect();
    let waiting: Vec<u32> = snapshot
        .sockets
        .iter()
        .flatten()
        .filter(|socket| socket.state == SocketState::Listen && ports.contains(&socket.local.port))
        .map(|socket| socket.inode)
        .collect();
    let listens = |person: &Person<'_>| person.process.sockets.iter().any(|inode| waiting.contains(inode));
    let exempt = |person: &Person<'_>| {
        person.identity.as_ref().is_some_and(|identity| {
            within(&expected.exempt.uids, identity.uid) || within(&expected.exempt.gids, identity.gid)
        })
    };
    let any_exempt = people.iter().any(|person| listens(person) && exempt(person));
    for person in people {
        person.proxy = listens(person) && (exempt(person) || !any_exempt);
    }
}
