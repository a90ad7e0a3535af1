//! All that was read, and the only thing that analysis sees.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    Flow, IdMaps, Interface, IpSet, LockHolder, OtherSocket, Process, Routing, Ruleset, Settings, Socket, Subject,
    TrackingState, Unread, Workload,
};

/// Whom a program asks for the addresses of names: `etc/resolv.conf` below its own root. Both lists are the container's word,
/// and hostile.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolver {
    /// Name servers, in order. The C library asks its own machine when there is none.
    pub nameservers: Vec<String>,
    /// Domains in which short names are looked up, in order.
    pub search: Vec<String>,
}

/// Everything known of one workload at one moment.
///
/// A part that was not asked for is `None`; a part that could not be read whole has an [`Unread`] beside it.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// Host name of the node.
    pub node: String,
    /// When it was taken, seconds after 1970-01-01 UTC.
    pub taken: u64,
    /// What was asked for, as it was typed.
    pub asked: String,
    /// Who it is.
    pub workload: Workload,
    /// Rules of every backend and family.
    pub rulesets: Option<Vec<Ruleset>>,
    /// The ipsets that rules name.
    pub ipsets: Vec<IpSet>,
    /// Sockets.
    pub sockets: Option<Vec<Socket>>,
    /// Sockets that are no ends of connections: raw, packet, Multipath TCP and UNIX ones.
    pub other_sockets: Option<Vec<OtherSocket>>,
    /// Tracked connections.
    pub flows: Option<Vec<Flow>>,
    /// What is known of the table of tracked connections beside its entries.
    pub tracking: Option<TrackingState>,
    /// Processes of the workload, and others that own its sockets.
    pub processes: Option<Vec<Process>>,
    /// How the user namespace that owns the network namespace counts users; `None` where that is not known.
    pub ids: Option<IdMaps>,
    /// Interfaces and addresses.
    pub interfaces: Option<Vec<Interface>>,
    /// How it routes.
    pub routes: Option<Routing>,
    /// Addresses of the node's own network namespace, loopback left out; none where it was not looked at.
    pub node_addresses: Vec<std::net::IpAddr>,
    /// The resolver of the process through which the namespace was entered.
    pub resolver: Option<Resolver>,
    /// Settings and figures of the namespace, and what the kernel has of filters.
    pub settings: Option<Settings>,
    /// The resolver of each running container, by the container's name; of those that share a root only the first.
    pub resolvers: Vec<(String, Resolver)>,
    /// Programs that see its processes connect and send, each by hook, number and name; `None` where that cannot be told.
    pub programs: Option<Vec<String>>,
    /// What watches over processes beside the kernel's own rights, such as `SELinux enforcing` or `AppArmor docker-default (enforce)`.
    pub lsm: Option<String>,
    /// Who holds the lock of the programs that write legacy rules.
    pub lock_holder: Option<LockHolder>,
    /// The node's own network namespace, read at the same time.
    pub node_state: Option<Arc<Snapshot>>,
    /// What could not be read.
    pub unread: Vec<Unread>,
}

impl Snapshot {
    /// An empty snapshot of a workload: nothing asked, nothing read.
    #[must_use]
    pub fn of(node: impl Into<String>, taken: u64, asked: impl Into<String>, workload: Workload) -> Self {
        Self {
            node: node.into(),
            taken,
            asked: asked.into(),
            workload,
            rulesets: None,
            ipsets: Vec::new(),
            sockets: None,
            other_sockets: None,
            flows: None,
            tracking: None,
            processes: None,
            ids: None,
            interfaces: None,
            routes: None,
            node_addresses: Vec::new(),
            resolver: None,
            settings: None,
            resolvers: Vec::new(),
            programs: None,
            lsm: None,
            lock_holder: None,
            node_state: None,
            unread: Vec::new(),
        }
    }

    /// The rule sets that were read.
    #[must_use]
    pub fn rulesets(&self) -> &[Ruleset] {
        self.rulesets.as_deref().unwrap_or_default()
    }

    /// What could not be read about any of these subjects.
    pub fn unread_about<'a>(&'a self, subjects: &'a [Subject]) -> impl Iterator<Item = &'a Unread> {
        self.unread.iter().filter(|unread| subjects.contains(&unread.subject))
    }

    /// Whether an address belongs to the namespace: to an interface, or to the loopback range.
    #[must_use]
    pub fn is_local(&self, address: std::net::IpAddr) -> bool {
        address.is_loopback()
            || self
                .interfaces
                .iter()
                .flatten()
                .any(|interface| interface.addresses.iter().any(|(own, _)| *own == address))
    }
}
