//! What a rule can ask about: the packet, its owner, its tracking; and the answer: yes, no, cannot know.
//!
//! A match is described once, as a [`Condition`] over fields. Evaluating, explaining and comparing all read that one form.

mod condition;
pub(crate) mod hexadecimal;

pub(crate) use condition::number;
pub use condition::{Answer, Condition, Device, Field};
pub(crate) use hexadecimal::{hex, unhex};

use std::net::IpAddr;

/// Something that a rule may ask about and that we may not know.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
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
#[derive(Debug, Clone, PartialEq, Eq, Default)]
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
    pub input: Known<String>,
    /// Device it leaves by.
    pub output: Known<String>,
    /// UID of the owning socket's file, in the numbering of the namespace's owner.
    pub uid: Known<u32>,
    /// GID of the owning socket's file.
    pub gid: Known<u32>,
    /// Packet mark.
    pub mark: Known<u32>,
    /// Connection mark.
    pub connection_mark: Known<u32>,
    /// `XT_CONNTRACK_STATE_*` bit of its tracking state.
    pub state: Known<u32>,
}
