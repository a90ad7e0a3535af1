//! What a rule means, in plain words: who, and what happens to them.

use super::native::{Reading, reading};
use super::paths::Paths;
use crate::model::{Body, Chain, Family, Rule, Table};
use crate::xt::{self, Action, Match};

/// The rule in plain words: `TCP to port 15008 → left alone`. `None` for rules that are not understood that far.
#[must_use]
pub fn means(family: Family, table: &Table, paths: &Paths<'_>, chain: &Chain, index: usize) -> Option<String> {
    let rule = chain.rules.get(index)?;
    let Reading { rule: body, ipv6 } = reading(family, table, rule)?;
    // The last rule of a chain gets what the ones before it left over.
    let rest = index > 0 && index + 1 == chain.rules.len() && takes_all(&body);
    Some(format!("{} → {}", body.subject(ipv6, rest), action(paths, chain, &body.action)))
}

/// Whether the rule asks for nothing but a protocol, or packets of one family.
fn takes_all(body: &xt::Rule) -> bool {
    let ip = &body.ip;
    let plain = ip.source.is_none() && ip.destination.is_none() && ip.input.is_none() && ip.output.is_none();
    plain && body.matches.iter().all(|part| matches!(part, Match::Comment(_)))
}

fn action(paths: &Paths<'_>, chain: &Chain, action: &Action) -> String {
    let on_the_way = paths.redirects(&chain.name);
    match action {
        Action::None => "counted".to_owned(),
        Action::Accept if on_the_way => "left alone".to_owned(),
        Action::Accept => "accepted".to_owned(),
        Action::Drop => "dropped".to_owned(),
        Action::Queue => "handed to a program (QUEUE)".to_owned(),
        Action::Return if !on_the_way => "goes back".to_owned(),
        Action::Return if paths.redirects_after(&chain.name) => "goes back to the calling chain".to_owned(),
        Action::Return => "left alone".to_owned(),
        Action::Jump(to) => format!("chain {to}"),
        Action::Goto(to) => format!("chain {to}, for good"),
        Action::Target(target) => target.explain(),
    }
}

/// What of the rule is not understood.
#[must_use]
pub fn unknown(rule: &Rule) -> Vec<String> {
    match &rule.body {
        Body::Xt(rule) => rule.unknown(),
        Body::Nft(rule) => rule.unknown(),
    }
}
