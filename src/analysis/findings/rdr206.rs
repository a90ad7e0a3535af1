//! What is not tracked is not redirected.

use super::{Kind, Page};
use crate::analysis::ask::Asker;
use crate::analysis::check::{Case, Found, Severity};
use crate::analysis::eval::End;
use crate::model::{Body, Hook, Rule, RuleRef};
use crate::nft::Expression;
use crate::xt::{Action, Effect};

pub(super) const KIND: Kind = Kind {
    id: "RDR206",
    title: "\"notrack\" rules disable the redirect",
    severity: Severity::Error,
    page: Page {
        seen: "Some destinations are never intercepted, though the rules of nat match them.",
        why: "Translation needs tracking. A rule of the raw table that keeps packets from being tracked, for a local \
              resolver or for speed, keeps them from being redirected too.",
        evidence: "A packet made for such a rule is not redirected, and would be without it: both are asked of the rules.",
        remedy: "Leave the pod's traffic out of that rule, or accept that it goes past the proxy.",
        references: &["haproxy/haproxy#3192", "cilium/cilium#21446", "google/gvisor#2895"],
    },
    silenced_by: &["RDR009", "RDR001"],
    look,
};

fn look(case: &Case<'_>, found: &mut Found) {
    if case.expected.mesh.is_none() || case.expected.sends.is_empty() {
        return;
    }
    let mut without = case.snapshot.clone();
    let mut rules: Vec<RuleRef> = Vec::new();
    for ruleset in without.rulesets.iter_mut().flatten() {
        let (backend, family) = (ruleset.backend, ruleset.family);
        for table in &mut ruleset.tables {
            for chain in &mut table.chains {
                let spot =
                    |number| RuleRef { backend, family, table: table.name.clone(), chain: chain.name.clone(), number };
                let untracking =
                    (1..).zip(&chain.rules).filter(|(_, rule)| untracks(rule)).map(|(number, _)| spot(number));
                rules.extend(untracking);
                chain.rules.retain(|rule| !untracks(rule));
            }
        }
    }
    if rules.is_empty() {
        return;
    }
    for ipv6 in case.families() {
        let (asker, other) = (Asker::new(case.snapshot, ipv6), Asker::new(&without, ipv6));
        for (hook, direction) in [(Hook::Output, "outbound"), (Hook::Prerouting, "inbound")] {
            for (name, packet, end) in asker.made(hook, &rules) {
                let End::Redirected { by, .. } = other.of(hook, &packet) else { continue };
                if !matches!(end, End::Untouched { .. }) {
                    continue;
                }
                let finding = KIND.found(
                    format!("{name} keeps {direction} packets from being tracked, and so from being redirected"),
                    "leave the pod's traffic out of that rule",
                );
                found.finding(finding.because(format!("without it, {by} would redirect them")).about(Some(name)));
            }
        }
    }
}

fn untracks(rule: &Rule) -> bool {
    match &rule.body {
        Body::Xt(rule) => matches!(&rule.action, Action::Target(target) if target.effect() == Effect::Untracked),
        Body::Nft(rule) => rule.expressions.contains(&Expression::Notrack),
    }
}
