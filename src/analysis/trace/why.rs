//! Why a rule does not match a packet, or why that cannot be known: the part of its condition that says so, in words.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::asked::STATES;
use crate::analysis::eval::At;
use crate::analysis::ipsets::IpSets;
use crate::analysis::native::branches;
use crate::model::Snapshot;
use crate::packet::{Answer, Condition, Device, DeviceName, Field, Known, Packet, Wanted};

/// Values of one field that are named before they are counted.
const MOST: usize = 5;

/// Tells why rules of a snapshot match or do not.
#[derive(Debug)]
pub struct Reasons<'a> {
    sets: IpSets<'a>,
}

impl<'a> Reasons<'a> {
    /// For the rules of this snapshot.
    #[must_use]
    pub fn of(snapshot: &'a Snapshot) -> Self {
        Self { sets: IpSets::of(snapshot) }
    }

    fn conditions(&self, at: &At<'_>) -> Vec<Condition> {
        let Some((_, rule)) = at.rule else { return Vec::new() };
        let family = at.ruleset.family;
        branches(family, at.table, rule).iter().map(|branch| self.sets.condition(&branch.reading, family)).collect()
    }

    /// Why a rule does not match the packet; `None` where it does, or may.
    #[must_use]
    pub fn why_not(&self, at: &At<'_>, packet: &Packet) -> Option<String> {
        let conditions = self.conditions(at);
        match conditions.as_slice() {
            [only] => why_not(only, packet),
            several if several.iter().all(|one| one.ask(packet) == Answer::No) => {
                Some("nothing in the map is for it".to_owned())
            }
            _ => None,
        }
    }

    /// Why it cannot be known whether a rule matches the packet; `None` where it is known.
    #[must_use]
    pub fn why_unknown(&self, at: &At<'_>, packet: &Packet) -> Option<String> {
        self.conditions(at).iter().find_map(|condition| why_unknown(condition, packet))
    }
}

/// Why a condition does not hold: the first part of it that says no. `None` where it holds, or may.
#[must_use]
pub fn why_not(condition: &Condition, packet: &Packet) -> Option<String> {
    if condition.ask(packet) != Answer::No {
        return None;
    }
    Some(match condition {
        Condition::All(parts) => parts.iter().find_map(|part| why_not(part, packet))?,
        Condition::Any(parts) => none_of(parts, packet),
        Condition::Not(inner) => why_yes(inner, packet),
        elementary => says_no(elementary, packet),
    })
}

/// Why a condition holds, which is why its opposite does not.
fn why_yes(condition: &Condition, packet: &Packet) -> String {
    let holds = |part: &&Condition| part.ask(packet) == Answer::Yes;
    match condition {
        Condition::All(parts) => {
            let all: Vec<String> = parts.iter().map(|part| why_yes(part, packet)).collect();
            all.join(" and ")
        }
        Condition::Any(parts) => parts.iter().find(holds).map_or_else(String::new, |part| why_yes(part, packet)),
        Condition::Not(inner) => why_not(inner, packet).unwrap_or_default(),
        Condition::Range(field, from, to) if from == to => is(*field, packet),
        Condition::Range(field, from, to) => {
            let both = [from, to].map(|value| number(*field, *value, packet));
            format!("{}, within {} to {}", is(*field, packet), both[0], both[1])
        }
        Condition::Masked { field, mask, value } => {
            let net = prefix(*field, *mask, *value, packet).filter(|net| net.contains('/'));
            net.map_or_else(|| is(*field, packet), |net| format!("{}, within {net}", is(*field, packet)))
        }
        Condition::AnyBit(field, _) => is(*field, packet),
        Condition::Has(field) => format!("it has a {}", name(*field)),
        Condition::Device { device, .. } => by_device(*device, packet),
        Condition::Owned => "a process of the workload sends it".to_owned(),
        Condition::InGroup(from, to) => format!("one of its groups is {}", span(*from, *to)),
        Condition::Local { destination } => format!("its {} is an address of the workload", end(*destination)),
        Condition::Ipv6(ipv6) => format!("it is a packet of {}", family(*ipv6)),
        Condition::Always | Condition::Opaque(_) | Condition::Numbered { .. } => "every packet is meant".to_owned(),
    }
}

