//! What is asked of a packet so that it has an element of a set or a map: one test for each part of the key.

use super::{CT_MARK, SKGID, SKUID};
use crate::nft::{Element, Expression, Load, Place, Right, Set, Slot, Statement, Term, intervals};

/// Elements of a key of several parts that are compared with each other, so that none lies within another.
const COMPARED: usize = 512;

/// An element, and what is asked for it where none of those before it has taken the packet.
pub(super) struct Entry<'s> {
    pub(super) element: &'s Element,
    pub(super) tests: Vec<Statement>,
    /// It goes by itself, and may be gone.
    pub(super) expires: bool,
}

/// The elements of a set in an order in which they can be asked one after the other; `None` where it is not known what they are.
pub(super) fn entries<'s>(set: &'s Set, key: &Term, place: &Place<'_>) -> Option<Vec<Entry<'s>>> {
    let known = set.unknown.is_empty() && set.unknown_flags() == 0 && !set.unread;
    // What counts asks nothing; with a limit, a quota and the like it hangs on more than the key whether an element is found.
    let asks = |part: &Expression| !matches!(part, Expression::Counter { .. } | Expression::Last(_));
    let plain = |element: &Element| !element.expressions.iter().any(asks) && !element.is_strange();
    if !known || !set.elements.iter().all(plain) {
        return None;
    }
    let parts = match key {
        Term::Concat(parts) => parts.as_slice(),
        one => std::slice::from_ref(one),
    };
    let slots = key.slots(place);
    let mut found = Vec::new();
    if let ([part], true) = (parts, set.is_interval()) {
        for (element, to) in intervals(set)? {
            found.push((element, vec![(part, element.key.clone(), to)]));
        }
    } else {
        let mut elements: Vec<&Element> = set.elements.iter().filter(|element| element.has_key()).collect();
        // The kernel's order is that of a hash, another one in every namespace.
        elements.sort_by(|one, other| one.key.cmp(&other.key));
        for element in elements {
            let to = element.end.as_ref().map_or(element.key.as_slice(), |end| end.0.as_slice());
            found.push((element, divided(parts, &slots, &element.key, to)?));
        }
    }
    if parts.len() > 1 && set.is_interval() && overlap(&found) {
        return None;
    }
    let domain = domain(key);
    if let Some(domain) = domain {
        found.retain(|(_, parts)| parts.iter().all(|(_, from, to)| size_within(domain, from, to, key) != Some(0)));
    }
    let covered: Option<u64> = domain.and_then(|domain| {
        found.iter().flat_map(|(_, parts)| parts).map(|(_, from, to)| size_within(domain, from, to, key)).sum()
    });
    // Of a number below a bound all are there: one of them it is.
    let lasts = found.iter().all(|(element, _)| !expires(element));
    let whole = lasts && domain.is_some_and(|domain| covered == Some(domain.modulus));
    let count = found.len();
    let mut entries = Vec::with_capacity(count + 1);
    for (at, (element, parts)) in found.into_iter().enumerate() {
        let last = whole && at + 1 == count;
        let tests = if last { present(key, place) } else { parts.into_iter().flat_map(tests).collect() };
        entries.push(Entry { element, tests, expires: expires(element) });
    }
    let rest = set.elements.iter().filter(|element| element.catches_all() && !whole);
    entries.extend(rest.map(|element| Entry { element, tests: present(key, place), expires: expires(element) }));
    Some(entries)
}

/// A part of a key, with the first and the last value.
type Part<'t> = (&'t Term, Vec<u8>, Vec<u8>);

/// A key of several parts, each padded to four bytes.
fn divided<'t>(parts: &'t [Term], slots: &[Slot], key: &[u8], to: &[u8]) -> Option<Vec<Part<'t>>> {
    let mut at = 0;
    let mut found = Vec::new();
    for (index, (part, slot)) in parts.iter().zip(slots).enumerate() {
        let last = index + 1 == parts.len();
        let bytes = match slot.bytes {
            0 if last => key.len().checked_sub(at)?,
            0 => 4,
            known => known,
        };
        let of = |key: &[u8]| key.get(at..at.checked_add(bytes)?).map(<[u8]>::to_vec);
        found.push((part, of(key)?, of(to)?));
        at = at.checked_add(bytes.next_multiple_of(4))?;
    }
    // Something behind the parts that are known would be asked, too.
    (found.len() == parts.len() && at >= key.len() && key.len() == to.len()).then_some(found)
}

