//! report

pub mod conns;
pub mod escape;
