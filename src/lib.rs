//! nslens shows and proves what happens to a pod's traffic inside its network namespace.
//!
//! Everything is one pipeline. Data runs left to right, imports run right to left, nothing runs back:
//!
//! ```text
//! name ──target──▶ Workload ──capture──▶ Snapshot ──analysis──▶ answer ──report──▶ text, JSON
//! ```
//!
//! The map of the house, room by room, is in `docs/design/house.md`; `tests/cli/house.rs` holds the imports to it.

pub mod analysis;
pub mod archive;
pub mod capture;
pub mod cli;
pub mod demo;
pub mod model;
pub mod nft;
pub mod packet;
pub mod report;
pub mod syntax;
pub mod sys;
pub mod target;
pub mod wire;
pub mod xt;

// What the tests of `tests/` share is tried here with decoders switched off.
#[cfg(test)]
extern crate self as nslens;
#[cfg(test)]
#[expect(dead_code, reason = "the tests of other places use the rest")]
#[path = "../tests/support/parsers.rs"]
mod parsers;
