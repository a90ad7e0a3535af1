//! Redirect rules are split over legacy xtables and nf_tables.

use super::{Kind, Page};
use crate::analysis::check::{Case, Found, Going, Severity};
use crate::model::{Backend, Endpoint, Protocol};
use std::collections::BTreeSet;

pub(super) const KIND: Kind = Kind {
    id: "RDR401",
    title: "Redirect rules are split over legacy xtables and nf_tables",
    severity: Severity::Warning,
    page: Page {
        seen: "iptables -L shows nothing, or something else than what happens; what happens changes with the order in which \
              programs start.",
        why: "Init image, CNI plugin and others have chosen different backends; the kernel runs both.",
        evidence: "Both subsystems hold rules on a nat or mangle hook of one family. Where both orders send packets elsewhere it \
              is an error.",
        remedy: "One backend for the whole node (FORCE_IPTABLES_BINARY, iptablesMode); what is left over goes with a reboot.",
        references: &["istio/istio#56983", "kumahq/kuma#6334", "cilium/cilium#20123", "kubernetes/kubernetes#71305"],
    },
    silenced_by: &["RDR009"],
    look,
};

fn look(case: &Case<'_>, found: &mut Found) {
    if case.expected.mesh.is_none() {
        return;
    }
    for ipv6 in case.families() {
        let chains = |backend: Backend| -> BTreeSet<String> {
            let tables = case.tables(ipv6).filter(|(ruleset, _)| ruleset.backend == backend);
            let chosen =
                tables.filter(|(_, table)| matches!(table.name.as_str(), "nat" | "mangle") || backend == Backend::Nft);
            chosen
                .flat_map(|(_, table)| {
                    let bases = table.chains.iter().filter(|chain| chain.hook.is_some() && !chain.rules.is_empty());
                    let own = bases.filter(|chain| chain.kind.as_deref() != Some("filter") || table.name == "mangle");
                    own.filter(|chain| !case.is_only_bystanders(table, chain))
                        .map(|chain| format!("{} {}", table.name, chain.name))
                })
                .collect()
        };
        let (legacy, nft) = (chains(Backend::Legacy), chains(Backend::Nft));
        if legacy.is_empty() || nft.is_empty() {
            continue;
        }
        let list = |chains: &BTreeSet<String>| chains.iter().cloned().collect::<Vec<_>>().join(", ");
        let to = Endpoint::new(case.outside(ipv6), case.port());
        let mut goings: Vec<Going> =
            case.identities().iter().map(|who| case.dials(who.as_ref(), Protocol::Tcp, to)).collect();
        goings.extend(case.served(ipv6).into_iter().map(|to| case.comes(Protocol::Tcp, to)));
        let differ =
            goings.into_iter().find_map(|going| if let Going::Unclear(why) = going { Some(why) } else { None });
        let family = if ipv6 { "IPv6" } else { "IPv4" };
        let mut finding = KIND
            .found(
                format!("{family} rules stand in both iptables-legacy and nf_tables"),
                "use one backend for all that writes rules on this node, then make the pod anew",
            )
            .because(format!("legacy: {}", list(&legacy)))
            .because(format!("nf_tables: {}", list(&nft)));
        if let Some(why) = differ {
            finding = finding.because(format!("where packets go is open: {why}")).severity(Severity::Error);
        }
        found.finding(finding);
    }
}
