//! Loopback is not intercepted.

use super::{Kind, Page};
use crate::analysis::check::{Case, Found, Going, Severity};
use crate::analysis::join::{Connection, Direction, Way};

pub(super) const KIND: Kind = Kind {
    id: "RDR209",
    title: "Loopback, same-pod and port-forward traffic is not intercepted",
    severity: Severity::Info,
    page: Page {
        seen: "A test by port-forward shows no metrics, or seems to bypass TLS; two containers that talk by localhost \
              meet no policy.",
        why: "By design: rules leave alone what goes by loopback and is not the proxy's, and a port-forward dials from \
              within the pod.",
        evidence: "Connections that are open between two processes of the pod, neither of them the proxy, and the rule that \
              leaves such alone.",
        remedy: "Test from another pod, by the service.",
        references: &["linkerd/linkerd2#2352", "linkerd/linkerd2#1296", "istio/istio#1413"],
    },
    silenced_by: &["RDR009", "RDR101"],
    look,
};

fn look(case: &Case<'_>, found: &mut Found) {
    if !case.expected.captures_something() {
        return;
    }
    let proxys = |one: &Connection| {
        one.processes.iter().any(|owner| case.proxies().any(|person| person.process.pid == owner.pid))
    };
    let here = |one: &&Connection| {
        one.is_live()
            && one.direction == Some(Direction::Out)
            && matches!(one.way, Way::Direct | Way::Exempt)
            && one.peer.is_some_and(|peer| case.snapshot.is_local(peer.address))
            && !one.processes.is_empty()
            && !proxys(one)
    };
    let local: Vec<&Connection> = case.connections().iter().filter(here).collect();
    let Some(first) = local.first() else { return };
    let peer = first.peer.map_or_else(String::new, |peer| peer.to_string());
    let finding = KIND
        .found("calls within the pod go past the proxy, as they are meant to", "test from another pod, by the service");
    let name = first.process().map_or_else(String::new, |owner| format!(" of {}", owner.name));
    let finding = finding.because(format!("{} of them, one{name} to {peer}", local.len()));
    let owner = case.people.iter().find(|person| first.processes.iter().any(|owner| owner.pid == person.process.pid));
    let who = owner.and_then(|person| person.identity.as_ref());
    let rule = match first.peer.map(|peer| case.dials(who, first.protocol, peer)) {
        Some(Going::Direct(rule)) => rule,
        _ => None,
    };
    let finding = match &rule {
        Some(rule) => finding.because(format!("{rule} leaves it alone")),
        None => finding,
    };
    found.finding(finding.about(rule));
}
