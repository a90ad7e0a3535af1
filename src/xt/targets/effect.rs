//! What a target does to a packet.

use std::net::{IpAddr, Ipv6Addr};

use super::{NatRange, PortRange, Zone};

/// What a target does to a packet, as far as an evaluator needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Destination becomes the machine itself, at these ports (none: the port stays).
    Redirect(Option<PortRange>),
    /// Destination becomes this.
    Destination(NatRange),
    /// Source becomes this; the destination stays.
    Source(NatRange),
    /// Source becomes the outgoing device's address; the destination stays.
    OutgoingSource(NatRange),
    /// The destination (PREROUTING, OUTPUT) or the source (elsewhere) moves to the same place in another network: it becomes
    /// `(old & !mask) | address`.
    Network {
        /// Address of the network.
        address: IpAddr,
        /// Bits that are the network's.
        mask: IpAddr,
    },
    /// One end gets another prefix, and sixteen bits more change so that checksums stay right; no tracking; the packet goes on.
    Prefix {
        /// The destination rather than the source.
        destination: bool,
        /// The new prefix and its length.
        prefix: (Ipv6Addr, u8),
    },
    /// The packet is given to a transparent socket on this port (and address), and gets these mark bits.
    Transparent {
        /// Port of the socket, 0 for the packet's own.
        port: u16,
        /// Address of the socket, unspecified for the receiving interface's.
        address: IpAddr,
        /// Mark bits set.
        mark: u32,
        /// Mark bits changed.
        mask: u32,
    },
    /// The packet's mark becomes `(mark & !mask) ^ value`; the packet goes on.
    Mark {
        /// Bits flipped in.
        value: u32,
        /// Bits cleared first.
        mask: u32,
    },
    /// The packet's mark becomes one of `count` values from `first` on, by a hash of the packet; the packet goes on.
    HashedMark {
        /// Smallest mark.
        first: u32,
        /// How many there are.
        count: u32,
    },
    /// The connection's mark becomes `(mark & !mask) ^ value`, shifted; the packet goes on.
    ConnectionMark {
        /// Bits flipped in.
        value: u32,
        /// Bits cleared first.
        mask: u32,
        /// How far the result is shifted.
        shift: Shift,
    },
    /// The connection's mark becomes `(mark & !connection_mask) ^ shifted(packet's & packet_mask)`; the packet goes on.
    SavedMark {
        /// Bits of the connection's mark.
        connection_mask: u32,
        /// Bits of the packet's mark.
        packet_mask: u32,
        /// How far the packet's bits are shifted.
        shift: Shift,
    },
    /// The packet's mark becomes `(mark & !packet_mask) ^ shifted(connection's & connection_mask)`; the packet goes on.
    RestoredMark {
        /// Bits of the connection's mark.
        connection_mask: u32,
        /// Bits of the packet's mark.
        packet_mask: u32,
        /// How far the connection's bits are shifted.
        shift: Shift,
    },
    /// TTL or hop limit changes; the packet goes on.
    Hops(Hops),
    /// The byte of DSCP and ECN becomes `(byte & !mask) ^ value`; the packet goes on.
    TrafficClass {
        /// Bits flipped in.
        value: u8,
        /// Bits cleared first.
        mask: u8,
    },
    /// Bits of explicit congestion notification change; the packet goes on.
    Congestion {
        /// The two bits of the IP header.
        codepoint: Option<u8>,
        /// TCP flags (ECE 0x40, CWR 0x80) that become set.
        set: u8,
        /// TCP flags that become clear.
        cleared: u8,
    },
    /// TCP options of these numbers, one bit each, are overwritten; the packet goes on.
    TcpOptions([u32; 8]),
    /// The maximum segment size that a SYN names is lowered to this, `None` for what the path takes; the packet goes on.
    SegmentSize(Option<u16>),
    /// The packet's class of queueing (`skb->priority`, major in the upper half); the packet goes on.
    Class(u32),
    /// A copy goes to this gateway; the packet goes on.
    Copied(IpAddr),
    /// The packet's tracking begins with a template (zone, helper, timeouts, events); the packet goes on.
    Template {
        /// Its zone, unless it is the usual one.
        zone: Option<Zone>,
    },
    /// The packet goes on unchanged.
    Continue,
    /// Tracking is switched off for the packet: no translation will happen.
    Untracked,
    /// A program decides. `bypass`: where none listens the packet goes to the next chain, else it is dropped.
    Queue {
        /// `--queue-bypass`
        bypass: bool,
    },
    /// The kernel answers a SYN, and the client's ACK, in the server's place; they end here. Others go on.
    AnsweredForServer,
    /// Dropped, or refused with an answer.
    Stop,
    /// Not known.
    Opaque(String),
}

/// How far a mark is shifted (`CONNMARK` of revision 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Shift {
    /// To the right rather than to the left.
    pub right: bool,
    /// So many bits, 0 to 31.
    pub bits: u8,
}

impl Shift {
    /// The shifted mark.
    #[must_use]
    pub fn of(self, mark: u32) -> u32 {
        let bits = u32::from(self.bits);
        let shifted = if self.right { mark.checked_shr(bits) } else { mark.checked_shl(bits) };
        shifted.unwrap_or(0)
    }
}

/// What happens to a TTL or hop limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hops {
    /// It becomes this.
    Set(u8),
    /// It grows by this, up to 255.
    Raise(u8),
    /// It shrinks by this, down to 0.
    Lower(u8),
}
