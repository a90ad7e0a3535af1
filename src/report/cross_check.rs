//! What the node's own programs see, beside what was decoded: for people and for programs.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::analysis::agreement::{Compared, Difference};
use crate::report::escape::escape;
use crate::report::paint::{Label, Paint};
use crate::report::wrap::wrap;

/// The list `cross_check` of the document.
#[must_use]
pub fn json(checked: &[Compared]) -> Value {
    json!(checked)
}

/// A line for each table, below it what differs and why.
#[must_use]
pub fn text(checked: &[Compared], paint: Paint, width: usize) -> String {
    let mut out = format!("\n{}\n", paint.text(Label::Heading, "Cross-check with the node's own programs"));
    if checked.is_empty() {
        out.push_str("there is no table of iptables to ask them about\n");
    }
    let mut missing = BTreeSet::new();
    for compared in checked {
        let Compared { program, version, backend, family, table, same, differences, notes, answered } = compared;
        let Some(program) = program else {
            missing.insert(format!("{} {}", backend.word(), family.word()));
            continue;
        };
        let version = version.as_ref().map_or(String::new(), |version| format!(" {}", escape(version)));
        let agrees = match (answered, differences.len()) {
            (false, _) => paint.text(Label::Warning, "printed nothing"),
            (true, 0) => format!("the same, {same} lines"),
            (true, 1) => paint.text(Label::Warning, &format!("{same} lines the same, one differs")),
            (true, count) => paint.text(Label::Warning, &format!("{same} lines the same, {count} differ")),
        };
        out.push_str(&format!("{} · {program}{version}: {agrees}\n", escape(table)));
        for note in notes {
            let said = if *answered { "it says: " } else { "" };
            lines(&format!("{said}{}", escape(note)), "  ", width, &mut out);
        }
        let mut told: Option<&str> = None;
        for Difference { ours, theirs, why } in differences {
            for (sign, label, line) in [("-", Label::Removed, theirs), ("+", Label::Added, ours)] {
                let Some(line) = line else { continue };
                out.push_str(&format!("  {sign} {}\n", paint.text(label, &escape(line))));
            }
            // The same reason is given once for those that follow each other.
            if told.replace(why) != Some(why.as_str()) {
                lines(why, "    ", width, &mut out);
            }
        }
    }
    if !missing.is_empty() {
        let what = missing.into_iter().collect::<Vec<_>>().join(", ");
        // In a debug pod the node may well have one: it is the program's own folders that are searched.
        let text = format!(
            "no iptables-save for {what} where nslens runs: install iptables there to have a second opinion on these"
        );
        lines(&text, "", width, &mut out);
    }
    if checked.iter().any(|compared| !compared.differences.is_empty()) {
        lines("(- as the program prints it, + as nslens reads it)", "", width, &mut out);
    }
    out
}

fn lines(text: &str, indent: &str, width: usize, out: &mut String) {
    for line in wrap(text, width.saturating_sub(indent.len())) {
        out.push_str(&format!("{indent}{line}\n"));
    }
}
