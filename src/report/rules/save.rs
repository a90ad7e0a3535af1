//! Rules as the save programs print them, one after the other.

use std::collections::BTreeSet;
use std::io;

use crate::model::{Backend, Body, Family, Snapshot, Syntax};
use crate::report::escape::escape;
use crate::syntax::{NftText, print_nft, print_save, write_save};

/// Writes the text; escaped only where it is to reach a terminal, for files and pipes it is exact.
///
/// # Errors
/// The writer's own.
pub fn save(snapshot: &Snapshot, version: &str, for_terminal: bool, out: &mut dyn io::Write) -> io::Result<()> {
    for ruleset in snapshot.rulesets() {
        if for_terminal {
            for line in print_save(ruleset, version).lines() {
                writeln!(out, "{}", escape(line))?;
            }
        } else {
            write_save(ruleset, version, out)?;
        }
    }
    Ok(())
}

/// Rules, sets and objects of nf_tables as nft lists them, and what of them is not in its words.
#[must_use]
pub fn nft(snapshot: &Snapshot, for_terminal: bool) -> NftText {
    let devices: Vec<(u32, String)> =
        snapshot.interfaces.iter().flatten().map(|device| (device.index, device.name.clone())).collect();
    let NftText { text, missing } = print_nft(snapshot.rulesets(), &devices);
    let text = if for_terminal { text.lines().map(|line| format!("{}\n", escape_text(line))).collect() } else { text };
    NftText { text, missing }
}

/// Tabs at the beginning of a line are the text's own.
fn escape_text(line: &str) -> String {
    let rest = line.trim_start_matches('\t');
    format!("{}{}", "\t".repeat(line.len() - rest.len()), escape(rest))
}

/// Chains of iptables' own tables, and rules in its chains, that iptables' syntax cannot express, and that are therefore missing
/// in the text: `chain ip nat mine`, `rule 3 of ip filter INPUT`.
#[must_use]
pub fn missing(snapshot: &Snapshot) -> Vec<String> {
    const TABLES: [&str; 5] = ["filter", "nat", "mangle", "raw", "security"];
    let mut missing = Vec::new();
    for ruleset in snapshot.rulesets().iter().filter(|ruleset| matches!(ruleset.family, Family::Ip | Family::Ip6)) {
        for table in ruleset.tables.iter().filter(|table| TABLES.contains(&table.name.as_str())) {
            let native = table.chains.iter().filter(|chain| chain.syntax == Syntax::Nft);
            missing
                .extend(native.map(|chain| format!("chain {} {} {}", ruleset.family.word(), table.name, chain.name)));
            for chain in &table.chains {
                let foreign = chain.rules.iter().enumerate().filter(|(_, rule)| chain.is_foreign(rule));
                missing.extend(foreign.map(|(index, _)| {
                    format!("rule {} of {} {} {}", index + 1, ruleset.family.word(), table.name, chain.name)
                }));
            }
        }
    }
    missing
}

/// Matches and targets that are not understood and stand in the text by name and bytes, which iptables-restore refuses:
/// `match length in legacy ip filter INPUT`.
#[must_use]
pub fn bracketed(snapshot: &Snapshot) -> Vec<String> {
    let mut found = Vec::new();
    for ruleset in snapshot.rulesets().iter().filter(|ruleset| matches!(ruleset.family, Family::Ip | Family::Ip6)) {
        let backend = if ruleset.backend == Backend::Legacy { "legacy " } else { "" };
        for table in &ruleset.tables {
            for chain in table.chains.iter().filter(|chain| chain.syntax == Syntax::Iptables) {
                let parts = chain.rules.iter().filter_map(|rule| match &rule.body {
                    Body::Xt(rule) => Some(rule.bracketed()),
                    Body::Nft(_) => None,
                });
                let saved = chain.saved.iter().flat_map(|saved| saved.bracketed.iter().cloned());
                let parts: BTreeSet<String> = parts.flatten().chain(saved).collect();
                let place = format!("{backend}{} {} {}", ruleset.family.word(), table.name, chain.name);
                found.extend(parts.into_iter().map(|part| format!("{part} in {place}")));
            }
        }
    }
    found
}
