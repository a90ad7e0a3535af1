//! A native nft base chain shadows (or is shadowed by) the mesh's chain.

use super::{Kind, Page};
use crate::analysis::check::{Case, Found, Going, Severity};
use crate::analysis::mesh::is_named_by;
use crate::analysis::paths::{Block, blocks, rivals, standing};
use crate::analysis::trace::Identity;
use crate::model::{Chain, Endpoint, Hook, Protocol, RuleRef, Syntax};

pub(super) const KIND: Kind = Kind {
    id: "RDR406",
    title: "A native nft base chain shadows (or is shadowed by) the mesh's chain",
    severity: Severity::Warning,
    page: Page {
        seen: "The mesh's rules count nothing, or a translation of somebody else never happens.",
        why: "Chains of one hook run by priority, and of equal ones the latest first or last: the first translation binds, \
              and no later one changes it.",
        evidence: "Two base chains of one hook redirect, one of them nft's own and one of them not the mesh's: their order, and \
                   where a connection really goes that both could take. Where the mesh does not get what it is written for, it is \
                   an error; equal priorities are an order that nobody can tell.",
        remedy: "Give the other chain another priority, and leave each other's packets alone.",
        references: &["istio/istio#56487", "aws/amazon-vpc-cni-k8s#3872"],
    },
    silenced_by: &["RDR009", "RDR401", "RDR407", "RDR608"],
    look,
};

fn look(case: &Case<'_>, found: &mut Found) {
    let Some(mesh) = case.expected.mesh else { return };
    let all = blocks(case.snapshot, false);
    let is_own = |block: &Block<'_>| {
        // The mesh's own port stands behind one that it did not name.
        let names = |chain: &&Chain| is_named_by(mesh, block.table, &chain.name);
        let sends = |(rule, _): &(RuleRef, u16)| {
            rule.table == block.table.name && block.chains.iter().any(|chain| chain.name == rule.chain)
        };
        block.chains.iter().any(names)
            || !all.iter().any(|block| block.chains.iter().any(|chain| is_named_by(mesh, block.table, &chain.name)))
                && case.expected.sends.iter().any(sends)
    };
    for other in all.iter().filter(|block| !is_own(block)) {
        let Some(theirs) = other.chains.first() else { continue };
        let hooked = matches!(theirs.hook, Some(Hook::Output | Hook::Prerouting));
        let beside = all.iter().filter(|block| is_own(block) && block.hook() == theirs.hook);
        let beside: Vec<(&Block<'_>, &Chain)> = beside
            .filter_map(|own| Some((own, *own.chains.first()?)))
            .filter(|(_, first)| [*first, *theirs].iter().any(|chain| chain.syntax == Syntax::Nft))
            .collect();
        if hooked && !beside.is_empty() && !case.is_only_bystanders(other.table, theirs) {
            stand_together(case, found, &beside, (other, theirs), &all);
        }
    }
}

/// A base chain beside those of the mesh at its hook.
fn stand_together(
    case: &Case<'_>,
    found: &mut Found,
    beside: &[(&Block<'_>, &Chain)],
    (other, theirs): (&Block<'_>, &Chain),
    all: &[Block<'_>],
) {
    let name = |block: &Block<'_>, chain: &Chain| {
        let ruleset = block.ruleset;
        let priority = chain.priority.map_or_else(String::new, |priority| format!(" (priority {priority})"));
        let words = [ruleset.backend.word(), ruleset.family.word(), &block.table.name, &chain.name].join(" ");
        format!("{words}{priority}")
    };
    let incoming = theirs.hook == Some(Hook::Prerouting);
    let hook = theirs.hook.map_or("", |hook| hook.word());
    let mut evidence = Vec::new();
    let mut taken = None;
    for (own, first) in beside {
        let meets = |ipv6: &bool| own.ruleset.family.sees(*ipv6) && other.ruleset.family.sees(*ipv6);
        let families: Vec<bool> = case.families().into_iter().filter(meets).collect();
        if families.is_empty() {
            continue;
        }
        let (own_name, other_name) = (name(own, first), name(other, theirs));
        let open = rivals(own, all).iter().any(|rival| std::ptr::eq(rival.table, other.table));
        evidence.push(match standing(first) < standing(theirs) {
            _ if open => format!("{own_name} and it stand at one place: which packets meet first cannot be told"),
            true => format!("packets meet {own_name} first, then {other_name}"),
            false => format!("packets meet {other_name} first, then {own_name}"),
        });
        for (call, going) in families.into_iter().flat_map(|ipv6| asked(case, ipv6, incoming)) {
            match going {
                Going::Proxy { port, rule: Some(rule), .. } => {
                    evidence.push(format!("a connection {call} is sent to port {port} by {rule}"));
                    taken = taken.or_else(|| Some(rule).filter(|rule| is_of(other, rule)));
                }
                Going::Unclear(why) => evidence.push(format!("where a connection {call} goes is open: {why}")),
                _ => {}
            }
        }
    }
    if evidence.is_empty() {
        return;
    }
    let mut finding = KIND.found(
        format!("at {hook} {} redirects beside the mesh", name(other, theirs)),
        "give that chain another priority, and let each leave the other's packets alone",
    );
    if taken.is_some() {
        finding = finding.severity(Severity::Error);
    }
    let mut seen = std::collections::BTreeSet::new();
    evidence.retain(|fact| seen.insert(fact.clone()));
    found.finding(evidence.into_iter().fold(finding, super::Finding::because).about(taken));
}

/// Connections of a direction, in words, and where they go.
fn asked(case: &Case<'_>, ipv6: bool, incoming: bool) -> Vec<(String, Going)> {
    if incoming {
        let served = case.served(ipv6).into_iter();
        return served.map(|to| (format!("from outside to {to}"), case.comes(Protocol::Tcp, to))).collect();
    }
    let to = Endpoint::new(case.outside(ipv6), case.port());
    let words = |who: &Option<Identity>| match who {
        Some(who) => format!("of UID {} to {to}", who.uid),
        None => format!("to {to}"),
    };
    case.identities().iter().map(|who| (words(who), case.dials(who.as_ref(), Protocol::Tcp, to))).collect()
}

fn is_of(block: &Block<'_>, rule: &RuleRef) -> bool {
    rule.backend == block.ruleset.backend
        && rule.family == block.ruleset.family
        && rule.table == block.table.name
        && block.chains.iter().any(|chain| chain.name == rule.chain)
}
