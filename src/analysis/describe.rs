//! What a rule means, in plain words: who, and what happens to them.

use super::native::{Reading, reading};
use super::paths::Paths;
use crate::model::{Body, Chain, Family, NativeRule, Policy, Rule, Table};
use crate::nft::{Expression, Statement, Verdict, statement_text, statements};
use crate::syntax::place_of;
use crate::xt::{self, Action, Effect, Match};

/// What becomes of a packet that a rule takes, as far as it matters at a glance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// It is sent elsewhere than it was addressed to.
    Redirected,
    /// It leaves the path on which others are redirected.
    Exempt,
    /// It leaves the table, or goes on with another source.
    Accepted,
    /// It is dropped or refused.
    Dropped,
    /// It enters another chain.
    Enters,
    /// It goes back to the chain that called.
    Returns,
    /// It meets the next rule.
    GoesOn,
    /// A program outside the kernel decides.
    Handed,
    /// What becomes of it is not understood.
    Unknown,
}

/// A rule in plain words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Which packets: `TCP to port 15008`.
    pub who: String,
    /// What happens to them: `left alone`.
    pub what: String,
    /// The same at a glance.
    pub outcome: Outcome,
}

/// The rule in plain words: `TCP to port 15008 → left alone`. `None` for rules that are not understood that far.
#[must_use]
pub fn means<'a>(family: Family, table: &Table, paths: &Paths<'a>, chain: &'a Chain, index: usize) -> Option<String> {
    told(family, table, paths, chain, index).map(|Told { who, what, .. }| format!("{who} → {what}"))
}

/// The same in its parts.
#[must_use]
pub fn told<'a>(family: Family, table: &Table, paths: &Paths<'a>, chain: &'a Chain, index: usize) -> Option<Told> {
    let rule = chain.rules.get(index)?;
    let Some(Reading { rule: body, ipv6 }) = reading(family, table, rule) else {
        return match &rule.body {
            Body::Nft(native) => by_statement(family, table, paths, rule, native),
            Body::Xt(_) => None,
        };
    };
    // The last rule of a chain gets what the ones before it left over, if they take anything.
    let last = index > 0 && index + 1 == chain.rules.len() && takes_all(&body);
    let rest = last && chain.rules.iter().take(index).any(|rule| paths.takes(rule));
    let who = body.subject(ipv6, rest);
    let (what, outcome) = action(paths, chain, &body.action);
    let what = match (logs(family, table, rule), &body.action) {
        (None, _) => what,
        (Some(logs), Action::None) => logs,
        (Some(logs), _) => format!("{logs}, then {what}"),
    };
    Some(Told { who, what, outcome })
}

/// What a rule of nft writes to a log on the way, which the rule of iptables that it is read as does not say.
fn logs(family: Family, table: &Table, rule: &Rule) -> Option<String> {
    let Body::Nft(native) = &rule.body else { return None };
    native.expressions.iter().find(|part| matches!(part, Expression::Log { .. }))?;
    let place = place_of(family, table, &[], false);
    let texts = statements(native, place)?.into_iter().filter_map(|statement| match statement {
        Statement::Plain(Expression::Log { .. }) => statement_text(&statement, &place),
        _ => None,
    });
    Some(format!("logged ({})", texts.collect::<Vec<_>>().join(", ")))
}

