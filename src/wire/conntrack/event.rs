//! What connection tracking tells by itself: the groups, and which kind of event a message is.
//!
//! An event holds what an answer to a request does, but for what did not change. Source: `include/uapi/linux/netfilter/nfnetlink.h`
//! (`NFNLGRP_*`) and `ctnetlink_conntrack_event` (net/netfilter/nf_conntrack_netlink.c).

use super::NEW;
use crate::model::Happening;

/// `NFNLGRP_CONNTRACK_NEW`, `_UPDATE`, `_DESTROY`.
pub const GROUPS: [u32; 3] = [1, 2, 3];

/// `NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE`.
const DELETE: u16 = 0x0102;
/// `NLM_F_CREATE`.
const CREATE: u16 = 0x400;

/// What a message of [`GROUPS`] tells, by its type and flags; `None` for another message.
#[must_use]
pub fn happening(kind: u16, flags: u16) -> Option<Happening> {
    match kind {
        NEW if flags & CREATE != 0 => Some(Happening::New),
        NEW => Some(Happening::Updated),
        DELETE => Some(Happening::Dropped),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_told_apart_by_type_and_flags() {
        assert_eq!(happening(0x0100, 0x600), Some(Happening::New));
        assert_eq!(happening(0x0100, 0), Some(Happening::Updated));
        assert_eq!(happening(0x0102, 0), Some(Happening::Dropped));
        // An expectation, and what is no event at all.
        assert_eq!(happening(0x0200, 0x600), None);
        assert_eq!(happening(3, 0), None);
    }
}
