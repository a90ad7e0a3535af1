//! Transparent sockets: those to which TPROXY gives packets that are not for their address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Found, MESSAGES, Receivers, Wanted};
use crate::analysis::eval::{Sockets, Taken};
use crate::model::{Endpoint, Protocol, Socket, SocketState};
use crate::packet::{Known, Packet, number, socket};

const TRANSPARENT: &str = "whether the socket that waits is transparent";
const SEVERAL: &str = "which of several sockets gets it, some of which are transparent";

impl Sockets for Receivers<'_> {
    fn taking(&self, packet: &Packet, address: Option<IpAddr>, port: u16) -> Taken {
        let protocol = match packet.protocol {
            Known::Is(6) => Protocol::Tcp,
            Known::Is(17) => Protocol::Udp,
            Known::Is(_) => return Taken::Nobody,
            _ => return Taken::Unknown("of which protocol it is"),
        };
        let (Known::Is(own_address), Known::Is(own_port)) = (packet.destination, packet.destination_port) else {
            return Taken::Unknown("to which address and port it comes");
        };
        if !self.known {
            return Taken::Unknown("which sockets wait");
        }
        let own = Wanted { protocol, to: Endpoint::new(own_address, own_port), packet, by_rule: true };
        if let Some(found) = self.taken_by_connection(&own) {
            return found;
        }
        let port = if port == 0 { own_port } else { port };
        let at = Endpoint::new(self.place(packet, address), port);
        let found = self.at_place_unconnected(&Wanted { to: at, ..own });
        self.taken_by(found, |_, uid| Taken::Waits { at, uid })
    }

    fn found(&self, packet: &Packet) -> (Known<u8>, Known<u32>) {
        const OPEN: (Known<u8>, Known<u32>) = (Known::Unknown, Known::Unknown);
        const NONE: (Known<u8>, Known<u32>) = (Known::Is(0), Known::Absent);
        let protocol = match packet.protocol {
            Known::Is(6) => Protocol::Tcp,
            Known::Is(17) => Protocol::Udp,
            // A message may be about a packet of a socket.
            Known::Is(other) if !MESSAGES.contains(&other) => return NONE,
            _ => return OPEN,
        };
        let (Known::Is(address), Known::Is(port)) = (packet.destination, packet.destination_port) else {
            return OPEN;
        };
        // Of answers the address is looked for that the connection had before it was translated.
        if !self.known || packet.connection.is_reply == Known::Is(true) {
            return OPEN;
        }
        let wanted = Wanted { protocol, to: Endpoint::new(address, port), packet, by_rule: true };
        let found = match wanted.is_datagram() {
            true => self.datagram(&wanted),
            false => match self.connected_to(&wanted) {
                Ok(found) if found.is_empty() => self.at_place(&wanted),
                found => found,
            },
        };
        let Ok(found) = found else { return OPEN };
        let mut bits = found.iter().filter_map(|at| self.sockets.get(*at)).map(|one| self.bits(one, &wanted));
        let mut marks = found.iter().filter_map(|at| self.sockets.get(*at)).map(|one| one.mark);
        let mark = marks.next().flatten().filter(|first| marks.all(|other| other == Some(*first)));
        match bits.next() {
            None if self.may_be_mistaken(&wanted) => OPEN,
            None => NONE,
            Some(first) => {
                let bits = first.filter(|first| bits.all(|other| other == Some(*first)));
                (Known::from_option(bits), Known::from_option(mark))
            }
        }
    }

    fn bounds(&self, protocol: Known<u8>, ipv6: bool, begins: bool) -> (Vec<u128>, Vec<u128>) {
        self.edges(protocol, ipv6, begins)
    }
}

