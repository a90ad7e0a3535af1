//! A table of nf_tables put together from its messages: chain by chain, each in the language that its rules are written in.

use super::compat::to_xt;
use super::nf_tables::{ChainMessage, RuleMessage, TableMessage, hook_of};
use crate::model::{Body, Chain, Counters, Family, Rule, Syntax, Table};
use crate::nft;

/// The table of this name from its chains and their rules; sets and objects come from messages of their own.
#[must_use]
pub fn assemble(family: Family, table: &TableMessage, chains: Vec<(&ChainMessage, Vec<RuleMessage>)>) -> Table {
    let found = chains.into_iter().map(|(message, rules)| chain_of(family, &table.name, message, rules));
    let (mut base, mut user): (Vec<Chain>, Vec<Chain>) = found.partition(|chain| chain.hook.is_some());
    if found_is_iptables(&base, &user) {
        // iptables-nft lists base chains by hook and user chains by name, whatever the order of their making.
        base.sort_by_key(|chain| chain.hook);
        user.sort_by(|a, b| a.name.as_bytes().cmp(b.name.as_bytes()));
    }
    base.extend(user);
    Table {
        name: table.name.clone(),
        handle: table.handle,
        comment: nft::comment_of(&table.user_data, 0),
        dormant: table.dormant,
        extra: table.extra.clone(),
        chains: base,
        ..Table::default()
    }
}

fn found_is_iptables(base: &[Chain], user: &[Chain]) -> bool {
    base.iter().chain(user).all(|chain| chain.syntax == Syntax::Iptables)
}

/// The tables that iptables-nft knows, in its families.
const IPTABLES: [&str; 5] = ["filter", "nat", "mangle", "raw", "security"];

fn chain_of(family: Family, table: &str, message: &ChainMessage, rules: Vec<RuleMessage>) -> Chain {
    let ipv6 = family == Family::Ip6;
    let hook = message.hook.and_then(|(number, _)| hook_of(family, number));
    // A base chain of another name, place or type in such a table is a native one, which the iptables tools leave out (K18).
    let built_in = message.hook.is_none_or(|(_, priority)| {
        hook.is_some_and(|hook| hook.word().to_uppercase() == message.name && hook.table_priority(table) == priority)
    });
    let possible = matches!(family, Family::Ip | Family::Ip6) && IPTABLES.contains(&table) && built_in;
    let readings: Vec<_> = rules.iter().map(|message| to_xt(&message.rule, ipv6).filter(|_| possible)).collect();
    // A chain is written in one language: a single rule that iptables cannot express makes it nft's.
    let iptables = possible && readings.iter().all(Option::is_some);
    let rules = rules.into_iter().zip(readings).map(|(message, reading)| match reading.filter(|_| iptables) {
        Some((reading, counters)) => Rule {
            counters: counters.map(|(packets, bytes)| Counters { packets, bytes }),
            handle: Some(message.handle),
            body: Body::Xt(Box::new(reading)),
            native: Some(Box::new(message.rule)),
        },
        None => Rule {
            counters: native_counters(&message.rule),
            handle: Some(message.handle),
            body: Body::Nft(message.rule),
            native: None,
        },
    });
    Chain {
        name: message.name.clone(),
        syntax: if iptables { Syntax::Iptables } else { Syntax::Nft },
        kind: message.kind.clone(),
        hook,
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

fn native_counters(rule: &nft::Rule) -> Option<Counters> {
    rule.expressions.iter().find_map(|expression| match expression {
        nft::Expression::Counter { packets, bytes } => Some(Counters { packets: *packets, bytes: *bytes }),
        _ => None,
    })
}
