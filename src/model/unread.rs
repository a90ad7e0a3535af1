//! What could not be read: the third state beside "empty" and "present".

use serde::{Deserialize, Serialize};

/// What an unread source is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Subject {
    /// Rules of some backend and family.
    Rules,
    /// The list of sockets.
    Sockets,
    /// Tracked connections.
    Flows,
    /// Processes, their names and descriptors.
    Processes,
    /// Interfaces and addresses.
    Interfaces,
    /// Routes, policy rules and the settings that decide with them.
    Routes,
    /// What gives the rest its names: what the runtime knows of the workload, its users' names, its resolver.
    Metadata,
}

/// Why it could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cause {
    /// A right is missing.
    Permission,
    /// The kernel lacks the means and loading it would change the node, or this program does not read it yet.
    Unsupported,
    /// It failed, timed out or contradicted itself.
    Failed,
}

/// One source that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unread {
    /// The source by name, such as `legacy ip nat` or `sockets tcp`.
    pub source: String,
    /// What failed, in the words of the kernel or the runtime.
    pub error: String,
    /// What is therefore not known.
    pub means: String,
    /// What it is about.
    pub subject: Subject,
    /// Why.
    pub cause: Cause,
}
