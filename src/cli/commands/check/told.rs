//! The answer, in the form that is wanted.

use super::looked::Looked;
use super::{Check, Output};
use crate::analysis::check::{Measure, Verdict};
use crate::cli::commands::conns::SUBJECTS;
use crate::cli::failure::Failure;
use crate::cli::screen::Screen;
use crate::report::check::{self as report, Judged, Look};
use crate::report::{document, who, yaml};
use serde_json::Value;

/// Prints the answer.
pub(super) fn told(arguments: &Check, looked: &Looked, measure: &Measure, screen: &Screen) -> Result<(), Failure> {
    let documents = || match looked.outcomes.as_slice() {
        [Ok(only)] if !looked.many => report::document(only, measure),
        many => report::sweep(looked.node.as_deref(), many, looked.unlisted.clone(), measure),
    };
    screen.print(&match arguments.output {
        Output::Json => document::print(documents()),
        Output::Yaml => yaml::print(&documents()),
        Output::Jsonl => lines(looked, measure),
        Output::Junit => report::junit(&looked.outcomes, measure),
        Output::Sarif => document::print(report::sarif(&looked.outcomes, measure, env!("CARGO_PKG_VERSION"))),
        Output::Github => report::github(&looked.outcomes, measure),
        Output::Tap => report::tap(&looked.outcomes, measure),
        Output::Table => match looked.outcomes.as_slice() {
            [Ok(only)] if !looked.many => alone(arguments, only, measure, screen),
            many => {
                let Screen { paint, width, .. } = *screen;
                let (failures, headings) = (arguments.looks.quiet, !arguments.no_headers);
                report::table(many, measure, Look { failures, headings, paint, width })
            }
        },
    })
}

/// One document a line.
fn lines(looked: &Looked, measure: &Measure) -> String {
    let value = |outcome: &report::Outcome| match outcome {
        Ok(judged) => Value::Object(report::document(judged, measure)),
        Err(broken) => report::broken(broken),
    };
    looked.outcomes.iter().map(|outcome| document::line(&value(outcome)) + "\n").collect()
}

/// One workload, for people.
fn alone(arguments: &Check, judged: &Judged, measure: &Measure, screen: &Screen) -> String {
    let Screen { paint, width, .. } = *screen;
    let quiet = arguments.looks.quiet;
    let unread = who::unread(&judged.who, &SUBJECTS, paint, width);
    if quiet && unread.is_empty() && judged.verdict(measure) == Verdict::Pass {
        return String::new();
    }
    let mut out = who::heading(&judged.who, paint, width);
    out.push_str(&unread);
    out.push_str(&report::text(judged, measure, quiet, paint, width));
    out
}
