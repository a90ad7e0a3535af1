//! The table of tracked connections itself: how full it is, what went wrong in it, and what it expects.

use serde::{Deserialize, Serialize};

use super::{Tuple, UnknownPart};

/// What is known of a namespace's table beside its entries.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrackingState {
    /// How full it is; `None` where nothing tracks, or it could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<TableUse>,
    /// How full the node's own is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_table: Option<TableUse>,
    /// What each processor counted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub statistics: Vec<CpuStatistics>,
    /// What helpers expect.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expectations: Vec<Expectation>,
}

/// How full a namespace's table is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableUse {
    /// Entries.
    pub count: u64,
    /// Entries that it may have; 0 for any number (K17: inside a pod that is the node's).
    pub limit: u64,
}

/// What one processor counted in a namespace since that was made (`struct ip_conntrack_stat`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuStatistics {
    /// The processor.
    pub cpu: u16,
    /// Name and value of each counter, in the kernel's order.
    pub counters: Vec<(String, u32)>,
}

/// A connection that a helper expects because another one announced it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expectation {
    /// The kernel's id of the entry.
    pub id: u32,
    /// The connection that announced it.
    pub master: Tuple,
    /// What is expected.
    pub expected: Tuple,
    /// Which bits of that count.
    pub mask: Tuple,
    /// Seconds for which it is.
    pub timeout: Option<u32>,
    /// The helper.
    pub helper: Option<String>,
    /// Zone, 0 by default.
    pub zone: u16,
    /// `NF_CT_EXPECT_*`: permanent (1), inactive (2), made by a program (4).
    pub flags: u32,
    /// The helper's class of expectations.
    pub class: u32,
    /// How it will be translated: direction (0 of the side that dials) and tuple.
    pub translated: Option<(u32, Tuple)>,
    /// The kernel's function that will be called.
    pub function: Option<String>,
    /// Attributes that are not understood.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<UnknownPart>,
}
