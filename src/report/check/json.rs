//! `nslens.check/v1`.

use serde_json::{Map, Value, json};

use crate::analysis::check::{Answer, Finding, Measure};
use crate::analysis::mesh::Expected;
use crate::model::Snapshot;
use crate::report::document::head;

/// The document about one workload.
#[must_use]
pub fn document(snapshot: &Snapshot, answer: &Answer, measure: &Measure) -> Map<String, Value> {
    let mut document = head("nslens.check/v1", snapshot);
    let finding = |finding: &Finding| {
        json!({
            "id": finding.kind.id,
            "severity": finding.severity.word(),
            "title": finding.title,
            "evidence": finding.evidence,
            "rule": finding.rule,
            "remedy": finding.remedy,
            "allowed": measure.accepts(finding),
        })
    };
    let undecided = answer.undecided.iter().map(|open| json!({"id": open.id, "why": open.why}));
    document.insert("verdict".to_owned(), json!(measure.verdict(answer).word()));
    document.insert("expected".to_owned(), expected(&answer.expected));
    document.insert("findings".to_owned(), answer.findings.iter().map(finding).collect());
    document.insert("undecided".to_owned(), undecided.collect());
    document
}

fn expected(expected: &Expected) -> Value {
    json!({
        "mesh": expected.mesh.map(|mesh| mesh.word()),
        "variant": expected.variant.map(|variant| variant.word()),
        "mode": expected.mode.map(|mode| mode.word()),
        "backend": expected.backend.map(|backend| backend.word()),
        "because": expected.because.iter().map(|because| &because.what).collect::<Vec<_>>(),
    })
}
