//! Which ipsets rules name: by index, as the kernel's bytes have it, and by name, once that was asked for.

use std::collections::{BTreeMap, BTreeSet};

use super::{Backend, Body, Rule, Ruleset, Table};
use crate::nft::Expression;
use crate::xt::set_indices;

impl Rule {
    /// The indices of the ipsets that it holds by index.
    #[must_use]
    pub fn ipset_indices(&self) -> Vec<u16> {
        match &self.body {
            Body::Xt(body) => body.set_indices(),
            Body::Nft(native) => {
                let of = |part: &Expression| match part {
                    Expression::Match { name, revision, data } => set_indices(false, name, *revision, data),
                    Expression::Target { name, revision, data } => set_indices(true, name, *revision, data),
                    _ => Vec::new(),
                };
                native.expressions.iter().flat_map(of).collect()
            }
        }
    }
}

impl Table {
    fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.chains.iter().flat_map(|chain| &chain.rules)
    }

    /// The names of the ipsets that its rules ask or change, as far as they are known.
    #[must_use]
    pub fn ipset_names(&self) -> BTreeSet<&str> {
        let named = self.rules().flat_map(|rule| match &rule.body {
            Body::Xt(body) => body.set_names(),
            Body::Nft(_) => Vec::new(),
        });
        named.chain(self.ipsets.values().map(String::as_str)).collect()
    }
}

impl Ruleset {
    /// The indices of the ipsets that its rules hold by index.
    #[must_use]
    pub fn ipset_indices(&self) -> BTreeSet<u16> {
        self.tables.iter().flat_map(Table::rules).flat_map(Rule::ipset_indices).collect()
    }

    /// The names of the ipsets that its rules ask or change, as far as they are known.
    #[must_use]
    pub fn ipset_names(&self) -> BTreeSet<&str> {
        self.tables.iter().flat_map(Table::ipset_names).collect()
    }

    /// Understands the rules that hold ipsets by index, as far as their names are known.
    pub fn name_ipsets(&mut self, names: &BTreeMap<u16, String>) {
        for table in &mut self.tables {
            if self.backend == Backend::Nft {
                // Its expressions are kept as they are, beside what they were read as.
                let held: BTreeSet<u16> = table.rules().flat_map(Rule::ipset_indices).collect();
                let known = held.into_iter().filter_map(|index| Some((index, names.get(&index)?.clone())));
                table.ipsets = known.collect();
            }
            for rule in table.chains.iter_mut().flat_map(|chain| &mut chain.rules) {
                if let Body::Xt(body) = &mut rule.body {
                    body.name_sets(names);
                }
            }
        }
    }
}
