//! From expressions to statements: what goes through the registers is followed, and what nft adds by itself is taken out again.

use std::collections::HashMap;

use super::implied::Headers;
use super::kind::{Kind, Order, number};
use super::statement::{Ends, Right, Statement};
use super::{Comparison, Expression, Family, Load, Place, Rule, Span, Term};

/// `NFPROTO_INET`
const INET: u32 = 1;

/// What is known while a rule is read.
pub(super) struct Reader<'a> {
    pub(super) place: Place<'a>,
    /// By the number of four-byte registers.
    registers: HashMap<u32, Term>,
    pub(super) statements: Vec<Option<Statement>>,
    /// The headers that the packet has.
    pub(super) headers: Headers,
    /// The transport protocol that was asked for.
    pub(super) protocol: Option<u8>,
    /// Everything the kernel does is wanted, also what nft leaves out of its text.
    pub(super) whole: bool,
}

/// Four-byte registers in one of `NFT_REG_1` to `NFT_REG_4`.
const WORDS: u32 = 4;
/// `NFT_REG32_00`
const FIRST_WORD: u32 = 8;

fn word_of(register: u32) -> u32 {
    if register < FIRST_WORD { register.saturating_sub(1) * WORDS } else { register - FIRST_WORD }
}

/// The statements of a rule, all of them: what the kernel asks and does. `None` where a value cannot be followed.
#[must_use]
pub fn read(rule: &Rule, place: Place<'_>) -> Option<Vec<Statement>> {
    read_rule(rule, place, true)
}

/// The statements that nft writes: without those that the words of another one imply.
///
/// Not for finding out what a rule does: in `inet`, `reject with icmp port-unreachable` is about IPv4 by what is left out here.
#[must_use]
pub fn read_for_text(rule: &Rule, place: Place<'_>) -> Option<Vec<Statement>> {
    read_rule(rule, place, false)
}

fn read_rule(rule: &Rule, place: Place<'_>, whole: bool) -> Option<Vec<Statement>> {
    let mut reader = Reader {
        place,
        registers: HashMap::new(),
        statements: Vec::new(),
        headers: Headers::of(place.family),
        protocol: None,
        whole,
    };
    for expression in &rule.expressions {
        reader.read(expression)?;
    }
    Some(reader.statements.into_iter().flatten().collect())
}

