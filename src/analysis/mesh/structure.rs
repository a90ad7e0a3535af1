//! What stands in the rules, whether or not a packet comes there: names, redirects with the hooks that lead to them, and exemptions.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::bystanders::BYSTANDERS;
use super::profile::{Profile, Sign, plain};
use crate::analysis::native::branches;
use crate::analysis::paths::Paths;
use crate::model::{Chain, Hook, RuleRef, Ruleset, Snapshot, Syntax, Table};
use crate::packet::{Condition, Field};
use crate::xt::{Action, Effect, Match};

/// A rule that sends packets to a port of the namespace.
#[derive(Debug)]
pub(super) struct Sends {
    pub(super) rule: RuleRef,
    pub(super) port: u16,
    pub(super) transparent: bool,
    /// It is a translation to a given address, as anybody publishes ports.
    pub(super) translated: bool,
    pub(super) dns: bool,
    /// The hooks lead there: OUTPUT, PREROUTING.
    pub(super) outbound: bool,
    pub(super) inbound: bool,
    pub(super) bystander: bool,
    pub(super) native: bool,
}

impl Sends {
    /// It is what a mesh does, and nobody else: to a port of the namespace, whatever was asked for, on a way that packets take.
    pub(super) fn is_of_a_mesh(&self) -> bool {
        !self.bystander && (self.outbound || self.inbound) && !self.translated && !self.dns
    }
}

/// Owners and marks whose packets rules of the outbound way leave alone without asking anything else.
#[derive(Debug, Default)]
pub(super) struct Exempted {
    pub(super) uids: BTreeSet<(u32, u32)>,
    pub(super) gids: BTreeSet<(u32, u32)>,
    pub(super) marks: BTreeSet<(u32, u32)>,
}

#[derive(Debug, Default)]
pub(super) struct Structure {
    pub(super) sends: Vec<Sends>,
    pub(super) exempted: Exempted,
    /// Conntrack zones are given to DNS.
    pub(super) dns_zones: Vec<RuleRef>,
    /// Of them, for a user (first) and for a group (second): Istio alone writes both.
    pub(super) zone_owners: (bool, bool),
    /// Marks with their masks that any rule speaks of.
    pub(super) marks: BTreeSet<(u32, u32)>,
}

/// Where a chain stands.
struct Place {
    outbound: bool,
    inbound: bool,
    /// Something redirects in it, or behind it.
    before: bool,
}

impl Structure {
    pub(super) fn of(snapshot: &Snapshot) -> Self {
        let mut found = Self::default();
        for ruleset in snapshot.rulesets() {
            ruleset
                .tables
                .iter()
                .filter(|table| !table.dormant)
                .for_each(|table| found.table(snapshot, ruleset, table));
        }
        found
    }

    fn table(&mut self, snapshot: &Snapshot, ruleset: &Ruleset, table: &Table) {
        let paths = Paths::of(table);
        let (out, into) = (reached(table, &paths, Hook::Output), reached(table, &paths, Hook::Prerouting));
        for chain in &table.chains {
            let place = Place {
                outbound: out.contains(&*chain.name),
                inbound: into.contains(&*chain.name),
                before: paths.redirects(&chain.name) || chain.hook.is_some() && paths.redirects_after(&chain.name),
            };
            for (index, rule) in chain.rules.iter().enumerate() {
                let name = RuleRef {
                    backend: ruleset.backend,
                    family: ruleset.family,
                    table: table.name.clone(),
                    chain: chain.name.clone(),
                    number: index + 1,
                };
                for branch in branches(ruleset.family, table, rule) {
                    let condition = branch.reading.condition();
                    marks(&condition, &mut self.marks);
                    branch
                        .actions()
                        .for_each(|action| self.action(snapshot, (table, chain), &place, &name, (&condition, action)));
                }
            }
        }
    }

