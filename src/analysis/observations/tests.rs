//! Observations of hand-made snapshots.
