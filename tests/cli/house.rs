//! The house keeps its own rules: who may import whom, how long a file may be, what a module may be called.
//!
//! The rules are those of `docs/design/house.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Which room imports which, beside itself. A new room needs a line here and one on the map.
const ARROWS: [(&str, &[&str]); 15] = [
    ("cli", &["target", "capture", "enter", "archive", "analysis", "report", "demo", "model", "packet"]),
    ("capture", &["target", "wire", "sys", "model"]),
    ("target", &["sys", "model"]),
    ("enter", &["sys", "model"]),
    ("archive", &["syntax", "wire", "model"]),
    ("analysis", &["syntax", "xt", "nft", "model", "packet"]),
    ("report", &["analysis", "syntax", "model", "packet"]),
    ("demo", &["sys", "wire", "model"]),
    ("wire", &["xt", "nft", "model"]),
    ("syntax", &["xt", "nft", "model"]),
    ("model", &["xt", "nft", "packet"]),
    ("xt", &["packet"]),
    ("nft", &["packet"]),
    ("packet", &[]),
    ("sys", &[]),
];
/// Names that say nothing of what is inside.
const EMPTY_NAMES: [&str; 8] = ["util", "utils", "helper", "helpers", "common", "types", "imp", "misc"];
const MOST_LINES: usize = 500;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The Rust files below a folder of the repository, in order.
fn rust_files(folder: &str) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for path in entries.map(|entry| entry.expect("an entry").path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.insert(path);
            }
        }
    }
    found
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

/// The modules that a source file of the library is in, outermost first: `src/wire/nft/set.rs` is `[wire, nft, set]`.
fn module(path: &Path) -> Vec<String> {
    let inside = path.strip_prefix(root().join("src")).expect("in src").with_extension("");
    let mut names: Vec<_> = inside.iter().map(|name| name.to_string_lossy().into_owned()).collect();
    if names.last().is_some_and(|name| name == "mod") {
        names.pop();
    }
    names
}

/// A file's code without comments, and without its tests, which may compare whatever they like.
fn code(text: &str) -> String {
    let lines = text.lines().take_while(|line| line.trim() != "#[cfg(test)]");
    lines.map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// What stands behind every `path` (`crate::` or a chain of `super::`): one name, or those at the top of a group in braces.
fn named_after<'a>(code: &'a str, path: &str) -> Vec<&'a str> {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let first_name = |text: &'a str| text.trim_start().split(|c| !is_name(c)).next().unwrap_or_default();
    let mut names = Vec::new();
    for (at, _) in code.match_indices(path) {
        // `super::` behind `super::`, or `mycrate::`: the beginning of another path.
        if code[..at].ends_with(|c| is_name(c) || c == ':') {
            continue;
        }
        let rest = &code[at + path.len()..];
        match rest.strip_prefix('{') {
            None => names.push(first_name(rest)),
            Some(group) => names.extend(top_of_group(group).into_iter().map(first_name)),
        }
    }
    names
}

