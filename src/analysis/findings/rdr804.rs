//! A security module stands in the way of set-up.

use super::{Kind, Page};
use crate::analysis::check::{Case, Found, Severity};

/// Profiles that runtimes give to all containers, and that let rules be written.
const USUAL: [&str; 4] = ["docker-default", "cri-containerd", "crio-default", "containers-default"];

pub(super) const KIND: Kind = Kind {
    id: "RDR804",
    title: "SELinux (or another LSM) blocks rule set-up",
    severity: Severity::Error,
    page: Page {
        seen: "The first run says \"No chain/target/match by that name\", all others \"Chain already exists\"; or \"Cannot initialize: \
              Permission denied\".",
        why: "From the container's domain no module may be asked for, or a file of rules stands where the domain may not read.",
        evidence: "Rules are missing or half made, the container that makes them has ended with an error and is not privileged, and \
                   SELinux is enforcing or AppArmor confines. The refusals themselves stand in the node's audit log, which is not read.",
        remedy: "Load the modules when the node starts, let the mesh's CNI plugin make the rules, or give the init container SELinux \
                 options of its own.",
        references: &["istio/istio#4500", "linkerd/linkerd2#7767", "linkerd/linkerd2#2768", "linkerd/linkerd2#11250"],
    },
    silenced_by: &["RDR009", "RDR809", "RDR810", "RDR802"],
    look,
};

fn look(case: &Case<'_>, found: &mut Found) {
    let Some(failed) = case.failed(found) else { return };
    let (Some(maker), Some(ended)) = (failed.maker, failed.words()) else { return };
    let Some(lsm) = case.snapshot.lsm.as_ref().filter(|lsm| is_in_force(lsm)) else { return };
    if maker.privileged == Some(true) {
        return;
    }
    let half = if failed.half { "half a rule set stands there" } else { "no rule of it stands there" };
    let privileged = match maker.privileged {
        Some(false) => format!("container {} is not privileged", maker.name),
        _ => format!("whether container {} is privileged is not told", maker.name),
    };
    let finding = KIND.found(
        format!("container {} could not make its rules, and {lsm} stands in the way of such", maker.name),
        "look for refusals in the node's audit log (ausearch -m avc); load the modules when the node starts, or use the CNI plugin",
    );
    // The process whose profile that is need not be of the container that has ended.
    let severity = if lsm.starts_with("SELinux") { Severity::Error } else { Severity::Warning };
    let finding = finding.because(ended).because(half).because(lsm.clone()).because(privileged);
    found.finding(finding.severity(severity));
}

/// Whether it forbids, rather than only writes down, and what runtimes do not let through by default.
fn is_in_force(lsm: &str) -> bool {
    match lsm.strip_prefix("AppArmor ") {
        Some(profile) => !profile.contains("(complain)") && !USUAL.iter().any(|usual| profile.starts_with(usual)),
        None => lsm == "SELinux enforcing",
    }
}
