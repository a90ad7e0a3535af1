//! Set-up for a family that there is none of.

use super::{Kind, Page};
use crate::analysis::check::{Case, Found, Severity};

pub(super) const KIND: Kind = Kind {
    id: "RDR810",
    title: "IPv6 disabled on the node while rule set-up insists on it (or the reverse)",
    severity: Severity::Error,
    page: Page {
        seen: "The init container fails with \"Address family not supported\" or cannot add ::6 to lo; pods with IPv6 alone fail on \
              tables of IPv4.",
        why: "Set-up tries both families whatever there is, or takes the family from the pod's first address.",
        evidence: "The container that makes rules has ended with an error and rules are missing, while the kernel does no IPv6 or a \
                   setting switches it off; or the pod has addresses of IPv6 alone, and what is missing is of IPv4.",
        remedy: "Tell the mesh which families there are, or use a version that finds out.",
        references: &["istio/istio#57199", "istio/istio#37410", "istio/istio#53161", "kumahq/kuma#11207"],
    },
    silenced_by: &["RDR009", "RDR809"],
    look,
};

fn look(case: &Case<'_>, found: &mut Found) {
    let Some(failed) = case.failed(found) else { return };
    let Some(ended) = failed.words() else { return };
    let alone = case.speaks(true) == Some(true) && case.speaks(false) == Some(false);
    let finding = match (switched_off(case), alone) {
        (Some(fact), false) => KIND
            .found(
                "set-up of the rules has failed where there is no IPv6",
                "tell the mesh to make rules for IPv4 alone, or switch IPv6 on",
            )
            .because(fact),
        (None, true) if !has_rules(case, false) => {
            let finding = KIND.found(
                "set-up of the rules has failed in a pod that has IPv6 alone",
                "tell the mesh to make rules for IPv6 alone, or load what the kernel needs for tables of IPv4",
            );
            let finding = finding.because("the pod has no address of IPv4, and no rule for it");
            match lacks_tables(case) {
                true => finding.because("the kernel has no legacy tables of IPv4 (no /proc/net/ip_tables_names)"),
                // Only a guess then.
                false => finding.severity(Severity::Warning),
            }
        }
        _ => return,
    };
    found.finding(finding.because(ended));
}

/// By what there is no IPv6.
fn switched_off(case: &Case<'_>) -> Option<String> {
    if case.snapshot.settings.as_ref().is_some_and(|settings| !settings.kernel.ipv6) {
        return Some("the kernel does no IPv6 (no /proc/net/if_inet6)".to_owned());
    }
    let settings = &case.snapshot.routes.as_ref()?.settings;
    let off = |device: &&str| settings.ipv6(device, "disable_ipv6") == Some(1);
    let device = ["all", "lo"].into_iter().find(off)?;
    Some(format!("net.ipv6.conf.{device}.disable_ipv6 is 1: no address of IPv6 can be added there"))
}

fn has_rules(case: &Case<'_>, ipv6: bool) -> bool {
    case.expected.family(ipv6).is_some_and(crate::analysis::mesh::Reach::captures)
}

fn lacks_tables(case: &Case<'_>) -> bool {
    let kernel = case.snapshot.settings.as_ref().map(|settings| &settings.kernel);
    kernel.is_some_and(|kernel| !kernel.legacy_tables.contains_key("ip") && kernel.legacy_tables.contains_key("ip6"))
}
