//! Secondary addresses, and pods that are routed by policy.

use std::net::IpAddr;

use super::{Kind, Page};
use crate::analysis::check::{Case, Found, Going, Severity};
use crate::model::{Endpoint, Protocol, RuleAction, Snapshot, Subject};

/// `RT_TABLE_MAIN`, `RT_TABLE_LOCAL`.
const USUAL: [u32; 2] = [254, 255];

pub(super) const KIND: Kind = Kind {
    id: "RDR609",
    title: "Secondary addresses and policy-routed pods",
    severity: Severity::Warning,
    page: Page {
        seen: "Connections to a second address of the pod, of a VPN or another network, are accepted and then hang; or probes fail in pods \
               with an interface of their own (AWS security groups for pods).",
        why: "Inbound redirection takes whatever is for the pod, and ztunnel knows its first addresses alone. Or what comes from the pod \
              enters the node by another table of routes than the one that knows the way back.",
        evidence: "An interface that is up has an address that the runtime does not name, and connections to it are captured. Or the \
                   node reaches the pod by a table of routes of its own alone, which a policy rule for one interface chooses.",
        remedy: "The annotation bypass-inbound-capture, the list of virtual interfaces, or a newer version of the mesh.",
        references: &["istio/istio#61027"],
    },
    silenced_by: &["RDR009", "RDR601", "RDR605"],
    look,
};

fn look(case: &Case<'_>, found: &mut Found) {
    if !case.is_ambient()
        || case.expected.mode.is_none()
        || case.unread(&[Subject::Rules, Subject::Interfaces]).is_some()
    {
        return;
    }
    secondary(case, found);
    if let Some(node) = case.snapshot.node_state.as_deref() {
        for ipv6 in case.families() {
            if let Some(own) = case.own_address(ipv6) {
                routed(node, found, own);
            }
        }
    }
}

fn secondary(case: &Case<'_>, found: &mut Found) {
    let told = &case.snapshot.workload.addresses;
    if told.is_empty() {
        return;
    }
    let reached = |address: &IpAddr| match address {
        IpAddr::V4(address) => !address.is_link_local() && !address.is_loopback(),
        IpAddr::V6(address) => !address.is_unicast_link_local() && !address.is_loopback(),
    };
    let interfaces = case.snapshot.interfaces.iter().flatten().filter(|one| one.up && !one.loopback);
    let all = interfaces.flat_map(|one| one.addresses.iter().map(move |(address, _)| (one, *address)));
    for (interface, address) in all.filter(|(_, address)| reached(address) && !told.contains(address)) {
        let Going::Proxy { port, rule, .. } = case.comes(Protocol::Tcp, Endpoint::new(address, case.port())) else {
            continue;
        };
        let finding = KIND.found(
            format!("connections to {address} are captured, an address that is not among the pod's own"),
            "leave the interface out: by the annotation ambient.istio.io/bypass-inbound-capture, or the list of virtual interfaces",
        );
        let names = told.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let mut finding = finding
            .because(format!("{} has {address}, and the runtime names {names}", interface.name))
            .because(format!("a connection to it is sent to port {port}"));
        if let Some(rule) = &rule {
            finding = finding.because(format!("{rule} does it"));
        }
        found.finding(finding.about(rule));
    }
}

/// The node reaches the pod by a table of its own alone, which a rule for an interface chooses.
fn routed(node: &Snapshot, found: &mut Found, own: IpAddr) {
    let Some((routes, rules)) =
        node.routes.as_ref().and_then(|routing| routing.routes.as_ref().zip(routing.rules.as_ref()))
    else {
        return;
    };
    let bits = if own.is_ipv6() { 128 } else { 32 };
    let to_it: Vec<u32> = routes
        .iter()
        .filter(|route| route.destination.address == own && route.destination.bits == bits)
        .map(|route| route.table)
        .collect();
    let usual = routes
        .iter()
        .any(|route| USUAL.contains(&route.table) && route.destination.bits > 0 && route.destination.holds(own));
    let by_interface = rules.iter().find(|rule| {
        let chosen = |table: &u32| rule.action == RuleAction::Lookup(*table);
        rule.input.as_deref().is_some_and(|input| input != "lo") && to_it.iter().any(chosen)
    });
    let Some((rule, table)) = by_interface.filter(|_| !usual).zip(to_it.first()) else { return };
    let finding = KIND.found(
        format!("the node reaches {own} by routes of table {table} alone: answers to its probes may take another way"),
        "use a version of the mesh that knows of such interfaces, or leave the pod out of the mesh",
    );
    let input = rule.input.clone().unwrap_or_default();
    found.finding(
        finding.because(format!("policy rule {} chooses table {table} for what comes in by {input}", rule.priority)),
    );
}
