//! Plain words: each distinct rule of the corpus with what is said of it, checked in for a reader to judge, and the promise that
//! rules which differ in what they ask or do are never told in the same words.
//!
//! With `NSLENS_WRITE_WORDS` set, `tests/fixtures/words/corpus.txt` is written anew: read the difference afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;

use nslens::analysis::describe::told;
use nslens::analysis::native::reading;
use nslens::analysis::paths::Paths;
use nslens::archive::{self, Loaded};
use nslens::model::{Body, Chain, Family, Hook, Rule, Table};
use nslens::packet::Condition;
use nslens::syntax::{parse_body, print_rule};
use nslens::xt::{self, Action, Match, Target, Token, parse_rule};

use crate::corpus::{corpus, files};
use crate::kernel::messages;
use crate::parsers::assembled;
use crate::program::{say, text_of};

const FILE: &str = "words/corpus.txt";
/// Stands in the file for a rule that asks nothing and does nothing but count.
const NO_OPTIONS: &str = "(no options)";

/// A rule as it is compared: without comments, which are for people and change nothing.
fn bare(rule: &xt::Rule) -> xt::Rule {
    let mut rule = rule.clone();
    rule.matches.retain(|part| !matches!(part, Match::Comment(_)));
    rule
}

fn in_chain(bodies: Vec<xt::Rule>) -> Table {
    let rule = |body| Rule { counters: None, handle: None, body: Body::Xt(Box::new(body)), native: None };
    let chain = Chain { rules: bodies.into_iter().map(rule).collect(), ..Chain::base("nat", Hook::Output) };
    Table { name: "nat".into(), chains: vec![chain], ..Table::default() }
}

fn redirect(ipv6: bool) -> xt::Rule {
    let body = parse_body("-p tcp -j REDIRECT --to-ports 15001", ipv6, &|_| false).expect("a rule");
    let Body::Xt(rule) = body else { panic!("a rule of iptables") };
    *rule
}

/// What is said of a rule that stands alone, or before one that redirects.
fn words(rule: &xt::Rule, ipv6: bool, before_redirect: bool) -> String {
    let mut bodies = vec![rule.clone()];
    bodies.extend(before_redirect.then(|| redirect(ipv6)));
    let table = in_chain(bodies);
    let family = if ipv6 { Family::Ip6 } else { Family::Ip };
    let said = told(family, &table, &Paths::of(&table), &table.chains[0], 0).expect("words");
    format!("{} → {}", said.who, said.what)
}

/// The rules of the corpus in the save programs' words, each once: IPv6, text, rule.
fn of_corpus(corpus: &Path) -> BTreeMap<(bool, String), xt::Rule> {
    let mut found = BTreeMap::new();
    for path in files(&corpus.join("saved"), &[".legacy-save", ".nft-save"]) {
        let ipv6 = path.to_string_lossy().contains(".v6.");
        let bytes = std::fs::read(&path).expect("a text");
        let loaded = archive::read(&bytes, if ipv6 { Family::Ip6 } else { Family::Ip });
        let Ok(Loaded::Rules(rulesets, _)) = loaded else { panic!("{}: {loaded:?}", path.display()) };
        let chains = rulesets.iter().flat_map(|ruleset| &ruleset.tables).flat_map(|table| &table.chains);
        for rule in chains.flat_map(|chain| &chain.rules) {
            if let Body::Xt(rule) = &rule.body {
                let rule = bare(rule);
                let text = Some(rule.options()).filter(|text| !text.is_empty());
                found.insert((ipv6, text.unwrap_or_else(|| NO_OPTIONS.to_owned())), rule);
            }
        }
    }
    found
}

/// The words of a line as a shell divides it.
fn shell_words(line: &str) -> Vec<Token> {
    let (mut words, mut open, mut characters) = (Vec::new(), None::<Token>, line.chars());
    let mut quote = None;
    while let Some(character) = characters.next() {
        let word = |open: &mut Option<Token>| open.take().unwrap_or(Token { text: String::new(), quoted: false });
        match (quote, character) {
            (None, ' ' | '\t') => words.extend(open.take()),
            (None, '\'' | '"') => {
                quote = Some(character);
                open = Some(Token { quoted: true, ..word(&mut open) });
            }
            (Some(mark), character) if mark == character => quote = None,
            (None | Some('"'), '\\') => {
                let mut token = word(&mut open);
                token.text.extend(characters.next());
                open = Some(token);
            }
            (_, character) => {
                let mut token = word(&mut open);
                token.text.push(character);
                open = Some(token);
            }
        }
    }
    words.extend(open);
    words
}

/// The rules of the tables in `tests/fixtures/xt`, and how many lines of them are no rules to us.
fn of_tables() -> (BTreeMap<(bool, String), xt::Rule>, usize) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/xt");
    let (mut found, mut refused) = (BTreeMap::new(), 0);
    for path in files(&folder, &[".rules"]) {
        let text = std::fs::read_to_string(&path).expect("a table");
        for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
            // FAMILIES TABLE CHAIN RULE
            let (families, rest) = line.split_once(' ').expect("a line of a table");
            let words = shell_words(rest);
            for ipv6 in [false, true].into_iter().filter(|ipv6| families.contains(if *ipv6 { '6' } else { '4' })) {
                match parse_rule(words.get(2..).unwrap_or_default(), ipv6, &|name| ["X", "Y", "Z"].contains(&name)) {
                    Ok(rules) => found.extend(rules.iter().map(bare).map(|rule| ((ipv6, rule.options()), rule))),
                    Err(_) => refused += 1,
                }
            }
        }
    }
    (found, refused)
}

