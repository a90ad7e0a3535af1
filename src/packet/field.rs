//! The numbers that a packet has, and what is known of them.

use super::{Known, Lookup, Packet, number};

/// A number that a packet has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Field {
    /// IANA protocol number.
    Protocol,
    /// Source address as a number, most significant byte first.
    Source,
    /// Destination address.
    Destination,
    /// Source port.
    SourcePort,
    /// Destination port.
    DestinationPort,
    /// UID of the owner.
    Uid,
    /// GID of the owner.
    Gid,
    /// Packet mark.
    Mark,
    /// Connection mark.
    ConnectionMark,
    /// Tracking state, one bit of `XT_CONNTRACK_STATE_*`.
    State,
    /// Bytes of the whole packet, the IP header included.
    Length,
    /// TTL, or hop limit of IPv6.
    HopLimit,
    /// TOS byte, or traffic class of IPv6: six bits of DSCP, two of ECN.
    TrafficClass,
    /// The TCP header's byte of flags, CWR first.
    TcpFlags,
    /// MSS option of TCP.
    MaximumSegment,
    /// Type of an ICMP message, of either family.
    IcmpType,
    /// Code of an ICMP message.
    IcmpCode,
    /// Packet type of DCCP.
    DccpType,
    /// Type of a mobility header.
    MobilityType,
    /// SPI of an authentication header.
    AhSpi,
    /// SPI of an encapsulated payload.
    EspSpi,
    /// CPI of a compressed payload.
    CompressionIndex,
    /// Ethernet source address.
    SourceMac,
    /// `PACKET_HOST` and so on (`include/uapi/linux/if_packet.h`).
    PacketType,
    /// Group of the device it came in by.
    InputGroup,
    /// Group of the device it leaves by.
    OutputGroup,
    /// CPU that handles it.
    Cpu,
    /// Class of the sender's cgroup (version 1).
    CgroupClass,
    /// Realm of its route.
    Realm,
    /// Bits of [`super::socket`].
    Socket,
    /// Mark of the socket that it is for.
    SocketMark,
    /// What the routing tables say of it.
    Lookup(Lookup),
    /// IANA protocol number of its connection.
    ConnectionProtocol,
    /// Source address of its connection's first packet.
    OriginalSource,
    /// Destination address of its connection's first packet.
    OriginalDestination,
    /// Source address of the replies.
    ReplySource,
    /// Destination address of the replies.
    ReplyDestination,
    /// Source port of its connection's first packet.
    OriginalSourcePort,
    /// Destination port of its connection's first packet.
    OriginalDestinationPort,
    /// Source port of the replies.
    ReplySourcePort,
    /// Destination port of the replies.
    ReplyDestinationPort,
    /// `IPS_*` bits of its connection.
    ConnectionStatus,
    /// Seconds until its connection is forgotten.
    ConnectionExpiry,
    /// 1 when it travels against its connection's first packet.
    IsReply,
}

impl Packet {
    /// What is known of a field, as a number.
    #[must_use]
    pub(crate) fn field(&self, field: Field) -> Known<u128> {
        match field {
            Field::Protocol => self.protocol.wide(),
            Field::Source => self.source.map(number),
            Field::Destination => self.destination.map(number),
            Field::SourcePort => self.source_port.wide(),
            Field::DestinationPort => self.destination_port.wide(),
            Field::Uid => self.uid.wide(),
            Field::Gid => self.gid.wide(),
            Field::Mark => self.mark.wide(),
            Field::ConnectionMark => self.connection_mark.wide(),
            Field::State => self.state.wide(),
            Field::Length => self.length.wide(),
            Field::HopLimit => self.hop_limit.wide(),
            Field::TrafficClass => self.traffic_class.wide(),
            Field::TcpFlags => self.tcp_flags.wide(),
            Field::MaximumSegment => self.maximum_segment.wide(),
            Field::IcmpType => self.icmp_type.wide(),
            Field::IcmpCode => self.icmp_code.wide(),
            Field::DccpType => self.dccp_type.wide(),
            Field::MobilityType => self.mobility_type.wide(),
            Field::AhSpi => self.ah_spi.wide(),
            Field::EspSpi => self.esp_spi.wide(),
            Field::CompressionIndex => self.compression_index.wide(),
            Field::SourceMac => self.source_mac.wide(),
            Field::PacketType => self.packet_type.wide(),
            Field::InputGroup => self.input_group.wide(),
            Field::OutputGroup => self.output_group.wide(),
            Field::Cpu => self.cpu.wide(),
            Field::CgroupClass => self.cgroup_class.wide(),
            Field::Realm => self.realm.wide(),
            Field::Socket => self.socket.wide(),
            Field::SocketMark => self.socket_mark.wide(),
            Field::Lookup(lookup) => Known::from_option(self.looked_up.get(lookup)).wide(),
            Field::ConnectionProtocol => self.connection.protocol.wide(),
            Field::OriginalSource => self.connection.original_source.map(number),
            Field::OriginalDestination => self.connection.original_destination.map(number),
            Field::ReplySource => self.connection.reply_source.map(number),
            Field::ReplyDestination => self.connection.reply_destination.map(number),
            Field::OriginalSourcePort => self.connection.original_source_port.wide(),
            Field::OriginalDestinationPort => self.connection.original_destination_port.wide(),
            Field::ReplySourcePort => self.connection.reply_source_port.wide(),
            Field::ReplyDestinationPort => self.connection.reply_destination_port.wide(),
            Field::ConnectionStatus => self.connection.status.wide(),
            Field::ConnectionExpiry => self.connection.expiry.wide(),
            Field::IsReply => self.connection.is_reply.wide(),
        }
    }
}

impl<T: Copy> Known<T> {
    fn map<U>(&self, change: impl FnOnce(T) -> U) -> Known<U> {
        match self {
            Self::Unknown => Known::Unknown,
            Self::Absent => Known::Absent,
            Self::Is(value) => Known::Is(change(*value)),
        }
    }
}

impl<T: Copy + Into<u128>> Known<T> {
    fn wide(&self) -> Known<u128> {
        self.map(Into::into)
    }
}