/// A part that asks one thing, and says no.
fn says_no(condition: &Condition, packet: &Packet) -> String {
    match condition {
        Condition::Range(field, ..) | Condition::Masked { field, .. } | Condition::AnyBit(field, _)
            if packet.field(*field) == Known::Absent =>
        {
            absent(*field)
        }
        Condition::Masked { field: Field::Socket, .. } => "it is for no such socket".to_owned(),
        Condition::Has(field) => absent(*field),
        Condition::Range(field, ..) | Condition::Masked { field, .. } | Condition::AnyBit(field, _) => {
            format!("{}, not {}", is(*field, packet), wanted(condition, packet))
        }
        Condition::Device { device, name, prefix } => {
            let plus = if *prefix { "+" } else { "" };
            format!("{}, not {name}{plus}", by_device(*device, packet))
        }
        Condition::Owned => "no process of the workload sends it".to_owned(),
        Condition::InGroup(from, to) => format!("none of its groups is {}", span(*from, *to)),
        Condition::Local { destination } => format!("its {} is no address of the workload", end(*destination)),
        Condition::Ipv6(ipv6) => format!("it is a packet of {}", family(!*ipv6)),
        _ => "it asks for something else".to_owned(),
    }
}

/// None of several holds: values of one field are named together.
fn none_of(parts: &[Condition], packet: &Packet) -> String {
    let field = |part: &Condition| match part {
        Condition::Range(field, ..) | Condition::Masked { field, .. } | Condition::AnyBit(field, _) => Some(*field),
        _ => None,
    };
    let first = parts.first().and_then(field);
    let Some(first) = first.filter(|first| parts.iter().all(|part| field(part) == Some(*first))) else {
        let mut reasons: Vec<String> = parts.iter().filter_map(|part| why_not(part, packet)).collect();
        reasons.dedup();
        reasons.truncate(2);
        return if reasons.is_empty() { "nothing in the set is for it".to_owned() } else { reasons.join(" and ") };
    };
    if packet.field(first) == Known::Absent {
        return absent(first);
    }
    if parts.len() > MOST {
        return format!("{}, none of {} that are asked for", is(first, packet), parts.len());
    }
    let all: Vec<String> = parts.iter().map(|part| wanted(part, packet)).collect();
    let text = match all.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => String::new(),
    };
    format!("{}, not {text}", is(first, packet))
}

/// Why it cannot be known whether a condition holds: what it asks for that is not known. `None` where it is known.
#[must_use]
pub fn why_unknown(condition: &Condition, packet: &Packet) -> Option<String> {
    if condition.ask(packet) != Answer::CannotKnow {
        return None;
    }
    Some(match condition {
        Condition::All(parts) | Condition::Any(parts) => parts.iter().find_map(|part| why_unknown(part, packet))?,
        Condition::Not(inner) => why_unknown(inner, packet)?,
        Condition::Range(field, ..)
        | Condition::Masked { field, .. }
        | Condition::AnyBit(field, _)
        | Condition::Has(field) => format!("its {} is not known", name(*field)),
        Condition::Device { .. } => "its device is not known".to_owned(),
        Condition::Owned => "its owner is not known".to_owned(),
        Condition::InGroup(..) => "its groups are not known".to_owned(),
        Condition::Local { destination } => format!("whose address its {} is is not known", end(*destination)),
        Condition::Ipv6(_) => "its family is not known".to_owned(),
        Condition::Always => return None,
        Condition::Opaque(what) => format!("it hangs on {what}"),
        Condition::Numbered { index, .. } => format!("which device has the number {index} is not known"),
    })
}

fn span(from: u32, to: u32) -> String {
    if from == to { from.to_string() } else { format!("{from} to {to}") }
}

fn end(destination: bool) -> &'static str {
    if destination { "destination" } else { "source" }
}

fn family(ipv6: bool) -> &'static str {
    if ipv6 { "IPv6" } else { "IPv4" }
}

fn absent(field: Field) -> String {
    match field {
        Field::Uid | Field::Gid => "no process of the workload sends it".to_owned(),
        Field::ConnectionMark => "it is not tracked".to_owned(),
        other => format!("it has no {}", name(other)),
    }
}

/// `destination port is 80`
fn is(field: Field, packet: &Packet) -> String {
    match packet.field(field) {
        Known::Is(value) => format!("{} is {}", name(field), number(field, value, packet)),
        Known::Absent => absent(field),
        Known::Unknown => format!("{} is not known", name(field)),
    }
}

