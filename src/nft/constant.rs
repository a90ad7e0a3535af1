//! Values in nft's words: numbers, addresses, names of flags and types (as nft 1.0.6 prints them without options).

use std::net::{Ipv4Addr, Ipv6Addr};

use super::kind::{Kind, Order, number};
use crate::packet::exact_text;

type Names = &'static [(u128, &'static str)];

/// Names of protocols, as Debian's `/etc/protocols` has them.
const PROTOCOLS: Names = &[
    (0, "ip"),
    (1, "icmp"),
    (2, "igmp"),
    (3, "ggp"),
    (4, "ipencap"),
    (5, "st"),
    (6, "tcp"),
    (8, "egp"),
    (9, "igp"),
    (12, "pup"),
    (17, "udp"),
    (20, "hmp"),
    (22, "xns-idp"),
    (27, "rdp"),
    (29, "iso-tp4"),
    (33, "dccp"),
    (36, "xtp"),
    (37, "ddp"),
    (38, "idpr-cmtp"),
    (41, "ipv6"),
    (43, "ipv6-route"),
    (44, "ipv6-frag"),
    (45, "idrp"),
    (46, "rsvp"),
    (47, "gre"),
    (50, "esp"),
    (51, "ah"),
    (57, "skip"),
    (58, "ipv6-icmp"),
    (59, "ipv6-nonxt"),
    (60, "ipv6-opts"),
    (73, "rspf"),
    (81, "vmtp"),
    (88, "eigrp"),
    (89, "ospf"),
    (93, "ax.25"),
    (94, "ipip"),
    (97, "etherip"),
    (98, "encap"),
    (103, "pim"),
    (108, "ipcomp"),
    (112, "vrrp"),
    (115, "l2tp"),
    (124, "isis"),
    (132, "sctp"),
    (133, "fc"),
    (135, "mobility-header"),
    (136, "udplite"),
    (137, "mpls-in-ip"),
    (138, "manet"),
    (139, "hip"),
    (140, "shim6"),
    (141, "wesp"),
    (142, "rohc"),
    (143, "ethernet"),
    (262, "mptcp"),
];

const IGMP: Names = &[
    (0x11, "membership-query"),
    (0x12, "membership-report-v1"),
    (0x16, "membership-report-v2"),
    (0x17, "leave-group"),
    (0x22, "membership-report-v3"),
];

const DCCP: Names = &[
    (0, "request"),
    (1, "response"),
    (2, "data"),
    (3, "ack"),
    (4, "dataack"),
    (5, "closereq"),
    (6, "close"),
    (7, "reset"),
    (8, "sync"),
    (9, "syncack"),
];

const MOBILITY: Names = &[
    (0, "binding-refresh-request"),
    (1, "home-test-init"),
    (2, "careof-test-init"),
    (3, "home-test"),
    (4, "careof-test"),
    (5, "binding-update"),
    (6, "binding-acknowledgement"),
    (7, "binding-error"),
    (8, "fast-binding-update"),
    (9, "fast-binding-acknowledgement"),
    (10, "fast-binding-advertisement"),
    (11, "experimental-mobility-header"),
    (12, "home-agent-switch-message"),
];

const ETHER_TYPES: Names = &[(0x800, "ip"), (0x806, "arp"), (0x86dd, "ip6"), (0x8100, "8021q"), (0x88a8, "8021ad")];

const ARP: Names =
    &[(1, "request"), (2, "reply"), (3, "rrequest"), (4, "rreply"), (8, "inrequest"), (9, "inreply"), (10, "nak")];

const ICMP: Names = &[
    (0, "echo-reply"),
    (3, "destination-unreachable"),
    (4, "source-quench"),
    (5, "redirect"),
    (8, "echo-request"),
    (9, "router-advertisement"),
    (10, "router-solicitation"),
    (11, "time-exceeded"),
    (12, "parameter-problem"),
    (13, "timestamp-request"),
    (14, "timestamp-reply"),
    (15, "info-request"),
    (16, "info-reply"),
    (17, "address-mask-request"),
    (18, "address-mask-reply"),
];

