//! The table of tracked connections is full.

use super::{Kind, Page};
use crate::analysis::check::{Case, Found, Severity};

pub(super) const KIND: Kind = Kind {
    id: "RDR704",
    title: "Conntrack table full or nearly",
    severity: Severity::Error,
    page: Page {
        seen: "Connections to everywhere time out now and then, on the whole node; the kernel logs that the table is \
              full and drops packets.",
        why: "A sidecar at least doubles the entries of each call, and entries of connections that are over stay for \
              long.",
        evidence: "How many entries there are, and how many there may be: of the node's table and of the namespace's own. \
              From 95 of 100 on it is an error, from 80 a warning.",
        remedy: "Raise nf_conntrack_max on the node, shorten the time that entries stay, find the workload that has so \
              many.",
        references: &["kubernetes/kubernetes#71261", "kubernetes/kubernetes#18604", "projectcalico/felix#617"],
    },
    silenced_by: &["RDR009"],
    look,
};

fn look(case: &Case<'_>, found: &mut Found) {
    let Some(state) = &case.snapshot.tracking else { return };
    for (of, usage) in [("the namespace", state.table), ("the node", state.node_table)] {
        let Some(usage) = usage.filter(|usage| usage.limit > 0) else { continue };
        let share = usage.count.saturating_mul(100) / usage.limit;
        let severity = match share {
            95.. => Severity::Error,
            80..95 => Severity::Warning,
            _ => continue,
        };
        let mut finding = KIND
            .found(
                format!("{share} % of the tracked connections are taken that {of} may have"),
                "raise nf_conntrack_max on the node, and find who has so many: nslens conns --summary",
            )
            .because(format!("{} of {} entries", usage.count, usage.limit));
        let ports: Vec<u16> = case.targets().iter().map(|target| target.port).collect();
        let flows = case.snapshot.flows.iter().flatten();
        let to_proxy = flows.filter(|flow| ports.contains(&flow.reply.0.port)).count();
        if to_proxy > 0 {
            finding = finding.because(format!("{to_proxy} of this workload's go to its proxy"));
        }
        found.finding(finding.severity(severity));
    }
}