/// What is asked for: `15001`, `1 to 1023`, `10.0.0.0/8`, `established or related`.
fn wanted(condition: &Condition, packet: &Packet) -> String {
    match condition {
        Condition::Range(field, from, to) if from == to => number(*field, *from, packet),
        Condition::Range(field, from, to) => {
            format!("{} to {}", number(*field, *from, packet), number(*field, *to, packet))
        }
        Condition::Masked { field, mask, value } => {
            prefix(*field, *mask, *value, packet).unwrap_or_else(|| format!("{value:#x} of the bits {mask:#x}"))
        }
        Condition::AnyBit(Field::State, mask) => {
            let names: Vec<&str> =
                STATES.iter().filter(|(_, bit)| mask & u128::from(*bit) != 0).map(|(word, _)| *word).collect();
            if names.is_empty() { format!("{mask:#x}") } else { names.join(" or ") }
        }
        Condition::AnyBit(Field::Lookup(_), mask) => types(*mask),
        Condition::AnyBit(_, mask) => format!("any bit of {mask:#x}"),
        _ => String::new(),
    }
}

/// `10.0.0.0/8`, where it is a prefix of an address.
fn prefix(field: Field, mask: u128, value: u128, packet: &Packet) -> Option<String> {
    let bits = width(field, packet)?;
    let ones = (mask << (128 - bits)).leading_ones();
    let is_prefix = ones == mask.count_ones();
    let address = number(field, value, packet);
    is_prefix.then(|| if ones == bits { address } else { format!("{address}/{ones}") })
}

/// Bits of an address.
fn width(field: Field, packet: &Packet) -> Option<u32> {
    is_address(field).then(|| if is_ipv6(packet) { 128 } else { 32 })
}

fn is_address(field: Field) -> bool {
    matches!(
        field,
        Field::Source
            | Field::Destination
            | Field::OriginalSource
            | Field::OriginalDestination
            | Field::ReplySource
            | Field::ReplyDestination
    )
}

fn is_ipv6(packet: &Packet) -> bool {
    matches!((packet.destination, packet.source), (Known::Is(IpAddr::V6(_)), _) | (_, Known::Is(IpAddr::V6(_))))
}

fn number(field: Field, value: u128, packet: &Packet) -> String {
    match field {
        _ if is_address(field) && is_ipv6(packet) => Ipv6Addr::from(value).to_string(),
        _ if is_address(field) => {
            u32::try_from(value).map_or_else(|_| value.to_string(), |value| Ipv4Addr::from(value).to_string())
        }
        Field::Mark | Field::ConnectionMark => format!("{value:#x}"),
        Field::Protocol | Field::ConnectionProtocol => match value {
            6 => "TCP".to_owned(),
            17 => "UDP".to_owned(),
            1 => "ICMP".to_owned(),
            58 => "ICMPv6".to_owned(),
            other => other.to_string(),
        },
        Field::State => {
            let word = STATES.iter().find(|(_, bit)| u128::from(*bit) == value);
            word.map_or_else(|| format!("{value:#x}"), |(word, _)| (*word).to_owned())
        }
        Field::SourceMac => {
            let [_, _, mac @ ..] = u64::try_from(value).unwrap_or_default().to_be_bytes();
            mac.map(|byte| format!("{byte:02x}")).join(":")
        }
        Field::TcpFlags | Field::ConnectionStatus | Field::TrafficClass => format!("{value:#x}"),
        Field::Lookup(lookup) if lookup.wanted != Wanted::Device => types(value),
        _ => value.to_string(),
    }
}

/// Types of addresses, by their bits.
fn types(bits: u128) -> String {
    let named = crate::xt::matches::ADDRESS_TYPES.iter().enumerate().filter(|(bit, _)| bits & 1 << bit != 0);
    named.map(|(_, name)| name.to_ascii_lowercase()).collect::<Vec<_>>().join(" or ")
}

fn by_device(device: Device, packet: &Packet) -> String {
    let (known, verb, none) = match device {
        Device::Input => (&packet.input, "it comes in by", "it comes in by no device"),
        Device::Output => (&packet.output, "it leaves by", "it leaves by no device yet"),
        Device::BridgeInput => (&packet.bridge_input, "it comes in by the bridge's port", "it comes over no bridge"),
        Device::BridgeOutput => (&packet.bridge_output, "it leaves by the bridge's port", "it leaves over no bridge"),
    };
    match known {
        Known::Is(name) => format!("{verb} {}", DeviceName::as_str(name)),
        Known::Absent => none.to_owned(),
        Known::Unknown => "its device is not known".to_owned(),
    }
}

