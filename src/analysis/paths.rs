//! Which chains lead to a redirect, and in which order a packet meets them.

use std::collections::{HashMap, HashSet};

use crate::model::{Body, Chain, Family, Hook, Policy, Rule, Ruleset, Snapshot, Table};
use crate::nft::{Data, Expression, Set, Verdict};

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

/// Which tables and chains are to be shown.
#[derive(Debug, Clone, Copy, Default)]
pub struct Chosen<'a> {
    /// Every one, not only those that redirect.
    pub all: bool,
    /// Tables of these names; any where there are none.
    pub tables: &'a [String],
    /// Chains of these names; any where there are none.
    pub chains: &'a [String],
}

impl Chosen<'_> {
    /// Nothing is left out because it does not redirect: all is wanted, or what is wanted was named.
    #[must_use]
    pub fn whole(&self) -> bool {
        self.all || self.named()
    }

    /// Tables or chains were named.
    #[must_use]
    pub fn named(&self) -> bool {
        !self.tables.is_empty() || !self.chains.is_empty()
    }

    /// Whether a table of this name is.
    #[must_use]
    pub fn table(&self, name: &str) -> bool {
        self.tables.is_empty() || self.tables.iter().any(|wanted| wanted == name)
    }

    /// Whether a chain of this name is.
    #[must_use]
    pub fn chain(&self, name: &str) -> bool {
        self.chains.is_empty() || self.chains.iter().any(|wanted| wanted == name)
    }
}

/// The jumps within one table.
#[derive(Debug)]
pub struct Paths<'a> {
    by_name: HashMap<&'a str, &'a Chain>,
    maps: HashMap<&'a str, &'a Set>,
    redirecting: HashSet<&'a str>,
    /// Chains in which sources are translated: only hooks behind the choice of the route lead there.
    behind: HashSet<&'a str>,
    ending: HashSet<&'a str>,
    /// Chains whose callers may redirect what comes back from them.
    redirected_after: HashSet<&'a str>,
}

impl<'a> Paths<'a> {
    /// Follows the jumps of a table.
    #[must_use]
    pub fn of(table: &'a Table) -> Self {
        let by_name: HashMap<&str, &Chain> = table.chains.iter().map(|chain| (chain.name.as_str(), chain)).collect();
        let maps = table.sets.iter().filter(|set| set.data == Some(Set::VERDICT));
        let maps: HashMap<&str, &Set> = maps.map(|set| (set.name.as_str(), set)).collect();
        let mut callers: HashMap<&str, Vec<&Chain>> = HashMap::new();
        for chain in &table.chains {
            for to in chain.rules.iter().flat_map(|rule| leads(&maps, rule)) {
                callers.entry(to).or_default().push(chain);
            }
        }
        let below = |behind: bool| {
            let bases =
                table.chains.iter().filter(move |chain| chain.hook.is_some_and(|hook| is_behind(hook) == behind));
            spread(bases.map(|chain| chain.name.as_str()), |name| {
                let rules = by_name.get(name).into_iter().flat_map(|chain| &chain.rules);
                rules.flat_map(|rule| leads(&maps, rule)).collect()
            })
        };
        let behind: HashSet<&str> = below(true).difference(&below(false)).copied().collect();
        let redirects =
            |chain: &Chain, rule: &Rule| rule.redirects() && !(rule.moves() && behind.contains(&*chain.name));
        // From the chains that redirect by themselves back to all that lead there.
        let led_from = |does: &dyn Fn(&Chain, &Rule) -> bool| {
            let itself = table.chains.iter().filter(|chain| chain.rules.iter().any(|rule| does(chain, rule)));
            spread(itself.map(|chain| chain.name.as_str()), |name| {
                callers.get(name).into_iter().flatten().map(|caller| caller.name.as_str()).collect()
            })
        };
        let (redirecting, ending) = (led_from(&redirects), led_from(&|_, rule| rule.ends_some()));
        // From the chains that are called before a rule that redirects down to all that they call.
        let may = |chain: &Chain, rule: &Rule| {
            redirects(chain, rule) || leads(&maps, rule).into_iter().any(|to| redirecting.contains(to))
        };
        let called_before = table.chains.iter().flat_map(|chain| {
            let last = chain.rules.iter().rposition(|rule| may(chain, rule)).unwrap_or(0);
            chain.rules.iter().take(last).flat_map(|rule| leads(&maps, rule))
        });
        let redirected_after = spread(called_before, |name| {
            let rules = by_name.get(name).into_iter().flat_map(|chain| &chain.rules);
            rules.flat_map(|rule| leads(&maps, rule)).collect()
        });
        Self { by_name, maps, redirecting, behind, ending, redirected_after }
    }

    /// Whether only hooks behind the choice of the route lead to the chain: there, sources are translated.
    #[must_use]
    pub fn is_behind(&self, chain: &Chain) -> bool {
        self.behind.contains(&*chain.name)
    }

    /// Whether a match of the rule sends the packet elsewhere than it was addressed to: NETMAP does so before the route is chosen only.
    #[must_use]
    pub fn sends(&self, chain: &Chain, rule: &Rule) -> bool {
        rule.redirects() && !(rule.moves() && self.is_behind(chain))
    }

