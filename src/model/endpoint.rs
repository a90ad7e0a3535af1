//! Addresses with ports, and transport protocols.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A transport protocol that has sockets and flows here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// Any other, by its IANA number (seen in tracked flows only).
    #[serde(untagged)]
    Other(u8),
}

impl Protocol {
    /// From the IANA protocol number.
    #[must_use]
    pub fn from_number(number: u8) -> Self {
        match number {
            6 => Self::Tcp,
            17 => Self::Udp,
            other => Self::Other(other),
        }
    }

    /// Whether its packets have ports.
    #[must_use]
    pub fn has_ports(self) -> bool {
        matches!(self.number(), 6 | 17 | 33 | 132 | 136)
    }

    /// The IANA protocol number.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Other(number) => number,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp => out.write_str("tcp"),
            Self::Udp => out.write_str("udp"),
            Self::Other(number) => write!(out, "{number}"),
        }
    }
}

/// An address with its port, written `10.0.0.5:80` or `[fd00::5]:80`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// The address; never a v4-mapped one (see [`Endpoint::unmapped`]).
    pub address: IpAddr,
    /// The port, 0 for "any".
    pub port: u16,
}

impl Endpoint {
    /// An endpoint.
    #[must_use]
    pub fn new(address: IpAddr, port: u16) -> Self {
        Self { address, port }
    }

    /// The IPv4 endpoint of a v4-mapped IPv6 address (`::ffff:10.0.0.5`), and whether it was one: such a socket follows the IPv4
    /// rules although the kernel lists it under IPv6.
    #[must_use]
    pub fn unmapped(address: IpAddr, port: u16) -> (Self, bool) {
        match address {
            IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
                Some(v4) => (Self::new(v4.into(), port), true),
                None => (Self::new(address, port), false),
            },
            IpAddr::V4(_) => (Self::new(address, port), false),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        SocketAddr::new(self.address, self.port).fmt(out)
    }
}

impl Serialize for Endpoint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Endpoint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        let address: SocketAddr = text.parse().map_err(serde::de::Error::custom)?;
        Ok(Self::new(address.ip(), address.port()))
    }
}
