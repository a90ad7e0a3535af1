//! Artefacts of the previous backend or mode remain.

use super::{Kind, Page};
use crate::analysis::check::{Case, Found, Severity};
use crate::analysis::mesh::{Mesh, is_named_by};
use crate::model::{Chain, RuleAction, Ruleset, Subject, Syntax, Table};
use std::collections::BTreeSet;

/// Interfaces by which ambient of before 1.21 led packets through the node.
const TUNNELS: [&str; 2] = ["istioin", "istioout"];
/// The tables of its routes, and the mark bits that chose them (`0x100/0x100` to `0x400/0xfff`).
const ROUTES: std::ops::RangeInclusive<u32> = 100..=102;
/// Its set of pods.
const PODS: &str = "ztunnel-pods-ips";

pub(super) const KIND: Kind = Kind {
    id: "RDR407",
    title: "Artefacts of the previous backend or mode remain",
    severity: Severity::Warning,
    page: Page {
        seen: "After a change to native nftables, or from sidecar to ambient, old chains, sets or policy rules are still there, \
               and still act.",
        why: "What cleans up knows the present mode alone, or a program that it needs is missing in its image.",
        evidence: "The mesh's names stand both in chains of iptables and in tables of nft: how many rules each has and how many \
                   packets they counted. On a node: interfaces, sets and policy rules that only an older design made.",
        remedy: "Make the pod anew; on a node, take the old ones away by name, or reboot.",
        references: &["istio/istio#57978", "istio/istio#42197", "istio/istio#58293"],
    },
    silenced_by: &["RDR009", "RDR608"],
    look,
};

/// What a mesh has in one form.
#[derive(Default)]
struct Form {
    places: BTreeSet<String>,
    rules: usize,
    packets: u64,
}

fn look(case: &Case<'_>, found: &mut Found) {
    if let Some(mesh) = case.expected.mesh {
        two_forms(case, found, mesh);
    }
    older_ambient(case, found);
}

fn two_forms(case: &Case<'_>, found: &mut Found, mesh: Mesh) {
    if case.unread(&[Subject::Rules]).is_some() {
        return;
    }
    let (mut by_iptables, mut by_nft) = (Form::default(), Form::default());
    for (ruleset, table) in
        case.snapshot.rulesets().iter().flat_map(|set| set.tables.iter().map(move |table| (set, table)))
    {
        for chain in table.chains.iter().filter(|chain| is_named_by(mesh, table, &chain.name)) {
            let form = if chain.syntax == Syntax::Nft { &mut by_nft } else { &mut by_iptables };
            add(form, ruleset, table, chain);
        }
    }
    if by_iptables.rules == 0 || by_nft.rules == 0 {
        return;
    }
    let words = |name: &str, form: &Form| {
        let places = form.places.iter().cloned().collect::<Vec<_>>().join(", ");
        format!("{name}: {places}: {} rules, {} packets counted", form.rules, form.packets)
    };
    let mut finding = KIND
        .found(
            "the mesh's rules stand here twice: written by iptables and by nft",
            "make the pod anew, so that one of them is left",
        )
        .because(words("iptables", &by_iptables))
        .because(words("nft", &by_nft));
    let live = case.families().into_iter().find_map(|ipv6| {
        let to = case.drawn(ipv6)?;
        let going = case.dials(None, crate::model::Protocol::Tcp, to);
        if let crate::analysis::check::Going::Proxy { rule, .. } = going { Some((to, rule?)) } else { None }
    });
    if let Some((to, rule)) = live {
        finding = finding.because(format!("a connection to {to} is redirected by {rule}"));
    }
    found.finding(finding);
}

fn add(form: &mut Form, ruleset: &Ruleset, table: &Table, chain: &Chain) {
    form.places.insert(format!("{} {} {}", ruleset.backend.word(), ruleset.family.word(), table.name));
    form.rules += chain.rules.len();
    form.packets += chain.rules.iter().filter_map(|rule| rule.counters.as_ref()).map(|it| it.packets).sum::<u64>();
}

/// What only ambient of before 1.21 made, on the node itself.
fn older_ambient(case: &Case<'_>, found: &mut Found) {
    let is_there = |name: &&str| case.snapshot.interfaces.iter().flatten().any(|interface| interface.name == **name);
    let tunnels: Vec<&str> = TUNNELS.into_iter().filter(|name| is_there(name)).collect();
    let set = case.snapshot.ipsets.iter().find(|set| set.name == PODS);
    let rules = case.snapshot.routes.iter().flat_map(|routes| routes.rules.iter().flatten());
    let rules = rules.filter(|rule| {
        matches!(rule.action, RuleAction::Lookup(table) if ROUTES.contains(&table)) && rule.mark.is_some()
    });
    let rules = rules.count();
    if tunnels.is_empty() && set.is_none() {
        return;
    }
    let mut finding = KIND.found(
        "what ambient of before Istio 1.21 made on this node is still here",
        "take it away by name, or reboot the node",
    );
    if !tunnels.is_empty() {
        finding = finding.because(format!("interfaces {}", tunnels.join(", ")));
    }
    if let Some(set) = set {
        finding = finding.because(format!("ipset {}", set.name));
    }
    if rules > 0 {
        finding = finding.because(format!("{rules} policy rules that choose tables 100 to 102 by a mark"));
    }
    found.finding(finding);
}