/// The members of a group, from behind its opening brace to its end.
fn top_of_group(group: &str) -> Vec<&str> {
    let (mut depth, mut start, mut members) = (0, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                members.push(&group[start..at]);
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                members.push(&group[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    members
}

/// The rooms that a file imports from.
fn imported(path: &Path, rooms: &BTreeSet<&str>) -> BTreeSet<String> {
    let code = code(&read(path));
    let mut names = named_after(&code, "crate::");
    names.extend(named_after(&code, &"super::".repeat(module(path).len())));
    names.into_iter().filter(|name| rooms.contains(name)).map(str::to_owned).collect()
}

#[test]
fn imports_follow_the_arrows() {
    let arrows: BTreeMap<_, _> = ARROWS.into();
    let rooms: BTreeSet<_> = arrows.keys().copied().collect();
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for path in rust_files("src") {
        let Some(room) = module(&path).into_iter().next().filter(|name| root().join("src").join(name).is_dir()) else {
            continue;
        };
        let Some(allowed) = arrows.get(room.as_str()) else {
            wrong.push(format!("{}: the room `{room}` is not on the map", shown(&path)));
            continue;
        };
        for other in imported(&path, &rooms) {
            seen += 1;
            if other != room && !allowed.contains(&other.as_str()) {
                wrong.push(format!("{}: `{room}` must not import `{other}`", shown(&path)));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen > 10, "only {seen} imports were seen: the search is broken");
}

#[test]
fn imports_are_found_in_every_form() {
    let code = code(
        "use crate::sys::netlink; // crate::cli\nuse crate::{model::{Socket, xt}, wire};\nlet a = crate::nft::Rule;\n\
         use super::super::target;\nmycrate::report();\n#[cfg(test)]\nuse crate::archive;",
    );
    assert_eq!(named_after(&code, "crate::"), ["sys", "model", "wire", "nft"]);
    assert_eq!(named_after(&code, "super::super::"), ["target"]);
    assert_eq!(named_after(&code, "super::"), ["super"]);
}

/// The words in backquotes of a table's cell.
fn quoted(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn the_map_draws_the_same_arrows() {
    let page = read(&root().join("docs/design/house.md"));
    let (_, table) = page.split_once("## Who imports whom").expect("the section");
    let rows = table.lines().skip_while(|line| !line.starts_with("| `")).take_while(|line| line.starts_with('|'));
    let mut drawn: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for row in rows {
        let cells: Vec<_> = row.split('|').collect();
        let rooms =
            if cells[1].contains("all of the above") { drawn.keys().cloned().collect() } else { quoted(cells[1]) };
        for room in rooms {
            drawn.entry(room).or_default().extend(quoted(cells[2]));
        }
    }
    let owned = |(room, imports): (&str, &[&str])| {
        (room.to_owned(), imports.iter().map(|import| (*import).to_owned()).collect::<BTreeSet<_>>())
    };
    assert_eq!(drawn, ARROWS.map(owned).into());
}

#[test]
fn arrows_never_lead_back() {
    let arrows: BTreeMap<_, _> = ARROWS.into();
    for start in arrows.keys() {
        let (mut reached, mut next) = (BTreeSet::new(), arrows[start].to_vec());
        while let Some(room) = next.pop() {
            if reached.insert(room) {
                next.extend(arrows[room]);
            }
        }
        assert!(!reached.contains(start), "`{start}` would import itself by way of others");
    }
}

#[test]
fn files_are_short_and_say_what_they_are_for() {
    let mut wrong = Vec::new();
    for path in ["src", "tests", "benches", "xtask"].into_iter().flat_map(rust_files) {
        let text = read(&path);
        let lines = text.lines().count();
        if lines > MOST_LINES {
            wrong.push(format!("{}: {lines} lines, {MOST_LINES} are allowed", shown(&path)));
        }
        if !text.starts_with("//! ") {
            wrong.push(format!("{}: does not open with what it is for (`//! …`)", shown(&path)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn modules_have_telling_names() {
    let mut wrong = Vec::new();
    for path in ["src", "tests", "benches", "xtask"].into_iter().flat_map(rust_files) {
        let inside = path.strip_prefix(root()).expect("in the repository").with_extension("");
        if inside.iter().any(|name| EMPTY_NAMES.iter().any(|empty| name == *empty)) {
            wrong.push(shown(&path));
        }
    }
    assert!(wrong.is_empty(), "name the thing: {}", wrong.join(", "));
}

#[test]
fn no_test_file_is_forgotten() {
    let mut wrong = Vec::new();
    for kind in fs::read_dir(root().join("tests")).expect("tests").map(|entry| entry.expect("an entry").path()) {
        let Ok(main) = fs::read_to_string(kind.join("main.rs")) else { continue };
        for entry in fs::read_dir(&kind).expect("a folder").map(|entry| entry.expect("an entry").path()) {
            let name = entry.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let is_module = entry.extension().is_some_and(|kind| kind == "rs") || entry.join("mod.rs").exists();
            let named = main.lines().any(|line| line.trim() == format!("mod {name};"));
            if is_module && name != "main" && !named {
                wrong.push(format!("{} has no `mod` line in {}/main.rs", shown(&entry), shown(&kind)));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What the repository tracks; nothing where this is not a checkout.
fn tracked() -> Vec<PathBuf> {
    let output = Command::new("git").args(["-c", "safe.directory=*", "ls-files", "-z"]).current_dir(root()).output();
    let names = output.map(|output| output.stdout).unwrap_or_default();
    assert!(!names.is_empty() || !root().join(".git").exists(), "git does not list what it tracks");
    let names = names.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    names.map(|name| root().join(String::from_utf8_lossy(name).into_owned())).collect()
}

#[test]
fn no_file_names_a_place_on_somebody_s_machine() {
    // Put together here, lest this file be found.
    let places = [["", "work", ""], ["", "tmp", "h/"]].map(|parts| parts.join("/"));
    let mut wrong = Vec::new();
    for path in tracked() {
        // A file that is deleted but not yet committed is still tracked.
        let text = fs::read(&path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
        wrong.extend(
            places
                .iter()
                .filter(|place| text.contains(place.as_str()))
                .map(|place| format!("{}: {place}", shown(&path))),
        );
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
