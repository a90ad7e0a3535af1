//! The types of nft: what a value is, how long, in which order of bytes (nft's `datatype.h`, whose numbers the kernel keeps for sets).

/// In which order the bytes of a number stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Most significant first, as in packets.
    Big,
    /// The machine's.
    Host,
}

macro_rules! kinds {
    ($($kind:ident, $word:literal, $order:ident, $bytes:literal;)+) => {
        /// The type of a value.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[expect(missing_docs, reason = "the names are nft's own")]
        pub enum Kind { $($kind,)+ }

        const ALL: &[(Kind, &str, Order, usize)] = &[$((Kind::$kind, $word, Order::$order, $bytes),)+];
    };
}

kinds! {
    Invalid, "", Host, 0;
    Verdict, "verdict", Host, 0;
    Nfproto, "nf_proto", Host, 1;
    Bitmask, "bitmask", Host, 0;
    Integer, "integer", Big, 0;
    Text, "string", Host, 0;
    LinkAddress, "ll_addr", Big, 0;
    Ipv4, "ipv4_addr", Big, 4;
    Ipv6, "ipv6_addr", Big, 16;
    Ether, "ether_addr", Big, 6;
    EtherType, "ether_type", Big, 2;
    ArpOperation, "arp_op", Big, 2;
    Protocol, "inet_proto", Big, 1;
    Port, "inet_service", Big, 2;
    IcmpType, "icmp_type", Big, 1;
    TcpFlag, "tcp_flag", Big, 1;
    DccpType, "dccp_pkttype", Big, 1;
    MobilityType, "mh_type", Big, 1;
    Time, "time", Host, 8;
    Mark, "mark", Host, 4;
    Index, "iface_index", Host, 4;
    HardwareType, "iface_type", Host, 2;
    Realm, "realm", Host, 4;
    ClassId, "classid", Host, 4;
    Uid, "uid", Host, 4;
    Gid, "gid", Host, 4;
    CtState, "ct_state", Host, 4;
    CtDirection, "ct_dir", Host, 1;
    CtStatus, "ct_status", Host, 4;
    Icmpv6Type, "icmpv6_type", Big, 1;
    CtLabel, "ct_label", Host, 16;
    PacketType, "pkt_type", Host, 1;
    IcmpCode, "icmp_code", Big, 1;
    Icmpv6Code, "icmpv6_code", Big, 1;
    IcmpxCode, "icmpx_code", Big, 1;
    DeviceGroup, "devgroup", Host, 4;
    Dscp, "dscp", Big, 1;
    Ecn, "ecn", Big, 1;
    FibType, "fib_addrtype", Host, 4;
    Boolean, "boolean", Host, 1;
    CtEvent, "ct_event", Host, 4;
    IfName, "ifname", Host, 16;
    IgmpType, "igmp_type", Big, 1;
    Date, "time", Host, 8;
    Hour, "hour", Host, 4;
    Day, "day", Host, 1;
    ControlGroup, "cgroupsv2", Host, 8;
    Hexadecimal, "integer", Big, 0;
}

impl Kind {
    fn row(self) -> &'static (Self, &'static str, Order, usize) {
        ALL.iter().find(|(kind, ..)| *kind == self).unwrap_or(&ALL[0])
    }

    /// From nft's number of it.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        // The last one is ours: numbers that nft shows in hexadecimal digits.
        ALL.get(usize::try_from(number).ok()?).map(|(kind, ..)| *kind).filter(|kind| *kind != Self::Hexadecimal)
    }

    /// From nft's word. Where two have the same, the first, which is the one that sets are declared with.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        ALL.iter().find(|(_, known, ..)| *known == word && !word.is_empty()).map(|(kind, ..)| *kind)
    }

    /// nft's number of it.
    #[must_use]
    pub fn number(self) -> u32 {
        let place = ALL.iter().position(|(kind, ..)| *kind == self);
        match self {
            Self::Hexadecimal => Self::Integer.number(),
            _ => place.and_then(|place| u32::try_from(place).ok()).unwrap_or_default(),
        }
    }

    /// The number of a key put together from these kinds.
    #[must_use]
    pub fn key_of(kinds: &[Self]) -> u32 {
        kinds.iter().fold(0, |number: u32, kind| number.wrapping_shl(6) | kind.number())
    }

    /// The kinds that a set's key is put together from: six bits each (`concat_type` of nft).
    #[must_use]
    pub fn of_key(mut number: u32) -> Option<Vec<Self>> {
        const BITS: u32 = 6;
        let mut kinds = Vec::new();
        while number != 0 {
            kinds.push(Self::from_number(number & ((1 << BITS) - 1)).filter(|kind| *kind != Self::Invalid)?);
            number >>= BITS;
        }
        kinds.reverse();
        (!kinds.is_empty()).then_some(kinds)
    }

    /// nft's word.
    #[must_use]
    pub fn word(self) -> &'static str {
        self.row().1
    }

    /// The order in which its bytes stand.
    #[must_use]
    pub fn order(self) -> Order {
        self.row().2
    }

    /// Bytes of a value, 0 where they differ.
    #[must_use]
    pub fn bytes(self) -> usize {
        self.row().3
    }

    /// Several of its bits may be set, each with a name.
    #[must_use]
    pub fn is_flags(self) -> bool {
        matches!(self, Self::TcpFlag | Self::CtState | Self::CtStatus | Self::CtEvent | Self::CtLabel)
    }

    /// Ranges are written with the length of their common beginning where they have one.
    #[must_use]
    pub fn has_prefixes(self) -> bool {
        matches!(self, Self::Ipv4 | Self::Ipv6 | Self::Mark | Self::DeviceGroup | Self::Realm)
    }

    /// It is a text.
    #[must_use]
    pub fn is_text(self) -> bool {
        matches!(self, Self::Text | Self::IfName)
    }
}

/// Bytes as a number; `None` for more than sixteen.
#[must_use]
pub(super) fn number(bytes: &[u8], order: Order) -> Option<u128> {
    let mut padded = [0; 16];
    let start = padded.len().checked_sub(bytes.len())?;
    padded.get_mut(start..)?.copy_from_slice(bytes);
    if order == Order::Host && cfg!(target_endian = "little") {
        padded.get_mut(start..)?.reverse();
    }
    Some(u128::from_be_bytes(padded))
}

/// A number in so many bytes; `None` where it needs more.
#[must_use]
pub(super) fn bytes_of(value: u128, length: usize, order: Order) -> Option<Vec<u8>> {
    let start = 16_usize.checked_sub(length)?;
    let all = value.to_be_bytes();
    let (rest, bytes) = all.split_at_checked(start)?;
    let mut bytes = bytes.to_vec();
    if order == Order::Host && cfg!(target_endian = "little") {
        bytes.reverse();
    }
    rest.iter().all(|byte| *byte == 0).then_some(bytes)
}
