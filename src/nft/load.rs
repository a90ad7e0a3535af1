//! What a value is loaded from, beside properties and bytes of the packet.

use serde::{Deserialize, Serialize};

/// What a value is loaded from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Load {
    /// The tracked connection: `NFT_CT_*` key, 0 for the original and 1 for the reply direction.
    Ct {
        /// Key.
        key: u32,
        /// Direction.
        direction: Option<u8>,
    },
    /// The route: `NFT_RT_*` key.
    Route {
        /// Key.
        key: u32,
    },
    /// The routing tables: `NFT_FIB_RESULT_*`, `NFTA_FIB_F_*`.
    Fib {
        /// What is wanted.
        result: u32,
        /// Of which address and device.
        flags: u32,
    },
    /// The socket: `NFT_SOCKET_*` key.
    Socket {
        /// Key.
        key: u32,
        /// Level of the control group.
        level: Option<u32>,
    },
    /// The packet's fingerprint of the system that sent it.
    Fingerprint {
        /// How the time to live is looked at: 0 exactly, 1 loosely, 2 not.
        ttl: u8,
        /// With the version.
        version: bool,
    },
    /// The IPsec transformation: `NFT_XFRM_KEY_*`.
    Transform {
        /// Key.
        key: u32,
        /// 0 the packet came in by it, 1 it will leave by it.
        direction: u8,
        /// Which of several.
        number: u32,
    },
    /// A number that counts up (kind 0) or is random (kind 1), below the modulus, plus an offset.
    Number {
        /// `NFT_NG_*`
        kind: u32,
        /// Modulus.
        modulus: u32,
        /// Added.
        offset: u32,
    },
}

/// A part of an option of TCP or IPv4, or of an extension header of IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeaderOption {
    /// `NFT_EXTHDR_OP_*`
    pub of: u32,
    /// Number of the option or header.
    pub number: u8,
    /// Bytes from its start.
    pub offset: u32,
    /// Bytes.
    pub length: u32,
    /// Only whether it is there.
    pub present: bool,
}

/// What a packet's address or port is changed to: the registers that hold the first and the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Span {
    /// First.
    pub from: Option<u32>,
    /// Last, where it is another.
    pub to: Option<u32>,
}
