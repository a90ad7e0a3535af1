//! For a comment on a change: a line for each pair, what differs behind it.

use super::many::{Pair, words};
use super::{Look, unified};
use crate::report::paint::Paint;

/// The text.
#[must_use]
pub fn markdown(pairs: &[Pair<'_>]) -> String {
    let mut out = "## nslens diff\n\n| workload | what differs |\n| --- | --- |\n".to_owned();
    for pair in pairs {
        out.push_str(&format!("| {} | {} |\n", cell(&pair.name()), cell(&words(pair))));
    }
    for pair in pairs.iter().filter(|pair| matches!(pair, Pair::Both(_)) && pair.equal() != Some(true)) {
        let looks = Look { unread_rules: false, verbose: false, paint: Paint::new(false), width: 120 };
        let patch = unified(std::slice::from_ref(pair), looks);
        // A fence is longer than any row of the same within.
        let longest = patch.split(|character| character != '`').map(str::len).max().unwrap_or_default();
        let fence = "`".repeat(longest.max(2) + 1);
        out.push_str(&format!(
            "\n<details><summary>{}</summary>\n\n{fence}diff\n{patch}{fence}\n\n</details>\n",
            html(&pair.name())
        ));
    }
    out
}

/// What stands in a cell of a table: no markup of others, and no end of the cell.
fn cell(text: &str) -> String {
    let plain = |character: char| !"\\`*_{}[]<>()#+!|~".contains(character);
    text.chars()
        .map(|character| if plain(character) { character.to_string() } else { format!("\\{character}") })
        .collect()
}

fn html(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
