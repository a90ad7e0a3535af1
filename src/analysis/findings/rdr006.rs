//! Dead or shadowed rules.

use super::{Kind, Page};
use crate::analysis::ask::Asker;
use crate::analysis::check::{Case, Found, Severity, Stopped};
use crate::analysis::eval::End;
use crate::analysis::paths::{Paths, leaves_alone};
use crate::model::{Body, Hook, RuleRef, Subject, Table};
use crate::nft::{self, Expression};

pub(super) const KIND: Kind = Kind {
    id: "RDR006",
    title: "Dead or shadowed rule",
    severity: Severity::Warning,
    page: Page {
        seen: "Something was excluded and is still intercepted, or the other way round; or nothing is intercepted though all rules stand.",
        why: "A rule stands behind one that takes all that it would take: an exclusion behind the redirect, an include list beside a \
              catch-all, or a foreign ACCEPT or RETURN before the mesh's chains.",
        evidence: "A rule that redirects, and before it one that leaves every such connection alone, or ends it. Where a whole direction \
                   is lost by it, it is an error.",
        remedy: "Reorder the rules, or restrict the one that takes too much.",
        references: &["istio/istio#32677", "istio/istio#11660", "istio/istio#30868", "metalbear-co/mirrord#2456"],
    },
    silenced_by: &["RDR009", "RDR001", "RDR208"],
    look,
};

fn look(case: &Case<'_>, found: &mut Found) {
    if case.expected.mesh.is_none() || case.expected.sends.is_empty() {
        return;
    }
    if let Some(why) = case.unread(&[Subject::Rules]) {
        return found.cannot_tell(&KIND, why);
    }
    for incoming in [false, true] {
        let direction = if incoming { "inbound" } else { "outbound" };
        let mut shadowing: Vec<(bool, RuleRef)> = Vec::new();
        for ipv6 in case.families() {
            match case.stopped(ipv6, incoming) {
                Stopped::By(rule) if shadowing.iter().any(|(_, known)| *known == rule) => {}
                // Within the mesh's own chains somebody has excluded everything.
                Stopped::By(rule) if !incoming && case.is_of_the_mesh(&rule) => {}
                // Whoever leaves a family alone that the workload may not even have loses nothing.
                Stopped::By(_) if case.speaks(ipv6).is_none() && case.stopped(!ipv6, incoming) == Stopped::Not => {}
                Stopped::By(rule) => shadowing.push((ipv6, rule)),
                Stopped::Ended(rule) => ended(found, direction, rule),
                Stopped::Unclear(why) => {
                    found.cannot_tell(
                        &KIND,
                        format!("whether {direction} connections are redirected hangs on this: {why}"),
                    );
                }
                _ => {}
            }
        }
        shadowed(case, found, &shadowing, incoming);
    }
    for ipv6 in case.families() {
        dead(case, found, ipv6);
    }
}

/// Rules for a port or an address that get no packet, since an earlier one does otherwise with all that they would take.
fn dead(case: &Case<'_>, found: &mut Found, ipv6: bool) {
    let [of_ipv4, of_ipv6] = &case.coverage().untaken;
    let untaken = if ipv6 { of_ipv6 } else { of_ipv4 };
    let asker = Asker::new(case.snapshot, ipv6);
    for hook in [Hook::Output, Hook::Prerouting] {
        for (name, _, end) in asker.made(hook, untaken) {
            let Some((table, rule)) = name.find(case.snapshot.rulesets()) else { continue };
            let (by, does) = match &end {
                End::Redirected { by, .. } if leaves_alone(rule) => (by, "redirected"),
                End::Untouched { by: Some(by) } if rule.redirects() => (by, "left alone"),
                _ => continue,
            };
            if by.table != name.table || found.findings.iter().any(|known| known.rule.as_ref() == Some(&name)) {
                continue;
            }
            if closes(table, &name, by) {
                continue;
            }
            let by = leading(table, &name, by);
            let finding = KIND.found(
                format!("{name} takes nothing: what it is written for is {does} before"),
                format!("put it before {by}, or take it away"),
            );
            found.finding(finding.because(format!("{by} takes all of it")).about(Some(name)));
        }
    }
}

/// Whether it asks just what the redirect right before it asks, as Istio writes for the devices of guests: nothing was meant to come there.
fn closes(table: &Table, name: &RuleRef, by: &RuleRef) -> bool {
    let chain = table.chain(&name.chain).filter(|_| by.chain == name.chain && by.number + 1 == name.number);
    let Some([before, it]) = chain.and_then(|chain| chain.rules.get(by.number - 1..=by.number)) else { return false };
    let tests = |rule: &nft::Rule| -> Vec<Expression> {
        let does = |part: &&Expression| {
            matches!(part, Expression::Counter { .. } | Expression::Value { .. } | Expression::Immediate(_))
        };
        rule.expressions.iter().take_while(|part| !does(part)).cloned().collect()
    };
    match (&before.body, &it.body) {
        (Body::Xt(one), Body::Xt(other)) => one.ip == other.ip && one.matches == other.matches,
        (Body::Nft(one), Body::Nft(other)) => tests(one) == tests(other),
        _ => false,
    }
}

/// The rule of the same chain that leads to another, where one does; else that one.
fn leading(table: &Table, name: &RuleRef, by: &RuleRef) -> RuleRef {
    let paths = Paths::of(table);
    let earlier = table.chain(&name.chain).into_iter().flat_map(|chain| &chain.rules).take(name.number - 1);
    let mut earlier = earlier.enumerate();
    let leads = earlier.find(|(_, rule)| by.chain != name.chain && paths.leads_to(rule).contains(&by.chain.as_str()));
    leads.map_or_else(|| by.clone(), |(at, _)| RuleRef { number: at + 1, ..name.clone() })
}

/// Rules that leave a whole direction alone, each with a family in which it does.
fn shadowed(case: &Case<'_>, found: &mut Found, shadowing: &[(bool, RuleRef)], incoming: bool) {
    let Some((_, rule)) = shadowing.first() else { return };
    let direction = if incoming { "inbound" } else { "outbound" };
    let over = match shadowing {
        [(ipv6, _)] if case.stopped(!ipv6, incoming) == Stopped::Not => {
            if *ipv6 {
                " over IPv6"
            } else {
                " over IPv4"
            }
        }
        _ => "",
    };
    let names = shadowing.iter().map(|(_, rule)| rule.to_string()).collect::<Vec<_>>().join(" and ");
    let finding = KIND.found(
        format!("nothing {direction} is redirected{over}: {names} takes every connection out before"),
        "take that rule away, or make it match only what is to be left alone",
    );
    let ports = |port: &u16| {
        let mut lanes = shadowing.iter().filter_map(|(ipv6, _)| case.lane(*ipv6, incoming));
        lanes.any(|lane| lane.written.contains(port))
    };
    let written = case.expected.sends.iter().filter(|(_, port)| ports(port));
    let finding = written.fold(finding, |finding, (sends, port)| {
        finding.because(format!("{sends} would send them to port {port}, and never gets one"))
    });
    found.finding(finding.severity(Severity::Error).about(Some(rule.clone())));
}

fn ended(found: &mut Found, direction: &str, rule: Option<RuleRef>) {
    let by = rule.as_ref().map_or_else(|| "the policy of a chain".to_owned(), ToString::to_string);
    let finding = KIND.found(
        format!("{by} drops every {direction} connection before it is redirected"),
        "take that rule away: it may be a guard that was left behind while rules were made",
    );
    found.finding(finding.severity(Severity::Error).about(rule));
}
