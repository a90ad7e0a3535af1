//! Prints tables of nf_tables as `nft list ruleset` 1.0.6 does.

use super::nft_rule::{place_of, print_listed};
use crate::model::{Backend, Chain, Family, Hook, Policy, Ruleset, Table};
use crate::nft::{self, Place};

/// A rule set in nft's words.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NftText {
    /// The text.
    pub text: String,
    /// What of it is not in nft's words, and stands in brackets by name and bytes: `ip nat chain PREROUTING`.
    pub missing: Vec<String>,
}

/// Prints all tables of nf_tables in the order in which they were made; `devices` are those of the namespace.
#[must_use]
pub fn print_nft(rulesets: &[Ruleset], devices: &[(u32, String)]) -> NftText {
    let native = rulesets.iter().filter(|ruleset| ruleset.backend == Backend::Nft);
    let mut tables: Vec<(Family, &Table)> =
        native.flat_map(|ruleset| ruleset.tables.iter().map(|table| (ruleset.family, table))).collect();
    tables.sort_by_key(|(_, table)| table.handle);
    let mut out = NftText::default();
    for (family, table) in tables {
        print_table(family, table, devices, &mut out);
    }
    out
}

fn print_table(family: Family, table: &Table, devices: &[(u32, String)], out: &mut NftText) {
    let place = place_of(family, table, devices, true);
    let mut blocks = Vec::new();
    let mut missing = |what: &str, name: &str, whole: bool| {
        if !whole {
            out.missing.push(format!("{} {} {what} {name}", family.word(), table.name));
        }
    };
    let mut objects: Vec<_> = table.objects.iter().collect();
    objects.sort_by_key(|object| object.handle);
    for object in objects {
        let (text, whole) = nft::object_text(object);
        missing("object", &object.name, whole);
        blocks.push(text);
    }
    let mut sets: Vec<_> = table.sets.iter().filter(|set| !set.is_anonymous()).collect();
    sets.sort_by_key(|set| set.handle);
    for set in sets {
        let (text, whole) = nft::set_text(set, &place);
        missing("set", &set.name, whole);
        blocks.push(text);
    }
    let mut flow_tables: Vec<_> = table.flow_tables.iter().collect();
    flow_tables.sort_by_key(|table| table.handle);
    for flow_table in flow_tables {
        let priority = |priority: i32| priority_text(family, Hook::Ingress, priority);
        let (text, whole) = nft::flow_table_text(flow_table, &priority);
        missing("flow table", &flow_table.name, whole);
        blocks.push(text);
    }
    let mut chains: Vec<_> = table.chains.iter().collect();
    chains.sort_by_key(|chain| chain.handle);
    for chain in chains {
        let (text, whole) = print_chain(chain, &place);
        missing("chain", &chain.name, whole);
        blocks.push(text);
    }
    let mut head = format!("table {} {} {{\n", family.word(), table.name);
    const OWNER: u32 = 2;
    const PERSIST: u32 = 4;
    let owner = (table.extra.flags & OWNER != 0).then_some("owner");
    let persist = (table.extra.flags & PERSIST != 0).then_some("persist");
    let flags: Vec<&str> = table.dormant.then_some("dormant").into_iter().chain(owner).chain(persist).collect();
    if !flags.is_empty() {
        head.push_str(&format!("\tflags {}\n", flags.join(",")));
    }
    let strange = table.extra.texts(OWNER | PERSIST);
    head.extend(strange.iter().map(|text| format!("\t{text}\n")));
    if let Some(comment) = &table.comment {
        head.push_str(&format!("\tcomment \"{comment}\"\n"));
    }
    if !(flags.is_empty() && strange.is_empty()) && !blocks.is_empty() {
        head.push('\n');
    }
    if !strange.is_empty() {
        out.missing.push(format!("{} {} table {}", family.word(), table.name, table.name));
    }
    out.text.push_str(&head);
    out.text.push_str(&blocks.join("\n"));
    out.text.push_str("}\n");
}

fn print_chain(chain: &Chain, place: &Place<'_>) -> (String, bool) {
    let mut out = format!("\tchain {} {{\n", chain.name);
    let mut line = |text: &str| out.push_str(&format!("\t\t{text}\n"));
    if let Some(comment) = &chain.comment {
        line(&format!("comment \"{comment}\""));
    }
    if let (Some(hook), Some(priority)) = (chain.hook, chain.priority) {
        let kind = chain.kind.as_deref().unwrap_or("filter");
        let devices = match chain.devices.as_slice() {
            [] => String::new(),
            [one] => format!(" device \"{one}\""),
            several => {
                format!(" devices = {{ {} }}", several.join(", "))
            }
        };
        let policy = match chain.policy {
            Some(Policy::Accept) => " policy accept;",
            Some(Policy::Drop) => " policy drop;",
            None => "",
        };
        let priority = priority_text(place.family, hook, priority);
        line(&format!("type {kind} hook {}{devices} priority {priority};{policy}", hook.word()));
    }
    const OFFLOAD: u32 = 2;
    // A chain that is bound to one rule has no name of its own.
    const BINDING: u32 = 4;
    if chain.extra.flags & OFFLOAD != 0 {
        line("flags offload;");
    }
    let strange = chain.extra.texts(OFFLOAD | BINDING);
    strange.iter().for_each(|text| line(text));
    let mut all = strange.is_empty();
    for rule in &chain.rules {
        let (text, whole) = print_listed(rule, place);
        all &= whole;
        line(&text);
    }
    out.push_str("\t}\n");
    (out, all)
}

/// `filter`, `dstnat - 10`, `-100`: nft names what lies within ten of a usual priority of the hook.
fn priority_text(family: Family, hook: Hook, priority: i32) -> String {
    const REACH: u32 = 10;
    let near = usual_priorities(family)
        .iter()
        .find(|(_, value, only)| priority.abs_diff(*value) <= REACH && only.is_none_or(|only| only == hook));
    match near.map(|(name, value, _)| (name, priority - value)) {
        None => priority.to_string(),
        Some((name, 0)) => (*name).to_string(),
        Some((name, more)) if more > 0 => format!("{name} + {more}"),
        Some((name, less)) => format!("{name} - {}", -less),
    }
}

/// The priority that a name stands for.
pub(super) fn named_priority(family: Family, name: &str) -> Option<i32> {
    // Newer versions know each name at every hook where it has a meaning.
    usual_priorities(family).iter().find(|(known, ..)| *known == name).map(|(_, value, _)| *value)
}

/// The names of priorities, and the hook where a name is known at one only.
fn usual_priorities(family: Family) -> &'static [(&'static str, i32, Option<Hook>)] {
    match family {
        Family::Bridge => &[
            ("dstnat", -300, Some(Hook::Prerouting)),
            ("filter", -200, None),
            ("out", 100, Some(Hook::Output)),
            ("srcnat", 300, Some(Hook::Postrouting)),
        ],
        Family::Arp | Family::Netdev => &[("filter", 0, None)],
        Family::Ip | Family::Ip6 | Family::Inet => &[
            ("raw", -300, None),
            ("mangle", -150, None),
            ("dstnat", -100, Some(Hook::Prerouting)),
            ("filter", 0, None),
            ("security", 50, None),
            ("srcnat", 100, Some(Hook::Postrouting)),
        ],
    }
}
