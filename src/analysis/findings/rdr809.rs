//! Whoever was to make the rules may not.

use super::{Kind, Page};
use crate::analysis::check::{Case, Found, Severity};
use crate::model::Container;

/// What it takes to write rules; the second for a raw socket, by which the legacy programs read and write them.
const RIGHTS: [&str; 2] = ["NET_ADMIN", "NET_RAW"];

pub(super) const KIND: Kind = Kind {
    id: "RDR809",
    title: "Rule set-up not permitted (capabilities, pod security)",
    severity: Severity::Error,
    page: Page {
        seen: "The init container is refused, or ends with \"Operation not permitted\"; or the pod was let in without it.",
        why: "Restricted pod security, a security context constraint or an admission policy takes from injected containers the rights \
              that it takes to write rules.",
        evidence: "The container that makes rules has ended with an error, its first process began without NET_ADMIN or NET_RAW, and \
                   rules are missing. A pod that was not let in at all is not seen from the node.",
        remedy: "Let the mesh's CNI plugin make the rules, or allow NET_ADMIN and NET_RAW for injected init containers.",
        references: &[
            "linkerd/linkerd-inject#7",
            "linkerd/linkerd2#2768",
            "https://istio.io/latest/docs/ops/deployment/application-requirements/",
        ],
    },
    silenced_by: &["RDR009"],
    look,
};

fn look(case: &Case<'_>, found: &mut Found) {
    let Some(failed) = case.failed(found) else { return };
    let (Some(maker), Some(ended)) = (failed.maker, failed.words()) else { return };
    let missing = missing(maker);
    if missing.is_empty() {
        return;
    }
    let missing = missing.join(" and ");
    let mut finding = KIND
        .found(
            format!("container {} was to make rules, and had not the right to: {missing} missing", maker.name),
            format!("let the mesh's CNI plugin make the rules, or allow {missing} for container {}", maker.name),
        )
        .because(ended);
    let has = maker.capabilities.iter().flatten().take(8).cloned().collect::<Vec<_>>().join(", ");
    let has = if has.is_empty() { "no capability".to_owned() } else { format!("only {has}") };
    finding = finding.because(match maker.user {
        Some(user) => format!("its first process began as user {user} with {has}"),
        None => format!("its first process began with {has}"),
    });
    found.finding(finding);
}

/// Rights that it lacks; none where that is not told.
fn missing(maker: &Container) -> Vec<&'static str> {
    let Some(has) = maker.capabilities.as_ref().filter(|_| maker.privileged != Some(true)) else { return Vec::new() };
    RIGHTS.into_iter().filter(|right| !has.iter().any(|own| own == right || own == "ALL")).collect()
}
