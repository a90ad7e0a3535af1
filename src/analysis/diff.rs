//! What differs between two snapshots: their rules, what these do to traffic, their connections.

mod conns;
mod effect;
mod hunks;
mod names;
mod normal;
mod pairing;
mod places;
mod rules;

use serde::Serialize;

pub use conns::{ConnectionChange, connections};
pub use effect::{Difference, Effects, effects, on_common_ground, parity};
pub use hunks::{Hunk, Kept, Line, hunks};
pub use pairing::{Paired, paired};
pub use rules::{RuleChange, RuleChanges, rules};

/// How something differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// Only the second has it.
    Added,
    /// Only the first has it.
    Removed,
    /// At the same place the first has one, the second another.
    Changed,
    /// Both have it, at different places.
    Moved,
    /// Both have it, under different names.
    Renamed,
}
