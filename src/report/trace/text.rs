//! The story for people: hook by hook what the packet met, and the answer in the last line.

use super::steps::{Step, met, name, shown};
use super::{Story, Teller, answer, change, destination, sentence, source, state_word};
use crate::analysis::describe::{self, Outcome as Fate};
use crate::analysis::eval::{At, Met, Routed};
use crate::analysis::paths::Paths;
use crate::analysis::trace::{Outcome, Verdict, asked};
use crate::model::Hook;
use crate::packet::Known;
use crate::report::escape::escape;
use crate::report::paint::{Label, Paint};
use crate::report::who::who_wrote;
use crate::report::wrap::wrap;
use crate::syntax::print_rule;

/// How the story is told.
#[derive(Debug, Clone, Copy)]
pub struct Form {
    /// Colours.
    pub paint: Paint,
    /// Columns.
    pub width: usize,
    /// Rules that did not match too, each with why.
    pub all: bool,
}

/// Where the words of a rule begin.
const INDENT: usize = 9;

struct Page<'p, 't> {
    teller: &'p Teller<'t>,
    form: Form,
    out: String,
}

/// What is said where the order of chains is not known, and need not be.
pub(super) const SAME_IN_ANY_ORDER: &str = "Chains stand at the same priority, and nobody can tell which of them comes first: the answer is the same either way.";

/// The story for people.
#[must_use]
pub fn text(teller: &Teller<'_>, story: Story<'_, '_>, form: Form) -> String {
    let mut page = Page { teller, form, out: String::new() };
    page.line(Label::Name, "", &asked(story));
    for assumed in &story.trace.assumed {
        page.line(Label::Dim, "", &format!("taken for granted: {}", escape(&assumed.to_string())));
    }
    let outcomes = &story.trace.outcomes;
    let mut before: Option<&Outcome<'_>> = None;
    for (number, outcome) in outcomes.iter().enumerate() {
        if outcomes.len() > 1 {
            page.out.push('\n');
            let supposed = sentence::supposed(story.trace, outcome);
            let supposed = if supposed.is_empty() { supposed } else { format!(": {supposed}") };
            page.line(Label::Warning, "", &format!("Way {} of {}{supposed}", number + 1, outcomes.len()));
        }
        page.way(outcome, before);
        if outcomes.len() > 1 {
            page.out.push('\n');
            page.line(label(outcome.verdict), "", &sentence::sentence(teller, story.trace, outcome));
        }
        before = Some(outcome);
    }
    page.out.push('\n');
    if story.trace.same_in_any_order {
        page.line(Label::Dim, "", SAME_IN_ANY_ORDER);
    }
    page.line(label(story.trace.verdict()), "", &answer(teller, story));
    page.out
}

/// A sentence in lines.
pub(super) fn paragraph(out: &mut String, form: Form, label: Label, text: &str) {
    for line in wrap(text, form.width) {
        out.push_str(&form.paint.text(label, &line));
        out.push('\n');
    }
}

fn label(verdict: Verdict) -> Label {
    match verdict {
        Verdict::Delivered | Verdict::Sent => Label::Exempt,
        Verdict::Refused | Verdict::Dropped | Verdict::Rejected => Label::Dropped,
        Verdict::Undecided => Label::Warning,
    }
}

