//! JUnit's XML, as Jenkins' schema has it: a suite for each workload, a test case for each thing that was looked for.
//!
//! What fails is a failure, what cannot be told an error, what is accepted or was not expected is skipped: it never passes.

use super::points::{Point, State, names, points, told};
use super::{Outcome, whose};
use crate::analysis::check::Measure;
use crate::report::xml::{attribute, text};

/// How many of each.
#[derive(Default)]
struct Counts {
    tests: usize,
    failures: usize,
    errors: usize,
    skipped: usize,
}

/// The document.
#[must_use]
pub fn junit(outcomes: &[Outcome], measure: &Measure) -> String {
    let mut all = Counts::default();
    let mut suites = String::new();
    for (outcome, name) in outcomes.iter().zip(names(outcomes.iter().map(whose))) {
        let mut counts = Counts::default();
        let mut cases = String::new();
        match outcome {
            Ok(judged) => {
                points(judged, measure).iter().for_each(|point| case(&name, point, &mut counts, &mut cases));
            }
            Err(broken) => {
                let state = State::Open(format!("could not be looked at: {}", broken.error), true);
                let point = Point { id: "look", group: "what was read", title: "it can be looked at", state };
                case(&name, &point, &mut counts, &mut cases);
            }
        }
        let Counts { tests, failures, errors, skipped } = counts;
        let host = attribute(&whose(outcome).node);
        suites.push_str(&format!(
            "  <testsuite name=\"{}\" tests=\"{tests}\" failures=\"{failures}\" errors=\"{errors}\" skipped=\"{skipped}\" hostname=\"{host}\">\n{cases}  </testsuite>\n",
            attribute(&name)
        ));
        all.tests += tests;
        all.failures += failures;
        all.errors += errors;
    }
    let Counts { tests, failures, errors, .. } = all;
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"nslens check\" tests=\"{tests}\" failures=\"{failures}\" errors=\"{errors}\">\n{suites}</testsuites>\n"
    )
}

fn case(workload: &str, point: &Point<'_>, counts: &mut Counts, out: &mut String) {
    counts.tests += 1;
    let name = attribute(&format!("{} {}", point.id, point.title));
    let class = attribute(&format!("{workload}.{}", point.group));
    out.push_str(&format!("    <testcase name=\"{name}\" classname=\"{class}\""));
    let inside = match &point.state {
        State::Passed => {
            out.push_str("/>\n");
            return;
        }
        State::Failed(finding) => {
            counts.failures += 1;
            element("failure", Some(finding.severity.word()), &finding.title, &told(finding))
        }
        State::Unmet(why) => {
            counts.failures += 1;
            element("failure", Some("expectation"), &format!("{}: {why}", point.title), &[])
        }
        State::Open(why, true) => {
            counts.errors += 1;
            element("error", Some("undecided"), &format!("cannot tell: {why}"), &[])
        }
        State::Open(why, false) => {
            counts.skipped += 1;
            element("skipped", None, &format!("cannot tell: {why}"), &[])
        }
        State::Accepted(finding, reason) => {
            counts.skipped += 1;
            element("skipped", None, &format!("allowed: {reason}"), &told(finding))
        }
        State::Idle => {
            counts.skipped += 1;
            element("skipped", None, "not meshed: nothing was expected", &[])
        }
        State::Noted(finding) => {
            format!("<system-out>{}: {}</system-out>", finding.severity.word(), content(&told(finding)))
        }
    };
    out.push_str(&format!(">\n      {inside}\n    </testcase>\n"));
}

/// An element with a message, and lines in it.
fn element(name: &str, kind: Option<&str>, message: &str, lines: &[String]) -> String {
    let kind = kind.map(|kind| format!(" type=\"{kind}\"")).unwrap_or_default();
    let open = format!("<{name}{kind} message=\"{}\"", attribute(message));
    if lines.is_empty() { format!("{open}/>") } else { format!("{open}>{}</{name}>", content(lines)) }
}

/// Lines between tags.
fn content(lines: &[String]) -> String {
    let lines: Vec<String> = lines.iter().map(|line| text(line)).collect();
    lines.join("\n")
}
