//! `CLUSTERIP`: several machines share one address, each answers for its part (`struct ipt_clusterip_tgt_info`; Linux before 6.14).

use std::fmt::Write;

use super::{Effect, Extension, Given, Targeting};
use crate::xt::bytes::Layout;
use crate::xt::extension::parse_whole;

/// What tells whose packet it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HashMode {
    /// `sourceip`
    Source,
    /// `sourceip-sourceport`
    SourcePort,
    /// `sourceip-sourceport-destport`
    SourceDestinationPort,
}

/// The cluster that a rule makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewCluster {
    /// `--hashmode`
    pub mode: HashMode,
    /// `--clustermac`
    pub mac: [u8; 6],
    /// `--total-nodes`
    pub nodes: u16,
    /// `--local-node`
    pub local: u16,
    /// `--hash-init`
    pub seed: u32,
}

/// Part of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clusterip {
    /// `--new` and what belongs to it; without, the cluster of another rule.
    pub new: Option<NewCluster>,
}

const MODES: [(HashMode, &str); 3] = [
    (HashMode::Source, "sourceip"),
    (HashMode::SourcePort, "sourceip-sourceport"),
    (HashMode::SourceDestinationPort, "sourceip-sourceport-destport"),
];

impl NewCluster {
    fn mode_word(self) -> &'static str {
        MODES.iter().find(|(mode, _)| *mode == self.mode).map_or("", |(_, word)| word)
    }

    fn mac_text(self) -> String {
        self.mac.map(|byte| format!("{byte:02X}")).join(":")
    }
}

impl Extension for Clusterip {
    const NAMES: &'static [&'static str] = &["CLUSTERIP"];
    const OPTIONS: &'static [(&'static str, usize)] = &[
        ("--new", 0),
        ("--hashmode", 1),
        ("--clustermac", 1),
        ("--total-nodes", 1),
        ("--local-node", 1),
        ("--hash-init", 1),
    ];

    fn decode(revision: u8, data: &[u8], ipv6: bool) -> Option<Self> {
        let layout = Layout::of(data, 64)?;
        if revision != 0 || ipv6 {
            return None;
        }
        match layout.u32(0)? {
            0 => return Some(Self { new: None }),
            // One local node is all that can be written.
            1 if layout.u16(12)? == 1 => {}
            _ => return None,
        }
        let mode = MODES.get(usize::try_from(layout.u32(48)?).ok()?)?.0;
        let mac = data.get(4..)?.first_chunk().copied()?;
        let new = NewCluster { mode, mac, nodes: layout.u16(10)?, local: layout.u16(14)?, seed: layout.u32(52)? };
        Some(Self { new: Some(new) })
    }

    fn parse(_name: &str, options: &[Given], _ipv6: bool) -> Option<Self> {
        if options.is_empty() {
            return Some(Self { new: None });
        }
        let given = |name: &str| options.iter().find(|given| given.name == name);
        given("--new")?;
        let wanted = given("--hashmode")?.value();
        let mode = MODES.iter().find(|(_, word)| *word == wanted)?.0;
        let mut mac = [0; 6];
        let mut bytes = given("--clustermac")?.value().split(':');
        for byte in &mut mac {
            *byte = u8::from_str_radix(bytes.next().filter(|text| text.len() == 2)?, 16).ok()?;
        }
        let number = |name: &str| parse_whole::<u16>(given(name)?.value());
        let seed = given("--hash-init").map_or(Some(0), Given::number)?;
        let new = NewCluster { mode, mac, nodes: number("--total-nodes")?, local: number("--local-node")?, seed };
        bytes.next().is_none().then_some(Self { new: Some(new) })
    }

    fn save(&self, out: &mut String) {
        let Some(new) = self.new else { return };
        let NewCluster { nodes, local, seed, .. } = new;
        let (mode, mac) = (new.mode_word(), new.mac_text());
        // Writing to a String cannot fail.
        write!(out, " --new --hashmode {mode} --clustermac {mac} --total-nodes {nodes} --local-node {local}").ok();
        write!(out, " --hash-init {seed}").ok();
    }
}

impl Targeting for Clusterip {
    fn effect(&self) -> Effect {
        Effect::Opaque("which node of the cluster answers".to_owned())
    }

    fn explain(&self) -> String {
        match self.new {
            None => "dropped unless this node of its cluster answers for it".to_owned(),
            Some(new) => format!(
                "dropped unless this node, {} of {} behind {}, answers for it (by {}, seed {})",
                new.local,
                new.nodes,
                new.mac_text(),
                new.mode_word(),
                new.seed
            ),
        }
    }
}
