//! What of a rule set is compared, line by line: chains, tables' own properties, sets and ipsets, each at its place.

use std::collections::BTreeMap;

use super::normal;
use super::rules::TableOf;
use crate::analysis::ipsets::IpSets;
use crate::model::{
    Backend, Chain, Family, NativeExpression, NativeObject, NativeSet, Policy, Rule, Ruleset, Snapshot, Syntax, Table,
};
use crate::syntax::{elements_text, flow_table_text, object_text, place_of, print_rule, set_properties, set_types};

/// The key of a chain within a snapshot, as the first of both counts.
pub(super) type Place = (Backend, Family, String, String);

/// A line that is compared.
#[derive(Debug, Clone)]
pub(super) struct Line {
    /// As it is shown.
    pub(super) shown: String,
    /// The same for all ways to write it.
    pub(super) normal: String,
    /// It is a rule.
    pub(super) is_rule: bool,
}

/// What stands at a place.
#[derive(Debug, Clone)]
pub(super) struct Lines {
    /// How the chain is written.
    pub(super) syntax: Syntax,
    /// The place as its own side counts.
    pub(super) own: Place,
    /// Lines in order, a chain's own line first.
    pub(super) lines: Vec<Line>,
}

/// All places.
pub(super) type Places = BTreeMap<Place, Lines>;

/// Which backend stands for a table's own; `None` for its own.
type AsBackend<'b> = &'b dyn Fn(&TableOf) -> Option<Backend>;

fn plain(text: String) -> Line {
    Line { normal: text.clone(), shown: text, is_rule: false }
}

/// Nobody wrote to it: it is the same as none.
pub(super) fn is_untouched(chain: &Chain) -> bool {
    chain.hook.is_some() && chain.rules.is_empty() && chain.policy != Some(Policy::Drop)
}

fn backend(ruleset: &Ruleset, table: &Table, other: AsBackend<'_>) -> Backend {
    other(&(ruleset.backend, ruleset.family, table.name.clone())).unwrap_or(ruleset.backend)
}

/// The lines of every chain; a base chain that nobody wrote to is no chain. `name` gives the name of a chain as the first counts.
pub(super) fn chains(snapshot: &Snapshot, other: AsBackend<'_>, name: &dyn Fn(&Place) -> String) -> Places {
    let mut found = BTreeMap::new();
    for ruleset in snapshot.rulesets() {
        for table in &ruleset.tables {
            let backend = backend(ruleset, table, other);
            let place = |chain: &str| (backend, ruleset.family, table.name.clone(), chain.to_owned());
            let named = |chain: &str| name(&place(chain));
            let mut add = |chain: &str, syntax: Syntax, lines: Vec<Line>| {
                let own = (ruleset.backend, ruleset.family, table.name.clone(), chain.to_owned());
                found.insert(place(&named(chain)), Lines { syntax, own, lines });
            };
            for chain in table.chains.iter().filter(|chain| !is_untouched(chain)) {
                add(&chain.name, chain.syntax, lines(ruleset.family, table, chain, &named));
            }
            let own = table_lines(table);
            if !own.is_empty() {
                add("", Syntax::Nft, own.into_iter().map(plain).collect());
            }
            for set in table.sets.iter().filter(|set| !set.is_anonymous()) {
                let lines = set_lines(ruleset.family, table, set);
                add(&format!("@{}", set.name), Syntax::Nft, lines.into_iter().map(plain).collect());
            }
        }
    }
    found
}

/// What is not known of a table, its objects and its flow tables. What its objects have counted is state.
fn table_lines(table: &Table) -> Vec<String> {
    let mut found: Vec<String> = table.dormant.then(|| "flags dormant".to_owned()).into_iter().collect();
    found.extend(table.extra.texts(0));
    let line = |text: &str| text.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
    let mut objects: Vec<String> = table.objects.iter().map(object_line).collect();
    objects.sort();
    found.extend(objects);
    found.extend(table.flow_tables.iter().map(|flow| line(&flow_table_text(flow, &|priority| priority.to_string()).0)));
    found
}

