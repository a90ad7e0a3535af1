//! A rule of nft as a packet meets it: where it looks into maps, one branch for each element, of which the first that fits is taken.
//!
//! A packet whose key has no element goes on with the next rule, as the kernel does (`NFT_BREAK`).

use std::borrow::Cow;

use super::super::describe::{Outcome, outcome};
use super::elements::{Entry, entries};
use super::{Reading, Translator};
use crate::model::{Body, Family, Rule, Table};
use crate::nft::{
    self, Data, Ends, Expression, Kind, Load, Right, Statement, Term, Verdict, statement_text, statements,
};
use crate::packet::Condition;
use crate::syntax::place_of;
use crate::xt::matches::Match;
use crate::xt::{self, Action, Unknown};

/// Branches of one rule: a bound on the time for maps within maps.
const MOST: usize = 32_768;

/// One of the ways that a packet can take in a rule.
#[derive(Debug, Clone)]
pub struct Branch<'a> {
    /// What it asks, and the last thing that is done.
    pub reading: Reading<'a>,
    /// What is done before that; each lets the packet go on.
    pub before: Vec<Action>,
    /// What is done then is not known.
    pub unread: Option<NotFollowed>,
}

/// Why it is not known what a rule does to the packets that it asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotFollowed {
    /// It does something that is not modelled.
    Rule,
    /// What is in this map is not known: it was not read, or rules change it.
    Map(String),
}

/// The branches of a rule, in the order in which they are to be asked.
#[must_use]
pub fn branches<'a>(family: Family, table: &Table, rule: &'a Rule) -> Vec<Branch<'a>> {
    match &rule.body {
        Body::Xt(rule) => {
            let reading = Reading { rule: Cow::Borrowed(&**rule), ipv6: None };
            vec![Branch { reading, before: Vec::new(), unread: None }]
        }
        Body::Nft(native) => native_branches(family, table, native),
    }
}

/// The same of a rule of nft's own.
#[must_use]
pub fn native_branches(family: Family, table: &Table, native: &nft::Rule) -> Vec<Branch<'static>> {
    let follower = Follower { family, table };
    let Some(statements) = statements(native, place_of(family, table, &[], false)) else {
        return vec![follower.branch(&[], Some(NotFollowed::Rule))];
    };
    let mut waiting = vec![(statements, None)];
    let mut found = Vec::new();
    while let Some((statements, unread)) = waiting.pop() {
        let map = statements.iter().enumerate().find_map(|(at, statement)| Some((at, looked_into(statement)?)));
        let Some((at, (key, set))) = map.filter(|_| unread.is_none()) else {
            found.push(follower.branch(&statements, unread));
            continue;
        };
        let (before, rest) = statements.split_at(at.min(statements.len()));
        match follower.split(before, rest, key, set).filter(|split| split.len() + waiting.len() + found.len() <= MOST) {
            // The last one is taken first.
            Some(split) => waiting.extend(split.into_iter().rev().map(|statements| (statements, None))),
            None => waiting.push((before.to_vec(), Some(NotFollowed::Map(set.to_owned())))),
        }
    }
    found
}

/// The key and the map that a statement looks into to know what to do.
fn looked_into(statement: &Statement) -> Option<(&Term, &str)> {
    match statement {
        Statement::VerdictMap { key, set } => Some((key, set)),
        Statement::Set { to, .. } => map_in(to),
        Statement::Nat { to, .. } | Statement::Tproxy { to, .. } => {
            let ends = [&to.address, &to.port].into_iter().flatten();
            ends.flat_map(|(from, to)| [Some(from), to.as_ref()]).flatten().find_map(map_in)
        }
        _ => None,
    }
}

fn map_in(term: &Term) -> Option<(&Term, &str)> {
    match term {
        Term::Map(key, set) => Some((key, set)),
        Term::Binary { of, .. } | Term::Turned(of) => map_in(of),
        _ => None,
    }
}

/// The term with its map replaced by what it gives.
fn with(term: &Term, value: &[u8]) -> Term {
    match term {
        Term::Map(..) => Term::Value(value.to_vec()),
        Term::Turned(of) => Term::Turned(Box::new(with(of, value))),
        Term::Binary { of, sign, with: by } => Term::Binary { of: Box::new(with(of, value)), sign, with: by.clone() },
        other => other.clone(),
    }
}

