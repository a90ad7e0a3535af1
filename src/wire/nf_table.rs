//! A table of nf_tables put together from its messages: chain by chain, each in the language that its rules are written in.

use super::compat::to_xt;
use super::nf_tables::{ChainMessage, RuleMessage, TableMessage, hook_of};
use crate::model::{Body, Chain, Counters, Family, Rule, Syntax, Table};
use crate::nft;

/// The table of this name from its chains and their rules; sets and objects come from messages of their own.
#[must_use]
pub fn assemble(family: Family, table: &TableMessage, chains: Vec<(&ChainMessage, Vec<RuleMessage>)>) -> Table {
    let mut table = Table {
        name: table.name.clone(),
        handle: table.handle,
        comment: nft::comment_of(&table.user_data, 0),
        dormant: table.dormant,
        extra: table.extra.clone(),
        chains: chains.into_iter().map(|(message, rules)| chain_of(family, message, rules)).collect(),
        ..Table::default()
    };
    in_its_language(family, &mut table);
    table
}

/// Reads the rules of a table as iptables rules wherever iptables-nft may have written them, chain by chain, and puts the chains in
/// order: base chains first.
pub fn in_its_language(family: Family, table: &mut Table) {
    for chain in &mut table.chains {
        speak(family, &table.name, chain);
    }
    let found = std::mem::take(&mut table.chains);
    let (mut base, mut user): (Vec<Chain>, Vec<Chain>) = found.into_iter().partition(|chain| chain.hook.is_some());
    if found_is_iptables(&base, &user) {
        // iptables-nft lists base chains by hook and user chains by name, whatever the order of their making.
        base.sort_by_key(|chain| chain.hook);
        user.sort_by(|a, b| a.name.as_bytes().cmp(b.name.as_bytes()));
    }
    base.extend(user);
    table.chains = base;
}

fn found_is_iptables(base: &[Chain], user: &[Chain]) -> bool {
    base.iter().chain(user).all(|chain| chain.syntax == Syntax::Iptables)
}

/// The tables that iptables-nft knows, in its families.
const IPTABLES: [&str; 5] = ["filter", "nat", "mangle", "raw", "security"];

fn chain_of(family: Family, message: &ChainMessage, rules: Vec<RuleMessage>) -> Chain {
    let rules = rules.into_iter().map(|message| Rule {
        counters: native_counters(&message.rule),
        handle: Some(message.handle),
        body: Body::Nft(message.rule),
        native: None,
    });
    Chain {
        name: message.name.clone(),
        syntax: Syntax::Nft,
        kind: message.kind.clone(),
        hook: message.hook.and_then(|(number, _)| hook_of(family, number)),
        priority: message.hook.map(|(_, priority)| priority),
        policy: message.policy,
        counters: message.counters,
        handle: message.handle,
        devices: message.devices.clone(),
        comment: nft::comment_of(&message.user_data, 0),
        extra: message.extra.clone(),
        rules: rules.collect(),
    }
}

/// A chain is written in one language: a single rule that iptables cannot express makes it nft's.
fn speak(family: Family, table: &str, chain: &mut Chain) {
    // A base chain of another name, place or type in such a table is a native one, which the iptables tools leave out (K18).
    let built_in = chain.priority.is_none_or(|priority| {
        chain
            .hook
            .is_some_and(|hook| hook.word().to_uppercase() == chain.name && hook.table_priority(table) == priority)
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
            rule.native = Some(Box::new(native));
        }
    }
}

fn native_counters(rule: &nft::Rule) -> Option<Counters> {
    rule.expressions.iter().find_map(|expression| match expression {
        nft::Expression::Counter { packets, bytes } => Some(Counters { packets: *packets, bytes: *bytes }),
        _ => None,
    })
}
