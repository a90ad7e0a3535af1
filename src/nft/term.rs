//! What a rule compares or writes: fields of the packet, properties of packet, connection, route and socket, and what is made of them.

use super::constant;
use super::extension::OptionField;
use super::header::Field;
use super::kind::{Kind, Order};
use super::{HeaderOption, Load, Place};

/// A value of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Term {
    /// `NFT_META_*`
    Meta(u32),
    /// Another property.
    Load(Load),
    /// A known field of the packet.
    Field(&'static Field),
    /// Bits of the packet that are no field: base, offset, bits.
    Raw(u32, u32, u32),
    /// Bits of a value.
    Binary {
        /// Of what.
        of: Box<Term>,
        /// `&`, `^`, `|`, `<<`, `>>`
        sign: &'static str,
        /// With what; for shifts four bytes in the machine's order.
        with: Vec<u8>,
    },
    /// The same with its bytes in the other order, as nft keeps ranges of them.
    Turned(Box<Term>),
    /// A hash: of what, modulus, seed, added.
    Hash(Option<Box<Term>>, u32, Option<u32>, u32),
    /// A part of an option, or whether it is there.
    Option(HeaderOption),
    /// A field that does not fill its bytes, as it lies there: in so many bytes, shifted by so many bits.
    Part {
        /// Which.
        field: &'static Field,
        /// Bytes.
        bytes: u32,
        /// Bits.
        shift: u32,
    },
    /// The same of an option: what is loaded, the field, the shift.
    OptionPart(HeaderOption, &'static OptionField, u32),
    /// Several, one behind the other.
    Concat(Vec<Term>),
    /// A constant.
    Value(Vec<u8>),
    /// What a map makes of a value.
    Map(Box<Term>, String),
}

/// `NFT_META_*`, in the kernel's order.
const META: [(&str, Kind, Order); 35] = [
    ("length", Kind::Integer, Order::Host),
    ("protocol", Kind::EtherType, Order::Big),
    ("priority", Kind::ClassId, Order::Host),
    ("mark", Kind::Mark, Order::Host),
    ("iif", Kind::Index, Order::Host),
    ("oif", Kind::Index, Order::Host),
    ("iifname", Kind::IfName, Order::Host),
    ("oifname", Kind::IfName, Order::Host),
    ("iiftype", Kind::HardwareType, Order::Host),
    ("oiftype", Kind::HardwareType, Order::Host),
    ("skuid", Kind::Uid, Order::Host),
    ("skgid", Kind::Gid, Order::Host),
    ("nftrace", Kind::Integer, Order::Host),
    ("rtclassid", Kind::Realm, Order::Host),
    ("secmark", Kind::Integer, Order::Host),
    ("nfproto", Kind::Nfproto, Order::Host),
    ("l4proto", Kind::Protocol, Order::Big),
    ("ibrname", Kind::IfName, Order::Host),
    ("obrname", Kind::IfName, Order::Host),
    ("pkttype", Kind::PacketType, Order::Host),
    ("cpu", Kind::Integer, Order::Host),
    ("iifgroup", Kind::DeviceGroup, Order::Host),
    ("oifgroup", Kind::DeviceGroup, Order::Host),
    ("cgroup", Kind::Integer, Order::Host),
    ("random", Kind::Integer, Order::Big),
    ("ipsec", Kind::Boolean, Order::Host),
    ("iifkind", Kind::IfName, Order::Host),
    ("oifkind", Kind::IfName, Order::Host),
    ("ibrpvid", Kind::Integer, Order::Host),
    ("ibrvproto", Kind::EtherType, Order::Big),
    ("time", Kind::Date, Order::Host),
    ("day", Kind::Day, Order::Host),
    ("hour", Kind::Hour, Order::Host),
    ("sdif", Kind::Index, Order::Host),
    ("sdifname", Kind::IfName, Order::Host),
];

/// `NFT_CT_*`, in the kernel's order; an empty word is one that nft does not write any more.
const CT: [(&str, Kind, Order); 24] = [
    ("state", Kind::CtState, Order::Host),
    ("direction", Kind::CtDirection, Order::Host),
    ("status", Kind::CtStatus, Order::Host),
    ("mark", Kind::Mark, Order::Host),
    ("secmark", Kind::Integer, Order::Host),
    ("expiration", Kind::Time, Order::Host),
    ("helper", Kind::Text, Order::Host),
    ("l3proto", Kind::Nfproto, Order::Host),
    ("", Kind::Invalid, Order::Big),
    ("", Kind::Invalid, Order::Big),
    ("protocol", Kind::Protocol, Order::Big),
    ("proto-src", Kind::Port, Order::Big),
    ("proto-dst", Kind::Port, Order::Big),
    ("label", Kind::CtLabel, Order::Host),
    ("packets", Kind::Integer, Order::Host),
    ("bytes", Kind::Integer, Order::Host),
    ("avgpkt", Kind::Integer, Order::Host),
    ("zone", Kind::Integer, Order::Host),
    ("event", Kind::CtEvent, Order::Host),
    ("ip saddr", Kind::Ipv4, Order::Big),
    ("ip daddr", Kind::Ipv4, Order::Big),
    ("ip6 saddr", Kind::Ipv6, Order::Big),
    ("ip6 daddr", Kind::Ipv6, Order::Big),
    ("id", Kind::Integer, Order::Big),
];

fn meta(key: u32) -> Option<(&'static str, Kind, Order)> {
    META.get(usize::try_from(key).ok()?).copied()
}

fn ct(key: u32) -> Option<(&'static str, Kind, Order)> {
    CT.get(usize::try_from(key).ok()?).copied().filter(|(word, ..)| !word.is_empty())
}

/// The key of a property of the packet.
#[must_use]
pub fn meta_named(word: &str) -> Option<u32> {
    META.iter().position(|(known, ..)| *known == word).and_then(|place| u32::try_from(place).ok())
}

/// The key of a property of the connection.
#[must_use]
pub fn ct_named(word: &str) -> Option<u32> {
    CT.iter().position(|(known, ..)| *known == word && !word.is_empty()).and_then(|place| u32::try_from(place).ok())
}

/// `NFT_XFRM_KEY_*`, from 1.
const TRANSFORM: [&str; 6] = ["ip daddr", "ip6 daddr", "ip saddr", "ip6 saddr", "reqid", "spi"];

/// The key of a property of the transformation of IPsec.
#[must_use]
pub fn transform_named(word: &str) -> Option<u32> {
    TRANSFORM.iter().position(|known| *known == word).and_then(|place| u32::try_from(place + 1).ok())
}

/// `NFTA_FIB_F_PRESENT`
const PRESENT: u32 = 0x20;

impl Load {
    fn kind(self) -> (Kind, Order) {
        let host = |kind| (kind, Order::Host);
        match self {
            Self::Ct { key, .. } => ct(key).map_or((Kind::Invalid, Order::Big), |(_, kind, order)| (kind, order)),
            Self::Route { key: 0 } => host(Kind::Realm),
            Self::Route { key: 1 } => (Kind::Ipv4, Order::Big),
            Self::Route { key: 2 } => (Kind::Ipv6, Order::Big),
            Self::Route { key: 4 } => host(Kind::Boolean),
            Self::Fib { flags, .. } if flags & PRESENT != 0 => host(Kind::Boolean),
            Self::Fib { result: 1, .. } => host(Kind::Index),
            Self::Fib { result: 2, .. } => host(Kind::IfName),
            Self::Fib { result: 3, .. } => host(Kind::FibType),
            Self::Fingerprint { .. } => host(Kind::Text),
            Self::Transform { key: 1 | 3, .. } => (Kind::Ipv4, Order::Big),
            Self::Transform { key: 2 | 4, .. } => (Kind::Ipv6, Order::Big),
            Self::Transform { key: 6, .. } => (Kind::Integer, Order::Big),
            Self::Transform { .. } => host(Kind::Integer),
            Self::Socket { key: 1, .. } => host(Kind::Mark),
            Self::Socket { key: 3, .. } => host(Kind::ControlGroup),
            Self::Route { .. } | Self::Socket { .. } | Self::Number { .. } => host(Kind::Integer),
            Self::Fib { .. } => host(Kind::Invalid),
        }
    }

    fn text(self) -> Option<String> {
        Some(match self {
            Self::Ct { key, direction } => {
                let direction = match direction {
                    None => "",
                    Some(0) => "original ",
                    Some(1) => "reply ",
                    Some(_) => return None,
                };
                format!("ct {direction}{}", ct(key)?.0)
            }
            Self::Route { key } => {
                let words = ["rt classid", "rt ip nexthop", "rt ip6 nexthop", "rt mtu", "rt ipsec"];
                (*words.get(usize::try_from(key).ok()?)?).to_owned()
            }
            Self::Fib { result, flags } => {
                let known: [(u32, &str); 5] = [(1, "saddr"), (2, "daddr"), (4, "mark"), (8, "iif"), (0x10, "oif")];
                let bits = known.iter().fold(PRESENT, |bits, (bit, _)| bits | bit);
                if flags & !bits != 0 {
                    return None;
                }
                let asked: Vec<&str> =
                    known.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, word)| *word).collect();
                let result = ["oif", "oifname", "type"].get(usize::try_from(result).ok()?.checked_sub(1)?)?;
                format!("fib {} {result}", asked.join(" . "))
            }
            Self::Socket { key: 3, level } => format!("socket cgroupv2 level {}", level?),
            Self::Fingerprint { ttl, version } => {
                let ttl = [" ", " ttl loose ", " ttl skip "].get(usize::from(ttl))?;
                format!("osf{ttl}{}", if version { "version" } else { "name" })
            }
            Self::Transform { key, direction, number } => {
                let key = TRANSFORM.get(usize::try_from(key).ok()?.checked_sub(1)?)?;
                let direction = ["in", "out"].get(usize::from(direction))?;
                let number = if number == 0 { String::new() } else { format!("spnum {number} ") };
                format!("ipsec {direction} {number}{key}")
            }
            Self::Socket { key, .. } => {
                let words = ["socket transparent", "socket mark", "socket wildcard"];
                (*words.get(usize::try_from(key).ok()?)?).to_owned()
            }
            Self::Number { kind, modulus, offset } => {
                let kind = ["inc", "random"].get(usize::try_from(kind).ok()?)?;
                let offset = if offset == 0 { String::new() } else { format!(" offset {offset}") };
                format!("numgen {kind} mod {modulus}{offset}")
            }
        })
    }
}