    fn action(
        &mut self,
        snapshot: &Snapshot,
        (table, chain): (&Table, &Chain),
        place: &Place,
        name: &RuleRef,
        (condition, action): (&Condition, &Action),
    ) {
        let target = match action {
            Action::Target(target) => target,
            Action::Return | Action::Accept if place.outbound && place.before => return self.exempt(condition),
            _ => return,
        };
        let effect = target.effect();
        let dns = asks_port(condition, 53);
        if matches!(effect, Effect::Template { zone: Some(_) }) && (dns || asks_owner(condition)) {
            self.dns_zones.push(name.clone());
            self.zone_owners.0 |= condition.asks_about(Field::Uid);
            self.zone_owners.1 |= condition.asks_about(Field::Gid);
        }
        let Some(port) = port(snapshot, &effect) else { return };
        self.sends.push(Sends {
            rule: name.clone(),
            port,
            transparent: matches!(effect, Effect::Transparent { .. }),
            translated: matches!(effect, Effect::Destination(_)),
            dns,
            outbound: place.outbound,
            inbound: place.inbound,
            bystander: bystander(table, &chain.name).is_some(),
            native: chain.syntax == Syntax::Nft,
        });
    }

    fn exempt(&mut self, condition: &Condition) {
        let (mut uids, mut gids, mut marks) = (Vec::new(), Vec::new(), Vec::new());
        for leaf in leaves(condition) {
            let narrow = |value: &u128| u32::try_from(*value).ok();
            match leaf {
                Condition::Range(Field::Uid, from, to) => uids.extend(narrow(from).zip(narrow(to))),
                Condition::Range(Field::Gid, from, to) => gids.extend(narrow(from).zip(narrow(to))),
                Condition::Range(Field::Mark, from, to) if from == to => {
                    marks.extend(narrow(from).map(|it| (it, u32::MAX)))
                }
                Condition::Masked { field: Field::Mark, mask, value } => {
                    marks.extend(narrow(value).zip(Some(narrow(mask).unwrap_or(u32::MAX))));
                }
                Condition::Always | Condition::Has(_) | Condition::Owned | Condition::Ipv6(_) => {}
                Condition::Range(Field::Protocol, ..) => {}
                _ => return,
            }
        }
        // Both a user and a group: neither alone is left alone.
        if uids.len() + gids.len() + marks.len() == 1 {
            self.exempted.uids.extend(uids);
            self.exempted.gids.extend(gids);
            self.exempted.marks.extend(marks);
        }
    }
}

/// The port of the namespace that an effect leads to.
fn port(snapshot: &Snapshot, effect: &Effect) -> Option<u16> {
    match effect {
        Effect::Redirect(ports) => ports.filter(|ports| ports.from == ports.to).map(|ports| ports.from),
        Effect::Transparent { port, .. } => Some(*port).filter(|port| *port != 0),
        Effect::Destination(range) if range.addresses.is_some_and(|(first, _)| snapshot.is_local(first)) => {
            range.ports.map(|ports| ports.from)
        }
        _ => None,
    }
}

/// Chains to which jumps lead from a hook, whatever they ask.
fn reached<'a>(table: &'a Table, paths: &Paths<'a>, hook: Hook) -> HashSet<&'a str> {
    let chains: HashMap<&str, &Chain> = table.chains.iter().map(|chain| (chain.name.as_str(), chain)).collect();
    let mut waiting: Vec<&Chain> = table.chains.iter().filter(|chain| chain.hook == Some(hook)).collect();
    let mut seen = HashSet::new();
    while let Some(chain) = waiting.pop() {
        if seen.insert(chain.name.as_str()) {
            let next = chain.rules.iter().flat_map(|rule| paths.leads_to(rule));
            waiting.extend(next.filter_map(|name| chains.get(name).copied()));
        }
    }
    seen
}

/// The tests of which all have to hold.
fn leaves(condition: &Condition) -> Vec<&Condition> {
    match condition {
        Condition::All(parts) => parts.iter().flat_map(leaves).collect(),
        other => vec![other],
    }
}

