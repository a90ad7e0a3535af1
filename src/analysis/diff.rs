//! What differs between two snapshots: rules by their canonical text, connections by who, what and which way.

use std::collections::BTreeMap;

use serde::Serialize;
use similar::{Algorithm, DiffOp, capture_diff_slices};

use super::ipsets::IpSets;
use super::join::{Connection, Direction, Way};
use crate::model::{
    Backend, Chain, Family, Kind, NativeExpression, NativeObject, NativeSet, Policy, RuleRef, Ruleset, Snapshot,
    Syntax, Table,
};
use crate::syntax::{elements_text, flow_table_text, object_text, place_of, print_rule, set_properties, set_types};

/// How a rule differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// Only the second has it.
    Added,
    /// Only the first has it.
    Removed,
    /// At the same place of the chain the first has one, the second another.
    Changed,
}

/// One difference in the rules. A chain's own line (hook, policy) has number 0.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RuleChange {
    /// How.
    pub change: Change,
    /// The rule by its place: in the second for added ones, else in the first.
    pub rule: RuleRef,
    /// How its chain is written; the texts show it, so that JSON does not name it.
    #[serde(skip)]
    pub syntax: Syntax,
    /// Its text in the first.
    pub before: Option<String>,
    /// Its text in the second.
    pub after: Option<String>,
}

/// The key of a chain within a snapshot.
type Place = (Backend, Family, String, String);

/// What differs between the rules: per table and chain, insensitive to counters and handles, sensitive to order.
#[must_use]
pub fn rules(before: &Snapshot, after: &Snapshot) -> Vec<RuleChange> {
    let alike = text_backend(before, after);
    let (mut left, mut right) = (chains(before, alike), chains(after, alike));
    let known =
        |snapshot: &Snapshot, name: &str| snapshot.ipsets.iter().any(|set| set.name == name && set.elements.is_some());
    let both = |name: &str| known(before, name) && known(after, name);
    left.extend(ipsets(before, &both));
    right.extend(ipsets(after, &both));
    let mut places: Vec<&Place> = left.keys().chain(right.keys()).collect();
    places.sort();
    places.dedup();
    let mut changes = Vec::new();
    for place in places {
        let syntax = left.get(place).or(right.get(place)).map_or(Syntax::Nft, |(syntax, _)| *syntax);
        let lines = |side: &'_ BTreeMap<Place, (Syntax, Vec<String>)>| -> Vec<String> {
            side.get(place).map(|(_, lines)| lines.clone()).unwrap_or_default()
        };
        compare(place, syntax, &lines(&left), &lines(&right), &mut changes);
    }
    changes
}

/// Saved text does not say which backend it was taken from: against a live pod it stands for the backend that holds rules there.
fn text_backend(before: &Snapshot, after: &Snapshot) -> Option<Backend> {
    let used = |snapshot: &Snapshot| {
        let mut backends: Vec<Backend> = snapshot
            .rulesets()
            .iter()
            .filter(|ruleset| ruleset.rule_count() > 0)
            .map(|ruleset| ruleset.backend)
            .collect();
        backends.dedup();
        match backends.as_slice() {
            [only] => Some(*only),
            _ => None,
        }
    };
    let is_text = |snapshot: &Snapshot| snapshot.workload.kind == Kind::File;
    match (is_text(before), is_text(after)) {
        (true, false) => used(before).and(used(after)),
        (false, true) => used(after).and(used(before)),
        _ => None,
    }
}