const ICMPV6: Names = &[
    (1, "destination-unreachable"),
    (2, "packet-too-big"),
    (3, "time-exceeded"),
    (4, "parameter-problem"),
    (128, "echo-request"),
    (129, "echo-reply"),
    (130, "mld-listener-query"),
    (131, "mld-listener-report"),
    (132, "mld-listener-done"),
    (133, "nd-router-solicit"),
    (134, "nd-router-advert"),
    (135, "nd-neighbor-solicit"),
    (136, "nd-neighbor-advert"),
    (137, "nd-redirect"),
    (138, "router-renumbering"),
    (141, "ind-neighbor-solicit"),
    (142, "ind-neighbor-advert"),
    (143, "mld2-listener-report"),
];

const DSCP: Names = &[
    (0, "cs0"),
    (8, "cs1"),
    (16, "cs2"),
    (24, "cs3"),
    (32, "cs4"),
    (40, "cs5"),
    (48, "cs6"),
    (56, "cs7"),
    (1, "lephb"),
    (10, "af11"),
    (12, "af12"),
    (14, "af13"),
    (18, "af21"),
    (20, "af22"),
    (22, "af23"),
    (26, "af31"),
    (28, "af32"),
    (30, "af33"),
    (34, "af41"),
    (36, "af42"),
    (38, "af43"),
    (44, "va"),
    (46, "ef"),
];

const DAYS: Names =
    &[(0, "Sunday"), (1, "Monday"), (2, "Tuesday"), (3, "Wednesday"), (4, "Thursday"), (5, "Friday"), (6, "Saturday")];

/// The names that values of a kind have.
fn names(kind: Kind) -> Names {
    match kind {
        Kind::Nfproto => &[(2, "ipv4"), (10, "ipv6")],
        Kind::EtherType => ETHER_TYPES,
        Kind::ArpOperation => ARP,
        Kind::Protocol => PROTOCOLS,
        Kind::IcmpType => ICMP,
        Kind::IgmpType => IGMP,
        Kind::DccpType => DCCP,
        Kind::MobilityType => MOBILITY,
        Kind::Icmpv6Type => ICMPV6,
        Kind::TcpFlag => &[
            (1, "fin"),
            (2, "syn"),
            (4, "rst"),
            (8, "psh"),
            (0x10, "ack"),
            (0x20, "urg"),
            (0x40, "ecn"),
            (0x80, "cwr"),
        ],
        Kind::CtState => &[(1, "invalid"), (2, "established"), (4, "related"), (8, "new"), (0x40, "untracked")],
        Kind::CtStatus => &[
            (1, "expected"),
            (2, "seen-reply"),
            (4, "assured"),
            (8, "confirmed"),
            (0x10, "snat"),
            (0x20, "dnat"),
            (0x200, "dying"),
        ],
        Kind::CtDirection => &[(0, "original"), (1, "reply")],
        Kind::CtEvent => &[
            (1, "new"),
            (2, "related"),
            (4, "destroy"),
            (8, "reply"),
            (0x10, "assured"),
            (0x20, "protoinfo"),
            (0x40, "helper"),
            (0x80, "mark"),
            (0x100, "seqadj"),
            (0x200, "secmark"),
            (0x400, "label"),
        ],
        Kind::PacketType => &[(0, "host"), (1, "broadcast"), (2, "multicast"), (3, "other")],
        Kind::IcmpCode => &[
            (0, "net-unreachable"),
            (1, "host-unreachable"),
            (2, "prot-unreachable"),
            (3, "port-unreachable"),
            (4, "frag-needed"),
            (9, "net-prohibited"),
            (10, "host-prohibited"),
            (13, "admin-prohibited"),
        ],
        Kind::Icmpv6Code => &[
            (0, "no-route"),
            (1, "admin-prohibited"),
            (3, "addr-unreachable"),
            (4, "port-unreachable"),
            (5, "policy-fail"),
            (6, "reject-route"),
        ],
        Kind::IcmpxCode => {
            &[(0, "no-route"), (1, "port-unreachable"), (2, "host-unreachable"), (3, "admin-prohibited")]
        }
        Kind::FibType => &[
            (0, "unspec"),
            (1, "unicast"),
            (2, "local"),
            (3, "broadcast"),
            (4, "anycast"),
            (5, "multicast"),
            (6, "blackhole"),
            (7, "unreachable"),
            (8, "prohibit"),
        ],
        Kind::HardwareType => &[
            (1, "ether"),
            (512, "ppp"),
            (768, "ipip"),
            (769, "ipip6"),
            (772, "loopback"),
            (776, "sit"),
            (778, "ipgre"),
        ],
        Kind::Boolean => &[(0, "missing"), (1, "exists")],
        Kind::Dscp => DSCP,
        Kind::Ecn => &[(0, "not-ect"), (1, "ect1"), (2, "ect0"), (3, "ce")],
        Kind::DeviceGroup => &[(0, "default")],
        Kind::Realm => &[(0, "cosmos")],
        Kind::Day => DAYS,
        _ => &[],
    }
}

