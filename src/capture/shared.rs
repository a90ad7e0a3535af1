//! What all workloads of a node have in common, read once for all of them.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::node::{self, Asked};
use super::owners::Crowd;
use super::{Occasion, Parts};
use crate::model::{Snapshot, Unread};
use crate::sys::descriptors::Proc;
use crate::sys::netns::Netns;

/// What several workloads share that are looked at about the same time.
#[derive(Debug)]
pub struct Shared {
    proc_root: PathBuf,
    crowd: OnceLock<Option<Crowd>>,
    node: Option<(u64, u64)>,
    addresses: OnceLock<Vec<IpAddr>>,
    asked: Mutex<Option<Asked>>,
    state: OnceLock<Result<Option<Arc<Snapshot>>, Unread>>,
}

impl Shared {
    /// Begins to read, as far as these parts ask for it.
    #[must_use]
    pub fn begin(parts: Parts, occasion: Occasion<'_>) -> Self {
        let node = node::opened(occasion.proc_root);
        let identity = node.as_ref().map(Netns::identity);
        let asked = node.filter(|_| parts.node_state).map(|node| node::ask_of(node, occasion));
        Self {
            proc_root: occasion.proc_root.to_owned(),
            crowd: OnceLock::new(),
            node: identity,
            addresses: OnceLock::new(),
            asked: Mutex::new(asked),
            state: OnceLock::new(),
        }
    }

    /// The processes of the node; `None` where they cannot be listed.
    pub(super) fn crowd(&self) -> Option<&Crowd> {
        let look = || Proc::open(&self.proc_root).and_then(|folder| Crowd::look(&folder)).ok();
        self.crowd.get_or_init(look).as_ref()
    }

    /// The node's own addresses; none for itself.
    pub(super) fn addresses(&self, netns: &Netns) -> Vec<IpAddr> {
        let read = || node::opened(&self.proc_root).map_or_else(Vec::new, |node| node::addresses_of(&node));
        if self.is_node(netns) { Vec::new() } else { self.addresses.get_or_init(read).clone() }
    }

    /// The state of the node's own namespace, once it has been read; none for itself.
    pub(super) fn state(&self, netns: &Netns) -> Result<Option<Arc<Snapshot>>, Unread> {
        if self.is_node(netns) {
            return Ok(None);
        }
        let taken = || {
            let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner).take();
            asked.map_or(Ok(None), Asked::take)
        };
        self.state.get_or_init(taken).clone()
    }

    /// Whether it was begun for this `/proc`.
    pub(super) fn is_of(&self, proc_root: &Path) -> bool {
        self.proc_root == proc_root
    }

    fn is_node(&self, netns: &Netns) -> bool {
        self.node.is_none_or(|node| node == netns.identity())
    }
}
