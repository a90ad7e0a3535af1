//! The packet that is asked about, with all that the snapshot tells of it, and what is taken for want of better.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::sender::Sender;
use super::{Question, Tracer};
use crate::analysis::eval::{Belongs, Every, Start};
use crate::analysis::routes::{Outcome, Query};
use crate::model::{Interface, Protocol, Subject};
use crate::packet::{Condition, DeviceName, Field, Groups, Known, Packet, number, state};

/// What a pod's device is called where the snapshot does not tell.
const DEVICE: &str = "eth0";
/// Flags of TCP: of a packet that begins a connection, and of one within it.
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;
/// IANA protocol numbers.
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;
/// ICMPv6 types by which neighbours and routers find each other (RFC 4861).
const NEIGHBOUR_DISCOVERY: std::ops::RangeInclusive<u8> = 133..=137;
/// `PACKET_HOST`: for this machine.
const FOR_HOST: u8 = 0;

/// Something that was not told of a packet, and was taken for want of better.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Assumed {
    /// There are rules, and nothing else: where its destination is.
    Place {
        /// The destination.
        destination: IpAddr,
        /// It is an address of the pod.
        own: bool,
    },
    /// It comes from this address, which no rule names.
    Stranger(IpAddr),
    /// The group of its user.
    Group {
        /// The user.
        uid: u32,
        /// The group.
        gid: u32,
    },
    /// The program that sends it: its name and number, and how it is counted (hostile).
    Sender(String),
    /// It is an echo request.
    Echo,
    /// The proxy that sends it gives it no mark: marks of sockets could not be read.
    NoMark,
}

impl fmt::Display for Assumed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Place { destination, own } => {
                let word = if *own { "is" } else { "is not" };
                write!(
                    formatter,
                    "{destination} {word} an address of the pod: there are rules, and no addresses or routes"
                )
            }
            Self::Stranger(address) => write!(formatter, "it comes from {address}, an address that no rule names"),
            Self::Group { uid, gid } => write!(formatter, "the group of user {uid} is {gid}"),
            Self::Sender(words) => write!(formatter, "it is sent by {words}, or one like it"),
            Self::NoMark => write!(formatter, "the proxy gives no mark: marks of sockets could not be read"),
            Self::Echo => write!(formatter, "it is an echo request (ping)"),
        }
    }
}

