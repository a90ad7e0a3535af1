//! Set-up ran again.

use super::{Kind, Page};
use crate::analysis::check::{Case, Found, Severity, named};
use crate::model::{Body, Chain, Rule, Ruleset, Table};
use crate::nft::Expression;

pub(super) const KIND: Kind = Kind {
    id: "RDR005",
    title: "Init container ran again: crash loop, duplicates, drift",
    severity: Severity::Warning,
    page: Page {
        seen: "A pod that worked hangs in Init:CrashLoopBackOff (chain already exists), or lists of rules grow.",
        why: "The init container that had ended was cleaned away, so it was run again in the old namespace; what it \
              does is not made to be done twice, or appends.",
        evidence: "Metadata: the container that makes rules was started again, or ended with an error, while others run. \
              Rules: two of one chain that are the same, which by itself is only information, since the second takes \
              nothing.",
        remedy: "Stop what cleans containers away; use a version of the mesh that compares before it writes. The traffic \
              is as the other findings say.",
        references: &[
            "istio/istio#4585",
            "istio/istio#25792",
            "istio/istio#38036",
            "istio/istio#53161",
            "linkerd/linkerd2#7767",
        ],
    },
    silenced_by: &["RDR009"],
    look,
};

fn look(case: &Case<'_>, found: &mut Found) {
    if case.expected.mesh.is_none() {
        return;
    }
    again(case, found);
    for ruleset in case.snapshot.rulesets() {
        for table in ruleset.tables.iter().filter(|table| !table.dormant) {
            for chain in &table.chains {
                twice(found, ruleset, table, chain);
            }
        }
    }
}

/// Containers that run and end before the others, and that did not do so once and well.
fn again(case: &Case<'_>, found: &mut Found) {
    let containers = &case.snapshot.workload.containers;
    let running = containers.iter().any(|container| container.init != Some(true) && container.finished.is_none());
    for container in containers.iter().filter(|container| container.init == Some(true) && running) {
        let (restarts, code) = (container.restarts.unwrap_or_default(), container.exit_code.unwrap_or_default());
        if restarts == 0 && code == 0 {
            continue;
        }
        let mut finding = KIND.found(
            format!("container {} did not make its rules once and for all", container.name),
            "look at its log, and at what cleans containers away on this node",
        );
        if restarts > 0 {
            finding = finding.because(format!("it was started again, {restarts} times"));
        }
        if code != 0 {
            finding = finding.because(format!("it has ended with code {code}"));
        }
        found.finding(finding);
    }
}

/// Rules of a chain that stand in it more than once.
fn twice(found: &mut Found, ruleset: &Ruleset, table: &Table, chain: &Chain) {
    let mut told: Vec<usize> = Vec::new();
    for (at, rule) in chain.rules.iter().enumerate() {
        let same = |other: &usize| chain.rules.get(*other).is_some_and(|other| says(other) == says(rule));
        let copies: Vec<usize> = (at + 1..chain.rules.len()).filter(same).collect();
        if copies.is_empty() || told.contains(&at) {
            continue;
        }
        told.extend(&copies);
        let name = named(ruleset, table, chain, at);
        let numbers = copies.iter().map(|at| (at + 1).to_string()).collect::<Vec<_>>().join(", ");
        let finding = KIND.found(
            format!("{name} stands {} times in its chain", copies.len() + 1),
            "nothing: traffic is not changed by it",
        );
        let finding = finding.because(format!("the same stand at {numbers}")).severity(Severity::Info);
        found.finding(finding.about(Some(name)));
    }
}

/// What a rule says, without what it has counted.
fn says(rule: &Rule) -> Vec<String> {
    match &rule.body {
        Body::Xt(rule) => vec![format!("{rule:?}")],
        Body::Nft(rule) => {
            let parts = rule.expressions.iter().filter(|part| !matches!(part, Expression::Counter { .. }));
            parts.map(|part| format!("{part:?}")).collect()
        }
    }
}
