//! The node's own addresses, by which its kubelet calls.

use std::net::IpAddr;
use std::path::Path;

use super::connections::{list, open};
use crate::sys::netlink;
use crate::sys::netns::Netns;
use crate::wire::rtnetlink;

/// Addresses of the network namespace of the first process, loopback and link-local ones left out; none where that is the namespace
/// looked at, or cannot be entered.
pub(super) fn addresses(netns: &Netns, proc_root: &Path) -> Vec<IpAddr> {
    let Ok(node) = Netns::open(&proc_root.join("1/ns/net")) else { return Vec::new() };
    if node.identity() == netns.identity() {
        return Vec::new();
    }
    let Ok(mut channel) = node.enter(|| open(netlink::ROUTE)) else { return Vec::new() };
    let request = rtnetlink::address_request();
    let question = (rtnetlink::GET_ADDRESS, request.as_slice(), rtnetlink::NEW_ADDRESS);
    let (found, _) = list(&mut channel, question, rtnetlink::decode_address);
    let mut addresses: Vec<IpAddr> = found.into_iter().map(|(_, address, _)| address).filter(is_told_by).collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

/// Whether the address tells the node from others.
fn is_told_by(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !v4.is_loopback() && !v4.is_link_local(),
        IpAddr::V6(v6) => !v6.is_loopback() && !v6.is_unicast_link_local(),
    }
}
