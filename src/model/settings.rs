//! What decides in a namespace beside its rules: settings, figures, and what the kernel can do.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Settings and figures of a network namespace, and what its kernel has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Settings by their names in sysctl(8), such as `net.ipv4.ip_local_port_range`. Those of routing stand in the routing.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sysctls: BTreeMap<String, String>,
    /// Figures of `/proc/net/snmp`, `snmp6` and `netstat`, such as `TcpExt.ListenOverflows`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub counters: BTreeMap<String, u64>,
    /// What the kernel has of filters.
    #[serde(default)]
    pub kernel: KernelSupport,
}

/// What the kernel has of filters, as far as it tells without being made to load anything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelSupport {
    /// Legacy tables that stand in the namespace, by `ip` and `ip6`; a family is missing where it has no list of them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub legacy_tables: BTreeMap<String, Vec<String>>,
    /// Matches of xtables that the kernel has at this moment, likewise.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub legacy_matches: BTreeMap<String, Vec<String>>,
    /// Targets of xtables that the kernel has at this moment, likewise.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub legacy_targets: BTreeMap<String, Vec<String>>,
    /// Modules of filters that are loaded; `None` for a kernel without modules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modules: Option<Vec<String>>,
    /// The kernel does IPv6.
    #[serde(default)]
    pub ipv6: bool,
}

/// The process that holds the lock which programs take that write rules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockHolder {
    /// As the node counts.
    pub pid: u32,
    /// Its command name (hostile); `None` where it is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}
