//! Pure functions over a snapshot: which chains redirect, what a rule means, what becomes of a packet, what differs.

pub mod describe;
pub mod diff;
pub mod eval;
pub mod paths;
pub mod summary;
