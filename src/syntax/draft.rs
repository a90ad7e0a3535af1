//! A table of iptables-restore's text while it is read.

use std::collections::HashMap;

use super::builtin;
use super::command::{Command, Verb};
use super::parse::SaveError;
use crate::model::{Body, Chain, Counters, Family, Policy, Rule, Table, name_order};
use crate::xt::{self, Action, IpPart, Target, Token, Unknown, parse_line, tokens};

/// What all rules of a text may come to: each its text and what it takes in memory beside. A million rules stay below.
pub(super) const BUDGET: usize = 1 << 30;
/// Bytes that a rule takes beside its text, roughly.
const RULE: usize = 512;
/// No rule is longer: the kernel's own form of one ends at 64 KiB.
const LONGEST: usize = 256 << 10;

/// How the rules of a table are to be read.
pub(super) struct Reading<'a> {
    pub(super) family: Family,
    /// What is left of [`BUDGET`].
    pub(super) budget: &'a mut usize,
    /// Is told of rules that are not understood: the line, and why.
    pub(super) misread: &'a mut dyn FnMut(&str, String),
}

/// A table while it is read: rules are understood once all its chains are known.
pub(super) struct Draft<'a> {
    name: String,
    chains: Vec<Chain>,
    /// Where each chain stands.
    places: HashMap<String, usize>,
    /// Lines that add rules or take some away, with their numbers.
    rules: Vec<(usize, &'a str)>,
}

/// The rules of one chain as they came.
#[derive(Default)]
struct Gathered {
    rules: Vec<Rule>,
    /// For each the place to insert it at, from 1; `None` appends.
    places: Vec<Option<usize>>,
    /// The chain was deleted.
    removed: bool,
}

impl Gathered {
    /// Puts the rules in their order, so that one of them has a number.
    fn settle(&mut self, budget: &mut usize) -> Result<(), String> {
        // Who asks for this at every rule of a long chain waits long.
        const WORK: usize = 64;
        pay(budget, self.rules.len().saturating_mul(WORK))?;
        self.rules = in_order(std::mem::take(&mut self.rules), &self.places);
        self.places = vec![None; self.rules.len()];
        Ok(())
    }
}

fn pay(budget: &mut usize, cost: usize) -> Result<(), String> {
    *budget = budget.checked_sub(cost).ok_or("the text holds more rules than this program takes into memory")?;
    Ok(())
}

impl<'a> Draft<'a> {
    pub(super) fn new(name: &str) -> Self {
        let chains: Vec<Chain> = builtin::hooks(name).iter().map(|hook| builtin::chain(name, *hook)).collect();
        let places = chains.iter().enumerate().map(|(at, chain)| (chain.name.clone(), at)).collect();
        Self { name: name.to_owned(), chains, places, rules: Vec::new() }
    }

    pub(super) fn line(&mut self, line: usize, content: &'a str) -> Result<(), String> {
        if content.len() > LONGEST {
            return Err(format!("it is longer than {} KiB", LONGEST >> 10));
        }
        if let Some(chain) = content.strip_prefix(':') {
            let words = tokens(chain).map_err(|error| error.to_string())?;
            let mut words = words.iter().map(|word| word.text.as_str());
            return self.declare(words.next().unwrap_or_default(), words.next(), words.next());
        }
        if ["-N", "--n", "-P", "--p"].iter().any(|start| content.starts_with(start)) {
            let words = tokens(content).map_err(|error| error.to_string())?;
            if let Some(Command { verb: verb @ (Verb::New | Verb::Policy), chain, rest, .. }) = Command::of(&words) {
                let chain = chain.ok_or("it names no chain")?;
                let policy = rest.first().map(|word| word.text.as_str()).filter(|_| verb == Verb::Policy);
                return self.declare(chain, policy, None);
            }
        }
        self.rules.push((line, content));
        Ok(())
    }

