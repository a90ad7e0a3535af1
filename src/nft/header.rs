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
}

macro_rules! fields {
    ($($header:literal $base:ident { $($name:literal $offset:literal $bits:literal $kind:ident),+ $(,)? })+) => {
        const FIELDS: &[Field] = &[$($(Field {
            header: $header, name: $name, base: $base, offset: $offset, bits: $bits, kind: Kind::$kind
        },)+)+];
    };
}

fields! {
    "ether" LINK { "daddr" 0 48 Ether, "saddr" 48 48 Ether, "type" 96 16 EtherType }
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
        "operation" 48 16 ArpOperation, "saddr ether" 64 48 Ether, "daddr ether" 144 48 Ether,
        "saddr ip" 112 32 Ipv4, "daddr ip" 192 32 Ipv4,
    }
    "tcp" TRANSPORT {
        "sport" 0 16 Port, "dport" 16 16 Port, "sequence" 32 32 Integer, "ackseq" 64 32 Integer, "reserved" 100 4 Integer,
        "doff" 96 4 Integer, "flags" 104 8 TcpFlag, "window" 112 16 Integer, "checksum" 128 16 Integer,
        "urgptr" 144 16 Integer,
    }
    "udp" TRANSPORT { "sport" 0 16 Port, "dport" 16 16 Port, "length" 32 16 Integer, "checksum" 48 16 Integer }
    "udplite" TRANSPORT { "sport" 0 16 Port, "dport" 16 16 Port, "csumcov" 32 16 Integer, "checksum" 48 16 Integer }
    "sctp" TRANSPORT { "sport" 0 16 Port, "dport" 16 16 Port, "vtag" 32 32 Integer, "checksum" 64 32 Integer }
    "dccp" TRANSPORT { "sport" 0 16 Port, "dport" 16 16 Port }
    "th" TRANSPORT { "sport" 0 16 Port, "dport" 16 16 Port }
    "icmp" TRANSPORT { "type" 0 8 IcmpType, "code" 8 8 IcmpCode, "checksum" 16 16 Integer }
    "icmpv6" TRANSPORT { "type" 0 8 Icmpv6Type, "code" 8 8 Icmpv6Code, "checksum" 16 16 Integer }
    "esp" TRANSPORT { "spi" 0 32 Integer, "sequence" 32 32 Integer }
    "ah" TRANSPORT { "hdrlength" 8 8 Integer, "reserved" 16 16 Integer, "spi" 32 32 Integer, "sequence" 64 32 Integer }
}

/// The field of a header by nft's own number of it, from 1. The fields stand above in nft's order.
#[must_use]
pub(super) fn numbered(header: &str, number: usize) -> Option<&'static Field> {
    FIELDS.iter().filter(|field| field.header == header).nth(number.checked_sub(1)?)
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
    fields.position(|other| other.name == field.name).map(|place| place + 1)
}

/// nft's numbers of headers (`enum proto_desc_id`).
const DESCRIPTIONS: [(u32, &str); 12] = [
    (4, "icmp"),
    (6, "udp"),
    (7, "udplite"),
    (8, "tcp"),
    (10, "sctp"),
    (11, "th"),
    (12, "ip"),
    (13, "ip6"),
    (14, "icmpv6"),
    (15, "arp"),
    (16, "vlan"),
    (17, "ether"),
];

/// nft's number of a header.
#[must_use]
pub(super) fn description(header: &str) -> Option<u32> {
    DESCRIPTIONS.iter().find(|(_, name)| *name == header).map(|(number, _)| *number)
}

/// The header of nft's number.
#[must_use]
pub(super) fn described(number: u32) -> Option<&'static str> {
    DESCRIPTIONS.iter().find(|(known, _)| *known == number).map(|(_, name)| *name)
}

/// The protocol that a transport header belongs to.
#[must_use]
pub(super) fn protocol_of(header: &str) -> Option<u8> {
    (0..=u8::MAX).find(|number| transport(Some(*number)) == Some(header))
}

/// The field of a header that lies exactly there.
#[must_use]
pub(super) fn field(header: &str, offset: u32, bits: u32) -> Option<&'static Field> {
    FIELDS.iter().find(|field| field.header == header && field.offset == offset && field.bits == bits)
}

/// The field of a header that begins there.
#[must_use]
pub(super) fn field_at(header: &str, offset: u32) -> Option<&'static Field> {
    FIELDS.iter().find(|field| field.header == header && field.offset == offset)
}

/// nft's word for the transport header of a protocol; `th` stands for one that is not known.
#[must_use]
pub(super) fn transport(protocol: Option<u8>) -> Option<&'static str> {
    Some(match protocol {
        None => "th",
        Some(1) => "icmp",
        Some(6) => "tcp",
        Some(17) => "udp",
        Some(33) => "dccp",
        Some(50) => "esp",
        Some(51) => "ah",
        Some(58) => "icmpv6",
        Some(132) => "sctp",
        Some(136) => "udplite",
        Some(_) => return None,
    })
}
