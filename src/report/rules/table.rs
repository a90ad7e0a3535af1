//! Rules for people: one block for each base chain, hook by hook in the order in which a packet meets them, a line for each rule.

use std::collections::HashSet;
use std::fmt::Write;

use crate::analysis::describe::{self, Outcome, Told};
use crate::analysis::paths::{Block, Chosen, Paths, blocks, leads_somewhere, rivals, unreached};
use crate::model::{Chain, Family, Kind, Policy, Rule, Snapshot, Syntax, Table};
use crate::report::escape::escape;
use crate::report::paint::{Label, Paint};
use crate::report::who::{standing_words, who_wrote};
use crate::report::wrap::wrap;
use crate::syntax::print_rule;

/// What stands beside the words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Columns {
    /// Nothing.
    Words,
    /// The rule's number and the packets that it has counted.
    Some,
    /// The same with bytes, and each rule's own text below.
    All,
}

/// How the list is to look.
#[derive(Debug, Clone, Copy)]
pub struct Form<'a> {
    /// Which tables and chains.
    pub chosen: Chosen<'a>,
    /// What stands beside the words.
    pub columns: Columns,
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
/// Rules that are shown again where another hook leads to them too.
const MOST_AGAIN: usize = 20;
/// Where words begin that stand alone.
const INDENT: usize = 4;

/// The blocks of a snapshot's rules; empty when nothing of what is wanted redirects (and not all is wanted).
#[must_use]
pub fn table(snapshot: &Snapshot, form: Form<'_>) -> String {
    let mut out = String::new();
    let everyone = blocks(snapshot, true);
    // Each follows the jumps of all tables, which takes its time where they are large.
    let fewer = (!form.chosen.whole()).then(|| blocks(snapshot, false));
    let mut shown = HashSet::new();
    for block in fewer.as_ref().unwrap_or(&everyone).iter().filter(|block| wanted(block, form)) {
        self::block(block, &everyone, form, &mut shown, &mut out);
    }
    for block in unreached(snapshot, form.chosen.whole()).iter().filter(|block| wanted(block, form)) {
        let Some(first) = block.chains.first() else { continue };
        let why = match leads_somewhere(block.table) {
            true => "reached in a way that is not known, or not at all",
            false => "no hook leads here",
        };
        heading(&format!("{} · {why}", place(block, first)), &[], form, &mut out);
        chains(block, &Paths::of(block.table), &block.chains, form, &mut out);
    }
    out
}

/// Whether something of the block is to be shown.
fn wanted(block: &Block<'_>, form: Form<'_>) -> bool {
    form.chosen.table(&block.table.name) && block.chains.iter().any(|chain| form.chosen.chain(&chain.name))
}

/// The line for a namespace in which nothing redirects; `all`: the other rules are shown.
#[must_use]
pub fn nothing(snapshot: &Snapshot, all: bool) -> String {
    let sets = snapshot.rulesets().len();
    if sets == 0 && snapshot.workload.kind == Kind::File {
        return format!("{} holds no rules of the family and backend that were asked for\n", escape(&snapshot.asked));
    }
    let others: usize = snapshot.rulesets().iter().map(crate::model::Ruleset::rule_count).sum();
    let how = if others == 0 || all { "" } else { ": --all" };
    format!("no redirect rules in {sets} rule sets read; {others} other rules{how}\n")
}

/// `nat · iptables-nft · ipv4`
fn place(block: &Block<'_>, chain: &Chain) -> String {
    let Block { ruleset, table, .. } = block;
    let dormant = if table.dormant { " · dormant: not in force" } else { "" };
    format!("{} · {}{dormant}", escape(&table.name), who_wrote(ruleset.backend, ruleset.family, chain.syntax))
}

/// `chain x` of a base chain that is not named as its hook.
fn own_name(base: &Chain) -> String {
    let hook = base.hook.map_or("", |hook| hook.word()).to_uppercase();
    if base.name == hook { String::new() } else { format!(" · chain {}", escape(&base.name)) }
}

