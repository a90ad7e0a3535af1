//! What the keys of each type of ipset are made of, and how `ipset` 7.17 writes them.

use std::net::IpAddr;

use super::ip::{address_text, protocol_name};
use super::ipset::Entry;

/// A dimension of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// An address.
    Ip,
    /// A network; full length is not written.
    Net,
    /// The second address.
    Ip2,
    /// The second network.
    Net2,
    /// Protocol and port.
    Port,
    /// A port without protocol.
    BarePort,
    /// A hardware address.
    Mac,
    /// A hardware address that may be missing.
    AnyMac,
    /// A mark.
    Mark,
    /// A device.
    Device,
    /// The name of a set.
    Set,
}

/// The parts of a type's keys; `None` for a type that is not known.
pub(super) fn parts(kind: &str) -> Option<&'static [Part]> {
    use Part::{AnyMac, BarePort, Device, Ip, Ip2, Mac, Mark, Net, Net2, Port, Set};
    Some(match kind {
        "bitmap:ip" | "hash:ip" => &[Ip],
        "bitmap:ip,mac" => &[Ip, AnyMac],
        "bitmap:port" => &[BarePort],
        "hash:mac" => &[Mac],
        "hash:ip,mac" => &[Ip, Mac],
        "hash:ip,mark" => &[Ip, Mark],
        "hash:ip,port" => &[Ip, Port],
        "hash:ip,port,ip" => &[Ip, Port, Ip2],
        "hash:ip,port,net" => &[Ip, Port, Net2],
        "hash:net" => &[Net],
        "hash:net,iface" => &[Net, Device],
        "hash:net,net" => &[Net, Net2],
        "hash:net,port" => &[Net, Port],
        "hash:net,port,net" => &[Net, Port, Net2],
        "list:set" => &[Set],
        _ => return None,
    })
}

/// The key; `None` where a part of it is missing.
pub(super) fn key_text(parts: &[Part], entry: &Entry) -> Option<String> {
    let mut texts = Vec::new();
    for part in parts {
        texts.push(match part {
            Part::Ip | Part::Net => network(entry.address?, entry.bits),
            // hash:ip,port,net says the second network's length in the first one's place.
            Part::Ip2 | Part::Net2 => network(entry.second?, entry.second_bits),
            Part::Port => port(entry.protocol, entry.port?),
            Part::BarePort => entry.port?.to_string(),
            Part::Mac => mac(entry.mac?),
            Part::AnyMac => match entry.mac {
                Some(address) => mac(address),
                None => continue,
            },
            Part::Mark => format!("0x{:08x}", entry.mark?),
            Part::Device if entry.flags & Entry::PHYSDEV != 0 => format!("physdev:{}", entry.device.as_ref()?),
            Part::Device => entry.device.clone()?,
            Part::Set => entry.set.clone()?,
        });
    }
    Some(texts.join(","))
}

fn network(address: IpAddr, bits: Option<u8>) -> String {
    let whole = if address.is_ipv4() { 32 } else { 128 };
    let bits = bits.filter(|bits| *bits != whole).map_or(String::new(), |bits| format!("/{bits}"));
    format!("{}{bits}", address_text(address))
}

fn mac([a, b, c, d, e, f]: [u8; 6]) -> String {
    format!("{a:02X}:{b:02X}:{c:02X}:{d:02X}:{e:02X}:{f:02X}")
}

const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

/// `tcp:80`, `icmp:echo-request`, `gre:0`
fn port(protocol: Option<u8>, port: u16) -> String {
    let Some(protocol) = protocol else { return port.to_string() };
    let name = protocol_name(protocol);
    let [kind, code] = port.to_be_bytes();
    let known = match protocol {
        ICMP => Some(V4),
        ICMPV6 => Some(V6),
        _ => None,
    };
    match known {
        None => format!("{name}:{port}"),
        Some(known) => match known.iter().find(|(known, _)| *known == (kind, code)) {
            Some((_, word)) => format!("{name}:{word}"),
            None => format!("{name}:{kind}/{code}"),
        },
    }
}

/// Type and code, and ipset's word for them.
type Names = &'static [((u8, u8), &'static str)];

const V4: Names = &[
    ((0, 0), "echo-reply"),
    ((3, 0), "network-unreachable"),
    ((3, 1), "host-unreachable"),
    ((3, 2), "protocol-unreachable"),
    ((3, 3), "port-unreachable"),
    ((3, 4), "fragmentation-needed"),
    ((3, 5), "source-route-failed"),
    ((3, 6), "network-unknown"),
    ((3, 7), "host-unknown"),
    ((3, 9), "network-prohibited"),
    ((3, 10), "host-prohibited"),
    ((3, 11), "TOS-network-unreachable"),
    ((3, 12), "TOS-host-unreachable"),
    ((3, 13), "communication-prohibited"),
    ((3, 14), "host-precedence-violation"),
    ((3, 15), "precedence-cutoff"),
    ((4, 0), "source-quench"),
    ((5, 0), "network-redirect"),
    ((5, 1), "host-redirect"),
    ((5, 2), "TOS-network-redirect"),
    ((5, 3), "TOS-host-redirect"),
    ((8, 0), "echo-request"),
    ((9, 0), "router-advertisement"),
    ((10, 0), "router-solicitation"),
    ((11, 0), "ttl-zero-during-transit"),
    ((11, 1), "ttl-zero-during-reassembly"),
    ((12, 0), "ip-header-bad"),
    ((12, 1), "required-option-missing"),
    ((13, 0), "timestamp-request"),
    ((14, 0), "timestamp-reply"),
    ((17, 0), "address-mask-request"),
    ((18, 0), "address-mask-reply"),
];

const V6: Names = &[
    ((1, 0), "no-route"),
    ((1, 1), "communication-prohibited"),
    ((1, 3), "address-unreachable"),
    ((1, 4), "port-unreachable"),
    ((2, 0), "packet-too-big"),
    ((3, 0), "ttl-zero-during-transit"),
    ((3, 1), "ttl-zero-during-reassembly"),
    ((4, 0), "bad-header"),
    ((4, 1), "unknown-header-type"),
    ((4, 2), "unknown-option"),
    ((128, 0), "echo-request"),
    ((129, 0), "echo-reply"),
    ((133, 0), "router-solicitation"),
    ((134, 0), "router-advertisement"),
    ((135, 0), "neighbour-solicitation"),
    ((136, 0), "neighbour-advertisement"),
    ((137, 0), "redirect"),
];
