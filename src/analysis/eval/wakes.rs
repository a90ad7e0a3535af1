//! Which rules make the kernel track connections (K22).

use super::line::Does;
use crate::xt::{Action, Effect, Match, Unknown};

/// Whether the rule makes the kernel track connections of a family (K22); `None` for what is not understood.
pub(super) fn wakes(does: Does<'_>, ipv6: bool) -> Option<bool> {
    let matches = does.rule.matches.iter().any(|part| part.tracks() || native(part) == Some(true));
    let foreign = |part: &Match| matches!(part, Match::Unknown(_)) && native(part).is_none();
    let unknown = does.unread.is_some() || does.rule.matches.iter().any(foreign);
    let actions: Vec<Option<bool>> = does.actions().map(|action| wakes_tracking(action, ipv6)).collect();
    if matches || actions.contains(&Some(true)) {
        return Some(true);
    }
    if unknown || actions.contains(&None) { None } else { Some(false) }
}

/// Whether a comparison in nft's words asks about connections: its `ct` alone makes the kernel track (net/netfilter/nft_ct.c,
/// nft_connlimit.c).
fn native(part: &Match) -> Option<bool> {
    let Match::Unknown(unknown) = part else { return None };
    let Unknown::Native { text, .. } = &**unknown else { return None };
    Some(text.split_whitespace().any(|word| word == "ct"))
}

fn wakes_tracking(action: &Action, ipv6: bool) -> Option<bool> {
    let Action::Target(target) = action else { return Some(false) };
    match target.effect() {
        // Where a table sees both, a translation to an address wakes the family of that alone (`nft_nat_init`).
        Effect::Destination(range) | Effect::Source(range) => {
            Some(range.addresses.is_none_or(|(address, _)| address.is_ipv6() == ipv6))
        }
        Effect::Redirect(_)
        | Effect::OutgoingSource(_)
        | Effect::Network { .. }
        | Effect::Template { .. }
        | Effect::AnsweredForServer
        | Effect::ConnectionMark { .. }
        | Effect::SavedMark { .. }
        | Effect::RestoredMark { .. } => Some(true),
        Effect::Opaque(_) => None,
        _ => Some(matches!(target, crate::xt::Target::Connsecmark(_))),
    }
}
