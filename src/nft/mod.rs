//! nf_tables rules: expressions as the kernel holds them, and their reading as an iptables rule where they are one.
//!
//! iptables-nft writes a rule partly as native expressions (addresses, devices, ports, marks), partly as xtables payloads; both
//! shapes normalise to one [`xt::Rule`](crate::xt::Rule) here. Expressions that are not understood stay as name and bytes.

mod compat;
mod expression;
mod rule;

pub use compat::to_xt;
pub use expression::{Comparison, Expression, Verdict};
pub use rule::Rule;