/// An object as nft declares it, without what it has counted.
fn object_line(object: &NativeObject) -> String {
    let mut object = object.clone();
    match &mut object.expression {
        NativeExpression::Counter { packets, bytes } => (*packets, *bytes) = (0, 0),
        NativeExpression::Quota { used, flags, .. } => (*used, *flags) = (0, *flags & !DEPLETED),
        _ => {}
    }
    let (text, _) = object_text(&object);
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// `NFT_QUOTA_F_DEPLETED`
const DEPLETED: u32 = 2;

/// First what kind of set it is, then its elements, unless they come and go by themselves.
fn set_lines(family: Family, table: &Table, set: &NativeSet) -> Vec<String> {
    let place = place_of(family, table, &[], false);
    let (key, data) = set_types(set, &place);
    let data = data.map_or(String::new(), |data| format!(" : {data}"));
    let of = format!("type {}{data}", key.unwrap_or_default());
    let mut head = std::iter::once(of).chain(set_properties(set)).collect::<Vec<_>>().join(", ");
    head.extend(set.unknown.iter().map(|attribute| format!(" {}", attribute.text())));
    let elements =
        if set.changes() || table.changes(&set.name) { Some(Vec::new()) } else { elements_text(set, &place) };
    let bytes = || set.elements.iter().map(|element| format!("{element:?}")).collect();
    std::iter::once(head).chain(elements.unwrap_or_else(bytes)).collect()
}

/// The ipsets of each table's rules, where both sides have read them: a text names them only.
pub(super) fn ipsets(snapshot: &Snapshot, known: &dyn Fn(&str) -> bool, other: AsBackend<'_>) -> Places {
    let mut found = BTreeMap::new();
    let fixed = IpSets::of(snapshot);
    for ruleset in snapshot.rulesets() {
        for table in &ruleset.tables {
            let named = table.ipset_names().into_iter().filter(|name| known(name));
            for set in named.filter_map(|name| snapshot.ipsets.iter().find(|set| set.name == name)) {
                let place = |backend| (backend, ruleset.family, table.name.clone(), format!("ipset {}", set.name));
                let mut lines: Vec<String> =
                    set.elements.iter().flatten().map(|entry| set.uncounted_text(entry)).collect();
                // Elements that come and go are state, and a hash has no order.
                lines.retain(|_| fixed.holds_still(&set.name));
                lines.sort();
                lines.insert(0, format!("type {}, flags {}", set.kind, set.flag_words().join(",")));
                let lines = lines.into_iter().map(plain).collect();
                let own = place(ruleset.backend);
                found.insert(place(backend(ruleset, table, other)), Lines { syntax: Syntax::Nft, own, lines });
            }
        }
    }
    found
}

/// First the chain's own line, then its rules.
fn lines(family: Family, table: &Table, chain: &Chain, named: &dyn Fn(&str) -> String) -> Vec<Line> {
    let mut alike = String::from("user");
    let base = match (chain.hook, chain.priority) {
        (Some(hook), Some(priority)) => {
            let policy = if chain.policy == Some(Policy::Drop) { "DROP" } else { "ACCEPT" };
            // Of iptables' chains the hook and the table tell it.
            let kind = chain.kind.as_ref().filter(|_| chain.syntax == Syntax::Nft);
            let kind = kind.map_or(String::new(), |kind| format!("type {kind}, "));
            let shown = format!(":{} {policy} ({kind}hook {}, priority {priority})", chain.name, hook.word());
            let usual = [hook.table_priority(&table.name), hook.nft_table_priority(&table.name)].contains(&priority);
            alike = if chain.syntax == Syntax::Iptables && usual { policy.to_owned() } else { shown.clone() };
            shown
        }
        _ => format!(":{} -", chain.name),
    };
    /// A chain without a name of its own.
    const BINDING: u32 = 4;
    let devices = chain.devices.iter().map(|device| format!("device {device}"));
    let more: Vec<String> = devices.chain(chain.extra.texts(BINDING)).collect();
    let with = |text: String| std::iter::once(text).chain(more.iter().cloned()).collect::<Vec<_>>().join(" ");
    let base = Line { shown: with(base), normal: with(alike), is_rule: false };
    let rule = |rule: &Rule| Line {
        shown: print_rule(family, table, chain, rule),
        normal: normal::text((family, table, chain), rule, named),
        is_rule: true,
    };
    std::iter::once(base).chain(chain.rules.iter().map(rule)).collect()
}