/// The value that a word stands for among the names of a kind.
pub(super) fn named(kind: Kind, word: &str) -> Option<u128> {
    names(kind).iter().find(|(_, name)| *name == word).map(|(value, _)| *value)
}

/// The bits of a value that may have several, each by its name, the lowest first.
pub(super) fn flags(kind: Kind, value: u128) -> Option<Vec<String>> {
    if kind == Kind::CtLabel {
        // The names of labels are known to whoever wrote them only.
        let set = (0..u128::BITS).filter(|bit| value >> bit & 1 != 0);
        return Some(set.map(|bit| bit.to_string()).collect());
    }
    let names = names(kind);
    let named = |bit: u128| {
        let name = names.iter().find(|(known, _)| *known == bit).map(|(_, name)| (*name).to_owned());
        // A bit that has no name stands among the others as a number.
        name.unwrap_or_else(|| format!("0x{bit:x}"))
    };
    let set = (0..u128::BITS).map(|place| 1 << place).filter(|bit| value & bit != 0);
    (value != 0).then(|| set.map(named).collect())
}

/// A value in nft's words; `None` where nft would need what is not known here.
pub(super) fn text(kind: Kind, bytes: &[u8], order: Order, devices: &[(u32, String)]) -> Option<String> {
    if kind.is_text() {
        return Some(device(bytes));
    }
    let value = number(bytes, order)?;
    if kind.is_flags() && value != 0 {
        return flags(kind, value).map(|names| names.join(","));
    }
    let named = names(kind).iter().find(|(known, _)| *known == value).map(|(_, name)| (*name).to_owned());
    Some(match kind {
        Kind::Ipv4 => Ipv4Addr::from(u32::try_from(value).ok()?).to_string(),
        Kind::Ipv6 => ipv6(Ipv6Addr::from(value)),
        Kind::Ether | Kind::LinkAddress => bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":"),
        Kind::Mark => format!("0x{value:08x}"),
        Kind::TcpFlag | Kind::CtState | Kind::CtStatus | Kind::CtEvent => format!("0x{value:x}"),
        Kind::Hexadecimal | Kind::Bitmask => format!("0x{value:x}"),
        Kind::DeviceGroup | Kind::Realm => named.map_or_else(|| value.to_string(), |name| format!("\"{name}\"")),
        Kind::EtherType => named.unwrap_or_else(|| format!("0x{value:04x}")),
        Kind::Dscp | Kind::Ecn => named.unwrap_or_else(|| format!("0x{value:02x}")),
        Kind::Day => format!("\"{}\"", named?),
        Kind::Time => time(u64::try_from(value).ok()?),
        Kind::Index => {
            let known = devices.iter().find(|(index, _)| u128::from(*index) == value);
            match known {
                Some((_, name)) => format!("\"{name}\""),
                // The first device of every namespace.
                None if value == 1 => "\"lo\"".to_owned(),
                None => value.to_string(),
            }
        }
        Kind::ClassId => match value {
            0 => "none".to_owned(),
            0xffff_ffff => "root".to_owned(),
            _ => format!("{:x}:{:x}", value >> 16, value & 0xffff),
        },
        Kind::Hour => hour(value),
        Kind::Date => date(value)?,
        // A group that nft does not find below its own root stands as its number.
        Kind::ControlGroup => value.to_string(),
        Kind::CtLabel | Kind::Invalid | Kind::Verdict => return None,
        _ => named.unwrap_or_else(|| value.to_string()),
    })
}

/// A device's name in quotation marks.
fn device(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let name = exact_text(bytes.get(..end).unwrap_or_default());
    // A star at the end is no wildcard when it stands in the name itself.
    match name.strip_suffix('*') {
        Some(start) => format!("\"{start}\\*\""),
        None => format!("\"{name}\""),
    }
}

/// As the C library's `inet_ntop` writes it: addresses that end like one of IPv4 keep their dots.
fn ipv6(address: Ipv6Addr) -> String {
    match address.segments() {
        [0, 0, 0, 0, 0, 0, high, _] if high != 0 => {
            let [.., a, b, c, d] = address.octets();
            format!("::{a}.{b}.{c}.{d}")
        }
        _ => address.to_string(),
    }
}

