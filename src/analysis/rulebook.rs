//! The rules of a snapshot, asked which of them redirects or exempts a connection.

use std::cell::RefCell;
use std::collections::BTreeSet;

use super::eval::{End, Rulebase};
use super::join::{Dialled, Rulebook};
use super::native::{Branch, branches};
use crate::model::{Hook, IdMaps, Interface, RuleRef, Snapshot, Subject};
use crate::packet::{Answer, Condition, DeviceName, Field, Known, Packet};
use crate::xt::{Action, Effect, NatRange, PortRange};

/// Asks a snapshot's rules.
#[derive(Debug)]
pub struct SnapshotRules<'a> {
    snapshot: &'a Snapshot,
    rules: Rulebase<'a>,
    /// The last answer: of one packet several things are asked.
    last: RefCell<Option<(Dialled, End)>>,
}

/// The bit of a new connection (`XT_CONNTRACK_STATE_BIT(IP_CT_NEW)`): nat rules see no other packet (K1).
const NEW: u32 = 1 << 3;

impl<'a> SnapshotRules<'a> {
    /// The rules of this snapshot.
    #[must_use]
    pub fn of(snapshot: &'a Snapshot) -> Self {
        Self { snapshot, rules: Rulebase::of(snapshot), last: RefCell::new(None) }
    }

    /// The ports of this namespace to which rules of IPv4 (`false`) or IPv6 (`true`) redirect: by REDIRECT, TPROXY, and DNAT to one of
    /// its own addresses.
    #[must_use]
    pub fn targets(&self, ipv6: bool) -> BTreeSet<u16> {
        let mut found = BTreeSet::new();
        self.rules.each(ipv6, |rule, _| {
            let Action::Target(target) = &rule.action else { return };
            let here = |range: &NatRange| range.addresses.is_some_and(|(first, _)| self.snapshot.is_local(first));
            let ports = match target.effect() {
                Effect::Redirect(ports) => ports,
                Effect::Destination(range) if here(&range) => range.ports,
                Effect::Transparent { port, .. } => (port != 0).then_some(PortRange { from: port, to: port }),
                _ => None,
            };
            found.extend(ports.into_iter().flat_map(|ports| ports.from..=ports.to));
        });
        found
    }

    fn end(&self, dialled: &Dialled) -> End {
        if let Some((_, end)) = self.last.borrow().as_ref().filter(|(asked, _)| asked == dialled) {
            return end.clone();
        }
        let hook = if dialled.incoming { Hook::Prerouting } else { Hook::Output };
        let end = self.rules.until_redirect(hook, &self.packet(dialled), dialled.destination.address.is_ipv6());
        self.last.replace(Some((dialled.clone(), end.clone())));
        end
    }

    /// Whether all rules were read.
    fn rules_known(&self) -> bool {
        self.snapshot.rulesets.is_some() && self.snapshot.unread_about(&[Subject::Rules]).next().is_none()
    }

    fn packet(&self, dialled: &Dialled) -> Packet {
        // Rules count users as the user namespace does that owns the network namespace (K14). What has no number there has none that
        // a rule could name, and native rules see another one in its place: so nothing is said of it.
        let ids = self.snapshot.ids.as_ref();
        let owner = |id: Option<u32>, inside: fn(&IdMaps, u32) -> Option<u32>| match dialled.incoming {
            true => Known::Absent,
            false => Known::from_option(id.and_then(|id| ids.map_or(Some(id), |ids| inside(ids, id)))),
        };
        Packet {
            protocol: Known::Is(dialled.protocol.number()),
            source: Known::Is(dialled.source.address),
            destination: Known::Is(dialled.destination.address),
            source_local: Known::Is(self.snapshot.is_local(dialled.source.address)),
            destination_local: Known::Is(self.snapshot.is_local(dialled.destination.address)),
            source_port: Known::Is(dialled.source.port),
            destination_port: Known::Is(dialled.destination.port),
            input: if dialled.incoming { self.device(dialled.destination.address) } else { Known::Absent },
            output: if dialled.incoming { Known::Absent } else { self.out_device(dialled) },
            uid: owner(dialled.uid, IdMaps::inside_uid),
            gid: owner(dialled.gid, IdMaps::inside_gid),
            mark: if dialled.incoming { Known::Is(0) } else { Known::from_option(dialled.mark) },
            connection_mark: Known::Is(0),
            state: Known::Is(NEW),
            ..Packet::default()
        }
    }

