//! Dead or shadowed rules.

use super::{Kind, Page};
use crate::analysis::check::{Case, Found, Severity, Stopped};
use crate::model::{RuleRef, Subject};

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
        for ipv6 in case.families() {
            match case.stopped(ipv6, incoming) {
                Stopped::By(rule) => shadowed(case, found, (ipv6, incoming), &rule),
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
    }
}

fn shadowed(case: &Case<'_>, found: &mut Found, (ipv6, incoming): (bool, bool), rule: &RuleRef) {
    let direction = if incoming { "inbound" } else { "outbound" };
    let finding = KIND.found(
        format!("{rule} leaves every {direction} connection alone: nothing {direction} is redirected"),
        "take that rule away, or make it match only what is to be left alone",
    );
    let ports = case.lane(ipv6, incoming).map(|lane| &lane.written);
    let written = case.expected.sends.iter().filter(|(_, port)| ports.is_some_and(|ports| ports.contains(port)));
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
