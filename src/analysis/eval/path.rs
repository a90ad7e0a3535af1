//! What a packet met on its way, for those who want to see it.

use std::rc::Rc;

use super::walk::{Base, Reached};
use crate::model::Hook;
use crate::packet::Packet;

/// A rule, or a base chain's policy, by its place among the prepared tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub(super) table: usize,
    pub(super) chain: usize,
    /// `None`: the chain's policy.
    pub(super) rule: Option<usize>,
}

/// What a packet met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Met {
    /// At which hook.
    pub hook: Hook,
    /// What.
    pub place: Place,
    /// Whether it matched, or is taken to.
    pub matched: bool,
    /// Whether it matches cannot be known, and this way supposes it.
    pub supposed: bool,
    /// The packet as it was then.
    pub before: Packet,
    /// The packet behind it.
    pub after: Packet,
}

/// A list from its end, which the ways that part share.
struct Link {
    met: Met,
    previous: Path,
    /// How many they are with this one.
    count: usize,
}

/// What was met so far. Two ways are no different for what they met.
#[derive(Clone, Default)]
pub(super) struct Path(Option<Rc<Link>>);

impl PartialEq for Path {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Path {
    pub(super) fn push(&mut self, met: Met) {
        let previous = std::mem::take(self);
        let count = previous.len() + 1;
        self.0 = Some(Rc::new(Link { met, previous, count }));
    }

    /// How many.
    pub(super) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |link| link.count)
    }

    /// From the first to the last.
    pub(super) fn all(&self) -> Vec<Met> {
        let mut link = self.0.as_deref();
        let mut all = Vec::new();
        while let Some(Link { met, previous, .. }) = link {
            all.push(met.clone());
            link = previous.0.as_deref();
        }
        all.reverse();
        all
    }
}

impl Drop for Link {
    /// One after the other: a list of fifty thousand would else take as many frames of the stack.
    fn drop(&mut self) {
        let mut next = self.previous.0.take();
        while let Some(mut link) = next.and_then(Rc::into_inner) {
            next = link.previous.0.take();
        }
    }
}

impl Reached<'_> {
    pub(super) fn place(self) -> Place {
        Place { table: self.base.table.number, chain: self.chain, rule: Some(self.at) }
    }
}

impl Base<'_> {
    pub(super) fn policy_place(self) -> Place {
        Place { table: self.table.number, chain: self.index, rule: None }
    }
}
