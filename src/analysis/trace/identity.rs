//! Who a process is for the rules: the users and groups that its next socket gets.

use thiserror::Error;

use super::Tracer;
use crate::model::{IdMaps, Process};

/// User and groups of a process, as the owner of the network namespace counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Further groups. One that the namespace's owner does not count is left out: no rule can name it.
    pub groups: Vec<u32>,
}

/// One of several processes that may be meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its number, as the node counts.
    pub pid: u32,
    /// Its name (hostile).
    pub name: String,
    /// Name of its container.
    pub container: Option<String>,
    /// Who it is; `None` where the namespace's owner does not count its user or group.
    pub identity: Option<Identity>,
}

/// Why a process is not known by a name.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum IdentityError {
    /// Processes were not read.
    #[error("which processes there are is not known: they were not read")]
    Unread,
    /// None fits.
    #[error("there is no process of {who}{}", among(.containers))]
    Nobody {
        /// What was asked for.
        who: String,
        /// Containers that have processes.
        containers: Vec<String>,
    },
    /// Several fit, that are not the same user with the same groups.
    #[error("the processes of {who} are of different users or groups: {}", listed(.candidates))]
    Several {
        /// What was asked for.
        who: String,
        /// All of them.
        candidates: Vec<Candidate>,
    },
    /// The namespace's owner does not count its user or group, or nobody knows how it counts.
    #[error("process {pid} has no user and group in the numbering of the namespace's owner")]
    Uncounted {
        /// Its number, as the node counts.
        pid: u32,
    },
}

fn among(containers: &[String]) -> String {
    if containers.is_empty() {
        String::new()
    } else {
        format!("; containers with processes: {}", containers.join(", "))
    }
}

fn listed(candidates: &[Candidate]) -> String {
    let one = |candidate: &Candidate| {
        let Candidate { pid, name, identity, .. } = candidate;
        match identity {
            Some(Identity { uid, gid, groups }) if groups.is_empty() => {
                format!("pid/{pid} {name} (UID {uid}, GID {gid})")
            }
            Some(Identity { uid, gid, groups }) => {
                let groups: Vec<String> = groups.iter().map(u32::to_string).collect();
                format!("pid/{pid} {name} (UID {uid}, GID {gid}, groups {})", groups.join(" "))
            }
            None => format!("pid/{pid} {name}"),
        }
    };
    candidates.iter().map(one).collect::<Vec<_>>().join(", ")
}

impl Identity {
    /// That of a process; `None` where the namespace's owner does not count its user or group.
    #[must_use]
    pub fn of(process: &Process, ids: &IdMaps) -> Option<Self> {
        let groups = process.groups.iter().filter_map(|group| ids.inside_gid(*group));
        Some(Self { uid: ids.inside_uid(process.uid)?, gid: ids.inside_gid(process.gid)?, groups: groups.collect() })
    }
}

impl Tracer<'_> {
    /// Who a process is: `pid/N`, or one of a container by `container/NAME` or its name alone.
    ///
    /// # Errors
    /// [`IdentityError`]. Several processes of a container are no error where all are the same user with the same groups.
    pub fn identity(&self, who: &str) -> Result<Identity, IdentityError> {
        let all = self.snapshot.processes.as_ref().ok_or(IdentityError::Unread)?;
        let number = who.strip_prefix("pid/").and_then(|number| number.parse::<u32>().ok());
        let container = who.strip_prefix("container/").unwrap_or(who);
        let meant = |process: &&Process| match number {
            Some(number) => process.pid == number,
            None => process.container.as_deref() == Some(container) && process.can_send(),
        };
        let found: Vec<&Process> = all.iter().filter(meant).collect();
        let Some(first) = found.first() else {
            let mut containers: Vec<String> = all.iter().filter_map(|process| process.container.clone()).collect();
            containers.sort_unstable();
            containers.dedup();
            return Err(IdentityError::Nobody { who: who.to_owned(), containers });
        };
        if !found.iter().all(|process| alike(process, first)) {
            let candidates = found.iter().map(|process| self.candidate(process)).collect();
            return Err(IdentityError::Several { who: who.to_owned(), candidates });
        }
        self.identity_of(first).ok_or(IdentityError::Uncounted { pid: first.pid })
    }

    pub(super) fn identity_of(&self, process: &Process) -> Option<Identity> {
        Identity::of(process, self.snapshot.ids.as_ref()?)
    }

    fn candidate(&self, process: &Process) -> Candidate {
        Candidate {
            pid: process.pid,
            name: process.name.clone(),
            container: process.container.clone(),
            identity: self.identity_of(process),
        }
    }
}

/// The same user with the same groups, in whatever order.
pub(super) fn alike(one: &Process, other: &Process) -> bool {
    let sorted = |process: &Process| {
        let mut groups = process.groups.clone();
        groups.sort_unstable();
        groups
    };
    (one.uid, one.gid) == (other.uid, other.gid) && sorted(one) == sorted(other)
}

#[cfg(test)]
mod tests;
