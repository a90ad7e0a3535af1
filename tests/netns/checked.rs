//! `check` on real namespaces: for each finding a workload that has it, and one alike that has not.

mod capture;
mod environment;
pub(crate) mod stage;
