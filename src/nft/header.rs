//! Headers of packets: which field lies where (nft's `proto.c`).

use super::kind::Kind;

/// Where a header begins.
pub(super) const LINK: u32 = 0;
/// Network header.
pub(super) const NETWORK: u32 = 1;
/// Transport header.
pub(super) const TRANSPORT: u32 = 2;

/// A field of a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// nft's word for the header.
    pub header: &'static str,
    /// nft's word for the field.
    pub name: &'static str,
    /// Which header.
    pub base: u32,
    /// Bits from its start.
    pub offset: u32,
    /// Bits.
    pub bits: u32,
    /// What it holds.
    pub kind: Kind,
    /// The type of ICMP message that has it, where not all have.
    pub message: Option<u8>,
}

macro_rules! fields {
    ($($header:literal $base:ident {
        $($name:literal $offset:literal $bits:literal $kind:ident $(of $message:literal)?),+ $(,)?
    })+) => {
        const FIELDS: &[Field] = &[$($(Field {
            header: $header, name: $name, base: $base, offset: $offset, bits: $bits, kind: Kind::$kind,
            message: fields!(@message $($message)?),
        },)+)+];
    };
    (@message) => { None };
    (@message $message:literal) => { Some($message) };
}

fields! {
    "ether" LINK { "daddr" 0 48 Ether, "saddr" 48 48 Ether, "type" 96 16 EtherType }
    // Counted from the start of the frame, behind the header of Ethernet.
    "vlan" LINK { "pcp" 112 3 Integer, "dei" 115 1 Integer, "id" 116 12 Integer, "type" 128 16 EtherType }
    "ip" NETWORK {
        "version" 0 4 Integer, "hdrlength" 4 4 Integer, "dscp" 8 6 Dscp, "ecn" 14 2 Ecn, "length" 16 16 Integer,
        "id" 32 16 Integer, "frag-off" 48 16 Integer, "ttl" 64 8 Integer, "protocol" 72 8 Protocol,
        "checksum" 80 16 Integer, "saddr" 96 32 Ipv4, "daddr" 128 32 Ipv4,
    }
    "ip6" NETWORK {
        "version" 0 4 Integer, "dscp" 4 6 Dscp, "ecn" 10 2 Ecn, "flowlabel" 12 20 Integer, "length" 32 16 Integer,
        "nexthdr" 48 8 Protocol, "hoplimit" 56 8 Integer, "saddr" 64 128 Ipv6, "daddr" 192 128 Ipv6,
    }
    "arp" NETWORK {
        "htype" 0 16 Integer, "ptype" 16 16 EtherType, "hlen" 32 8 Integer, "plen" 40 8 Integer,
        "operation" 48 16 ArpOperation, "saddr ether" 64 48 Ether, "saddr ip" 112 32 Ipv4,
        "daddr ether" 144 48 Ether, "daddr ip" 192 32 Ipv4,
    }
    "tcp" TRANSPORT {
        "sport" 0 16 Port, "dport" 16 16 Port, "sequence" 32 32 Integer, "ackseq" 64 32 Integer, "doff" 96 4 Integer,
        "reserved" 100 4 Integer, "flags" 104 8 TcpFlag, "window" 112 16 Integer, "checksum" 128 16 Integer,
        "urgptr" 144 16 Integer,
    }
    "udp" TRANSPORT { "sport" 0 16 Port, "dport" 16 16 Port, "length" 32 16 Integer, "checksum" 48 16 Integer }
    "udplite" TRANSPORT { "sport" 0 16 Port, "dport" 16 16 Port, "csumcov" 32 16 Integer, "checksum" 48 16 Integer }
    "sctp" TRANSPORT { "sport" 0 16 Port, "dport" 16 16 Port, "vtag" 32 32 Integer, "checksum" 64 32 Integer }
    "dccp" TRANSPORT { "sport" 0 16 Port, "dport" 16 16 Port, "type" 67 4 DccpType }
    "th" TRANSPORT { "sport" 0 16 Port, "dport" 16 16 Port }
    "icmp" TRANSPORT {
        "type" 0 8 IcmpType, "code" 8 8 IcmpCode, "checksum" 16 16 Integer, "id" 32 16 Integer of 8,
        "sequence" 48 16 Integer of 8, "gateway" 32 32 Integer of 5, "mtu" 48 16 Integer of 3,
    }
    "igmp" TRANSPORT { "type" 0 8 IgmpType, "checksum" 16 16 Integer, "mrt" 8 8 Integer, "group" 32 32 Ipv4 }
    "icmpv6" TRANSPORT {
        "type" 0 8 Icmpv6Type, "code" 8 8 Icmpv6Code, "checksum" 16 16 Integer, "parameter-problem" 32 32 Integer of 4,
        "mtu" 32 32 Integer of 2, "id" 32 16 Integer of 128, "sequence" 48 16 Integer of 128,
        "max-delay" 32 16 Integer of 130,
    }
    "esp" TRANSPORT { "spi" 0 32 Integer, "sequence" 32 32 Integer }
    "ah" TRANSPORT {
        "nexthdr" 0 8 Protocol, "hdrlength" 8 8 Integer, "reserved" 16 16 Integer, "spi" 32 32 Integer,
        "sequence" 64 32 Integer,
    }
    "comp" TRANSPORT { "nexthdr" 0 8 Protocol, "flags" 8 8 Bitmask, "cpi" 16 16 Integer }
}

/// A header: which of its fields says what follows, and what may follow.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Protocol {
    /// nft's word for it.
    pub(super) name: &'static str,
    /// Where it begins.
    pub(super) base: u32,
    /// The field that says what follows.
    pub(super) key: Option<&'static str>,
    /// What follows, by number.
    pub(super) next: &'static [(u16, &'static str)],
}

