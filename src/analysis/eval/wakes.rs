//! Which rules make the kernel track connections (K22).

use super::line::Does;
use crate::xt::{Action, Effect, Match};

/// Whether the rule makes the kernel track connections (K22); `None` for what is not understood.
pub(super) fn wakes(does: Does<'_>) -> Option<bool> {
    let matches = does.rule.matches.iter().any(|part| part.tracks());
    let unknown = does.unread.is_some() || does.rule.matches.iter().any(|part| matches!(part, Match::Unknown(_)));
    let actions: Vec<Option<bool>> = does.actions().map(wakes_tracking).collect();
    if matches || actions.contains(&Some(true)) {
        return Some(true);
    }
    if unknown || actions.contains(&None) { None } else { Some(false) }
}

fn wakes_tracking(action: &Action) -> Option<bool> {
    let Action::Target(target) = action else { return Some(false) };
    match target.effect() {
        Effect::Redirect(_)
        | Effect::Destination(_)
        | Effect::Source(_)
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
