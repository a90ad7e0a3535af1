//! The manual tells the truth: its examples are run, its links lead somewhere, and no command, option or key is left out.
//!
//! A `console` block holds lines that begin with `$ ` and what they print. A line is run when it needs nothing but files of the
//! repository. One that looks at a live pod of which a snapshot lies in `tests/fixtures/docs` is run on that snapshot; every other
//! live one must at least parse. `…` alone on a line stands for lines left out, `[exit N]` for an exit code other than 0.
//!
//! With `NSLENS_WRITE_EXAMPLES` set, what examples without `…` print is written into the pages: read the difference afterwards.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use nslens::model::{Cause, Subject, Unread};
use nslens::target::Query;
use serde_json::Value;

/// Targets of which a snapshot was taken when the examples were made, the longer name first.
const SAVED: [(&str, &str); 2] = [
    ("pod/productpage-v2", "./tests/fixtures/docs/productpage-v2.json"),
    ("pod/productpage", "./tests/fixtures/docs/productpage.json"),
];
/// Other programs' lines that may stand in a block. They are not run.
const OTHERS: [&str; 6] = [
    "cargo run --release -- demo",
    "cargo xtask test",
    "cargo build --release",
    "cargo install --path .",
    "sudo env \"PATH=$PATH\" \"HOME=$HOME\" cargo xtask test",
    "sudo install -m 755 target/release/nslens /usr/local/bin/",
];
/// Under which names the program is called in an example.
const CALLED: [&str; 3] = ["nslens", "./target/release/nslens", "~/.cargo/bin/nslens"];
/// Other programs that may feed it in a line that is run.
const FEEDERS: [&str; 5] = ["cat", "cut", "grep", "head", "printf"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// `README.md` and the pages of the manual, by their paths in the repository.
fn pages() -> Vec<String> {
    let mut found = vec!["README.md".to_owned()];
    for folder in ["docs", "docs/design"] {
        let entries = fs::read_dir(root().join(folder)).expect("the folder").map(|entry| entry.expect("an entry"));
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        found.extend(names.filter(|name| name.ends_with(".md")).map(|name| format!("{folder}/{name}")));
    }
    found.sort();
    found
}

/// A fenced block: the word behind its fence, and its lines.
struct Block {
    kind: String,
    lines: Vec<String>,
}

fn blocks(text: &str) -> Vec<Block> {
    let (mut found, mut open): (Vec<Block>, Option<Block>) = (Vec::new(), None);
    for line in text.lines() {
        match (line.strip_prefix("```"), &mut open) {
            (Some(_), Some(_)) => found.extend(open.take()),
            (Some(kind), None) => open = Some(Block { kind: kind.to_owned(), lines: Vec::new() }),
            (None, Some(block)) => block.lines.push(line.to_owned()),
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block is not closed");
    found
}

/// One line of a block and what it is said to print.
#[derive(Debug, PartialEq)]
struct Example {
    command: String,
    prints: Vec<String>,
    exit: i32,
}

fn examples(block: &Block) -> Vec<Example> {
    let mut found: Vec<Example> = Vec::new();
    for line in &block.lines {
        let exit = line.strip_prefix("[exit ").and_then(|rest| rest.strip_suffix(']')?.parse().ok());
        match (line.strip_prefix("$ "), exit, found.last_mut()) {
            (Some(command), ..) => found.push(Example { command: command.to_owned(), prints: Vec::new(), exit: 0 }),
            (None, Some(exit), Some(example)) => example.exit = exit,
            (None, None, Some(example)) => example.prints.push(line.clone()),
            (None, _, None) => panic!("a console block begins with a command, not with {line:?}"),
        }
    }
    found
}

/// Whether the lines are as said, `…` standing for any number of them.
fn agrees(said: &[String], printed: &[&str]) -> bool {
    match said {
        [] => printed.is_empty(),
        [first, rest @ ..] if first == "…" => (0..=printed.len()).any(|skip| agrees(rest, &printed[skip..])),
        [first, rest @ ..] => printed.first() == Some(&first.as_str()) && agrees(rest, &printed[1..]),
    }
}

/// What is to be done with a line.
#[derive(Debug, PartialEq)]
enum Kind {
    /// Not ours, and on the list.
    Other,
    /// Run as it stands.
    Run,
    /// Run on these snapshots instead of the live targets.
    Saved(String),
    /// Read, not run: it needs a live target, or writes a file.
    Live,
}

/// The arguments of the line's own call of nslens.
fn call(command: &str) -> Option<Vec<String>> {
    let ours = command.split(['|', '&']).find_map(|part| {
        let words: Vec<&str> = part.split_whitespace().skip_while(|word| *word == "sudo").collect();
        words.first().is_some_and(|word| CALLED.contains(word)).then_some(words)
    })?;
    let words = ours.into_iter().take_while(|word| !word.starts_with('>'));
    Some(words.map(str::to_owned).collect())
}

/// The targets among parsed arguments.
fn targets(words: &[String]) -> Vec<String> {
    let parsed = nslens::cli::command().try_get_matches_from(words);
    let parsed = parsed.unwrap_or_else(|error| panic!("{words:?} is not understood: {error}"));
    let Some((_, command)) = parsed.subcommand() else { return Vec::new() };
    let named =
        ["target", "before", "after"].into_iter().filter_map(|name| command.try_get_one::<String>(name).ok()?);
    named.cloned().collect()
}

fn kind(command: &str) -> Kind {
    let Some(words) = call(command) else {
        assert!(OTHERS.contains(&command), "`{command}` is neither a call of nslens nor on the list of other lines");
        return Kind::Other;
    };
    let on_file = |target: &String| !matches!(Query::parse(target), Ok(query) if !is_file(&query));
    let targets = targets(&words);
    let (sudo, writes) = (command.starts_with("sudo ") || command.contains(" sudo "), command.contains('>'));
    let needs_root = words.get(1).is_some_and(|word| ["demo", "list", "snapshot", "watch"].contains(&word.as_str()));
    let needs_root = needs_root || words.iter().any(|word| word == "-A");
    if sudo {
        let mut saved = command.trim_start_matches("sudo ").to_owned();
        for (target, file) in SAVED {
            let words = saved.split(' ').map(|word| if word == target { file } else { word });
            saved = words.collect::<Vec<_>>().join(" ");
        }
        let all = targets.iter().all(|target| SAVED.iter().any(|(name, _)| name == target));
        return if all && !needs_root && !writes && command.starts_with("sudo nslens") {
            Kind::Saved(saved)
        } else {
            Kind::Live
        };
    }
    if targets.iter().all(on_file) && !writes && !needs_root { Kind::Run } else { Kind::Live }
}

fn is_file(query: &Query) -> bool {
    matches!(query, Query::Files(_) | Query::Stdin)
}

/// Runs a line by the shell: everything it prints, in order, and its exit code.
fn run(command: &str) -> (String, i32) {
    for part in command.split('|') {
        let program = part.split_whitespace().next().unwrap_or_default();
        assert!(program == "nslens" || FEEDERS.contains(&program), "`{command}`: {program} is not run by this test");
    }
    let program = Path::new(env!("CARGO_BIN_EXE_nslens"));
    let folder = program.parent().expect("a folder").display();
    let output = Command::new("/bin/sh")
        .args(["-c", &format!("exec 2>&1 < /dev/null; {command}")])
        .current_dir(root())
        .env_clear()
        .env("PATH", format!("{folder}:/usr/bin:/bin"))
        .env("NO_COLOR", "1")
        .output()
        .expect("a shell");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    // That it is a file of long ago is said on stderr; the examples stand for a live pod.
    let lines = text.lines().filter(|line| !(line.starts_with("note: ") && line.contains(" is a snapshot of ")));
    let text = lines.map(|line| format!("{line}\n")).collect();
    (text, output.status.code().expect("an exit code"))
}

/// What a line prints today, and its exit code; nothing for one that is not run.
fn today(command: &str) -> Option<(String, i32)> {
    Some(match kind(command) {
        Kind::Other | Kind::Live => return None,
        Kind::Run => run(command),
        Kind::Saved(command) => {
            let (mut text, exit) = run(&command);
            for (target, file) in SAVED {
                text = text.replace(file, target);
            }
            (text, exit)
        }
    })
}

/// Everything that is wrong with an example; nothing when it is as said.
fn check(example: &Example) -> Option<String> {
    let Example { command, prints: said, exit: told } = example;
    let (text, exit) = today(command)?;
    let same = agrees(said, &text.lines().collect::<Vec<_>>()) && exit == *told;
    let said = said.join("\n");
    (!same).then(|| format!("$ {command}\n{text}[exit {exit}]\nbut it is said to print:\n{said}\n[exit {told}]"))
}

/// The example as it is today; one with lines left out stays as it is.
fn written(example: Example) -> String {
    let whole = !example.prints.iter().any(|line| line == "…");
    let now = today(&example.command).filter(|_| whole);
    let (text, exit) =
        now.unwrap_or_else(|| (example.prints.iter().map(|line| format!("{line}\n")).collect(), example.exit));
    let exit = if exit == 0 { String::new() } else { format!("[exit {exit}]\n") };
    format!("$ {}\n{text}{exit}", example.command)
}

/// Writes today's examples into a page.
fn rewrite(page: &str) {
    let text = read(page);
    let mut out = String::new();
    let mut rest = text.as_str();
    while let Some((before, block)) = rest.split_once("```console\n") {
        let (block, after) = block.split_once("```").expect("the block's end");
        let block = Block { kind: "console".to_owned(), lines: block.lines().map(str::to_owned).collect() };
        let examples: String = examples(&block).into_iter().map(written).collect();
        out.push_str(&format!("{before}```console\n{examples}```"));
        rest = after;
    }
    out.push_str(rest);
    fs::write(root().join(page), out).expect("the page is written");
}

#[test]
fn examples_print_what_is_said() {
    if std::env::var_os("NSLENS_WRITE_EXAMPLES").is_some() {
        pages().iter().for_each(|page| rewrite(page));
    }
    let (mut wrong, mut checked) = (Vec::new(), 0);
    for page in pages() {
        for block in blocks(&read(&page)).iter().filter(|block| block.kind == "console") {
            for example in examples(block) {
                checked += usize::from(matches!(kind(&example.command), Kind::Run | Kind::Saved(_)));
                wrong.extend(check(&example).map(|wrong| format!("{page}: {wrong}")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert!(checked >= 20, "only {checked} examples were run");
}

#[test]
fn an_example_that_lies_is_noticed() {
    let example = |command: &str, prints: &[&str], exit| Example {
        command: command.to_owned(),
        prints: prints.iter().map(|line| (*line).to_owned()).collect(),
        exit,
    };
    let error = "error: cannot read ./nowhere: No such file or directory (os error 2)";
    assert_eq!(check(&example("nslens rules ./nowhere", &[error], 3)), None);
    assert!(check(&example("nslens rules ./nowhere", &[error], 0)).is_some());
    assert!(check(&example("nslens rules ./nowhere", &[], 3)).is_some());
    assert!(check(&example("nslens rules ./nowhere", &["error: …"], 3)).is_some());
    assert_eq!(check(&example("sudo nslens diff pod/productpage pod/productpage-v2", &["…"], 1)), None);
    assert!(check(&example("sudo nslens rules pod/productpage", &["…", "All is well."], 0)).is_some());
    assert_eq!(kind("sudo nslens rules pod/other"), Kind::Live);
    assert_eq!(kind("cargo xtask test"), Kind::Other);
    for command in ["sudo nslens rules --no-such-option pod/web", "nslens lists", "rm -r docs"] {
        assert!(std::panic::catch_unwind(|| kind(command)).is_err(), "{command}");
    }
}

#[test]
fn blocks_have_a_kind_and_calls_stand_in_console_blocks() {
    for page in pages() {
        for block in blocks(&read(&page)) {
            assert!(["console", "text"].contains(&block.kind.as_str()), "{page}: a block of kind {:?}", block.kind);
            let calls = block.lines.iter().any(|line| line.starts_with("$ "));
            assert!(block.kind == "console" || !calls, "{page}: a command in a block that is not run");
        }
    }
}

#[test]
fn every_command_has_a_page_with_an_example_and_all_its_options() {
    let mut wrong = Vec::new();
    for command in nslens::cli::command().get_subcommands() {
        let page = format!("docs/{}.md", command.get_name());
        let Ok(text) = fs::read_to_string(root().join(&page)) else {
            wrong.push(format!("{page} is missing"));
            continue;
        };
        let shown = blocks(&text).iter().filter(|block| block.kind == "console").flat_map(examples).any(|example| {
            call(&example.command).is_some_and(|words| words.get(1).is_some_and(|word| word == command.get_name()))
        });
        if !shown {
            wrong.push(format!("{page} has no example of its command"));
        }
        for argument in command.get_arguments() {
            let long = argument.get_long().map(|name| format!("`--{name}"));
            let short = argument.get_short().map(|name| format!("`-{name}`"));
            for name in [long, short].into_iter().flatten().filter(|name| !text.contains(name.as_str())) {
                wrong.push(format!("{page} does not say what {name} is"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_page_speaks_of_an_option_that_is_not_there() {
    let mut known: BTreeSet<String> = ["help", "version"].map(str::to_owned).into();
    for command in nslens::cli::command().get_subcommands() {
        known.extend(command.get_arguments().filter_map(|argument| argument.get_long()).map(str::to_owned));
    }
    for command in nslens::cli::command().get_subcommands() {
        let page = format!("docs/{}.md", command.get_name());
        let text = read(&page);
        let table = text.lines().filter(|line| line.starts_with("| `-"));
        for name in table.filter_map(|line| line.split("`--").nth(1)?.split([' ', '`']).next()) {
            let own = command.get_arguments().any(|argument| argument.get_long() == Some(name));
            assert!(own, "{page}: {} has no option --{name}", command.get_name());
        }
        for name in text.split("`--").skip(1).filter_map(|rest| rest.split([' ', '`']).next()) {
            assert!(known.contains(name), "{page}: no command has an option --{name}");
        }
    }
}

/// The keys of a JSON value, at every depth. Those of `labels`, `annotations` and `environment` are the pod's own, those of `settings`
/// the kernel's.
fn keys(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| keys(value, found)),
        Value::Object(entries) => {
            for (key, value) in entries {
                found.insert(key.clone());
                if !["labels", "annotations", "environment", "settings"].contains(&key.as_str()) {
                    keys(value, found);
                }
            }
        }
        _ => {}
    }
}

fn says_every_key(page: &str, documents: &[String]) {
    let mut found = BTreeSet::new();
    for document in documents {
        keys(&serde_json::from_str(document).expect("JSON"), &mut found);
    }
    let text = read(page);
    let missing: Vec<&String> = found.iter().filter(|key| !text.contains(&format!("`{key}`"))).collect();
    assert!(found.len() > 20 && missing.is_empty(), "{page} does not explain {missing:?}");
}

#[test]
fn every_key_of_the_documents_is_explained() {
    let (first, second) = (SAVED[0].1, SAVED[1].1);
    let commands = [
        format!("nslens rules {first} -o json"),
        format!("nslens conns {first} --all -o json"),
        format!("nslens conns {first} --flows -o json"),
        format!("nslens conns {first} --summary -o json"),
        format!("nslens trace {first} --to 10.0.0.5:80 -o json -v"),
        format!("nslens trace {second} --to 10.0.0.5:80 --as productpage --follow -o json"),
        format!("nslens check {first} --expect ./tests/fixtures/docs/expect.yaml -o json"),
        format!("nslens check {first} {second} -o json"),
        format!("nslens diff {first} {second} --rules --conns -o json"),
    ];
    let mut documents: Vec<String> = commands.into_iter().map(|command| run(&command).0).collect();
    // Nothing was left unread in these.
    documents.push(serde_json::to_string(&unread()).expect("JSON"));
    says_every_key("docs/json.md", &documents);
}

#[test]
fn every_key_of_a_snapshot_is_explained() {
    says_every_key("docs/snapshot-format.md", &[read(SAVED[0].1), read(SAVED[1].1)]);
}

fn unread() -> Unread {
    Unread {
        source: "nft".to_owned(),
        error: "Operation not permitted".to_owned(),
        means: "rules are not known".to_owned(),
        subject: Subject::Rules,
        cause: Cause::Permission,
    }
}

/// What stands in the round brackets of a page's links, outside of blocks.
fn links(text: &str) -> Vec<String> {
    let mut inside = false;
    let mut found = Vec::new();
    for line in text.lines() {
        inside ^= line.starts_with("```");
        if !inside {
            found.extend(line.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0.to_owned())));
        }
    }
    found
}

/// A heading's anchor, as code hosts make it.
fn anchor(heading: &str) -> String {
    let lower = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = lower.chars().filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

fn has_anchor(page: &Path, wanted: &str) -> bool {
    let text = fs::read_to_string(page).unwrap_or_default();
    text.lines().any(|line| line.starts_with('#') && anchor(line) == wanted)
}

#[test]
fn links_lead_somewhere() {
    let (mut wrong, mut followed) = (Vec::new(), 0);
    let mut all = pages();
    all.extend(["CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"].map(str::to_owned));
    for page in all {
        let folder: PathBuf = root().join(&page).parent().expect("a folder").to_owned();
        for link in links(&read(&page)).into_iter().filter(|link| !link.starts_with("https://")) {
            followed += 1;
            let (path, heading) = link.split_once('#').map_or((link.as_str(), None), |(path, to)| (path, Some(to)));
            let to = if path.is_empty() { root().join(&page) } else { folder.join(path) };
            if !to.exists() || heading.is_some_and(|heading| !has_anchor(&to, heading)) {
                wrong.push(format!("{page}: {link}"));
            }
        }
    }
    assert!(wrong.is_empty(), "these lead nowhere:\n{}", wrong.join("\n"));
    assert!(followed > 30, "only {followed} links were found");
}

#[test]
fn the_index_names_every_page() {
    let index: BTreeSet<String> = links(&read("docs/README.md")).into_iter().collect();
    for page in pages().iter().filter_map(|page| page.strip_prefix("docs/")).filter(|page| *page != "README.md") {
        assert!(index.contains(page), "docs/README.md does not name {page}");
    }
}