impl Receivers<'_> {
    /// Addresses and ports from which on other sockets may be found; by what begins connections from any port, those of TCP that are
    /// connected are not.
    pub(in crate::analysis) fn edges(&self, protocol: Known<u8>, ipv6: bool, begins: bool) -> (Vec<u128>, Vec<u128>) {
        let (mut addresses, mut ports) = (Vec::new(), Vec::new());
        let of = |socket: &&Socket| {
            let waits = socket.protocol != Protocol::Tcp || socket.state == SocketState::Listen;
            protocol == Known::Is(socket.protocol.number()) && (waits || !begins)
        };
        for socket in self.sockets.iter().filter(of) {
            ports.extend([u128::from(socket.local.port), u128::from(socket.local.port) + 1]);
            if socket.local.address.is_ipv6() == ipv6 {
                let bound = number(socket.local.address);
                addresses.extend([Some(bound), bound.checked_add(1)].into_iter().flatten());
            }
        }
        // Which device has an address, and the one of which IPv6 sockets are mistaken to be.
        let own = self.devices.addresses().filter(|own| own.is_ipv6() == ipv6).map(number);
        let mistaken = (!ipv6).then_some(0x7f00_0006);
        addresses.extend(own.chain(mistaken).flat_map(|own| [Some(own), own.checked_add(1)]).flatten());
        addresses.sort_unstable();
        ports.sort_unstable();
        addresses.dedup();
        ports.dedup();
        (addresses, ports)
    }

    /// What a rule may ask of a socket; `None` where that is not told. A handshake that is not over is transparent as its listener is.
    fn bits(&self, found: &Socket, wanted: &Wanted<'_>) -> Option<u8> {
        let is_transparent = if found.details.request {
            let waiting = self.at_place(wanted).ok()?;
            let mut each = waiting.iter().map(|at| self.sockets.get(*at)?.details.transparent);
            let first = each.next()??;
            each.all(|other| other == Some(first)).then_some(first)?
        } else {
            found.details.transparent?
        };
        let transparent = if is_transparent { socket::TRANSPARENT } else { 0 };
        let bound = if found.local.address.is_unspecified() { 0 } else { socket::BOUND };
        let half = found.details.request || found.state == SocketState::TimeWait;
        Some(socket::EXISTS | transparent | bound | if half { 0 } else { socket::FULL })
    }

    /// The socket of the packet's own connection comes first, transparent or not.
    fn taken_by_connection(&self, own: &Wanted<'_>) -> Option<Taken> {
        let found = match self.connected_to(own) {
            Ok(found) => found,
            Err(why) => return Some(Taken::Unknown(why)),
        };
        let state = self.sockets.get(*found.first()?)?.state;
        if own.protocol == Protocol::Tcp && state == SocketState::TimeWait && !own.goes_on() {
            return None;
        }
        Some(self.taken_by(Ok(found), |socket, uid| Taken::Connected { socket, uid }))
    }

    /// Where a socket is looked for. Where that is not known, but all that wait are bound to no address, it is no matter.
    fn place(&self, packet: &Packet, address: Option<IpAddr>) -> IpAddr {
        if let Some(address) = address.filter(|address| !address.is_unspecified()) {
            return address;
        }
        self.devices.first_address(packet).unwrap_or_else(|| unspecified(packet))
    }

    /// Who waits there. Of datagrams a connected socket would come first, which is none that waits.
    fn at_place_unconnected(&self, wanted: &Wanted<'_>) -> Found {
        if wanted.to.address.is_unspecified() {
            let all = self.waiting.get(&(wanted.protocol, wanted.to.port)).into_iter().flatten();
            let bound = all.filter_map(|at| self.sockets.get(*at)).any(|socket| !socket.local.address.is_unspecified());
            if bound {
                return Err("which address the device has by which it comes");
            }
        }
        match wanted.is_datagram() && !self.connected_to(wanted)?.is_empty() {
            true => Ok(Vec::new()),
            false => self.at_place(wanted),
        }
    }

    fn taken_by(&self, found: Found, by: impl Fn(usize, Known<u32>) -> Taken) -> Taken {
        let found = match found {
            Ok(found) => found,
            Err(why) => return Taken::Unknown(why),
        };
        let sockets: Vec<_> = found.iter().filter_map(|at| self.sockets.get(*at).map(|socket| (*at, socket))).collect();
        let Some((at, first)) = sockets.first() else { return Taken::Nobody };
        let alike = sockets.iter().all(|(_, one)| one.details.transparent == first.details.transparent);
        let uid = if sockets.iter().all(|(_, one)| one.uid == first.uid) { self.uid(first) } else { Known::Unknown };
        match first.details.transparent {
            _ if !alike => Taken::Unknown(SEVERAL),
            Some(true) => by(*at, uid),
            Some(false) => Taken::Nobody,
            None => Taken::Unknown(TRANSPARENT),
        }
    }
}

fn unspecified(packet: &Packet) -> IpAddr {
    match packet.destination {
        Known::Is(IpAddr::V6(_)) => Ipv6Addr::UNSPECIFIED.into(),
        _ => Ipv4Addr::UNSPECIFIED.into(),
    }
}