/// What a rule asks, in one form for the same question; `None` where some part of it is asked by a name alone.
fn asked(condition: &Condition) -> Option<BTreeSet<String>> {
    match condition {
        Condition::Always => Some(BTreeSet::new()),
        Condition::All(parts) => {
            parts.iter().try_fold(BTreeSet::new(), |all, part| Some(all.into_iter().chain(asked(part)?).collect()))
        }
        Condition::Any(parts) if parts.len() == 1 => asked(&parts[0]),
        Condition::Not(inner) => Some([format!("not {:?}", asked(inner)?)].into()),
        other => {
            let mut opaque = false;
            other.visit(&mut |part| opaque |= matches!(part, Condition::Opaque(_)));
            (!opaque).then(|| [format!("{other:?}")].into())
        }
    }
}

/// Whether two rules are the same to every packet, however they are written (`-m state`, `-m conntrack`; one port, a list of one).
fn same(one: &xt::Rule, other: &xt::Rule) -> bool {
    let action = |rule: &xt::Rule| match &rule.action {
        Action::Target(Target::Unknown(_)) => None,
        action => Some(format!("{action:?}")),
    };
    let all = |rule: &xt::Rule| asked(&rule.condition()).zip(action(rule));
    all(one).is_some_and(|asked| Some(asked) == all(other))
}

/// Rules that differ and share their words.
fn collisions(rules: &BTreeMap<(bool, String), xt::Rule>) -> Vec<String> {
    let mut wrong = Vec::new();
    for before_redirect in [false, true] {
        let mut by_words: BTreeMap<(bool, String), Vec<(&str, &xt::Rule)>> = BTreeMap::new();
        for ((ipv6, text), rule) in rules {
            by_words.entry((*ipv6, words(rule, *ipv6, before_redirect))).or_default().push((text, rule));
        }
        for ((_, words), rules) in by_words {
            for pair in rules.windows(2).filter(|pair| !same(pair[0].1, pair[1].1)) {
                wrong.push(format!("{words}\n    {}\n    {}", pair[0].0, pair[1].0));
            }
        }
    }
    wrong.sort();
    wrong.dedup();
    wrong
}

#[test]
fn rules_that_differ_never_share_their_words() {
    let (mut rules, refused) = of_tables();
    let tables = rules.len();
    assert!(refused * 10 <= tables, "{refused} lines of tests/fixtures/xt are no rules, beside {tables} that are");
    rules.extend(listed().into_iter().map(|(ipv6, text, _)| {
        let rule = parsed(&text, ipv6);
        ((ipv6, text), rule)
    }));
    if let Some(corpus) = corpus() {
        rules.extend(of_corpus(&corpus));
    }
    let wrong = collisions(&rules);
    assert!(wrong.is_empty(), "{} of {} rules share their words:\n{}", wrong.len(), rules.len(), wrong.join("\n"));
    say(&format!("{} rules told apart, {tables} of them of the tables of extensions", rules.len()));
}

#[test]
fn a_collision_is_noticed() {
    let of = |texts: &[&str]| texts.iter().map(|text| ((false, (*text).to_owned()), parsed(text, false))).collect();
    // Both are told as `all TCP → dropped` would be, were the match left out.
    let unknown = ["-p tcp -m foo --bar 1 -j DROP", "-p tcp -m foo --bar 2 -j DROP"];
    assert_eq!(collisions(&of(&unknown)), Vec::<String>::new());
    assert!(!same(&parsed(unknown[0], false), &parsed(unknown[1], false)));
    let ways = ["-p tcp -m tcp --dport 80 -j DROP", "-p tcp -m multiport --dports 80 -j DROP"];
    assert!(same(&parsed(ways[0], false), &parsed(ways[1], false)));
    assert!(!same(&parsed("-p tcp -j DROP", false), &parsed("! -p tcp -j DROP", false)));
    assert!(!same(&parsed("-j DROP", false), &parsed("-j ACCEPT", false)));
}

/// A rule of the file; every name that is no target's is a chain's.
fn parsed(text: &str, ipv6: bool) -> xt::Rule {
    let text = if text == NO_OPTIONS { "" } else { text };
    let body = parse_body(text, ipv6, &|name| !name.contains(' ') && is_chain(name));
    match body.unwrap_or_else(|error| panic!("{text}: {error}")) {
        Body::Xt(rule) => bare(&rule),
        Body::Nft(_) => panic!("{text} is no rule of iptables"),
    }
}

/// iptables' own targets are of capital letters without a mark between them, or one of the few that have digits.
fn is_chain(name: &str) -> bool {
    name.contains(['_', '-']) || name.chars().any(|c| c.is_ascii_lowercase()) || name == "DOCKER"
}

