//! IPv6's default deny blocks neighbour discovery.

use super::{Kind, Page};
use crate::analysis::check::{Case, Found, Going, Severity};
use crate::analysis::trace::Question;
use crate::model::{Endpoint, Protocol};
use std::net::{IpAddr, Ipv6Addr};

/// IANA number of ICMPv6.
const ICMPV6: u8 = 58;
/// Neighbour solicitation and advertisement (RFC 4861): without them nobody reaches the pod, and the pod nobody.
const NEEDED: [(u8, &str); 2] = [(135, "neighbour solicitation"), (136, "neighbour advertisement")];
/// Router solicitation and advertisement: a pod with a static route does without.
const ROUTERS: [(u8, &str); 2] = [(133, "router solicitation"), (134, "router advertisement")];

pub(super) const KIND: Kind = Kind {
    id: "RDR409",
    title: "IPv6 default-deny blocks neighbour discovery",
    severity: Severity::Error,
    page: Page {
        seen: "With the mesh in place IPv6 is dead altogether.",
        why: "A rule or a policy of INPUT drops all that it does not know, and makes no exception for ICMPv6: nobody's address \
              can be found.",
        evidence: "Asked of the rules: solicitations and advertisements of neighbours (ICMPv6 types 135 and 136) that come in to the \
                   pod's own address from a neighbour are dropped, and by which rule.",
        remedy: "Accept ICMPv6 ahead of the rule that drops, or upgrade what wrote it.",
        references: &["istio/istio#18956"],
    },
    silenced_by: &["RDR009"],
    look,
};

fn look(case: &Case<'_>, found: &mut Found) {
    let Some(own) = case.own_address(true).filter(|_| case.expected.mesh.is_some()) else { return };
    // A neighbour asks from an address of the link.
    let neighbour = IpAddr::from(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x77));
    let goes = |kind: u8| {
        case.going(&Question {
            incoming: true,
            protocol: Protocol::from_number(ICMPV6),
            source: Some(neighbour),
            icmp: Some(kind),
            ..Question::to(Endpoint::new(own, 0))
        })
    };
    let ended = |(kind, name): (u8, &'static str)| match goes(kind) {
        Going::Ended { rule, .. } => Some((kind, name, rule)),
        _ => None,
    };
    let lost: Vec<_> = NEEDED.into_iter().filter_map(ended).collect();
    let Some((_, _, rule)) = lost.first().cloned() else {
        let open = NEEDED.into_iter().find_map(|(kind, name)| match goes(kind) {
            Going::Unclear(why) => Some(format!("whether {name} (ICMPv6 type {kind}) gets in: {why}")),
            _ => None,
        });
        return open.into_iter().for_each(|why| found.cannot_tell(&KIND, why));
    };
    let mut finding = KIND.found(
        "neighbours cannot find the pod over IPv6: rules drop their questions or answers",
        "accept ICMPv6 ahead of that rule, in ip6tables or nft",
    );
    for (kind, name, by) in lost.into_iter().chain(ROUTERS.into_iter().filter_map(ended)) {
        let by = by.map_or_else(|| "the policy of a chain".to_owned(), |rule| rule.to_string());
        finding = finding.because(format!("{name} (ICMPv6 type {kind}) to {own} is dropped by {by}"));
    }
    found.finding(finding.about(rule));
}
