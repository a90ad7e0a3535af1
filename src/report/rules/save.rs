//! Rules as the save programs print them, one after the other.

use crate::model::{Family, Snapshot, Syntax};
use crate::report::escape::escape;
use crate::syntax::print_save;

/// The text; escaped only where it is to reach a terminal, for files and pipes it is exact.
#[must_use]
pub fn save(snapshot: &Snapshot, version: &str, for_terminal: bool) -> String {
    let text: String = snapshot.rulesets().iter().map(|ruleset| print_save(ruleset, version)).collect();
    if for_terminal { text.lines().map(|line| format!("{}\n", escape(line))).collect() } else { text }
}

/// Chains of iptables' own tables that iptables' syntax cannot express, and that are therefore missing in the text.
#[must_use]
pub fn missing(snapshot: &Snapshot) -> Vec<String> {
    const TABLES: [&str; 5] = ["filter", "nat", "mangle", "raw", "security"];
    let mut missing = Vec::new();
    for ruleset in snapshot.rulesets().iter().filter(|ruleset| matches!(ruleset.family, Family::Ip | Family::Ip6)) {
        for table in ruleset.tables.iter().filter(|table| TABLES.contains(&table.name.as_str())) {
            let native = table.chains.iter().filter(|chain| chain.syntax == Syntax::Nft);
            missing.extend(native.map(|chain| format!("{} {} {}", ruleset.family.word(), table.name, chain.name)));
        }
    }
    missing
}