    /// `:NAME POLICY [packets:bytes]`
    fn declare(&mut self, name: &str, policy: Option<&str>, counted: Option<&str>) -> Result<(), String> {
        if name.is_empty() {
            return Err("a chain without a name".to_owned());
        }
        let policy = match policy {
            Some("ACCEPT") => Some(Policy::Accept),
            Some("DROP") => Some(Policy::Drop),
            Some("-") | None => None,
            Some(other) => return Err(format!("{other:?} is no policy")),
        };
        let Some(at) = self.places.get(name) else {
            self.places.insert(name.to_owned(), self.chains.len());
            self.chains.push(Chain::user(name));
            return Ok(());
        };
        if let Some(chain) = self.chains.get_mut(*at).filter(|chain| chain.hook.is_some()) {
            chain.policy = policy.or(chain.policy);
            chain.counters = counted.and_then(counters);
        }
        Ok(())
    }

    pub(super) fn finish(mut self, mut reading: Reading<'_>) -> Result<Table, SaveError> {
        let mut gathered: Vec<Gathered> = self.chains.iter().map(|_| Gathered::default()).collect();
        for (line, content) in std::mem::take(&mut self.rules) {
            self.command(content, &mut gathered, &mut reading).map_err(|what| SaveError { line, what })?;
        }
        for (chain, Gathered { rules, places, .. }) in self.chains.iter_mut().zip(&mut gathered) {
            chain.rules = in_order(std::mem::take(rules), places);
        }
        let kept = self.chains.into_iter().zip(gathered).filter(|(_, gathered)| !gathered.removed);
        let (base, mut user): (Vec<Chain>, Vec<Chain>) =
            kept.map(|(chain, _)| chain).partition(|chain| chain.hook.is_some());
        user.sort_by(|a, b| name_order(&a.name, &b.name));
        let chains = base.into_iter().chain(user).collect();
        Ok(Table { name: self.name, chains, ..Table::default() })
    }

    /// `[packets:bytes] -A CHAIN …`, or another command.
    fn command(&self, text: &str, gathered: &mut [Gathered], reading: &mut Reading<'_>) -> Result<(), String> {
        let (counted, body) = match text.strip_prefix('[').and_then(|text| text.split_once(']')) {
            Some((counted, body)) => (pair(counted), body),
            None => (None, text),
        };
        let words = tokens(body).map_err(|error| error.to_string())?;
        let first = words.first().map(|word| word.text.as_str()).unwrap_or_default();
        let command = Command::of(&words).ok_or_else(|| format!("{first:?} is not understood"))?;
        match (command.verb, command.chain) {
            // Chains are known before the first rule is read, so that these come first.
            (Verb::New | Verb::Policy, _) => Err("options stand in front of it".to_owned()),
            (Verb::Append | Verb::Insert | Verb::Delete | Verb::Replace, Some(chain)) => {
                let found = self.places.get(chain).and_then(|place| gathered.get_mut(*place));
                let found = found.ok_or_else(|| format!("chain {chain} is not declared"))?;
                self.change(text, &command, counted, found, reading)
            }
            (Verb::Flush | Verb::Remove | Verb::Zero, chain) => self.sweep(command.verb, chain, gathered),
            (_, None) => Err(format!("{first} names no chain")),
        }
    }

    /// Adds rules, or takes one away.
    fn change(
        &self,
        text: &str,
        command: &Command<'_>,
        counted: Option<Counters>,
        found: &mut Gathered,
        reading: &mut Reading<'_>,
    ) -> Result<(), String> {
        let gone = || "no such rule stands there".to_owned();
        // Who fills it has made it again.
        found.removed = false;
        if let (Verb::Delete | Verb::Replace, Some(place)) = (command.verb, command.place) {
            found.settle(reading.budget)?;
            let at = place.checked_sub(1).filter(|at| *at < found.rules.len()).ok_or_else(gone)?;
            found.rules.remove(at);
            found.places.remove(at);
            if command.verb == Verb::Delete {
                return Ok(());
            }
        } else if command.verb == Verb::Replace {
            return Err("it names no rule to replace".to_owned());
        }
        let rules = self.rules(text, &command.rest, counted, reading)?;
        if command.verb == Verb::Replace && rules.len() != 1 {
            return Err("it is not one rule".to_owned());
        }
        for rule in rules {
            pay(reading.budget, RULE + text.len())?;
            if command.verb == Verb::Delete {
                found.settle(reading.budget)?;
                let at = found.rules.iter().position(|other| other.body == rule.body).ok_or_else(gone)?;
                found.rules.remove(at);
                found.places.remove(at);
                continue;
            }
            found.rules.push(rule);
            found.places.push((command.verb != Verb::Append).then(|| command.place.unwrap_or(1)));
        }
        Ok(())
    }

