//! The document for programs: classes, each the product of what it holds in each field.

use serde_json::{Map, Value, json};

use super::words::{address, new_destination};
use crate::analysis::coverage::{Area, Becomes, Class, Coverage, Outcome};
use crate::analysis::diagram::Values;
use crate::analysis::trace::{Verdict, asked};
use crate::model::{Protocol, Snapshot};
use crate::report::document::{self, head};

/// The whole document.
#[must_use]
pub fn document(snapshot: &Snapshot, coverage: &Coverage<'_>) -> Map<String, Value> {
    let mut document = head("nslens.coverage/v1", snapshot);
    let classes = coverage.classes.iter().map(class).collect();
    document.insert("classes".to_owned(), Value::Array(classes));
    let given_up = coverage.given_up.iter().map(|kind| {
        json!({
            "direction": direction(kind.incoming),
            "family": family(kind.ipv6),
            "protocol": protocol(kind.protocol),
            "why": "more parts than can be followed",
        })
    });
    document.insert("undecided".to_owned(), given_up.collect());
    document
}

/// The same, one class a line.
#[must_use]
pub fn lines(coverage: &Coverage<'_>) -> String {
    coverage.classes.iter().map(|one| document::line(&class(one)) + "\n").collect()
}

pub(in crate::report) fn direction(incoming: bool) -> &'static str {
    if incoming { "in" } else { "out" }
}

pub(in crate::report) fn family(ipv6: bool) -> &'static str {
    if ipv6 { "ip6" } else { "ip" }
}

/// `tcp`, a number as text, `other` for all that no class names.
pub(in crate::report) fn protocol(protocol: Option<Protocol>) -> String {
    protocol.map_or_else(|| "other".to_owned(), |protocol| protocol.to_string())
}

fn class(class: &Class<'_>) -> Value {
    let (kind, area) = (&class.kind, &class.area);
    let only = match class.outcomes.as_slice() {
        [only] => Some(only),
        _ => None,
    };
    let verdict = only.map_or(Verdict::Undecided, |only| only.verdict);
    let ports = kind.protocol.is_some_and(asked::has_ports);
    json!({
        "direction": direction(kind.incoming),
        "family": family(kind.ipv6),
        "protocol": protocol(kind.protocol),
        "interface": kind.interface.map(|device| device.as_str().to_owned()),
        "who": who(kind.incoming, area),
        "sources": kind.incoming.then(|| addresses(&area.sources, kind.ipv6)),
        "source_ports": ports.then(|| numbers(&area.source_ports, 0xffff)),
        "destinations": addresses(&area.destinations, kind.ipv6),
        "ports": ports.then(|| numbers(&area.ports, 0xffff)),
        "verdict": verdict.word(),
        "destination": only.and_then(new_destination),
        "rule": only.and_then(|only| only.rule.as_ref()),
        "outcomes": class.outcomes.iter().map(outcome).collect::<Vec<_>>(),
        "uncertain": class.because.iter().map(|doubt| json!({"rule": doubt.rule, "why": doubt.why})).collect::<Vec<_>>(),
    })
}

pub(in crate::report) fn outcome(outcome: &Outcome<'_>) -> Value {
    let source = match outcome.source {
        Becomes::Is(address) => Some(address.to_string()),
        _ => None,
    };
    let receiver = outcome
        .receivers
        .first()
        .map(|socket| json!({"local": socket.local.to_string(), "uid": socket.uid, "inode": socket.inode}));
    json!({
        "verdict": outcome.verdict.word(),
        "destination": new_destination(outcome),
        "source": source,
        "source_changes": outcome.source != Becomes::Stays,
        "interface": outcome.interface.map(|device| device.as_str().to_owned()),
        "transparent": outcome.taken,
        "receiver": receiver,
        "rule": outcome.rule,
        "because": outcome.why,
    })
}

/// Users, groups and marks; `null` for what comes from outside, and for each that does not matter.
pub(in crate::report) fn who(incoming: bool, area: &Area) -> Value {
    let most = u32::MAX.into();
    let told = |values: &[Values]| (!values.is_empty()).then(|| numbers(values, most));
    match incoming {
        true => Value::Null,
        false => json!({"uid": told(&area.uids), "gid": told(&area.gids), "mark": told(&area.marks)}),
    }
}

/// `0-1336`, `1337`, `0x10/0xf0` (those whose bits under the mask are these).
pub(in crate::report) fn numbers(values: &[Values], most: u128) -> Vec<String> {
    let all = [Values::Range { from: 0, to: most }];
    let values = if values.is_empty() { &all } else { values };
    let one = |values: &Values| match values {
        Values::Range { from, to } if from == to => from.to_string(),
        Values::Range { from, to } => format!("{from}-{to}"),
        Values::Masked { value, mask } => format!("{value:#x}/{mask:#x}"),
    };
    values.iter().map(one).collect()
}

pub(in crate::report) fn addresses(values: &[Values], ipv6: bool) -> Vec<String> {
    let all = [Values::Range { from: 0, to: if ipv6 { u128::MAX } else { u32::MAX.into() } }];
    let values = if values.is_empty() { &all } else { values };
    values.iter().map(|values| address(values, ipv6)).collect()
}
