//! For people: a mark for each group of findings, what was found below it, a summary last.

use crate::analysis::check::{Answer, Finding, Measure, Open, Severity, Verdict};
use crate::analysis::findings::{ALL, Group, Kind};
use crate::analysis::mesh::Expected;
use crate::report::escape::escape;
use crate::report::paint::{Label, Paint};
use crate::report::wrap::wrap;

/// Reasons that are told without being asked for.
const REASONS: usize = 3;

/// The answer. With `failures` only what was found, without ticks.
#[must_use]
pub fn text(answer: &Answer, measure: &Measure, failures: bool, paint: Paint, width: usize) -> String {
    let mut out = String::new();
    for line in wrap(&escape(&expectation(&answer.expected)), width) {
        out.push_str(&line);
        out.push('\n');
    }
    out.push('\n');
    for group in Group::ALL {
        let of = |kind: &Kind| kind.group() == group;
        let findings: Vec<&Finding> = answer.findings.iter().filter(|finding| of(finding.kind)).collect();
        let open: Vec<&Open> = answer.undecided.iter().filter(|open| Kind::of(open.id).is_some_and(of)).collect();
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
        for finding in findings {
            out.push_str(&told(finding, measure, paint, width));
        }
        for open in open {
            let told = format!("{} cannot tell: {}", open.id, open.why);
            out.push_str(&block(&told, ("  ? ", "    "), Label::Warning, paint, width));
        }
    }
    out.push_str(&summary(answer, measure, paint, width));
    out
}

/// What is expected, in a sentence.
fn expectation(expected: &Expected) -> String {
    let Some(mesh) = expected.mesh else {
        return "not meshed: no sign of a mesh, nothing was expected".to_owned();
    };
    let mut words = vec![expected.name.map_or_else(|| mesh.word().to_owned(), str::to_owned)];
    words.extend(expected.variant.map(|variant| variant.word().to_owned()));
    words.extend(expected.mode.map(|mode| mode.word().to_owned()));
    words.extend(expected.backend.map(|backend| format!("{} rules", backend.word())));
    let reasons: Vec<&str> = expected.because.iter().take(REASONS).map(|because| because.what.as_str()).collect();
    format!("expected: {} ({})", words.join(", "), reasons.join("; "))
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

/// `2 errors, 1 warning; 1 could not be decided: fail`
fn summary(answer: &Answer, measure: &Measure, paint: Paint, width: usize) -> String {
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
    parts.extend((!answer.undecided.is_empty()).then(|| format!("{} not decided", answer.undecided.len())));
    let found = if parts.is_empty() { "nothing found".to_owned() } else { parts.join(", ") };
    let verdict = measure.verdict(answer);
    let (word, label) = match verdict {
        Verdict::Pass if answer.expected.mesh.is_none() => ("not meshed", Label::Dim),
        Verdict::Pass => ("pass", Label::Exempt),
        Verdict::Fail => ("fail", Label::Error),
        Verdict::Undecided => ("undecided", Label::Warning),
    };
    let explain =
        answer.findings.first().map(|finding| format!("nslens check --explain {} tells more\n", finding.kind.id));
    let mut out = String::from("\n");
    for line in wrap(&format!("{found}: {word}"), width) {
        out.push_str(&format!("{}\n", paint.text(label, &line)));
    }
    out + &paint.text(Label::Dim, &explain.unwrap_or_default())
}
