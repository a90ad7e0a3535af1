//! Who sends a packet of which that is not told: the workload's one program, where it has but one beside its proxy.

use std::collections::BTreeSet;

use super::Tracer;
use super::identity::{Identity, alike};
use crate::model::{Process, SocketState};
use crate::xt::{Action, Effect};

/// Who is taken to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sender {
    pub(super) identity: Identity,
    /// Its name and number, and how it is counted (hostile).
    pub(super) words: String,
}

impl Tracer<'_> {
    /// The user and groups that all processes of the workload have, but for those that wait where rules redirect to; `None` where they
    /// differ, or are not known.
    pub(super) fn sender(&self) -> Option<&Sender> {
        self.sender.get_or_init(|| self.only_sender()).as_ref()
    }

    /// The group that the processes of a user have, where they have but one.
    pub(super) fn group_of(&self, uid: u32) -> Option<u32> {
        let all = self.snapshot.processes.iter().flatten().filter(|process| process.can_send());
        let mut found = all.filter_map(|process| self.identity_of(process)).filter(|identity| identity.uid == uid);
        let first = found.next()?.gid;
        found.all(|other| other.gid == first).then_some(first)
    }

    fn only_sender(&self) -> Option<Sender> {
        let all = self.snapshot.processes.as_ref()?;
        let ports = self.redirected_to();
        let sockets = self.snapshot.sockets.iter().flatten();
        let waits = |inode: u32| {
            let socket = sockets.clone().find(|socket| socket.inode == inode);
            socket.is_some_and(|socket| socket.state == SocketState::Listen && ports.contains(&socket.local.port))
        };
        let sends = |process: &&Process| {
            // What is in no container holds the sandbox, or is anybody's.
            !process.elsewhere
                && process.can_send()
                && process.container.is_some()
                && !process.sockets.iter().any(|inode| waits(*inode))
        };
        let mut senders = all.iter().filter(sends);
        let first = senders.next()?;
        let identity = senders.all(|other| alike(first, other)).then(|| self.identity_of(first))??;
        let words = format!("{}/{} (UID {}, GID {})", first.name, first.pid, identity.uid, identity.gid);
        Some(Sender { identity, words })
    }

    /// Ports of this machine to which rules redirect.
    fn redirected_to(&self) -> BTreeSet<u16> {
        let mut ports = BTreeSet::new();
        for ipv6 in [false, true] {
            self.rules.each(ipv6, |rule, _| {
                let Action::Target(target) = &rule.action else { return };
                match target.effect() {
                    Effect::Redirect(Some(range)) => {
                        ports.extend(range.from..=range.to.min(range.from.saturating_add(64)))
                    }
                    Effect::Transparent { port, .. } => {
                        ports.insert(port);
                    }
                    Effect::Destination(range) => ports.extend(range.ports.map(|ports| ports.from)),
                    _ => {}
                }
            });
        }
        ports
    }
}
