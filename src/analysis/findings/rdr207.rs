//! A balancer at connect time hides services.

use super::{Kind, Page};
use crate::analysis::check::{Case, Found, Severity};
use crate::analysis::mesh::Captured;
use crate::analysis::observations::Kind as Seen;

/// Where programs change whom a socket speaks to.
const HOOKS: [&str; 4] = ["connect4", "connect6", "sendmsg4", "sendmsg6"];

pub(super) const KIND: Kind = Kind {
    id: "RDR207",
    title: "Connect-time (socket) load balancing hides the service address",
    severity: Severity::Warning,
    page: Page {
        seen: "Traffic reaches the proxy, and routing, retries, balancing and policy by service do nothing; where only \
              known services are allowed, everything is refused.",
        why: "A program of the kernel (eBPF) changes the destination when a connection is opened, before any rule: the \
              proxy sees a pod's address where a service's was dialled.",
        evidence: "Programs at the connect or sendmsg hook of the pod's control group. Redirected connections that were \
              dialled to machines rather than services are told with it.",
        remedy: "Cilium: socketLB.hostNamespaceOnly=true. Calico: bpfConnectTimeLoadBalancing=Disabled.",
        references: &[
            "cilium/cilium#16583",
            "cilium/cilium#13882",
            "projectcalico/calico#6908",
            "linkerd/linkerd2#9674",
            "istio/istio#54176",
        ],
    },
    silenced_by: &["RDR009", "RDR001"],
    look,
};

fn look(case: &Case<'_>, found: &mut Found) {
    let captured = case.expected.families.iter().any(|family| family.outbound.captured == Captured::All);
    if case.expected.mesh.is_none() || !captured {
        return;
    }
    let programs = case.snapshot.programs.iter().flatten();
    let at_connect: Vec<&String> =
        programs.filter(|program| HOOKS.iter().any(|hook| program.starts_with(hook))).collect();
    if at_connect.is_empty() {
        return;
    }
    let finding = KIND.found(
        "programs of the kernel choose where connections go before any rule sees them",
        "let them work in the node's namespace alone: socketLB.hostNamespaceOnly=true (Cilium), bpfConnectTimeLoadBalancing=Disabled (Calico)",
    );
    let finding = at_connect.into_iter().fold(finding, |finding, program| finding.because(program.clone()));
    let endpoints = case.observed(Seen::Endpoints);
    found.finding(endpoints.fold(finding, |finding, one| finding.because(one.words.clone())));
}
