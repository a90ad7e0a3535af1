//! Framing of what the kernel sends: bytes in, values or an error out. Pure and fuzzed: no descriptors, no files.

mod address;
pub mod attribute;
mod compat;
pub mod conntrack;
pub mod ipset;
mod nf_expression;
pub mod nf_object;
pub mod nf_table;
pub mod nf_tables;
pub mod proc_raw;
pub mod routes;
pub mod rtnetlink;
pub mod sock_diag;
pub mod xt;