/// Milliseconds in days, hours, minutes, seconds.
pub(super) fn time(milliseconds: u64) -> String {
    if milliseconds == 0 {
        return "0s".to_owned();
    }
    let (seconds, rest) = (milliseconds / 1000, milliseconds % 1000);
    let parts = [
        (seconds / 86_400, "d"),
        (seconds / 3600 % 24, "h"),
        (seconds / 60 % 60, "m"),
        (seconds % 60, "s"),
        (rest, "ms"),
    ];
    parts.iter().filter(|(count, _)| *count > 0).map(|(count, unit)| format!("{count}{unit}")).collect()
}

/// A range in nft's words: one value, the length of a common beginning, or both ends.
pub(super) fn range(kind: Kind, from: &[u8], to: &[u8], order: Order, devices: &[(u32, String)]) -> Option<String> {
    let one = |bytes: &[u8]| text(kind, bytes, order, devices);
    if from == to {
        return one(from);
    }
    if kind.is_text() {
        // Everything that begins so; other ranges of texts have no words.
        let start = from.iter().position(|byte| *byte == 0)?;
        let (beginning, free) = to.split_at_checked(start)?;
        let all = from.starts_with(beginning) && free.iter().all(|byte| *byte == 0xff);
        let plain = from.iter().skip(start).all(|byte| *byte == 0);
        return (all && plain).then(|| format!("\"{}*\"", exact_text(beginning)));
    }
    let bits = u32::try_from(from.len()).ok()? * 8;
    let (low, high) = (number(from, order)?, number(to, order)?);
    let differ = low ^ high;
    let whole = (differ & differ.wrapping_add(1)) == 0 && low & differ == 0;
    if kind.has_prefixes() && whole {
        let free = u128::BITS - differ.leading_zeros();
        return Some(format!("{}/{}", one(from)?, bits.checked_sub(free)?));
    }
    Some(format!("{}-{}", numeric(kind, from, order, devices)?, numeric(kind, to, order, devices)?))
}

/// An end of a range: nft writes numbers there, not names, and times in seconds.
pub(super) fn numeric(kind: Kind, bytes: &[u8], order: Order, devices: &[(u32, String)]) -> Option<String> {
    let value = number(bytes, order)?;
    Some(match kind {
        Kind::Time => format!("{}s", value / 1000),
        Kind::EtherType => format!("0x{value:04x}"),
        Kind::Dscp | Kind::Ecn => format!("0x{value:02x}"),
        Kind::TcpFlag | Kind::CtState | Kind::CtStatus | Kind::CtEvent => format!("0x{value:x}"),
        Kind::ArpOperation
        | Kind::Protocol
        | Kind::IcmpCode
        | Kind::Icmpv6Code
        | Kind::IcmpxCode
        | Kind::IcmpType
        | Kind::Icmpv6Type
        | Kind::IgmpType
        | Kind::DccpType
        | Kind::MobilityType
        | Kind::HardwareType
        | Kind::PacketType
        | Kind::CtDirection
        | Kind::FibType
        | Kind::Day
        | Kind::Realm
        | Kind::DeviceGroup
        | Kind::Nfproto => value.to_string(),
        kind => text(kind, bytes, order, devices)?,
    })
}

/// Seconds of the day, as nft writes them where the clock is that of UTC.
fn hour(seconds: u128) -> String {
    let (hours, minutes, seconds) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    let seconds = if seconds == 0 { String::new() } else { format!(":{seconds:02}") };
    format!("\"{hours:02}:{minutes:02}{seconds}\"")
}

/// Nanoseconds since 1970, as nft writes them where the clock is that of UTC.
fn date(nanoseconds: u128) -> Option<String> {
    const DAY: u64 = 86_400;
    let seconds = u64::try_from(nanoseconds / 1_000_000_000).ok()?;
    let (days, rest) = (seconds / DAY, seconds % DAY);
    // Years are counted from March, so that the day that is not always there is the last one; eras have 400 of them.
    let shifted = days + 719_468;
    let (era, day) = (shifted / 146_097, shifted % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let of_month = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    Some(format!("\"{year}-{month:02}-{of_month:02} {:02}:{:02}:{:02}\"", rest / 3600, rest / 60 % 60, rest % 60))
}
