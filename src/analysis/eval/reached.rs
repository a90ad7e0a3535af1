//! A rule that a packet has reached, by its place.

use super::Prepared;
use super::traveller::Traveller;
use super::walk::Base;
use crate::model::{Body, RuleRef};

/// A rule that a packet has reached.
#[derive(Clone, Copy)]
pub(super) struct Reached<'r> {
    pub(super) base: Base<'r>,
    pub(super) chain: usize,
    pub(super) at: usize,
}

impl<'r> Reached<'r> {
    /// The chain of this name, to which the rule leads.
    pub(super) fn leads_to(self, name: &str) -> Option<usize> {
        let table = self.base.table;
        let (_, line) = table.line(self.chain)?;
        line.jump(self.at).or_else(|| table.by_name.get(name).copied())
    }

    /// It is written in nf_tables' own expressions.
    pub(super) fn is_native(self) -> bool {
        let chain = self.base.table.table.chains.get(self.chain);
        chain.and_then(|chain| chain.rules.get(self.at)).is_some_and(|rule| matches!(rule.body, Body::Nft(_)))
    }

    /// Takes the packet out of its chain: worth a note only where staying could have redirected it.
    pub(super) fn leaves(self, traveller: &mut Traveller) {
        if self.base.table.redirects(self.base.index) {
            traveller.left_by = Some(self.place());
        }
    }

    pub(super) fn name(self) -> RuleRef {
        let Prepared { ruleset, table, .. } = self.base.table;
        self.base.table.name_of(self.chain, self.at).unwrap_or_else(|| RuleRef {
            backend: ruleset.backend,
            family: ruleset.family,
            table: table.name.clone(),
            chain: String::new(),
            number: self.at + 1,
        })
    }
}
