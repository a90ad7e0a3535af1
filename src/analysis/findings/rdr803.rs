//! Set-up did not get the lock.

use super::{Kind, Page};
use crate::analysis::check::{Case, Found, Severity};
use crate::model::{Backend, LockHolder};

/// With what programs of iptables end that did not get the lock (`RESOURCE_PROBLEM`).
const NO_LOCK: i32 = 4;

pub(super) const KIND: Kind = Kind {
    id: "RDR803",
    title: "Rule set-up lost the race for the xtables lock",
    severity: Severity::Warning,
    page: Page {
        seen: "\"Another app is currently holding the xtables lock\"; sandboxes are made again and again; half a rule set.",
        why: "Many programs of the node write rules, and set-up does not wait.",
        evidence: "Half a rule set in the legacy backend, and a process that holds /run/xtables.lock in both samples, or the container \
                   that makes rules has ended with 4, as iptables does then. Half a set alone is information. What its log says is not \
                   seen from the node.",
        remedy: "Let set-up wait (iptables -w), use a newer version, or let it write with nft, which needs no lock.",
        references: &[
            "istio/istio#58507",
            "istio/istio#30394",
            "istio/istio#54050",
            "istio/cni#23",
            "kubernetes/kubernetes#57428",
        ],
    },
    silenced_by: &["RDR009", "RDR809", "RDR810", "RDR802", "RDR804"],
    look,
};

fn look(case: &Case<'_>, found: &mut Found) {
    let Some(failed) = case.failed(found).filter(|failed| failed.backend == Some(Backend::Legacy)) else { return };
    let refused = failed.maker.is_some_and(|maker| maker.exit_code == Some(NO_LOCK));
    let holder = case.snapshot.lock_holder.as_ref();
    let later = case.asked.later.and_then(|later| later.lock_holder.as_ref());
    // Whoever writes holds it for a moment.
    let long = holder.is_some_and(|holder| later.is_some_and(|later| later.pid == holder.pid));
    let mut finding = KIND.found(
        "half a rule set stands in the legacy backend, as it is left where the lock was held by another",
        "read the log of what makes the rules; let it wait for the lock (iptables -w), or write with nft, and make the pod anew",
    );
    if let Some(holder) = holder {
        let how = if long { "still holds" } else { "holds" };
        finding = finding.because(format!("{} {how} /run/xtables.lock", words(holder)));
    } else {
        finding = finding.because("nobody holds /run/xtables.lock now");
    }
    finding = failed.words().into_iter().fold(finding, super::Finding::because);
    if refused {
        finding = finding.because("iptables ends with 4 where it does not get the lock");
    }
    found.finding(finding.severity(if long || refused { Severity::Warning } else { Severity::Info }));
}

fn words(holder: &LockHolder) -> String {
    let name = holder.name.as_ref().map_or_else(|| "a process".to_owned(), Clone::clone);
    format!("{name} (PID {})", holder.pid)
}
