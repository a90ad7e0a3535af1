//! Userland on the node cannot read what is there.

use super::rdr405::THEIRS;
use super::{Kind, Page};
use crate::analysis::check::{Case, Found, Severity};
use crate::model::{Backend, Family, RuleRef, Syntax};

pub(super) const KIND: Kind = Kind {
    id: "RDR408",
    title: "Userland on the node cannot read what is there",
    severity: Severity::Info,
    page: Page {
        seen: "iptables-save shows nothing, or less than what happens; nft fails, or its output in JSON lacks something.",
        why: "The rules were written by nft in its own terms, or by a newer program than the node has.",
        evidence: "Rules that send connections to the proxy stand where the iptables programs do not show them: which they are, \
                   and how many rules the programs show of all. It tells why two people see different things.",
        remedy: "Use this tool's dump, or nft list ruleset of a version that is new enough; iptables-save tells nothing here.",
        references: &["kubernetes/kubernetes#112477"],
    },
    silenced_by: &["RDR009"],
    look,
};

fn look(case: &Case<'_>, found: &mut Found) {
    // Nobody looks for iptables' rules in tables of other names.
    let unseen = |rule: &RuleRef| THEIRS.contains(&rule.table.as_str()) && !is_shown(case, rule);
    let sends: Vec<&RuleRef> = case.expected.sends.iter().map(|(rule, _)| rule).filter(|rule| unseen(rule)).collect();
    let Some(first) = sends.first() else { return };
    let (mut shown, mut all) = (0, 0);
    for ruleset in case.snapshot.rulesets() {
        for table in &ruleset.tables {
            for chain in &table.chains {
                let name = |number: usize| RuleRef {
                    backend: ruleset.backend,
                    family: ruleset.family,
                    table: table.name.clone(),
                    chain: chain.name.clone(),
                    number,
                };
                all += chain.rules.len();
                shown += (1..=chain.rules.len()).filter(|number| is_shown(case, &name(*number))).count();
            }
        }
    }
    let finding = KIND.found(
        "iptables-save does not show the rules that redirect here",
        "read them by nslens rules or nft list ruleset",
    );
    let finding = finding.because(format!("the iptables programs can show {shown} of {all} rules"));
    let more = if sends.len() > 1 { format!(", and {} more", sends.len() - 1) } else { String::new() };
    found.finding(finding.because(format!("they do not show {first}{more}")).about(Some((*first).clone())));
}

/// Whether iptables-legacy-save or iptables-nft-save, or those of IPv6, write a rule: of a table that holds a base chain of nft's own
/// the latter writes nothing (K18).
fn is_shown(case: &Case<'_>, name: &RuleRef) -> bool {
    if name.backend == Backend::Legacy {
        return true;
    }
    let same = |ruleset: &&crate::model::Ruleset| ruleset.backend == name.backend && ruleset.family == name.family;
    let ruleset = case.snapshot.rulesets().iter().find(same);
    let Some(table) = ruleset.and_then(|ruleset| ruleset.table(&name.table)) else { return false };
    let chain = table.chain(&name.chain);
    matches!(name.family, Family::Ip | Family::Ip6)
        && chain.is_some_and(|chain| {
            let rule = chain.rules.get(name.number - 1);
            chain.syntax == Syntax::Iptables && rule.is_some_and(|rule| !chain.is_foreign(rule))
        })
}
