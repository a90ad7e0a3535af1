//! Options of TCP and IPv4 and extension headers of IPv6: which field lies where (RFC 8200, 6275, 8754, 793, 791 …; words of nft).

use super::HeaderOption;
use super::kind::Kind;

/// `NFT_EXTHDR_OP_IPV6`
pub(super) const IPV6: u32 = 0;
/// `NFT_EXTHDR_OP_TCPOPT`
pub(super) const TCP: u32 = 1;
/// `NFT_EXTHDR_OP_IPV4`
pub(super) const IPV4: u32 = 2;
/// `NFT_EXTHDR_OP_SCTP`
pub(super) const SCTP: u32 = 3;

/// A field of an option, of an extension header or of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OptionField {
    /// `NFT_EXTHDR_OP_*`
    pub of: u32,
    /// Number of the option, header or chunk.
    pub number: u8,
    /// nft's word for it.
    pub header: &'static str,
    /// nft's word for the field; empty for the option itself.
    pub name: &'static str,
    /// Bits from its start.
    pub offset: u32,
    /// Bits.
    pub bits: u32,
    /// What it holds.
    pub kind: Kind,
}

macro_rules! options {
    ($($of:ident $number:literal $header:literal {
        $($name:literal $offset:literal $bits:literal $kind:ident),* $(,)?
    })+) => {
        const FIELDS: &[OptionField] = &[$($(OptionField {
            of: $of, number: $number, header: $header, name: $name, offset: $offset, bits: $bits, kind: Kind::$kind,
        },)*)+];
        const HEADERS: &[(u32, u8, &str)] = &[$(($of, $number, $header),)+];
    };
}

