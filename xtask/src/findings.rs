//! The pages of findings: generated from what the program itself tells, and checked in.

use std::collections::BTreeMap;
use std::fs;
use std::process::ExitCode;

use nslens::analysis::findings::{ALL, Group};
use nslens::report::check::markdown;

use crate::{Outcome, root};

const FOLDER: &str = "docs/findings";

/// Writes the files.
pub(crate) fn run() -> Outcome {
    let folder = root().join(FOLDER);
    fs::create_dir_all(&folder)?;
    for (name, text) in pages() {
        fs::write(folder.join(&name), text)?;
        println!("{FOLDER}/{name}");
    }
    Ok(ExitCode::SUCCESS)
}

/// Every page by its name, and the list of them.
fn pages() -> BTreeMap<String, String> {
    let mut pages: BTreeMap<String, String> =
        ALL.iter().map(|kind| (format!("{}.md", kind.id), markdown(kind))).collect();
    let mut list = String::from(
        "# Findings\n\nWhat `nslens check` can find. `nslens check --explain ID` prints the same pages. Written by `cargo xtask findings`.\n",
    );
    for group in Group::ALL {
        let mut of: Vec<_> = ALL.iter().filter(|kind| kind.group() == group).collect();
        of.sort_by_key(|kind| kind.id);
        if of.is_empty() {
            continue;
        }
        list.push_str(&format!("\n## {}\n\n| id | finding | severity |\n| --- | --- | --- |\n", group.words()));
        for kind in of {
            list.push_str(&format!("| [{0}]({0}.md) | {1} | {2} |\n", kind.id, kind.title, kind.severity.word()));
        }
    }
    pages.insert("README.md".to_owned(), list);
    pages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pages_are_current() {
        let folder = root().join(FOLDER);
        let pages = pages();
        for (name, text) in &pages {
            let written = fs::read_to_string(folder.join(name)).unwrap_or_default();
            assert!(written == *text, "{FOLDER}/{name} is stale: run `cargo xtask findings`");
        }
        let there = fs::read_dir(folder).expect("the folder").flatten().count();
        assert_eq!(there, pages.len(), "a page in {FOLDER} is of no finding");
    }
}