/// Chains that were shown, each with its table's place in memory: several hooks may lead to them.
type Seen<'a> = HashSet<(*const Table, &'a str)>;

fn block<'a>(block: &Block<'a>, everyone: &[Block<'_>], form: Form<'_>, seen: &mut Seen<'a>, out: &mut String) {
    let Some((base, others)) = block.chains.split_first() else { return };
    let hook = base.hook.map_or("", |hook| hook.word()).to_uppercase();
    // Where iptables' own chains stand is told by hook and table.
    let usual = base.syntax == Syntax::Iptables && form.columns != Columns::All;
    let standing = if usual { String::new() } else { format!(" · {}", standing_words(base)) };
    let devices =
        if base.devices.is_empty() { String::new() } else { format!(" · device {}", base.devices.join(", ")) };
    let mut notes = Vec::new();
    if base.policy == Some(Policy::Drop) {
        notes.push("policy DROP".to_owned());
    }
    for rival in rivals(block, everyone) {
        let Some(other) = rival.chains.first() else { continue };
        notes.push(format!("same priority as {}{}: order unknown", place(rival, other), own_name(other)));
    }
    let title = format!("{hook} · {}{}{}{standing}", place(block, base), own_name(base), escape(&devices));
    heading(&title, &notes, form, out);
    if form.headings && form.columns != Columns::Words {
        let bytes = if form.columns == Columns::All { format!("{:>PACKETS$}", "bytes") } else { String::new() };
        let columns = format!("{:>NUMBER$}{:>PACKETS$}{bytes}  what happens", "rule", "packets");
        line(out, &form.paint.text(Label::Dim, &columns));
    }
    let paths = Paths::of(block.table);
    if form.chosen.chain(&base.name) {
        self::chain(block, &paths, base, form, out);
    }
    self::others(block, &paths, others, form, seen, out);
}

/// The chains behind a base chain; where many of them were shown, those are only named.
fn others<'a>(
    block: &Block<'a>,
    paths: &Paths<'_>,
    others: &[&'a Chain],
    form: Form<'_>,
    seen: &mut Seen<'a>,
    out: &mut String,
) {
    let wanted = others.iter().copied().filter(|chain| form.chosen.chain(&chain.name));
    let (mut again, new): (Vec<&Chain>, Vec<&Chain>) =
        wanted.partition(|chain| !seen.insert((std::ptr::from_ref(block.table), chain.name.as_str())));
    if again.iter().map(|chain| chain.rules.len()).sum::<usize>() <= MOST_AGAIN {
        return chains(block, paths, others, form, out);
    }
    chains(block, paths, &new, form, out);
    let first = escape(&again.swap_remove(0).name).into_owned();
    let more = match again.len() {
        0 => String::new(),
        1 => " and another chain".to_owned(),
        more => format!(" and {more} more chains"),
    };
    line(out, &format!("  {}{more}: as above", form.paint.text(Label::Name, &first)));
}

/// Chains under their names.
fn chains<'a>(block: &Block<'a>, paths: &Paths<'_>, chains: &[&'a Chain], form: Form<'_>, out: &mut String) {
    for chain in chains.iter().filter(|chain| form.chosen.chain(&chain.name)) {
        line(out, &format!("  {}", form.paint.text(Label::Name, &escape(&chain.name))));
        self::chain(block, paths, chain, form, out);
    }
}

/// The line over a block, with its notes behind it where there is room for them, else below.
fn heading(title: &str, notes: &[String], form: Form<'_>, out: &mut String) {
    out.push('\n');
    let mut text = form.paint.text(Label::Heading, title);
    let mut used = title.chars().count();
    for note in notes {
        used += 2 + note.chars().count();
        if used > form.width {
            line(out, &text);
            let (last, before) = match wrap(note, form.width.saturating_sub(2)) {
                lines if lines.is_empty() => continue,
                mut lines => (lines.pop().unwrap_or_default(), lines),
            };
            for part in before {
                line(out, &format!("  {}", form.paint.text(Label::Warning, &part)));
            }
            used = 2 + last.chars().count();
            text = format!("  {}", form.paint.text(Label::Warning, &last));
        } else {
            text.push_str(&format!("  {}", form.paint.text(Label::Warning, note)));
        }
    }
    line(out, &text);
}