/// The lines of every chain; a base chain that nobody wrote to is no chain.
fn chains(snapshot: &Snapshot, as_backend: Option<Backend>) -> BTreeMap<Place, (Syntax, Vec<String>)> {
    let mut found = BTreeMap::new();
    for ruleset in snapshot.rulesets() {
        for table in &ruleset.tables {
            for chain in &table.chains {
                let untouched = chain.hook.is_some() && chain.rules.is_empty() && chain.policy != Some(Policy::Drop);
                if !untouched {
                    found.insert(
                        place(ruleset, table, chain, as_backend),
                        (chain.syntax, lines(ruleset.family, table, chain)),
                    );
                }
            }
            let own = table_lines(table);
            if !own.is_empty() {
                let place = (as_backend.unwrap_or(ruleset.backend), ruleset.family, table.name.clone(), String::new());
                found.insert(place, (Syntax::Nft, own));
            }
            for set in table.sets.iter().filter(|set| !set.is_anonymous()) {
                let place = (
                    as_backend.unwrap_or(ruleset.backend),
                    ruleset.family,
                    table.name.clone(),
                    format!("@{}", set.name),
                );
                found.insert(place, (Syntax::Nft, set_lines(ruleset.family, table, set)));
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
fn ipsets(snapshot: &Snapshot, known: &dyn Fn(&str) -> bool) -> BTreeMap<Place, (Syntax, Vec<String>)> {
    let mut found = BTreeMap::new();
    let fixed = IpSets::of(snapshot);
    for ruleset in snapshot.rulesets() {
        for table in &ruleset.tables {
            let named = table.ipset_names().into_iter().filter(|name| known(name));
            for set in named.filter_map(|name| snapshot.ipsets.iter().find(|set| set.name == name)) {
                let place = (ruleset.backend, ruleset.family, table.name.clone(), format!("ipset {}", set.name));
                let mut lines: Vec<String> =
                    set.elements.iter().flatten().map(|entry| set.uncounted_text(entry)).collect();
                // Elements that come and go are state, and a hash has no order.
                lines.retain(|_| fixed.holds_still(&set.name));
                lines.sort();
                lines.insert(0, format!("type {}, flags {}", set.kind, set.flag_words().join(",")));
                found.insert(place, (Syntax::Nft, lines));
            }
        }
    }
    found
}

fn place(ruleset: &Ruleset, table: &Table, chain: &Chain, as_backend: Option<Backend>) -> Place {
    (as_backend.unwrap_or(ruleset.backend), ruleset.family, table.name.clone(), chain.name.clone())
}

/// First the chain's own line, then its rules.
fn lines(family: Family, table: &Table, chain: &Chain) -> Vec<String> {
    let base = match (chain.hook, chain.priority) {
        (Some(hook), Some(priority)) => {
            let policy = if chain.policy == Some(Policy::Drop) { "DROP" } else { "ACCEPT" };
            // Of iptables' chains the hook and the table tell it.
            let kind = chain.kind.as_ref().filter(|_| chain.syntax == Syntax::Nft);
            let kind = kind.map_or(String::new(), |kind| format!("type {kind}, "));
            format!(":{} {policy} ({kind}hook {}, priority {priority})", chain.name, hook.word())
        }
        _ => format!(":{} -", chain.name),
    };
    /// A chain without a name of its own.
    const BINDING: u32 = 4;
    let devices = chain.devices.iter().map(|device| format!("device {device}"));
    let base = std::iter::once(base).chain(devices).chain(chain.extra.texts(BINDING)).collect::<Vec<_>>().join(" ");
    std::iter::once(base).chain(chain.rules.iter().map(|rule| print_rule(family, table, chain, rule))).collect()
}

fn compare(place: &Place, syntax: Syntax, left: &[String], right: &[String], changes: &mut Vec<RuleChange>) {
    let name = |number: usize| {
        let (backend, family, table, chain) = place.clone();
        RuleRef { backend, family, table, chain, number }
    };
    let mut push = |change, at: usize, before: Option<&String>, after: Option<&String>| {
        changes.push(RuleChange { change, rule: name(at), syntax, before: before.cloned(), after: after.cloned() });
    };
    for operation in capture_diff_slices(Algorithm::Myers, left, right) {
        let (old, new) = match operation {
            DiffOp::Equal { .. } => continue,
            other => (other.old_range(), other.new_range()),
        };
        let paired = old.len().min(new.len());
        for (from, to) in old.clone().zip(new.clone()) {
            push(Change::Changed, from, left.get(from), right.get(to));
        }
        for from in old.skip(paired) {
            push(Change::Removed, from, left.get(from), None);
        }
        for to in new.skip(paired) {
            push(Change::Added, to, None, right.get(to));
        }
    }
}

/// How a connection differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionChange {
    /// How.
    pub change: Change,
    /// Who and what, in words.
    pub subject: String,
    /// Ways and how often, in the first.
    pub before: Option<String>,
    /// The same in the second.
    pub after: Option<String>,
}

/// What differs between the connections of two snapshots. Ephemeral ports and PIDs are not compared: they always differ.
#[must_use]
pub fn connections(before: &[Connection], after: &[Connection]) -> Vec<ConnectionChange> {
    let (left, right) = (tally(before), tally(after));
    let mut subjects: Vec<&String> = left.keys().chain(right.keys()).collect();
    subjects.sort();
    subjects.dedup();
    let mut changes = Vec::new();
    for subject in subjects {
        let (old, new) = (left.get(subject).cloned(), right.get(subject).cloned());
        let change = match (&old, &new) {
            (old, new) if old == new => continue,
            (None, _) => Change::Added,
            (_, None) => Change::Removed,
            _ => Change::Changed,
        };
        changes.push(ConnectionChange { change, subject: subject.clone(), before: old, after: new });
    }
    changes
}

/// Ways by subject: `redirected to 15001 × 2`.
fn tally(connections: &[Connection]) -> BTreeMap<String, String> {
    let mut counted: BTreeMap<String, BTreeMap<String, usize>> = BTreeMap::new();
    for connection in connections {
        *counted.entry(subject(connection)).or_default().entry(way(connection)).or_default() += 1;
    }
    let text = |ways: BTreeMap<String, usize>| {
        ways.into_iter().map(|(way, count)| format!("{way} × {count}")).collect::<Vec<_>>().join(", ")
    };
    counted.into_iter().map(|(subject, ways)| (subject, text(ways))).collect()
}

fn subject(connection: &Connection) -> String {
    let process = connection.process().map_or("no process", |process| process.name.as_str());
    let protocol = connection.protocol;
    let uid = connection.uid.map_or("unknown".to_owned(), |uid| uid.to_string());
    let what = match (connection.way, connection.original_destination) {
        (Way::Listening, _) | (_, None) => format!("on port {}", connection.local.port),
        // Of an accepted one the pod's own address says nothing, only the port.
        (Way::Intercepted, Some(dialled)) => format!("taken for port {}", dialled.port),
        _ if connection.direction == Some(Direction::In) => format!("on port {}", connection.local.port),
        (_, Some(dialled)) => format!("to {dialled}"),
    };
    format!("{protocol} {process} (UID {uid}) {what}")
}

fn way(connection: &Connection) -> String {
    match (connection.way, connection.actual_destination) {
        (Way::Redirected | Way::Intercepted, Some(actual)) => format!("{} at {}", connection.way.word(), actual.port),
        (way, _) => way.word().to_owned(),
    }
}
