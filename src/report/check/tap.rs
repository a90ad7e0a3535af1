//! The Test Anything Protocol, version 14: a line for each thing that was looked for, of every workload.
//!
//! What is accepted or was not expected is skipped; what cannot be told is not ok.

use serde_json::json;

use super::points::{State, names, points, told};
use super::{Outcome, whose};
use crate::analysis::check::Measure;
use crate::report::escape::escape;
use crate::report::yaml;

/// The lines.
#[must_use]
pub fn tap(outcomes: &[Outcome], measure: &Measure) -> String {
    let mut lines = Lines::default();
    for (outcome, name) in outcomes.iter().zip(names(outcomes.iter().map(whose))) {
        match outcome {
            Ok(judged) => {
                for point in points(judged, measure) {
                    let what = format!("{name} {} {}", point.id, point.title);
                    match point.state {
                        State::Passed => lines.add(true, &what, None, None),
                        State::Idle => lines.add(true, &what, Some("not meshed: nothing was expected"), None),
                        State::Open(why, true) => {
                            lines.add(false, &what, None, Some(("undecided", vec![format!("cannot tell: {why}")])));
                        }
                        State::Open(why, false) => lines.add(true, &what, Some(&format!("cannot tell: {why}")), None),
                        State::Accepted(_, reason) => {
                            lines.add(true, &what, Some(&format!("allowed: {reason}")), None);
                        }
                        State::Failed(finding) => {
                            lines.add(false, &what, None, Some((finding.severity.word(), told(finding))));
                        }
                        State::Unmet(why) => lines.add(false, &what, None, Some(("error", vec![why.to_owned()]))),
                        State::Noted(finding) => {
                            lines.add(true, &what, None, Some((finding.severity.word(), told(finding))));
                        }
                    }
                }
            }
            Err(broken) => {
                let why = format!("could not be looked at: {}", broken.error);
                lines.add(false, &format!("{name} look it can be looked at"), None, Some(("undecided", vec![why])));
            }
        }
    }
    format!("TAP version 14\n1..{}\n{}", lines.count, lines.text)
}

#[derive(Default)]
struct Lines {
    count: usize,
    text: String,
}

impl Lines {
    /// One more, with a reason to skip it, or what is to be said of it: how bad it is, and lines.
    fn add(&mut self, ok: bool, what: &str, skip: Option<&str>, told: Option<(&str, Vec<String>)>) {
        self.count += 1;
        let ok = if ok { "ok" } else { "not ok" };
        let skip = skip.map(|why| format!(" # SKIP {}", plain(why))).unwrap_or_default();
        self.text.push_str(&format!("{ok} {} - {}{skip}\n", self.count, plain(what)));
        let Some((severity, lines)) = told else { return };
        let mut lines = lines.into_iter();
        let block = json!({"message": lines.next(), "severity": severity, "data": lines.collect::<Vec<_>>()});
        let Some(block) = block.as_object() else { return };
        // It begins with the line that YAML's documents begin with, as a block of TAP does.
        let block = yaml::print(block);
        block.lines().for_each(|line| self.text.push_str(&format!("  {line}\n")));
        self.text.push_str("  ...\n");
    }
}

/// Text of others in a line: nothing in it may begin a directive.
fn plain(raw: &str) -> String {
    escape(raw).replace('\\', "\\\\").replace('#', "\\#")
}

#[cfg(test)]
mod tests {
    use super::{Lines, plain};

    #[test]
    fn no_name_is_a_directive() {
        assert_eq!(plain("web # SKIP me\nok 2"), "web \\# SKIP me\\\\x0aok 2");
        let mut lines = Lines::default();
        lines.add(false, "x", None, Some(("error", vec!["a: b".to_owned(), "...".to_owned()])));
        assert_eq!(
            lines.text,
            "not ok 1 - x\n  ---\n  message: \"a: b\"\n  severity: error\n  data:\n    - \"...\"\n  ...\n"
        );
    }
}
