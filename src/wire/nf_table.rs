//! A table of nf_tables put together from its messages: chain by chain, each in the language that its rules are written in.

use super::compat::to_xt;
use super::nf_tables::{ChainMessage, NftablesError, RuleMessage, TableMessage, hook_of, rule_body};
use crate::model::{Body, Chain, Counters, Family, Hook, Rule, Syntax, Table, name_order};
use crate::nft::{self, Extra, UnknownAttribute};

/// The table of this name from its chains and their rules; sets and objects come from messages of their own.
#[must_use]
pub fn assemble(family: Family, table: &TableMessage, chains: Vec<(&ChainMessage, Vec<RuleMessage>)>) -> Table {
    let chains = chains.into_iter().map(|(message, rules)| {
        let mut reader = ChainReader::new(family, &table.name, message, Kept::Expressions);
        rules.into_iter().for_each(|rule| reader.push(rule.handle, rule.rule));
        reader.finish()
    });
    of_chains(table, chains.collect())
}

/// The table of this name from its chains in the kernel's order.
#[must_use]
pub fn of_chains(table: &TableMessage, chains: Vec<Chain>) -> Table {
    Table {
        name: table.name.clone(),
        handle: table.handle,
        comment: nft::comment_of(&table.user_data, 0),
        dormant: table.dormant,
        extra: table.extra.clone(),
        chains: ordered(chains),
        ..Table::default()
    }
}

/// Base chains first.
fn ordered(chains: Vec<Chain>) -> Vec<Chain> {
    let (mut base, mut user): (Vec<Chain>, Vec<Chain>) = chains.into_iter().partition(|chain| chain.hook.is_some());
    if found_is_iptables(&base, &user) {
        // iptables-nft lists base chains by hook and user chains by name, whatever the order of their making.
        base.sort_by_key(|chain| chain.hook);
        user.sort_by(|a, b| name_order(&a.name, &b.name));
    }
    base.extend(user);
    base
}

/// Reads the rules of a table as iptables rules wherever iptables-nft may have written them, chain by chain, and puts the chains in
/// order: base chains first.
pub fn in_its_language(family: Family, table: &mut Table) {
    for chain in &mut table.chains {
        speak(family, &table.name, chain);
    }
    table.chains = ordered(std::mem::take(&mut table.chains));
}

fn found_is_iptables(base: &[Chain], user: &[Chain]) -> bool {
    base.iter().chain(user).all(|chain| chain.syntax == Syntax::Iptables)
}

/// The tables that iptables-nft knows, in its families.
const IPTABLES: [&str; 5] = ["filter", "nat", "mangle", "raw", "security"];

/// What is kept of a rule that is read as one of iptables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// The reading: all that most answers need, in a tenth of the memory.
    Reading,
    /// The kernel's expressions beside it.
    Expressions,
}

/// Reads a chain rule by rule.
///
/// A chain is one of iptables where it stands as such and any of its rules is (or it has none). A rule in it that iptables cannot
/// express stays nft's own: iptables-nft calls the whole table incompatible then, or shows the rule as another (K18).
#[derive(Debug)]
pub struct ChainReader<'a> {
    message: &'a ChainMessage,
    family: Family,
    hook: Option<Hook>,
    kept: Kept,
    /// iptables-nft could have made the chain.
    possible: bool,
    rules: Vec<Rule>,
}

impl<'a> ChainReader<'a> {
    /// Begins a chain of this table.
    #[must_use]
    pub fn new(family: Family, table: &str, message: &'a ChainMessage, kept: Kept) -> Self {
        let hook = message.hook.and_then(|(number, _)| hook_of(family, number));
        // A base chain of another name, place or type in such a table is a native one, which the iptables tools leave out (K18).
        let built_in = message.hook.is_none_or(|(_, priority)| {
            hook.is_some_and(|hook| {
                hook.word().to_uppercase() == message.name && hook.nft_table_priority(table) == priority
            })
        });
        let possible = matches!(family, Family::Ip | Family::Ip6) && IPTABLES.contains(&table) && built_in;
        Self { message, family, hook, kept, possible, rules: Vec::new() }
    }

