//! The tables of iptables and their base chains, which exist whether text names them or not.

use crate::model::{Chain, Hook, Policy};

use Hook::{Forward, Input, Output, Postrouting, Prerouting};

/// Base chains of a table, in the order in which packets are said to meet them; empty for an unknown table.
pub(super) fn hooks(table: &str) -> &'static [Hook] {
    match table {
        "filter" | "security" => &[Input, Forward, Output],
        "nat" => &[Prerouting, Input, Output, Postrouting],
        "mangle" => &[Prerouting, Input, Forward, Output, Postrouting],
        "raw" => &[Prerouting, Output],
        _ => &[],
    }
}

/// Order in which iptables-nft-save 1.8 prints tables.
pub(super) const NFT_ORDER: [&str; 5] = ["mangle", "security", "raw", "filter", "nat"];

/// A base chain as it is before anything is written to it.
pub(super) fn chain(table: &str, hook: Hook) -> Chain {
    Chain { policy: Some(Policy::Accept), ..Chain::base(table, hook) }
}
