//! Rules as the kernel holds them: rule set, table, chain, rule.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::nft;
pub use crate::nft::Family;
use crate::xt;

/// Which kernel subsystem holds the rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// x_tables, written by `iptables-legacy`.
    Legacy,
    /// nf_tables, written by `iptables-nft` or `nft`.
    Nft,
}

impl Backend {
    /// The word that stands for it in JSON and options.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Legacy => "legacy",
            Self::Nft => "nft",
        }
    }
}

/// A point in a packet's way where rules are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names are netfilter's own")]
pub enum Hook {
    Ingress,
    Prerouting,
    Input,
    Forward,
    Output,
    Postrouting,
    Egress,
}

impl Hook {
    /// From the number of the five inet hooks (`NF_INET_*`).
    #[must_use]
    pub fn from_inet(number: u32) -> Option<Self> {
        [Self::Prerouting, Self::Input, Self::Forward, Self::Output, Self::Postrouting].get(number as usize).copied()
    }

    /// Priority at which iptables' table of this name stands at the hook (`enum nf_ip_hook_priorities`,
    /// `include/uapi/linux/netfilter_ipv4.h`; the same for IPv6).
    #[must_use]
    pub fn table_priority(self, table: &str) -> i32 {
        match (table, self) {
            ("raw", _) => -300,
            ("mangle", _) => -150,
            ("nat", Self::Prerouting | Self::Output) => -100,
            ("nat", _) => 100,
            ("security", _) => 50,
            _ => 0,
        }
    }

    /// The same where iptables-nft made the table: its `security` stands elsewhere, as `nft list ruleset` shows.
    #[must_use]
    pub fn nft_table_priority(self, table: &str) -> i32 {
        if table == "security" { 150 } else { self.table_priority(table) }
    }

    /// The name in lower case, as in JSON and nft.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Ingress => "ingress",
            Self::Prerouting => "prerouting",
            Self::Input => "input",
            Self::Forward => "forward",
            Self::Output => "output",
            Self::Postrouting => "postrouting",
            Self::Egress => "egress",
        }
    }
}

/// What happens to a packet that reaches the end of a base chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    /// It goes on.
    Accept,
    /// It is dropped.
    Drop,
}

/// Packets and bytes that a rule or policy has counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counters {
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}

/// The language that a chain is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Syntax {
    /// Every rule has an iptables form.
    Iptables,
    /// nf_tables' own.
    Nft,
}

/// All tables of one backend and family.
#[derive(Debug, Clone, PartialEq)]
pub struct Ruleset {
    /// Subsystem.
    pub backend: Backend,
    /// Family.
    pub family: Family,
    /// Tables in the kernel's order.
    pub tables: Vec<Table>,
}

/// A table.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Table {
    /// Name.
    pub name: String,
    /// nf_tables' handle: tables were made in the order of theirs.
    pub handle: Option<u64>,
    /// nf_tables' comment (hostile text).
    pub comment: Option<String>,
    /// It is switched off (nf_tables' `dormant`): no packet meets its chains.
    pub dormant: bool,
    /// Chains, base chains first.
    pub chains: Vec<Chain>,
    /// Sets and maps of nf_tables.
    pub sets: Vec<nft::Set>,
    /// Where these stand in their list.
    pub set_places: nft::SetPlaces,
    /// Names of the ipsets that its rules hold by index, as they were when it was read.
    pub ipsets: xt::SetNames,
    /// Its counters, quotas and the like under names.
    pub objects: Vec<nft::Object>,
    /// Names of its flow tables: they take packets of connections that are already there past the rules.
    pub flow_tables: Vec<nft::FlowTable>,
    /// What else nf_tables says of it.
    pub extra: nft::Extra,
}

/// A chain.
#[derive(Debug, Clone, PartialEq)]
pub struct Chain {
    /// Name.
    pub name: String,
    /// How its rules are written.
    pub syntax: Syntax,
    /// `filter`, `nat` or `route` for base chains of nf_tables; the table's kind for legacy ones.
    pub kind: Option<String>,
    /// Where packets enter it; `None` for a chain that only jumps reach.
    pub hook: Option<Hook>,
    /// Order among the chains of the hook, lower first.
    pub priority: Option<i32>,
    /// Policy of a base chain.
    pub policy: Option<Policy>,
    /// Counters of the policy, where the kernel keeps them.
    pub counters: Option<Counters>,
    /// nf_tables' handle: chains were made in the order of theirs.
    pub handle: Option<u64>,
    /// Devices whose packets it sees, where it is bound to some.
    pub devices: Vec<String>,
    /// nf_tables' comment (hostile text).
    pub comment: Option<String>,
    /// What else nf_tables says of it.
    pub extra: nft::Extra,
    /// Rules in order.
    pub rules: Vec<Rule>,
    /// Their text, where they were wanted as nothing else: then `rules` is empty.
    pub saved: Option<SavedRules>,
}

/// Rules of a chain as iptables-save writes them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SavedRules {
    /// Whole lines, in pieces.
    pub text: Vec<String>,
    /// What stands in them by name and bytes ([`xt::Rule::bracketed`]).
    pub bracketed: BTreeSet<String>,
    /// Some hold ipsets by index, whose names are not known yet: the text is not the one that iptables-save writes.
    pub sets_by_index: bool,
}

impl SavedRules {
    /// Writes a rule into the chain whose name [`xt::word`] has written.
    pub fn push(&mut self, chain: &str, rule: &xt::Rule) {
        if self.text.is_empty() {
            self.text.push(String::new());
        }
        if let Some(text) = self.text.last_mut() {
            rule.save_to(chain, text);
            text.push('\n');
        }
        self.bracketed.extend(rule.bracketed());
        self.sets_by_index |= !rule.set_indices().is_empty();
    }