const BY_ETHER_TYPE: &[(u16, &str)] =
    &[(0x800, "ip"), (0x806, "arp"), (0x86dd, "ip6"), (0x8100, "vlan"), (0x88a8, "vlan")];
const BY_PROTOCOL: &[(u16, &str)] = &[
    (1, "icmp"),
    (2, "igmp"),
    (6, "tcp"),
    (17, "udp"),
    (33, "dccp"),
    (50, "esp"),
    (51, "ah"),
    (58, "icmpv6"),
    (108, "comp"),
    (132, "sctp"),
    (136, "udplite"),
];
/// What may follow within the transport header.
const INSIDE: &[(u16, &str)] =
    &[(6, "tcp"), (17, "udp"), (33, "dccp"), (50, "esp"), (51, "ah"), (108, "comp"), (136, "udplite")];

const PROTOCOLS: &[Protocol] = &[
    Protocol { name: "ether", base: LINK, key: Some("type"), next: BY_ETHER_TYPE },
    Protocol { name: "vlan", base: LINK, key: Some("type"), next: BY_ETHER_TYPE },
    // Tables of several families: what a frame is says the kernel.
    Protocol { name: "inet", base: LINK, key: None, next: &[(2, "ip"), (10, "ip6")] },
    Protocol { name: "netdev", base: LINK, key: None, next: BY_ETHER_TYPE },
    Protocol { name: "ip", base: NETWORK, key: Some("protocol"), next: BY_PROTOCOL },
    Protocol { name: "ip6", base: NETWORK, key: Some("nexthdr"), next: BY_PROTOCOL },
    Protocol { name: "arp", base: NETWORK, key: None, next: &[] },
    Protocol { name: "ah", base: TRANSPORT, key: Some("nexthdr"), next: INSIDE },
    Protocol { name: "comp", base: TRANSPORT, key: Some("nexthdr"), next: INSIDE },
    Protocol { name: "icmp", base: TRANSPORT, key: Some("type"), next: &[] },
    Protocol { name: "icmpv6", base: TRANSPORT, key: Some("type"), next: &[] },
    Protocol { name: "igmp", base: TRANSPORT, key: None, next: &[] },
    Protocol { name: "tcp", base: TRANSPORT, key: None, next: &[] },
    Protocol { name: "udp", base: TRANSPORT, key: None, next: &[] },
    Protocol { name: "udplite", base: TRANSPORT, key: None, next: &[] },
    Protocol { name: "dccp", base: TRANSPORT, key: None, next: &[] },
    Protocol { name: "sctp", base: TRANSPORT, key: None, next: &[] },
    Protocol { name: "esp", base: TRANSPORT, key: None, next: &[] },
];

/// The transport header of a protocol by its number, whichever network header names it.
#[must_use]
pub(super) fn by_protocol(number: u128) -> Option<&'static Protocol> {
    next(BY_PROTOCOL, number)
}

/// The protocol of this name.
#[must_use]
pub(super) fn protocol(name: &str) -> Option<&'static Protocol> {
    PROTOCOLS.iter().find(|protocol| protocol.name == name)
}

fn next(table: &[(u16, &str)], number: u128) -> Option<&'static Protocol> {
    table.iter().find(|(known, _)| u128::from(*known) == number).and_then(|(_, name)| protocol(name))
}

impl Protocol {
    /// What follows by this number.
    #[must_use]
    pub(super) fn next(&self, number: u128) -> Option<&'static Protocol> {
        next(self.next, number)
    }

    /// Bytes of a header in front of which others may stand.
    #[must_use]
    pub(super) fn length(&self) -> u32 {
        match self.name {
            "ether" => 14,
            "vlan" => 4,
            _ => 0,
        }
    }

    /// Its fields, in nft's order.
    pub(super) fn fields(&self) -> impl Iterator<Item = &'static Field> + use<> {
        let name = self.name;
        FIELDS.iter().filter(move |field| field.header == name)
    }

    /// Where a field of it begins, in bits from its own start.
    #[must_use]
    pub(super) fn within(&self, field: &Field) -> u32 {
        const ETHER: u32 = 14 * 8;
        if self.name == "vlan" { field.offset.saturating_sub(ETHER) } else { field.offset }
    }
}

/// The field of a header by nft's own number of it, from 1. The fields stand above in nft's order.
#[must_use]
pub(super) fn numbered(header: &str, number: usize) -> Option<&'static Field> {
    // Number 3 of VLAN was another word for the second.
    let number = if header == "vlan" && number > 3 { number - 1 } else { number };
    FIELDS.iter().filter(|field| field.header == header).nth(number.checked_sub(1)?)
}

/// The port that these bits of a transport header are, whatever the protocol.
#[must_use]
pub(super) fn port(offset: u32, bits: u32) -> Option<&'static Field> {
    FIELDS.iter().find(|field| field.header == "th" && field.offset == offset && field.bits == bits)
}

/// The field of this name.
#[must_use]
pub fn named(header: &str, name: &str) -> Option<&'static Field> {
    FIELDS.iter().find(|field| field.header == header && field.name == name)
}

/// nft's own number of a field within its header, from 1.
#[must_use]
pub(super) fn number_of(field: &Field) -> Option<usize> {
    let mut fields = FIELDS.iter().filter(|other| other.header == field.header);
    let number = fields.position(|other| other.name == field.name)? + 1;
    Some(if field.header == "vlan" && number > 2 { number + 1 } else { number })
}

/// The number of the protocol that a transport header belongs to.
#[must_use]
pub(super) fn protocol_of(header: &str) -> Option<u8> {
    let known = BY_PROTOCOL.iter().find(|(_, name)| *name == header);
    known.and_then(|(number, _)| u8::try_from(*number).ok())
}
