//! What a program of the node itself printed.

use super::{Backend, Family};

/// A table as one of iptables' save programs printed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Printed {
    /// Subsystem.
    pub backend: Backend,
    /// Family.
    pub family: Family,
    /// Table.
    pub table: String,
    /// The program; `None` where there is none for this subsystem and family.
    pub program: Option<&'static str>,
    /// What it says of its version: `v1.8.9 (nf_tables)`.
    pub version: Option<String>,
    /// What it printed, or why it printed nothing.
    pub text: Result<String, String>,
}
