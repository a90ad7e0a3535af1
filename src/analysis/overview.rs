//! How much there is in a namespace, in numbers: a workload's line in a list.

use super::mesh::{self, Mesh};
use super::paths::Paths;
use crate::model::{Backend, Snapshot, Subject, Table, Unread};

/// The numbers of one namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overview {
    /// The subsystems that hold rules.
    pub backends: Vec<Backend>,
    /// Rules in all tables of all families; `None` when not all could be read.
    pub rules: Option<usize>,
    /// Whether a rule sends packets elsewhere; `None` when none of those that were read does, and not all were.
    pub redirects: Option<bool>,
    /// The mesh that rules tell of.
    pub mesh: Option<Mesh>,
    /// Live connections: those that `conns` shows; `None` when not all sockets could be read.
    pub connections: Option<usize>,
    /// What could not be read.
    pub unread: Vec<Unread>,
}

impl Overview {
    /// Counts what a snapshot holds.
    #[must_use]
    pub fn of(snapshot: &Snapshot) -> Self {
        let whole = |subject: Subject| snapshot.unread_about(&[subject]).next().is_none();
        let rulesets = || snapshot.rulesets().iter().filter(|ruleset| ruleset.rule_count() > 0);
        let backends = [Backend::Legacy, Backend::Nft].into_iter();
        let tables = || rulesets().flat_map(|ruleset| &ruleset.tables);
        let redirects = |table: &Table| {
            let rules = || table.chains.iter().flat_map(|chain| chain.rules.iter().map(move |rule| (chain, rule)));
            let paths = rules().any(|(_, rule)| rule.redirects()).then(|| Paths::of(table));
            paths.is_some_and(|paths| rules().any(|(chain, rule)| paths.sends(chain, rule)))
        };
        let redirects = tables().any(redirects);
        Self {
            backends: backends.filter(|backend| rulesets().any(|ruleset| ruleset.backend == *backend)).collect(),
            rules: whole(Subject::Rules).then(|| rulesets().map(|ruleset| ruleset.rule_count()).sum()),
            mesh: mesh::ruled(snapshot),
            redirects: Some(redirects).filter(|redirects| *redirects || whole(Subject::Rules)),
            connections: whole(Subject::Sockets).then(|| {
                let sockets = snapshot.sockets.iter().flatten();
                sockets.filter(|socket| socket.state.is_live()).count()
            }),
            unread: snapshot.unread.clone(),
        }
    }
}
