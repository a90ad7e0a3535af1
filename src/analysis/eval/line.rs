//! The rules of one chain, made ready when a packet first comes to it.

use std::cell::OnceCell;
use std::collections::HashMap;

use super::super::ipsets::IpSets;
use super::super::native::{Branch, NotFollowed, Reading, native_branches};
use super::index::Index;
use crate::model::{Body, Chain, Family, Rule, Table};
use crate::packet::{Answer, Compiled, Condition, Field, Lookup, Packet};
use crate::xt::{self, Action, Effect};

/// The rules of one chain: what each asks and does.
#[derive(Debug)]
pub(super) struct Line {
    /// Branches of the rules that are nft's own; a rule of iptables is its own only one, and has none here.
    native: Vec<Vec<Branch<'static>>>,
    ready: OnceCell<Ready>,
}

/// The same, ready for packets.
#[derive(Debug)]
struct Ready {
    rules: Vec<Prepared>,
    conditions: Vec<Compiled>,
    index: Option<Index>,
    /// Of rules with several branches.
    several: HashMap<usize, Several>,
    /// What rules ask of the routing tables.
    lookups: HashMap<usize, Vec<Lookup>>,
}

#[derive(Debug, Clone, Copy)]
struct Prepared {
    kind: Kind,
    /// The chain to which it leads; `NOWHERE` for none.
    jump: u32,
}

const NOWHERE: u32 = u32::MAX;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// One branch.
    Plain,
    /// One, and it makes no difference whether a packet takes it.
    Idle,
    /// Several, or none; or it changes a packet that it does not match, or asks more than packets tell.
    Special,
}

/// The branches of a rule that looks into maps.
#[derive(Debug)]
struct Several {
    conditions: Vec<Compiled>,
    index: Option<Index>,
}

/// One of the ways that a packet can take in a rule.
#[derive(Debug, Clone, Copy)]
pub(super) struct Does<'r> {
    pub(super) rule: &'r xt::Rule,
    /// What is done before the rule's action.
    pub(super) before: &'r [Action],
    pub(super) unread: Option<&'r NotFollowed>,
    /// The family that it is for, where its table sees both.
    pub(super) ipv6: Option<bool>,
}

/// The next rule that has something to do with a packet.
pub(super) struct Next {
    pub(super) at: usize,
    pub(super) what: What,
}

pub(super) enum What {
    /// It matches, or that cannot be known.
    Asked(Answer),
    /// The same, and it makes no difference.
    Idle(Answer),
    /// It is to be asked branch by branch.
    Special,
}

impl Line {
    pub(super) fn of(family: Family, table: &Table, chain: &Chain) -> Self {
        let native = |rule: &Rule| match &rule.body {
            Body::Xt(_) => Vec::new(),
            Body::Nft(native) => native_branches(family, table, native),
        };
        Self { native: chain.rules.iter().map(native).collect(), ready: OnceCell::new() }
    }

    /// How many branches a rule has.
    pub(super) fn count(&self, chain: &Chain, at: usize) -> usize {
        match chain.rules.get(at).map(|rule| &rule.body) {
            Some(Body::Xt(_)) => 1,
            _ => self.native.get(at).map_or(0, Vec::len),
        }
    }

    /// A branch of a rule.
    pub(super) fn does<'r>(&'r self, chain: &'r Chain, at: usize, branch: usize) -> Option<Does<'r>> {
        match &chain.rules.get(at)?.body {
            Body::Xt(rule) => (branch == 0).then_some(Does { rule, before: &[], unread: None, ipv6: None }),
            Body::Nft(_) => self.native.get(at)?.get(branch).map(Does::of),
        }
    }

    /// All branches of a rule.
    pub(super) fn all<'r>(&'r self, chain: &'r Chain, at: usize) -> impl Iterator<Item = Does<'r>> {
        (0..self.count(chain, at)).filter_map(move |branch| self.does(chain, at, branch))
    }

    /// The next rule from this one on that may be for a packet, each that is asked counted.
    pub(super) fn next(
        &self,
        from: usize,
        packet: &Packet,
        (idle, asked): (bool, &mut u32),
        made: &Making<'_>,
    ) -> Option<Next> {
        let ready = self.ready.get_or_init(|| Ready::of(self, made));
        let mut ask = |at: usize| {
            let kind = ready.rules.get(at)?.kind;
            if kind == Kind::Special {
                return Some(Next { at, what: What::Special });
            }
            if kind == Kind::Idle && !idle {
                return None;
            }
            *asked += 1;
            match (ready.conditions.get(at)?.ask(packet), kind) {
                (Answer::No, _) => None,
                (answer, Kind::Idle) => Some(Next { at, what: What::Idle(answer) }),
                (answer, _) => Some(Next { at, what: What::Asked(answer) }),
            }
        };
        match &ready.index {
            Some(index) => index.candidates(from, packet).find_map(ask),
            None => (from..ready.rules.len()).find_map(&mut ask),
        }
    }

