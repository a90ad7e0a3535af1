//! Native content in tables named like iptables'.

use super::{Kind, Page};
use crate::analysis::check::{Case, Finding, Found, Severity, named};
use crate::model::{Backend, Chain, Family, Ruleset, Syntax, Table};

/// Tables that the iptables programs take for theirs.
pub(super) const THEIRS: [&str; 5] = ["filter", "nat", "mangle", "raw", "security"];
/// Rules that are named; the rest is counted.
const MOST: usize = 4;

pub(super) const KIND: Kind = Kind {
    id: "RDR405",
    title: "Native content in tables named like iptables'",
    severity: Severity::Warning,
    page: Page {
        seen: "iptables says that a table is incompatible and that nft is to be used; agents fail, or see half of the rules.",
        why: "Somebody wrote by nft into ip nat, ip filter and the like: with sets, at other priorities, or in words that \
              iptables does not have.",
        evidence: "A table of IPv4 or IPv6 that is named as iptables' are holds a base chain whose name, hook or priority is not \
                   the usual one, or rules that iptables cannot express.",
        remedy: "Give rules that nft writes a table of another name.",
        references: &[
            "cloudnativelabs/kube-router#1588",
            "cloudnativelabs/kube-router#1777",
            "containernetworking/plugins#461",
            "coreos/go-iptables#73",
            "squat/kilo#402",
        ],
    },
    silenced_by: &["RDR009"],
    look,
};

fn look(case: &Case<'_>, found: &mut Found) {
    for ruleset in case.snapshot.rulesets() {
        let own = ruleset.backend == Backend::Nft && matches!(ruleset.family, Family::Ip | Family::Ip6);
        let tables = ruleset.tables.iter().filter(|table| own && THEIRS.contains(&table.name.as_str()));
        tables.filter_map(|table| native(ruleset, table)).for_each(|finding| found.finding(finding));
    }
}

/// What of a table iptables cannot express, where it has something of it beside its own.
fn native(ruleset: &Ruleset, table: &Table) -> Option<Finding> {
    // A table in which nobody ever used iptables is nft's own, whatever it is called: iptables fails there too.
    let bases: Vec<&Chain> =
        table.chains.iter().filter(|chain| chain.hook.is_some() && chain.syntax == Syntax::Nft).collect();
    let rules = table.chains.iter().flat_map(|chain| {
        let foreign = chain.rules.iter().enumerate().filter(|(_, rule)| chain.is_foreign(rule));
        foreign.map(move |(at, _)| named(ruleset, table, chain, at))
    });
    let rules: Vec<_> = rules.collect();
    if bases.is_empty() && rules.is_empty() {
        return None;
    }
    let name = format!("{} {}", ruleset.family.word(), table.name);
    let program = if ruleset.family == Family::Ip6 { "ip6tables" } else { "iptables" };
    let mut finding = KIND.found(
        format!("table {name} holds what {program} cannot express"),
        "give what nft wrote there a table of another name",
    );
    for chain in &bases {
        let place = chain.hook.map_or("no hook", |hook| hook.word());
        let priority = chain.priority.unwrap_or_default();
        finding = finding.because(format!("base chain {} at {place}, priority {priority}, is nft's", chain.name));
    }
    for rule in rules.iter().take(MOST) {
        finding = finding.because(format!("{rule} is written in nft's own terms"));
    }
    if rules.len() > MOST {
        finding = finding.because(format!("and {} more rules", rules.len() - MOST));
    }
    let others = table.chains.iter().filter(|chain| chain.syntax == Syntax::Iptables && !chain.rules.is_empty());
    let others = others.map(|chain| chain.name.as_str()).collect::<Vec<_>>();
    if !others.is_empty() {
        let shown = others.iter().take(MOST).copied().collect::<Vec<_>>().join(", ");
        let more = if others.len() > MOST { " and others" } else { "" };
        finding =
            finding.because(format!("programs that use {program} there fail or see a part: they wrote {shown}{more}"));
    }
    Some(finding.about(rules.into_iter().next()))
}
