//! What is asked of ctnetlink, and what the kernel leaves out of the answer by itself.
//!
//! Which filters a kernel knows: family always; mark since Linux 3.x; `CTA_FILTER` with addresses and ports since 5.8; status since
//! 5.15; zone since 6.8. One that is not known is not heeded (or refused, for `CTA_FILTER`): who asks looks again at what comes.

use std::net::IpAddr;

use super::super::attribute::Builder;
use super::{CTA_MARK, CTA_STATUS, CTA_TUPLE_ORIG, CTA_ZONE};
use crate::model::{Family, FlowFilter};

/// `NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET`: message type of the request.
pub const GET: u16 = 0x0101;
/// `NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_NEW`: message type of an answer.
pub const NEW: u16 = 0x0100;

const AF_UNSPEC: u8 = 0;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

const CTA_MARK_MASK: u16 = 21;
const CTA_FILTER: u16 = 25;
const CTA_STATUS_MASK: u16 = 26;

/// The payload of a dump request (`struct nfgenmsg`) for the entries of every family.
///
/// The plain "get" is asked, never the one that sets counters to zero.
#[must_use]
pub fn request() -> Vec<u8> {
    plain(AF_UNSPEC)
}

/// `struct nfgenmsg` alone.
pub(super) fn plain(family: u8) -> Vec<u8> {
    const NFNETLINK_V0: u8 = 0;
    vec![family, NFNETLINK_V0, 0, 0]
}

/// The same for those entries only that a filter wants; the kernel may still send others.
#[must_use]
pub fn filtered(filter: &FlowFilter) -> Vec<u8> {
    let mut message = Builder::after(&plain(family(filter)));
    if let Some((mark, mask)) = filter.mark {
        message = message.put_be32(CTA_MARK, mark).put_be32(CTA_MARK_MASK, mask);
    }
    // The kernel refuses an empty mask.
    if filter.status != 0 {
        message = message.put_be32(CTA_STATUS, filter.status).put_be32(CTA_STATUS_MASK, filter.status);
    }
    if let Some(zone) = filter.zone {
        message = message.put(CTA_ZONE, &zone.to_be_bytes());
    }
    match tuple(filter) {
        // Both directions' flags have to be there.
        Some((tuple, flags)) => {
            const ORIGINAL: u16 = 1;
            const REPLY: u16 = 2;
            let flags = Builder::default().put(ORIGINAL, &flags.to_ne_bytes()).put(REPLY, &0_u32.to_ne_bytes());
            message.put_nested(CTA_TUPLE_ORIG, &tuple).put_nested(CTA_FILTER, &flags).finish()
        }
        None => message.finish(),
    }
}

fn family(filter: &FlowFilter) -> u8 {
    match filter.family() {
        Some(Family::Ip) => AF_INET,
        Some(Family::Ip6) => AF_INET6,
        _ => AF_UNSPEC,
    }
}

/// The original tuple that is wanted, and which parts of it count (`CTA_FILTER_FLAG`, net/netfilter/nf_conntrack_netlink.c).
///
/// The kernel takes it of one family only, and ports only behind a protocol that has some.
fn tuple(filter: &FlowFilter) -> Option<(Builder, u32)> {
    const SOURCE: u32 = 1 << 0;
    const DESTINATION: u32 = 1 << 1;
    const PROTOCOL: u32 = 1 << 3;
    const SOURCE_PORT: u32 = 1 << 4;
    const DESTINATION_PORT: u32 = 1 << 5;
    filter.family()?;
    let (mut addresses, mut ports, mut flags) = (Builder::default(), Builder::default(), 0);
    for (end, kind, flag) in [(filter.source, 1, SOURCE), (filter.destination, 2, DESTINATION)] {
        // Addresses of IPv6 are compared the wrong way round: Linux 6.18 leaves out those that are wanted, and sends all others.
        if let Some(IpAddr::V4(own)) = end.address {
            addresses = addresses.put(kind, &own.octets());
            flags |= flag;
        }
    }
    let protocol = filter.protocol.map(crate::model::Protocol::number);
    if let Some(protocol) = protocol {
        ports = ports.put(1, &[protocol]);
        flags |= PROTOCOL;
    }
    if matches!(protocol, Some(6 | 17 | 132)) {
        for (end, kind, flag) in [(filter.source, 2, SOURCE_PORT), (filter.destination, 3, DESTINATION_PORT)] {
            if let Some(port) = end.port {
                ports = ports.put(kind, &port.to_be_bytes());
                flags |= flag;
            }
        }
    }
    let addressed = flags & (SOURCE | DESTINATION) != 0;
    let mut tuple = Builder::default();
    if addressed {
        tuple = tuple.put_nested(1, &addresses);
    }
    if protocol.is_some() {
        tuple = tuple.put_nested(2, &ports);
    }
    (flags != 0).then_some((tuple, flags))
}