/// How a part of a key is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// What it is.
    pub kind: Kind,
    /// The order in which its bytes stand.
    pub order: Order,
    /// Bytes that it takes, 0 where that is not known.
    pub bytes: usize,
    /// Bits by which its value is shifted to the left.
    pub shift: u32,
}

impl Term {
    /// What it is, and in which order its bytes stand.
    #[must_use]
    pub fn kind(&self, place: &Place<'_>) -> (Kind, Order) {
        match self {
            Self::Meta(key) => meta(*key).map_or((Kind::Invalid, Order::Host), |(_, kind, order)| (kind, order)),
            Self::Load(load) => load.kind(),
            Self::Field(field) => (field.kind, Order::Big),
            Self::Raw(..) => (Kind::Hexadecimal, Order::Big),
            Self::Binary { of, .. } => of.kind(place),
            Self::Turned(of) => match of.kind(place) {
                (kind, Order::Big) => (kind, Order::Host),
                (kind, Order::Host) => (kind, Order::Big),
            },
            Self::Hash(..) => (Kind::Integer, Order::Host),
            Self::Part { field, .. } => (field.kind, Order::Big),
            Self::OptionPart(_, field, _) => (field.kind, Order::Big),
            Self::Option(option) => (option.kind(), Order::Big),
            Self::Concat(_) | Self::Value(_) => (Kind::Invalid, Order::Big),
            Self::Map(_, set) => {
                let data = place.set(set).and_then(|set| Kind::from_number(set.data?));
                data.map_or((Kind::Invalid, Order::Big), |kind| (kind, kind.order()))
            }
        }
    }

