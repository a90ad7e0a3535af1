//! Capture by TPROXY: the rule, its mark, and the marks that rules leave alone.

use std::collections::BTreeSet;

use super::case::{Case, Target};
use super::going::Going;
use crate::analysis::ask::Asker;
use crate::analysis::native::branches;
use crate::analysis::trace::{Identity, Question};
use crate::model::{Endpoint, RuleRef};
use crate::packet::state::NEW;
use crate::xt::{Action, Effect};

/// A rule that gives packets to a transparent socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tproxy {
    /// The rule.
    pub rule: RuleRef,
    /// The socket's port.
    pub port: u16,
    /// The mark that packets get, by which routes take them in.
    pub mark: u32,
}

impl Case<'_> {
    /// The rule of a family that gives connections from outside to a transparent socket.
    #[must_use]
    pub fn transparent(&self, ipv6: bool) -> Option<Tproxy> {
        let port = self.lane(ipv6, true).filter(|lane| lane.transparent)?.port?;
        let sends = self.expected.sends.iter().filter(|(rule, to)| *to == port && rule.family.sees(ipv6));
        sends
            .filter_map(|(rule, port)| Some(Tproxy { rule: rule.clone(), port: *port, mark: self.given(rule)? }))
            .next()
    }

    /// The mark that a rule of TPROXY gives; a native rule sets it in a statement of its own.
    fn given(&self, name: &RuleRef) -> Option<u32> {
        let (table, rule) = name.find(self.snapshot.rulesets())?;
        let branches = branches(name.family, table, rule);
        let mut actions = branches.iter().flat_map(|branch| branch.before.iter().chain([&branch.reading.rule.action]));
        let effects: Vec<Effect> = actions
            .by_ref()
            .filter_map(|action| if let Action::Target(target) = action { Some(target.effect()) } else { None })
            .collect();
        let set = effects.iter().find_map(|effect| match effect {
            Effect::Mark { value, .. } => Some(*value),
            _ => None,
        });
        let taken = effects.iter().find_map(|effect| match effect {
            Effect::Transparent { mark, .. } => Some(*mark),
            _ => None,
        });
        set.or(taken)
    }

    /// Marks that some rule asks for.
    #[must_use]
    pub fn asked_marks(&self, ipv6: bool) -> BTreeSet<u32> {
        Asker::new(self.snapshot, ipv6).named.marks.iter().map(|(from, _)| *from).collect()
    }

    /// Where a connection with a mark goes that such a process opens to an address of the namespace.
    #[must_use]
    pub fn passes_on_marked(&self, who: Option<&Identity>, mark: u32, to: Endpoint) -> Going {
        let question = Question {
            uid: who.map(|who| who.uid),
            gid: who.map(|who| who.gid),
            groups: who.map(|who| who.groups.clone()),
            mark,
            state: Some(NEW),
            ..Question::to(to)
        };
        self.going(&question)
    }

    /// Places to which rules send connections, and where nobody waits at any address.
    #[must_use]
    pub fn deserted(&self) -> Vec<&Target> {
        if self.expected.mesh.is_none() || self.snapshot.sockets.is_none() {
            return Vec::new();
        }
        let speaks = self.families();
        let of = |target: &&Target| speaks.contains(&target.ipv6) && target.refused;
        self.targets().iter().filter(of).filter(|target| self.waiting_at(target).next().is_none()).collect()
    }

    /// Whether packets that are for others are passed on.
    #[must_use]
    pub fn forwards(&self) -> bool {
        let routing = self.snapshot.routes.as_ref();
        routing.and_then(|routing| routing.settings.ipv4("all", "forwarding")) == Some(1)
    }
}
