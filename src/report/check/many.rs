//! Many workloads: one line each, then what was found of each, a summary last.

use super::text::{counts, explain, listed, mesh, shown, unkept_lines, verdict};
use super::{Broken, Judged, Outcome, name};
use crate::analysis::check::{Finding, Measure, Severity, Verdict};
use crate::analysis::expectation::Kept;
use crate::report::escape::escape;
use crate::report::paint::{Label, Paint};
use crate::report::wrap::wrap;

/// Characters between two columns.
const GAP: usize = 2;

/// How it looks.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    /// Only what fails, or is open and counts.
    pub failures: bool,
    /// With a line of headings.
    pub headings: bool,
    /// Colours.
    pub paint: Paint,
    /// Characters in a line.
    pub width: usize,
}

/// The lines, the findings and the summary; nothing where only failures are wanted and there are none.
#[must_use]
pub fn table(outcomes: &[Outcome], measure: &Measure, look: Look) -> String {
    let fails = |outcome: &&Outcome| match outcome {
        Ok(judged) => judged.verdict(measure) != Verdict::Pass,
        Err(_) => true,
    };
    let wanted: Vec<&Outcome> = outcomes.iter().filter(|outcome| !look.failures || fails(outcome)).collect();
    if wanted.is_empty() {
        return String::new();
    }
    let mut out = lines(&wanted, measure, look);
    for judged in wanted.iter().filter_map(|outcome| outcome.as_ref().ok()) {
        out.push_str(&found(judged, measure, look));
    }
    out.push_str(&summary(outcomes, measure, look));
    out
}

/// A line of the table.
struct Row {
    mark: (&'static str, Label),
    name: String,
    /// Mesh, verdict and counts; where it could not be looked at, why.
    rest: Result<[String; 3], String>,
}

fn row(outcome: &Outcome, measure: &Measure) -> Row {
    let judged = match outcome {
        Ok(judged) => judged,
        Err(Broken { who, error }) => {
            let why = format!("could not be looked at: {}", escape(error));
            return Row { mark: ("?", Label::Warning), name: name(who), rest: Err(why) };
        }
    };
    let answer = &judged.answer;
    let (word, label) = verdict(judged, measure);
    let counts_as = |finding: &Finding| finding.severity >= Severity::Warning && measure.accepts(finding).is_none();
    let mark = match (judged.verdict(measure), answer.expected.mesh) {
        (Verdict::Fail, _) => ("✗", label),
        (Verdict::Undecided, _) => ("?", label),
        (Verdict::Pass, _) if answer.findings.iter().any(counts_as) => ("!", Label::Warning),
        (Verdict::Pass, None) => ("-", label),
        (Verdict::Pass, Some(_)) => ("✓", label),
    };
    let mesh = mesh(&answer.expected).map_or_else(|| "-".to_owned(), |words| words.join(" "));
    Row { mark, name: name(&judged.who), rest: Ok([mesh, word.to_owned(), counts(judged, measure)]) }
}

fn lines(outcomes: &[&Outcome], measure: &Measure, look: Look) -> String {
    let Look { paint, width, .. } = look;
    let mut rows: Vec<Row> = outcomes.iter().map(|outcome| row(outcome, measure)).collect();
    if look.headings {
        let rest = Ok(["MESH", "VERDICT", "FOUND"].map(str::to_owned));
        rows.insert(0, Row { mark: (" ", Label::Dim), name: "NAME".to_owned(), rest });
    }
    let columns = |column: usize| rows.iter().filter_map(move |row| row.rest.as_ref().ok()?.get(column));
    let widest = |column: usize| columns(column).map(|words| words.chars().count()).max().unwrap_or_default();
    let (mesh_width, verdict_width) = (widest(0), widest(1));
    // One long name would push all else out of the screen: it has a line of its own.
    let room = width.saturating_sub(4 * GAP + mesh_width + verdict_width + widest(2));
    let names = rows.iter().map(|row| row.name.chars().count());
    let name_width = names.filter(|count| *count <= room).max().unwrap_or_default();
    let mut out = String::new();
    for (at, Row { mark: (mark, label), name, rest }) in rows.iter().enumerate() {
        let mark = paint.text(*label, mark);
        match rest {
            Ok([mesh, verdict, counts]) => {
                let long = name.chars().count() > name_width;
                let (before, name) = if long { (format!("{name}\n  "), "") } else { (String::new(), name.as_str()) };
                let line = format!("{name:name_width$}  {mesh:mesh_width$}  {verdict:verdict_width$}  {counts}");
                let heading = look.headings && at == 0;
                let line = line.trim_end();
                let line = if heading { paint.text(Label::Dim, line) } else { line.to_owned() };
                out.push_str(&format!("{mark} {before}{line}\n"));
            }
            Err(why) => {
                out.push_str(&format!("{mark} {name}\n"));
                for line in wrap(why, width.saturating_sub(2 * GAP)) {
                    out.push_str(&format!("    {}\n", paint.text(Label::Warning, &line)));
                }
            }
        }
    }
    out
}

/// What was found of one.
fn found(judged: &Judged, measure: &Measure, look: Look) -> String {
    let (findings, open) = shown(&judged.answer, measure, look.failures);
    let unkept: Vec<&Kept> = judged.unkept(measure, look.failures).collect();
    if findings.is_empty() && open.is_empty() && unkept.is_empty() {
        return String::new();
    }
    let Look { paint, width, .. } = look;
    let asked = escape(&judged.who.asked);
    let name = name(&judged.who);
    let from = if asked.contains(&name) || judged.who.asked.starts_with("pod/") {
        String::new()
    } else {
        format!(" ({asked})")
    };
    let mut out = String::from("\n");
    for line in wrap(&format!("{name}{from}"), width) {
        out.push_str(&format!("{}\n", paint.text(Label::Name, &line)));
    }
    out + &listed(&findings, &open, measure, paint, width) + &unkept_lines(&unkept, paint, width)
}

fn summary(outcomes: &[Outcome], measure: &Measure, look: Look) -> String {
    let Look { paint, width, .. } = look;
    let judged = || outcomes.iter().filter_map(|outcome| outcome.as_ref().ok());
    let mut out = String::from("\n");
    let mut named = |what: &str, which: fn(&Judged) -> bool| {
        let names: Vec<String> = judged().filter(|one| which(one)).map(|one| name(&one.who)).collect();
        if !names.is_empty() {
            for line in wrap(&format!("{what}: {}", names.join(", ")), width) {
                out.push_str(&format!("{}\n", paint.text(Label::Warning, &line)));
            }
        }
    };
    named("in a mesh, and without rules that redirect", Judged::only_claims);
    named("redirected, and nothing says that they are in a mesh", Judged::claims_nothing);
    let count = |word: &str| judged().filter(|one| verdict(one, measure).0 == word).count();
    let words = ["pass", "fail", "undecided", "not meshed"];
    let mut parts: Vec<String> = words
        .iter()
        .map(|word| (count(word), word))
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    let broken = outcomes.len() - judged().count();
    parts.extend((broken > 0).then(|| format!("{broken} could not be looked at")));
    let workloads = if outcomes.len() == 1 { "workload" } else { "workloads" };
    let label = match () {
        () if count("fail") > 0 => Label::Error,
        () if broken > 0 || count("undecided") > 0 => Label::Warning,
        () => Label::Exempt,
    };
    for line in wrap(&format!("{} {workloads}: {}", outcomes.len(), parts.join(", ")), width) {
        out.push_str(&format!("{}\n", paint.text(label, &line)));
    }
    out + &explain(judged(), measure, paint)
}
