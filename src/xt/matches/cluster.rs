//! `-m cluster`: whose of several machines a connection is (`struct xt_cluster_match_info`).

use std::fmt::Write;

use super::{Condition, Extension, Given, Matching, Words};
use crate::xt::bytes::Layout;

/// This machine's part of the connections, by a hash of the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cluster {
    /// `!`
    pub negated: bool,
    /// How many machines there are, up to 32.
    pub nodes: u32,
    /// Which of them this one is: one bit each.
    pub local: u32,
    /// Seed of the hash.
    pub seed: u32,
}

const NODES: u32 = 32;

impl Extension for Cluster {
    const NAMES: &'static [&'static str] = &["cluster"];
    const OPTIONS: &'static [(&'static str, usize)] = &[
        ("--cluster-total-nodes", 1),
        ("--cluster-local-node", 1),
        ("--cluster-local-nodemask", 1),
        ("--cluster-hash-seed", 1),
    ];

    fn decode(revision: u8, data: &[u8], _ipv6: bool) -> Option<Self> {
        let layout = Layout::of(data, 16)?;
        let (nodes, local, seed, flags) = (layout.u32(0)?, layout.u32(4)?, layout.u32(8)?, layout.u32(12)?);
        let known = (1..=NODES).contains(&nodes) && flags <= 1;
        (revision == 0 && known).then_some(Self { negated: flags == 1, nodes, local, seed })
    }

    fn parse(_name: &str, options: &[Given], _ipv6: bool) -> Option<Self> {
        let given = |name: &str| options.iter().find(|given| given.name == name);
        let nodes = given("--cluster-total-nodes")?.number().filter(|nodes| (1..=NODES).contains(nodes))?;
        let seed = given("--cluster-hash-seed")?.number()?;
        let (negated, local) = match (given("--cluster-local-node"), given("--cluster-local-nodemask")) {
            (Some(node), None) => (node.negated, 1_u32.checked_shl(node.number()?.checked_sub(1)?)?),
            (None, Some(mask)) => (mask.negated, mask.number()?),
            _ => return None,
        };
        Some(Self { negated, nodes, local, seed })
    }

    fn save(&self, out: &mut String) {
        let Self { negated, nodes, local, seed } = *self;
        out.push_str(if negated { " !" } else { "" });
        // Writing to a String cannot fail.
        write!(out, " --cluster-local-nodemask {local:#010x} --cluster-total-nodes {nodes}").ok();
        write!(out, " --cluster-hash-seed {seed:#010x}").ok();
    }
}

impl Matching for Cluster {
    fn condition(&self) -> Condition {
        Condition::Opaque("which node of the cluster answers".into())
    }

    fn explain(&self, words: &mut Words) {
        let Self { negated, nodes, local, seed } = *self;
        let these: Vec<String> =
            (0..NODES).filter(|bit| local & (1 << bit) != 0).map(|bit| (bit + 1).to_string()).collect();
        let these = if these.is_empty() { "none".to_owned() } else { these.join(", ") };
        let not = if negated { "not " } else { "" };
        words.also(format!("{not}for this node ({these} of {nodes}, seed {seed:#x})"));
    }
}
