//! Programs of the node write rules by different backends, or old rules were left behind.

use super::{Kind, Page};
use crate::analysis::check::{Case, Found, Severity};
use crate::model::{Backend, Chain, Subject};
use std::collections::BTreeSet;

/// How chains of those that write a node's rules begin: kubelet and kube-proxy, CNI plugins, Calico, Cilium, Flannel, Weave, Antrea,
/// kube-router, Docker, libvirt.
const WRITERS: [&str; 12] = [
    "KUBE-",
    "CNI-",
    "cali-",
    "CILIUM_",
    "OLD_CILIUM_",
    "FLANNEL-",
    "WEAVE",
    "ANTREA-",
    "KUBE_ROUTER",
    "DOCKER",
    "LIBVIRT_",
    "ufw-",
];

pub(super) const KIND: Kind = Kind {
    id: "RDR404",
    title: "Node-level backend disagreement or left-over legacy rules",
    severity: Severity::Warning,
    page: Page {
        seen: "Services time out after the system was upgraded; old endpoints still get traffic.",
        why: "kube-proxy, the CNI plugin and a firewall use different backends; rules of the one that is not used any more stay \
              in the kernel until a reboot.",
        evidence: "Chains of such programs stand both in legacy tables and in nf_tables, in one family: how many rules each has, \
                   and how many packets they counted.",
        remedy: "Flush the backend that is not used any more in a maintenance window, or reboot; let all use one backend.",
        references: &[
            "kubernetes/kubernetes#109811",
            "kubernetes/kubernetes#71305",
            "kubernetes/kubernetes#112477",
            "cilium/cilium#20123",
            "istio/istio#56983",
        ],
    },
    silenced_by: &["RDR009"],
    look,
};

/// What such programs have in one backend.
#[derive(Default)]
struct Stock {
    /// The beginnings of their chains.
    writers: BTreeSet<&'static str>,
    rules: usize,
    packets: u64,
}

fn look(case: &Case<'_>, found: &mut Found) {
    if case.unread(&[Subject::Rules]).is_some() {
        // Whoever writes rules in a node is not what was asked for: what is unread is told by others.
        return;
    }
    for ipv6 in [false, true] {
        let stock = |backend: Backend| {
            let chains = case.tables(ipv6).filter(|(ruleset, _)| ruleset.backend == backend);
            chains.flat_map(|(_, table)| &table.chains).fold(Stock::default(), add)
        };
        let (legacy, nft) = (stock(Backend::Legacy), stock(Backend::Nft));
        if legacy.writers.is_empty() || nft.writers.is_empty() {
            continue;
        }
        let family = if ipv6 { "IPv6" } else { "IPv4" };
        let words = |name: &str, stock: &Stock| {
            let chains = stock.writers.iter().map(|start| format!("{start}*")).collect::<Vec<_>>().join(", ");
            format!("{name}: chains {chains}, {} rules, {} packets counted", stock.rules, stock.packets)
        };
        let idle = match (legacy.packets, nft.packets) {
            (0, 1..) => Some("legacy"),
            (1.., 0) => Some("nf_tables"),
            _ => None,
        };
        let mut finding = KIND
            .found(
                format!("{family} rules of the node's programs stand in both iptables-legacy and nf_tables"),
                "let all of them use one backend, and flush the other in a maintenance window or reboot",
            )
            .because(words("legacy", &legacy))
            .because(words("nf_tables", &nft));
        if let Some(idle) = idle {
            finding = finding.because(format!("those of {idle} counted no packet: they seem to be left over"));
        }
        found.finding(finding);
    }
}

fn add(mut stock: Stock, chain: &Chain) -> Stock {
    if let Some(start) = WRITERS.iter().find(|start| chain.name.starts_with(**start)) {
        stock.writers.insert(start);
        stock.rules += chain.rules.len();
        stock.packets += chain.rules.iter().filter_map(|rule| rule.counters.as_ref()).map(|it| it.packets).sum::<u64>();
    }
    stock
}
