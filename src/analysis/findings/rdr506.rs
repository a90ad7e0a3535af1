//! Docker's embedded DNS and the mesh's rules for DNS collide.

use super::{Kind, Page};
use crate::analysis::check::{Case, Found, Query, Severity};
use crate::model::{Protocol, Subject};

pub(super) const KIND: Kind = Kind {
    id: "RDR506",
    title: "Docker's embedded DNS rules and mesh DNS rules collide",
    severity: Severity::Warning,
    page: Page {
        seen: "In containers of docker run or kind, names do not resolve, or queries go past the mesh.",
        why: "Docker translates 127.0.0.11 to a port of its own inside the container, by the node's iptables backend; the mesh writes with \
              that of its image. Which of the two a query meets first then hangs on the order in which they were loaded.",
        evidence: "resolv.conf names 127.0.0.11, Docker's chains are there, DNS capture is expected, and a query to that address does not \
                   surely come to the mesh.",
        remedy: "One backend for both, and the mesh's rules before Docker's.",
        references: &["kumahq/kuma#6334", "kumahq/kuma#11684", "kumahq/kuma#2406", "kubernetes-sigs/kind#1678"],
    },
    silenced_by: &["RDR001", "RDR601", "RDR009", "RDR201", "RDR210"],
    look,
};

fn look(case: &Case<'_>, found: &mut Found) {
    let Some(reason) = case.wants_dns().filter(|_| case.unread(&[Subject::Rules]).is_none()) else { return };
    let Some(asks) = case.resolvers().into_iter().flatten().find(|asks| case.is_dockers(asks.resolver)) else { return };
    let mut facts = Vec::new();
    let mut rule = None;
    for who in case.identities() {
        let fact = match case.asks(who.as_ref(), Protocol::Udp, asks.resolver) {
            Query::Captured { .. } | Query::Ended => continue,
            Query::Foreign(to, by) => {
                let to = to.map_or_else(|| "Docker's resolver".to_owned(), |to| to.to_string());
                let fact = format!(
                    "a query to {} is sent to {to}{}",
                    asks.resolver,
                    by.as_ref().map_or_else(String::new, |by| format!(" by {by}"))
                );
                rule = rule.or(by);
                fact
            }
            Query::Direct(by) | Query::Proxied(by) => {
                rule = rule.or(by);
                format!("a query to {} goes past the mesh", asks.resolver)
            }
            Query::Unclear(why) => format!("where a query to {} goes is open: {why}", asks.resolver),
        };
        if !facts.contains(&fact) {
            facts.push(fact);
        }
    }
    if facts.is_empty() {
        return;
    }
    let finding = KIND.found(
        format!("queries to Docker's resolver {} do not surely come to the mesh", asks.resolver),
        "write the mesh's rules with the backend that Docker uses, and before Docker's",
    );
    let finding = finding.because(format!("expected: {reason}")).because(format!("{} names it", asks.by));
    let mut finding = facts.into_iter().fold(finding, super::Finding::because);
    let dns = case.expected.families.iter().find_map(|family| family.dns.as_ref());
    if let Some(dns) = dns {
        finding = finding.because(format!("the mesh captures queries by {}", dns.rule));
    }
    found.finding(finding.about(rule.or_else(|| dns.map(|dns| dns.rule.clone()))));
}
