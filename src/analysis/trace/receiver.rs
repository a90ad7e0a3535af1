//! Which socket gets a packet that comes in.

use std::collections::HashMap;

use crate::model::{Protocol, Snapshot, Socket, SocketState, Subject};
use crate::packet::{Known, Packet};

/// The sockets of a snapshot by the port at which they wait.
#[derive(Debug)]
pub(super) struct Receivers<'a> {
    /// The list was read, and whole.
    known: bool,
    by_port: HashMap<(Protocol, u16), Vec<&'a Socket>>,
}

/// Who waits for a packet.
#[derive(Debug, PartialEq)]
pub(super) enum Waiting<'a> {
    /// One of these.
    These(Vec<&'a Socket>),
    /// Nobody.
    Nobody,
    /// Cannot be told.
    Unknown(&'static str),
}

impl<'a> Receivers<'a> {
    pub(super) fn of(snapshot: &'a Snapshot) -> Self {
        let known = snapshot.sockets.is_some() && snapshot.unread_about(&[Subject::Sockets]).next().is_none();
        let mut by_port: HashMap<_, Vec<&'a Socket>> = HashMap::new();
        let waits = |socket: &&Socket| match socket.protocol {
            Protocol::Tcp => socket.state == SocketState::Listen,
            _ => socket.peer.is_none() && socket.local.port != 0,
        };
        for socket in snapshot.sockets.iter().flatten().filter(waits) {
            by_port.entry((socket.protocol, socket.local.port)).or_default().push(socket);
        }
        Self { known, by_port }
    }

    /// Who gets a packet that begins a connection; a transparent socket at the port that is `taken`, if it is.
    pub(super) fn of_packet(&self, packet: &Packet, taken: Option<Option<u16>>) -> Waiting<'a> {
        let (Known::Is(protocol), Known::Is(destination)) = (packet.protocol, packet.destination) else {
            return Waiting::Unknown("to which address it comes");
        };
        let port = match (taken, packet.destination_port) {
            (Some(Some(port)), _) | (_, Known::Is(port)) => port,
            _ => return Waiting::Unknown("to which port it comes"),
        };
        if !self.known {
            return Waiting::Unknown("which sockets wait");
        }
        let all = self.by_port.get(&(Protocol::from_number(protocol), port)).map_or(&[][..], Vec::as_slice);
        let fits = |socket: &&&Socket| {
            let bound = socket.local.address;
            // An IPv6 wildcard takes IPv4 too unless told otherwise; an IPv4 one never takes IPv6.
            let any = bound.is_unspecified() && (bound.is_ipv6() == destination.is_ipv6() || bound.is_ipv6());
            any || bound == destination
        };
        // One bound to the very address comes first, then one of the packet's own family (compute_score of net/ipv4/inet_hashtables.c).
        let score = |socket: &&&Socket| {
            let bound = socket.local.address;
            (!bound.is_unspecified(), bound.is_ipv6() == destination.is_ipv6())
        };
        let best = all.iter().filter(fits).map(|socket| score(&socket)).max();
        let best: Vec<_> = all.iter().filter(fits).filter(|socket| Some(score(socket)) == best).copied().collect();
        if best.is_empty() { Waiting::Nobody } else { Waiting::These(best) }
    }
}
