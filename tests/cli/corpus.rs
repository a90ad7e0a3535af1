//! The corpus of real rule sets, where it is at hand (`NSLENS_CORPUS`, else `../shared/corpus` beside this repository).

use std::path::{Path, PathBuf};

use crate::program::{nslens, say};

/// The corpus; `None`, said loudly, where it is not at hand. Set but missing is a failure.
pub(crate) fn corpus() -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus");
    let set = std::env::var_os("NSLENS_CORPUS").map(PathBuf::from);
    let path = set.clone().unwrap_or_else(beside);
    if path.is_dir() {
        return Some(path);
    }
    assert!(set.is_none(), "NSLENS_CORPUS names {}, which is no folder", path.display());
    say(&format!("NOT TESTED: there is no corpus at {}; set NSLENS_CORPUS", path.display()));
    None
}

/// The files below a folder whose names end so, in order; none is a failure.
pub(crate) fn files(folder: &Path, endings: &[&str]) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(&folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
            let name = path.to_string_lossy().into_owned();
            if path.is_dir() {
                folders.push(path);
            } else if endings.iter().any(|ending| name.ends_with(ending)) {
                found.push(path);
            }
        }
    }
    assert!(!found.is_empty(), "no {endings:?} below {}", folder.display());
    found.sort();
    found
}

fn words<'a>(path: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    // The files lack the comment lines that would tell; their names do.
    let family: &[&str] = if path.contains(".v6.") { &["-6"] } else { &["-4"] };
    [&["rules", path], family, more].concat()
}

#[test]
fn every_saved_text_comes_out_as_it_went_in() {
    let Some(corpus) = corpus() else { return };
    let (mut wrong, mut cases) = (Vec::new(), 0);
    for path in files(&corpus.join("saved"), &[".legacy-save", ".nft-save"]) {
        cases += 1;
        let text = std::fs::read_to_string(&path).expect("text");
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        let path = path.to_string_lossy();
        let run = nslens(&words(&path, &["-o", "save"]));
        let saved = run.saved();
        if run.code != 0 || saved != lines {
            let first = lines.iter().zip(&saved).find(|(wanted, got)| wanted != got);
            wrong.push(format!("{path}: exit {} {} {first:?}", run.code, run.err.trim_end()));
        }
    }
    assert!(wrong.is_empty(), "{} of {cases} differ:\n{}", wrong.len(), wrong.join("\n"));
    say(&format!("{cases} saved texts"));
}

#[test]
fn every_rule_file_is_understood_or_refused_by_its_line() {
    let Some(corpus) = corpus() else { return };
    let (mut wrong, mut cases, mut refused) = (Vec::new(), 0, 0);
    for path in files(&corpus, &[".rules"]) {
        cases += 1;
        let path = path.to_string_lossy();
        let run = nslens(&words(&path, &["-o", "json"]));
        let refused_by_line = run.code == 2 && run.err.contains(": line ") && run.out.is_empty();
        // Rules that are none are kept as text, and the others are read.
        let read_in_part = run.code == 5 && run.out.contains("\"source\": \"line ");
        refused += usize::from(run.code != 0);
        if !(run.code == 0 || refused_by_line || read_in_part) {
            wrong.push(format!("{path}: exit {} {}", run.code, run.err.trim_end()));
        }
    }
    assert!(wrong.is_empty(), "{} of {cases}:\n{}", wrong.len(), wrong.join("\n"));
    // A reader that refuses everything would pass the above.
    assert!(refused * 10 < cases, "{refused} of {cases} are refused, in whole or in part");
    say(&format!("{cases} rule files, {refused} of them refused"));
}

#[test]
fn every_table_of_it_fits_the_screen_and_ends_in_a_sentence() {
    let Some(corpus) = corpus() else { return };
    let mut wrong = Vec::new();
    for path in files(&corpus.join("saved"), &[".nft-save"]) {
        let path = path.to_string_lossy();
        let run = nslens(&words(&path, &[]));
        let mut rules = run.out.lines().filter(|line| !line.contains(&*path));
        let wide = rules.find(|line| line.chars().count() > 80);
        let last = run.out.lines().last().unwrap_or_default();
        if run.code != 0 || wide.is_some() || !last.ends_with(['.', 'l', 's']) {
            wrong.push(format!("{path}: exit {} {} {wide:?} {last:?}", run.code, run.err.trim_end()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
