//! The story of a packet that goes through proxies: a story for each connection, and how it ends.

use super::sentence::brief;
use super::text::{Form, paragraph, text};
use super::{Story, Teller, answer, destination, rule_words};
use crate::analysis::trace::{Followed, Outcome, Step, Stop, Verdict};
use crate::report::escape::escape;
use crate::report::paint::Label;

/// The story for people, step by step.
#[must_use]
pub fn followed(teller: &Teller<'_>, followed: &Followed<'_>, form: Form) -> String {
    let mut out = String::new();
    for (number, step) in followed.steps.iter().enumerate() {
        let story = Story { question: &step.question, trace: &step.trace };
        if number > 0 {
            let dials = format!("{} dials {}", sender(step), destination(&step.trace.packet));
            out.push('\n');
            paragraph(&mut out, form, Label::Heading, &format!("Step {}: {dials}", number + 1));
        }
        out.push_str(&text(teller, story, form));
    }
    if followed.steps.len() > 1 || followed.stop != Stop::Arrived {
        let label = match (&followed.stop, followed.steps.last().map(|step| step.trace.verdict())) {
            (Stop::Arrived, Some(Verdict::Delivered | Verdict::Sent)) => Label::Exempt,
            (Stop::Arrived, Some(Verdict::Undecided)) | (Stop::Unclear(_), _) => Label::Warning,
            _ => Label::Dropped,
        };
        out.push('\n');
        paragraph(&mut out, form, label, &conclusion(teller, followed));
    }
    out
}

/// How it ends, in one sentence.
#[must_use]
pub fn conclusion(teller: &Teller<'_>, followed: &Followed<'_>) -> String {
    let Some(last) = followed.steps.last() else { return String::new() };
    let many = followed.steps.len();
    match &followed.stop {
        Stop::Arrived if many == 1 => answer(teller, Story { question: &last.question, trace: &last.trace }),
        Stop::Arrived => {
            let through: Vec<String> = followed.steps.iter().skip(1).map(sender).collect();
            let end = match last.trace.outcomes.as_slice() {
                [only] => brief(teller, only),
                _ => "where it ends hangs on what is not known".to_owned(),
            };
            format!("In {many} steps, through {}: {end}.", through.join(" and "))
        }
        Stop::Loop { from } => {
            let again = followed.steps.get(*from).unwrap_or(last);
            // Whoever takes the last one opens the first of the cycle anew.
            let who = if again.sender.is_some() { sender(again) } else { sender(last) };
            let by = last.trace.outcomes.first().and_then(|outcome: &Outcome<'_>| outcome.rule.as_ref());
            let by = by.map(|rule| format!(" by {}", rule_words(rule))).unwrap_or_default();
            let cycle = many - from;
            let round = if cycle == 1 { String::new() } else { format!(", {cycle} steps a round") };
            format!(
                "Loop: what {who} dials ({}) comes back to it{by}, again and again{round}. Nothing exempts it.",
                destination(&again.trace.packet)
            )
        }
        Stop::Unclear(why) => {
            let end = last.trace.outcomes.first().map(|outcome| brief(teller, outcome)).unwrap_or_default();
            format!("Undecided after {many} {}: {end}; what comes next cannot be told: {}.", steps(many), escape(why))
        }
        Stop::TooLong => format!("No end after {many} steps: it goes from proxy to proxy."),
    }
}

fn steps(many: usize) -> &'static str {
    if many == 1 { "step" } else { "steps" }
}

/// `envoy/4720 (istio-proxy, UID 1337)`
fn sender(step: &Step<'_>) -> String {
    let Some(process) = step.sender else { return "the proxy".to_owned() };
    let mut about: Vec<String> =
        process.container.as_deref().map(|name| escape(name).into_owned()).into_iter().collect();
    about.push(format!("UID {}", process.uid));
    format!("{}/{} ({})", escape(&process.name), process.pid, about.join(", "))
}
