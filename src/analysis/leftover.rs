//! What rules leave over for those behind them: of which rule it may be said that it gets the rest.

use super::describe::{Outcome, outcome};
use super::native::{Reading, reading};
use super::paths::Paths;
use crate::model::{Chain, Family, Rule, Table};
use crate::xt::{self, Action, Effect, Match};

/// Whether the rule, of which this is the reading, asks for nothing but a protocol or a family, is the last in its chain for such
/// packets, and gets what others took none of.
pub(super) fn gets_the_rest<'a>(
    (family, table): (Family, &Table),
    paths: &Paths<'a>,
    (chain, index): (&'a Chain, usize),
    own: &Reading<'_>,
) -> bool {
    if index == 0 || !takes_all(&own.rule) {
        return false;
    }
    let (before, after) = (chain.rules.get(..index), chain.rules.get(index + 1..));
    let apart = |rule: &Rule| reading(family, table, rule).is_some_and(|other| apart(own, &other));
    let takes = |rule: &'a Rule| match reading(family, table, rule) {
        Some(other) => !self::apart(own, &other) && takes(paths, &other.rule),
        None => rule.ends_some() || paths.leads_to(rule).into_iter().any(|chain| paths.ends_some(chain)),
    };
    after.unwrap_or_default().iter().all(apart) && before.unwrap_or_default().iter().any(takes)
}

/// Whether the rule takes every packet that comes to it, so that nothing is left for what stands behind it.
#[must_use]
pub fn takes_everything(family: Family, table: &Table, rule: &Rule) -> bool {
    reading(family, table, rule).is_some_and(|own| {
        let ends = match &own.rule.action {
            Action::Accept | Action::Drop | Action::Return | Action::Goto(_) => true,
            Action::Target(target) => {
                let effect = target.effect();
                !matches!(effect, Effect::Prefix { .. })
                    && matches!(outcome(&effect), Outcome::Redirected | Outcome::Accepted | Outcome::Dropped)
            }
            Action::None | Action::Queue | Action::Jump(_) => false,
        };
        ends && own.ipv6.is_none() && own.rule.ip.protocol.is_none() && takes_all(&own.rule)
    })
}

/// Whether the rule asks for nothing but a protocol, or packets of one family.
fn takes_all(body: &xt::Rule) -> bool {
    let ip = &body.ip;
    let plain = ip.source.is_none() && ip.destination.is_none() && ip.input.is_none() && ip.output.is_none();
    plain && ip.fragments.is_none() && body.matches.iter().all(|part| matches!(part, Match::Comment(_)))
}

/// Whether no packet is asked for by both, as far as their families and protocols tell.
fn apart(one: &Reading<'_>, other: &Reading<'_>) -> bool {
    let families = matches!((one.ipv6, other.ipv6), (Some(one), Some(other)) if one != other);
    let protocols = (one.rule.ip.protocol, other.rule.ip.protocol);
    families
        || matches!(protocols, (Some(one), Some(other)) if !one.negated && !other.negated && one.number != other.number)
}

/// Whether packets that match do not meet the rest of the chain, or some of them: not those that only get a mark, nor those that
/// come back from another chain.
fn takes(paths: &Paths<'_>, body: &xt::Rule) -> bool {
    match &body.action {
        Action::None => false,
        Action::Accept | Action::Drop | Action::Queue | Action::Return | Action::Goto(_) => true,
        // Of a jump that everything takes, the rest is what comes back, which is not what a reader thinks of.
        Action::Jump(to) => !takes_all(body) && paths.ends_some(to),
        Action::Target(target) => {
            let effect = target.effect();
            let ends = matches!(
                outcome(&effect),
                Outcome::Redirected | Outcome::Accepted | Outcome::Dropped | Outcome::Handed
            );
            ends && !matches!(effect, Effect::Prefix { .. })
        }
    }
}