fn name(field: Field) -> &'static str {
    match field {
        Field::Protocol => "protocol",
        Field::Source => "source",
        Field::Destination => "destination",
        Field::SourcePort => "source port",
        Field::DestinationPort => "destination port",
        Field::Uid => "UID",
        Field::Gid => "GID",
        Field::Mark => "mark",
        Field::ConnectionMark => "connection mark",
        Field::State => "state",
        Field::Length => "length",
        Field::HopLimit => "TTL",
        Field::TrafficClass => "traffic class",
        Field::TcpFlags => "set of TCP flags",
        Field::MaximumSegment => "MSS",
        Field::IcmpType => "ICMP type",
        Field::IcmpCode => "ICMP code",
        Field::DccpType => "DCCP type",
        Field::MobilityType => "mobility type",
        Field::AhSpi | Field::EspSpi => "SPI",
        Field::CompressionIndex => "CPI",
        Field::SourceMac => "source MAC",
        Field::PacketType => "packet type",
        Field::InputGroup => "group of the device it came in by",
        Field::OutputGroup => "group of the device it leaves by",
        Field::Cpu => "CPU",
        Field::CgroupClass => "cgroup class",
        Field::Realm => "realm",
        Field::Socket => "socket",
        Field::SocketMark => "socket's mark",
        Field::Lookup(lookup) => match (lookup.wanted, lookup.destination) {
            (Wanted::Device, false) => "route back",
            (Wanted::Device, true) => "route",
            (_, false) => "source's address type",
            (_, true) => "destination's address type",
        },
        Field::ConnectionProtocol => "connection's protocol",
        Field::OriginalSource => "original source",
        Field::OriginalDestination => "original destination",
        Field::ReplySource => "source of the replies",
        Field::ReplyDestination => "destination of the replies",
        Field::OriginalSourcePort => "original source port",
        Field::OriginalDestinationPort => "original destination port",
        Field::ReplySourcePort => "source port of the replies",
        Field::ReplyDestinationPort => "destination port of the replies",
        Field::ConnectionStatus => "connection's status",
        Field::ConnectionExpiry => "connection's time left",
        Field::IsReply => "direction within its connection",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet() -> Packet {
        Packet {
            protocol: Known::Is(6),
            source: Known::Is([10, 0, 0, 2].into()),
            destination: Known::Is([10, 0, 0, 5].into()),
            destination_port: Known::Is(80),
            output: Known::from_option(DeviceName::new("eth0")),
            input: Known::Absent,
            uid: Known::Is(1000),
            state: Known::Is(1 << 3),
            ..Packet::default()
        }
    }

    #[test]
    fn the_first_part_that_says_no_is_told() {
        let equals = |field, value: u32| Condition::equals(field, value);
        let mask = |net: u32| Condition::Masked { field: Field::Destination, mask: 0xff00_0000, value: net.into() };
        let ports = [15020_u32, 15021, 15090].map(|port| equals(Field::DestinationPort, port));
        let lo = Condition::Device { device: Device::Output, name: "lo".into(), prefix: false };
        for (condition, words) in [
            (equals(Field::Uid, 1337), "UID is 1000, not 1337"),
            (equals(Field::Uid, 1000).negated_if(true), "UID is 1000"),
            (
                Condition::All(vec![equals(Field::Protocol, 6), equals(Field::DestinationPort, 15008)]),
                "destination port is 80, not 15008",
            ),
            (Condition::Any(ports.to_vec()), "destination port is 80, not 15020, 15021 or 15090"),
            (mask(0x7f00_0000), "destination is 10.0.0.5, not 127.0.0.0/8"),
            (mask(0x0a00_0000).negated_if(true), "destination is 10.0.0.5, within 10.0.0.0/8"),
            (lo, "it leaves by eth0, not lo"),
            (Condition::AnyBit(Field::State, 0b110), "state is new, not established or related"),
            (equals(Field::Protocol, 17), "protocol is TCP, not UDP"),
        ] {
            assert_eq!(why_not(&condition, &packet()).as_deref(), Some(words), "{condition:?}");
        }
        assert_eq!(why_not(&equals(Field::Uid, 1000), &packet()), None);
        assert_eq!(why_not(&equals(Field::Gid, 1000), &packet()), None);
    }

    #[test]
    fn what_is_not_known_is_named() {
        let owner = Condition::equals(Field::Gid, 1337_u32);
        assert_eq!(why_unknown(&owner, &packet()).as_deref(), Some("its GID is not known"));
        let both = Condition::All(vec![owner, Condition::equals(Field::Protocol, 17_u8)]);
        assert_eq!(why_unknown(&both, &packet()), None);
        let chance = Condition::Opaque("a share of the packets".into());
        assert_eq!(why_unknown(&chance, &packet()).as_deref(), Some("it hangs on a share of the packets"));
    }
}
