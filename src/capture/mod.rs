//! A workload becomes a snapshot: which readers run, in which namespace, and what failed.

pub mod connections;
pub mod cross_check;
mod evidence;
pub mod flows;
pub mod follow;
mod guards;
mod moment;
mod node;
pub mod owners;
mod root_files;
pub mod routes;
pub mod rules;
pub mod sets;
mod settings;
pub mod shared;
pub mod sockets;
pub mod sweep;

use std::io;
use std::path::Path;

use self::shared::Shared;
use crate::model::{Snapshot, Workload};
pub use crate::sys::caps::{is_root, missing as missing_rights};
use crate::sys::netns::Netns;
use crate::sys::process::Process;

/// Which parts of a snapshot are wanted.
#[derive(Debug, Clone, Copy, Default)]
pub struct Parts {
    /// Rules, and which of them.
    pub rules: Option<rules::Wanted>,
    /// Sockets, flows, processes and interfaces, names of users and the resolver.
    pub connections: bool,
    /// With connections: sockets that are no ends of any.
    pub every_socket: bool,
    /// With connections: timers, congestion and TCP's figures of their sockets.
    pub figures: bool,
    /// With connections: what is known of the table of tracked ones beside its entries.
    pub tracking: bool,
    /// With connections: only sockets of TCP and UDP that wait, and no tracked connections: enough for who gets a packet that begins one.
    pub waiting_only: bool,
    /// Sockets of live connections, even without the rest of connections.
    pub live_sockets: bool,
    /// Interfaces, even without connections.
    pub interfaces: bool,
    /// Routes, policy rules and the settings that decide with them.
    pub routes: bool,
    /// Settings and figures of the namespace, and what the kernel has of filters.
    pub settings: bool,
    /// With connections: what stands around: what its processes may do and have open, resolvers of all its containers, programs of its cgroup, who
    /// holds the lock of the programs that write rules.
    pub evidence: bool,
    /// The node's own network namespace beside: rules, ipsets, addresses, routes, use of the table of tracked connections.
    pub node_state: bool,
}

/// Where and when a snapshot is taken.
#[derive(Debug, Clone, Copy)]
pub struct Occasion<'a> {
    /// The node's name.
    pub node: &'a str,
    /// Seconds after 1970-01-01 UTC.
    pub now: u64,
    /// The target as it was typed.
    pub asked: &'a str,
    /// The node's `/proc`.
    pub proc_root: &'a Path,
}

/// Why there is no snapshot at all.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// `setns` was refused or failed.
    #[error("cannot enter the network namespace of {who}")]
    Enter {
        /// Which workload.
        who: String,
        /// The refusal.
        #[source]
        source: io::Error,
    },
    /// Its process ended, or is another one, since it was found: what was read might be of somebody else.
    #[error("{who} went away while it was looked at")]
    Gone {
        /// Which workload.
        who: String,
        /// How that showed.
        #[source]
        source: io::Error,
    },
}

/// Takes a snapshot of a live workload. What could not be read stands in the snapshot; only a namespace that cannot be entered,
/// or a process that is not the same any more, is an error.
///
/// # Errors
/// [`CaptureError`].
pub fn take(
    workload: Workload,
    netns: &Netns,
    process: Option<&Process>,
    parts: Parts,
    occasion: Occasion<'_>,
) -> Result<Snapshot, CaptureError> {
    take_among(workload, netns, process, parts, occasion, None)
}

/// The same of one of several, with what they share.
///
/// # Errors
/// [`CaptureError`].
pub fn take_among(
    workload: Workload,
    netns: &Netns,
    process: Option<&Process>,
    parts: Parts,
    occasion: Occasion<'_>,
    shared: Option<&Shared>,
) -> Result<Snapshot, CaptureError> {
    let who = format!("{} {}", workload.kind.word(), workload.name);
    let Occasion { node, now, asked, proc_root } = occasion;
    let mut snapshot = Snapshot::of(node, now, asked, workload);
    let shared = shared.filter(|shared| shared.is_of(proc_root));
    let beside = (parts.node_state && shared.is_none()).then(|| node::ask(netns, occasion));
    if let Some(wanted) = parts.rules {
        let read = rules::read(netns, proc_root, wanted);
        let (rulesets, unread) = read.map_err(|source| CaptureError::Enter { who: who.clone(), source })?;
        let (ipsets, unread_sets) = sets::ipsets(netns, &rulesets, wanted.elements);
        (snapshot.rulesets, snapshot.ipsets) = (Some(rulesets), ipsets);
        snapshot.unread.extend(unread.into_iter().chain(unread_sets));
    }
    if parts.connections {
        let crowd = shared.and_then(Shared::crowd);
        let extent = connections::Extent {
            others: parts.every_socket,
            figures: parts.figures,
            tracking: parts.tracking,
            waiting_only: parts.waiting_only,
        };
        connections::read_extent_into(&mut snapshot, netns, proc_root, extent, crowd);
        if parts.evidence {
            evidence::read_into(&mut snapshot, netns, proc_root, crowd);
        }
        snapshot.node_addresses =
            shared.map_or_else(|| node::addresses(netns, proc_root), |shared| shared.addresses(netns));
        if let Some(process) = process.filter(|_| !parts.waiting_only) {
            let (resolver, unread) = root_files::read_resolver(process);
            snapshot.resolver = resolver;
            snapshot.unread.extend(unread);
        }
    } else {
        if parts.live_sockets {
            sockets::read_live_into(&mut snapshot, netns, proc_root);
        }
        if parts.interfaces {
            connections::read_interfaces_into(&mut snapshot, netns, proc_root);
        }
    }
    if parts.routes {
        routes::read_into(&mut snapshot, netns, proc_root);
    }
    if parts.settings {
        settings::read_into(&mut snapshot, netns, proc_root);
    }
    let node_state = match shared.filter(|_| parts.node_state) {
        Some(shared) => shared.state(netns),
        None => beside.map_or(Ok(None), node::Asked::take),
    };
    match node_state {
        Ok(node) => snapshot.node_state = node,
        Err(unread) => snapshot.unread.push(unread),
    }
    match process.map_or(Ok(()), Process::alive) {
        Ok(()) => Ok(snapshot),
        Err(source) => Err(CaptureError::Gone { who, source }),
    }
}
