//! Pure functions over a snapshot: which chains redirect, what a rule means, what becomes of a packet, which way a connection took,
//! what differs, and whether the node's own programs see the same.

pub mod agreement;
mod ask;
pub mod check;
pub mod coverage;
pub mod describe;
pub mod diagram;
pub mod diff;
pub mod eval;
pub mod expectation;
pub mod findings;
pub mod following;
pub mod ipsets;
pub mod join;
pub mod leftover;
pub mod mesh;
pub mod native;
pub mod observations;
pub mod overview;
pub mod paths;
pub mod routes;
pub mod rulebook;
pub mod summary;
pub mod trace;
pub mod tracked;
