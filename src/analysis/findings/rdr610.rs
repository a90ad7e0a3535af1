//! HBONE's port is blocked or taken.

use super::{Kind, Page};
use crate::analysis::check::{Case, Found, Going, HBONE, Severity};
use crate::model::{Endpoint, Protocol, Subject};

pub(super) const KIND: Kind = Kind {
    id: "RDR610",
    title: "HBONE port 15008 blocked or taken",
    severity: Severity::Error,
    page: Page {
        seen: "Peers are refused on port 15008 of the pod, or time out.",
        why: "An application or a gateway listens on 15008 itself; a firewall in the pod knows the application's port alone; or a rule \
              redirects that port too.",
        evidence: "A process that is not the node's proxy listens on 15008, or a connection to it that comes in is redirected or dropped, \
                   asked of the rules. Policies outside of the pod cannot be seen from it.",
        remedy: "Free the port, and let TCP 15008 in.",
        references: &["istio/istio#61182", "istio/istio#60882", "istio/istio#52260", "istio/istio#55937"],
    },
    silenced_by: &["RDR009", "RDR601", "RDR605", "RDR808"],
    look,
};

fn look(case: &Case<'_>, found: &mut Found) {
    if !case.is_ambient() || case.expected.mode.is_none() {
        return;
    }
    if case.unread(&[Subject::Sockets, Subject::Rules]).is_some() {
        return; // That is told of the proxy's sockets.
    }
    for (socket, owners) in case.listeners(HBONE) {
        let Some(person) = owners.iter().find(|person| !person.proxy && !person.process.elsewhere) else { continue };
        let finding = KIND.found(
            format!("{} has taken port {HBONE}, on which other proxies call", person.words()),
            format!("let it listen on another port than {HBONE}"),
        );
        return found.finding(finding.because(format!("it listens at {}", socket.local)));
    }
    for ipv6 in case.families() {
        let Some(own) = case.own_address(ipv6) else { continue };
        let to = Endpoint::new(own, HBONE);
        let (title, rule) = match case.comes(Protocol::Tcp, to) {
            Going::Proxy { address: Some(_), port, rule, .. } if port != HBONE => {
                (format!("what comes in for port {HBONE} is sent to port {port}"), rule)
            }
            Going::Ended { rule, .. } => (format!("what comes in for port {HBONE} is dropped"), rule),
            Going::Unclear(why) => {
                found.cannot_tell(&KIND, format!("whether {to} can be reached: {why}"));
                continue;
            }
            _ => continue,
        };
        let finding = KIND.found(title, format!("let TCP port {HBONE} in, before anything else"));
        let fact = match &rule {
            Some(rule) => format!("a connection to {to} from outside ends by {rule}"),
            None => format!("a connection to {to} from outside ends by the policy of a chain"),
        };
        return found.finding(finding.because(fact).about(rule));
    }
}
