//! Redirection by eBPF.

use super::{Kind, Page};
use crate::analysis::check::{Case, Found, Severity};
use crate::analysis::join::{Connection, Direction};
use std::net::IpAddr;

pub(super) const KIND: Kind = Kind {
    id: "RDR208",
    title: "Redirection is done by eBPF, not by rules",
    severity: Severity::Info,
    page: Page {
        seen: "No rule stands there, or none is ever met, and the proxy gets the traffic; destinations such as \
              127.128.0.1 show.",
        why: "A program of the kernel connects the application's socket with the proxy's, without any rule.",
        evidence: "No rule redirects though metadata names a mesh, and live connections of applications end at a process of \
              the proxy, or go to addresses that such programs give.",
        remedy: "Nothing: what rules tell does not count here. Connections of IPv6 may be left out by such programs.",
        references: &[
            "merbridge/merbridge#39",
            "merbridge/merbridge#100",
            "kumahq/kuma-website#1134",
            "istio/istio.io#12890",
        ],
    },
    silenced_by: &["RDR009", "RDR004"],
    look,
};

fn look(case: &Case<'_>, found: &mut Found) {
    let expected = &case.expected;
    if expected.mesh.is_none() || expected.captures_something() {
        return;
    }
    let proxys = |one: &Connection| {
        one.processes.iter().any(|owner| case.proxies().any(|person| person.process.pid == owner.pid))
    };
    let by_proxy = |one: &Connection| {
        let twin = one.twin.and_then(|inode| case.connections().iter().find(|other| other.inode == inode));
        // What a tracked entry explains, a rule has done.
        twin.is_some_and(proxys) && one.peer.is_some_and(|peer| case.snapshot.is_local(peer.address))
    };
    let given = |one: &Connection| matches!(one.peer.map(|peer| peer.address), Some(IpAddr::V4(to)) if to.octets().starts_with(&[127, 128]));
    let theirs: Vec<&Connection> = case
        .connections()
        .iter()
        .filter(|one| one.is_live() && one.direction == Some(Direction::Out) && !one.processes.is_empty())
        .filter(|one| !proxys(one) && (by_proxy(one) || given(one)))
        .collect();
    let Some(first) = theirs.first() else { return };
    let finding = KIND.found(
        "no rule redirects, and connections get to the proxy all the same",
        "nothing: rules tell nothing of such a pod",
    );
    let peer = first.peer.map_or_else(String::new, |peer| peer.to_string());
    let name = first.process().map_or("", |owner| owner.name.as_str());
    found.finding(finding.because(format!("{name} has dialled {peer}, and the proxy has taken the call")));
    found.cannot_tell(&KIND, "what programs of the kernel redirect, rules do not tell");
}
