//! It is not clear which network namespace is the pod's.

use super::{Kind, Page};
use crate::analysis::check::{Case, Found, Severity};

pub(super) const KIND: Kind = Kind {
    id: "RDR806",
    title: "Ambiguous network namespace for the pod",
    severity: Severity::Warning,
    page: Page {
        seen: "Tools look at another namespace than the application uses, in the worst case at the node's.",
        why: "A process of the pod has left for a namespace of its own, or the runtime names another than the containers use.",
        evidence: "Processes of the pod's containers that live in different network namespaces, or a sandbox whose namespace is not that \
                   of the process that was entered.",
        remedy: "Name the process whose namespace is meant: pid/NUMBER.",
        references: &["istio/istio#55139", "istio/istio#58573"],
    },
    silenced_by: &["RDR002"],
    look,
};

fn look(case: &Case<'_>, found: &mut Found) {
    let workload = &case.snapshot.workload;
    let Some(netns) = workload.netns else { return };
    let astray: Vec<_> =
        case.people.iter().filter(|person| person.process.netns.is_some_and(|own| own != netns)).collect();
    // Where the node's proxy was given that one, this is told instead.
    let sandbox = workload.sandbox_netns.filter(|sandbox| *sandbox != netns && !case.is_served_elsewhere());
    if astray.is_empty() && sandbox.is_none() {
        return;
    }
    let remedy = match astray.first() {
        Some(person) => format!("look at that one too: nslens check pid/{}", person.process.pid),
        None => "name the process whose namespace is meant: pid/NUMBER".to_owned(),
    };
    let pid = workload.pid.map_or_else(String::new, |pid| format!(", that of PID {pid}"));
    let mut finding = KIND
        .found("processes of the pod are in different network namespaces", remedy)
        .because(format!("looked at: netns {}{pid}", netns.inode));
    for person in astray {
        let own = person.process.netns.map_or(0, |own| own.inode);
        finding = finding.because(format!("{} is in netns {own}", person.words()));
    }
    if let Some(sandbox) = sandbox {
        finding = finding.because(format!("the runtime's sandbox has netns {}", sandbox.inode));
    }
    found.finding(finding);
}
