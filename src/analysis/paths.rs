//! Which chains lead to a redirect, and in which order a packet meets them.

use std::collections::{HashMap, HashSet};

use crate::model::{Chain, Hook, Rule, Ruleset, Snapshot, Table};

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
    by_name: HashMap<&'a str, &'a Chain>,
    redirecting: HashSet<&'a str>,
    /// Chains whose callers may redirect what comes back from them.
    redirected_after: HashSet<&'a str>,
}

impl<'a> Paths<'a> {
    /// Follows the jumps of a table.
    #[must_use]
    pub fn of(table: &'a Table) -> Self {
        let by_name = table.chains.iter().map(|chain| (chain.name.as_str(), chain)).collect();
        let mut callers: HashMap<&str, Vec<&Chain>> = HashMap::new();
        for chain in &table.chains {
            for to in chain.rules.iter().filter_map(Rule::jumps_to) {
                callers.entry(to).or_default().push(chain);
            }
        }
        // From the chains that redirect by themselves back to all that lead there.
        let itself = table.chains.iter().filter(|chain| chain.rules.iter().any(Rule::redirects));
        let redirecting = spread(itself.map(|chain| chain.name.as_str()), |name| {
            callers.get(name).into_iter().flatten().map(|caller| caller.name.as_str()).collect()
        });
        // From the chains that are called before a rule that redirects down to all that they call.
        let leads = |rule: &Rule| rule.redirects() || rule.jumps_to().is_some_and(|to| redirecting.contains(to));
        let called_before = table.chains.iter().flat_map(|chain| {
            let last = chain.rules.iter().rposition(leads).unwrap_or(0);
            chain.rules.iter().take(last).filter_map(Rule::jumps_to)
        });
        let chains: &HashMap<&str, &Chain> = &by_name;
        let redirected_after = spread(called_before, |name| {
            chains.get(name).into_iter().flat_map(|chain| chain.rules.iter().filter_map(Rule::jumps_to)).collect()
        });
        Self { by_name, redirecting, redirected_after }
    }

    /// Whether a packet that enters the chain may be redirected.
    #[must_use]
    pub fn redirects(&self, chain: &str) -> bool {
        self.redirecting.contains(chain)
    }

    /// Whether a packet that returns from this chain may still be redirected by a chain that called it.
    #[must_use]
    pub fn redirects_after(&self, chain: &str) -> bool {
        self.redirected_after.contains(chain)
    }

    /// The chain and those it leads to, each once, in the order of first jumps; only redirecting ones unless `all`.
    fn below(&self, base: &'a Chain, all: bool) -> Vec<&'a Chain> {
        let (mut found, mut seen, mut waiting) = (Vec::new(), HashSet::new(), vec![base]);
        while let Some(chain) = waiting.pop() {
            if !seen.insert(chain.name.as_str()) {
                continue;
            }
            found.push(chain);
            let targets = chain.rules.iter().filter_map(Rule::jumps_to).filter(|to| all || self.redirects(to));
            let next = targets.filter_map(|to| self.by_name.get(to).copied());
            waiting.extend(next.collect::<Vec<_>>().into_iter().rev());
        }
        found
    }
}

/// These names and all that `next` leads to from them, each once.
fn spread<'a>(from: impl Iterator<Item = &'a str>, next: impl Fn(&'a str) -> Vec<&'a str>) -> HashSet<&'a str> {
    let mut found = HashSet::new();
    let mut waiting: Vec<&str> = from.collect();
    while let Some(name) = waiting.pop() {
        if found.insert(name) {
            waiting.extend(next(name));
        }
    }
    found
}

/// Whether a base chain is one of nat.
#[must_use]
pub fn is_nat(chain: &Chain) -> bool {
    chain.kind.as_deref() == Some("nat")
}

/// Where a base chain runs within its hook, and its place among the nat chains there: the kernel runs all of those at one place,
/// whatever their own priorities are (K31; `nf_nat_ipv4_ops`, net/netfilter/nf_nat_proto.c).
#[must_use]
pub fn standing(chain: &Chain) -> (Option<i32>, Option<i32>) {
    if !is_nat(chain) {
        return (chain.priority, None);
    }
    let place = chain.hook.map(|hook| hook.table_priority("nat"));
    (place.or(chain.priority), chain.priority)
}

/// The blocks of a snapshot, in the order in which a packet meets them; only those that redirect unless `all`.
#[must_use]
pub fn blocks(snapshot: &Snapshot, all: bool) -> Vec<Block<'_>> {
    let mut blocks = Vec::new();
    for ruleset in snapshot.rulesets() {
        for table in ruleset.tables.iter().filter(|table| all || !table.dormant) {
            let paths = Paths::of(table);
            let bases = table.chains.iter().filter(|chain| chain.hook.is_some());
            for base in bases.filter(|base| all || paths.redirects(&base.name)) {
                blocks.push(Block { ruleset, table, chains: paths.below(base, all) });
            }
        }
    }
    blocks.sort_by_key(|block| {
        let priority = block.chains.first().map(|chain| standing(chain));
        (block.ruleset.family, block.hook(), priority, block.ruleset.backend)
    });
    blocks
}

/// Chains that no hook reaches, table by table; only those that would redirect unless `all`.
#[must_use]
pub fn unreached(snapshot: &Snapshot, all: bool) -> Vec<Block<'_>> {
    let mut found = Vec::new();
    for ruleset in snapshot.rulesets() {
        for table in ruleset.tables.iter().filter(|table| all || !table.dormant) {
            let paths = Paths::of(table);
            let bases = table.chains.iter().filter(|chain| chain.hook.is_some());
            let reached: HashSet<&str> =
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
