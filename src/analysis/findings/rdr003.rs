//! Half a rule set: chains without hooks, hooks without chains.

use super::{Kind, Page};
use crate::analysis::check::{Case, Found, Severity, Stopped};
use crate::analysis::mesh::{Captured, Setting, Source};
use crate::model::{RuleRef, Subject};

pub(super) const KIND: Kind = Kind {
    id: "RDR003",
    title: "Half a rule set: chains without hooks, hooks without chains",
    severity: Severity::Error,
    page: Page {
        seen: "It looks configured, for the chains are there, and nothing is intercepted, or only one direction is.",
        why: "Rules that are added one by one stop in the middle where a match is not supported, a module is missing or the lock was \
              held; and whoever tries again fails because the chain exists.",
        evidence: "Rules for a direction are written, connections of that direction are not sent anywhere, and the chain that would do \
                   it is one to which no hook leads, or that is there and redirects nothing. Where metadata says that a direction is \
                   switched off, it is told as information.",
        remedy: "Read the init container's or CNI agent's log, mend the cause (RDR802 to RDR804), and make the pod anew.",
        references: &["linkerd/linkerd2#13171", "linkerd/linkerd2#2768", "istio/istio#4500", "istio/cni#23"],
    },
    silenced_by: &["RDR009", "RDR001", "RDR004", "RDR601", "RDR605"],
    look,
};

fn look(case: &Case<'_>, found: &mut Found) {
    if case.expected.mesh.is_none() || case.expected.sends.is_empty() || case.unread(&[Subject::Rules]).is_some() {
        return;
    }
    for incoming in [false, true] {
        let of = |ipv6: bool| (ipv6, case.stopped(ipv6, incoming));
        let lanes: Vec<(bool, Stopped)> = case.families().into_iter().map(of).collect();
        // One family alone is told by what compares them.
        if lanes.iter().any(|(_, stopped)| *stopped == Stopped::Not) {
            continue;
        }
        let direction = if incoming { "inbound" } else { "outbound" };
        let missing = lanes.iter().find_map(|(_, stopped)| match stopped {
            Stopped::Unhooked(rule) => Some((rule, true)),
            Stopped::Unused(rule) => Some((rule, false)),
            _ => None,
        });
        match missing {
            Some((rule, true)) => unhooked(found, direction, rule),
            Some((rule, false)) => unused(case, found, incoming, rule),
            None if lanes.iter().any(|(_, stopped)| *stopped != Stopped::Unwritten) => {}
            None => match hollow(case, incoming) {
                Some((chain, table)) => {
                    let fact = format!("chain {chain} ({table}) is there for that, and redirects nothing");
                    half_made(case, found, incoming, (fact, None));
                }
                None => off(case, found, incoming),
            },
        }
    }
}

fn unhooked(found: &mut Found, direction: &str, rule: &RuleRef) {
    let finding = KIND.found(
        format!("no hook leads to chain {} ({}): nothing {direction} is redirected", rule.chain, rule.table),
        "read the log of what made the rules, mend its cause, and make the pod anew",
    );
    let fact = format!("{rule} would send {direction} connections to the proxy, and nothing jumps to its chain");
    found.finding(finding.because(fact).about(Some(rule.clone())));
}

/// A chain that the mesh keeps for redirects of a direction, and that holds none: its name and its table's.
fn hollow(case: &Case<'_>, incoming: bool) -> Option<(String, String)> {
    let tables = case.families().into_iter().flat_map(|ipv6| case.tables(ipv6));
    let mut chains: Vec<_> = tables
        .flat_map(|(_, table)| table.chains.iter().map(move |chain| (chain, table)))
        .filter(|(chain, _)| case.expected.redirects_in(&chain.name, incoming))
        .collect();
    chains.sort_by_key(|(chain, _)| chain.rules.is_empty());
    chains.first().map(|(chain, table)| (chain.name.clone(), table.name.clone()))
}

/// A chain that does nothing but redirect, and to which nothing leads: without inbound or outbound capture it is written all the same.
fn unused(case: &Case<'_>, found: &mut Found, incoming: bool, rule: &RuleRef) {
    let fact = format!("{rule} would redirect them, and nothing jumps to its chain");
    half_made(case, found, incoming, (fact, Some(rule)));
}

/// Tells of a direction whose rules stand, and of which nothing comes, as bad as what metadata says makes it.
fn half_made(case: &Case<'_>, found: &mut Found, incoming: bool, (fact, rule): (String, Option<&RuleRef>)) {
    let direction = if incoming { "inbound" } else { "outbound" };
    let told = case.expected.because.iter().any(|because| because.source == Source::Metadata);
    let (severity, title) = match (switched_off(case, incoming), told) {
        (Some(why), _) => (Severity::Info, format!("{direction} capture is switched off: {why}")),
        (None, true) => (Severity::Error, format!("nothing {direction} is redirected, though metadata names a mesh")),
        (None, false) => {
            (Severity::Warning, format!("nothing {direction} is redirected, though a chain for it is there"))
        }
    };
    let remedy = match severity {
        Severity::Info => "nothing, where that is meant".to_owned(),
        _ => format!("where {direction} capture is wanted, make the pod anew; where it is not, allow this finding"),
    };
    found.finding(KIND.found(title, remedy).because(fact).severity(severity).about(rule.cloned()));
}

/// No rule is written for a direction, and the other one is whole.
fn off(case: &Case<'_>, found: &mut Found, incoming: bool) {
    let captures = |ipv6: &bool| case.lane(*ipv6, !incoming).is_some_and(|lane| lane.captured == Captured::All);
    if !case.families().iter().any(captures) {
        return;
    }
    let direction = if incoming { "inbound" } else { "outbound" };
    let finding = KIND.found(format!("no rule is about {direction} connections"), "nothing, where that is meant");
    let finding =
        finding.because(switched_off(case, incoming).unwrap_or_else(|| "nothing stands half made".to_owned()));
    found.finding(finding.severity(Severity::Info));
}

/// What metadata says of a direction that is switched off.
fn switched_off(case: &Case<'_>, incoming: bool) -> Option<String> {
    let setting = |setting: Setting| match setting {
        Setting::IncludedInboundPorts => incoming,
        Setting::IncludedNetworks => !incoming,
        _ => false,
    };
    let stated = case.expected.stated.iter().find(|stated| setting(stated.setting) && stated.value.trim().is_empty());
    stated.map(|stated| format!("{} is empty", stated.from))
}