impl Tracer<'_> {
    /// The packet at its beginning, and what was taken.
    pub(in crate::analysis) fn start(&self, question: &Question) -> (Start, Vec<Assumed>) {
        // A socket of IPv6 that speaks to `::ffff:10.0.0.5` sends packets of IPv4 (K3).
        let (incoming, destination) = (question.incoming, question.destination.address.to_canonical());
        let ipv6 = destination.is_ipv6();
        let mut assumed = Vec::new();
        // Rules alone, without a pod around them.
        let bare =
            self.snapshot.interfaces.is_none() && self.snapshot.unread_about(&[Subject::Interfaces]).next().is_none();
        if bare {
            assumed.push(Assumed::Place { destination, own: incoming || destination.is_loopback() });
        }
        let own = self.own(destination, incoming, bare);
        let source = question.source.map(|source| source.to_canonical()).or_else(|| {
            let stranger = if incoming { self.stranger(ipv6) } else { None };
            assumed.extend(stranger.map(Assumed::Stranger));
            stranger
        });
        let device = |device: Option<DeviceName>| Known::from_option(question.interface.or(device));
        let (input, output) = match incoming {
            true => (device(self.comes_by(destination, source, bare)), Known::Absent),
            // Where routes are known they tell.
            false if self.ground.is_some() => (Known::Absent, Known::from_option(question.interface)),
            false => (Known::Absent, device(self.leaves_by(&own, bare))),
        };
        let (uid, gid, groups) = if incoming { Default::default() } else { self.who(question, &mut assumed) };
        let owner = |id: Option<u32>| if incoming { Known::Absent } else { Known::from_option(id) };
        let (state, belongs) = match question.state {
            // The kernel does not track these (`nf_conntrack_icmpv6_error`, net/netfilter/nf_conntrack_proto_icmpv6.c).
            None if ipv6 && question.icmp.is_some_and(|kind| NEIGHBOUR_DISCOVERY.contains(&kind)) => {
                (state::UNTRACKED, Belongs::No)
            }
            None => (state::NEW, Belongs::Perhaps),
            // Where there is no such connection, it is taken to begin one (`nf_conntrack_tcp_loose`).
            Some(state::ESTABLISHED) => (state::NEW, Belongs::Yes),
            Some(other) => (other, Belongs::No),
        };
        let header = header(question, ipv6, belongs);
        if question.icmp.is_none() && matches!(header.icmp_type, Known::Is(_)) {
            assumed.push(Assumed::Echo);
        }
        let packet = Packet {
            source: Known::from_option(source),
            destination: Known::Is(destination),
            source_local: match source {
                Some(source) => self.own(source, false, bare),
                None if incoming => Known::Unknown,
                None => Known::Is(true),
            },
            destination_local: own,
            input,
            output,
            uid: owner(uid),
            gid: owner(gid),
            groups: if incoming { Known::Absent } else { Known::from_option(groups) },
            mark: Known::Is(question.mark),
            connection_mark: Known::Is(0),
            state: Known::Is(state),
            ..header
        };
        let bound = question.interface.filter(|_| !incoming);
        (Start { packet, ipv6, incoming, bound, belongs, bare }, assumed)
    }

    /// User, group and further groups of the sending socket.
    fn who(&self, question: &Question, assumed: &mut Vec<Assumed>) -> (Option<u32>, Option<u32>, Option<Groups>) {
        let told = question.groups.as_ref().map(|groups| Groups::new(groups));
        let Some(uid) = question.uid else {
            let sender = self.sender().filter(|_| question.gid.is_none() && question.groups.is_none());
            let Some(Sender { identity, words }) = sender else {
                return (None, question.gid, told.flatten());
            };
            assumed.push(Assumed::Sender(words.clone()));
            return (Some(identity.uid), Some(identity.gid), Groups::new(&identity.groups));
        };
        let gid = question.gid.unwrap_or_else(|| {
            // Else the group of the same number, as most systems have it.
            let gid = self.group_of(uid).unwrap_or(uid);
            assumed.push(Assumed::Group { uid, gid });
            gid
        });
        (Some(uid), Some(gid), told.unwrap_or_else(|| Groups::new(&[])))
    }

    /// Whether an address is one of the namespace.
    fn own(&self, address: IpAddr, incoming: bool, bare: bool) -> Known<bool> {
        match &self.ground {
            Some(ground) => Known::Is(ground.is_own(address)),
            None if bare => Known::Is(incoming || address.is_loopback()),
            None if self.snapshot.interfaces.is_some() => Known::Is(self.snapshot.is_local(address)),
            None => Known::Unknown,
        }
    }

    /// The device by which a packet comes in: by which its source is reached, the one with the destination, or the only one.
    fn comes_by(&self, destination: IpAddr, source: Option<IpAddr>, bare: bool) -> Option<DeviceName> {
        let holds = |interface: &&Interface| interface.addresses.iter().any(|(own, _)| *own == destination);
        let interfaces = || self.snapshot.interfaces.iter().flatten();
        let others = || interfaces().filter(|interface| !interface.loopback && interface.up);
        let back = || {
            let ground = self.ground.as_ref()?;
            match ground.routes().lookup(&Query::to(source?)) {
                Outcome::Decided(decision) => decision.device.filter(|device| device != "lo"),
                _ => None,
            }
        };
        let name = match others().count() {
            0 if bare => Some(DEVICE.to_owned()),
            1 => others().next().map(|only| only.name.clone()),
            _ => back().or_else(|| others().find(holds).map(|found| found.name.clone())),
        };
        DeviceName::new(&name?)
    }

    /// The device by which an own packet leaves, where there are no routes to tell.
    fn leaves_by(&self, own: &Known<bool>, bare: bool) -> Option<DeviceName> {
        let interfaces = || self.snapshot.interfaces.iter().flatten();
        match own {
            Known::Is(true) => Some(DeviceName::LOOPBACK),
            Known::Is(false) if bare => DeviceName::new(DEVICE),
            Known::Is(false) => {
                let mut others = interfaces().filter(|interface| !interface.loopback && interface.up);
                let only = others.next().filter(|_| others.next().is_none())?;
                DeviceName::new(&only.name)
            }
            _ => None,
        }
    }

    /// An address from which a packet may come that is nobody's here and that no rule names: beside the pod's own where that can be,
    /// else one that is kept for documentation (RFC 5737, RFC 3849).
    pub(in crate::analysis) fn stranger(&self, ipv6: bool) -> Option<IpAddr> {
        let [of_ipv4, of_ipv6] = &self.strangers;
        *if ipv6 { of_ipv6 } else { of_ipv4 }.get_or_init(|| {
            let own = self.snapshot.interfaces.iter().flatten().filter(|interface| !interface.loopback);
            let own = own.flat_map(|interface| &interface.addresses).map(|(own, _)| *own);
            let beside = own.filter(|own| own.is_ipv6() == ipv6 && !is_near(own)).flat_map(|own| {
                (1..=64).map(move |step| match own {
                    IpAddr::V4(own) => IpAddr::from(Ipv4Addr::from(u32::from(own) ^ step)),
                    IpAddr::V6(own) => IpAddr::from(Ipv6Addr::from(u128::from(own) ^ u128::from(step))),
                })
            });
            let kept = |last: u16| match ipv6 {
                false => IpAddr::from([198, 51, 100, last.to_be_bytes()[1]]),
                true => IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, last]),
            };
            let mut named = Vec::new();
            self.rules.each(ipv6, |_, condition| {
                condition.visit(&mut |part| match part {
                    Condition::Range(Field::Source, from, to) => named.push((*from, *to, None)),
                    Condition::Masked { field: Field::Source, mask, value } if *mask != 0 => {
                        named.push((*value, *mask, Some(())))
                    }
                    _ => {}
                });
            });
            let gateways: Vec<IpAddr> = self
                .snapshot
                .routes
                .iter()
                .flat_map(|routes| routes.routes.iter().flatten())
                .flat_map(|route| &route.hops)
                .filter_map(|hop| hop.gateway)
                .collect();
            let free = |address: &IpAddr| {
                let value = number(*address);
                let is_named = named.iter().any(|(one, two, masked)| match masked {
                    Some(()) => value & two == *one,
                    None => (*one..=*two).contains(&value),
                });
                !is_named
                    && self.own(*address, false, true) != Known::Is(true)
                    && !gateways.contains(address)
                    && !self.snapshot.node_addresses.contains(address)
            };
            beside.chain((77..=99).map(kept)).find(free)
        })
    }
}

