//! What there is to say of the connections beyond their rows.

use serde_json::{Value, json};

use crate::analysis::observations::Observation;
use crate::report::escape::escape;
use crate::report::wrap::wrap;

/// The block below the table; empty where there is nothing to say.
#[must_use]
pub fn seen<'a>(observations: impl IntoIterator<Item = &'a Observation>, width: usize) -> String {
    let mut out = String::new();
    for observation in observations {
        if out.is_empty() {
            out.push_str("\nSeen:\n");
        }
        for (index, line) in wrap(&escape(&observation.words), width.saturating_sub(2)).iter().enumerate() {
            out.push_str(&format!("{}{line}\n", if index == 0 { "- " } else { "  " }));
        }
    }
    out
}

/// The value of the document's key `observations`.
#[must_use]
pub fn observations_json<'a>(observations: impl IntoIterator<Item = &'a Observation>) -> Value {
    let one = |observation: &Observation| {
        json!({
            "id": observation.kind.id(), "words": observation.words,
            "connections": observation.connections, "flows": observation.flows,
        })
    };
    observations.into_iter().map(one).collect()
}
