//! The runtimes' endpoints: which were tried, what each answered, how long it took.

use serde_json::{Map, Value, json};

use super::escape::escape;
use super::list::{Look, aligned};
use super::paint::Label;
use super::wrap::wrap;

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

/// One line each; at last, in one sentence, where none was.
#[must_use]
pub fn table(answers: &[Answer<'_>], look: Look) -> String {
    let (absent, mut there): (Vec<&Answer<'_>>, Vec<&Answer<'_>>) =
        answers.iter().partition(|answer| answer.outcome == "absent" && !answer.explicit);
    // What stands in for runtimes comes behind them.
    there.sort_by_key(|answer| answer.outcome == "inferred");
    let rows = there.iter().map(|answer| {
        let told = |pick: fn((&str, usize, usize)) -> String| answer.told.map_or_else(|| "-".to_owned(), pick);
        let words =
            if answer.told.is_some() { told(|(runtime, ..)| runtime.to_owned()) } else { answer.words.to_owned() };
        vec![
            escape(answer.endpoint).into_owned(),
            told(|(_, pods, _)| pods.to_string()),
            told(|(_, _, containers)| containers.to_string()),
            format!("{} ms", answer.milliseconds),
            escape(&words).into_owned(),
        ]
    });
    let mut out = String::new();
    if !there.is_empty() {
        let text = aligned(&["ENDPOINT", "PODS", "CONTAINERS", "TIME", "ANSWER"], rows, &[1, 2, 3], look.headings);
        for (index, line) in text.lines().enumerate() {
            let answer = index.checked_sub(usize::from(look.headings)).and_then(|index| there.get(index));
            let line = match answer.map(|answer| answer.outcome) {
                None => look.paint.text(Label::Dim, line),
                Some("answered" | "inferred") => line.to_owned(),
                Some(_) => look.paint.text(Label::Warning, line),
            };
            out.push_str(&format!("{line}\n"));
        }
    }
    if !absent.is_empty() {
        let paths: Vec<_> = absent.iter().map(|answer| escape(answer.endpoint)).collect();
        for line in wrap(&format!("no socket at {}", paths.join(", ")), look.width) {
            out.push_str(&format!("{}\n", look.paint.text(Label::Dim, &line)));
        }
    }
    out
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
