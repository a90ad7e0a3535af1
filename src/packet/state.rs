//! States of tracking as rules ask for them: one bit each (`XT_CONNTRACK_STATE_*`, `include/uapi/linux/netfilter/xt_conntrack.h`).

/// Not to be told.
pub const INVALID: u32 = 1;
/// Of a connection that has seen an answer, or an answer.
pub const ESTABLISHED: u32 = 1 << 1;
/// Begins a connection that another one announced, or speaks of another one.
pub const RELATED: u32 = 1 << 2;
/// Begins a connection.
pub const NEW: u32 = 1 << 3;
/// Its connection's source is translated.
pub const SOURCE_CHANGED: u32 = 1 << 6;
/// Its connection's destination is translated.
pub const DESTINATION_CHANGED: u32 = 1 << 7;
/// Kept from tracking.
pub const UNTRACKED: u32 = 1 << 8;
