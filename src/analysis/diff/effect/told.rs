//! What becomes of packets, as both sides can say it: without the rule that decides, and without numbers that mean one workload only.

use std::net::IpAddr;

use super::pairs::Pairs;
use crate::analysis::coverage::{Becomes, Outcome, is_about_takers};
use crate::analysis::trace::Verdict;
use crate::model::Snapshot;
use crate::packet::DeviceName;

/// What becomes of packets, as the first of the two counts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Told {
    verdict: Verdict,
    destination: Becomes<IpAddr>,
    port: Becomes<u16>,
    source: Becomes<IpAddr>,
    source_port: Becomes<u16>,
    interface: Option<DeviceName>,
    taken: bool,
    /// User of the socket that gets them.
    receiver: Option<u32>,
    why: Option<String>,
}

impl Told {
    /// Without what two families cannot have in common: a translated source is one in both.
    pub(super) fn across_families(self) -> Self {
        let source = if self.source == Becomes::Stays { Becomes::Stays } else { Becomes::Open };
        Self { source, ..self }
    }

    /// What becomes of them is not told: not even as far as one of the outcomes that there may be.
    pub(super) fn is_open(&self) -> bool {
        self.verdict == Verdict::Undecided && !self.why.as_deref().is_some_and(is_about_takers)
    }

    /// As the first counts; `second` says that it is the second's.
    pub(super) fn of(outcome: &Outcome<'_>, snapshot: &Snapshot, pairs: &Pairs, second: bool) -> Self {
        let across = |end: Becomes<IpAddr>| match end {
            Becomes::Is(address) if second => Becomes::Is(pairs.across(address)),
            other => other,
        };
        let untouched = outcome.destination == Becomes::Stays && outcome.port == Becomes::Stays && !outcome.taken;
        let receiver = outcome.receivers.first().map(|socket| {
            let inside = |ids: &crate::model::IdMaps| ids.inside_uid(socket.uid).unwrap_or(socket.uid);
            snapshot.ids.as_ref().map_or(socket.uid, inside)
        });
        // Which ports a program waits at is its own choice; where a rule sends packets, somebody has to wait.
        let (verdict, receiver) = match outcome.verdict {
            Verdict::Delivered | Verdict::Refused if untouched => (Verdict::Delivered, None),
            Verdict::Undecided if untouched && outcome.left_alone => (Verdict::Delivered, None),
            other => (other, receiver),
        };
        // Where a packet ends on its way, what had become of its ends is of no matter.
        if matches!(verdict, Verdict::Dropped | Verdict::Rejected) {
            return Self {
                verdict,
                destination: Becomes::Stays,
                port: Becomes::Stays,
                source: Becomes::Stays,
                source_port: Becomes::Stays,
                interface: None,
                taken: false,
                receiver: None,
                why: None,
            };
        }
        Self {
            verdict,
            destination: across(outcome.destination),
            port: outcome.port,
            source: across(outcome.source),
            source_port: outcome.source_port,
            interface: outcome.interface.map(|device| if second { pairs.first(device) } else { device }),
            taken: outcome.taken,
            receiver,
            why: outcome.why.as_deref().filter(|_| verdict == Verdict::Undecided).map(without_backend),
        }
    }
}

/// Which backend holds a rule that a reason names makes no difference.
pub(super) fn without_backend(why: &str) -> String {
    why.replace("rule legacy ", "rule ").replace("rule nft ", "rule ")
}
