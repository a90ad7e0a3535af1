//! Which capabilities this process has, to explain a refusal.

use rustix::thread::CapabilitySet;

/// The capabilities that reading a pod can need, by name.
const WANTED: [(CapabilitySet, &str); 4] = [
    (CapabilitySet::SYS_ADMIN, "CAP_SYS_ADMIN"),
    (CapabilitySet::NET_ADMIN, "CAP_NET_ADMIN"),
    (CapabilitySet::SYS_PTRACE, "CAP_SYS_PTRACE"),
    (CapabilitySet::DAC_READ_SEARCH, "CAP_DAC_READ_SEARCH"),
];

/// Those of the needed capabilities that the calling thread lacks.
#[must_use]
pub fn missing() -> Vec<&'static str> {
    let effective = rustix::thread::capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.effective);
    WANTED.iter().filter(|(wanted, _)| !effective.contains(*wanted)).map(|(_, name)| *name).collect()
}

/// Whether the effective user is root.
#[must_use]
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The effective user's number.
#[must_use]
pub fn user() -> u32 {
    rustix::process::geteuid().as_raw()
}
