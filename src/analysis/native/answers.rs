//! The answers of `reject`, by nf_tables' numbers and by iptables' names.

/// iptables' name of an answer (`NFT_REJECT_*`; codes of ICMP, ICMPv6, and of both).
pub(super) fn answer(kind: u32, code: u8, ipv6: bool) -> Option<&'static str> {
    Some(match (kind, ipv6, code) {
        (1, ..) => "tcp-reset",
        (0, false, 0) | (2, _, 0) => "icmp-net-unreachable",
        (0, false, 1) | (2, _, 2) => "icmp-host-unreachable",
        (0, false, 2) => "icmp-proto-unreachable",
        (0, false, 3) | (2, _, 1) => "icmp-port-unreachable",
        (0, false, 9) => "icmp-net-prohibited",
        (0, false, 10) => "icmp-host-prohibited",
        (0, false, 13) | (2, _, 3) => "icmp-admin-prohibited",
        (0, true, 0) => "icmp6-no-route",
        (0, true, 1) => "icmp6-adm-prohibited",
        (0, true, 3) => "icmp6-addr-unreachable",
        (0, true, 4) => "icmp6-port-unreachable",
        _ => return None,
    })
}
