//! What is found out about a change beside itself: who holds the connection's socket, which way it went, by which rule.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use crate::analysis::following::{By, Change, Followed, What};
use crate::analysis::join::{Dialled, Rulebook, Way};
use crate::analysis::rulebook::SnapshotRules;
use crate::capture::follow::{Budget, Found, Owners};
use crate::cli::source::Held;
use crate::model::{Endpoint, Process, Protocol, RuleRef, Snapshot};
use crate::report::watch::Judged;

/// So much is kept of what was found out; beyond it, it is forgotten, and looked for again.
const MOST: usize = 1 << 16;

/// What decides whether two new connections meet the same rule.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Alike {
    protocol: Protocol,
    source: std::net::IpAddr,
    destination: Endpoint,
    incoming: bool,
    uid: Option<u32>,
    gid: Option<u32>,
    mark: Option<u32>,
}

/// The rules that a connection meets.
#[derive(Debug, Clone, Default)]
struct Met {
    redirecting: Option<Arc<RuleRef>>,
    exempting: Option<Arc<RuleRef>>,
}

/// What was found out about one change.
#[derive(Debug, Clone, Default)]
pub(super) struct Judgement {
    way: Option<Way>,
    rule: Option<Arc<RuleRef>>,
    owner: Option<Arc<Process>>,
    uid: Option<u32>,
    unsought: bool,
}

impl Judgement {
    pub(super) fn judged(&self) -> Judged<'_> {
        Judged {
            way: self.way,
            rule: self.rule.as_deref(),
            owner: self.owner.as_deref(),
            uid: self.uid,
            unsought: self.unsought,
        }
    }
}

/// Judges changes by the rules as they were when the watch began.
pub(super) struct Judge<'a> {
    snapshot: &'a Snapshot,
    rules: SnapshotRules<'a>,
    owners: Owners,
    /// The time for asking rules.
    asking: Budget,
    found: HashMap<(Protocol, By), Found>,
    met: HashMap<Alike, Met>,
}

impl<'a> Judge<'a> {
    pub(super) fn new(snapshot: &'a Snapshot, held: &Held) -> Self {
        let known = snapshot.processes.clone().unwrap_or_default();
        Self {
            snapshot,
            rules: SnapshotRules::of(snapshot),
            owners: Owners::new(&held.netns, &held.proc_root, &snapshot.workload.containers, known),
            asking: Budget::new(),
            found: HashMap::new(),
            met: HashMap::new(),
        }
    }

    /// Whether some rule keeps tracking on, as far as that can be said.
    pub(super) fn tracks(&self, ipv6: bool) -> Option<bool> {
        self.rules.tracks(ipv6)
    }

    /// Looks for the owners of all connections of these changes at once.
    pub(super) fn look(&mut self, changes: &[Change]) {
        if self.found.len() > MOST {
            self.found.clear();
        }
        let mut ownerless = Vec::new();
        for change in changes {
            let Some(of) = &change.of else { continue };
            let place = (of.protocol, of.by);
            let known = self.found.get(&place);
            if known.is_some_and(|found| found.owner.is_some()) {
                continue;
            }
            let found = match of.by {
                // What is over has no socket any more, or none that is its own.
                By::Entry { .. } if matches!(change.what, What::Closed | What::Counted) => None,
                By::Entry { .. } if self.snapshot.is_local(of.source.address) => {
                    self.owners.socket(of.protocol, of.source, of.dialled)
                }
                By::Entry { answers, .. } => match of.went.filter(|went| self.snapshot.is_local(went.address)) {
                    Some(went) => self.owners.socket(of.protocol, went, answers),
                    None => None,
                },
                By::Socket { inode: 0, .. } => None,
                By::Socket { inode, uid, .. } => {
                    let owner = self.owners.known(inode);
                    Some(Found { inode, uid: uid.unwrap_or_default(), mark: None, owner })
                }
            };
            if let Some(found) = found.filter(|found| found.inode != 0) {
                ownerless.extend(Some((place, found.inode)).filter(|_| found.owner.is_none()));
                self.found.insert(place, found);
            }
        }
        let inodes: Vec<u32> = ownerless.iter().map(|(_, inode)| *inode).collect();
        self.owners.look_for(&inodes);
        for (place, inode) in ownerless {
            let owner = self.owners.just_seen(inode);
            if let Some(found) = self.found.get_mut(&place) {
                found.owner = owner;
            }
        }
    }

