//! IPv4 and IPv6 rule sets disagree.

use super::{Kind, Page};
use crate::analysis::check::{Case, DOMAIN, Found, Going, Severity, Stopped};
use crate::analysis::mesh::{Lane, Picked};
use crate::analysis::trace::{Identity, Question};
use crate::model::{Endpoint, Protocol, RuleRef, Subject};
use crate::packet::state;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Differences that are told; there is one cause for all of them, most times.
const MOST: usize = 6;
/// From where Istio's and Kuma's proxies dial the application, in each family.
const PASSED_ON: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(127, 0, 0, 6)), IpAddr::V6(Ipv6Addr::new(0, 0, 0, 0, 0, 0, 0, 6))];

pub(super) const KIND: Kind = Kind {
    id: "RDR403",
    title: "IPv4 and IPv6 rule sets disagree",
    severity: Severity::Warning,
    page: Page {
        seen: "An exclusion, or a list of ports, works in one family only.",
        why: "What writes rules has a fault in one family; the resolver is known in one alone; a batch of IPv6 failed; \
              somebody mended one of two.",
        evidence: "The same questions asked of both families' rules: every port, user and group that either of them names, from \
                   within and from outside, and calls to oneself. Where both capture, and one of these ends otherwise, they \
                   disagree. Networks are of one family, and are not compared.",
        remedy: "Upgrade what writes the rules, and make the pod anew.",
        references: &["istio/istio#19940", "istio/istio#30868", "kumahq/kuma#10799", "kumahq/kuma#10800"],
    },
    silenced_by: &["RDR009", "RDR001", "RDR003", "RDR101", "RDR102", "RDR103", "RDR203", "RDR402"],
    look,
};

/// A question that both families can be asked.
struct Pair {
    /// What it is about, in words.
    words: String,
    /// Of each family.
    questions: [Question; 2],
}

/// How one of the two ends, as far as families can be compared.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Sent(u16),
    Left,
}

fn look(case: &Case<'_>, found: &mut Found) {
    if case.expected.mesh.is_none() || case.families().len() < 2 {
        return;
    }
    if let Some(why) = case.unread(&[Subject::Rules]) {
        return found.cannot_tell(&KIND, why);
    }
    let mut told: Vec<String> = Vec::new();
    let mut rule = None;
    for pair in pairs(case) {
        let [of_ipv4, of_ipv6] = pair.questions.each_ref().map(|question| case.going(question));
        let (Some(one), Some(other)) = (end(case, &of_ipv4), end(case, &of_ipv6)) else { continue };
        // What a rule does is told by its own finding.
        let is_told = |rule: &RuleRef| found.findings.iter().any(|finding| finding.rule.as_ref() == Some(rule));
        if one == other || [&of_ipv4, &of_ipv6].into_iter().filter_map(leaving).any(|rule| is_told(&rule)) {
            continue;
        }
        told.push(format!("{}: over IPv4 {}, over IPv6 {}", pair.words, words(&of_ipv4), words(&of_ipv6)));
        rule = rule.or_else(|| leaving(&of_ipv6).or_else(|| leaving(&of_ipv4)));
    }
    if told.is_empty() {
        return;
    }
    let every = |ipv6: bool| case.expected.family(ipv6)?.dns.as_ref().filter(|dns| dns.resolver.is_none());
    let title = match (every(false), every(true)) {
        (None, Some(_)) if told.iter().all(|words| words.starts_with("queries")) => {
            "over IPv6 queries to any resolver are captured, and over IPv4 those to one"
        }
        _ => "rules treat IPv4 and IPv6 differently",
    };
    let more = told.len().saturating_sub(MOST);
    let mut finding =
        KIND.found(title, "make the rules of both families alike: upgrade what writes them, and make the pod anew");
    for words in told.into_iter().take(MOST) {
        finding = finding.because(words);
    }
    if more > 0 {
        finding = finding.because(format!("and {more} more"));
    }
    found.finding(finding.about(rule));
}

/// The rule that leaves a connection alone.
fn leaving(going: &Going) -> Option<RuleRef> {
    if let Going::Direct(rule) = going { rule.clone() } else { None }
}

fn end(case: &Case<'_>, going: &Going) -> Option<End> {
    // A redirect that finds no address is written as the other family's is.
    let redirects = |rule: &RuleRef| rule.find(case.snapshot.rulesets()).is_some_and(|(_, rule)| rule.redirects());
    match going {
        Going::Direct(Some(rule)) if redirects(rule) => None,
        Going::Proxy { port, .. } => Some(End::Sent(*port)),
        Going::Direct(_) => Some(End::Left),
        // What filters do in one family alone is none of redirection's business.
        Going::Ended { .. } | Going::Nowhere | Going::Unclear(_) => None,
    }
}

fn words(going: &Going) -> String {
    let by = |rule: &Option<RuleRef>| rule.as_ref().map_or_else(String::new, |rule| format!(" by {rule}"));
    match going {
        Going::Proxy { port, rule, .. } => format!("sent to port {port}{}", by(rule)),
        Going::Direct(rule) => format!("left alone{}", by(rule)),
        Going::Ended { .. } | Going::Nowhere | Going::Unclear(_) => "open".to_owned(),
    }
}

