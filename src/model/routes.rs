//! Routes and policy rules of a namespace, its own addresses as routing sees them, and the settings that decide with them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::UnknownPart;

/// All that the kernel decides by where a packet of the namespace goes. A list that could not be read whole is `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Routing {
    /// Routes of all tables, IPv4 before IPv6, in the kernel's order.
    pub routes: Option<Vec<Route>>,
    /// Policy rules, likewise.
    pub rules: Option<Vec<PolicyRule>>,
    /// Addresses of all interfaces, likewise.
    pub addresses: Option<Vec<OwnAddress>>,
    /// `net.ipv4.conf` and `net.ipv6.conf` of the namespace.
    pub settings: RoutingSettings,
}

/// What a route does with a packet (`RTN_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RouteKind {
    /// Sends it to a gateway, or straight to its destination.
    Unicast,
    /// Takes it in.
    Local,
    /// Takes it in, and sends it as a broadcast.
    Broadcast,
    /// Takes it in as an anycast one.
    Anycast,
    /// Sends it to a group.
    Multicast,
    /// Drops it.
    Blackhole,
    /// Refuses it: unreachable.
    Unreachable,
    /// Refuses it: prohibited.
    Prohibit,
    /// Leaves it to the next policy rule.
    Throw,
    /// Another number.
    #[serde(untagged)]
    Other(u8),
}

/// A network: an address and how many bits of it count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Network {
    /// Its first address.
    pub address: IpAddr,
    /// Bits that count.
    pub bits: u8,
}

/// One route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// What it does.
    pub kind: RouteKind,
    /// Where to.
    pub destination: Network,
    /// From where, for IPv6 routes that ask for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Network>,
    /// TOS that it is for; 0 for all.
    pub tos: u8,
    /// Its table.
    pub table: u32,
    /// Who made it (`RTPROT_*`).
    pub protocol: u8,
    /// `RT_SCOPE_*`.
    pub scope: u8,
    /// `RTM_F_*` and, of a single next hop, `RTNH_F_*`.
    pub flags: u32,
    /// Its metric; 0 where none is told.
    pub priority: u32,
    /// Source address that it gives to the namespace's own packets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preferred_source: Option<IpAddr>,
    /// IPv6 routers' own preference: 1 high, 3 low, 0 medium.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preference: Option<u8>,
    /// Its next hops: none, one or several of which one is taken.
    pub hops: Vec<NextHop>,
    /// Number of the next hop object that it goes by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_hop_object: Option<u32>,
    /// Attributes that do not decide where a packet goes, or are not understood.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<UnknownPart>,
}

/// Where a route leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextHop {
    /// Index of the interface; 0 for none.
    pub interface: u32,
    /// Router, of either family.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
    /// Its share among several, from 1.
    pub weight: u16,
    /// `RTNH_F_*`.
    pub flags: u8,
}

impl NextHop {
    /// `RTNH_F_DEAD`: it is not used.
    pub const DEAD: u8 = 1;
}

/// What a policy rule does with what it matches (`FR_ACT_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RuleAction {
    /// Looks in this table.
    Lookup(u32),
    /// Goes on at the first rule of this priority.
    Goto(u32),
    /// Nothing.
    Nop,
    /// Drops it.
    Blackhole,
    /// Refuses it: unreachable.
    Unreachable,
    /// Refuses it: prohibited.
    Prohibit,
    /// Another number.
    Other(u8),
}

/// A policy rule (`ip rule`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyRule {
    /// It is one of IPv6.
    pub ipv6: bool,
    /// Its priority: lower ones are asked first.
    pub priority: u32,
    /// What it does.
    pub action: RuleAction,
    /// It matches what the rest does not (`FIB_RULE_INVERT`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub invert: bool,
    /// Source addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Network>,
    /// Destination addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Network>,
    /// Interface it came in by; `lo` for the namespace's own packets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<String>,
    /// Interface that its socket is bound to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    /// Mark, and which bits of it count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<(u32, u32)>,
    /// First and last user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub users: Option<(u32, u32)>,
    /// Transport protocol's number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<u8>,
    /// First and last source port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_ports: Option<(u16, u16)>,
    /// First and last destination port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination_ports: Option<(u16, u16)>,
    /// TOS; 0 for all.
    pub tos: u8,
    /// It looks in the table of the VRF.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub vrf: bool,
    /// Routes of so few bits or fewer do not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suppress_prefix: Option<u8>,
    /// Routes that lead to an interface of this group do not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suppress_group: Option<u32>,
    /// `FIB_RULE_*`.
    pub flags: u32,
    /// Who made it (`RTPROT_*`).
    pub maker: u8,
    /// Attributes that are not understood.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<UnknownPart>,
}