// Where several words have the same number, the first is the one that nft writes.
options! {
    IPV6 0 "hbh" { "nexthdr" 0 8 Protocol, "hdrlength" 8 8 Integer }
    IPV6 43 "rt" { "nexthdr" 0 8 Protocol, "hdrlength" 8 8 Integer, "type" 16 8 Integer, "seg-left" 24 8 Integer }
    // `rt0 addr` and `rt2 addr` lie where the first segment does, and are listed so.
    IPV6 43 "srh" {
        "last-entry" 32 8 Integer, "flags" 40 8 Integer, "tag" 48 16 Integer,
        "sid[1]" 64 128 Ipv6, "sid[2]" 192 128 Ipv6, "sid[3]" 320 128 Ipv6, "sid[4]" 448 128 Ipv6,
        "sid[5]" 576 128 Ipv6, "sid[6]" 704 128 Ipv6, "sid[7]" 832 128 Ipv6, "sid[8]" 960 128 Ipv6,
    }
    IPV6 43 "rt0" { "reserved" 32 32 Integer, "addr[1]" 64 128 Ipv6 }
    IPV6 43 "rt2" { "reserved" 32 32 Integer, "addr" 64 128 Ipv6 }
    IPV6 44 "frag" {
        "nexthdr" 0 8 Protocol, "reserved" 8 8 Integer, "frag-off" 16 13 Integer, "reserved2" 29 2 Integer,
        "more-fragments" 31 1 Integer, "id" 32 32 Integer,
    }
    IPV6 60 "dst" { "nexthdr" 0 8 Protocol, "hdrlength" 8 8 Integer }
    IPV6 135 "mh" {
        "nexthdr" 0 8 Protocol, "hdrlength" 8 8 Integer, "type" 16 8 MobilityType, "reserved" 24 8 Integer,
        "checksum" 32 16 Integer,
    }
    TCP 0 "eol" { "" 0 8 Integer }
    TCP 1 "nop" { "" 0 8 Integer }
    TCP 2 "maxseg" { "" 0 8 Integer, "length" 8 8 Integer, "size" 16 16 Integer }
    TCP 3 "window" { "" 0 8 Integer, "length" 8 8 Integer, "count" 16 8 Integer }
    TCP 4 "sack-perm" { "" 0 8 Integer, "length" 8 8 Integer }
    TCP 5 "sack" { "" 0 8 Integer, "length" 8 8 Integer, "left" 16 32 Integer, "right" 48 32 Integer }
    TCP 5 "sack1" { "left" 80 32 Integer, "right" 112 32 Integer }
    TCP 5 "sack2" { "left" 144 32 Integer, "right" 176 32 Integer }
    TCP 5 "sack3" { "left" 208 32 Integer, "right" 240 32 Integer }
    TCP 8 "timestamp" { "" 0 8 Integer, "length" 8 8 Integer, "tsval" 16 32 Integer, "tsecr" 48 32 Integer }
    TCP 19 "md5sig" { "" 0 8 Integer, "length" 8 8 Integer }
    TCP 30 "mptcp" { "" 0 8 Integer, "length" 8 8 Integer, "subtype" 16 4 Integer }
    TCP 34 "fastopen" { "" 0 8 Integer, "length" 8 8 Integer }
    IPV4 7 "rr" { "type" 0 8 Integer, "length" 8 8 Integer, "ptr" 16 8 Integer, "addr" 24 32 Integer }
    IPV4 131 "lsrr" { "type" 0 8 Integer, "length" 8 8 Integer, "ptr" 16 8 Integer, "addr" 24 32 Integer }
    IPV4 137 "ssrr" { "type" 0 8 Integer, "length" 8 8 Integer, "ptr" 16 8 Integer, "addr" 24 32 Integer }
    IPV4 148 "ra" { "type" 0 8 Integer, "length" 8 8 Integer, "value" 16 16 Integer }
    SCTP 0 "data" {
        "type" 0 8 Integer, "flags" 8 8 Integer, "length" 16 16 Integer, "tsn" 32 32 Integer, "stream" 64 16 Integer,
        "ssn" 80 16 Integer, "ppid" 96 32 Integer,
    }
    SCTP 1 "init" {
        "type" 0 8 Integer, "flags" 8 8 Integer, "length" 16 16 Integer, "init-tag" 32 32 Integer,
        "a-rwnd" 64 32 Integer, "num-outbound-streams" 96 16 Integer, "num-inbound-streams" 112 16 Integer,
        "initial-tsn" 128 32 Integer,
    }
    SCTP 2 "init-ack" {
        "type" 0 8 Integer, "flags" 8 8 Integer, "length" 16 16 Integer, "init-tag" 32 32 Integer,
        "a-rwnd" 64 32 Integer, "num-outbound-streams" 96 16 Integer, "num-inbound-streams" 112 16 Integer,
        "initial-tsn" 128 32 Integer,
    }
    SCTP 3 "sack" {
        "type" 0 8 Integer, "flags" 8 8 Integer, "length" 16 16 Integer, "cum-tsn-ack" 32 32 Integer,
        "a-rwnd" 64 32 Integer, "num-gap-ack-blocks" 96 16 Integer, "num-dup-tsns" 112 16 Integer,
    }
    SCTP 4 "heartbeat" { "type" 0 8 Integer, "flags" 8 8 Integer, "length" 16 16 Integer }
    SCTP 5 "heartbeat-ack" { "type" 0 8 Integer, "flags" 8 8 Integer, "length" 16 16 Integer }
    SCTP 6 "abort" { "type" 0 8 Integer, "flags" 8 8 Integer, "length" 16 16 Integer }
    SCTP 7 "shutdown" {
        "type" 0 8 Integer, "flags" 8 8 Integer, "length" 16 16 Integer, "cum-tsn-ack" 32 32 Integer,
    }
    SCTP 8 "shutdown-ack" { "type" 0 8 Integer, "flags" 8 8 Integer, "length" 16 16 Integer }
    SCTP 9 "error" { "type" 0 8 Integer, "flags" 8 8 Integer, "length" 16 16 Integer }
    SCTP 10 "cookie-echo" { "type" 0 8 Integer, "flags" 8 8 Integer, "length" 16 16 Integer }
    SCTP 11 "cookie-ack" { "type" 0 8 Integer, "flags" 8 8 Integer, "length" 16 16 Integer }
    SCTP 12 "ecne" {
        "type" 0 8 Integer, "flags" 8 8 Integer, "length" 16 16 Integer, "lowest-tsn" 32 32 Integer,
    }
    SCTP 13 "cwr" {
        "type" 0 8 Integer, "flags" 8 8 Integer, "length" 16 16 Integer, "lowest-tsn" 32 32 Integer,
    }
    SCTP 14 "shutdown-complete" { "type" 0 8 Integer, "flags" 8 8 Integer, "length" 16 16 Integer }
    SCTP 193 "asconf" {
        "type" 0 8 Integer, "flags" 8 8 Integer, "length" 16 16 Integer, "seqno" 32 32 Integer,
    }
    SCTP 192 "forward-tsn" {
        "type" 0 8 Integer, "flags" 8 8 Integer, "length" 16 16 Integer, "new-cum-tsn" 32 32 Integer,
    }
    SCTP 128 "asconf-ack" {
        "type" 0 8 Integer, "flags" 8 8 Integer, "length" 16 16 Integer, "seqno" 32 32 Integer,
    }
}

