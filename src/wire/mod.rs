//! Framing of what the kernel sends: bytes in, values or an error out. Pure and fuzzed: no descriptors, no files.

pub mod attribute;
pub mod nf_tables;
pub mod xt;