    /// The device that has this address.
    fn device(&self, address: std::net::IpAddr) -> Known<DeviceName> {
        let has = |interface: &&Interface| interface.addresses.iter().any(|(own, _)| *own == address);
        Known::from_option(
            self.snapshot.interfaces.iter().flatten().find(has).and_then(|interface| DeviceName::new(&interface.name)),
        )
    }

    /// Loopback for the namespace's own addresses; else the only other device that is up, if there is but one.
    fn out_device(&self, dialled: &Dialled) -> Known<DeviceName> {
        let interfaces = || self.snapshot.interfaces.iter().flatten();
        if self.snapshot.is_local(dialled.destination.address) {
            return Known::from_option(
                interfaces().find(|one| one.loopback).and_then(|one| DeviceName::new(&one.name)),
            );
        }
        let mut others = interfaces().filter(|one| !one.loopback && one.up);
        match (others.next(), others.next()) {
            (Some(only), None) => Known::from_option(DeviceName::new(&only.name)),
            _ => self.device(dialled.source.address),
        }
    }
}

impl Rulebook for SnapshotRules<'_> {
    fn redirecting(&self, packet: &Dialled) -> Option<RuleRef> {
        match self.end(packet) {
            End::Redirected { by, .. } => Some(by),
            _ => None,
        }
    }

    fn exempting(&self, packet: &Dialled) -> Option<RuleRef> {
        let End::Untouched { by: Some(by) } = self.end(packet) else { return None };
        let (table, rule) = by.find(self.snapshot.rulesets())?;
        let branches = branches(by.family, table, rule);
        let owner = |branch: &Branch<'_>| names_owner(&branch.reading.condition(), false);
        branches.iter().any(owner).then_some(by)
    }

    fn untracking(&self, packet: &Dialled) -> Option<RuleRef> {
        let End::Untouched { by: Some(by) } = self.end(packet) else { return None };
        let (table, rule) = by.find(self.snapshot.rulesets())?;
        let untracks =
            |action: &Action| matches!(action, Action::Target(target) if target.effect() == Effect::Untracked);
        branches(by.family, table, rule).iter().any(|branch| branch.actions().any(untracks)).then_some(by)
    }

    fn changes_source(&self, packet: &Dialled) -> bool {
        let ipv6 = packet.destination.address.is_ipv6();
        let packet = self.packet(packet);
        let mut changes = !self.rules_known();
        self.rules.each(ipv6, |rule, condition| {
            changes |= matches!(&rule.action, Action::Target(target) if matches!(
                target.effect(),
                Effect::Source(_) | Effect::OutgoingSource(_) | Effect::Network { .. }
            )) && condition.ask(&packet) != Answer::No;
        });
        changes
    }

    fn tracks(&self, ipv6: bool) -> Option<bool> {
        if !self.rules_known() {
            return None;
        }
        self.rules.tracks(ipv6)
    }
}

/// Whether the condition names, and does not only exclude, an owner or a mark.
fn names_owner(condition: &Condition, negated: bool) -> bool {
    match condition {
        Condition::All(parts) | Condition::Any(parts) => parts.iter().any(|part| names_owner(part, negated)),
        Condition::Not(inner) => names_owner(inner, !negated),
        other => !negated && [Field::Uid, Field::Gid, Field::Mark].iter().any(|field| other.asks_about(*field)),
    }
}
