//! capture

pub mod connections;
pub mod owners;
