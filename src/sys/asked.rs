//! What this process asked of the kernel's network subsystems, for tests that prove that one of them was not asked at all.
//!
//! To ask is to make the kernel load what answers, and afterwards nobody can tell who did it. So the questions are noted where
//! they leave, once somebody wants to know.

use std::sync::{Mutex, PoisonError};

/// One step towards a kernel subsystem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// A netlink socket of this protocol was opened, which alone may load a module.
    Open {
        /// `NETLINK_*`.
        protocol: i32,
    },
    /// A netlink group was joined, which alone may load a module too.
    Join {
        /// `NETLINK_*`.
        protocol: i32,
        /// The group's number.
        group: u32,
    },
    /// A netlink message was sent.
    Message {
        /// `NETLINK_*`.
        protocol: i32,
        /// `nlmsg_type`; of netfilter's, the subsystem in the upper byte.
        kind: u16,
        /// What follows the header.
        payload: Vec<u8>,
    },
    /// The name of an ipset was asked for.
    SetName {
        /// The set's index.
        index: u16,
    },
    /// A legacy table was asked for by name.
    Table {
        /// Of `ip6_tables`, else of `ip_tables`.
        ipv6: bool,
        /// The table.
        name: String,
    },
}

static NOTED: Mutex<Option<Vec<Question>>> = Mutex::new(None);

/// Gives all questions of this process since the last call, and goes on noting them. The first call begins it.
pub fn since_last() -> Vec<Question> {
    NOTED.lock().unwrap_or_else(PoisonError::into_inner).replace(Vec::new()).unwrap_or_default()
}

pub(super) fn note(question: impl FnOnce() -> Question) {
    if let Some(noted) = NOTED.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
        noted.push(question());
    }
}