    /// The chain's next rule, from its message.
    ///
    /// # Errors
    /// [`NftablesError`].
    pub fn read(&mut self, message: &[u8]) -> Result<(), NftablesError> {
        let (handle, rule) = rule_body(message)?;
        self.push(handle, rule);
        Ok(())
    }

    fn push(&mut self, handle: u64, rule: nft::Rule) {
        let reading = if self.possible { to_xt(&rule, self.family == Family::Ip6) } else { None };
        let Some((reading, counters)) = reading else {
            return self.rules.push(native(handle, Box::new(rule)));
        };
        self.rules.push(Rule {
            counters: counters.map(|(packets, bytes)| Counters { packets, bytes }),
            handle: Some(handle),
            body: Body::Xt(Box::new(reading)),
            native: (self.kept == Kept::Expressions).then(|| Box::new(rule)),
        });
    }

    /// The chain.
    #[must_use]
    pub fn finish(self) -> Chain {
        let Self { message, hook, rules, .. } = self;
        let any = rules.is_empty() || rules.iter().any(|rule| matches!(rule.body, Body::Xt(_)));
        let syntax = if self.possible && any { Syntax::Iptables } else { Syntax::Nft };
        Chain {
            name: message.name.clone(),
            syntax,
            kind: message.kind.clone(),
            hook,
            priority: message.hook.map(|(_, priority)| priority),
            policy: message.policy,
            counters: message.counters,
            handle: message.handle,
            devices: message.devices.clone(),
            comment: nft::comment_of(&message.user_data, 0),
            extra: extra_of(message, hook),
            rules,
            saved: None,
        }
    }
}

/// What is not known of a chain: the hook too, where its number is not.
fn extra_of(message: &ChainMessage, hook: Option<Hook>) -> Extra {
    /// `NFTA_CHAIN_HOOK`
    const HOOK: u16 = 4;
    let mut extra = message.extra.clone();
    if let (Some((number, priority)), None) = (message.hook, hook) {
        let place = [number.to_be_bytes(), priority.to_be_bytes()].concat();
        extra.unknown.push(UnknownAttribute(HOOK, place));
    }
    extra
}

/// A rule in nf_tables' own language.
fn native(handle: u64, rule: Box<nft::Rule>) -> Rule {
    Rule { counters: native_counters(&rule), handle: Some(handle), body: Body::Nft(rule), native: None }
}

/// A chain is written in one language: a single rule that iptables cannot express makes it nft's.
fn speak(family: Family, table: &str, chain: &mut Chain) {
    // A base chain of another name, place or type in such a table is a native one, which the iptables tools leave out (K18).
    let built_in = chain.priority.is_none_or(|priority| {
        chain
            .hook
            .is_some_and(|hook| hook.word().to_uppercase() == chain.name && hook.nft_table_priority(table) == priority)
    });
    if !(matches!(family, Family::Ip | Family::Ip6) && IPTABLES.contains(&table) && built_in) {
        return;
    }
    let reading = |rule: &Rule| match &rule.body {
        Body::Nft(native) => to_xt(native, family == Family::Ip6),
        Body::Xt(_) => None,
    };
    let Some(readings) = chain.rules.iter().map(reading).collect::<Option<Vec<_>>>() else { return };
    chain.syntax = Syntax::Iptables;
    for (rule, (reading, counters)) in chain.rules.iter_mut().zip(readings) {
        rule.counters = counters.map(|(packets, bytes)| Counters { packets, bytes });
        if let Body::Nft(native) = std::mem::replace(&mut rule.body, Body::Xt(Box::new(reading))) {
            rule.native = Some(native);
        }
    }
}

fn native_counters(rule: &nft::Rule) -> Option<Counters> {
    rule.expressions.iter().find_map(|expression| match expression {
        nft::Expression::Counter { packets, bytes } => Some(Counters { packets: *packets, bytes: *bytes }),
        _ => None,
    })
}
