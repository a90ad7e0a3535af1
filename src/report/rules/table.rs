//! Rules for people: one block for each hook in the order in which a packet meets them, a line for each rule.

use std::fmt::Write;

use crate::analysis::describe;
use crate::analysis::paths::{Block, Paths, blocks, unreached};
use crate::model::{Chain, Kind, Policy, Rule, Snapshot};
use crate::report::escape::escape;
use crate::report::paint::{Label, Paint};
use crate::report::who::who_wrote;
use crate::report::wrap::wrap;
use crate::syntax::print_rule;

/// How the list is to look.
#[derive(Debug, Clone, Copy)]
pub struct Form {
    /// Every table and chain, not only what redirects.
    pub all: bool,
    /// With bytes and each rule's own text.
    pub wide: bool,
    /// With the line that names the columns.
    pub headings: bool,
    /// Characters in a line.
    pub width: usize,
    /// Colours.
    pub paint: Paint,
}

/// Columns in front of the words: rule number and packets.
const NUMBER: usize = 6;
const PACKETS: usize = 10;
const WORDS: usize = NUMBER + PACKETS + 2;

/// The blocks of a snapshot's rules; empty when nothing redirects (and not `all`).
#[must_use]
pub fn table(snapshot: &Snapshot, form: Form) -> String {
    let mut out = String::new();
    for block in blocks(snapshot, form.all) {
        self::block(&block, form, &mut out);
    }
    for block in unreached(snapshot, form.all) {
        let Some(first) = block.chains.first() else { continue };
        // A map of verdicts leads to chains as well, and maps are not followed.
        let maps = block.table.chains.iter().flat_map(|chain| &chain.rules).any(|rule| rule.asks_sets());
        let why = if maps { "reached through a map, or not at all" } else { "no hook leads here" };
        heading(&format!("{} · {why}", place(&block, first)), "", form, &mut out);
        let paths = Paths::of(block.table);
        for chain in &block.chains {
            line(&mut out, &format!("  {}", form.paint.text(Label::Name, &escape(&chain.name))));
            self::chain(&block, &paths, chain, form, &mut out);
        }
    }
    out
}

/// The line for a namespace in which nothing redirects.
#[must_use]
pub fn nothing(snapshot: &Snapshot) -> String {
    let sets = snapshot.rulesets().len();
    if sets == 0 && snapshot.workload.kind == Kind::File {
        return format!("{} holds no rules of the family and backend that were asked for\n", escape(&snapshot.asked));
    }
    let others: usize = snapshot.rulesets().iter().map(crate::model::Ruleset::rule_count).sum();
    let all = if others == 0 { "" } else { ": --all" };
    format!("no redirect rules in {sets} rule sets read; {others} other rules{all}\n")
}

/// `nat · iptables-nft · ipv4`
fn place(block: &Block<'_>, chain: &Chain) -> String {
    let Block { ruleset, table, .. } = block;
    let dormant = if table.dormant { " · dormant: not in force" } else { "" };
    format!("{} · {}{dormant}", escape(&table.name), who_wrote(ruleset.backend, ruleset.family, chain.syntax))
}

fn block(block: &Block<'_>, form: Form, out: &mut String) {
    let Some((base, others)) = block.chains.split_first() else { return };
    let hook = base.hook.map_or("", |hook| hook.word()).to_uppercase();
    let own_name = if base.name == hook { String::new() } else { format!(" · chain {}", escape(&base.name)) };
    let policy = if base.policy == Some(Policy::Drop) { "policy DROP" } else { "" };
    heading(&format!("{hook} · {}{own_name}", place(block, base)), policy, form, out);
    if form.headings {
        let bytes = if form.wide { format!("{:>PACKETS$}", "bytes") } else { String::new() };
        let columns = format!("{:>NUMBER$}{:>PACKETS$}{bytes}  what happens", "rule", "packets");
        line(out, &form.paint.text(Label::Dim, &columns));
    }
    let paths = Paths::of(block.table);
    self::chain(block, &paths, base, form, out);
    for chain in others {
        line(out, &format!("  {}", form.paint.text(Label::Name, &escape(&chain.name))));
        self::chain(block, &paths, chain, form, out);
    }
}

fn heading(title: &str, note: &str, form: Form, out: &mut String) {
    out.push('\n');
    let note = if note.is_empty() { String::new() } else { format!("  {}", form.paint.text(Label::Warning, note)) };
    line(out, &format!("{}{note}", form.paint.text(Label::Heading, title)));
}

fn chain(block: &Block<'_>, paths: &Paths<'_>, chain: &Chain, form: Form, out: &mut String) {
    if chain.rules.is_empty() {
        line(out, &form.paint.text(Label::Dim, &format!("{:WORDS$}(no rules)", "")));
    }
    for (index, rule) in chain.rules.iter().enumerate() {
        self::rule(block, paths, chain, (index, rule), form, out);
    }
}

fn rule(
    block: &Block<'_>,
    paths: &Paths<'_>,
    chain: &Chain,
    (index, rule): (usize, &Rule),
    form: Form,
    out: &mut String,
) {
    let text = escape(&print_rule(block.ruleset.family, block.table, chain, rule)).into_owned();
    let words = describe::means(block.ruleset.family, block.table, paths, chain, index);
    let packets = rule.counters.map_or("-".to_owned(), |counters| counters.packets.to_string());
    let mut columns = format!("{:>NUMBER$}{packets:>PACKETS$}", index + 1);
    if form.wide {
        let bytes = rule.counters.map_or("-".to_owned(), |counters| counters.bytes.to_string());
        // Writing to a String cannot fail.
        write!(columns, "{bytes:>PACKETS$}").ok();
    }
    let indent = columns.chars().count() + 2;
    // Lines that go on stand two further in.
    let width = form.width.saturating_sub(indent + 2).max(20);
    let words = words.map_or_else(|| text.clone(), |words| unbroken(&escape(&words), width));
    for (at, part) in wrap(&words, width).iter().enumerate() {
        let part = paint_words(&part.replace(NO_BREAK, " "), at, rule, form.paint);
        if at == 0 {
            line(out, &format!("{columns}  {part}"));
        } else {
            line(out, &format!("{:indent$}  {part}", "", indent = indent));
        }
    }
    if form.wide && text != words {
        for part in wrap(&text, width + 2) {
            line(out, &format!("{:indent$}{}", "", form.paint.text(Label::Dim, &part)));
        }
    }
}

/// A blank at which no line is broken.
const NO_BREAK: char = '\u{a0}';

/// Keeps what happens together with its arrow on one line, if it fits there.
fn unbroken(words: &str, width: usize) -> String {
    match words.split_once('→') {
        Some((who, what)) if what.chars().count() >= width => format!("{who}→\u{a0}{}", what.trim_start()),
        Some((who, what)) => format!("{who}→{}", what.replace(' ', "\u{a0}")),
        None => words.to_owned(),
    }
}

/// What happens is what the eye looks for: the part behind the arrow gets the colour.
fn paint_words(part: &str, at: usize, rule: &Rule, paint: Paint) -> String {
    let label = if rule.redirects() { Some(Label::Redirect) } else { None };
    match (part.split_once('→'), label) {
        (Some((who, what)), Some(label)) => format!("{who}→{}", paint.text(label, what)),
        (Some((who, what)), None) if what.trim() == "left alone" => {
            format!("{who}→{}", paint.text(Label::Exempt, what))
        }
        (None, Some(label)) if at > 0 => paint.text(label, part),
        _ => part.to_owned(),
    }
}

fn line(out: &mut String, text: &str) {
    out.push_str(text.trim_end());
    out.push('\n');
}
