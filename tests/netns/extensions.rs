//! Every match and target of iptables, as tables of rules in `tests/fixtures/xt`: loaded by the real program, in both backends and
//! families, read by its save program and by nslens, from the kernel and from the text; and as nft lists them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use nslens::capture::rules::{Wanted, read};
use nslens::model::{Backend, Body, Family, Ruleset};
use nslens::syntax::parse_save;

use crate::listed::agrees;
use crate::rules::{nslens, without_comments};
use crate::support::{Lab, require_root};

/// A line of a table: `FAMILIES TABLE CHAIN RULE`, families `4`, `6` or `46`; with `-` in front no kernel of ours loads it, so that
/// only its text is tried; with `~` in front the save program leaves something of it out, so that kernel and text are not the same.
struct Line {
    families: String,
    table: String,
    rule: String,
}

/// A table of rules: `#!` lines are run in the namespace first, `#` lines are comments.
struct Rules {
    name: String,
    setup: String,
    lines: Vec<Line>,
}

/// Another folder of tables to try, of which the program may refuse what it likes.
fn elsewhere() -> Option<PathBuf> {
    std::env::var_os("NSLENS_TABLES").map(PathBuf::from)
}

fn tables() -> Vec<Rules> {
    let folder = elsewhere().unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/xt"));
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).expect("the tables").map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    let wanted = std::env::var("NSLENS_EXTENSION").ok();
    let of = |path: PathBuf| {
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).expect("a table");
        let setup =
            text.lines().filter_map(|line| line.strip_prefix("#!")).fold(String::new(), |all, line| all + line + "\n");
        let rules = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
        let line = |line: &str| {
            let mut words = line.splitn(3, ' ').map(str::to_owned);
            let mut word = || words.next().unwrap_or_else(|| panic!("{name}: {line:?} is no line of a table"));
            Line { families: word(), table: word(), rule: word() }
        };
        let lines = rules.map(line).collect();
        Rules { name, setup, lines }
    };
    let all = files.into_iter().map(of);
    all.filter(|table| wanted.as_ref().is_none_or(|wanted| table.name.contains(wanted.as_str()))).collect()
}

/// Loads each line by a call of its own; which of them the program took.
fn load(lab: &Lab, program: &str, lines: &[&Line]) -> Vec<bool> {
    let mut script = String::new();
    for table in ["filter", "nat", "mangle", "raw", "security"] {
        if lines.iter().any(|line| line.table == table) {
            writeln!(script, "for chain in X Y Z; do {program} -w -t {table} -N $chain; done").expect("a text");
        }
    }
    for line in lines {
        writeln!(
            script,
            "if {program} -w -t {} -A {} >/dev/null 2>&1; then echo 1; else echo 0; fi",
            line.table, line.rule
        )
        .expect("a text");
    }
    let output = lab.command("sh").args(["-c", &script]).stdin(Stdio::null()).output().expect("sh runs");
    String::from_utf8_lossy(&output.stdout).lines().map(|line| line == "1").collect()
}

/// Table, chain and body of a rule; the error where it is not understood, `None` where nothing is compared.
type Typed = (String, String, Option<Result<Body, String>>);

/// What nslens makes of the rules that were loaded as they were typed, in the order of [`bodies`]; nothing where the shell changes them
/// or iptables does.
fn as_typed(lines: &[&Line], taken: &[bool], family: Family) -> Vec<Typed> {
    let taken = lines.iter().zip(taken).filter(|(_, taken)| **taken).map(|(line, _)| line);
    let mut found: Vec<_> = taken
        .flat_map(|line| {
            let chain = line.rule.split(' ').next().unwrap_or_default().to_owned();
            if line.families.starts_with('~') || line.rule.contains(['$', '\'']) {
                return vec![(line.table.clone(), chain, None)];
            }
            let text = format!(
                "*{}\n:W - [0:0]\n:G - [0:0]\n:X - [0:0]\n:Y - [0:0]\n:Z - [0:0]\n-A {}\nCOMMIT\n",
                line.table, line.rule
            );
            match parse_save(&text, family) {
                // A list of addresses makes several rules.
                Ok(said) => {
                    bodies(&said).into_iter().map(|(table, chain, body)| (table, chain, Some(Ok(body)))).collect()
                }
                Err(error) => vec![(line.table.clone(), chain, Some(Err(format!("{}: {error}", line.rule))))],
            }
        })
        .collect();
    found.sort_by(|one, other| (&one.0, &one.1).cmp(&(&other.0, &other.1)));
    found
}