/// Whether a key may have two elements: which of them it gets is then told by an order that is not known.
fn overlap(found: &[(&Element, Vec<Part<'_>>)]) -> bool {
    let meet = |one: &[Part<'_>], other: &[Part<'_>]| {
        one.iter().zip(other).all(|((_, from, to), (_, first, last))| from <= last && first <= to)
    };
    let ranges = || found.iter().filter(|(_, parts)| parts.iter().any(|(_, from, to)| from != to));
    ranges().count() > COMPARED
        || ranges().any(|(element, parts)| {
            found.iter().any(|(other, others)| !std::ptr::eq(*element, *other) && meet(parts, others))
        })
}

/// The numbers that a term can give: so many from an offset on.
#[derive(Debug, Clone, Copy)]
struct Domain {
    modulus: u64,
    offset: u64,
}

fn domain(key: &Term) -> Option<Domain> {
    let (modulus, offset) = match key {
        Term::Load(Load::Number { modulus, offset, .. }) | Term::Hash(_, modulus, _, offset) => (*modulus, *offset),
        Term::Turned(of) => return domain(of),
        _ => return None,
    };
    Some(Domain { modulus: modulus.into(), offset: offset.into() })
}

/// How many of the numbers lie in a range.
fn size_within(domain: Domain, from: &[u8], to: &[u8], key: &Term) -> Option<u64> {
    let number = |bytes: &[u8]| -> Option<u64> {
        let bytes: [u8; 4] = bytes.try_into().ok()?;
        let turned = matches!(key, Term::Turned(_));
        Some(if turned { u32::from_be_bytes(bytes) } else { u32::from_ne_bytes(bytes) }.into())
    };
    let first = number(from)?.max(domain.offset);
    let end = number(to)?.checked_add(1)?.min(domain.offset.checked_add(domain.modulus)?);
    Some(end.saturating_sub(first))
}

fn tests((part, from, to): Part<'_>) -> Vec<Statement> {
    /// `RTN_LOCAL`
    const LOCAL: [u8; 4] = 2_u32.to_ne_bytes();
    let asked = |sign, right| Statement::Match { left: part.clone(), sign, right };
    if from != to {
        let range = beginning(part, &from, &to).unwrap_or(Right::Range(from, to));
        return vec![asked("", range)];
    }
    // An address is of one type alone: of any other than this one, it is not this one.
    let apart = matches!(part, Term::Load(Load::Fib { result: 3, .. })) && from != LOCAL;
    let apart = apart.then(|| asked("!=", Right::Value(LOCAL.to_vec())));
    std::iter::once(asked("", Right::Value(from))).chain(apart).collect()
}

/// Names of devices that begin alike lie in one range.
fn beginning(part: &Term, from: &[u8], to: &[u8]) -> Option<Right> {
    /// `NFT_META_IIFNAME`, `NFT_META_OIFNAME`
    const NAMES: [u32; 2] = [6, 7];
    if !matches!(part, Term::Meta(key) if NAMES.contains(key)) {
        return None;
    }
    let same = from.iter().zip(to).take_while(|(from, to)| from == to).count();
    let rest = |bytes: &[u8], fill: u8| bytes.get(same..).is_some_and(|rest| rest.iter().all(|byte| *byte == fill));
    let name = from.get(..same).filter(|name| !name.is_empty() && !name.contains(&0))?;
    (rest(from, 0) && rest(to, 0xff)).then(|| Right::Begins(name.to_vec()))
}

fn expires(element: &Element) -> bool {
    element.expiration.is_some() || element.timeout.is_some_and(|timeout| timeout != 0)
}

/// What a packet must have so that the key can be made at all.
pub(super) fn present(key: &Term, place: &Place<'_>) -> Vec<Statement> {
    const ALWAYS: [u32; 9] = [0, 1, 3, 4, 5, 6, 7, 15, 16];
    let whole = |term: &Term| {
        let bytes = term.bytes(place);
        let right = Right::Range(vec![0; bytes], vec![0xff; bytes]);
        vec![Statement::Match { left: term.clone(), sign: "", right }]
    };
    match key {
        Term::Concat(parts) => parts.iter().flat_map(|part| present(part, place)).collect(),
        Term::Turned(of) | Term::Binary { of, .. } | Term::Hash(Some(of), ..) => present(of, place),
        Term::Meta(SKUID | SKGID) => whole(&Term::Turned(Box::new(key.clone()))),
        Term::Load(Load::Ct { key: CT_MARK, .. }) => {
            let left = Term::Binary { of: Box::new(key.clone()), sign: "&", with: vec![0; 4] };
            vec![Statement::Match { left, sign: "", right: Right::Value(vec![0; 4]) }]
        }
        Term::Meta(key) if ALWAYS.contains(key) => Vec::new(),
        // Of tracking, its state alone is there for every packet (net/netfilter/nft_ct.c).
        Term::Load(Load::Ct { key: 0, .. } | Load::Number { .. } | Load::Fib { result: 3, .. })
        | Term::Hash(None, ..) => Vec::new(),
        other => whole(other),
    }
}
