//! For people: a mark for each group of findings, what was found below it, a summary last.

use super::Judged;
use crate::analysis::check::{Answer, Finding, Measure, Open, Severity, Verdict};
use crate::analysis::expectation::{Kept, State};
use crate::analysis::findings::{ALL, Group, Kind};
use crate::analysis::mesh::Expected;
use crate::report::escape::escape;
use crate::report::paint::{Label, Paint};
use crate::report::wrap::wrap;

/// Reasons that are told without being asked for.
const REASONS: usize = 3;

/// The answer. With `failures` only what fails, or is open and counts.
#[must_use]
pub fn text(judged: &Judged, measure: &Measure, failures: bool, paint: Paint, width: usize) -> String {
    let answer = &judged.answer;
    let mut out = String::new();
    for line in wrap(&escape(&expectation(&answer.expected)), width) {
        out.push_str(&line);
        out.push('\n');
    }
    out.push('\n');
    for group in Group::ALL {
        let of = |kind: &Kind| kind.group() == group;
        let (findings, open) = shown(answer, measure, failures);
        let findings: Vec<&Finding> = findings.into_iter().filter(|finding| of(finding.kind)).collect();
        let open: Vec<&Open> = open.into_iter().filter(|open| Kind::of(open.id).is_some_and(of)).collect();
        let looked_for = ALL.iter().filter(|kind| of(kind) && answer.looked_for.contains(kind.id)).count();
        if failures && findings.is_empty() && open.is_empty() || looked_for == 0 {
            continue;
        }
        let bad =
            findings.iter().filter(|finding| measure.accepts(finding).is_none()).map(|finding| finding.severity).max();
        let (mark, label) = match (bad, open.is_empty()) {
            (Some(Severity::Error), _) => ("✗", Label::Error),
            (Some(Severity::Warning), _) => ("!", Label::Warning),
            (_, false) => ("?", Label::Warning),
            _ if answer.expected.mesh.is_none() => ("-", Label::Dim),
            _ => ("✓", Label::Exempt),
        };
        out.push_str(&format!("{} {}\n", paint.text(label, mark), paint.text(Label::Name, group.words())));
        out.push_str(&listed(&findings, &open, measure, paint, width));
    }
    out.push_str(&expectations(judged, measure, failures, paint, width));
    out.push_str(&summary(judged, measure, paint, width));
    out
}

/// What a file expects, with a mark for all of it; nothing where no file does, or with `failures` where nothing is amiss.
fn expectations(judged: &Judged, measure: &Measure, failures: bool, paint: Paint, width: usize) -> String {
    let unkept: Vec<&Kept> = judged.unkept(measure, failures).collect();
    if judged.kept.is_empty() || failures && unkept.is_empty() {
        return String::new();
    }
    let (mark, label) = match () {
        () if unkept.iter().any(|kept| matches!(kept.state, State::Unmet(_))) => ("✗", Label::Error),
        () if !unkept.is_empty() => ("?", Label::Warning),
        () => ("✓", Label::Exempt),
    };
    format!("{} {}\n", paint.text(label, mark), paint.text(Label::Name, "expectations"))
        + &unkept_lines(&unkept, paint, width)
}

/// What was expected and is not so, each with its mark.
pub(super) fn unkept_lines(unkept: &[&Kept], paint: Paint, width: usize) -> String {
    let line = |kept: &&Kept| match &kept.state {
        State::Met => String::new(),
        State::Unmet(why) => block(&format!("{}: {why}", kept.what), ("  ✗ ", "    "), Label::Error, paint, width),
        State::Open(why) => {
            block(&format!("{}: cannot tell: {why}", kept.what), ("  ? ", "    "), Label::Warning, paint, width)
        }
    };
    unkept.iter().map(line).collect()
}

/// What was found and what is open; with `failures` what of it makes the verdict.
pub(super) fn shown<'a>(answer: &'a Answer, measure: &Measure, failures: bool) -> (Vec<&'a Finding>, Vec<&'a Open>) {
    let findings = answer.findings.iter().filter(|finding| !failures || measure.fails(finding));
    let open = answer.undecided.iter().filter(|open| !failures || measure.counts(open));
    (findings.collect(), open.collect())
}

/// Findings and what is open, each with its mark.
pub(super) fn listed(findings: &[&Finding], open: &[&Open], measure: &Measure, paint: Paint, width: usize) -> String {
    let mut out: String = findings.iter().map(|finding| told(finding, measure, paint, width)).collect();
    for open in open {
        let told = format!("{} cannot tell: {}", open.id, open.why);
        out.push_str(&block(&told, ("  ? ", "    "), Label::Warning, paint, width));
    }
    out
}

/// What is expected, in a sentence.
fn expectation(expected: &Expected) -> String {
    let Some(mut words) = mesh(expected) else {
        return "not meshed: no sign of a mesh, nothing was expected".to_owned();
    };
    words.extend(expected.backend.map(|backend| format!("{} rules", backend.word())));
    let reasons: Vec<&str> = expected.because.iter().take(REASONS).map(|because| because.what.as_str()).collect();
    format!("expected: {} ({})", words.join(", "), reasons.join("; "))
}

