//! The sets that rules name, of nf_tables and of ipset: a line each, with their elements where they were asked for.

use serde_json::{Value, json};

use super::{Columns, Form};
use crate::analysis::paths::{blocks, unreached};
use crate::model::{Family, IpSet, NativeSet, Ruleset, Snapshot, Table};
use crate::report::escape::escape;
use crate::report::paint::Label;
use crate::report::wrap::wrap;
use crate::syntax::{elements_text, place_of, set_types};

/// A set as it is shown.
struct Shown {
    /// Where it is, and its name.
    name: String,
    /// Its type.
    kind: String,
    /// Its elements, as their tools write them; `None` where they were not read.
    elements: Option<Vec<String>>,
    count: Option<usize>,
}

/// A block that names the sets: those that the shown tables ask, or all where all is shown; `elements`: with what is in them. Empty
/// where there are none.
#[must_use]
pub fn sets(snapshot: &Snapshot, form: Form, elements: bool) -> String {
    let shown = shown(snapshot, form.chosen.whole() || elements, form.columns == Columns::All);
    if shown.is_empty() {
        return String::new();
    }
    // Who asked for them and has none has them not in a file.
    let hint = if elements { "" } else { ": --sets" };
    let mut out = format!("\n{}\n", form.paint.text(Label::Heading, "SETS"));
    for set in shown {
        let count = match (set.count, &set.elements) {
            (Some(1), Some(_)) => "1 element".to_owned(),
            (Some(count), Some(_)) => format!("{count} elements"),
            (Some(count), None) => format!("{count} elements, not read{hint}"),
            (None, _) => format!("elements not read{hint}"),
        };
        let line = format!("{} · {} · {count}", escape(&set.name), escape(&set.kind));
        let lines = wrap(&line, form.width.saturating_sub(4).max(20));
        for (at, line) in lines.iter().enumerate() {
            out.push_str(&format!("{}{line}\n", if at == 0 { "  " } else { "    " }));
        }
        for element in set.elements.iter().flatten().filter(|_| elements) {
            out.push_str(&format!("      {}\n", escape(element)));
        }
    }
    out
}

fn shown(snapshot: &Snapshot, all: bool, wide: bool) -> Vec<Shown> {
    let mut tables: Vec<(&Ruleset, &Table)> = Vec::new();
    if all {
        tables.extend(
            snapshot.rulesets().iter().flat_map(|ruleset| ruleset.tables.iter().map(move |table| (ruleset, table))),
        );
    } else {
        for block in blocks(snapshot, false).iter().chain(&unreached(snapshot, false)) {
            let known = tables.iter().any(|(_, table)| std::ptr::eq(*table, block.table));
            tables.extend((!known).then_some((block.ruleset, block.table)));
        }
    }
    let mut found = Vec::new();
    for (ruleset, table) in &tables {
        let named = table.sets.iter().filter(|set| !set.is_anonymous());
        found.extend(named.map(|set| of_table(ruleset.family, table, set)));
    }
    let asked: Vec<&str> = tables.iter().flat_map(|(_, table)| table.ipset_names()).collect();
    let ipsets = snapshot.ipsets.iter().filter(|set| all || asked.contains(&set.name.as_str()));
    found.extend(ipsets.map(|set| of_ipset(set, wide)));
    found
}

fn of_table(family: Family, table: &Table, set: &NativeSet) -> Shown {
    let place = place_of(family, table, &[], true);
    let (key, data) = set_types(set, &place);
    let data = data.map_or(String::new(), |data| format!(" : {data}"));
    let unwritten = || vec![format!("[{} elements that have no words]", set.elements.len())];
    let elements = (!set.unread).then(|| elements_text(set, &place).unwrap_or_else(unwritten));
    let count = elements.as_ref().map(Vec::len).or(set.count.and_then(|count| count.try_into().ok()));
    Shown {
        name: format!("{} {} {}", family.word(), table.name, set.name),
        kind: format!("{}{data}", key.unwrap_or_else(|| "of a type without words".to_owned())),
        elements,
        count,
    }
}

fn of_ipset(set: &IpSet, wide: bool) -> Shown {
    let kind = if set.is_known() { set.kind.clone() } else { format!("{} (unknown type)", set.kind) };
    Shown {
        name: format!("ipset {}", set.name),
        kind: if wide { format!("{kind} {}", set.options()).trim_end().to_owned() } else { kind },
        elements: entries(set),
        count: set.count(),
    }
}

fn entries(set: &IpSet) -> Option<Vec<String>> {
    set.elements.as_ref().map(|elements| elements.iter().map(|entry| set.entry_text(entry)).collect())
}

/// Named sets and maps of nf_tables, and the ipsets that rules name; those of a single rule stand in its text.
pub(super) fn json_sets(snapshot: &Snapshot) -> Vec<Value> {
    let mut found = Vec::new();
    for ruleset in snapshot.rulesets() {
        for table in &ruleset.tables {
            let named = table.sets.iter().filter(|set| !set.is_anonymous());
            found.extend(named.map(|set| native(ruleset.family, table, set)));
        }
    }
    found.extend(snapshot.ipsets.iter().map(ipset));
    found
}

fn native(family: Family, table: &Table, set: &NativeSet) -> Value {
    let place = place_of(family, table, &[], true);
    let (kind, data) = set_types(set, &place);
    json!({
        "backend": "nft",
        "family": family,
        "table": table.name,
        "name": set.name,
        "type": kind,
        "map": data,
        "flags": set.flag_words(),
        "options": null,
        "read": !set.unread,
        "count": if set.unread { set.count.map(u64::from) } else { Some(set.elements.len() as u64) },
        "elements": elements_text(set, &place),
        "comment": set.comment(),
    })
}

fn ipset(set: &IpSet) -> Value {
    let family = match set.family {
        2 => Some(Family::Ip),
        10 => Some(Family::Ip6),
        _ => None,
    };
    json!({
        "backend": "ipset",
        "family": family,
        "table": null,
        "name": set.name,
        "type": set.kind,
        "map": null,
        "flags": set.flag_words(),
        "options": set.options(),
        "read": set.elements.is_some(),
        "count": set.count(),
        "elements": entries(set),
        "comment": null,
    })
}
