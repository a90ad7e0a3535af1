//! Which socket gets a packet that comes in, as the kernel looks it up.
//!
//! Sources: `compute_score` and its callers in net/ipv4/inet_hashtables.c, net/ipv6/inet6_hashtables.c, net/ipv4/udp.c and
//! net/ipv6/udp.c; net/ipv4/netfilter/nf_tproxy_ipv4.c and net/ipv6/netfilter/nf_tproxy_ipv6.c for transparent sockets.

mod place;
mod transparent;

use std::collections::HashMap;
use std::net::IpAddr;

use place::Devices;

use crate::analysis::eval::Taken;
use crate::model::{Endpoint, Family, IdMaps, Protocol, Snapshot, Socket, SocketState, Subject};
use crate::packet::{Answer, Known, Packet, state};

/// Flags of TCP.
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;
/// SCTP and UDP-Lite.
const SCTP: Protocol = Protocol::Other(132);
const UDP_LITE: Protocol = Protocol::Other(136);
/// ICMP of both families: the kernel itself takes it.
const MESSAGES: [u8; 2] = [1, 58];

const DEVICE: &str = "by which device it comes, which a socket is bound to";
const ONLY_V6: &str = "whether an IPv6 socket takes IPv4";

/// The sockets of a snapshot by the ports at which they wait or are connected.
#[derive(Debug)]
pub(in crate::analysis) struct Receivers<'a> {
    /// The list was read, and whole.
    known: bool,
    sockets: &'a [Socket],
    ids: Option<&'a IdMaps>,
    devices: Devices<'a>,
    /// By their own port.
    waiting: HashMap<(Protocol, u16), Vec<usize>>,
    /// By both ports, their own first.
    connected: HashMap<(Protocol, u16, u16), Vec<usize>>,
}

/// Who gets a packet.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Waiting<'a> {
    /// One of these.
    These(Vec<&'a Socket>),
    /// The kernel itself.
    Kernel,
    /// Nobody, and its sender is told.
    Nobody,
    /// Nobody, without a word.
    Silent,
    /// Cannot be told.
    Unknown(&'static str),
}

/// What a lookup finds: sockets by their places, one of which it is.
type Found = Result<Vec<usize>, &'static str>;

/// What is looked for.
#[derive(Clone, Copy)]
struct Wanted<'p> {
    protocol: Protocol,
    to: Endpoint,
    packet: &'p Packet,
    /// A rule looks for it, and no packet is to be handed over yet.
    by_rule: bool,
}

impl Wanted<'_> {
    /// Both ends, where the source is known.
    fn from(&self) -> Option<Endpoint> {
        match (self.packet.source, self.packet.source_port) {
            (Known::Is(address), Known::Is(port)) => Some(Endpoint::new(address, port)),
            _ => None,
        }
    }

    /// It belongs to a connection that goes on.
    fn goes_on(&self) -> bool {
        match (self.packet.tcp_flags, self.packet.state) {
            (Known::Is(flags), _) => flags & (SYN | ACK) != SYN,
            (_, Known::Is(state)) => state & state::ESTABLISHED != 0,
            _ => false,
        }
    }

    fn is_datagram(&self) -> bool {
        self.protocol == Protocol::Udp || self.protocol == UDP_LITE
    }
}