/// A field by nft's numbers: of the header, option or chunk, and of the field in it. The fields stand above in nft's order.
pub(super) fn numbered(of: u32, header: u32, field: usize) -> Option<&'static OptionField> {
    /// `TCPOPT_SACK`, and its fields before the second pair.
    const SACK: u32 = 5;
    const FIRST_PAIR: usize = 4;
    // Extension headers have numbers of nft's own (`enum exthdr_desc_id`), and their fields are counted from 1.
    let headers = ["", "hbh", "rt", "rt0", "rt2", "srh", "frag", "dst", "mh"];
    // The later pairs of SACK stand behind the first one's fields.
    let pairs = ["sack1", "sack2", "sack3"];
    if of == IPV4 {
        let name = ["", "type", "length", "value", "ptr", "addr"].get(field)?;
        return FIELDS.iter().find(|known| (known.of, u32::from(known.number), known.name) == (of, header, *name));
    }
    if let Some(later) = field.checked_sub(FIRST_PAIR).filter(|_| (of, header) == (TCP, SACK)) {
        let pair = pairs.get(later / 2)?;
        return FIELDS.iter().filter(|known| (known.of, known.header) == (of, *pair)).nth(later % 2);
    }
    let word = match of {
        IPV6 => headers.get(usize::try_from(header).ok()?).copied()?,
        _ => HEADERS.iter().find(|(known, number, _)| (*known, u32::from(*number)) == (of, header))?.2,
    };
    let index = if of == IPV6 { field.checked_sub(1)? } else { field };
    FIELDS.iter().filter(|known| (known.of, known.header) == (of, word)).nth(index)
}

/// nft's numbers for a field: of the header, option or chunk, and of the field in it.
pub(super) fn numbers_of(field: &OptionField) -> Option<(u32, u32)> {
    /// No header has more of them, and nft knows no more headers of IPv6.
    const MOST: u32 = 16;
    let headers = if field.of == IPV6 { 0..MOST } else { u32::from(field.number)..u32::from(field.number) + 1 };
    let mut all = headers.flat_map(|header| (0..MOST).map(move |number| (header, number)));
    all.find(|(header, number)| numbered(field.of, *header, *number as usize).is_some_and(|known| known == field))
}

impl HeaderOption {
    fn field_at(self, offset: u32, bits: u32) -> Option<&'static OptionField> {
        FIELDS
            .iter()
            .find(|field| (field.of, field.number, field.offset, field.bits) == (self.of, self.number, offset, bits))
    }

    /// The field that is exactly there.
    #[must_use]
    pub fn field(self) -> Option<&'static OptionField> {
        self.field_at(self.offset.checked_mul(8)?, self.length.checked_mul(8)?)
    }

    /// The field that is left of it under a mask (a number of its bytes, the first the most significant), and how far it is shifted.
    pub(super) fn masked_field(self, mask: u128) -> Option<(&'static OptionField, u32)> {
        let (low, ones) = (mask.trailing_zeros(), mask.count_ones());
        let contiguous = mask != 0 && mask.checked_shr(low)?.trailing_ones() == ones;
        let start = self.length.checked_mul(8)?.checked_sub(low + ones).filter(|_| contiguous)?;
        Some((self.field_at(self.offset.checked_mul(8)?.checked_add(start)?, ones)?, low))
    }

    /// What it holds.
    #[must_use]
    pub fn kind(self) -> Kind {
        match self.field() {
            _ if self.present => Kind::Boolean,
            Some(field) => field.kind,
            None => Kind::Integer,
        }
    }

    /// nft's word for the option, the header or the chunk.
    #[must_use]
    pub fn header(self) -> Option<&'static str> {
        HEADERS.iter().find(|(of, number, _)| (*of, *number) == (self.of, self.number)).map(|(.., name)| *name)
    }

    /// `tcp option maxseg size`; `None` where nft has no word.
    #[must_use]
    pub fn text(self) -> Option<String> {
        if self.present {
            return Some(match (self.of, self.header()) {
                (IPV6, Some(name)) => format!("exthdr {name}"),
                (TCP, Some(name)) => format!("tcp option {name}"),
                (TCP, None) => format!("tcp option {}", self.number),
                (IPV4, Some(name)) => format!("ip option {name}"),
                (SCTP, Some(name)) => format!("sctp chunk {name}"),
                _ => return None,
            });
        }
        if let Some(field) = self.field() {
            return Some(field.text());
        }
        (self.of == TCP).then(|| format!("tcp option @{},{},{}", self.number, self.offset * 8, self.length * 8))
    }
}

impl OptionField {
    /// nft's words for it.
    #[must_use]
    pub fn text(&self) -> String {
        let Self { header, name, .. } = self;
        match self.of {
            TCP if name.is_empty() => format!("tcp option {header} kind"),
            TCP => format!("tcp option {header} {name}"),
            IPV4 => format!("ip option {header} {name}"),
            SCTP => format!("sctp chunk {header} {name}"),
            _ => format!("{header} {name}"),
        }
    }
}

/// The field of an option, an extension header or a chunk by nft's words.
#[must_use]
pub(super) fn option_field(of: u32, header: &str, name: &str) -> Option<&'static OptionField> {
    FIELDS.iter().find(|field| field.of == of && field.header == header && field.name == name)
}

/// The number of an option, an extension header or a chunk by nft's word.
#[must_use]
pub(super) fn option_number(of: u32, header: &str) -> Option<u8> {
    HEADERS.iter().find(|(kind, _, name)| *kind == of && *name == header).map(|(_, number, _)| *number)
}