fn marks(condition: &Condition, found: &mut BTreeSet<(u32, u32)>) {
    match condition {
        Condition::All(parts) | Condition::Any(parts) => parts.iter().for_each(|part| marks(part, found)),
        Condition::Not(inner) => marks(inner, found),
        Condition::Masked { field: Field::Mark, mask, value } => {
            found.extend(u32::try_from(*value).ok().map(|value| (value, u32::try_from(*mask).unwrap_or(u32::MAX))));
        }
        _ => {}
    }
}

fn asks_port(condition: &Condition, port: u16) -> bool {
    let port = u128::from(port);
    let asks = |leaf: &Condition| matches!(leaf, Condition::Range(Field::DestinationPort, from, to) if *from == port && *to == port);
    leaves(condition).into_iter().any(|leaf| match leaf {
        Condition::Any(parts) => !parts.is_empty() && parts.iter().all(|part| leaves(part).into_iter().any(asks)),
        leaf => asks(leaf),
    })
}

fn asks_owner(condition: &Condition) -> bool {
    leaves(condition).into_iter().any(|leaf| matches!(leaf, Condition::Range(Field::Uid | Field::Gid, ..)))
}

/// The bystander that wrote a chain of a table, by its name.
pub(super) fn bystander(table: &Table, chain: &str) -> Option<&'static str> {
    let bears =
        |sign: &Sign| sign.is_chain(chain) || matches!(sign, Sign::Tables(start) if table.name.starts_with(start));
    BYSTANDERS.iter().find(|(_, signs)| signs.iter().any(bears)).map(|(name, _)| *name)
}

/// Whether a chain of a table bears a sign of the profile in its own name or the table's.
pub(super) fn bears(profile: &Profile, table: &Table, chain: &str) -> bool {
    let bears =
        |sign: &Sign| sign.is_chain(chain) || matches!(sign, Sign::Tables(start) if table.name.starts_with(start));
    profile.signs.iter().any(bears) || [profile.outbound, profile.inbound].concat().contains(&plain(chain).as_str())
}

/// What of a profile's signs stands in the rules, each once, in words.
pub(super) fn signs(snapshot: &Snapshot, profile: &Profile) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let comments: Vec<&str> = profile
        .signs
        .iter()
        .filter_map(|sign| if let Sign::Comments(start) = sign { Some(*start) } else { None })
        .collect();
    for (ruleset, table) in snapshot.rulesets().iter().flat_map(|set| set.tables.iter().map(move |table| (set, table)))
    {
        let tables =
            profile.signs.iter().any(|sign| matches!(sign, Sign::Tables(start) if table.name.starts_with(start)));
        if tables && !table.chains.is_empty() {
            found.insert(format!("table {}", table.name));
        }
        for chain in &table.chains {
            if profile.signs.iter().any(|sign| sign.is_chain(&chain.name)) {
                found.insert(format!("chain {}", chain.name));
            }
            if comments.is_empty() {
                continue;
            }
            let commented =
                chain.rules.iter().flat_map(|rule| branches(ruleset.family, table, rule)).find_map(|branch| {
                    let comment = branch
                        .rule()
                        .matches
                        .iter()
                        .find_map(|part| if let Match::Comment(it) = part { Some(it.text.clone()) } else { None });
                    comments
                        .iter()
                        .find(|start| comment.as_ref().is_some_and(|text| text.starts_with(**start)))
                        .copied()
                });
            found.extend(commented.map(|start| format!("comments that begin with {start}")));
        }
    }
    found
}

/// Bystanders by the names that they give in rules.
pub(super) fn bystanders(snapshot: &Snapshot) -> BTreeSet<&'static str> {
    let tables = snapshot.rulesets().iter().flat_map(|set| &set.tables);
    tables.flat_map(|table| table.chains.iter().filter_map(move |chain| bystander(table, &chain.name))).collect()
}
