//! A filter rule in the pod drops what was sent to the proxy.

use super::{Kind, Page};
use crate::analysis::check::{Case, Found, Going, Severity};
use crate::model::{Endpoint, Protocol};

pub(super) const KIND: Kind = Kind {
    id: "RDR808",
    title: "A filter rule in the pod drops the translated traffic",
    severity: Severity::Error,
    page: Page {
        seen: "A port that the firewall in the pod allows is refused or times out, and only with the mesh.",
        why: "Filters see packets after translation: the proxy's port rather than the one that was dialled, and loopback rather than the \
              device. One drop in any base chain is final.",
        evidence: "A connection that some process of the pod opens, or that comes in to one of its ports, is sent to the proxy and then \
                   dropped or rejected by a rule or a policy.",
        remedy: "Accept the proxy's ports, and all of loopback, ahead of the drop.",
        references: &["clabernetes/clabernetes#325", "istio/istio#18956", "microsoft/mxc#798"],
    },
    silenced_by: &["RDR009"],
    look,
};

fn look(case: &Case<'_>, found: &mut Found) {
    if case.expected.mesh.is_none() {
        return;
    }
    let mut ended: Vec<(u16, Option<crate::model::RuleRef>, Vec<String>)> = Vec::new();
    let mut note = |going: Going, what: String| {
        let Going::Ended { rule, moved: Some(port) } = going else { return };
        match ended.iter_mut().find(|(known, by, _)| (*known, by) == (port, &rule)) {
            Some((.., what_else)) => what_else.push(what),
            None => ended.push((port, rule, vec![what])),
        }
    };
    for ipv6 in case.families() {
        let to = Endpoint::new(case.outside(ipv6), case.port());
        for identity in case.identities() {
            note(
                case.dials(identity.as_ref(), Protocol::Tcp, to),
                format!("a connection to {to}{}", by(identity.as_ref())),
            );
        }
        for to in case.served(ipv6) {
            note(case.comes(Protocol::Tcp, to), format!("a connection from outside to {to}"));
        }
    }
    for (port, rule, what) in ended {
        let by = rule.as_ref().map_or_else(|| "the policy of a chain".to_owned(), |rule| format!("rule {rule}"));
        let finding = KIND.found(
            format!("{by} drops what is sent to the proxy's port {port}"),
            format!("accept TCP port {port} and all of lo before that"),
        );
        found.finding(what.into_iter().take(4).fold(finding, super::Finding::because).about(rule));
    }
}

fn by(identity: Option<&crate::analysis::trace::Identity>) -> String {
    identity.map_or_else(String::new, |identity| format!(" by UID {}", identity.uid))
}
