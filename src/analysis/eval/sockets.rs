//! What rules ask of the sockets of the namespace: to which transparent one a packet is given.

use std::net::IpAddr;

use crate::model::Endpoint;
use crate::packet::{Known, Packet};
use crate::xt::matches::Socket;

/// The sockets of a namespace, as rules ask for them.
pub trait Sockets {
    /// The transparent socket that a rule gives the packet to: that of its own connection, else one that waits at `address`
    /// (`None` or unspecified: the first of the device by which it came in) and `port` (0: its own).
    ///
    /// The packet is as it stands at the rule (`nf_tproxy_get_sock_v4` and `_v6`, called by xt_TPROXY.c and nft_tproxy.c).
    fn taking(&self, packet: &Packet, address: Option<IpAddr>, port: u16) -> Taken;

    /// Whether there surely is no socket for the packet that a match takes (net/netfilter/xt_socket.c).
    fn lacks(&self, packet: &Packet, wanted: &Socket) -> bool;
}

/// What a rule that wants a transparent socket finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// One that waits.
    Waits {
        /// Where it was looked for.
        at: Endpoint,
        /// Its owner, as the namespace's owner counts.
        uid: Known<u32>,
    },
    /// That of the packet's own connection.
    Connected {
        /// Its place among the sockets of the snapshot.
        socket: usize,
        /// Its owner, as the namespace's owner counts.
        uid: Known<u32>,
    },
    /// None, or one that is not transparent: iptables' target drops the packet, nft goes on with the next rule.
    Nobody,
    /// It cannot be told, for this reason.
    Unknown(&'static str),
}

impl Taken {
    /// Whose socket it is.
    pub(super) fn uid(self) -> Known<u32> {
        match self {
            Self::Waits { uid, .. } | Self::Connected { uid, .. } => uid,
            Self::Nobody | Self::Unknown(_) => Known::Unknown,
        }
    }
}
