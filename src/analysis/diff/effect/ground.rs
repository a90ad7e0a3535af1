//! What two snapshots have to share to be compared: what one does not tell of its surroundings is taken to be as the other's.

use std::borrow::Cow;

use crate::model::{Snapshot, Subject};

/// Both with what is needed to compare what their rules do. Saved rules are taken to stand in the other's place: among its addresses,
/// routes and sockets. What only one of two workloads tells is left out of both.
#[must_use]
pub fn on_common_ground<'a>(before: &'a Snapshot, after: &'a Snapshot) -> (Cow<'a, Snapshot>, Cow<'a, Snapshot>) {
    let (mut before, mut after) = (Cow::Borrowed(before), Cow::Borrowed(after));
    match (is_bare(&before), is_bare(&after)) {
        (true, false) => lend(&after.clone(), before.to_mut()),
        (false, true) => lend(&before.clone(), after.to_mut()),
        _ => {}
    }
    if before.interfaces.is_some() != after.interfaces.is_some() {
        for side in [&mut before, &mut after] {
            let side = side.to_mut();
            (side.interfaces, side.routes) = (None, None);
        }
    }
    if before.routes.is_some() != after.routes.is_some() {
        (before.to_mut().routes, after.to_mut().routes) = (None, None);
    }
    if before.sockets.is_some() != after.sockets.is_some() {
        (before.to_mut().sockets, after.to_mut().sockets) = (None, None);
    }
    (before, after)
}

/// It holds rules, and tells nothing of what is around them.
fn is_bare(snapshot: &Snapshot) -> bool {
    snapshot.interfaces.is_none() && snapshot.routes.is_none() && snapshot.sockets.is_none()
}

fn lend(from: &Snapshot, to: &mut Snapshot) {
    to.interfaces.clone_from(&from.interfaces);
    to.routes.clone_from(&from.routes);
    to.sockets.clone_from(&from.sockets);
    to.processes.clone_from(&from.processes);
    to.settings.clone_from(&from.settings);
    to.ids.clone_from(&from.ids);
    to.tracking.clone_from(&from.tracking);
    if to.ipsets.is_empty() {
        to.ipsets.clone_from(&from.ipsets);
    }
    let lent = from.unread.iter().filter(|unread| unread.subject != Subject::Rules);
    to.unread.extend(lent.cloned());
}