    /// How it is laid out as a key, part by part.
    #[must_use]
    pub fn slots(&self, place: &Place<'_>) -> Vec<Slot> {
        match self {
            Self::Concat(parts) => parts.iter().map(|part| part.slot(place)).collect(),
            one => vec![one.slot(place)],
        }
    }

    fn slot(&self, place: &Place<'_>) -> Slot {
        let (kind, order) = self.kind(place);
        let shift = match self {
            Self::Part { shift, .. } | Self::OptionPart(_, _, shift) => *shift,
            _ => 0,
        };
        let part = matches!(self, Self::Part { .. });
        let bytes = if kind.bytes() == 0 || shift != 0 || part { self.bytes(place) } else { kind.bytes() };
        Slot { kind, order, bytes, shift }
    }

    /// Bytes that it takes in registers, where that is known.
    #[must_use]
    pub fn bytes(&self, place: &Place<'_>) -> usize {
        match self {
            Self::Field(field) => (field.bits as usize).div_ceil(8),
            Self::Raw(_, _, bits) => (*bits as usize).div_ceil(8),
            Self::Binary { of, .. } | Self::Turned(of) => of.bytes(place),
            Self::Load(Load::Ct { key: 14..=16, .. }) => 8,
            Self::Load(Load::Fingerprint { .. } | Load::Ct { key: 6, .. }) => 16,
            Self::Option(option) | Self::OptionPart(option, ..) => option.length as usize,
            Self::Part { bytes, .. } => *bytes as usize,
            Self::Value(value) => value.len(),
            other => match other.kind(place).0.bytes() {
                0 => 4,
                known => known,
            },
        }
    }