/// What nobody can know.
fn chance() -> Statement {
    let left = Term::Load(Load::Number { kind: 1, modulus: 2, offset: 0 });
    Statement::Match { left, sign: "", right: Right::Value(vec![0; 4]) }
}

struct Follower<'t> {
    family: Family,
    table: &'t Table,
}

impl Follower<'_> {
    /// The statements once for each element of the map; `None` where it is not known what these are.
    fn split(&self, before: &[Statement], rest: &[Statement], key: &Term, set: &str) -> Option<Vec<Vec<Statement>>> {
        let (at, behind) = rest.split_first()?;
        let place = place_of(self.family, self.table, &[], false);
        let set = place.set(set).filter(|set| !self.table.changes(&set.name))?;
        let one = |entry: Entry<'_>| {
            let mut all = before.to_vec();
            all.extend(entry.tests);
            all.extend(entry.expires.then(chance));
            match (at, entry.element.data.as_ref()?) {
                (Statement::VerdictMap { .. }, Data::Verdict(Verdict::Continue)) => all.extend_from_slice(behind),
                (Statement::VerdictMap { .. }, Data::Verdict(verdict)) => {
                    all.push(Statement::Verdict(verdict.clone()));
                }
                (statement, Data::Value(value)) => {
                    all.push(self.given(statement, set, value)?);
                    all.extend_from_slice(behind);
                }
                _ => return None,
            }
            Some(all)
        };
        entries(set, key, &place)?.into_iter().map(one).collect()
    }

    /// What is done, with what the map gives in the map's place.
    fn given(&self, statement: &Statement, set: &nft::Set, value: &[u8]) -> Option<Statement> {
        let ends = |to: &Ends| -> Option<Ends> {
            if let Some((Term::Map(_, name), last)) = to.address.as_ref()
                && *name == set.name
            {
                let (address, port) = parts(set, value)?;
                let port = match port {
                    Some(port) if to.port.is_none() => Some((port, None)),
                    Some(_) => return None,
                    None => to.port.clone(),
                };
                let address = match address {
                    (from, None) => (from, last.clone()),
                    range if last.is_none() => range,
                    _ => return None,
                };
                return Some(Ends { address: Some(address), port });
            }
            let (from, last) = to.port.as_ref()?;
            let port = match last {
                Some(last) if map_in(last).is_some() => return None,
                last => (with(from, value), last.clone()),
            };
            Some(Ends { address: to.address.clone(), port: Some(port) })
        };
        Some(match statement {
            Statement::Set { what, to } => Statement::Set { what: what.clone(), to: with(to, value) },
            Statement::Nat { word, family, to, flags } => {
                Statement::Nat { word, family: *family, to: ends(to)?, flags: *flags }
            }
            Statement::Tproxy { family, to } => Statement::Tproxy { family: *family, to: ends(to)? },
            _ => return None,
        })
    }

    fn branch(&self, statements: &[Statement], mut unread: Option<NotFollowed>) -> Branch<'static> {
        let mut translator = Translator::new(self.table, place_of(self.family, self.table, &[], false));
        let mut before = Vec::new();
        for (at, statement) in statements.iter().enumerate() {
            let last = statements.get(at + 1..).unwrap_or_default().iter().all(counts);
            if translator.follow(statement, last, &mut before).is_none() {
                unread = Some(NotFollowed::Rule);
                break;
            }
        }
        translator.go_on(&mut before);
        if translator.never {
            let condition = Condition::All(vec![Condition::Ipv6(false), Condition::Ipv6(true)]);
            let never = Unknown::Native { text: "both families at once".to_owned(), condition };
            translator.rule.matches.push(Match::Unknown(Box::new(never)));
        }
        let mixed = matches!(self.family, Family::Inet | Family::Netdev);
        let ipv6 = translator.ipv6.filter(|ipv6| mixed || !self.family.sees(*ipv6));
        Branch { reading: Reading { rule: Cow::Owned(translator.rule), ipv6 }, before, unread }
    }
}

/// Address or port, or both, or the first and the last, that a map gives.
type Given = ((Term, Option<Term>), Option<Term>);

