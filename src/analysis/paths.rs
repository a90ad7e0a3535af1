//! Which chains lead to a redirect, and in which order a packet meets them.

use std::collections::BTreeSet;

use crate::model::{Chain, Hook, Ruleset, Snapshot, Table};

/// One base chain with the chains that it leads to: what is shown as one block.
#[derive(Debug)]
pub struct Block<'a> {
    /// The rule set.
    pub ruleset: &'a Ruleset,
    /// The table.
    pub table: &'a Table,
    /// First the base chain, then the chains it jumps to in the order in which it does.
    pub chains: Vec<&'a Chain>,
}

impl Block<'_> {
    /// The hook at which packets enter; `None` for chains that no hook reaches.
    #[must_use]
    pub fn hook(&self) -> Option<Hook> {
        self.chains.first().and_then(|chain| chain.hook)
    }
}

/// The jumps within one table.
#[derive(Debug)]
pub struct Paths<'a> {
    table: &'a Table,
    redirecting: BTreeSet<&'a str>,
}

impl<'a> Paths<'a> {
    /// Follows the jumps of a table.
    #[must_use]
    pub fn of(table: &'a Table) -> Self {
        let mut redirecting = BTreeSet::new();
        // Each round adds the chains that jump to one known to redirect; loops in jumps end it all the same.
        loop {
            let leads = |chain: &&Chain| {
                let jump = |to: Option<&str>| to.is_some_and(|to| redirecting.contains(to));
                chain.rules.iter().any(|rule| rule.redirects() || jump(rule.jumps_to()))
            };
            let found: BTreeSet<&str> = table.chains.iter().filter(leads).map(|chain| chain.name.as_str()).collect();
            if found.len() == redirecting.len() {
                return Self { table, redirecting };
            }
            redirecting = found;
        }
    }

    /// Whether a packet that enters the chain may be redirected.
    #[must_use]
    pub fn redirects(&self, chain: &str) -> bool {
        self.redirecting.contains(chain)
    }

    /// The chain and those it leads to, each once, in the order of first jumps; only redirecting ones unless `all`.
    fn below(&self, base: &'a Chain, all: bool) -> Vec<&'a Chain> {
        let mut found: Vec<&Chain> = Vec::new();
        let mut waiting = vec![base];
        while let Some(chain) = waiting.pop() {
            if found.iter().any(|known| known.name == chain.name) {
                continue;
            }
            found.push(chain);
            let targets = chain.rules.iter().filter_map(|rule| rule.jumps_to()).filter(|to| all || self.redirects(to));
            let mut next: Vec<&Chain> = targets.filter_map(|to| self.table.chain(to)).collect();
            next.reverse();
            waiting.extend(next);
        }
        found
    }

    /// Whether a packet that returns from this chain may still be redirected by a chain that called it.
    #[must_use]
    pub fn redirects_after(&self, chain: &str) -> bool {
        self.after(chain, &mut BTreeSet::new())
    }

    fn after(&self, chain: &str, seen: &mut BTreeSet<String>) -> bool {
        if !seen.insert(chain.to_owned()) {
            return false;
        }
        self.table.chains.iter().any(|caller| {
            let calls = caller.rules.iter().enumerate().filter(|(_, rule)| rule.jumps_to() == Some(chain));
            let mut later = calls.map(|(at, _)| caller.rules.get(at + 1..).unwrap_or_default());
            let leads = |rest: &[crate::model::Rule]| {
                rest.iter().any(|rule| rule.redirects() || rule.jumps_to().is_some_and(|to| self.redirects(to)))
            };
            let (calls_it, any) = later.by_ref().fold((false, false), |(_, any), rest| (true, any || leads(rest)));
            any || (calls_it && self.after(&caller.name, seen))
        })
    }
}

/// The blocks of a snapshot, in the order in which a packet meets them; only those that redirect unless `all`.
#[must_use]
pub fn blocks(snapshot: &Snapshot, all: bool) -> Vec<Block<'_>> {
    let mut blocks = Vec::new();
    for ruleset in snapshot.rulesets() {
        for table in &ruleset.tables {
            let paths = Paths::of(table);
            let bases = table.chains.iter().filter(|chain| chain.hook.is_some());
            for base in bases.filter(|base| all || paths.redirects(&base.name)) {
                blocks.push(Block { ruleset, table, chains: paths.below(base, all) });
            }
        }
    }
    blocks.sort_by_key(|block| {
        let priority = block.chains.first().and_then(|chain| chain.priority);
        (block.ruleset.family, block.hook(), priority, block.ruleset.backend)
    });
    blocks
}

/// Chains that no hook reaches, table by table; only those that would redirect unless `all`.
#[must_use]
pub fn unreached(snapshot: &Snapshot, all: bool) -> Vec<Block<'_>> {
    let mut found = Vec::new();
    for ruleset in snapshot.rulesets() {
        for table in &ruleset.tables {
            let paths = Paths::of(table);
            let bases = table.chains.iter().filter(|chain| chain.hook.is_some());
            let reached: BTreeSet<&str> =
                bases.flat_map(|base| paths.below(base, true)).map(|chain| chain.name.as_str()).collect();
            let left = table.chains.iter().filter(|chain| !reached.contains(chain.name.as_str()));
            let chains: Vec<&Chain> = left.filter(|chain| all || paths.redirects(&chain.name)).collect();
            if !chains.is_empty() {
                found.push(Block { ruleset, table, chains });
            }
        }
    }
    found
}
