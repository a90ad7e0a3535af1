//! The families of nf_tables; legacy rules are named by the same words.

use serde::{Deserialize, Serialize};

/// Address family, in nft's words (for legacy too).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// IPv4.
    Ip,
    /// IPv6.
    Ip6,
    /// IPv4 and IPv6 in one.
    Inet,
    /// ARP.
    Arp,
    /// Bridged frames.
    Bridge,
    /// Ingress and egress of a device.
    Netdev,
}

impl Family {
    /// From nf_tables' number (`NFPROTO_*`, `include/uapi/linux/netfilter.h`).
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Inet,
            2 => Self::Ip,
            3 => Self::Arp,
            5 => Self::Netdev,
            7 => Self::Bridge,
            10 => Self::Ip6,
            _ => return None,
        })
    }

    /// nft's word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Ip => "ip",
            Self::Ip6 => "ip6",
            Self::Inet => "inet",
            Self::Arp => "arp",
            Self::Bridge => "bridge",
            Self::Netdev => "netdev",
        }
    }

    /// Whether rules of this family see packets of IPv4 (`false`) or IPv6 (`true`).
    #[must_use]
    pub fn sees(self, ipv6: bool) -> bool {
        match self {
            Self::Ip => !ipv6,
            Self::Ip6 => ipv6,
            Self::Inet | Self::Netdev => true,
            Self::Arp | Self::Bridge => false,
        }
    }
}