    /// Whether the way of a packet that enters the chain may end there, so that it does not come back.
    #[must_use]
    pub fn ends_some(&self, chain: &str) -> bool {
        self.ending.contains(chain)
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

    /// The chains that a match of the rule leads to, by a jump or by the verdicts of a map, each once.
    #[must_use]
    pub fn leads_to(&self, rule: &'a Rule) -> Vec<&'a str> {
        leads(&self.maps, rule)
    }

    /// The chain and those it leads to, each once, in the order of first jumps; only redirecting ones unless `all`.
    fn below(&self, base: &'a Chain, all: bool) -> Vec<&'a Chain> {
        let (mut found, mut seen, mut waiting) = (Vec::new(), HashSet::new(), vec![base]);
        while let Some(chain) = waiting.pop() {
            if !seen.insert(chain.name.as_str()) {
                continue;
            }
            found.push(chain);
            let targets =
                chain.rules.iter().flat_map(|rule| self.leads_to(rule)).filter(|to| all || self.redirects(to));
            let next = targets.filter_map(|to| self.by_name.get(to).copied());
            waiting.extend(next.collect::<Vec<_>>().into_iter().rev());
        }
        found
    }
}

/// Whether nat chains of the hook translate sources.
fn is_behind(hook: Hook) -> bool {
    matches!(hook, Hook::Input | Hook::Postrouting)
}

/// Whether something in the table may lead to chains, and to which is not known: a map whose verdicts were not read, or a part of a
/// rule that is not understood.
#[must_use]
pub fn leads_somewhere(table: &Table) -> bool {
    let unknown = |expression: &Expression| match expression {
        Expression::Lookup { set, into: Some(0), .. } => {
            table.sets.iter().find(|known| known.name == *set).is_none_or(|map| map.unread)
        }
        Expression::Unknown { .. } => true,
        _ => false,
    };
    let rules = table.chains.iter().flat_map(|chain| &chain.rules);
    rules
        .filter_map(|rule| if let Body::Nft(rule) = &rule.body { Some(rule) } else { None })
        .any(|rule| rule.expressions.iter().any(unknown))
}

/// Whether packets do not come back from where the rule itself leads them.
#[must_use]
pub fn goes_for_good(rule: &Rule) -> bool {
    match &rule.body {
        Body::Xt(rule) => matches!(rule.action, crate::xt::Action::Goto(_)),
        Body::Nft(rule) => rule.expressions.iter().any(|part| matches!(part, Expression::Immediate(Verdict::Goto(_)))),
    }
}

/// Whether a rule takes packets out of its chain as they are.
#[must_use]
pub fn leaves_alone(rule: &Rule) -> bool {
    match &rule.body {
        Body::Xt(rule) => matches!(rule.action, crate::xt::Action::Accept | crate::xt::Action::Return),
        Body::Nft(rule) => {
            rule.expressions.iter().any(|part| matches!(part, Expression::Immediate(Verdict::Accept | Verdict::Return)))
        }
    }
}

/// By a jump of its own, or by what the maps it looks into hold.
fn leads<'a>(maps: &HashMap<&'a str, &'a Set>, rule: &'a Rule) -> Vec<&'a str> {
    let mut found: Vec<&str> = rule.jumps_to().into_iter().collect();
    let Body::Nft(native) = &rule.body else { return found };
    let mut seen: HashSet<&str> = found.iter().copied().collect();
    for expression in &native.expressions {
        let Expression::Lookup { set, into: Some(0), .. } = expression else { continue };
        let mut elements: Vec<_> = maps.get(set.as_str()).into_iter().flat_map(|map| &map.elements).collect();
        // The kernel's order is that of a hash, another one in every namespace.
        elements.sort_by(|one, other| (one.catches_all(), &one.key).cmp(&(other.catches_all(), &other.key)));
        let chains = elements.into_iter().filter_map(|element| match &element.data {
            Some(Data::Verdict(Verdict::Jump(chain) | Verdict::Goto(chain))) => Some(chain.as_str()),
            _ => None,
        });
        found.extend(chains.filter(|chain| seen.insert(chain)));
    }
    found
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

/// Packets of IP first; frames that are bridged, and ARP, go ways of their own.
fn way(family: Family) -> u8 {
    match family {
        Family::Ip | Family::Ip6 | Family::Inet | Family::Netdev => 0,
        Family::Bridge => 1,
        Family::Arp => 2,
    }
}

/// Whether a packet can meet chains of both families.
fn meet(one: Family, other: Family) -> bool {
    one == other || [false, true].into_iter().any(|ipv6| one.sees(ipv6) && other.sees(ipv6))
}

/// The blocks that stand at the same place as this one and do something there: which of them a packet meets first, nobody can
/// tell from what the kernel lists (K5).
#[must_use]
pub fn rivals<'b, 'a>(block: &Block<'a>, all: &'b [Block<'a>]) -> Vec<&'b Block<'a>> {
    let Some(own) = block.chains.first() else { return Vec::new() };
    let (place, among_nat) = standing(own);
    let same = |other: &&Block<'a>| {
        let Some(base) = other.chains.first() else { return false };
        let (there, theirs) = standing(base);
        let devices = own.devices.is_empty()
            || base.devices.is_empty()
            || own.devices.iter().any(|device| base.devices.contains(device));
        !std::ptr::eq::<Chain>(*base, *own)
            && block.hook().is_some_and(|hook| other.hook() == Some(hook))
            && !block.table.dormant
            && !other.table.dormant
            && meet(block.ruleset.family, other.ruleset.family)
            && devices
            && place == there
            && (is_nat(own) != is_nat(base) || among_nat == theirs)
            && (!base.rules.is_empty() || base.policy == Some(Policy::Drop))
    };
    if own.rules.is_empty() && own.policy != Some(Policy::Drop) {
        return Vec::new();
    }
    all.iter().filter(same).collect()
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
        let place = block.chains.first().map(|chain| standing(chain));
        (way(block.ruleset.family), block.hook(), place, block.ruleset.family, block.ruleset.backend)
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
