//! A loop by TPROXY.

use super::{Kind, Page};
use crate::analysis::check::{Case, Found, Severity};

pub(super) const KIND: Kind = Kind {
    id: "RDR104",
    title: "TPROXY loop",
    severity: Severity::Error,
    page: Page {
        seen: "One request from outside makes the proxy call itself until there are no ports left.",
        why: "What the proxy sends to the application by the pod's address comes in by lo and meets the TPROXY rule \
              again, since nothing leaves the proxy's marks or loopback alone.",
        evidence: "Asked of the rules: a connection of the proxy to a served port of the pod's own address is given to the \
              proxy again, whichever of the marks it bears that rules know.",
        remedy: "Leave the proxy's marks alone ahead of TPROXY, and let the rule point at the inbound port.",
        references: &["istio/istio#23369", "istio/istio#28363"],
    },
    silenced_by: &["RDR009", "RDR001", "RDR101"],
    look,
};

fn look(case: &Case<'_>, found: &mut Found) {
    for ipv6 in case.families() {
        let Some(tproxy) = case.transparent(ipv6) else { continue };
        let (Some(to), Some(proxy)) = (
            case.served(ipv6).into_iter().next(),
            case.proxies().find(|person| !person.process.elsewhere && person.identity.is_some()),
        ) else {
            continue;
        };
        let marks = case.asked_marks(ipv6).into_iter().chain([0]);
        let goes = |mark: u32| case.passes_on_marked(proxy.identity.as_ref(), mark, to);
        let mut again = marks.map(|mark| goes(mark).is_captured());
        if again.all(|captured| captured) {
            let finding = KIND.found(
                format!(
                    "{} takes what the proxy sends to the application, and gives it back to the proxy",
                    tproxy.rule
                ),
                "leave packets with the proxy's mark, or those that come in by lo, alone ahead of it",
            );
            found.finding(
                finding
                    .because(format!("a connection of {} to {to} ends at port {}", proxy.words(), tproxy.port))
                    .about(Some(tproxy.rule)),
            );
        }
    }
}
