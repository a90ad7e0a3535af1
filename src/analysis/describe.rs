//! What a rule means, in plain words: who, and what happens to them.

use super::leftover::gets_the_rest;
use super::native::{Reading, alone, asked_first, asks, reading};
use super::paths::Paths;
use crate::model::{Body, Chain, Family, NativeRule, Policy, Rule, Table};
use crate::nft::{Expression, Statement, Verdict, statement_text, statements, written};
use crate::syntax::{place_of, print_native};
use crate::xt::{Action, Effect};

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
    let Some(own) = reading(family, table, rule) else {
        return match &rule.body {
            Body::Nft(native) => by_statement((family, table), paths, (chain, rule), native),
            Body::Xt(_) => None,
        };
    };
    let Reading { rule: body, ipv6 } = &own;
    let who = body.subject(*ipv6, gets_the_rest((family, table), paths, (chain, index), &own));
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

/// A rule of nft that does what no single rule of iptables does: which packets in the same words, then its deeds one by one, in
/// nft's words where there are no others.
fn by_statement<'a>(
    (family, table): (Family, &Table),
    paths: &Paths<'a>,
    (chain, rule): (&'a Chain, &'a Rule),
    native: &NativeRule,
) -> Option<Told> {
    let place = place_of(family, table, &[], false);
    let outcome = by_verdict(paths, chain, rule);
    let mut deeds = Vec::new();
    for statement in written(native, place)?.into_iter().skip_while(asks) {
        let text = || statement_text(&statement, &place);
        deeds.push(match &statement {
            Statement::Plain(Expression::Counter { .. }) => continue,
            Statement::Unknown(_) => return None,
            Statement::Match { .. } => format!("if {}", text()?),
            Statement::VerdictMap { .. } => format!("as a map says ({})", text()?),
            Statement::Plain(Expression::Log { .. }) => format!("logged ({})", text()?),
            Statement::Update { .. } => format!("noted in a set ({})", text()?),
            _ => match alone(family, table, &statement) {
                Some(deed) => action(paths, chain, &deed).0,
                None => text()?,
            },
        });
    }
    let Reading { rule: tests, ipv6 } = asked_first(family, table, native)?;
    let what = if deeds.is_empty() { "counted".to_owned() } else { deeds.join(", then ") };
    Some(Told { who: tests.subject(ipv6, false), what, outcome })
}

/// What a rule does, in its own syntax: `-j REDIRECT --to-ports 15001`, `redirect to :15001`; the whole of it where its parts cannot
/// be told apart. Empty for a rule that only counts.
#[must_use]
pub fn action_text(family: Family, table: &Table, rule: &Rule) -> String {
    let native = match &rule.body {
        Body::Xt(rule) => return rule.action_text(),
        Body::Nft(native) => native,
    };
    let place = place_of(family, table, &[], false);
    let deeds = written(native, place).and_then(|statements| {
        let deeds = statements.iter().filter(|statement| !asks(statement));
        // What xtables wrote has no words of its own here.
        deeds.map(|statement| statement_text(statement, &place).filter(|text| !text.is_empty())).collect()
    });
    deeds.map_or_else(|| print_native(native, &place).0, |deeds: Vec<String>| deeds.join(" "))
}

/// What becomes of the packets of such a rule, as far as its verdict tells.
fn by_verdict<'a>(paths: &Paths<'a>, chain: &Chain, rule: &'a Rule) -> Outcome {
    let Body::Nft(native) = &rule.body else { return Outcome::Unknown };
    let verdict = native.expressions.iter().find_map(|expression| match expression {
        Expression::Immediate(verdict) => Some(verdict),
        _ => None,
    });
    let map = native.expressions.iter().any(|part| matches!(part, Expression::Lookup { into: Some(0), .. }));
    match verdict {
        _ if paths.sends(chain, rule) => Outcome::Redirected,
        _ if map && paths.leads_to(rule).is_empty() => Outcome::Unknown,
        _ if map => Outcome::Enters,
        Some(Verdict::Drop) => Outcome::Dropped,
        Some(Verdict::Accept) => self::action(paths, chain, &Action::Accept).1,
        Some(Verdict::Jump(_) | Verdict::Goto(_)) => Outcome::Enters,
        Some(Verdict::Return) => self::action(paths, chain, &Action::Return).1,
        Some(Verdict::Continue | Verdict::Other(_)) | None => Outcome::GoesOn,
    }
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
        Action::Target(target) => {
            let effect = target.effect();
            let source = matches!(effect, Effect::Network { .. }) && paths.is_behind(chain);
            return (target.explain(), if source { Outcome::Accepted } else { outcome(&effect) });
        }
    };
    (what.to_owned(), outcome)
}

/// What becomes of a packet to which a target does this.
pub(super) fn outcome(effect: &Effect) -> Outcome {
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
