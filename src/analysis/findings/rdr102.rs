//! The exemption does not match the proxy that runs.

use super::{Kind, Page};
use crate::analysis::check::{Case, Finding, Found, Going, Person, Query, Severity};
use crate::analysis::mesh::{Mesh, Variant, within};
use crate::analysis::trace::Identity;
use crate::model::{Endpoint, Protocol, RuleRef, Subject};

pub(super) const KIND: Kind = Kind {
    id: "RDR102",
    title: "The exemption does not match the proxy that runs",
    severity: Severity::Error,
    page: Page {
        seen: "Every outbound call times out or ends in 500, right after a change of a security context, or where the platform gives out users.",
        why: "The proxy runs as another user than the rules leave alone: its own connections are sent back to it.",
        evidence: "A connection to somewhere whose connections are redirected, asked of the rules with the user and groups of the \
                   process that listens at their target: it is redirected too. Beside it, who is left alone. Where the proxy asks \
                   the pod's resolvers what the mesh does not know (Istio, Kuma), its queries are asked likewise.",
        remedy: "Give the proxy's container the user that the rules name, or make the rules for the user that it has.",
        references: &["istio/istio#51012", "istio/istio#52614", "istio/istio#30306", "hashicorp/nomad#23508"],
    },
    silenced_by: &["RDR009", "RDR101"],
    look,
};

fn look(case: &Case<'_>, found: &mut Found) {
    let families: Vec<(bool, Endpoint)> =
        case.families().into_iter().filter_map(|ipv6| Some((ipv6, case.drawn(ipv6)?))).collect();
    let forwards = FORWARD.contains(&case.expected.mesh) && case.expected.families.iter().any(|one| one.dns.is_some());
    if families.is_empty() && !forwards {
        return;
    }
    if let Some(why) = case.unread(&[Subject::Processes]) {
        return found.cannot_tell(&KIND, why);
    }
    for person in case.proxies().filter(|person| !person.process.elsewhere && !person.process.sockets.is_empty()) {
        let Some(identity) = &person.identity else {
            found.cannot_tell(
                &KIND,
                format!("the user of {} has no number in the namespace's counting", person.words()),
            );
            continue;
        };
        for (ipv6, to) in &families {
            match returns(case, *ipv6, identity, *to) {
                Some(Going::Proxy { port, rule, .. }) => {
                    return found.finding(comes_back(case, person, identity, (*to, port, rule)));
                }
                Some(Going::Unclear(why)) => {
                    found.cannot_tell(&KIND, format!("where connections of {} go: {why}", person.words()));
                }
                _ => {}
            }
        }
        if let Some(finding) = asks_itself(case, person, identity).filter(|_| forwards) {
            return found.finding(finding);
        }
    }
    halved(case, found);
}

/// Meshes whose proxies ask the pod's resolvers what they do not know. Consul's asks its servers, by another way.
const FORWARD: [Option<Mesh>; 2] = [Some(Mesh::Istio), Some(Mesh::Kuma)];

/// Queries of the proxy that are sent to the port at which it takes the applications'.
fn asks_itself(case: &Case<'_>, person: &Person<'_>, identity: &Identity) -> Option<Finding> {
    let known = case.resolvers().into_iter().flatten().map(|asks| asks.resolver);
    let outside = case.families().into_iter().map(|ipv6| case.outside(ipv6));
    let resolvers: Vec<_> = known.chain(outside).collect();
    let asked = resolvers.into_iter().flat_map(|to| [Protocol::Udp, Protocol::Tcp].map(|protocol| (protocol, to)));
    let (protocol, resolver, port, rule) = asked.into_iter().find_map(|(protocol, to)| {
        let Query::Captured { to: Some(port), rule, .. } = case.asks(Some(identity), protocol, to) else { return None };
        case.dns_ports().contains(&port.port).then_some((protocol, to, port.port, rule))
    })?;
    let uid = identity.uid;
    let finding = KIND.found(
        format!("what the proxy (UID {uid}) asks other resolvers comes back to it"),
        format!("leave UID {uid} alone before queries are captured, over UDP and TCP, or make the pod anew"),
    );
    let by = rule.as_ref().map_or_else(String::new, |rule| format!(" by {rule}"));
    let finding = finding
        .because(format!("the proxy is {}", person.words()))
        .because(format!("a query of it to {resolver} over {protocol} is sent to port {port}{by}"));
    Some(finding.about(rule))
}

