//! What a packet met on its way, for those who want to see it.

use super::reached::Reached;
use super::walk::Base;
use crate::model::Hook;
use crate::packet::Packet;

/// A rule, or a base chain's policy, by its place among the prepared tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Place {
    pub(super) table: u32,
    pub(super) chain: u32,
    /// `None`: the chain's policy.
    pub(super) rule: Option<u32>,
}

/// What a packet met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Met<'p> {
    /// So many others of the path were met before.
    pub at: usize,
    /// At which hook.
    pub hook: Hook,
    /// What.
    pub place: Place,
    /// Whether it matched, or is taken to.
    pub matched: bool,
    /// Whether it matches cannot be known, and this way supposes it.
    pub supposed: bool,
    /// The packet as it was then.
    pub before: &'p Packet,
    /// The packet behind it.
    pub after: &'p Packet,
}

/// All rules that a packet met and that matched, or may have; and the policies at the end of base chains. What did not match stands
/// between them: [`super::Rulebase::whole`].
#[derive(Debug, Clone, Default)]
pub struct Path {
    steps: Vec<Step>,
    /// The packet as it became, again and again.
    packets: Vec<Packet>,
}

#[derive(Debug, Clone, Copy)]
struct Step {
    place: Place,
    hook: Hook,
    matched: bool,
    supposed: bool,
    /// Places of the packet before and behind it.
    before: u32,
    after: u32,
    then: Then,
}

/// Where a packet goes on behind a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    /// At the next rule.
    Stays,
    /// In this chain, and then here.
    Jumps(u32),
    /// In this chain, and then at the caller.
    Goes(u32),
    /// At the caller.
    Returns,
    /// In the next base chain, or nowhere.
    Leaves,
}

/// Steps of most ways.
const USUAL: usize = 8;
/// Changes of the packet on most ways.
const CHANGES: usize = 4;

impl PartialEq for Path {
    /// Two ways are no different for what they met.
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Path {
    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Nothing was met.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// From the first to the last.
    pub fn iter(&self) -> Iter<'_> {
        Iter { path: self, at: 0 }
    }

    /// One of them.
    #[must_use]
    pub fn get(&self, at: usize) -> Option<Met<'_>> {
        let Step { place, hook, matched, supposed, before, after, .. } = *self.steps.get(at)?;
        let packet = |at: u32| self.packets.get(at as usize);
        Some(Met { at, hook, place, matched, supposed, before: packet(before)?, after: packet(after)? })
    }

    /// The packet comes to a base chain: it may be another one than it was behind the last.
    pub(super) fn see(&mut self, packet: &Packet) {
        if self.packets.is_empty() {
            self.packets.reserve(CHANGES);
            self.steps.reserve(USUAL);
        }
        if self.packets.last() != Some(packet) {
            self.packets.push(*packet);
        }
    }

    /// It met something that leaves it as it is.
    pub(super) fn met(&mut self, hook: Hook, place: Place, (matched, supposed): (bool, bool)) {
        let now = self.now();
        self.push(Step { place, hook, matched, supposed, before: now, after: now, then: Then::Stays });
    }

    /// A rule that does several things, one after the other, is met once.
    fn push(&mut self, step: Step) {
        match self.steps.last_mut() {
            Some(last) if step.matched && last.matched && (last.place, last.hook) == (step.place, step.hook) => {
                (last.after, last.then) = (step.after, step.then);
            }
            _ => self.steps.push(step),
        }
    }

    /// It met something that may have made this of it.
    pub(super) fn became(&mut self, hook: Hook, place: Place, (matched, supposed): (bool, bool), packet: &Packet) {
        let before = self.now();
        self.see(packet);
        self.push(Step { place, hook, matched, supposed, before, after: self.now(), then: Then::Stays });
    }

    /// Where it goes on behind the last of them.
    pub(super) fn then(&mut self, then: Then) {
        if let Some(last) = self.steps.last_mut() {
            last.then = then;
        }
    }

    /// Where it went on behind each of them.
    pub(super) fn thens(&self) -> impl Iterator<Item = Then> {
        self.steps.iter().map(|step| step.then)
    }

    fn now(&self) -> u32 {
        u32::try_from(self.packets.len().saturating_sub(1)).unwrap_or(u32::MAX)
    }
}

/// What was met, one after the other.
#[derive(Debug, Clone)]
pub struct Iter<'p> {
    path: &'p Path,
    at: usize,
}

impl<'p> Iterator for Iter<'p> {
    type Item = Met<'p>;

    fn next(&mut self) -> Option<Met<'p>> {
        let met = self.path.get(self.at)?;
        self.at += 1;
        Some(met)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.path.len().saturating_sub(self.at);
        (left, Some(left))
    }
}

impl ExactSizeIterator for Iter<'_> {}

impl<'p> IntoIterator for &'p Path {
    type Item = Met<'p>;
    type IntoIter = Iter<'p>;

    fn into_iter(self) -> Iter<'p> {
        self.iter()
    }
}

impl Reached<'_> {
    pub(super) fn place(self) -> Place {
        Place { table: self.base.table.number, chain: small(self.chain), rule: Some(small(self.at)) }
    }
}

impl Base<'_> {
    pub(super) fn policy_place(self) -> Place {
        Place { table: self.table.number, chain: small(self.index), rule: None }
    }
}

/// No rule set has more: the kernel counts them with 32 bits.
pub(super) fn small(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