/// An address of the namespace with what decides whether packets are sent from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnAddress {
    /// Index of its interface.
    pub interface: u32,
    /// The address.
    pub address: IpAddr,
    /// The network that is reached by it; on a point-to-point interface that of the other end.
    pub network: Network,
    /// `RT_SCOPE_*`.
    pub scope: u8,
    /// `IFA_F_*`.
    pub flags: u32,
}

/// Settings of devices, and of `all`, by their names below `/proc/sys/net`. What could not be read is left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RoutingSettings {
    /// `net.ipv4.conf`. `forwarding` of `all` is `net.ipv4.ip_forward`.
    pub ipv4: BTreeMap<String, BTreeMap<String, i32>>,
    /// `net.ipv6.conf`.
    pub ipv6: BTreeMap<String, BTreeMap<String, i32>>,
}

impl RoutingSettings {
    /// Settings of `net.ipv4.conf` that decide over routes.
    pub const IPV4: [&str; 7] = [
        "forwarding",
        "rp_filter",
        "route_localnet",
        "accept_local",
        "src_valid_mark",
        "send_redirects",
        "bc_forwarding",
    ];
    /// Those of `net.ipv6.conf`; `force_forwarding` since Linux 6.17.
    pub const IPV6: [&str; 4] = ["forwarding", "force_forwarding", "disable_ipv6", "use_oif_addrs_only"];

    /// A setting of `net.ipv4.conf`.
    #[must_use]
    pub fn ipv4(&self, device: &str, name: &str) -> Option<i32> {
        self.ipv4.get(device)?.get(name).copied()
    }

    /// One of `net.ipv6.conf`.
    #[must_use]
    pub fn ipv6(&self, device: &str, name: &str) -> Option<i32> {
        self.ipv6.get(device)?.get(name).copied()
    }
}

impl Network {
    /// All addresses of a family.
    #[must_use]
    pub fn all(ipv6: bool) -> Self {
        let address = if ipv6 { IpAddr::from([0_u8; 16]) } else { IpAddr::from([0_u8; 4]) };
        Self { address, bits: 0 }
    }

    /// Whether an address is in it. One of the other family never is.
    #[must_use]
    pub fn holds(self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let differ = u32::from(own) ^ u32::from(other);
                differ.checked_shr(32_u32.saturating_sub(self.bits.into())).unwrap_or(0) == 0
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let differ = u128::from(own) ^ u128::from(other);
                differ.checked_shr(128_u32.saturating_sub(self.bits.into())).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

impl RouteKind {
    /// By its number.
    #[must_use]
    pub fn from_number(number: u8) -> Self {
        match number {
            1 => Self::Unicast,
            2 => Self::Local,
            3 => Self::Broadcast,
            4 => Self::Anycast,
            5 => Self::Multicast,
            6 => Self::Blackhole,
            7 => Self::Unreachable,
            8 => Self::Prohibit,
            9 => Self::Throw,
            other => Self::Other(other),
        }
    }
}

impl Route {
    /// Whether it is one of IPv6.
    #[must_use]
    pub fn ipv6(&self) -> bool {
        self.destination.address.is_ipv6()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_holds_its_addresses_and_no_other() {
        let network = |address: &str, bits| Network { address: address.parse().expect("an address"), bits };
        let holds = |network: Network, address: &str| network.holds(address.parse().expect("an address"));
        assert!(holds(network("10.0.0.0", 8), "10.255.0.1") && !holds(network("10.0.0.0", 8), "11.0.0.0"));
        assert!(holds(network("10.0.0.1", 32), "10.0.0.1") && !holds(network("10.0.0.1", 32), "10.0.0.0"));
        assert!(holds(Network::all(false), "1.2.3.4") && !holds(Network::all(false), "::1"));
        assert!(holds(Network::all(true), "fe80::1") && !holds(network("fd00::", 16), "fe80::1"));
        assert!(holds(network("fd00::1", 128), "fd00::1") && !holds(network("fd00::1", 128), "fd00::2"));
        // Hostile: more bits than there are.
        assert!(!holds(network("10.0.0.0", 255), "10.0.0.1"));
    }
}
