//! A workload becomes a snapshot: which readers run, in which namespace, and what failed.

pub mod connections;
pub mod owners;
pub mod rules;