/// `TCP from 10.0.0.2 to 10.0.0.5:80, sent from inside by UID 1000`
fn asked(story: Story<'_, '_>) -> String {
    let Story { question, trace } = story;
    let packet = &trace.packet;
    let from = match packet.source {
        Known::Is(_) => source(packet),
        _ => "?".to_owned(),
    };
    let protocol = asked::name(question.protocol).to_uppercase();
    let mut parts = vec![format!("{protocol} {from} → {}", destination(packet))];
    parts.push(if question.incoming { "comes in" } else { "sent by the workload" }.to_owned());
    let known = |id| if let Known::Is(id) = id { Some(id) } else { None };
    let (uid, gid): (Option<u32>, Option<u32>) = (known(packet.uid), known(packet.gid));
    if !question.incoming {
        parts.push(uid.map_or_else(|| "UID not told".to_owned(), |uid| format!("UID {uid}")));
    }
    parts.extend(gid.map(|gid| format!("GID {gid}")));
    // That it is in its own group goes without saying.
    let groups = question.groups.iter().filter(|groups| groups.iter().any(|group| Some(*group) != question.gid));
    parts.extend(groups.map(|groups| {
        let groups: Vec<String> = groups.iter().map(u32::to_string).collect();
        format!("groups {}", groups.join(","))
    }));
    parts.extend((question.mark != 0).then(|| format!("mark {:#x}", question.mark)));
    parts.extend(question.interface.map(|device| format!("device {}", escape(device.as_str()))));
    parts.extend(state_word(packet).filter(|state| *state != "new").map(str::to_owned));
    parts.join(" · ")
}

impl Page<'_, '_> {
    /// Text in lines, the later ones and the first behind a margin.
    fn line(&mut self, label: Label, margin: &str, text: &str) {
        let room = self.form.width.saturating_sub(margin.chars().count());
        for line in wrap(text, room) {
            self.out.push_str(margin);
            self.out.push_str(&self.form.paint.text(label, &line));
            self.out.push('\n');
        }
    }