/// The rules of the checked-in file with their words.
fn listed() -> Vec<(bool, String, String)> {
    let text = text_of(FILE);
    let (mut found, mut ipv6, mut rule) = (Vec::new(), false, None);
    for line in text.lines().filter(|line| !line.is_empty()) {
        match (line.strip_prefix("# "), line.strip_prefix("    ")) {
            (Some(comment), _) => ipv6 |= comment == "IPv6",
            (None, None) => rule = Some(line.to_owned()),
            (None, Some(words)) => {
                let rule = rule.take().unwrap_or_else(|| panic!("{words}: of no rule"));
                found.push((ipv6, rule, words.to_owned()));
            }
        }
    }
    found
}

#[test]
fn what_is_said_of_the_corpus_is_checked_in() {
    let corpus = corpus();
    if let (Some(corpus), true) = (&corpus, std::env::var_os("NSLENS_WRITE_WORDS").is_some()) {
        write(&of_corpus(corpus));
    }
    let listed = listed();
    assert!(listed.len() > 100, "only {} rules in {FILE}", listed.len());
    let mut wrong = Vec::new();
    for (ipv6, text, said) in &listed {
        let now = words(&parsed(text, *ipv6), *ipv6, true);
        if now != *said {
            wrong.push(format!("{text}\n    is told: {now}\n    listed:  {said}"));
        }
    }
    if let Some(corpus) = &corpus {
        let there: BTreeSet<(bool, &str)> = listed.iter().map(|(ipv6, text, _)| (*ipv6, text.as_str())).collect();
        let of_corpus = of_corpus(corpus);
        let missing = of_corpus.keys().filter(|(ipv6, text)| !there.contains(&(*ipv6, text)));
        wrong.extend(missing.map(|(_, text)| format!("{text}\n    is not listed")));
    } else {
        say(&format!("NOT TESTED: whether {FILE} holds every rule of the corpus, which is not at hand"));
    }
    let stale = "is stale: NSLENS_WRITE_WORDS=1 cargo test --test cli words, and read the difference";
    assert!(wrong.is_empty(), "{FILE} {stale}\n{}", wrong.join("\n"));
}

fn write(rules: &BTreeMap<(bool, String), xt::Rule>) {
    let mut out = String::from(
        "# Every distinct rule of the corpus, comments left off, and what is said of it where it stands before a rule that redirects.\n",
    );
    let mut family = None;
    for ((ipv6, text), rule) in rules {
        if family.replace(*ipv6) != Some(*ipv6) {
            writeln!(out, "\n# {}", if *ipv6 { "IPv6" } else { "IPv4" }).expect("a text");
        }
        writeln!(out, "{text}\n    {}", words(rule, *ipv6, true)).expect("a text");
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(FILE);
    std::fs::write(path, out).expect("the file is written");
}

#[test]
fn rules_of_nft_are_all_told_and_told_apart() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for name in ["nf-native", "nf-listed"] {
        for ruleset in assembled(&messages(name)) {
            for table in &ruleset.tables {
                let paths = Paths::of(table);
                for chain in &table.chains {
                    let mut said: BTreeMap<String, (String, &Rule)> = BTreeMap::new();
                    for (at, rule) in chain.rules.iter().enumerate() {
                        let Body::Nft(native) = &rule.body else { continue };
                        count += 1;
                        let text = print_rule(ruleset.family, table, chain, rule);
                        let Some(words) = told(ruleset.family, table, &paths, chain, at) else {
                            // Not even nft's own words are known where the text is in brackets.
                            if native.unknown().is_empty() && !text.starts_with('[') {
                                wrong.push(format!("{text}\n    has no words"));
                            }
                            continue;
                        };
                        // Of the last rule it is said that it gets the rest.
                        let words = format!("{} → {}", words.who, words.what).replace("all other", "all");
                        let plain = uncounted(&text);
                        let read = |rule| reading(ruleset.family, table, rule).map(|reading| reading.rule.into_owned());
                        if let Some((other, before)) = said.insert(words.clone(), (plain.clone(), rule))
                            && other != plain
                            && !(read(before).zip(read(rule)).is_some_and(|(one, other)| same(&one, &other)))
                        {
                            wrong.push(format!("{words}\n    {other}\n    {plain}"));
                        }
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {count} rules:\n{}", wrong.len(), wrong.join("\n"));
    say(&format!("{count} rules of nft told apart"));
}

/// A rule of nft without what it has counted, and without its comment.
fn uncounted(text: &str) -> String {
    let text = text.split(" comment \"").next().unwrap_or_default();
    // A test that the next one makes by itself.
    let text = text.replace("ip protocol icmp icmp ", "icmp ");
    let words: Vec<&str> = text.split(' ').collect();
    let mut out: Vec<&str> = Vec::new();
    let mut skip = 0;
    for word in words {
        if skip > 0 {
            skip -= 1;
        } else if word == "counter" {
            skip = if text.contains("counter packets") { 4 } else { 0 };
        } else {
            out.push(word);
        }
    }
    out.join(" ")
}
