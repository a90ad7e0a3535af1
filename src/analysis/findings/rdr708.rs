//! Calls of a pod to itself.

use super::{Kind, Page};
use crate::analysis::check::{Case, Found, Going, Person, Severity, Stopped};
use crate::analysis::join::{Connection, Direction, Way};
use crate::analysis::mesh::Mesh;
use crate::model::{Endpoint, Protocol};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub(super) const KIND: Kind = Kind {
    id: "RDR708",
    title: "Self-calls take a different road than expected",
    severity: Severity::Info,
    page: Page {
        seen: "A pod does not reach its own service, and localhost works; or half of the calls fail where there are two replicas.",
        why: "By its service's address a pod calls itself through the outbound proxy, which then dials the pod's own address by \
              loopback: to the inbound proxy with Istio, straight to the application with Linkerd. Its own address is not captured at all.",
        evidence: "Asked of the rules: a call of the application to localhost, to the pod's own address and to a service, and one of \
                   the proxy to the pod's own address. It is told where such calls are open now; and as a warning where what the \
                   proxy dials by loopback is dropped.",
        remedy: "Nothing where it is meant; else leave the port alone, or call localhost.",
        references: &[
            "istio/istio#37890",
            "istio/istio#30990",
            "istio/istio#19308",
            "linkerd/linkerd2#1585",
            "linkerd/linkerd2#10816",
        ],
    },
    silenced_by: &[
        "RDR009", "RDR001", "RDR003", "RDR401", "RDR407", "RDR406", "RDR011", "RDR101", "RDR103", "RDR104", "RDR301",
    ],
    look,
};

fn look(case: &Case<'_>, found: &mut Found) {
    if case.expected.mesh.is_none() || !case.expected.captures_something() {
        return;
    }
    for ipv6 in case.families() {
        let Some(to) = case.served(ipv6).into_iter().find(|to| to.port != case.port()) else { continue };
        let roads = roads(case, ipv6, to);
        let calls = calls(case, ipv6);
        let local = roads.iter().find(|road| road.local && road.going.is_captured());
        if let Some(Road { going: Going::Proxy { port, rule, .. }, .. }) = local {
            let finding = KIND.found(
                format!("calls of the application to localhost go to port {port} of the proxy"),
                "leave what goes by lo alone, ahead of the redirect, or make the pod anew",
            );
            let finding = roads.iter().fold(finding, |finding, road| finding.because(road.words()));
            return found.finding(finding.severity(Severity::Warning).about(rule.clone()));
        }
        let lost = roads.iter().find(|road| road.proxys && matches!(road.going, Going::Ended { .. } | Going::Nowhere));
        let outward = roads.iter().any(|road| road.outward && road.going.is_captured());
        let finding = match (lost.filter(|_| outward), calls.first()) {
            (Some(road), _) => {
                let rule = if let Going::Ended { rule, .. } = &road.going { rule.clone() } else { None };
                KIND.found(
                    format!("what the proxy dials at the pod's own address {} gets nowhere", to.address),
                    "let what goes by lo pass, or call localhost",
                )
                .severity(Severity::Warning)
                .about(rule)
            }
            (None, Some(call)) => {
                let peer = call.peer.map_or_else(String::new, |peer| format!(" {peer}"));
                let who = call.process().map_or_else(|| "a process".to_owned(), |owner| owner.name.clone());
                let title = "the pod calls itself, and each way to do so takes another road";
                let finding =
                    KIND.found(title, "nothing where that is meant; else call localhost, or leave the port alone");
                finding.because(format!("{who} has called{peer}, {} such connections are open", calls.len()))
            }
            (None, None) if stays(case) && roads.iter().any(|road| road.own && road.going.is_captured()) => KIND.found(
                "calls of the application to the pod's own address go to the proxy as others do",
                "nothing where that is meant; else leave what goes by lo alone, ahead of the redirect",
            ),
            (None, None) if comes_round(case, ipv6) && roads.iter().any(|road| road.proxys && road.is_direct()) => KIND
                .found(
                    "what the proxy calls at the pod's own address goes straight to the application",
                    "nothing where that is meant; else let such calls go to the proxy's inbound port, as the mesh writes it",
                ),
            (None, None) => continue,
        };
        found.finding(roads.iter().fold(finding, |finding, road| finding.because(road.words())));
    }
}