    /// The hooks of one way, from where it parts with the one before.
    fn way(&mut self, outcome: &Outcome<'_>, before: Option<&Outcome<'_>>) {
        let (teller, all) = (self.teller, self.form.all);
        let whole = met(teller, outcome, all);
        let alike = |before: &Outcome<'_>| {
            let other = met(teller, before, all);
            whole.iter().zip(&other).take_while(|(one, other)| one == other).count()
        };
        let shared = before.map_or(0, alike);
        if shared > 0 {
            self.line(Label::Dim, "", "up to here as before, then:");
        }
        let mut at = shared;
        let mut said: Option<String> = None;
        let before = |routed: &Routed| whole.partition_point(|met| met.at < routed.at);
        for routed in outcome.routed.iter().filter(|routed| shared == 0 || before(routed) > shared) {
            self.passes(whole.get(at..before(routed)).unwrap_or_default());
            at = at.max(before(routed));
            let words = sentence::route(routed);
            // Looked up again and found the same.
            if said.as_ref() != Some(&words) {
                self.out.push('\n');
                self.line(Label::Dim, "", &words);
                said = Some(words);
            }
        }
        self.passes(whole.get(at..).unwrap_or_default());
    }

    fn passes(&mut self, met: &[Met<'_>]) {
        for pass in met.chunk_by(|one, other| one.hook == other.hook) {
            self.pass(pass);
        }
    }

    /// One hook.
    fn pass(&mut self, pass: &[Met<'_>]) {
        let teller = self.teller;
        let same = |one: &Met<'_>, other: &Met<'_>| match (teller.rules.at(one.place), teller.rules.at(other.place)) {
            (Some(one), Some(other)) => std::ptr::eq(one.table, other.table),
            _ => false,
        };
        let mut quiet: Vec<At<'_>> = Vec::new();
        for group in pass.chunk_by(same) {
            let Some((first, at)) = group.first().and_then(|met| Some((met, teller.rules.at(met.place)?))) else {
                continue;
            };
            let steps = shown(teller, group);
            if steps.is_empty() {
                quiet.push(at);
                continue;
            }
            self.passed(first.hook, &mut quiet);
            let who = who_wrote(at.ruleset.backend, at.ruleset.family, at.chain.syntax);
            let title = format!("{} · {} · {who}", first.hook.word().to_uppercase(), escape(&at.table.name));
            self.out.push('\n');
            self.line(Label::Heading, "", &title);
            // The built-in chain goes without saying.
            let base = first.hook.word().to_uppercase();
            let mut chain = base.as_str();
            for step in &steps {
                let Some(at) = teller.rules.at(step.met.place) else { continue };
                if chain != at.chain.name {
                    chain = &at.chain.name;
                    self.line(Label::Name, "  ", &escape(chain));
                }
                self.step(&at, step);
            }
        }
        if let Some(met) = pass.first() {
            self.passed(met.hook, &mut quiet);
        }
    }

    /// Tables in which nothing matched, on one line.
    fn passed(&mut self, hook: Hook, quiet: &mut Vec<At<'_>>) {
        let who = |at: &At<'_>| who_wrote(at.ruleset.backend, at.ruleset.family, at.chain.syntax);
        for alike in quiet.chunk_by(|one, other| who(one) == who(other)) {
            let Some(first) = alike.first() else { continue };
            let mut names: Vec<_> = alike.iter().map(|at| escape(&at.table.name)).collect();
            names.dedup();
            let line =
                format!("{} · {} · {}: nothing matches", hook.word().to_uppercase(), names.join(", "), who(first));
            self.out.push('\n');
            self.line(Label::Dim, "", &line);
        }
        quiet.clear();
    }

    fn step(&mut self, at: &At<'_>, step: &Step<'_>) {
        let (sign, label) = match step.matched {
            Some(true) => ("✓", Label::Name),
            Some(false) => (" ", Label::Dim),
            None if step.met.matched => ("?", Label::Name),
            None => ("?", Label::Dim),
        };
        let margin = " ".repeat(INDENT);
        let Some((number, rule)) = at.rule else {
            let text = format!("   {sign}     policy of {}: dropped", escape(&name(at).chain));
            return self.line(Label::Dropped, "", &text);
        };
        let text = print_rule(at.ruleset.family, at.table, at.chain, rule);
        let lines = wrap(&escape(&text), self.form.width.saturating_sub(INDENT));
        for (row, line) in lines.iter().enumerate() {
            let head = if row == 0 { format!("   {sign}{number:>3}  ") } else { margin.clone() };
            self.out.push_str(&format!("{head}{}\n", self.form.paint.text(label, line)));
        }
        let paths = Paths::of(at.table);
        let told = describe::told(at.ruleset.family, at.table, &paths, at.chain, number - 1);
        match (step.matched, told) {
            (Some(false), _) => {
                let why = self.teller.reasons().why_not(at, step.met.before);
                let why = why.map_or_else(|| "no".to_owned(), |why| format!("no: {why}"));
                self.line(Label::Dim, &margin, &escape(&why));
            }
            // Where it jumps to is seen in the next line.
            (Some(true), Some(told)) if told.outcome != Fate::Enters || self.form.all => {
                self.line(fate(told.outcome), &margin, &escape(&format!("{} → {}", told.who, told.what)));
            }
            (None, told) => {
                let why = self.teller.reasons().why_unknown(at, step.met.before);
                let supposed = if step.met.matched { "supposed to match" } else { "supposed not to match" };
                let why = why.map_or_else(|| supposed.to_owned(), |why| format!("{supposed}: {why}"));
                self.line(Label::Warning, &margin, &escape(&why));
                if let Some(told) = told.filter(|told| step.met.matched && told.outcome != Fate::Enters) {
                    self.line(fate(told.outcome), &margin, &escape(&format!("{} → {}", told.who, told.what)));
                }
            }
            _ => {}
        }
        if let Some(change) = change(step.met.before, step.met.after) {
            self.line(Label::Redirect, &margin, &change);
        }
    }
}

fn fate(outcome: Fate) -> Label {
    match outcome {
        Fate::Redirected => Label::Redirect,
        Fate::Exempt => Label::Exempt,
        Fate::Dropped => Label::Dropped,
        Fate::Unknown => Label::Warning,
        _ => Label::Dim,
    }
}
