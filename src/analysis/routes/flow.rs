//! What policy rules and tables are asked with: `struct flowi4` and `flowi6`, as far as it is known.

use std::net::IpAddr;

use super::Query;
use crate::packet::Known;

/// One question. Indexes are 0 for none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Flow {
    pub(super) ipv6: bool,
    pub(super) source: Option<IpAddr>,
    pub(super) destination: IpAddr,
    /// Name of the device that it came in by; that of the loopback for own packets.
    pub(super) input: Option<String>,
    pub(super) output: Option<String>,
    /// Index of the device that routes have to lead to.
    pub(super) device: u32,
    pub(super) mark: Known<u32>,
    pub(super) uid: Known<u32>,
    pub(super) protocol: Known<u8>,
    pub(super) source_port: Known<u16>,
    pub(super) destination_port: Known<u16>,
    pub(super) tos: Known<u8>,
}

impl Flow {
    /// Of a packet that came in: the kernel asks for root, whoever sent it.
    pub(super) fn incoming(query: &Query) -> Self {
        Self { uid: Known::Is(0), output: None, input: query.input.clone(), ..Self::of(query, None, 0) }
    }

    /// Of an own packet. `loopback` is the name of the device that it is said to come by.
    pub(super) fn of(query: &Query, loopback: Option<String>, device: u32) -> Self {
        Self {
            ipv6: query.destination.is_ipv6(),
            source: query.source,
            destination: query.destination,
            input: loopback,
            output: query.output.clone(),
            device,
            mark: query.mark,
            uid: query.uid,
            protocol: query.protocol,
            source_port: query.source_port,
            destination_port: query.destination_port,
            tos: query.traffic_class,
        }
    }
}
