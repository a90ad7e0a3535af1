//! analysis

pub mod join;
