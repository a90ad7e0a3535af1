//! The proxy talks to itself.

use super::{Kind, Page};
use crate::analysis::check::{Asked, Case, Found, Severity};
use crate::analysis::observations::Kind as Seen;
use crate::model::Subject;

pub(super) const KIND: Kind = Kind {
    id: "RDR101",
    title: "Redirect loop in progress: the proxy talks to itself",
    severity: Severity::Error,
    page: Page {
        seen: "One request makes the proxy log thousands of lines; it takes all processor time, all descriptors and all \
              ports, and then answers errors to everybody.",
        why: "The proxy's own connections meet the redirect, since no rule leaves them alone, or since the one that \
              does stands behind it or is about another user.",
        evidence: "Live connections that a process opened, that rules redirected, and that the same process accepted. With \
              a second sample it is told whether they become more.",
        remedy: "Leave the proxy's user, group or mark alone ahead of the redirect, and restart the proxy, so that its \
              descriptors are free again.",
        references: &[
            "istio/istio#12110",
            "istio/istio#14443",
            "istio/istio#11213",
            "hashicorp/consul#11038",
            "istio/istio#23802",
        ],
    },
    silenced_by: &["RDR009", "RDR607"],
    look,
};

fn look(case: &Case<'_>, found: &mut Found) {
    if let Some(why) = case.unread(&[Subject::Sockets]).filter(|_| case.expected.captures_something()) {
        return found.cannot_tell(&KIND, why);
    }
    let loops: Vec<_> = case.observed(Seen::Loop).collect();
    let Some(first) = loops.first() else { return };
    let connections = |inodes: &[u32]| case.connections().iter().filter(|one| inodes.contains(&one.inode)).count();
    let rule = case.connections().iter().find(|one| first.connections.contains(&one.inode) && one.rule.is_some());
    let rule = rule.and_then(|one| one.rule.clone());
    let who = case.proxies().find(|person| !person.process.elsewhere).and_then(|person| person.uid());
    let exempt = who.map_or_else(|| "the proxy's user".to_owned(), |uid| format!("UID {uid}"));
    let before = rule.as_ref().map_or_else(|| "the redirect".to_owned(), ToString::to_string);
    let mut finding = KIND.found(
        "the proxy's own connections are redirected back to it: a loop",
        format!("leave {exempt} alone ahead of {before}, then restart the proxy to free its descriptors"),
    );
    for one in &loops {
        finding = finding.because(one.words.clone());
    }
    if let Some(later) = case.asked.later {
        let then = Case::of(later, Asked::default());
        let (now, after) = (
            loops.iter().map(|one| connections(&one.connections)).sum::<usize>(),
            then.observed(Seen::Loop).map(|one| one.connections.len()).sum::<usize>(),
        );
        finding = finding.because(format!("sockets of the loop: {now}, and {after} in the second sample"));
    }
    found.finding(finding.about(rule));
}