/// A call of the pod to itself, and where it goes.
struct Road {
    what: String,
    going: Going,
    /// It is one to localhost.
    local: bool,
    /// It is one of the application to the pod's own address.
    own: bool,
    /// It is the proxy that calls.
    proxys: bool,
    /// It is one to an address that is not the pod's.
    outward: bool,
}

/// Whether the mesh leaves alone what applications send by lo.
fn stays(case: &Case<'_>) -> bool {
    matches!(case.expected.mesh, Some(Mesh::Istio | Mesh::Kuma | Mesh::Linkerd | Mesh::Osm)) && !case.is_ambient()
}

/// Whether the mesh sends what its proxy calls at the pod's own address to its inbound port, as Istio and Kuma do; where IPv6 is lost
/// altogether another finding says so.
fn comes_round(case: &Case<'_>, ipv6: bool) -> bool {
    matches!(case.expected.mesh, Some(Mesh::Istio | Mesh::Kuma))
        && !case.is_ambient()
        && [false, true].into_iter().all(|incoming| case.stopped(ipv6, incoming) == Stopped::Not)
}

impl Road {
    fn is_direct(&self) -> bool {
        matches!(self.going, Going::Direct(_))
    }

    fn words(&self) -> String {
        let by = |rule: &Option<crate::model::RuleRef>| {
            rule.as_ref().map_or_else(String::new, |rule| format!(", by {rule}"))
        };
        let road = match &self.going {
            Going::Proxy { port, rule, .. } => format!("is sent to port {port}{}", by(rule)),
            Going::Direct(rule) => format!("goes there as it is{}", by(rule)),
            Going::Ended { rule, .. } => format!("is dropped{}", by(rule)),
            Going::Nowhere => "has no route".to_owned(),
            Going::Unclear(why) => format!("cannot be told: {why}"),
        };
        format!("{} {road}", self.what)
    }
}

fn roads(case: &Case<'_>, ipv6: bool, to: Endpoint) -> Vec<Road> {
    let mut roads = Vec::new();
    let local = if ipv6 { IpAddr::from(Ipv6Addr::LOCALHOST) } else { IpAddr::from(Ipv4Addr::LOCALHOST) };
    let service = Endpoint::new(case.outside(ipv6), case.port());
    let served = to.address;
    if let Some(who) = case.identities().first() {
        let by = who.as_ref().map_or_else(String::new, |who| format!(" by UID {}", who.uid));
        for (name, to) in
            [("localhost", Endpoint::new(local, to.port)), ("the pod's own address", to), ("a service", service)]
        {
            let what =
                if to == service { format!("a call to {name}{by}") } else { format!("a call to {name}, {to},{by}") };
            let going = case.dials(who.as_ref(), Protocol::Tcp, to);
            roads.push(Road {
                what,
                going,
                local: to.address == local,
                own: to.address == served,
                proxys: false,
                outward: to == service,
            });
        }
    }
    let here = |person: &&Person<'_>| !person.process.elsewhere && person.identity.is_some();
    if let Some(proxy) = case.proxies().find(here) {
        let what = format!("a call of the proxy to {to}");
        let going = case.dials(proxy.identity.as_ref(), Protocol::Tcp, to);
        roads.push(Road { what, going, local: false, own: false, proxys: true, outward: false });
    }
    roads
}

/// Connections of the pod to its own address that are open: an application's, or such of the proxy's as come back to it.
fn calls<'c>(case: &'c Case<'_>, ipv6: bool) -> Vec<&'c Connection> {
    let proxys = |one: &Connection| {
        one.processes.iter().any(|owner| case.proxies().any(|person| person.process.pid == owner.pid))
    };
    let own = |peer: IpAddr| peer.is_ipv6() == ipv6 && !peer.is_loopback() && case.snapshot.is_local(peer);
    let here = |one: &&Connection| {
        one.is_live()
            && one.direction == Some(Direction::Out)
            && !one.processes.is_empty()
            && one.peer.is_some_and(|peer| own(peer.address))
            && (!proxys(one) || one.way == Way::Redirected)
    };
    case.connections().iter().filter(here).collect()
}