impl<'a> Receivers<'a> {
    pub(super) fn of(snapshot: &'a Snapshot) -> Self {
        let known = snapshot.sockets.is_some() && snapshot.unread_about(&[Subject::Sockets]).next().is_none();
        let sockets = snapshot.sockets.as_deref().unwrap_or_default();
        let (mut waiting, mut connected) = (HashMap::<_, Vec<usize>>::new(), HashMap::<_, Vec<usize>>::new());
        for (at, socket) in sockets.iter().enumerate() {
            match (socket.protocol, socket.state, socket.peer) {
                (Protocol::Tcp | SCTP, SocketState::Listen, _) => {
                    waiting.entry((socket.protocol, socket.local.port)).or_default().push(at);
                }
                (_, _, Some(peer)) => {
                    let key = (socket.protocol, socket.local.port, peer.port);
                    connected.entry(key).or_default().push(at);
                }
                // One of TCP that is only bound gets nothing.
                (Protocol::Udp | UDP_LITE, _, None) if socket.local.port != 0 => {
                    waiting.entry((socket.protocol, socket.local.port)).or_default().push(at);
                }
                _ => {}
            }
        }
        Self { known, sockets, ids: snapshot.ids.as_ref(), devices: Devices::of(snapshot), waiting, connected }
    }

