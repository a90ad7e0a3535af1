//! An exclusion that leaves nothing.

use super::{Kind, Page};
use crate::analysis::check::{Case, Found, Severity, Stopped};
use crate::analysis::mesh::Captured;
use crate::model::RuleRef;

pub(super) const KIND: Kind = Kind {
    id: "RDR204",
    title: "Exclusion so wide that capture is meaningless",
    severity: Severity::Warning,
    page: Page {
        seen: "The mesh is installed, and does nothing for this pod.",
        why: "Everything, or 443, or all ports were excluded as a quick remedy for something else, often for an init \
              container.",
        evidence: "Asked of the rules: outbound connections to everywhere, to more than half of all ports, or to ports 80 \
              or 443 at any address are left alone while the rest is captured. Where nothing at all is captured any \
              more it is an error.",
        remedy: "Make the exclusion narrow; give the init container the exempt user, or make the proxy a native sidecar.",
        references: &["istio/istio#39799", "istio/istio#23802", "istio/istio#54630", "istio/istio.io#10090"],
    },
    silenced_by: &["RDR009", "RDR001", "RDR003", "RDR206"],
    look,
};

fn look(case: &Case<'_>, found: &mut Found) {
    if case.expected.mesh.is_none() {
        return;
    }
    for ipv6 in case.families() {
        if let Stopped::By(rule) = case.stopped(ipv6, false)
            && case.is_of_the_mesh(&rule)
        {
            // In both families it is the same one.
            if !found.has(KIND.id) {
                everything(found, rule);
            }
            continue;
        }
        let Some(lane) = case.lane(ipv6, false).filter(|lane| lane.captured == Captured::All) else { continue };
        let ports = &lane.excluded.ports;
        let count: u32 = ports.iter().map(|(from, to)| u32::from(to.saturating_sub(*from)) + 1).sum();
        let holds = |port: u16| ports.iter().any(|(from, to)| (*from..=*to).contains(&port));
        let words = || {
            let range = |(from, to): &(u16, u16)| if from == to { from.to_string() } else { format!("{from}-{to}") };
            ports.iter().map(range).collect::<Vec<_>>().join(", ")
        };
        let wide = lane.excluded.networks.iter().find(|network| is_wide(network));
        let title = match (count > HALF, [80, 443].into_iter().find(|port| holds(*port)), wide) {
            (true, ..) => format!("{count} of 65536 ports are left alone: {}", words()),
            (_, Some(port), _) => format!("port {port} is left alone, to every address"),
            (_, _, Some(network)) => format!("{network} is left alone: half of all addresses, or more"),
            _ => continue,
        };
        if found.has(KIND.id) {
            continue;
        }
        let finding = KIND.found(title, "make the exclusion narrow, to the ports and addresses that need it");
        found.finding(
            finding.because(format!("asked of the rules, for connections of {}", if ipv6 { "IPv6" } else { "IPv4" })),
        );
    }
}

fn everything(found: &mut Found, rule: RuleRef) {
    let finding = KIND.found(
        format!("{rule} excludes everything: nothing outbound is redirected"),
        "make the exclusion narrow, to the ports and addresses that need it",
    );
    found.finding(
        finding
            .because("it stands in the mesh's own chain, ahead of the redirect")
            .severity(Severity::Error)
            .about(Some(rule)),
    );
}

/// Half of all ports.
const HALF: u32 = 32_768;

/// Whether a network is half of all addresses, or more.
fn is_wide(network: &str) -> bool {
    network.rsplit_once('/').and_then(|(_, bits)| bits.parse::<u8>().ok()).is_some_and(|bits| bits <= 1)
}
