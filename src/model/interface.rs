//! Interfaces of the namespace and their addresses.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// One interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// `ifindex`.
    pub index: u32,
    /// Its name in the namespace.
    pub name: String,
    /// `IFF_LOOPBACK` is set.
    pub loopback: bool,
    /// `IFF_UP` is set.
    pub up: bool,
    /// Addresses with prefix lengths.
    pub addresses: Vec<(IpAddr, u8)>,
}
