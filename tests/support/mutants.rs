//! Rule sets of the corpus with one thing changed: a rule left out, two in each other's place, another port, all twice, another backend.

use nslens::archive::{Loaded, read};
use nslens::model::{Backend, Family, Ruleset, Unread};

use crate::corpus_grid::Case;

pub(crate) type Rules = (Vec<Ruleset>, Vec<Unread>);
pub(crate) type Texts = Vec<(Family, String)>;

/// A rule set with one thing changed.
pub(crate) struct Mutant {
    pub(crate) kind: &'static str,
    /// The rule, or what else was changed.
    pub(crate) what: String,
    pub(crate) rules: Rules,
    /// As its tools load it; none where only the backend is another.
    pub(crate) texts: Option<Texts>,
}

pub(crate) fn texts(case: &Case) -> Texts {
    let files = case.forms.iter().take(1).flat_map(|form| &form.files);
    files.map(|(family, path)| (*family, std::fs::read_to_string(path).expect("a text"))).collect()
}

pub(crate) fn rules(texts: &Texts) -> Option<Rules> {
    let (mut rulesets, mut unread) = (Vec::new(), Vec::new());
    for (family, text) in texts {
        let family = if *family == Family::Ip6 { Family::Ip6 } else { Family::Ip };
        let Ok(Loaded::Rules(found, left_out)) = read(text.as_bytes(), family) else { return None };
        rulesets.extend(found);
        unread.extend(left_out);
    }
    Some((rulesets, unread))
}

/// Places of the lines that are rules, with what they stand in.
fn rule_lines(text: &str) -> Vec<(usize, String)> {
    let (mut found, mut block, mut table) = (Vec::new(), Vec::<String>::new(), String::new());
    for (at, line) in text.lines().enumerate() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            [word, ..] if word.starts_with('*') => table = (*word).to_owned(),
            ["-A", chain, ..] => found.push((at, format!("{table} {chain}"))),
            ["add", "rule", family, table, chain, ..] => found.push((at, format!("{family} {table} {chain}"))),
            [.., "{"] => block.push(words.join(" ")),
            ["}", ..] => drop(block.pop()),
            ["type" | "policy" | "comment" | "flags" | "elements" | "#", ..] | [] => {}
            _ if block.last().is_some_and(|block| block.starts_with("chain")) => found.push((at, block.join(" "))),
            _ => {}
        }
    }
    found
}

pub(crate) fn mutants(texts: &Texts) -> Vec<Mutant> {
    let mut found = Vec::new();
    let mut add = |kind: &'static str, what: &str, place: usize, text: String| {
        let mut changed = texts.clone();
        changed[place].1 = text;
        if let Some(rules) = rules(&changed) {
            found.push(Mutant { kind, what: what.trim().to_owned(), rules, texts: Some(changed) });
        }
    };
    for (place, (_, text)) in texts.iter().enumerate() {
        let lines: Vec<&str> = text.lines().collect();
        let rules = rule_lines(text);
        let without = |at: usize| {
            let left = lines.iter().enumerate().filter(|(line, _)| *line != at).map(|(_, line)| *line);
            left.collect::<Vec<_>>().join("\n") + "\n"
        };
        for (at, _) in &rules {
            add("dropped", lines[*at], place, without(*at));
            for port in ["15001", "15006", "15008", "4140", "4143", "20000", "15000", "15003"] {
                let sent = [format!("--to-ports {port}"), format!("redirect to :{port}"), format!("--on-port {port}")];
                for sent in sent.iter().filter(|sent| lines[*at].contains(*sent)) {
                    let mut changed = lines.clone();
                    let line = lines[*at].replace(sent.as_str(), &sent.replace(port, "29999"));
                    changed[*at] = &line;
                    add("port changed", lines[*at], place, changed.join("\n") + "\n");
                }
            }
        }
        for pair in rules.windows(2) {
            if let [(one, of), (other, same)] = pair
                && of == same
            {
                let mut changed = lines.clone();
                changed.swap(*one, *other);
                add("swapped", &format!("{} <> {}", lines[*one], lines[*other]), place, changed.join("\n") + "\n");
            }
        }
        let mut twice: Vec<&str> = Vec::new();
        for (at, line) in lines.iter().enumerate() {
            twice.push(line);
            if let Some(chain) = rules.iter().find(|(last, _)| *last == at).map(|(_, chain)| chain)
                && !rules.iter().any(|(later, of)| of == chain && *later > at)
            {
                twice.extend(rules.iter().filter(|(_, of)| of == chain).map(|(first, _)| lines[*first]));
            }
        }
        add("twice", "all", place, twice.join("\n") + "\n");
    }
    if let Some((rulesets, unread)) = rules(texts) {
        let other = |ruleset: &Ruleset| Ruleset {
            backend: if ruleset.backend == Backend::Nft { Backend::Legacy } else { Backend::Nft },
            ..ruleset.clone()
        };
        if rulesets.iter().all(|ruleset| matches!(ruleset.family, Family::Ip | Family::Ip6)) {
            let moved = rulesets.iter().map(other).collect();
            found.push(Mutant {
                kind: "other backend",
                what: "moved".to_owned(),
                rules: (moved, unread.clone()),
                texts: None,
            });
            let both = rulesets.iter().cloned().chain(rulesets.iter().map(other)).collect();
            found.push(Mutant { kind: "other backend", what: "both".to_owned(), rules: (both, unread), texts: None });
        }
    }
    found
}
