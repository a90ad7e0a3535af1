//! JUnit's XML: a suite for each pair of workloads, a test case for each view of them.

use super::many::{Pair, words};
use super::{Difference, Look, text};
use crate::report::paint::Paint;
use crate::report::xml::{attribute, text as content};

/// How a view came out.
enum State {
    Same,
    Differs,
    Open,
}

/// The document.
#[must_use]
pub fn junit(pairs: &[Pair<'_>]) -> String {
    let (mut all, mut suites) = ((0, 0, 0), String::new());
    for pair in pairs {
        let cases = cases(pair);
        let count = |of: fn(&State) -> bool| cases.iter().filter(|(_, state, _)| of(state)).count();
        let (failures, errors) =
            (count(|state| matches!(state, State::Differs)), count(|state| matches!(state, State::Open)));
        let name = attribute(&pair.name());
        let mut inside = String::new();
        for (view, state, lines) in &cases {
            let (open, told) = (format!("    <testcase name=\"{view}\" classname=\"{name}\""), content_of(lines));
            let message = attribute(&words(pair));
            inside.push_str(&match state {
                State::Same => format!("{open}/>\n"),
                State::Differs => {
                    format!("{open}>\n      <failure message=\"{message}\">{told}</failure>\n    </testcase>\n")
                }
                State::Open => {
                    format!("{open}>\n      <error message=\"{message}\">{told}</error>\n    </testcase>\n")
                }
            });
        }
        suites.push_str(&format!(
            "  <testsuite name=\"{name}\" tests=\"{}\" failures=\"{failures}\" errors=\"{errors}\" skipped=\"0\">\n{inside}  </testsuite>\n",
            cases.len()
        ));
        all = (all.0 + cases.len(), all.1 + failures, all.2 + errors);
    }
    let (tests, failures, errors) = all;
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"nslens diff\" tests=\"{tests}\" failures=\"{failures}\" errors=\"{errors}\">\n{suites}</testsuites>\n"
    )
}

fn content_of(lines: &str) -> String {
    lines.lines().map(content).collect::<Vec<_>>().join("\n")
}

/// The views of a pair, each with what differs in it.
fn cases(pair: &Pair<'_>) -> Vec<(&'static str, State, String)> {
    let Pair::Both(difference) = pair else {
        let state = if pair.equal().is_none() { State::Open } else { State::Differs };
        return vec![("workload", state, words(pair))];
    };
    let Difference { before, after, parity, rules, effects, connections } = &**difference;
    let alone = |view: Difference<'_>| {
        text(&view, Look { unread_rules: false, verbose: false, paint: Paint::new(false), width: 120 })
    };
    let none = || Difference { before, after, parity: *parity, rules: None, effects: None, connections: None };
    let mut found = Vec::new();
    if let Some(rules) = rules {
        let state = if rules.changes.is_empty() { State::Same } else { State::Differs };
        found.push(("rules", state, alone(Difference { rules: Some(rules.clone()), ..none() })));
    }
    if let Some(effects) = effects {
        let state = match (effects.differs(), effects.is_open()) {
            (true, _) => State::Differs,
            (_, true) => State::Open,
            _ => State::Same,
        };
        found.push(("effect", state, alone(Difference { effects: Some(effects.clone()), ..none() })));
    }
    if let Some(connections) = connections {
        let state = if connections.is_empty() { State::Same } else { State::Differs };
        found.push(("connections", state, alone(Difference { connections: Some(connections.clone()), ..none() })));
    }
    found
}