/// What the question tells of the packet's headers, its addresses left out.
fn header(question: &Question, ipv6: bool, belongs: Belongs) -> Packet {
    let port = |port| if question.protocol.has_ports() { Known::from_option(port) } else { Known::Absent };
    let echo = match (question.protocol.number(), ipv6) {
        (ICMP, false) => Known::Is(question.icmp.unwrap_or(8)),
        (ICMPV6, true) => Known::Is(question.icmp.unwrap_or(128)),
        _ => Known::Absent,
    };
    let discovers = ipv6 && question.icmp.is_some_and(|kind| NEIGHBOUR_DISCOVERY.contains(&kind));
    Packet {
        protocol: Known::Is(question.protocol.number()),
        source_port: port(question.source_port),
        destination_port: port(Some(question.destination.port)),
        tcp_flags: match question.protocol {
            Protocol::Tcp => Known::Is(if belongs == Belongs::Yes { ACK } else { SYN }),
            _ => Known::Absent,
        },
        icmp_type: echo,
        icmp_code: if echo == Known::Absent { Known::Absent } else { Known::Is(0) },
        packet_type: Known::Is(FOR_HOST),
        // Sockets send without a class unless they ask for one.
        traffic_class: if question.incoming { Known::Unknown } else { Known::Is(0) },
        // Hosts take no other: nobody behind a router can have sent it (RFC 4861, 7.1).
        hop_limit: if discovers { Known::Is(255) } else { Packet::default().hop_limit },
        ..Packet::default()
    }
}

/// The source that the first route gives to a packet, whichever way it takes then.
pub(super) fn source(start: &Start, every: &Every) -> Known<IpAddr> {
    let mut given =
        every.ways.iter().map(|way| way.routed.first().filter(|_| !start.incoming).map(|first| first.source));
    match given.next().flatten() {
        Some(first) if given.all(|other| other == Some(first)) => first,
        _ => start.packet.source,
    }
}

fn is_near(address: &IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}
