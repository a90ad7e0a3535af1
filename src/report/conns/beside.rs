//! What a snapshot tells of connections beside the join: both numberings of users, the processes whole, the sockets whole.

use std::collections::HashMap;

use crate::analysis::join::Connection;
use crate::model::{Endpoint, Family, IdMaps, Kind, Process, Protocol, Snapshot, Socket};

/// What tells one socket from all others: several may share an inode (SCTP's associations), and many have none.
type Key = (Protocol, Family, u32, Endpoint, Option<Endpoint>);

/// Looks up what is shown beside connections.
#[derive(Debug)]
pub struct Beside<'a> {
    ids: Option<&'a IdMaps>,
    differs: bool,
    place: &'static str,
    processes: HashMap<u32, &'a Process>,
    sockets: HashMap<Key, &'a Socket>,
    /// Those of datagrams without a peer: their connections have the ends of tracked entries.
    unconnected: HashMap<u32, &'a Socket>,
    devices: HashMap<u32, &'a str>,
}

impl<'a> Beside<'a> {
    /// Of this snapshot; with `sockets` also what the kernel tells of each.
    #[must_use]
    pub fn of(snapshot: &'a Snapshot, sockets: bool) -> Self {
        let ids = snapshot.ids.as_ref();
        let key = |socket: &Socket| (socket.protocol, socket.family, socket.inode, socket.local, socket.peer);
        let all = || snapshot.sockets.iter().flatten().filter(|_| sockets);
        let unconnected = all().filter(|socket| socket.peer.is_none() && socket.protocol != Protocol::Tcp);
        Self {
            ids,
            differs: ids.is_some_and(|ids| *ids != IdMaps::same()),
            place: if snapshot.workload.kind == Kind::Pod { "in the pod" } else { "inside" },
            processes: snapshot.processes.iter().flatten().map(|process| (process.pid, process)).collect(),
            sockets: all().map(|socket| (key(socket), socket)).collect(),
            unconnected: unconnected.map(|socket| (socket.inode, socket)).collect(),
            devices: snapshot.interfaces.iter().flatten().map(|one| (one.index, one.name.as_str())).collect(),
        }
    }

    pub(super) fn process(&self, pid: u32) -> Option<&'a Process> {
        self.processes.get(&pid).copied()
    }

    pub(super) fn socket(&self, connection: &Connection) -> Option<&'a Socket> {
        let Connection { protocol, family, inode, local, peer, .. } = connection;
        let exact = self.sockets.get(&(*protocol, *family, *inode, *local, *peer));
        exact.or_else(|| self.unconnected.get(inode).filter(|_| *inode != 0)).copied()
    }

    /// Name of a device; none for 0, which stands for any, and for one that was not read.
    pub(super) fn device(&self, index: u32) -> Option<&'a str> {
        self.devices.get(&index).copied()
    }

    pub(super) fn inner_uid(&self, uid: u32) -> Option<u32> {
        self.ids?.inside_uid(uid)
    }

    pub(super) fn inner_gid(&self, gid: u32) -> Option<u32> {
        self.ids?.inside_gid(gid)
    }

    /// The groups one by one: one without a number inside is none.
    pub(super) fn inner_groups(&self, groups: &[u32]) -> Option<Vec<Option<u32>>> {
        let ids = self.ids?;
        Some(groups.iter().map(|group| ids.inside_gid(*group)).collect())
    }

    /// How the pod counts this user, in words; none where it counts as the node does.
    pub(super) fn inner_words(&self, uid: u32) -> Option<String> {
        self.differs.then(|| match self.inner_uid(uid) {
            Some(inner) => format!("{inner} {}", self.place),
            None => format!("none {}", self.place),
        })
    }
}
