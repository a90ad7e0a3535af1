//! What a rule can ask about: the packet, its owner, its tracking; and the answer: yes, no, cannot know.
//!
//! A match is described once, as a [`Condition`] over fields. Evaluating, explaining and comparing all read that one form.

mod compiled;
mod condition;
mod device;
mod field;
mod groups;
pub(crate) mod hexadecimal;
mod lookup;
mod name;
pub mod socket;
pub mod state;

pub use compiled::Compiled;
pub(crate) use condition::number;
pub use condition::{Answer, Condition, Device};
pub use device::DeviceName;
pub use field::Field;
pub use groups::Groups;
pub(crate) use hexadecimal::{hex, unhex};
pub use lookup::{By, LookedUp, Lookup, Wanted};
pub use name::{exact_bytes, exact_text, name_order, stray_byte};

use std::net::IpAddr;

/// Something that a rule may ask about and that we may not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Known<T> {
    /// Not known: both answers are possible.
    #[default]
    Unknown,
    /// Known not to exist: no device at this hook, no socket behind this packet.
    Absent,
    /// Known.
    Is(T),
}

impl<T> Known<T> {
    /// Known, where there is a value; else unknown.
    #[must_use]
    pub fn from_option(value: Option<T>) -> Self {
        value.map_or(Self::Unknown, Self::Is)
    }
}

/// A packet as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Packet {
    /// IANA protocol number.
    pub protocol: Known<u8>,
    /// Source address.
    pub source: Known<IpAddr>,
    /// Destination address.
    pub destination: Known<IpAddr>,
    /// Whether the source is an address of this namespace.
    pub source_local: Known<bool>,
    /// Whether the destination is an address of this namespace.
    pub destination_local: Known<bool>,
    /// Source port.
    pub source_port: Known<u16>,
    /// Destination port.
    pub destination_port: Known<u16>,
    /// Device it came in by.
    pub input: Known<DeviceName>,
    /// Device it leaves by.
    pub output: Known<DeviceName>,
    /// UID of the owning socket's file, in the numbering of the namespace's owner.
    pub uid: Known<u32>,
    /// GID of the owning socket's file.
    pub gid: Known<u32>,
    /// Further groups of the process that opened the socket.
    pub groups: Known<Groups>,
    /// Packet mark.
    pub mark: Known<u32>,
    /// Connection mark.
    pub connection_mark: Known<u32>,
    /// `XT_CONNTRACK_STATE_*` bit of its tracking state.
    pub state: Known<u32>,
    /// Bits of these that may be set or not, whatever `state` says.
    pub doubtful_states: u32,
    /// Bytes of the whole packet.
    pub length: Known<u32>,
    /// TTL or hop limit.
    pub hop_limit: Known<u8>,
    /// TOS byte or traffic class.
    pub traffic_class: Known<u8>,
    /// Flags of the TCP header.
    pub tcp_flags: Known<u8>,
    /// MSS option of TCP.
    pub maximum_segment: Known<u16>,
    /// Type of an ICMP message.
    pub icmp_type: Known<u8>,
    /// Code of an ICMP message.
    pub icmp_code: Known<u8>,
    /// Packet type of DCCP.
    pub dccp_type: Known<u8>,
    /// Type of a mobility header.
    pub mobility_type: Known<u8>,
    /// SPI of an authentication header.
    pub ah_spi: Known<u32>,
    /// SPI of an encapsulated payload.
    pub esp_spi: Known<u32>,
    /// CPI of a compressed payload.
    pub compression_index: Known<u16>,
    /// Ethernet source address, most significant byte first.
    pub source_mac: Known<u64>,
    /// `PACKET_*` type.
    pub packet_type: Known<u8>,
    /// Group of the device it came in by.
    pub input_group: Known<u32>,
    /// Group of the device it leaves by.
    pub output_group: Known<u32>,
    /// Port of a bridge that it came in by.
    pub bridge_input: Known<DeviceName>,
    /// Port of a bridge that it leaves by.
    pub bridge_output: Known<DeviceName>,
    /// CPU that handles it.
    pub cpu: Known<u32>,
    /// Class of the sender's cgroup (version 1).
    pub cgroup_class: Known<u32>,
    /// Realm of its route.
    pub realm: Known<u32>,
    /// Bits of [`socket`]: the one that it is for, as the kernel finds it where a rule asks.
    pub socket: Known<u8>,
    /// Mark of that socket.
    pub socket_mark: Known<u32>,
    /// What the routing tables were asked about it.
    pub looked_up: LookedUp,
    /// What is tracked of its connection, beside mark and state.
    pub connection: Tracked,
}

/// A packet's connection as conntrack holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tracked {
    /// IANA protocol number.
    pub protocol: Known<u8>,
    /// Source of the first packet.
    pub original_source: Known<IpAddr>,
    /// Destination of the first packet.
    pub original_destination: Known<IpAddr>,
    /// Source of the replies.
    pub reply_source: Known<IpAddr>,
    /// Destination of the replies.
    pub reply_destination: Known<IpAddr>,
    /// Source port of the first packet.
    pub original_source_port: Known<u16>,
    /// Destination port of the first packet.
    pub original_destination_port: Known<u16>,
    /// Source port of the replies.
    pub reply_source_port: Known<u16>,
    /// Destination port of the replies.
    pub reply_destination_port: Known<u16>,
    /// `IPS_*` bits.
    pub status: Known<u32>,
    /// Seconds until it is forgotten.
    pub expiry: Known<u32>,
    /// The packet travels against the first one.
    pub is_reply: Known<bool>,
}

impl Tracked {
    /// Source and destination of the first packet.
    pub(crate) fn set_original(&mut self, source: (IpAddr, u16), destination: (IpAddr, u16)) {
        (self.original_source, self.original_source_port) = (Known::Is(source.0), Known::Is(source.1));
        (self.original_destination, self.original_destination_port) =
            (Known::Is(destination.0), Known::Is(destination.1));
    }

    /// Source and destination of the replies.
    pub(crate) fn set_reply(&mut self, source: (IpAddr, u16), destination: (IpAddr, u16)) {
        (self.reply_source, self.reply_source_port) = (Known::Is(source.0), Known::Is(source.1));
        (self.reply_destination, self.reply_destination_port) = (Known::Is(destination.0), Known::Is(destination.1));
    }
}
