//! Rules of ambient mode are there, and the proxy's sockets are not.

use std::collections::BTreeSet;

use super::{Kind, Page};
use crate::analysis::check::{Case, Found, HBONE, Severity};
use crate::model::{RuleRef, SocketState, Subject};

pub(super) const KIND: Kind = Kind {
    id: "RDR602",
    title: "Rules present, ztunnel's sockets absent",
    severity: Severity::Error,
    page: Page {
        seen: "Every connection of the pod is refused or hangs, in both directions, and often its DNS too.",
        why: "The proxy of the node never got the pod or has lost it, could not bind, or does not run.",
        evidence: "Rules send connections to ports of the namespace where nobody listens, or nobody listens on HBONE's port; sockets that \
                   a process of another namespace has opened here count.",
        remedy: "Make the pod anew, then ztunnel; look for `failed to start proxy` in ztunnel's log.",
        references: &[
            "istio/istio#57285",
            "istio/istio#52487",
            "istio/istio#50072",
            "istio/istio#53843",
            "istio/ztunnel#521",
        ],
    },
    silenced_by: &["RDR009", "RDR601", "RDR605"],
    look,
};

fn look(case: &Case<'_>, found: &mut Found) {
    if !case.is_ambient() || case.expected.mode.is_none() {
        return;
    }
    if let Some(why) = case.unread(&[Subject::Sockets, Subject::Rules]) {
        return found.cannot_tell(&KIND, why);
    }
    let (spoken, dns) = (case.families(), case.dns_ports());
    let waits = |port: u16| {
        let sockets = case.snapshot.sockets.iter().flatten();
        sockets
            .filter(|socket| socket.local.port == port)
            .any(|socket| matches!(socket.state, SocketState::Listen | SocketState::Unconnected))
    };
    let refused = case.targets().iter().filter(|target| target.refused && spoken.contains(&target.ipv6));
    let silent: Vec<_> = refused.filter(|target| !waits(target.port)).collect();
    let mut ports: BTreeSet<u16> = silent.iter().map(|target| target.port).collect();
    // Queries alone have a finding of their own.
    if ports.iter().all(|port| dns.contains(port)) {
        ports.clear();
    }
    if !waits(HBONE) {
        ports.insert(HBONE);
    }
    if ports.is_empty() {
        return;
    }
    let list = ports.iter().map(u16::to_string).collect::<Vec<_>>().join(", ");
    let mut finding = KIND.found(
        format!("the node's proxy does not wait in this namespace on {list}"),
        "make the pod anew; look into ztunnel's log, and whether it runs on this node",
    );
    let mut rules: Vec<&RuleRef> = Vec::new();
    for target in silent {
        if !rules.contains(&&target.rule) {
            rules.push(&target.rule);
            finding = finding.because(format!("{} sends connections to port {}", target.rule, target.port));
        }
    }
    if ports.contains(&HBONE) {
        finding = finding.because(format!("other proxies call port {HBONE}"));
    }
    let elsewhere = case.snapshot.node_state.iter().flat_map(|node| node.processes.iter().flatten());
    if let Some(process) = elsewhere.into_iter().find(|process| process.name == "ztunnel") {
        finding = finding.because(format!("ztunnel runs on the node, as PID {}", process.pid));
    }
    found.finding(finding.about(rules.first().map(|rule| (*rule).clone())));
}