    /// What is known of a change. Where nothing is tracked in its family, packets go where they are sent: that is entered in it.
    pub(super) fn judge(&mut self, change: &mut Change, untracked: impl Fn(bool) -> bool) -> Judgement {
        let Some(of) = &mut change.of else { return Judgement::default() };
        let found = self.found.get(&(of.protocol, of.by)).cloned();
        let ipv6 = of.dialled.address.is_ipv6();
        let direct = matches!(of.by, By::Socket { .. }) && untracked(ipv6) && self.rules.tracks(ipv6) == Some(false);
        if direct {
            of.went = Some(of.dialled);
        }
        let over = matches!(change.what, What::Closed | What::Counted);
        let has_owner = found.as_ref().is_some_and(|found| found.owner.is_some());
        let mut judgement = Judgement {
            way: Some(Way::Unknown),
            rule: None,
            owner: found.as_ref().and_then(|found| found.owner.clone()),
            uid: found.as_ref().map(|found| found.uid),
            unsought: !has_owner && !over && !self.owners.may_look(),
        };
        match (of.by, direct) {
            (By::Socket { .. }, true) => judgement.way = Some(Way::Direct),
            (By::Socket { .. }, false) => {}
            (By::Entry { .. }, _) => {
                let (way, rule) = self.way(*of, found.as_ref());
                (judgement.way, judgement.rule) = (Some(way), rule);
            }
        }
        judgement
    }

    /// The way of a tracked connection, and the rule that decided.
    fn way(&mut self, of: Followed, found: Option<&Found>) -> (Way, Option<Arc<RuleRef>>) {
        let from_here = self.snapshot.is_local(of.source.address);
        let went = of.went.unwrap_or(of.dialled);
        let met = self.met(of, !from_here, found.filter(|_| from_here));
        if went != of.dialled {
            let way =
                if !from_here && self.snapshot.is_local(went.address) { Way::Intercepted } else { Way::Redirected };
            return (way, met.redirecting);
        }
        if from_here {
            return if met.exempting.is_some() { (Way::Exempt, met.exempting) } else { (Way::Direct, None) };
        }
        // Not translated, though a rule wants it elsewhere: TPROXY, which is of mangle, takes packets without translating them.
        match met.redirecting {
            Some(rule) if rule.table == "mangle" => (Way::Intercepted, Some(rule)),
            Some(rule) => (Way::Unknown, Some(rule)),
            None => (Way::Direct, None),
        }
    }

    /// The rules that it meets, as far as there is time to ask them.
    fn met(&mut self, of: Followed, incoming: bool, found: Option<&Found>) -> Met {
        let gid = found.and_then(|found| found.owner.as_ref()).map(|owner| owner.gid);
        let (uid, mark) = (found.map(|found| found.uid), found.and_then(|found| found.mark));
        let alike = Alike {
            protocol: of.protocol,
            source: of.source.address,
            destination: of.dialled,
            incoming,
            uid,
            gid,
            mark,
        };
        if let Some(met) = self.met.get(&alike) {
            return met.clone();
        }
        if !self.asking.lasts() {
            return Met::default();
        }
        let begun = Instant::now();
        let packet =
            Dialled { protocol: of.protocol, source: of.source, destination: of.dialled, incoming, uid, gid, mark };
        let met = Met {
            redirecting: self.rules.redirecting(&packet).map(Arc::new),
            exempting: if incoming { None } else { self.rules.exempting(&packet).map(Arc::new) },
        };
        self.asking.pay(begun);
        if self.met.len() > MOST {
            self.met.clear();
        }
        self.met.insert(alike, met.clone());
        met
    }
}