fn parts(set: &nft::Set, value: &[u8]) -> Option<Given> {
    let kinds = Kind::of_key(set.data?)?;
    let of = |kind: &Kind| match kind {
        Kind::Ipv4 => Some(4),
        Kind::Ipv6 => Some(16),
        _ => None,
    };
    let (address, port) = match kinds.as_slice() {
        [address] => (of(address)?, false),
        [address, Kind::Port] => (of(address)?, true),
        _ => return None,
    };
    let (from, rest) = value.split_at_checked(address)?;
    let from = Term::Value(from.to_vec());
    Some(match (port, rest.len()) {
        (false, 0) => ((from, None), None),
        (false, length) if length == address => ((from, Some(Term::Value(rest.to_vec()))), None),
        (true, 2 | 4) => ((from, None), Some(Term::Value(rest.get(..2)?.to_vec()))),
        _ => return None,
    })
}

/// It only counts and tells.
fn counts(statement: &Statement) -> bool {
    matches!(statement, Statement::Plain(Expression::Counter { .. } | Expression::Log { .. } | Expression::Last(_)))
}

impl Translator<'_> {
    /// Takes up the next statement, whatever was done before; `None` for what is not modelled.
    fn follow(&mut self, statement: &Statement, last: bool, before: &mut Vec<Action>) -> Option<()> {
        if counts(statement) {
            return Some(());
        }
        let asks = super::asks(statement) || perhaps(statement);
        if asks && (self.acted || !before.is_empty() || self.tproxy.is_some()) {
            // Where nothing is done behind it, it does not matter whether it matches.
            return (last && self.tproxy.is_none()).then_some(());
        }
        if asks {
            if self.statement(statement).is_none() {
                let text = statement_text(statement, &self.place).unwrap_or_else(|| "something else".to_owned());
                let condition = Condition::Opaque(text.clone());
                self.rule.matches.push(Match::Unknown(Box::new(Unknown::Native { text, condition })));
            }
            return Some(());
        }
        if changes_nothing(statement) {
            return Some(());
        }
        // nft's own tproxy lets the packet go on; only with this verdict behind it does it do what TPROXY does.
        if matches!(statement, Statement::Verdict(verdict) if !matches!(verdict, Verdict::Accept | Verdict::Continue)) {
            self.go_on(before);
        }
        if self.acted {
            let Action::Target(target) = &self.rule.action else { return None };
            if outcome(&target.effect()) != Outcome::GoesOn {
                return None;
            }
            before.push(std::mem::replace(&mut self.rule.action, Action::None));
            self.acted = false;
        }
        self.statement(statement)
    }
}

impl Translator<'_> {
    /// A socket is to take the packet, which goes on all the same.
    fn go_on(&mut self, before: &mut Vec<Action>) {
        before.extend(self.tproxy.take().map(|tproxy| Action::Target(xt::Target::Tproxy(tproxy))));
    }
}

/// What changes something that is not asked about here, and may take the packet out of the rule: a set that is full, a key that has
/// no object, a quota that is used up.
fn perhaps(statement: &Statement) -> bool {
    matches!(statement, Statement::Update { .. })
}

/// What changes nothing that is asked about here: priority, tracing, labels; a copy goes its own way.
fn changes_nothing(statement: &Statement) -> bool {
    /// `NFT_META_PRIORITY`, `NFT_META_NFTRACE`, `NFT_META_SECMARK`
    const META: [u32; 3] = [2, 12, 14];
    match statement {
        Statement::Set { what: Term::Meta(key), to: Term::Value(_) } => META.contains(key),
        Statement::Send { word, address, device, .. } => {
            let plain = |term: &Option<Term>| term.as_ref().is_none_or(|term| matches!(term, Term::Value(_)));
            *word == "dup" && plain(address) && plain(device)
        }
        _ => false,
    }
}

impl Branch<'_> {
    /// All that is done, in its order.
    pub fn actions(&self) -> impl Iterator<Item = &Action> {
        self.before.iter().chain(std::iter::once(&self.reading.rule.action))
    }

    /// The rule that stands for its last action.
    #[must_use]
    pub fn rule(&self) -> &xt::Rule {
        &self.reading.rule
    }
}