/// A rule of nft that does what no single rule of iptables does: its tests and its deeds one by one, in nft's words.
fn by_statement<'a>(
    family: Family,
    table: &Table,
    paths: &Paths<'a>,
    rule: &'a Rule,
    native: &NativeRule,
) -> Option<Told> {
    let place = place_of(family, table, &[], false);
    let (mut tests, mut deeds) = (Vec::new(), Vec::new());
    let mut outcome = match rule.redirects() {
        true => Outcome::Redirected,
        false => Outcome::GoesOn,
    };
    for statement in statements(native, place)? {
        let text = || statement_text(&statement, &place);
        match &statement {
            Statement::Plain(Expression::Counter { .. }) => {}
            Statement::Match { .. } if deeds.is_empty() => tests.push(text()?),
            Statement::Match { .. } => deeds.push(format!("if {}", text()?)),
            Statement::Unknown(_) => return None,
            Statement::Verdict(verdict) => {
                outcome = match (outcome, verdict) {
                    (Outcome::Redirected, _) => Outcome::Redirected,
                    (_, Verdict::Drop) => Outcome::Dropped,
                    (_, Verdict::Accept) => Outcome::Accepted,
                    (_, Verdict::Jump(_) | Verdict::Goto(_)) => Outcome::Enters,
                    (_, Verdict::Return) => Outcome::Returns,
                    (other, _) => other,
                };
                deeds.push(match verdict {
                    Verdict::Jump(chain) => format!("chain {chain}"),
                    Verdict::Goto(chain) => format!("chain {chain}, for good"),
                    Verdict::Accept => "accepted".to_owned(),
                    Verdict::Drop => "dropped".to_owned(),
                    Verdict::Return => "goes back".to_owned(),
                    Verdict::Continue | Verdict::Other(_) => text()?,
                });
            }
            Statement::VerdictMap { .. } => {
                if outcome != Outcome::Redirected {
                    outcome = if paths.leads_to(rule).is_empty() { Outcome::Unknown } else { Outcome::Enters };
                }
                deeds.push(format!("as a map says ({})", text()?));
            }
            Statement::Plain(Expression::Log { .. }) => deeds.push(format!("logged ({})", text()?)),
            Statement::Update { .. } => deeds.push(format!("noted in a set ({})", text()?)),
            _ => deeds.push(text()?),
        }
    }
    let who = if tests.is_empty() { "everything".to_owned() } else { format!("everything if {}", tests.join(", ")) };
    let what = if deeds.is_empty() { "counted".to_owned() } else { deeds.join(", then ") };
    Some(Told { who, what, outcome })
}

/// What becomes of packets at the end of a chain: `accepted by policy`.
#[must_use]
pub fn end(chain: &Chain) -> (&'static str, Outcome) {
    match (chain.hook, chain.policy) {
        (None, _) => ("back to the calling chain", Outcome::Returns),
        (Some(_), Some(Policy::Drop)) => ("dropped by policy", Outcome::Dropped),
        (Some(_), _) => ("accepted by policy", Outcome::Accepted),
    }
}

/// Whether the rule asks for nothing but a protocol, or packets of one family.
fn takes_all(body: &xt::Rule) -> bool {
    let ip = &body.ip;
    let plain = ip.source.is_none() && ip.destination.is_none() && ip.input.is_none() && ip.output.is_none();
    plain && ip.fragments.is_none() && body.matches.iter().all(|part| matches!(part, Match::Comment(_)))
}

fn action(paths: &Paths<'_>, chain: &Chain, action: &Action) -> (String, Outcome) {
    let on_the_way = paths.redirects(&chain.name);
    let (what, outcome) = match action {
        Action::None => ("counted", Outcome::GoesOn),
        Action::Accept if on_the_way => ("left alone (accepted)", Outcome::Exempt),
        Action::Accept => ("accepted", Outcome::Accepted),
        Action::Drop => ("dropped", Outcome::Dropped),
        Action::Queue => ("handed to a program (QUEUE)", Outcome::Handed),
        Action::Return if !on_the_way => ("goes back", Outcome::Returns),
        Action::Return if paths.redirects_after(&chain.name) => ("goes back to the calling chain", Outcome::Returns),
        Action::Return => ("left alone", Outcome::Exempt),
        Action::Jump(to) => return (format!("chain {to}"), Outcome::Enters),
        Action::Goto(to) => return (format!("chain {to}, for good"), Outcome::Enters),
        Action::Target(target) => return (target.explain(), outcome(&target.effect())),
    };
    (what.to_owned(), outcome)
}

fn outcome(effect: &Effect) -> Outcome {
    match effect {
        Effect::Redirect(_)
        | Effect::Destination(_)
        | Effect::Network { .. }
        | Effect::Prefix { destination: true, .. }
        | Effect::Transparent { .. } => Outcome::Redirected,
        Effect::Source(_) | Effect::OutgoingSource(_) => Outcome::Accepted,
        Effect::Stop => Outcome::Dropped,
        Effect::Queue { .. } => Outcome::Handed,
        Effect::Opaque(_) => Outcome::Unknown,
        // All others change something, and the packet goes on.
        _ => Outcome::GoesOn,
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
