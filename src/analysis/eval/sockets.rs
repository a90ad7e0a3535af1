//! What rules ask of the sockets of the namespace: to which transparent one a packet is given.

use std::net::IpAddr;

use super::Prepared;
use super::traveller::Traveller;
use super::walk::Base;
use crate::model::{Body, Endpoint, Hook};
use crate::nft::{Expression, Load};
use crate::packet::{Known, Packet};

/// The sockets of a namespace, as rules ask for them.
pub trait Sockets {
    /// The transparent socket that a rule gives the packet to: that of its own connection, else one that waits at `address`
    /// (`None` or unspecified: the first of the device by which it came in) and `port` (0: its own).
    ///
    /// The packet is as it stands at the rule (`nf_tproxy_get_sock_v4` and `_v6`, called by xt_TPROXY.c and nft_tproxy.c).
    fn taking(&self, packet: &Packet, address: Option<IpAddr>, port: u16) -> Taken;

    /// The socket that a packet which comes in is for, as a rule that asks finds it: bits of [`crate::packet::socket`]
    /// (`nf_sk_lookup_slow_v4` and `_v6`).
    ///
    /// And its mark.
    fn found(&self, packet: &Packet) -> (Known<u8>, Known<u32>);

    /// Addresses and ports from which on answers may be others, for what `begins` connections from any port, or for all packets.
    fn bounds(&self, protocol: Known<u8>, ipv6: bool, begins: bool) -> (Vec<u128>, Vec<u128>);
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

impl Prepared<'_> {
    /// Some rule asks for the socket that a packet is for.
    pub(super) fn asks_for_sockets(&self) -> bool {
        let loads = |part: &Expression| matches!(part, Expression::Load { from: Load::Socket { .. }, .. });
        let asks = |body: &Body| match body {
            Body::Xt(rule) => rule.asks_for_socket(),
            Body::Nft(native) => native.expressions.iter().any(loads),
        };
        let rules = || self.table.chains.iter().flat_map(|chain| &chain.rules);
        *self.sockets.get_or_init(|| rules().any(|rule| asks(&rule.body)))
    }
}

impl Traveller {
    /// Finds the socket that the packet is for, where some rule of the table asks.
    pub(super) fn be_looked_up(&mut self, base: &Base<'_>, sockets: Option<&dyn Sockets>) {
        let Some(sockets) = sockets.filter(|_| matches!(base.chain.hook, Some(Hook::Prerouting | Hook::Input))) else {
            return;
        };
        if base.table.asks_for_sockets() {
            // What was taken has another socket, of which not all is told.
            (self.packet.socket, self.packet.socket_mark) = match self.taken {
                Some(_) => (Known::Unknown, Known::Unknown),
                None => sockets.found(&self.packet),
            };
        }
    }
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