fn chain(block: &Block<'_>, paths: &Paths<'_>, chain: &Chain, form: Form<'_>, out: &mut String) {
    if chain.rules.is_empty() {
        let indent = if form.columns == Columns::Words { INDENT } else { NUMBER + PACKETS + 2 };
        line(out, &form.paint.text(Label::Dim, &format!("{:indent$}(no rules)", "")));
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
    form: Form<'_>,
    out: &mut String,
) {
    let family: Family = block.ruleset.family;
    // Only where it is shown: most rules are told in words.
    let text = || escape(&print_rule(family, block.table, chain, rule)).into_owned();
    let told = describe::told(family, block.table, paths, chain, index);
    let packets = rule.counters.map_or("-".to_owned(), |counters| counters.packets.to_string());
    let mut columns = match form.columns {
        Columns::Words => " ".repeat(INDENT - 2),
        _ => format!("{:>NUMBER$}{packets:>PACKETS$}", index + 1),
    };
    if form.columns == Columns::All {
        let bytes = rule.counters.map_or("-".to_owned(), |counters| counters.bytes.to_string());
        // Writing to a String cannot fail.
        write!(columns, "{bytes:>PACKETS$}").ok();
    }
    let indent = columns.chars().count() + 2;
    let outcome = told.as_ref().map(|told| told.outcome);
    // Lines that go on stand two further in.
    let width = form.width.saturating_sub(indent + 2).max(20);
    let words = told.as_ref().map_or_else(text, |told| unbroken(told, width));
    for (at, part) in wrap(&words, width).iter().enumerate() {
        let part = paint_words(&part.replace(NO_BREAK, " "), at, outcome, form.paint);
        if at == 0 {
            line(out, &format!("{columns}  {part}"));
        } else {
            line(out, &format!("{:indent$}  {part}", "", indent = indent));
        }
    }
    if chain.is_foreign(rule) {
        let note = "(a rule of nft's own: iptables tools do not show it)";
        line(out, &format!("{:indent$}  {}", "", form.paint.text(Label::Warning, note)));
    }
    if form.columns == Columns::All {
        let text = text();
        for part in wrap(&text, width + 2).iter().filter(|_| text != words) {
            line(out, &format!("{:indent$}{}", "", form.paint.text(Label::Dim, part)));
        }
    }
}

/// A blank at which no line is broken.
const NO_BREAK: char = '\u{a0}';

/// Keeps what happens together with its arrow on one line, if it fits there.
fn unbroken(told: &Told, width: usize) -> String {
    let (who, what) = (escape(&told.who), escape(&told.what));
    let together = what.chars().count() + 2 <= width;
    let what = if together { what.replace(' ', "\u{a0}") } else { what.into_owned() };
    format!("{who} →{NO_BREAK}{what}")
}

/// What happens is what the eye looks for: the part behind the arrow gets the colour.
fn paint_words(part: &str, at: usize, outcome: Option<Outcome>, paint: Paint) -> String {
    let label = match outcome {
        Some(Outcome::Redirected) => Label::Redirect,
        Some(Outcome::Exempt) => Label::Exempt,
        Some(Outcome::Dropped) => Label::Dropped,
        _ => return part.to_owned(),
    };
    match part.split_once('→') {
        Some((who, what)) => format!("{who}→{}", paint.text(label, what)),
        None if at > 0 => paint.text(label, part),
        None => part.to_owned(),
    }
}

fn line(out: &mut String, text: &str) {
    out.push_str(text.trim_end());
    out.push('\n');
}