/// Table, chain and number of the rules of which the save program leaves something out.
fn cut_short(lines: &[&Line], taken: &[bool]) -> BTreeSet<(String, String, usize)> {
    let (mut numbers, mut found) = (BTreeMap::new(), BTreeSet::new());
    for line in lines.iter().zip(taken).filter(|(_, taken)| **taken).map(|(line, _)| line) {
        let chain = line.rule.split(' ').next().unwrap_or_default().to_owned();
        let number = numbers.entry((line.table.clone(), chain.clone())).or_insert(0);
        *number += 1;
        if line.families.starts_with('~') {
            found.insert((line.table.clone(), chain, *number));
        }
    }
    found
}

/// The lines of a save text with these numbers in their table and chain.
fn cut_lines(text: &str, cut: &BTreeSet<(String, String, usize)>) -> BTreeSet<String> {
    let (mut table, mut numbers, mut found) = (String::new(), BTreeMap::new(), BTreeSet::new());
    for line in text.lines() {
        if let Some(name) = line.strip_prefix('*') {
            table = name.to_owned();
        } else if let Some(rule) = line.strip_prefix("-A ") {
            let chain = rule.split(' ').next().unwrap_or_default().to_owned();
            let number = numbers.entry((table.clone(), chain.clone())).or_insert(0);
            *number += 1;
            if cut.contains(&(table.clone(), chain, *number)) {
                found.insert(line.to_owned());
            }
        }
    }
    found
}

/// The rules of all chains, by table and chain.
fn bodies(rulesets: &[Ruleset]) -> Vec<(String, String, Body)> {
    let tables = rulesets.iter().flat_map(|ruleset| &ruleset.tables);
    let mut found: Vec<_> = tables
        .flat_map(|table| {
            table.chains.iter().flat_map(|chain| {
                chain.rules.iter().map(|rule| (table.name.clone(), chain.name.clone(), rule.body.clone()))
            })
        })
        .collect();
    // The order of tables and chains is the source's own; that of rules in a chain stays.
    found.sort_by(|one, other| (&one.0, &one.1).cmp(&(&other.0, &other.1)));
    found
}

/// What nslens makes of a save text.
fn resaved(text: &str, option: &str) -> String {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), text).expect("written");
    let again = std::process::Command::new(env!("CARGO_BIN_EXE_nslens"))
        .args(["rules", &format!("file/{}", file.path().display()), option, "-o", "save"])
        .output()
        .expect("nslens runs");
    String::from_utf8_lossy(&again.stdout).into_owned()
}

/// The lines that no kernel of ours loads: their text, which is what a save program would print, is read and printed the same, with
/// nothing in it that is not understood. How many there were.
fn compare_text(rules: &Rules, ipv6: bool, differences: &mut Vec<String>) -> usize {
    let (digit, option, family) = if ipv6 { ('6', "-6", Family::Ip6) } else { ('4', "-4", Family::Ip) };
    let lines = rules.lines.iter().filter(|line| line.families.starts_with('-') && line.families.contains(digit));
    let mut tried = 0;
    for line in lines {
        let text = format!("*{}\n:X - [0:0]\n-A {}\nCOMMIT\n", line.table, line.rule);
        let again = resaved(&text, option);
        let again: Vec<&str> = again.lines().filter(|line| line.starts_with("-A ")).collect();
        if again != [format!("-A {}", line.rule)] {
            differences.push(format!("{}, text alone\n  ours:   {again:?}\n  given:  {}", rules.name, line.rule));
        }
        let said = parse_save(&text, family).unwrap_or_else(|error| panic!("{}: {error}", rules.name));
        for (_, _, body) in bodies(&said) {
            let Body::Xt(rule) = body else { panic!("{}: no rule of iptables", line.rule) };
            differences.extend(rule.unknown().into_iter().map(|what| format!("{}: {what}: {}", rules.name, line.rule)));
        }
        tried += 1;
    }
    tried
}

