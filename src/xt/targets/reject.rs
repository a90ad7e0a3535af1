//! `REJECT`: refuses with an answer (`struct ipt_reject_info`, `ip6t_reject_info`).

use super::{Effect, Extension, Given, Targeting};
use crate::xt::bytes::Layout;
use crate::xt::extension::begins;

/// Refuses with an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reject {
    /// iptables' name of the answer.
    pub answer: &'static str,
}

/// By the kernel's number (`include/uapi/linux/netfilter_ipv4/ipt_REJECT.h`); 4 cannot be written.
const V4: [&str; 9] = [
    "icmp-net-unreachable",
    "icmp-host-unreachable",
    "icmp-proto-unreachable",
    "icmp-port-unreachable",
    "",
    "icmp-net-prohibited",
    "icmp-host-prohibited",
    "tcp-reset",
    "icmp-admin-prohibited",
];

/// The same for IPv6 (`include/uapi/linux/netfilter_ipv6/ip6t_REJECT.h`); 2 and 5 cannot be written.
const V6: [&str; 9] = [
    "icmp6-no-route",
    "icmp6-adm-prohibited",
    "",
    "icmp6-addr-unreachable",
    "icmp6-port-unreachable",
    "",
    "tcp-reset",
    "icmp6-policy-fail",
    "icmp6-reject-route",
];

/// Other names that iptables takes.
const ALIASES_V4: [(&str, &str); 8] = [
    ("net-unreach", "icmp-net-unreachable"),
    ("host-unreach", "icmp-host-unreachable"),
    ("proto-unreach", "icmp-proto-unreachable"),
    ("port-unreach", "icmp-port-unreachable"),
    ("net-prohib", "icmp-net-prohibited"),
    ("host-prohib", "icmp-host-prohibited"),
    ("tcp-rst", "tcp-reset"),
    ("admin-prohib", "icmp-admin-prohibited"),
];
const ALIASES_V6: [(&str, &str); 6] = [
    ("no-route", "icmp6-no-route"),
    ("adm-prohibited", "icmp6-adm-prohibited"),
    ("addr-unreach", "icmp6-addr-unreachable"),
    ("port-unreach", "icmp6-port-unreachable"),
    ("policy-fail", "icmp6-policy-fail"),
    ("reject-route", "icmp6-reject-route"),
];

impl Extension for Reject {
    const NAMES: &'static [&'static str] = &["REJECT"];
    const OPTIONS: &'static [(&'static str, usize)] = &[("--reject-with", 1)];

    fn decode(revision: u8, data: &[u8], ipv6: bool) -> Option<Self> {
        let number = usize::try_from(Layout::of(data, 4)?.u32(0)?).ok()?;
        let answer = *(if ipv6 { V6 } else { V4 }).get(number)?;
        (revision == 0 && !answer.is_empty()).then_some(Self { answer })
    }

    fn parse(_name: &str, options: &[Given], ipv6: bool) -> Option<Self> {
        let wanted = options.first().map_or(if ipv6 { V6[4] } else { V4[3] }, Given::value);
        let aliases: &[(&str, &str)] = if ipv6 { &ALIASES_V6 } else { &ALIASES_V4 };
        let meant = |answer: &str| {
            begins(answer, wanted) || aliases.iter().any(|(alias, name)| *name == answer && begins(alias, wanted))
        };
        let names = if ipv6 { V6 } else { V4 };
        names.into_iter().find(|answer| meant(answer)).map(|answer| Self { answer })
    }

    fn save(&self, out: &mut String) {
        out.push_str(" --reject-with ");
        out.push_str(self.answer);
    }
}

impl Targeting for Reject {
    fn effect(&self) -> Effect {
        Effect::Stop
    }

    fn explain(&self) -> String {
        format!("refused ({})", self.answer)
    }

    fn nft(&self) -> Option<String> {
        Some(match self.answer {
            "icmp-port-unreachable" | "icmp6-port-unreachable" => "reject".to_owned(),
            "tcp-reset" => "reject with tcp reset".to_owned(),
            "icmp-proto-unreachable" => "reject with icmp type prot-unreachable".to_owned(),
            "icmp6-adm-prohibited" => "reject with icmpv6 type admin-prohibited".to_owned(),
            answer => match answer.strip_prefix("icmp6-") {
                Some(name) => format!("reject with icmpv6 type {name}"),
                None => format!("reject with icmp type {}", answer.strip_prefix("icmp-")?),
            },
        })
    }
}
