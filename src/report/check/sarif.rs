//! SARIF 2.1.0, which code scanning reads: a rule for each kind of finding, a result for each finding.
//!
//! What cannot be told is a result of kind `open`; what could not be looked at or read is a notification, and the run no success.

use serde_json::{Map, Value, json};

use super::points::{EXPECTED, Point, State, names, points, told};
use super::{Outcome, whose};
use crate::analysis::check::{Finding, Measure, Severity};
use crate::analysis::findings::{ALL, Kind};
use crate::model::{Snapshot, Subject};

/// Where the schema is kept.
const SCHEMA: &str = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

/// The document. `version` is the program's.
#[must_use]
pub fn sarif(outcomes: &[Outcome], measure: &Measure, version: &str) -> Map<String, Value> {
    let names = names(outcomes.iter().map(whose));
    let mut results = Vec::new();
    let mut notifications = Vec::new();
    for (outcome, name) in outcomes.iter().zip(&names) {
        let who = whose(outcome);
        match outcome {
            Ok(judged) => {
                let found = points(judged, measure).into_iter().filter(|point| index(point.id).is_some());
                results.extend(found.filter_map(|point| result(&point, who, name)));
                let unread = who.unread_about(&[Subject::Rules]);
                notifications.extend(unread.map(|unread| {
                    notification(
                        &format!("could not read {}: {}; {}", unread.source, unread.error, unread.means),
                        who,
                        name,
                    )
                }));
            }
            Err(broken) => {
                notifications.push(notification(&format!("could not be looked at: {}", broken.error), who, name));
            }
        }
    }
    let mut rules: Vec<Value> = ALL.iter().map(|kind| rule(kind)).collect();
    rules.push(json!({
        "id": EXPECTED,
        "shortDescription": {"text": "what the file of expectations says is not so"},
        "defaultConfiguration": {"level": "error"},
    }));
    let run = json!({
        "tool": {"driver": {"name": "nslens", "version": version, "semanticVersion": version, "rules": rules}},
        "invocations": [{
            "executionSuccessful": notifications.is_empty(),
            "toolExecutionNotifications": notifications,
        }],
        "columnKind": "unicodeCodePoints",
        "results": results,
    });
    let mut document = Map::new();
    document.insert("$schema".to_owned(), json!(SCHEMA));
    document.insert("version".to_owned(), json!("2.1.0"));
    document.insert("runs".to_owned(), json!([run]));
    document
}

/// The place of a rule.
fn index(id: &str) -> Option<usize> {
    if id == EXPECTED { Some(ALL.len()) } else { ALL.iter().position(|kind| kind.id == id) }
}

fn rule(kind: &Kind) -> Value {
    let page = &kind.page;
    json!({
        "id": kind.id,
        "shortDescription": {"text": kind.title},
        "fullDescription": {"text": page.why},
        "help": {"text": format!("{}\n\n{}", page.evidence, page.remedy)},
        "defaultConfiguration": {"level": level(kind.severity)},
        "properties": {"tags": [kind.group().words()]},
    })
}

/// A result; none where nothing was found.
fn result(point: &Point<'_>, who: &Snapshot, name: &str) -> Option<Value> {
    let Point { id, state, .. } = point;
    let (kind, level, message) = match state {
        State::Passed | State::Idle => return None,
        State::Failed(finding) | State::Noted(finding) | State::Accepted(finding, _) => {
            ("fail", level(finding.severity), told(finding).join("\n"))
        }
        State::Unmet(why) => ("fail", "error", format!("{}: {why}", point.title)),
        State::Open(why, _) if *id == EXPECTED => ("open", "none", format!("{}: cannot tell: {why}", point.title)),
        State::Open(why, _) => ("open", "none", format!("cannot tell: {why}")),
    };
    let mut result = json!({
        "ruleId": id,
        "ruleIndex": index(id),
        "kind": kind,
        "level": level,
        "message": {"text": format!("{name}: {message}")},
        "locations": [location(who, name)],
    });
    let (finding, reason) = match state {
        State::Failed(finding) | State::Noted(finding) => (Some(*finding), None),
        State::Accepted(finding, reason) => (Some(*finding), Some(*reason)),
        _ => (None, None),
    };
    let rule = finding.and_then(|finding: &Finding| finding.rule.as_ref()).map(ToString::to_string);
    let about = if *id == EXPECTED { point.title } else { rule.as_deref().unwrap_or_default() };
    let place = [name, id, about].join(" ");
    result["partialFingerprints"] = json!({"nslens/v1": place.trim_end()});
    if let Some(finding) = finding {
        result["properties"] = json!({"evidence": finding.evidence, "rule": finding.rule, "remedy": finding.remedy});
    }
    match (reason, state) {
        (Some(reason), _) => result["suppressions"] = json!([{"kind": "external", "justification": reason}]),
        (None, State::Open(_, false)) => result["suppressions"] = json!([{"kind": "external"}]),
        _ => {}
    }
    Some(result)
}

fn notification(text: &str, who: &Snapshot, name: &str) -> Value {
    json!({"level": "error", "message": {"text": format!("{name}: {text}")}, "locations": [location(who, name)]})
}

/// Which workload it is. Code scanning wants a file: the snapshot's, or what one types in its place.
fn location(who: &Snapshot, name: &str) -> Value {
    json!({
        "physicalLocation": {"artifactLocation": {"uri": uri(&who.asked)}},
        "logicalLocations": [{"name": who.workload.name, "fullyQualifiedName": name, "kind": "resource"}],
    })
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Info => "note",
    }
}

/// A relative reference (RFC 3986, section 4.2): what is neither unreserved nor a slash is written by its number, a colon too.
fn uri(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    let one = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    let path: String = text.bytes().map(one).collect();
    // What begins with two slashes would name another machine.
    let slashes = path.len() - path.trim_start_matches('/').len();
    if slashes > 1 { path[slashes - 1..].to_owned() } else { path }
}

#[cfg(test)]
mod tests {
    use super::uri;

    #[test]
    fn what_was_asked_for_is_a_reference() {
        assert_eq!(uri("pod/web.default"), "pod/web.default");
        assert_eq!(uri("docker://ab%c d\u{e9}"), "docker%3A//ab%25c%20d%C3%A9");
        assert_eq!(uri("//host/x"), "/host/x");
    }
}