/// What nft lists; `None` where it dies of a rule's translation.
fn listed(lab: &Lab) -> Option<String> {
    let output = lab.command("nft").args(["list", "ruleset"]).output().expect("nft");
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Compares the lists of both; `false` where nft makes none.
fn compare_lists(lab: &Lab, what: &str, differences: &mut Vec<String>) -> bool {
    let Some(theirs) = listed(lab) else { return false };
    let ours = nslens(lab, &["rules", "-o", "nft"]).stdout;
    let ours = String::from_utf8_lossy(&ours);
    let (ours, theirs): (Vec<&str>, Vec<&str>) = (ours.lines().collect(), theirs.lines().collect());
    let pairs = ours.iter().zip(&theirs).filter(|(ours, theirs)| !agrees(ours, theirs));
    differences.extend(pairs.map(|(ours, theirs)| format!("{what}, listed\n  ours:   {ours}\n  theirs: {theirs}")));
    if ours.len() != theirs.len() {
        differences.push(format!("{what}, listed: {} lines of ours, {} of theirs", ours.len(), theirs.len()));
    }
    true
}

/// Compares the lists of the rules of which nft does not die, and says of which it does.
fn compare_lists_without(
    rules: &Rules,
    program: &str,
    lines: &[&Line],
    what: &str,
    differences: &mut Vec<String>,
) -> Vec<String> {
    let loaded = |lines: &[&Line]| {
        let lab = Lab::new();
        if !rules.setup.is_empty() {
            lab.sh(&rules.setup);
        }
        load(&lab, program, lines);
        lab
    };
    let (lists, dies): (Vec<&Line>, Vec<&Line>) = lines.iter().partition(|line| listed(&loaded(&[line])).is_some());
    if dies.is_empty() || !compare_lists(&loaded(&lists), what, differences) {
        differences.push(format!("{what}: nft lists each rule, and not all of them"));
    }
    dies.into_iter().map(|line| format!("{program}: {}", line.rule)).collect()
}

/// One table in one backend and family: what differs, of which rules nft makes no list, and which lines were taken.
fn compare(
    rules: &Rules,
    backend: Backend,
    ipv6: bool,
    differences: &mut Vec<String>,
    unlisted: &mut Vec<String>,
) -> Vec<bool> {
    let (digit, option, family) = if ipv6 { ('6', "-6", Family::Ip6) } else { ('4', "-4", Family::Ip) };
    let program = format!("{}-{}", if ipv6 { "ip6tables" } else { "iptables" }, backend.word());
    let asked: Vec<bool> =
        rules.lines.iter().map(|line| line.families.contains(digit) && !line.families.starts_with('-')).collect();
    let lines: Vec<&Line> = rules.lines.iter().zip(&asked).filter(|(_, asked)| **asked).map(|(line, _)| line).collect();
    if lines.is_empty() {
        return vec![false; rules.lines.len()];
    }
    let lab = Lab::new();
    if !rules.setup.is_empty() {
        lab.sh(&rules.setup);
    }
    let taken = load(&lab, &program, &lines);
    let cut = cut_short(&lines, &taken);
    let typed = as_typed(&lines, &taken, family);
    let was_taken = taken.clone();
    let mut taken = taken.into_iter();
    let theirs = lab.sh(&format!("{program}-save 2>/dev/null"));
    let what = format!("{} by {program}", rules.name);
    let output = nslens(&lab, &["rules", option, "--backend", backend.word(), "-o", "save"]);
    if !output.stderr.is_empty() {
        differences.push(format!("{what}: {}", String::from_utf8_lossy(&output.stderr)));
    }
    let ours = String::from_utf8_lossy(&output.stdout);
    let mut differ = |kind: &str, one: &str, other: &str| {
        let (one, other) = (without_comments(one), without_comments(other));
        if one.len() != other.len() {
            let lost = |from: &[&str], to: &[&str]| {
                from.iter().filter(|line| !to.contains(line)).copied().collect::<Vec<_>>().join("\n  ")
            };
            let (ours, theirs) = (lost(&one, &other), lost(&other, &one));
            differences.push(format!("{what}, {kind}, lines\n  only ours: {ours}\n  only theirs: {theirs}"));
            return;
        }
        let pairs = one.iter().zip(&other).filter(|(one, other)| one != other);
        differences.extend(pairs.map(|(one, other)| format!("{what}, {kind}\n  ours:   {one}\n  theirs: {other}")));
    };
    differ("from the kernel", &ours, &theirs);
    // What the save program leaves out cannot be told from its text, and so may be filled in again.
    let cut_lines = cut_lines(&theirs, &cut);
    let (again, kept) = (resaved(&theirs, option), without_comments(&theirs));
    let again: Vec<&str> = (0..)
        .zip(without_comments(&again))
        .map(|(index, line)| *kept.get(index).filter(|kept| cut_lines.contains(**kept)).unwrap_or(&line))
        .collect();
    differ("from its text", &again.join("\n"), &kept.join("\n"));
    if backend == Backend::Nft && !compare_lists(&lab, &what, differences) {
        let taken: Vec<&Line> =
            lines.iter().zip(&was_taken).filter(|(_, taken)| **taken).map(|(line, _)| *line).collect();
        unlisted.extend(compare_lists_without(rules, &program, &taken, &what, differences));
    }
    // What the kernel holds and what the text says are the same values, not only the same words.
    let wanted = Wanted { backend: Some(backend), ipv4: !ipv6, ipv6, ..Wanted::default() };
    let (held, unread) = read(lab.netns(), Path::new("/proc"), wanted).expect("the namespace");
    assert!(unread.is_empty(), "{what}: {unread:?}");
    let said = parse_save(&theirs, family).unwrap_or_else(|error| {
        differences.push(format!("{what}: {error}"));
        Vec::new()
    });
    let (held, said) = (bodies(&held), bodies(&said));
    if held.len() == typed.len() {
        for (held, typed) in held.iter().zip(&typed) {
            if typed.2.as_ref().is_some_and(|body| body.as_ref() != Ok(&held.2)) {
                differences.push(format!("{what}, as typed\n  kernel: {held:?}\n  typed:  {typed:?}"));
            }
        }
    } else {
        differences.push(format!("{what}: {} rules held, {} loaded", held.len(), typed.len()));
    }
    let mut numbers = BTreeMap::new();
    for (held, said) in held.iter().zip(&said) {
        let number = numbers.entry((held.0.clone(), held.1.clone())).or_insert(0);
        *number += 1;
        if held != said && !cut.contains(&(held.0.clone(), held.1.clone(), *number)) {
            differences.push(format!("{what}, as values\n  kernel: {held:?}\n  text:   {said:?}"));
        }
    }
    asked.iter().map(|asked| *asked && taken.next().unwrap_or(false)).collect()
}

#[test]
#[expect(clippy::print_stdout, reason = "the counts are wanted, with --nocapture")]
fn every_extension_prints_as_the_save_program_prints_it() {
    if !require_root() {
        return;
    }
    let (mut differences, mut unlisted, mut loads, mut texts, mut lines) = (Vec::new(), Vec::new(), 0, 0, 0);
    for rules in tables() {
        lines += rules.lines.len();
        let mut taken = vec![String::new(); rules.lines.len()];
        texts += compare_text(&rules, false, &mut differences) + compare_text(&rules, true, &mut differences);
        for backend in [Backend::Legacy, Backend::Nft] {
            for ipv6 in [false, true] {
                let loaded = compare(&rules, backend, ipv6, &mut differences, &mut unlisted);
                for (taken, loaded) in taken.iter_mut().zip(loaded) {
                    if loaded {
                        taken.push(if ipv6 { '6' } else { '4' });
                        loads += 1;
                    }
                }
            }
        }
        for (line, taken) in rules.lines.iter().zip(&taken) {
            let families = line.families.trim_start_matches('~').chars();
            let lost: String = families.filter(|family| !taken.contains(*family)).collect();
            if !lost.is_empty() && !line.families.starts_with('-') && elsewhere().is_none() {
                differences.push(format!("{}: no program took this for IPv{lost}: {}", rules.name, line.rule));
            }
        }
    }
    println!("{lines} rules, {loads} loads compared, {texts} as text alone; nft dies of {} rules", unlisted.len());
    // Nothing of ours hides behind that.
    assert!(unlisted.is_empty() || elsewhere().is_some(), "nft lists none of {}", unlisted.join("\n"));
    assert!(differences.is_empty(), "{} differences\n{}", differences.len(), differences.join("\n"));
    assert!(loads > 0, "no table was tried");
}

#[test]
fn a_second_test_of_a_port_is_not_lost() {
    if !require_root() {
        return;
    }
    let lab = Lab::new();
    // iptables-nft-save prints the last one alone, though the kernel asks both.
    let rules = [
        "-p tcp -m tcp --sport 1 -m tcp --dport 80 -m tcp ! --dport 81:90 -j ACCEPT",
        "-p udp -m udp ! --sport 7 ! --dport 9 -m udp --dport 10",
        "-p tcp -m tcp --dport 5 --tcp-flags SYN,ACK SYN -m tcp --tcp-flags FIN FIN -j DROP",
        "-p tcp -m tcp --tcp-option 254 -m tcp ! --dport 0",
        "! -i + -p tcp -j ACCEPT",
    ];
    for rule in rules {
        lab.sh(&format!("iptables-nft -A INPUT {rule}"));
    }
    let saved = nslens(&lab, &["rules", "-4", "--backend", "nft", "-o", "save"]);
    let saved = String::from_utf8_lossy(&saved.stdout).into_owned();
    let found: Vec<&str> = saved.lines().filter_map(|line| line.strip_prefix("-A INPUT ")).collect();
    assert_eq!(
        found,
        [
            "-p tcp -m tcp --sport 1 --dport 80 -m tcp ! --dport 81:90 -j ACCEPT",
            "-p udp -m udp ! --sport 7 ! --dport 9 -m udp --dport 10",
            "-p tcp -m tcp --dport 5 --tcp-flags SYN,ACK SYN -m tcp --tcp-flags FIN FIN -j DROP",
            "-p tcp -m tcp --tcp-option 254 -m tcp ! --dport 0",
            "! -i + -p tcp -j ACCEPT",
        ]
    );
}