/// What both families are asked: in directions that both capture.
fn pairs(case: &Case<'_>) -> Vec<Pair> {
    let mut pairs = Vec::new();
    let both = |incoming: bool| [false, true].into_iter().all(|ipv6| case.stopped(ipv6, incoming) == Stopped::Not);
    if both(false) {
        outbound(case, &mut pairs);
    }
    if both(true) {
        inbound(case, &mut pairs);
    }
    if let [Some(_), Some(_)] = [false, true].map(|ipv6| case.expected.family(ipv6)?.dns.as_ref()) {
        for (name, protocol) in [("UDP", Protocol::Udp), ("TCP", Protocol::Tcp)] {
            pairs.push(Pair {
                words: format!("queries over {name} to an unnamed resolver"),
                questions: [false, true]
                    .map(|ipv6| Question { protocol, ..asked(None, Endpoint::new(case.outside(ipv6), DOMAIN)) }),
            });
        }
    }
    pairs
}

fn outbound(case: &Case<'_>, pairs: &mut Vec<Pair>) {
    let free = Identity { uid: case.free_id(), gid: case.free_id(), groups: Vec::new() };
    let mut people = vec![("a connection".to_owned(), free.clone())];
    let each = |ids: &BTreeSet<(u32, u32)>| ids.iter().map(|(first, _)| *first).collect::<Vec<_>>();
    let named = picked(case, false, |picked| &picked.uids);
    people.extend(each(&named).into_iter().map(|uid| (format!("one of UID {uid}"), Identity { uid, ..free.clone() })));
    let named = picked(case, false, |picked| &picked.gids);
    people.extend(each(&named).into_iter().map(|gid| (format!("one of GID {gid}"), Identity { gid, ..free.clone() })));
    let ports = picked(case, false, |picked| &picked.ports);
    let ports = ports.into_iter().map(|(port, _)| port).filter(|port| *port != DOMAIN);
    for port in std::iter::once(case.port()).chain(ports) {
        let questions = [false, true].map(|ipv6| asked(Some(&free), Endpoint::new(case.outside(ipv6), port)));
        pairs.push(Pair { words: format!("a connection to port {port}"), questions });
    }
    for (name, who) in people {
        let outside = [false, true].map(|ipv6| asked(Some(&who), Endpoint::new(case.outside(ipv6), case.port())));
        pairs.push(Pair { words: format!("{name} to port {}", case.port()), questions: outside });
        let loopback = [false, true].map(|ipv6| {
            let own: IpAddr = if ipv6 { Ipv6Addr::LOCALHOST.into() } else { Ipv4Addr::LOCALHOST.into() };
            asked(Some(&who), Endpoint::new(own, case.port()))
        });
        pairs.push(Pair { words: format!("{name} to loopback"), questions: loopback });
        let Some(own) = case.own_address(false).zip(case.own_address(true)) else { continue };
        let own = [own.0, own.1];
        for (from, sources) in [("", [None, None]), (" from the proxy's own source", PASSED_ON.map(Some))] {
            let ends = own
                .into_iter()
                .zip(sources)
                .map(|(own, source)| Question { source, ..asked(Some(&who), Endpoint::new(own, case.port())) });
            let Ok(questions) = <[Question; 2]>::try_from(ends.collect::<Vec<_>>()) else { continue };
            pairs.push(Pair { words: format!("{name} to the pod's own address{from}"), questions });
        }
    }
    // What is asked twice is told once.
    let mut seen: Vec<[Question; 2]> = Vec::new();
    pairs.retain(|pair| {
        let new = !seen.contains(&pair.questions);
        seen.push(pair.questions.clone());
        new
    });
}

fn inbound(case: &Case<'_>, pairs: &mut Vec<Pair>) {
    let Some((of_ipv4, of_ipv6)) = case.own_address(false).zip(case.own_address(true)) else { return };
    let ports = picked(case, true, |picked| &picked.ports);
    for port in std::iter::once(case.port()).chain(ports.into_iter().map(|(port, _)| port)) {
        let questions =
            [of_ipv4, of_ipv6].map(|own| Question { incoming: true, ..asked(None, Endpoint::new(own, port)) });
        pairs.push(Pair { words: format!("a connection from outside to port {port}"), questions });
    }
}

/// The first packet of a connection.
fn asked(who: Option<&Identity>, to: Endpoint) -> Question {
    Question {
        uid: who.map(|who| who.uid),
        gid: who.map(|who| who.gid),
        groups: who.map(|who| who.groups.clone()),
        state: Some(state::NEW),
        ..Question::to(to)
    }
}

/// What either family picks out of a direction.
fn picked<T: Ord + Clone>(case: &Case<'_>, incoming: bool, of: impl Fn(&Picked) -> &BTreeSet<T>) -> BTreeSet<T> {
    let lanes: Vec<&Lane> = [false, true].into_iter().filter_map(|ipv6| case.lane(ipv6, incoming)).collect();
    lanes.iter().flat_map(|lane| of(&lane.excluded).iter().chain(of(&lane.included))).cloned().collect()
}
