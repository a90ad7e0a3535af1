//! An application has, or can give itself, the proxy's mark.

use super::{Finding, Kind, Page};
use crate::analysis::check::{Case, Found, Going, Person, Severity};
use crate::analysis::trace::Question;
use crate::model::{Endpoint, RuleRef, Subject};
use crate::packet::state;

/// `CAP_NET_ADMIN` and `CAP_NET_RAW`.
const ADMIN: (u32, &str) = (12, "NET_ADMIN");
const RAW: (u32, &str) = (13, "NET_RAW");
/// Facts of one kind before it is enough.
const MOST: usize = 8;

pub(super) const KIND: Kind = Kind {
    id: "RDR611",
    title: "An application can give itself (or has) the proxy's mark, or the proxy's port",
    severity: Severity::Warning,
    page: Page {
        seen: "Nothing, and that is the point: one program's traffic is neither encrypted nor subject to policy.",
        why: "What ambient mode leaves alone is known by a mark of the packet. Since Linux 5.17 a process may set one with NET_RAW as well as with \
              NET_ADMIN, and many runtimes give NET_RAW to every container.",
        evidence: "A socket of a process that is not the proxy has a mark with which rules leave its connections alone, which is an error; or \
                   a process of an application has one of both capabilities, which is a warning.",
        remedy: "Drop NET_RAW, run as another user than root, and let policies admit nothing but port 15008.",
        references: &["mcdonc/klangk#2276", "istio/istio#49078"],
    },
    silenced_by: &["RDR009", "RDR601", "RDR605"],
    look,
};

fn look(case: &Case<'_>, found: &mut Found) {
    if !case.is_ambient() || case.expected.mode.is_none() || case.unread(&[Subject::Rules]).is_some() {
        return;
    }
    // Where sockets were not read that is told of the proxy's own.
    if case.unread(&[Subject::Sockets]).is_some() {
        return;
    }
    if let Some(why) = case.unread(&[Subject::Processes]) {
        return found.cannot_tell(&KIND, why);
    }
    let marked = marked(case);
    if let Some((_, _, rule)) = marked.first() {
        let finding = KIND.found(
            "an application has given itself the mark by which the proxy is known: its connections pass the mesh by",
            "take NET_RAW and NET_ADMIN from the container, and make the pod anew",
        );
        let fact = |(person, mark, _): &(&Person<'_>, u32, Option<RuleRef>)| {
            format!("a socket of {} has the mark {mark:#x}", person.words())
        };
        let rule = rule.clone();
        let mut finding = marked.iter().take(MOST).map(fact).fold(finding, Finding::because);
        if let Some(rule) = &rule {
            finding = finding.because(format!("{rule} redirects connections without it"));
        }
        return found.finding(finding.severity(Severity::Error).about(rule));
    }
    let able = case.applications().filter_map(|person| {
        let has = person.process.capabilities?;
        let names: Vec<&str> =
            [ADMIN, RAW].into_iter().filter(|(bit, _)| has >> bit & 1 == 1).map(|(_, name)| name).collect();
        (!names.is_empty()).then(|| format!("{} has {}", person.words(), names.join(" and ")))
    });
    let able: Vec<String> = able.take(MOST).collect();
    if !able.is_empty() {
        let finding = KIND.found(
            "an application can give itself the mark by which the proxy is known",
            "drop NET_RAW and NET_ADMIN in the container's security context",
        );
        found.finding(able.into_iter().fold(finding, Finding::because));
    }
}

/// Sockets of applications whose mark makes rules leave their connections alone.
fn marked<'c, 'a>(case: &'c Case<'a>) -> Vec<(&'c Person<'a>, u32, Option<RuleRef>)> {
    let mut found: Vec<(&Person<'a>, u32, Option<RuleRef>)> = Vec::new();
    for socket in case.snapshot.sockets.iter().flatten() {
        let Some(mark) = socket.mark.filter(|mark| *mark != 0) else { continue };
        let Some(person) = case.owners(socket).find(|person| !person.proxy && !person.process.elsewhere) else {
            continue;
        };
        if found.iter().any(|(known, of, _)| known.process.pid == person.process.pid && *of == mark) {
            continue;
        }
        let ipv6 = socket.local.address.is_ipv6() && !socket.mapped;
        for ipv6 in [ipv6, false] {
            if let Some(rule) = left_alone(case, person, ipv6, mark) {
                found.push((person, mark, rule));
                break;
            }
        }
    }
    found
}

/// Whether rules leave a process's connections alone for this mark; the rule that would redirect them.
fn left_alone(case: &Case<'_>, person: &Person<'_>, ipv6: bool, mark: u32) -> Option<Option<RuleRef>> {
    let identity = person.identity.as_ref();
    let with = |mark: u32| {
        case.going(&Question {
            mark,
            uid: identity.map(|identity| identity.uid),
            gid: identity.map(|identity| identity.gid),
            groups: identity.map(|identity| identity.groups.clone()),
            state: Some(state::NEW),
            ..Question::to(Endpoint::new(case.outside(ipv6), case.port()))
        })
    };
    match (with(0), with(mark)) {
        (Going::Proxy { rule, .. }, Going::Direct(_)) => Some(rule),
        _ => None,
    }
}
