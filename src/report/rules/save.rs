//! Rules as the save programs print them, one after the other.

use crate::model::Snapshot;
use crate::report::escape::escape;
use crate::syntax::print_save;

/// The text; escaped only where it is to reach a terminal, for files and pipes it is exact.
#[must_use]
pub fn save(snapshot: &Snapshot, version: &str, for_terminal: bool) -> String {
    let text: String = snapshot.rulesets().iter().map(|ruleset| print_save(ruleset, version)).collect();
    if for_terminal { text.lines().map(|line| format!("{}\n", escape(line))).collect() } else { text }
}
