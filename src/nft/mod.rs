//! nf_tables rules: expressions as the kernel holds them. Those of iptables-nft are read as iptables rules in `wire`. Expressions that are not understood stay as name and bytes.

mod expression;
mod rule;

pub use expression::{Comparison, Expression, Verdict};
pub use rule::Rule;
