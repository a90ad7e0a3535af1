//! Rules were changed while the pod ran.

use super::{Kind, Page};
use crate::analysis::check::{Case, Found, Severity};
use crate::model::{Flow, Protocol, SocketState, Subject};
use std::collections::BTreeSet;

pub(super) const KIND: Kind = Kind {
    id: "RDR004",
    title: "Rules were removed or changed while the pod runs",
    severity: Severity::Error,
    page: Page {
        seen: "What the mesh does stops at one moment; sometimes every open connection breaks at once.",
        why: "A privileged container or a program of the node flushed the rules, a firewall was loaded anew, or the \
              mesh's own program cleaned up.",
        evidence: "Tracked connections that were sent to a port of the proxy, which no rule does any more.",
        remedy: "Make the pod anew, and find who wrote: a container with NET_ADMIN in the pod, an agent of the node.",
        references: &["istio/istio#60607", "cloudnativelabs/kube-router#588", "istio/istio.io#9995"],
    },
    silenced_by: &["RDR009"],
    look,
};

fn look(case: &Case<'_>, found: &mut Found) {
    if case.expected.mesh.is_none() || case.unread(&[Subject::Rules]).is_some() {
        return;
    }
    let of_proxy: BTreeSet<u16> = case
        .snapshot
        .sockets
        .iter()
        .flatten()
        .filter(|socket| socket.state == SocketState::Listen && case.owners(socket).any(|person| person.proxy))
        .map(|socket| socket.local.port)
        .collect();
    let sent = |flow: &&Flow| {
        let (to, went) = (flow.original.1, flow.reply.0);
        flow.protocol == Protocol::Tcp
            && to.port != went.port
            && case.snapshot.is_local(went.address)
            && of_proxy.contains(&went.port)
            && !case.targets().iter().any(|target| target.port == went.port && target.ipv6 == went.address.is_ipv6())
    };
    let stale: Vec<&Flow> = case.snapshot.flows.iter().flatten().filter(sent).collect();
    let Some(first) = stale.first() else { return };
    let finding = KIND.found(
        format!("connections were sent to port {} of the proxy, and no rule does that any more", first.reply.0.port),
        "make the pod anew, and find who changed its rules: who has NET_ADMIN in it, or works on the node",
    );
    let tell = |finding: super::Finding, flow: &&Flow| {
        finding.because(format!("{} dialled {} and was sent to {}", flow.original.0, flow.original.1, flow.reply.0))
    };
    found.finding(stale.iter().take(MOST).fold(finding, tell));
}

/// Connections that are told one by one.
const MOST: usize = 3;