    /// Who gets a packet that is for the namespace; one that a rule has given to a transparent socket is `taken` by that.
    pub(super) fn of_packet(&self, packet: &Packet, taken: Option<Taken>) -> Waiting<'a> {
        let (Known::Is(protocol), Known::Is(destination)) = (packet.protocol, packet.destination) else {
            return Waiting::Unknown("to which address it comes");
        };
        if MESSAGES.contains(&protocol) {
            return Waiting::Kernel;
        }
        let protocol = Protocol::from_number(protocol);
        if !matches!(protocol, Protocol::Tcp | Protocol::Udp | UDP_LITE | SCTP) {
            return Waiting::Unknown("who takes packets of this protocol");
        }
        if !self.known {
            return Waiting::Unknown("which sockets wait");
        }
        let wanted = |to| Wanted { protocol, to, packet, by_rule: taken.is_some() };
        match (taken, packet.destination_port) {
            (Some(Taken::Connected { socket, .. }), _) => self.told(Ok(vec![socket])),
            (Some(Taken::Waits { at, .. }), _) => match self.at_place(&wanted(at)) {
                Ok(found) if found.is_empty() => Waiting::Silent,
                found => self.told(found),
            },
            (Some(Taken::Nobody), _) => Waiting::Silent,
            (Some(Taken::Unknown(why)), _) => Waiting::Unknown(why),
            (None, Known::Is(port)) => self.of_own(&wanted(Endpoint::new(destination, port))),
            (None, _) => Waiting::Unknown("to which port it comes"),
        }
    }

    fn told(&self, found: Found) -> Waiting<'a> {
        match found {
            Ok(found) if found.is_empty() => Waiting::Nobody,
            Ok(found) => Waiting::These(found.iter().filter_map(|at| self.sockets.get(*at)).collect()),
            Err(why) => Waiting::Unknown(why),
        }
    }

    /// Who gets a packet by its own ends.
    fn of_own(&self, wanted: &Wanted<'_>) -> Waiting<'a> {
        let several = self.devices.is_for_several(wanted.to.address);
        match wanted.protocol {
            // Which addresses an endpoint has beside its first is not told.
            SCTP if self.waiting.contains_key(&(SCTP, wanted.to.port)) => {
                Waiting::Unknown("which addresses an endpoint of SCTP has")
            }
            SCTP => Waiting::Nobody,
            // Only datagrams go to several.
            Protocol::Tcp if several => Waiting::Silent,
            Protocol::Tcp => {
                if let Some(found) = self.connection(wanted) {
                    return found;
                }
                match self.at_place(wanted) {
                    // A listener answers what begins no connection as if nobody were there.
                    Ok(found) if !found.is_empty() && wanted.goes_on() => Waiting::Nobody,
                    found => self.told(found),
                }
            }
            _ if several => match self.at_place(wanted) {
                Ok(found) if found.is_empty() => Waiting::Silent,
                Ok(found) if found.len() == 1 && !wanted.to.address.is_multicast() => self.told(Ok(found)),
                _ => Waiting::Unknown("which of the sockets get what is sent to several"),
            },
            _ => match self.datagram(wanted) {
                Ok(found) if found.is_empty() && self.may_be_mistaken(wanted) => Waiting::Unknown(
                    "whether this kernel takes an IPv6 socket for one at 127.0.0.6 (Linux 6.14 and later do)",
                ),
                found => self.told(found),
            },
        }
    }

    /// The connection of TCP that the packet belongs to, where it is one that is there.
    fn connection(&self, wanted: &Wanted<'_>) -> Option<Waiting<'a>> {
        let found = match self.connected_to(wanted) {
            Ok(found) => found,
            Err(why) => return Some(Waiting::Unknown(why)),
        };
        let state = |at: &usize| self.sockets.get(*at).map(|socket| (socket.state, socket.details.request));
        match found.first().and_then(state)? {
            // What begins another connection goes to who listens, and so does what belongs to a handshake.
            (SocketState::TimeWait, _) if !wanted.goes_on() => None,
            (SocketState::TimeWait, _) => Some(Waiting::Kernel),
            (_, true) => Some(self.told(self.at_place(wanted))),
            _ => Some(self.told(Ok(found))),
        }
    }

    /// Sockets that are connected from where the packet goes to where it comes from. What begins a connection, and of whose source
    /// not all is told, belongs to none that is there.
    fn connected_to(&self, wanted: &Wanted<'_>) -> Found {
        let fits = |at: &&usize| {
            let Some(socket) = self.sockets.get(**at) else { return Answer::No };
            let other = |peer: Endpoint| match (wanted.packet.source, wanted.packet.source_port) {
                (Known::Is(address), _) if address != peer.address => false,
                (_, Known::Is(port)) => port == peer.port,
                _ => true,
            };
            let own = socket.protocol == wanted.protocol && socket.local == wanted.to && socket.peer.is_some_and(other);
            if own { self.devices.passes(socket, wanted.packet, wanted.by_rule) } else { Answer::No }
        };
        let sure = |found: Vec<&usize>| match found.iter().any(|at| fits(at) == Answer::CannotKnow) {
            true => Err(DEVICE),
            false => Ok(found.into_iter().copied().collect()),
        };
        match wanted.from() {
            Some(from) => {
                let all = self.connected.get(&(wanted.protocol, wanted.to.port, from.port));
                sure(all.into_iter().flatten().filter(|at| fits(at) != Answer::No).collect())
            }
            None if wanted.goes_on() => {
                sure(self.connected.values().flatten().filter(|at| fits(at) != Answer::No).collect())
            }
            None => Ok(Vec::new()),
        }
    }

    /// Who gets a datagram: a connected socket, else one that waits at the very address, else one that waits at any.
    fn datagram(&self, wanted: &Wanted<'_>) -> Found {
        // Of several with the same ends nobody can tell: newer kernels take any (`udp4_lib_lookup4`), older ones that bound to the device.
        let mut found = self.connected_to(wanted)?;
        if found.is_empty() {
            return self.at_place(wanted);
        }
        let bound = |at: &usize| self.sockets.get(*at).map(|socket| (socket.interface != 0, socket.family));
        // A group with SO_REUSEPORT none of which is connected takes all that reaches it first; groups are of one device and family.
        let alike: Vec<_> = found.iter().filter_map(bound).collect();
        let others = self.level(wanted, |socket| fits_exactly(socket, wanted.to.address))?;
        found.extend(others.into_iter().filter(|at| bound(at).is_some_and(|other| !alike.contains(&other))));
        Ok(found)
    }

    /// Whether an IPv6 socket may get what comes to 127.0.0.6. That is the IPv4 address which the kernel writes into IPv6 sockets that
    /// are bound to an address (`LOOPBACK4_IPV6`), and since Linux 6.14 it finds them by that when it finds nobody else
    /// (`udp4_lib_lookup1`); not those that take IPv6 only.
    fn may_be_mistaken(&self, wanted: &Wanted<'_>) -> bool {
        let mistaken = |socket: &Socket| {
            let bound = socket.local.address.is_ipv6() && !socket.local.address.is_unspecified();
            let takes =
                socket.details.only_v6 != Some(true) && !(socket.protocol == Protocol::Tcp && socket.peer.is_some());
            socket.protocol == wanted.protocol && socket.local.port == wanted.to.port && bound && takes
        };
        wanted.to.address == IpAddr::from([127, 0, 0, 6]) && self.sockets.iter().any(mistaken)
    }

    /// Who waits at a place: bound to the very address, else to any.
    fn at_place(&self, wanted: &Wanted<'_>) -> Found {
        let address = wanted.to.address;
        let exact = self.level(wanted, |socket| fits_exactly(socket, address))?;
        let found = match exact.is_empty() {
            true => self.level(wanted, |socket| fits_as_any(socket, address))?,
            false => exact,
        };
        Ok(self.first_of(found, wanted))
    }

    /// Those that wait at the port and `fit`, at the packet's device.
    fn level(&self, wanted: &Wanted<'_>, fit: impl Fn(&Socket) -> Answer) -> Found {
        let all = self.waiting.get(&(wanted.protocol, wanted.to.port)).map_or(&[][..], Vec::as_slice);
        let mut found = Vec::new();
        for at in all {
            let Some(socket) = self.sockets.get(*at) else { continue };
            match (fit(socket), self.devices.passes(socket, wanted.packet, wanted.by_rule)) {
                (Answer::No, _) | (_, Answer::No) => {}
                (Answer::Yes, Answer::Yes) => found.push(*at),
                (Answer::CannotKnow, _) => return Err(ONLY_V6),
                (_, Answer::CannotKnow) => return Err(DEVICE),
            }
        }
        Ok(found)
    }

    /// The ones that come first of several that wait for the same.
    ///
    /// Several listeners at one address have SO_REUSEPORT, all of them, and of those the kernel takes the first group that it meets
    /// in its list, whatever others would suit better: IPv4's stand before IPv6's there, and of one family nobody can tell
    /// (`inet_lookup_reuseport`, `__inet_hash`). Datagram sockets may have SO_REUSEADDR instead: then the one that suits best is it,
    /// one bound to the device rather than to none, of the packet's own family rather than of IPv6.
    fn first_of(&self, found: Vec<usize>, wanted: &Wanted<'_>) -> Vec<usize> {
        let bound = |at: &usize| {
            self.sockets.get(*at).map(|socket| (socket.interface != 0, socket.family == Family::Ip)).unwrap_or_default()
        };
        if found.len() < 2 {
            return found;
        }
        let (best, ipv4) = (found.iter().map(bound).max(), found.iter().any(|at| bound(at).1));
        let shared = |at: &usize| bound(at).1 == ipv4;
        let suits = |at: &usize| wanted.is_datagram() && Some(bound(at)) == best;
        found.into_iter().filter(|at| shared(at) || suits(at)).collect()
    }

    /// A socket's owner, as the namespace's owner counts.
    fn uid(&self, socket: &Socket) -> Known<u32> {
        Known::from_option(self.ids.and_then(|ids| ids.inside_uid(socket.uid)))
    }
}

/// Whether a socket is bound to the very address; one of IPv6 may be so to an IPv4 address.
fn fits_exactly(socket: &Socket, address: IpAddr) -> Answer {
    Answer::from(socket.local.address == address && !address.is_unspecified())
}

/// Whether a socket takes what comes to the address as one that is bound to none.
fn fits_as_any(socket: &Socket, address: IpAddr) -> Answer {
    let bound = socket.local.address;
    match (bound.is_unspecified(), bound.is_ipv6(), address.is_ipv6()) {
        (false, ..) => Answer::No,
        (_, own, other) if own == other => Answer::Yes,
        // An IPv4 one never takes IPv6.
        (_, false, _) => Answer::No,
        _ => socket.details.only_v6.map_or(Answer::CannotKnow, |only| Answer::from(!only)),
    }
}
