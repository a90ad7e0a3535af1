//! Tracked flows: [one line each](table) for people, with [everything](wide), for [programs](write_line), and [what fills the
//! table](summary).

mod json;
mod lines;
pub mod summary;
#[cfg(test)]
mod tests;

pub use json::{expectations, rows, write_line};
pub use lines::{expected, table, wide};

use crate::model::{Endpoint, Flow, Protocol};

/// Protocols that connection tracking knows by name, or that are seen often, and their numbers.
const PROTOCOLS: [(u8, &str); 15] = [
    (1, "icmp"),
    (2, "igmp"),
    (4, "ipip"),
    (6, "tcp"),
    (17, "udp"),
    (33, "dccp"),
    (41, "ipv6"),
    (47, "gre"),
    (50, "esp"),
    (51, "ah"),
    (58, "icmpv6"),
    (89, "ospf"),
    (112, "vrrp"),
    (132, "sctp"),
    (136, "udplite"),
];

/// Names of protocols.
pub fn names() -> impl Iterator<Item = &'static str> {
    PROTOCOLS.iter().map(|(_, name)| *name)
}

pub(super) fn named(protocol: Protocol) -> Option<&'static str> {
    PROTOCOLS.iter().find(|(number, _)| *number == protocol.number()).map(|(_, name)| *name)
}

/// The protocol of a name or a number.
#[must_use]
pub fn protocol(text: &str) -> Option<Protocol> {
    let named = PROTOCOLS.iter().find(|(_, name)| *name == text).map(|(number, _)| *number);
    named.or_else(|| text.parse().ok()).map(Protocol::from_number)
}

/// The same in a text: the number of one without a name.
fn word(protocol: Protocol) -> String {
    named(protocol).map_or_else(|| protocol.number().to_string(), str::to_owned)
}

/// An end as it is written where the protocol may have no ports.
fn end(flow: &Flow, end: Endpoint) -> String {
    if flow.has_ports() { end.to_string() } else { end.address.to_string() }
}