/// Which mesh, its variant, its mode.
pub(super) fn mesh(expected: &Expected) -> Option<Vec<String>> {
    let mut words = vec![
        expected.name.map_or_else(|| expected.mesh.map(|mesh| mesh.word().to_owned()), |name| Some(name.to_owned()))?,
    ];
    words.extend(expected.variant.map(|variant| variant.word().to_owned()));
    words.extend(expected.mode.map(|mode| mode.word().to_owned()));
    Some(words)
}

/// A finding with its evidence and its remedy.
fn told(finding: &Finding, measure: &Measure, paint: Paint, width: usize) -> String {
    let allowed = measure.accepts(finding);
    let (mark, label) = match (allowed, finding.severity) {
        (Some(_), _) => ("  - ", Label::Dim),
        (None, Severity::Error) => ("  ✗ ", Label::Error),
        (None, Severity::Warning) => ("  ! ", Label::Warning),
        (None, Severity::Info) => ("  i ", Label::Dim),
    };
    let title = format!("{} {}", finding.kind.id, finding.title);
    let mut out = block(&title, (mark, "    "), label, paint, width);
    if let Some(reason) = allowed {
        return out + &block(&format!("allowed: {reason}"), ("      ", "      "), Label::Dim, paint, width);
    }
    for fact in &finding.evidence {
        out.push_str(&block(fact, ("      ", "        "), Label::Dim, paint, width));
    }
    out.push_str(&block(&finding.remedy, ("    → ", "      "), Label::Redirect, paint, width));
    out
}

fn block(text: &str, (first, next): (&str, &str), label: Label, paint: Paint, width: usize) -> String {
    let room = width.saturating_sub(first.chars().count());
    let mut out = String::new();
    for (at, line) in wrap(&escape(text), room).iter().enumerate() {
        let lead = if at == 0 { first } else { next };
        // What is no mark is read, so only marks and asides are coloured.
        let line = if label == Label::Dim { paint.text(label, line) } else { line.clone() };
        out.push_str(&format!("{}{line}\n", paint.text(label, lead)));
    }
    out
}

/// `2 errors, 1 warning, 1 not decided`; nothing where there is nothing.
pub(super) fn counts(judged: &Judged, measure: &Measure) -> String {
    let answer = &judged.answer;
    let count = |severity: Severity, one: &str, many: &str| {
        let counts = |finding: &&Finding| finding.severity == severity && measure.accepts(finding).is_none();
        let count = answer.findings.iter().filter(counts).count();
        match count {
            0 => None,
            1 => Some(format!("1 {one}")),
            count => Some(format!("{count} {many}")),
        }
    };
    let counts = [
        count(Severity::Error, "error", "errors"),
        count(Severity::Warning, "warning", "warnings"),
        count(Severity::Info, "note", "notes"),
    ];
    let allowed = answer.findings.iter().filter(|finding| measure.accepts(finding).is_some()).count();
    let mut parts: Vec<String> = counts.into_iter().flatten().collect();
    parts.extend((allowed > 0).then(|| format!("{allowed} allowed")));
    let unmet = judged.kept.iter().filter(|kept| matches!(kept.state, State::Unmet(_))).count();
    parts.extend((unmet > 0).then(|| format!("{unmet} not as expected")));
    let open = answer.undecided.len() + judged.kept.iter().filter(|kept| matches!(kept.state, State::Open(_))).count();
    parts.extend((open > 0).then(|| format!("{open} not decided")));
    parts.join(", ")
}

/// The word of a verdict for people, with its colour: what nothing was expected of never passes.
pub(super) fn verdict(judged: &Judged, measure: &Measure) -> (&'static str, Label) {
    match judged.verdict(measure) {
        Verdict::Pass if judged.answer.expected.mesh.is_none() => ("not meshed", Label::Dim),
        Verdict::Pass => ("pass", Label::Exempt),
        Verdict::Fail => ("fail", Label::Error),
        Verdict::Undecided => ("undecided", Label::Warning),
    }
}

/// `2 errors, 1 warning, 1 not decided: fail`
fn summary(judged: &Judged, measure: &Measure, paint: Paint, width: usize) -> String {
    let counts = counts(judged, measure);
    let found = if counts.is_empty() { "nothing found" } else { &counts };
    let (word, label) = verdict(judged, measure);
    let mut out = String::from("\n");
    for line in wrap(&format!("{found}: {word}"), width) {
        out.push_str(&format!("{}\n", paint.text(label, &line)));
    }
    out + &explain(std::iter::once(judged), measure, paint)
}

/// Where more is told of the first of the worst findings that are not accepted, where anything is wrong at all.
pub(super) fn explain<'a>(judged: impl Iterator<Item = &'a Judged>, measure: &Measure, paint: Paint) -> String {
    let findings = judged.flat_map(|judged| &judged.answer.findings);
    let findings = findings.filter(|finding| finding.severity > Severity::Info && measure.accepts(finding).is_none());
    let first = findings.min_by_key(|finding| std::cmp::Reverse(finding.severity));
    let told = |finding: &Finding| format!("nslens check --explain {} tells more", finding.kind.id);
    first.map(|finding| format!("{}\n", paint.text(Label::Dim, &told(finding)))).unwrap_or_default()
}