    /// What comes behind.
    pub fn extend(&mut self, rest: Self) {
        self.text.extend(rest.text);
        self.bracketed.extend(rest.bracketed);
        self.sets_by_index |= rest.sets_by_index;
    }
}

/// A rule. Its number is its place in its chain, counted from 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// Counters; `None` where the rule has none (native nft).
    pub counters: Option<Counters>,
    /// nf_tables' handle.
    pub handle: Option<u64>,
    /// What it says.
    pub body: Body,
    /// The kernel's expressions of a rule that is read as one of iptables.
    pub native: Option<Box<nft::Rule>>,
}

/// What a rule says, in the form it was decoded to.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// A rule that iptables can express.
    Xt(Box<xt::Rule>),
    /// nf_tables' expressions.
    Nft(Box<nft::Rule>),
}

/// The name of a rule, everywhere the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RuleRef {
    /// Subsystem.
    pub backend: Backend,
    /// Family.
    pub family: Family,
    /// Table.
    pub table: String,
    /// Chain.
    pub chain: String,
    /// Place in the chain, from 1.
    pub number: usize,
}

impl RuleRef {
    /// The rule of this name, and its table.
    #[must_use]
    pub fn find<'a>(&self, rulesets: &'a [Ruleset]) -> Option<(&'a Table, &'a Rule)> {
        let same = |ruleset: &&Ruleset| ruleset.backend == self.backend && ruleset.family == self.family;
        let table = rulesets.iter().find(same)?.table(&self.table)?;
        Some((table, table.chain(&self.chain)?.rules.get(self.number.checked_sub(1)?)?))
    }
}

impl fmt::Display for RuleRef {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { backend, family, table, chain, number } = self;
        write!(out, "{} {} {table} {chain} {number}", backend.word(), family.word())
    }
}

impl Ruleset {
    /// The table of this name.
    #[must_use]
    pub fn table(&self, name: &str) -> Option<&Table> {
        self.tables.iter().find(|table| table.name == name)
    }

    /// Number of rules in all tables.
    #[must_use]
    pub fn rule_count(&self) -> usize {
        self.tables.iter().flat_map(|table| &table.chains).map(|chain| chain.rules.len()).sum()
    }
}

impl Table {
    /// The chain of this name.
    #[must_use]
    pub fn chain(&self, name: &str) -> Option<&Chain> {
        self.chains.iter().find(|chain| chain.name == name)
    }

    /// Whether a rule changes this set of nf_tables, or may do so. A set does not say that by itself: it need not be called dynamic.
    #[must_use]
    pub fn changes(&self, set: &str) -> bool {
        let rules = self.chains.iter().flat_map(|chain| &chain.rules);
        let native = rules.filter_map(|rule| match &rule.body {
            Body::Xt(_) => None,
            Body::Nft(native) => Some(&**native),
        });
        self.set_places.changed(set, native)
    }
}

impl Chain {
    /// A rule among those of iptables that iptables cannot express: its tools do not see it, or see another (K18).
    #[must_use]
    pub fn is_foreign(&self, rule: &Rule) -> bool {
        self.syntax == Syntax::Iptables && matches!(rule.body, Body::Nft(_))
    }

    /// A chain that only jumps reach, without rules.
    #[must_use]
    pub fn user(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            syntax: Syntax::Iptables,
            kind: None,
            hook: None,
            priority: None,
            policy: None,
            counters: None,
            handle: None,
            devices: Vec::new(),
            comment: None,
            extra: nft::Extra::default(),
            rules: Vec::new(),
            saved: None,
        }
    }

    /// The chain in which packets enter one of iptables' tables at a hook, without rules.
    #[must_use]
    pub fn base(table: &str, hook: Hook) -> Self {
        Self {
            kind: Some(if table == "nat" { "nat" } else { "filter" }.to_owned()),
            hook: Some(hook),
            priority: Some(hook.table_priority(table)),
            ..Self::user(hook.word().to_uppercase())
        }
    }
}

impl Rule {
    /// The chain that a match jumps or goes to.
    #[must_use]
    pub fn jumps_to(&self) -> Option<&str> {
        match &self.body {
            Body::Xt(rule) => rule.jumps_to(),
            Body::Nft(rule) => rule.jumps_to(),
        }
    }

    /// Whether it looks into a set or a map.
    #[must_use]
    pub fn asks_sets(&self) -> bool {
        match &self.body {
            Body::Xt(_) => false,
            Body::Nft(rule) => rule.asks_sets(),
        }
    }

    /// Whether a match may end the packet's way through its base chain: by a verdict that is no jump, a translation or an answer.
    #[must_use]
    pub fn ends_some(&self) -> bool {
        match &self.body {
            Body::Xt(rule) => rule.ends_some(),
            Body::Nft(rule) => rule.ends_some(),
        }
    }

    /// Whether a match sends the packet elsewhere than it was addressed to.
    #[must_use]
    pub fn redirects(&self) -> bool {
        match &self.body {
            Body::Xt(rule) => rule.redirects(),
            Body::Nft(rule) => rule.redirects(),
        }
    }

    /// Whether a match moves an end to another network: which end, the hook says.
    #[must_use]
    pub fn moves(&self) -> bool {
        match &self.body {
            Body::Xt(rule) => rule.moves(),
            Body::Nft(rule) => rule.moves(),
        }
    }
}
