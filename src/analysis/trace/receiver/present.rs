//! Sockets that `-m socket` looks for: any that would get the packet, but for those that wait at no address of their own.

use super::{Receivers, Wanted};
use crate::model::{Endpoint, Protocol, Socket};
use crate::packet::{Known, Packet, state};
use crate::xt::matches::Socket as Asked;

impl Receivers<'_> {
    /// Whether there surely is no socket for a packet that begins a connection. Replies are looked up by what they were before their
    /// translation, which is not asked here (net/ipv4/netfilter/nf_socket_ipv4.c).
    pub(super) fn is_without(&self, packet: &Packet, asked: &Asked) -> bool {
        let protocol = match packet.protocol {
            Known::Is(6) => Protocol::Tcp,
            Known::Is(17) => Protocol::Udp,
            _ => return false,
        };
        let (Known::Is(address), Known::Is(port)) = (packet.destination, packet.destination_port) else { return false };
        let wanted = Wanted { protocol, to: Endpoint::new(address, port), packet, by_rule: true };
        let told = protocol == Protocol::Udp || packet.tcp_flags != Known::Unknown;
        let new = matches!(packet.state, Known::Is(state) if state & state::ESTABLISHED == 0);
        let begins = told && new && !wanted.goes_on();
        // Of an unknown source any connection may be it, also one that is over.
        if !self.known || !begins || wanted.from().is_none() && protocol == Protocol::Udp {
            return false;
        }
        let at_hand = match self.connected_to(&wanted) {
            Ok(found) if found.is_empty() => self.at_place(&wanted),
            found => found,
        };
        let overlooked = |socket: &Socket| {
            let wildcard = !asked.no_wildcard && socket.peer.is_none() && socket.local.address.is_unspecified();
            wildcard || asked.transparent && socket.details.transparent == Some(false)
        };
        at_hand.is_ok_and(|found| found.iter().filter_map(|at| self.sockets.get(*at)).all(overlooked))
    }
}
