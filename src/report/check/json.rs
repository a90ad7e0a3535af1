//! `nslens.check/v1`.

use serde_json::{Map, Value, json};

use super::{Broken, Judged, Outcome};
use crate::analysis::check::{Finding, Measure};
use crate::analysis::expectation::{Kept, State};
use crate::analysis::mesh::Expected;
use crate::report::document::{head, target};

/// The document about one workload.
#[must_use]
pub fn document(judged: &Judged, measure: &Measure) -> Map<String, Value> {
    let Judged { who, answer, .. } = judged;
    let mut document = head("nslens.check/v1", who);
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
    document.insert("verdict".to_owned(), json!(judged.verdict(measure).word()));
    document.insert("expected".to_owned(), expected(&answer.expected));
    document.insert("findings".to_owned(), answer.findings.iter().map(finding).collect());
    document.insert("undecided".to_owned(), undecided.collect());
    document.insert("expectations".to_owned(), judged.kept.iter().map(kept).collect());
    document
}

/// `nslens.sweep/v1`: the documents about many workloads. `node` is that of all of them; `unread` is what is not among them.
#[must_use]
pub fn sweep(node: Option<&str>, outcomes: &[Outcome], unread: Vec<Value>, measure: &Measure) -> Map<String, Value> {
    let judged = || outcomes.iter().filter_map(|outcome| outcome.as_ref().ok());
    let whose = |which: fn(&Judged) -> bool| judged().filter(|one| which(one)).map(|one| target(&one.who)).collect();
    let mut document = Map::new();
    document.insert("schema".to_owned(), json!("nslens.sweep/v1"));
    document.insert("node".to_owned(), json!(node));
    document.insert("unread".to_owned(), Value::Array(unread));
    document.insert("documents".to_owned(), judged().map(|one| Value::Object(self::document(one, measure))).collect());
    let failed = outcomes.iter().filter_map(|outcome| outcome.as_ref().err());
    document.insert("failed".to_owned(), failed.map(broken).collect());
    document.insert("meshed_without_rules".to_owned(), whose(Judged::only_claims));
    document.insert("rules_without_mesh".to_owned(), whose(Judged::claims_nothing));
    document
}

/// An element of `failed`, and its line among documents.
#[must_use]
pub fn broken(broken: &Broken) -> Value {
    json!({"target": target(&broken.who), "error": broken.error})
}

fn kept(kept: &Kept) -> Value {
    let (met, why) = match &kept.state {
        State::Met => (Some(true), None),
        State::Unmet(why) => (Some(false), Some(why)),
        State::Open(why) => (None, Some(why)),
    };
    json!({"what": kept.what, "met": met, "why": why})
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