/// Istio leaves the proxy's user and its group alone: one of the two is no loop for a proxy that has both, and is not what was written.
fn halved(case: &Case<'_>, found: &mut Found) {
    let exempt = &case.expected.exempt;
    let (here, gone) = match (exempt.uids.is_empty(), exempt.gids.is_empty()) {
        (false, true) => ("user", "group"),
        (true, false) => ("group", "user"),
        _ => return,
    };
    let sidecar = case.expected.mesh == Some(Mesh::Istio) && case.expected.variant == Some(Variant::Sidecar);
    if sidecar && exempt.marks.is_empty() {
        let finding = KIND.found(
            format!("rules leave the proxy's {here} alone, and not its {gone}"),
            format!("write the rule for the {gone} too, or make the pod anew"),
        );
        found.finding(finding.because("Istio writes both").severity(Severity::Info));
    }
}

/// What becomes of a connection of the proxy, where it is sent to a port of the mesh again or that cannot be told; a mark that rules
/// leave alone may be the proxy's.
fn returns(case: &Case<'_>, ipv6: bool, identity: &Identity, to: Endpoint) -> Option<Going> {
    let lane = case.lane(ipv6, false)?;
    let marks = case.expected.exempt.marks.iter().map(|(mark, _)| *mark);
    let goings = std::iter::once(0).chain(marks).map(|mark| case.dials_marked(identity, mark, to));
    let mut back = None;
    for going in goings {
        match &going {
            Going::Proxy { port, .. } if lane.written.contains(port) || lane.port == Some(*port) => {
                back = back.or(Some(going));
            }
            Going::Unclear(_) => back = back.or(Some(going)),
            _ => return None,
        }
    }
    back
}

fn comes_back(
    case: &Case<'_>,
    person: &Person<'_>,
    identity: &Identity,
    (to, port, rule): (Endpoint, u16, Option<RuleRef>),
) -> Finding {
    let exempt = &case.expected.exempt;
    let uid = identity.uid;
    let names = |ids: &std::collections::BTreeSet<(u32, u32)>| {
        ids.iter()
            .map(|(from, to)| if from == to { from.to_string() } else { format!("{from}-{to}") })
            .collect::<Vec<_>>()
            .join(", ")
    };
    let left_alone = match (exempt.uids.is_empty(), exempt.gids.is_empty()) {
        (true, true) => "rules leave nobody's connections alone".to_owned(),
        (false, true) => format!("rules leave UID {} alone", names(&exempt.uids)),
        (true, false) => format!("rules leave GID {} alone", names(&exempt.gids)),
        (false, false) => format!("rules leave UID {} and GID {} alone", names(&exempt.uids), names(&exempt.gids)),
    };
    let written = within(&exempt.uids, uid) || within(&exempt.gids, identity.gid);
    let finding = match written {
        false => KIND.found(
            format!("the proxy runs as UID {uid}, whom no rule leaves alone: its own connections come back to it"),
            format!("run the proxy as the user that rules name, or leave UID {uid} alone before the outbound redirect"),
        ),
        true => KIND.found(
            format!(
                "connections of the proxy (UID {uid}) come back to it: the rule that is to leave them alone does not"
            ),
            format!("let the rule for UID {uid} stand before the outbound redirect, in both families"),
        ),
    };
    let by = rule.as_ref().map_or_else(String::new, |rule| format!(" by {rule}"));
    finding
        .because(format!("the proxy is {}", person.words()))
        .because(left_alone)
        .because(format!("a connection of it to {to} is sent to port {port}{by}"))
        .about(rule)
}
