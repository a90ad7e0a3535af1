//! Workflow commands of GitHub Actions: an annotation for each finding. Every line is a command, so that no name can be one.

use super::points::{State, names, points, told};
use super::{Outcome, whose};
use crate::analysis::check::{Measure, Severity};
use crate::report::escape::escape;

/// The lines.
#[must_use]
pub fn github(outcomes: &[Outcome], measure: &Measure) -> String {
    let mut out = String::new();
    for (outcome, name) in outcomes.iter().zip(names(outcomes.iter().map(whose))) {
        let judged = match outcome {
            Ok(judged) => judged,
            Err(broken) => {
                let why = format!("could not be looked at: {}", broken.error);
                out.push_str(&command("error", &name, &[why]));
                continue;
            }
        };
        if judged.answer.expected.mesh.is_none() && judged.answer.findings.is_empty() {
            out.push_str(&command("notice", &name, &["not meshed: nothing was expected".to_owned()]));
        }
        for point in points(judged, measure) {
            let title = format!("{name}: {}", point.id);
            out.push_str(&match point.state {
                State::Passed | State::Idle => continue,
                State::Failed(finding) => command("error", &title, &told(finding)),
                State::Unmet(why) => command("error", &title, &[format!("{}: {why}", point.title)]),
                State::Noted(finding) if finding.severity > Severity::Info => {
                    command("warning", &title, &told(finding))
                }
                State::Noted(finding) => command("notice", &title, &told(finding)),
                State::Accepted(finding, reason) => {
                    command("notice", &title, &[finding.title.clone(), format!("allowed: {reason}")])
                }
                State::Open(why, counts) => {
                    let level = if counts { "error" } else { "notice" };
                    command(level, &title, &[format!("cannot tell: {why}")])
                }
            });
        }
    }
    out
}

/// One command. In its message `%` begins an escape, in its properties `:` and `,` end something too.
fn command(level: &str, title: &str, lines: &[String]) -> String {
    let data = |raw: &str| escape(raw).replace('%', "%25");
    let title = data(title).replace(':', "%3A").replace(',', "%2C");
    let lines: Vec<String> = lines.iter().map(|line| data(line)).collect();
    format!("::{level} title={title}::{}\n", lines.join("%0A"))
}

#[cfg(test)]
mod tests {
    use super::command;

    #[test]
    fn no_name_is_a_command() {
        let told =
            command("error", "a,file=b::c\n::d", &["x%0Ay\r\n::stop-commands::z".to_owned(), "second".to_owned()]);
        assert_eq!(told, "::error title=a%2Cfile=b%3A%3Ac\\x0a%3A%3Ad::x%250Ay\\x0d\\x0a::stop-commands::z%0Asecond\n");
    }
}