    /// The first branch of a rule from this one on that may be for a packet.
    pub(super) fn branch(&self, at: usize, from: usize, packet: &Packet) -> Option<(usize, Answer)> {
        let ready = self.ready.get()?;
        let Some(several) = ready.several.get(&at) else {
            let answer = ready.conditions.get(at).filter(|_| from == 0)?.ask(packet);
            return (answer != Answer::No).then_some((0, answer));
        };
        let ask = |branch: usize| {
            let answer = several.conditions.get(branch)?.ask(packet);
            (answer != Answer::No).then_some((branch, answer))
        };
        match &several.index {
            Some(index) => index.candidates(from, packet).find_map(ask),
            None => (from..several.conditions.len()).find_map(ask),
        }
    }

    /// What a rule asks of the routing tables.
    pub(super) fn lookups(&self, at: usize) -> &[Lookup] {
        let ready = self.ready.get().filter(|ready| !ready.lookups.is_empty());
        ready.and_then(|ready| ready.lookups.get(&at)).map(Vec::as_slice).unwrap_or_default()
    }

    /// The chain to which the one branch of a rule leads.
    pub(super) fn jump(&self, at: usize) -> Option<usize> {
        let jump = self.ready.get()?.rules.get(at)?.jump;
        (jump != NOWHERE).then_some(jump as usize)
    }
}

/// What is needed to make a chain ready.
pub(super) struct Making<'m> {
    pub(super) sets: &'m IpSets<'m>,
    pub(super) family: Family,
    pub(super) chain: &'m Chain,
    pub(super) by_name: &'m HashMap<&'m str, usize>,
}

impl Making<'_> {
    /// What a branch asks.
    pub(super) fn condition(&self, does: Does<'_>) -> Condition {
        let reading = Reading { rule: std::borrow::Cow::Borrowed(does.rule), ipv6: does.ipv6 };
        self.sets.condition(&reading, self.family)
    }
}

impl Ready {
    fn of(line: &Line, made: &Making<'_>) -> Self {
        let count = made.chain.rules.len();
        let (mut rules, mut conditions) = (Vec::with_capacity(count), Vec::with_capacity(count));
        let (mut several, mut lookups) = (HashMap::new(), HashMap::new());
        let never = || Compiled::of(&Condition::Any(Vec::new()));
        for at in 0..count {
            let mut asked = Vec::new();
            let mut compiled = line.all(made.chain, at).map(|does| {
                let condition = made.condition(does);
                looked_up(&condition, &mut asked);
                Compiled::of(&condition)
            });
            let only = line.does(made.chain, at, 0).filter(|_| line.count(made.chain, at) == 1);
            let Some(only) = only else {
                let conditions_of: Vec<Compiled> = compiled.collect();
                if !asked.is_empty() {
                    lookups.insert(at, asked);
                }
                let index = Index::of(conditions_of.iter().map(Some));
                several.insert(at, Several { conditions: conditions_of, index });
                rules.push(Prepared { kind: Kind::Special, jump: NOWHERE });
                conditions.push(never());
                continue;
            };
            conditions.push(compiled.next().unwrap_or_else(never));
            drop(compiled);
            let jump = only.rule.jumps_to().and_then(|to| made.by_name.get(to));
            let jump = jump.and_then(|to| u32::try_from(*to).ok()).unwrap_or(NOWHERE);
            let kind = match only {
                _ if only.rule.restores_mark() || !asked.is_empty() => Kind::Special,
                _ if only.is_idle() => Kind::Idle,
                _ => Kind::Plain,
            };
            rules.push(Prepared { kind, jump });
            if !asked.is_empty() {
                lookups.insert(at, asked);
            }
        }
        let asked = |(rule, condition): (&Prepared, _)| (rule.kind != Kind::Special).then_some(condition);
        let index = Index::of(rules.iter().zip(&conditions).map(asked));
        Self { rules, conditions, index, several, lookups }
    }
}

/// Adds what a condition asks of the routing tables.
pub(super) fn looked_up(condition: &Condition, asked: &mut Vec<Lookup>) {
    condition.visit(&mut |part| match part {
        Condition::Range(Field::Lookup(lookup), ..)
        | Condition::AnyBit(Field::Lookup(lookup), _)
        | Condition::Masked { field: Field::Lookup(lookup), .. }
            if !asked.contains(lookup) =>
        {
            asked.push(*lookup);
        }
        _ => {}
    });
}

impl<'r> Does<'r> {
    fn of(branch: &'r Branch<'static>) -> Self {
        let Branch { reading, before, unread } = branch;
        Self { rule: &reading.rule, before, unread: unread.as_ref(), ipv6: reading.ipv6 }
    }

    /// It changes nothing and leads nowhere.
    pub(super) fn is_idle(self) -> bool {
        let does = match &self.rule.action {
            Action::None => true,
            Action::Target(target) => {
                matches!(target.effect(), Effect::Continue | Effect::Copied(_) | Effect::Class(_))
            }
            _ => false,
        };
        does && self.unread.is_none() && self.before.is_empty()
    }

    /// All that is done, in its order.
    pub(super) fn actions(self) -> impl Iterator<Item = &'r Action> {
        self.before.iter().chain(std::iter::once(&self.rule.action))
    }
}