impl Reader<'_> {
    fn read(&mut self, expression: &Expression) -> Option<()> {
        match expression {
            Expression::Meta { key, register } => self.put(*register, Term::Meta(*key)),
            Expression::Load { from, register } => {
                let from = self.by_family(*from);
                self.put(*register, Term::Load(from));
            }
            Expression::Payload { base, offset, length, register } => {
                self.put(*register, Term::Raw(*base, offset.checked_mul(8)?, length.checked_mul(8)?));
            }
            Expression::Hash { kind: 0, source: Some((source, length)), modulus, seed, offset, register } => {
                let of = self.take_bytes(*source, *length as usize)?;
                let of = Some(Box::new(of));
                self.put(*register, Term::Hash(of, *modulus, *seed, *offset));
            }
            Expression::Hash { kind: 1, source: None, modulus, seed, offset, register } => {
                self.put(*register, Term::Hash(None, *modulus, *seed, *offset));
            }
            Expression::Option { from, register } => self.put(*register, Term::Option(*from)),
            Expression::Value { value, register } => self.put(*register, Term::Value(value.clone())),
            Expression::Bitwise { mask, xor, register } => self.bitwise(mask, xor, *register)?,
            Expression::Shift { left, bits, register } => {
                let of = Box::new(self.take(*register)?);
                let sign = if *left { "<<" } else { ">>" };
                self.put(*register, Term::Binary { of, sign, with: bits.to_ne_bytes().to_vec() });
            }
            Expression::ByteOrder { register } => {
                let of = Box::new(self.take(*register)?);
                self.put(*register, Term::Turned(of));
            }
            Expression::Cmp { comparison, value, register } => {
                let left = self.take_bytes(*register, value.len())?;
                if *comparison == Comparison::Lte && self.ends_range(&left, value) {
                    return Some(());
                }
                self.compare(left, *comparison, value)?;
            }
            Expression::Range { negated, from, to, register } => {
                let left = self.take_bytes(*register, from.len())?;
                let sign = if *negated { "!=" } else { "" };
                let (left, right) = match self.range_bytes(&left, from, to) {
                    Some(range) => range,
                    None => (self.resolved(left), Right::Range(from.clone(), to.clone())),
                };
                self.push(Statement::Match { left, sign, right });
            }
            Expression::Lookup { set, negated, register, into } => self.lookup(set, *negated, *register, *into)?,
            Expression::Unknown { .. } => {
                // It may have written any register.
                self.registers.clear();
                self.push(Statement::Unknown(expression.clone()));
            }
            other => self.act(other)?,
        }
        Some(())
    }

    /// nft writes a range as two comparisons, one behind the other.
    fn ends_range(&mut self, term: &Term, to: &[u8]) -> bool {
        let (term, to) = match self.range_bytes(term, to, to) {
            Some((term, Right::Range(_, to))) => (term, to),
            _ => (self.resolved(term.clone()), to.to_vec()),
        };
        let Some(Some(Statement::Match { left, right: right @ Right::Value(_), sign: sign @ ">=" })) =
            self.statements.last_mut()
        else {
            return false;
        };
        let Right::Value(from) = right else { return false };
        if *left != term {
            return false;
        }
        (*right, *sign) = (Right::Range(std::mem::take(from), to), "");
        true
    }

    /// `NFT_CT_SRC` and `NFT_CT_DST` are addresses of the table's family; the later keys name theirs.
    fn by_family(&mut self, from: Load) -> Load {
        if matches!(from, Load::Ct { key: 8 | 9, .. }) {
            self.used_network();
        }
        match (from, self.headers.network()) {
            (Load::Ct { key: key @ (8 | 9), direction }, Some("ip")) => Load::Ct { key: key + 11, direction },
            (Load::Ct { key: key @ (8 | 9), direction }, Some("ip6")) => Load::Ct { key: key + 13, direction },
            _ => from,
        }
    }

    fn act(&mut self, expression: &Expression) -> Option<()> {
        let both = !matches!(self.place.family, Family::Ip | Family::Ip6);
        if let Expression::Immediate(verdict) = expression {
            self.push(Statement::Verdict(verdict.clone()));
            return Some(());
        }
        let statement = match expression {
            Expression::SetMeta { key, register } => {
                Statement::Set { what: Term::Meta(*key), to: self.value(*register)? }
            }
            Expression::SetCt { key, direction, register } => {
                let what = Term::Load(Load::Ct { key: *key, direction: *direction });
                Statement::Set { what, to: self.value(*register)? }
            }
            Expression::SetPayload { base, offset, length, register } => {
                self.set_field(Term::Raw(*base, offset.checked_mul(8)?, length.checked_mul(8)?), *register)?
            }
            Expression::SetOption { to, register } => {
                let value = match self.value(*register)? {
                    Term::Turned(value) => *value,
                    value => value,
                };
                Statement::Set { what: Term::Option(*to), to: value }
            }
            Expression::Send { copy, address, device, family } => {
                let mut term = |register: &Option<u32>| match register {
                    Some(register) => self.value(*register).map(Some),
                    None => Some(None),
                };
                Statement::Send {
                    word: if *copy { "dup" } else { "fwd" },
                    family: *family,
                    address: term(address)?,
                    device: term(device)?,
                }
            }
            Expression::Strip { number } => Statement::Strip(*number),
            Expression::QueueBy { register, flags } => Statement::QueueBy(self.value(*register)?, *flags),
            Expression::Nat { kind, family, address, port, flags } => Statement::Nat {
                word: if *kind == 0 { "snat" } else { "dnat" },
                family: self.nat_family(*family, *address, both),
                to: self.ends(*address, *port)?,
                flags: *flags,
            },
            Expression::Redirect { port, flags } => {
                let to = self.ends(Span::default(), *port)?;
                Statement::Nat { word: "redirect", family: None, to, flags: *flags }
            }
            Expression::Masquerade { port, flags } => {
                let to = self.ends(Span::default(), *port)?;
                Statement::Nat { word: "masquerade", family: None, to, flags: *flags }
            }
            Expression::Tproxy { family, address, port } => {
                let span = |from: &Option<u32>| Span { from: *from, to: None };
                let family = (both && *family != 0).then_some(*family);
                Statement::Tproxy { family, to: self.ends(span(address), span(port))? }
            }
            Expression::ObjectMap { set, register } => {
                let found = self.place.set(set)?;
                let (kind, length) = (found.object?, found.key_length as usize);
                let key = self.take_bytes(*register, length)?;
                Statement::ObjectMap(kind, self.resolved(key), set.clone())
            }
            Expression::Reject { kind, code } => self.reject(*kind, *code, both),
            Expression::Update { set, operation, key, data, timeout, expressions } => {
                let length = self.place.set(set)?.key_length as usize;
                let key = self.take_bytes(*key, length)?;
                Statement::Update {
                    set: set.clone(),
                    operation: *operation,
                    key: self.resolved(key),
                    data: match data {
                        Some(data) => Some(self.value(*data)?),
                        None => None,
                    },
                    timeout: *timeout,
                    expressions: expressions.clone(),
                }
            }
            Expression::Match { .. } | Expression::Target { .. } => {
                Statement::Xtables { expression: expression.clone(), protocol: self.protocol }
            }
            other => Statement::Plain(other.clone()),
        };
        // nft leaves what stands before such a statement as it is.
        self.headers.forget_asked();
        self.push(statement);
        Some(())
    }

    /// The word of the family: where both pass, and before a map that gives address and port.
    fn nat_family(&self, family: u32, address: Span, both: bool) -> Option<u32> {
        if self.whole {
            // Said or not, the kernel translates packets of this family only (net/netfilter/nft_nat.c).
            return (both && family != INET).then_some(family);
        }
        let term = self.registers.get(&word_of(address.from?))?;
        let pairs = match term {
            Term::Map(_, set) => Kind::of_key(self.place.set(set)?.data?).is_some_and(|kinds| kinds.len() > 1),
            _ => false,
        };
        let ranges = matches!(term, Term::Map(..)) && address.to.is_some();
        (both || pairs || ranges).then_some(family)
    }

    fn push(&mut self, statement: Statement) {
        self.statements.push(Some(statement));
    }

    fn put(&mut self, register: u32, term: Term) {
        self.registers.insert(word_of(register), term);
    }

    pub(super) fn take(&self, register: u32) -> Option<Term> {
        self.registers.get(&word_of(register)).cloned()
    }

    /// A value that is used, resolved.
    fn value(&mut self, register: u32) -> Option<Term> {
        let term = self.take(register)?;
        Some(self.resolved(term))
    }

    /// So many bytes from a register on: several values where one is shorter.
    fn take_bytes(&self, register: u32, bytes: usize) -> Option<Term> {
        let padded = |bytes: usize| bytes.next_multiple_of(4).max(4);
        let (mut at, mut rest) = (word_of(register), padded(bytes));
        let first = self.registers.get(&at)?.clone();
        if first.kind(&self.place).0 == Kind::Text || padded(first.bytes(&self.place)) >= rest {
            return Some(first);
        }
        let mut parts = Vec::new();
        while rest > 0 {
            let part = self.registers.get(&at)?.clone();
            let length = padded(part.bytes(&self.place));
            rest = rest.checked_sub(length)?;
            at = at.checked_add(u32::try_from(length).ok()? / WORDS)?;
            parts.push(part);
        }
        Some(Term::Concat(parts))
    }

    fn ends(&mut self, address: Span, port: Span) -> Option<Ends> {
        let address = self.span(address)?;
        if port.from.is_some() {
            // nft leaves what stands before a port as it is.
            self.headers.forget_asked();
        }
        // A map may give address and port in one go.
        let one = matches!(&address, Some((Term::Map(..), None)));
        let inside = one && port.from.is_some_and(|port| !self.registers.contains_key(&word_of(port)));
        let port = if inside { None } else { self.span(port)? };
        Some(Ends { address, port })
    }

    /// First and last; `None` within where there are none.
    fn span(&mut self, span: Span) -> Option<Option<(Term, Option<Term>)>> {
        let Some(from) = span.from else { return Some(None) };
        let from = self.value(from)?;
        let to = match span.to {
            // A map may give both ends in one go.
            Some(to) if matches!(from, Term::Map(..)) && self.take(to).is_none() => None,
            Some(to) => Some(self.value(to)?),
            None => None,
        };
        Some(Some((from, to)))
    }

    /// `(value & mask) ^ xor` as nft writes it: `&`, then `^`, then `|`.
    fn bitwise(&mut self, mask: &[u8], xor: &[u8], register: u32) -> Option<()> {
        let mut term = self.take(register)?;
        let or: Vec<u8> = mask.iter().zip(xor).map(|(mask, xor)| !mask & xor).collect();
        let flipped: Vec<u8> = mask.iter().zip(xor).map(|(mask, xor)| mask & xor).collect();
        let kept: Vec<u8> = mask.iter().zip(&or).map(|(mask, or)| mask | or).collect();
        let mut then = |sign: &'static str, with: Vec<u8>| {
            let of = Box::new(std::mem::replace(&mut term, Term::Value(Vec::new())));
            term = Term::Binary { of, sign, with };
        };
        if kept.iter().any(|byte| *byte != 0xff) {
            then("&", kept);
        }
        if flipped.iter().any(|byte| *byte != 0) {
            then("^", flipped);
        }
        if or.iter().any(|byte| *byte != 0) {
            then("|", or);
        }
        self.put(register, term);
        Some(())
    }

    fn lookup(&mut self, set: &str, negated: bool, register: u32, into: Option<u32>) -> Option<()> {
        let length = self.place.set(set).map_or(0, |set| set.key_length as usize);
        let key = self.take_bytes(register, length)?;
        if let Some(into) = into.filter(|into| *into != 0) {
            // What lay in the registers behind it is gone.
            let at = word_of(into);
            self.registers.retain(|word, _| !(at..at.saturating_add(2 * WORDS)).contains(word));
            self.put(into, Term::Map(Box::new(key), set.to_owned()));
            return Some(());
        }
        let key = self.resolved_key(key);
        match into {
            None => {
                let sign = match (negated, &key) {
                    (true, _) => "!=",
                    (false, Term::Binary { .. }) => "==",
                    (false, _) => "",
                };
                if !negated {
                    self.learn_messages(&key, set);
                }
                self.push(Statement::Match { left: key, sign, right: Right::Set(set.to_owned()) });
            }
            Some(_) => self.push(Statement::VerdictMap { key, set: set.to_owned() }),
        }
        Some(())
    }

    fn compare(&mut self, left: Term, comparison: Comparison, value: &[u8]) -> Option<()> {
        let sign = comparison.sign();
        let equal = matches!(comparison, Comparison::Eq | Comparison::Neq);
        if self.compare_bytes(&left, comparison, value).is_some() {
            return Some(());
        }
        let left = self.resolved(left);
        let (kind, order) = left.kind(&self.place);
        let right = Right::Value(value.to_vec());
        if equal && kind.has_prefixes() && value.len() < kind.bytes() && order == Order::Big {
            let mut whole = value.to_vec();
            whole.resize(kind.bytes(), 0);
            let bits = u32::try_from(value.len()).ok()?.checked_mul(8)?;
            return self.compared(left, sign, Right::Prefix(whole, bits));
        }
        match &left {
            Term::Binary { of, sign: "&", with } if equal && kind.is_flags() => {
                let (of, mask) = ((**of).clone(), with.clone());
                let zero = value.iter().all(|byte| *byte == 0);
                // One flag that must be set, or must not, nft writes as what is asked.
                if *value == *mask && number(&mask, order)?.count_ones() == 1 {
                    let sign = if comparison == Comparison::Eq { "==" } else { sign };
                    return self.compared(left, sign, right);
                }
                let (sign, right) = match (comparison, zero) {
                    (Comparison::Neq, true) => ("", Right::AnyOf(mask)),
                    (Comparison::Eq, true) => ("", Right::NoneOf(mask)),
                    _ => (sign, Right::Of { mask, value: value.to_vec() }),
                };
                self.compared(of, sign, right)
            }
            Term::Binary { of, sign: "&", with } if equal && kind.has_prefixes() && prefix(with, order).is_some() => {
                let (of, bits) = ((**of).clone(), prefix(with, order)?);
                self.compared(of, sign, Right::Prefix(value.to_vec(), bits))
            }
            Term::Binary { .. } if sign.is_empty() => self.compared(left, "==", right),
            _ if kind == Kind::TcpFlag && sign.is_empty() => self.compared(left, "==", right),
            _ if kind.is_text() && value.len() < kind.bytes() && !value.contains(&0) => {
                self.compared(left, sign, Right::Begins(value.to_vec()))
            }
            _ => self.compared(left, sign, right),
        }
    }

    /// A comparison, and what it tells of the packet.
    pub(super) fn compared(&mut self, left: Term, sign: &'static str, right: Right) -> Option<()> {
        let said = match &right {
            Right::Value(value) if sign.is_empty() => number(value, left.kind(&self.place).1),
            _ => None,
        };
        let (term, index) = (left.clone(), self.statements.len());
        self.push(Statement::Match { left, sign, right });
        if let Some(said) = said {
            self.learn(&term, said, index);
        }
        Some(())
    }
}

/// How many leading bits a mask keeps, if it keeps only such.
fn prefix(mask: &[u8], order: Order) -> Option<u32> {
    let bits = u32::try_from(mask.len()).ok()?.checked_mul(8)?;
    let value = number(mask, order)?;
    let ones = value.checked_shl(u128::BITS - bits)?.leading_ones();
    (value.count_ones() == ones && ones < bits).then_some(ones)
}