    /// The rules of a line.
    fn rules(
        &self,
        text: &str,
        words: &[Token],
        counted: Option<Counters>,
        reading: &mut Reading<'_>,
    ) -> Result<Vec<Rule>, String> {
        let is_chain = |name: &str| self.places.contains_key(name);
        let line = parse_line(words, reading.family == Family::Ip6, &is_chain).unwrap_or_else(|error| {
            (reading.misread)(text, error.to_string());
            let kept: Vec<String> = words.iter().map(Token::written).collect();
            let action = Action::Target(Target::Unknown(Box::new(Unknown::Rule(kept.join(" ")))));
            let rule = xt::Rule { ip: IpPart::default(), matches: Vec::new(), action };
            xt::Line { rules: vec![rule], counted: None }
        });
        let counters = counted.or(line.counted.map(|(packets, bytes)| Counters { packets, bytes }));
        let made = line.rules.into_iter().map(|rule| {
            let body = Body::Xt(Box::new(rule));
            Rule { counters, handle: None, body, native: None }
        });
        Ok(made.collect())
    }

    /// `-F`, `-X` and `-Z`, of one chain or of all. What the text itself says a rule has counted is not zeroed.
    fn sweep(&self, verb: Verb, chain: Option<&str>, gathered: &mut [Gathered]) -> Result<(), String> {
        let one = match chain {
            Some(name) => Some(*self.places.get(name).ok_or_else(|| format!("chain {name} is not declared"))?),
            None => None,
        };
        let all = self.chains.iter().zip(gathered).enumerate();
        let meant = all.filter(|(at, _)| one.is_none_or(|one| one == *at));
        for (chain, gathered) in meant.map(|(_, both)| both) {
            match verb {
                Verb::Flush => *gathered = Gathered { removed: gathered.removed, ..Gathered::default() },
                Verb::Remove if chain.hook.is_none() => {
                    *gathered = Gathered { removed: true, ..Gathered::default() };
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Rules in the order that their insertions make. Worked out backwards, since who is inserted last stands where it was put.
fn in_order(rules: Vec<Rule>, places: &[Option<usize>]) -> Vec<Rule> {
    if places.iter().all(Option::is_none) {
        return rules;
    }
    let mut free = FreePlaces::new(rules.len());
    let mut ordered: Vec<Option<Rule>> = rules.iter().map(|_| None).collect();
    for (before, (rule, place)) in rules.into_iter().zip(places).enumerate().rev() {
        // It went before those that stood at its place then, or behind all `before` that there were.
        let at = free.take(place.map_or(before, |place| place.saturating_sub(1).min(before)));
        if let Some(slot) = ordered.get_mut(at) {
            *slot = Some(rule);
        }
    }
    ordered.into_iter().flatten().collect()
}

/// Places that are not taken yet, counted by a binary indexed tree: each is found in logarithmic time.
struct FreePlaces(Vec<usize>);

impl FreePlaces {
    fn new(count: usize) -> Self {
        // Node N counts as many places as its lowest bit says.
        Self((0..=count).map(|node| node & node.wrapping_neg()).collect())
    }

    /// Takes the free place before which `skip` free ones stand.
    fn take(&mut self, skip: usize) -> usize {
        let (mut node, mut left) = (0, skip + 1);
        let mut step = self.0.len().next_power_of_two();
        while step > 0 {
            if let Some(count) = self.0.get_mut(node + step) {
                if *count < left {
                    left -= *count;
                    node += step;
                } else {
                    // The place lies below this node.
                    *count -= 1;
                }
            }
            step /= 2;
        }
        node
    }
}

/// `[packets:bytes]`
fn counters(text: &str) -> Option<Counters> {
    pair(text.strip_prefix('[')?.strip_suffix(']')?)
}

/// `packets:bytes`
fn pair(text: &str) -> Option<Counters> {
    let (packets, bytes) = text.split_once(':')?;
    Some(Counters { packets: packets.parse().ok()?, bytes: bytes.parse().ok()? })
}
