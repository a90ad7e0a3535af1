//! The ways that a packet may take where something is not known, and what each of them hangs on.

use super::journey::{Routed, Way};
use super::path::{Path, Place};
use super::traveller::Traveller;
use super::walk::TOO_MUCH;
use super::{End, Taken};
use crate::analysis::routes::Kind;
use crate::model::RuleRef;
use crate::packet::{Known, Packet};

/// Ends that are told apart before the answer is given up.
const MOST: usize = 64;

/// Something that cannot be known and makes a difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doubt {
    /// The rule that asks about it, where a rule does.
    pub rule: Option<RuleRef>,
    /// What cannot be known.
    pub why: String,
}

/// One way that a packet may take, and where that leads.
#[derive(Debug, Clone)]
pub struct Gone {
    /// What becomes of it.
    pub end: End<Place>,
    /// The packet as it then is.
    pub packet: Packet,
    /// It is for this namespace; else it leaves.
    pub comes_in: bool,
    /// A transparent socket is to take it.
    pub taken: Option<Taken>,
    /// What it met.
    pub met: Path,
    /// How it was routed.
    pub routed: Vec<Routed>,
    /// Its route led nowhere.
    pub lost: Option<Kind>,
    /// No chain had a word to say before it was lost: it was never sent.
    pub unsent: bool,
    /// What it hangs on: places in [`Every::doubts`], and whether that holds.
    pub hangs_on: Vec<(usize, bool)>,
}

/// All ways that a packet may take.
#[derive(Debug, Clone)]
pub struct Every {
    /// One, unless something is not known.
    pub ways: Vec<Gone>,
    /// What is not known and makes a difference.
    pub doubts: Vec<Doubt>,
    /// Chains stand at the same priority, in an order that nobody knows (K5), and it makes no difference: of rules that were met those
    /// of one order are told.
    pub same_in_any_order: bool,
}

/// One end that the packet may have.
#[derive(Clone)]
pub(super) struct Leaf {
    pub(super) end: End<Place>,
    /// The packet, and what was decided about it on this way.
    pub(super) traveller: Traveller,
    /// What it hangs on, the last fork first; true where that holds.
    pub(super) hangs_on: Vec<(usize, bool)>,
}

/// All of them: one, unless something is not known.
pub(super) struct Ways {
    leaves: Vec<Leaf>,
    doubts: Vec<Doubt>,
}

impl Ways {
    pub(super) fn one(end: End<Place>, traveller: Traveller) -> Self {
        Self { leaves: vec![Leaf { end, traveller, hangs_on: Vec::new() }], doubts: Vec::new() }
    }

    /// The ends of two ways between which something decides that is not known: `self` where it holds.
    pub(super) fn or(mut self, mut other: Self, doubt: impl FnOnce() -> Doubt) -> Self {
        let shift = self.doubts.len();
        self.doubts.append(&mut other.doubts);
        other.leaves.iter_mut().flat_map(|leaf| &mut leaf.hangs_on).for_each(|(doubt, _)| *doubt += shift);
        let new = self.doubts.len();
        let mut shared = vec![false; self.leaves.len()];
        let mut apart = Vec::new();
        for leaf in other.leaves {
            match self.leaves.iter_mut().zip(&mut shared).find(|(known, _)| known.alike(&leaf)) {
                Some((known, shared)) => {
                    known.join(&leaf);
                    *shared = true;
                }
                None => apart.push(leaf),
            }
        }
        if apart.is_empty() && shared.iter().all(|shared| *shared) {
            return self;
        }
        self.doubts.push(doubt());
        let alone = self.leaves.iter_mut().zip(&shared).filter(|(_, shared)| !**shared);
        alone.for_each(|(leaf, _)| leaf.hangs_on.push((new, true)));
        apart.iter_mut().for_each(|leaf| leaf.hangs_on.push((new, false)));
        self.leaves.append(&mut apart);
        if let Some(last) = self.leaves.get_mut(MOST) {
            last.end = End::Undecided { because: TOO_MUCH.to_owned() };
            self.leaves.truncate(MOST + 1);
        }
        self
    }

    pub(super) fn every(self) -> Every {
        let gone = |mut leaf: Leaf| Gone {
            end: leaf.end,
            comes_in: leaf.traveller.comes_in() == Known::Is(true),
            packet: leaf.traveller.packet,
            taken: leaf.traveller.taken,
            met: leaf.traveller.path,
            unsent: leaf.traveller.lost.is_some() && leaf.traveller.routed.len() == 1 && leaf.traveller.way == Way::Own,
            routed: leaf.traveller.routed,
            lost: leaf.traveller.lost,
            hangs_on: leaf.hangs_on,
        };
        Every { ways: self.leaves.into_iter().map(gone).collect(), doubts: self.doubts, same_in_any_order: false }
    }

    /// The one end, where only one was asked for.
    pub(super) fn one_end(mut self) -> (End<Place>, Traveller) {
        let Leaf { end, traveller, .. } = self.leaves.swap_remove(0);
        (end, traveller)
    }
}

impl Leaf {
    /// Whether both are the same for the packet, whichever rule decided it.
    fn alike(&self, other: &Self) -> bool {
        let ends = match (&self.end, &other.end) {
            (End::Undecided { because }, End::Undecided { because: other }) => because == other,
            (End::Dropped { .. }, End::Dropped { .. }) => {
                let told = |one: &Self| (one.traveller.lost, one.traveller.rejected);
                return told(self) == told(other);
            }
            (one, other) => one.same(other),
        };
        let (one, other) = (&self.traveller.packet, &other.traveller.packet);
        let kept = (one.source, one.source_port, one.destination, one.destination_port, one.output)
            == (other.source, other.source_port, other.destination, other.destination_port, other.output);
        ends && (kept || !self.traveller.traced)
    }

    /// The same end by another rule is nobody's doing.
    fn join(&mut self, other: &Self) {
        if let (End::Untouched { by }, End::Untouched { by: others }) = (&mut self.end, &other.end)
            && by != others
        {
            *by = None;
        }
    }
}

/// The end that the packet has either way; where there are two, it hangs on what cannot be known.
pub(super) fn alike((one, other): (End<Place>, End<Place>), because: impl FnOnce() -> String) -> End<Place> {
    match (&one, &other) {
        (End::Undecided { .. }, _) => one,
        (_, End::Undecided { .. }) => other,
        _ if one == other => one,
        // The same end by another rule is nobody's doing.
        (End::Untouched { .. }, End::Untouched { .. }) => End::Untouched { by: None },
        _ if one.same(&other) => one,
        _ => End::Undecided { because: because() },
    }
}