    /// In nft's words; `None` where it has none.
    #[must_use]
    pub fn text(&self, place: &Place<'_>) -> Option<String> {
        Some(match self {
            Self::Meta(key) => match *key {
                4..=7 | 21 | 22 => meta(*key)?.0.to_owned(),
                key => format!("meta {}", meta(key)?.0),
            },
            Self::Load(load) => load.text()?,
            Self::Field(field) | Self::Part { field, .. } => format!("{} {}", field.header, field.name),
            Self::OptionPart(_, field, _) => field.text(),
            Self::Raw(base, offset, bits) => {
                let base = ["ll", "nh", "th", "ih"].get(*base as usize)?;
                format!("@{base},{offset},{bits}")
            }
            Self::Binary { of, sign, with } => {
                let with = match *sign {
                    "<<" | ">>" => u32::from_ne_bytes(*with.first_chunk()?).to_string(),
                    _ => {
                        let (kind, order) = of.kind(place);
                        let bits = super::kind::number(with, order).filter(|_| kind.is_flags());
                        match bits.and_then(|bits| constant::flags(kind, bits)) {
                            Some(names) if names.len() > 1 => format!("({})", names.join(" | ")),
                            Some(names) => names.concat(),
                            None => constant::text(kind, with, order, place.devices)?,
                        }
                    }
                };
                let inner = of.text(place)?;
                let inner = if of.binds_less(sign) { format!("({inner})") } else { inner };
                format!("{inner} {sign} {with}")
            }
            Self::Turned(of) => of.text(place)?,
            Self::Option(option) => option.text()?,
            Self::Hash(of, modulus, seed, offset) => {
                let of = match of {
                    Some(of) => format!("jhash {}", of.text(place)?),
                    None => "symhash".to_owned(),
                };
                let seed = seed.map_or(String::new(), |seed| format!(" seed 0x{seed:x}"));
                let offset = if *offset == 0 { String::new() } else { format!(" offset {offset}") };
                format!("{of} mod {modulus}{seed}{offset}")
            }
            Self::Concat(parts) => parts.iter().map(|part| part.text(place)).collect::<Option<Vec<_>>>()?.join(" . "),
            Self::Value(_) => return None,
            Self::Map(key, set) => format!("{} map {}", key.text(place)?, place.map_text(set, key)?),
        })
    }

    /// Whether its own sign would take less than what stands before a sign behind it, so that nft puts it into brackets.
    fn binds_less(&self, behind: &str) -> bool {
        const SIGNS: [&[&str]; 4] = [&["<<", ">>"], &["&"], &["^"], &["|"]];
        let rank = |sign: &str| SIGNS.iter().position(|signs| signs.contains(&sign));
        match self {
            Self::Binary { sign, .. } => rank(sign) > rank(behind),
            Self::Turned(of) => of.binds_less(behind),
            _ => false,
        }
    }

    /// In nft's words, a constant by the kind of that which it is written to or compared with.
    #[must_use]
    pub fn text_as(&self, kind: Kind, order: Order, place: &Place<'_>) -> Option<String> {
        match self {
            Self::Value(value) => constant::text(kind, value, order, place.devices),
            other => other.text(place),
        }
    }
}
