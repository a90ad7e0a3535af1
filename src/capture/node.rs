//! The node's own network namespace: its addresses, by which its kubelet calls, and its state beside that of a pod.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use super::connections::{self, Refusal, list, open};
use super::flows::table_use;
use super::rules::{self, Wanted};
use super::sets::{self, Elements};
use super::{Occasion, routes};
use crate::model::{Cause, Kind, NetnsId, Snapshot, Subject, TrackingState, Unread, Workload};
use crate::sys::netlink;
use crate::sys::netns::Netns;
use crate::wire::rtnetlink;

/// Addresses of the network namespace of the first process, loopback and link-local ones left out; none where that is the namespace
/// looked at, or cannot be entered.
pub(super) fn addresses(netns: &Netns, proc_root: &Path) -> Vec<IpAddr> {
    match opened(proc_root) {
        Some(node) if node.identity() != netns.identity() => addresses_of(&node),
        _ => Vec::new(),
    }
}

/// The network namespace of the first process, if it can be had.
pub(super) fn opened(proc_root: &Path) -> Option<Netns> {
    Netns::open(&proc_root.join("1/ns/net")).ok()
}

/// Its addresses, loopback and link-local ones left out.
pub(super) fn addresses_of(node: &Netns) -> Vec<IpAddr> {
    let Ok(mut channel) = node.enter(|| open(netlink::ROUTE)) else { return Vec::new() };
    let request = rtnetlink::address_request();
    let question = (rtnetlink::GET_ADDRESS, request.as_slice(), rtnetlink::NEW_ADDRESS);
    let (found, _) = list(&mut channel, question, rtnetlink::decode_address);
    let mut addresses: Vec<IpAddr> = found.into_iter().map(|(_, address, _)| address).filter(is_told_by).collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

/// How long a pod's judge waits for the node's state: one of many thousand rules is read in some tenths of a second.
const PATIENCE: Duration = Duration::from_secs(2);

/// Asked for, and read meanwhile.
#[derive(Debug)]
pub(super) struct Asked(Option<Receiver<Snapshot>>);

/// Has the state of the first process's network namespace read on a thread of its own: rules, ipsets that they name, interfaces,
/// routes, and how full the table of tracked connections is. Nothing is read where that is the namespace looked at, or cannot be had.
pub(super) fn ask(netns: &Netns, occasion: Occasion<'_>) -> Asked {
    match opened(occasion.proc_root) {
        Some(node) if node.identity() != netns.identity() => ask_of(node, occasion),
        _ => Asked(None),
    }
}

/// The same of this one, whoever is looked at.
pub(super) fn ask_of(node: Netns, occasion: Occasion<'_>) -> Asked {
    let Occasion { node: name, now, proc_root, .. } = occasion;
    let mut snapshot = Snapshot::of(name, now, "host", Workload::named(Kind::Host, name));
    let (device, inode) = node.identity();
    snapshot.workload.netns = Some(NetnsId { device, inode });
    (snapshot.workload.host_network, snapshot.workload.pid) = (true, Some(1));
    let (sender, receiver) = mpsc::sync_channel(1);
    let proc_root = proc_root.to_owned();
    let reader = thread::Builder::new().name("node".into()).spawn(move || {
        read_into(&mut snapshot, &node, &proc_root);
        // Nobody waits any more where it took too long.
        sender.send(snapshot).ok();
    });
    Asked(reader.ok().map(|_| receiver))
}

impl Asked {
    /// What was read, or why there is nothing.
    pub(super) fn take(self) -> Result<Option<Arc<Snapshot>>, Unread> {
        let Some(receiver) = self.0 else { return Ok(None) };
        receiver.recv_timeout(PATIENCE).map(|snapshot| Some(Arc::new(snapshot))).map_err(|_| Unread {
            source: "the node's network namespace".to_owned(),
            error: format!("it was not read within {} seconds", PATIENCE.as_secs()),
            means: "rules and use of tracking on the node are not known".to_owned(),
            subject: Subject::Metadata,
            cause: Cause::Failed,
        })
    }
}

fn read_into(snapshot: &mut Snapshot, node: &Netns, proc_root: &Path) {
    // Rules that iptables can express are kept as such alone, and large sets by their names: nobody prints them.
    let wanted = Wanted { expressions: false, elements: Elements::Few, ..Wanted::default() };
    match rules::read(node, proc_root, wanted) {
        Ok((rulesets, unread)) => {
            let (ipsets, unread_sets) = sets::ipsets(node, &rulesets, wanted.elements);
            (snapshot.rulesets, snapshot.ipsets) = (Some(rulesets), ipsets);
            snapshot.unread.extend(unread.into_iter().chain(unread_sets));
        }
        Err(error) => {
            let means = "the node's rules are not known";
            snapshot.unread.push(Refusal::from_io(&error).about(Subject::Rules, "rules", means));
        }
    }
    connections::read_interfaces_into(snapshot, node, proc_root);
    routes::read_into(snapshot, node, proc_root);
    match table_use(node, proc_root) {
        Ok(table) => snapshot.tracking = Some(TrackingState { table, ..TrackingState::default() }),
        Err(unread) => snapshot.unread.push(unread),
    }
}

/// Whether the address tells the node from others.
fn is_told_by(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !v4.is_loopback() && !v4.is_link_local(),
        IpAddr::V6(v6) => !v6.is_loopback() && !v6.is_unicast_link_local(),
    }
}
