//! The runtimes' endpoints: which were tried, what each answered, how long it took.

use serde_json::{Map, Value, json};

use super::escape::escape;
use super::list::{Look, aligned};
use super::paint::Label;

/// One endpoint that was tried.
#[derive(Debug, Clone, Copy)]
pub struct Answer<'a> {
    /// The socket's path, or what else was asked.
    pub endpoint: &'a str,
    /// `docker`, `containerd` … and how many pods and containers it told of; `None` when it did not answer.
    pub told: Option<(&'a str, usize, usize)>,
    /// What came of it, in a word for programs: `answered`, `absent`, `denied` …
    pub outcome: &'a str,
    /// The same for people.
    pub words: &'a str,
    /// How long it took, in milliseconds.
    pub milliseconds: u64,
    /// The user named it.
    pub explicit: bool,
}

/// One line each, those that are there first.
#[must_use]
pub fn table(answers: &[Answer<'_>], look: Look) -> String {
    let mut answers: Vec<&Answer<'_>> = answers.iter().collect();
    answers.sort_by_key(|answer| answer.outcome == "absent");
    let rows = answers.iter().map(|answer| {
        let told = |pick: fn((&str, usize, usize)) -> String| answer.told.map_or_else(|| "-".to_owned(), pick);
        let words =
            if answer.told.is_some() { told(|(runtime, ..)| runtime.to_owned()) } else { answer.words.to_owned() };
        let time = if answer.outcome == "absent" { "-".to_owned() } else { format!("{} ms", answer.milliseconds) };
        vec![
            escape(answer.endpoint).into_owned(),
            told(|(_, pods, _)| pods.to_string()),
            told(|(_, _, containers)| containers.to_string()),
            time,
            escape(&words).into_owned(),
        ]
    });
    let text = aligned(&["ENDPOINT", "PODS", "CONTAINERS", "TIME", "ANSWER"], rows, &[1, 2, 3], look.headings);
    let lines = text.lines().enumerate().map(|(index, line)| {
        let label = if look.headings && index == 0 { Some(Label::Dim) } else { None };
        let of = answers.get(index.wrapping_sub(usize::from(look.headings)));
        let label = label.or_else(|| {
            Some(match of?.outcome {
                "answered" | "inferred" => return None,
                "absent" => Label::Dim,
                _ => Label::Warning,
            })
        });
        label.map_or_else(|| format!("{line}\n"), |label| format!("{}\n", look.paint.text(label, line)))
    });
    lines.collect()
}

/// `nslens.runtimes/v1`
#[must_use]
pub fn json(node: &str, answers: &[Answer<'_>]) -> Map<String, Value> {
    let mut document = Map::new();
    document.insert("schema".to_owned(), json!("nslens.runtimes/v1"));
    document.insert("node".to_owned(), json!(node));
    document.insert("runtimes".to_owned(), answers.iter().map(element).collect());
    document
}

/// One element of `runtimes[]`.
#[must_use]
pub fn element(answer: &Answer<'_>) -> Value {
    json!({
        "endpoint": answer.endpoint,
        "outcome": answer.outcome,
        "runtime": answer.told.map(|(runtime, ..)| runtime),
        "pods": answer.told.map(|(_, pods, _)| pods),
        "containers": answer.told.map(|(_, _, containers)| containers),
        "error": answer.told.is_none().then_some(answer.words),
        "milliseconds": answer.milliseconds,
        "explicit": answer.explicit,
    })
}
