//! What nft notes beside a set that was declared after an expression (`typeof ip saddr`): the expression, by nft's own numbers.

use super::compile::{Value, note};
use super::extension;
use super::header;
use super::kind::Kind;
use super::user_data::{note as noted, number_of};
use super::{HeaderOption, Load, Term};

/// Numbers of headers (`enum proto_desc_id` of nft); 0 stands for bytes that are no field.
const HEADERS: [(u32, &str); 17] = [
    (1, "ah"),
    (2, "esp"),
    (3, "comp"),
    (4, "icmp"),
    (5, "igmp"),
    (6, "udp"),
    (7, "udplite"),
    (8, "tcp"),
    (9, "dccp"),
    (10, "sctp"),
    (11, "th"),
    (12, "ip"),
    (13, "ip6"),
    (14, "icmpv6"),
    (15, "arp"),
    (16, "vlan"),
    (17, "ether"),
];

/// Numbers of expressions (nft's `enum expr_types`).
const VERDICT: u32 = 1;
const PAYLOAD: u32 = 7;
const OPTION: u32 = 8;
const META: u32 = 9;
const SOCKET: u32 = 10;
const FINGERPRINT: u32 = 11;
const CONNECTION: u32 = 12;
const CONCATENATION: u32 = 13;
const NUMBER: u32 = 23;
const HASH: u32 = 24;
const ROUTE: u32 = 25;
const FIB: u32 = 26;
const TRANSFORM: u32 = 27;

/// `NFT_SOCKET_CGROUPV2`
const CONTROL_GROUP: u32 = 3;
/// `NFT_HASH_SYM`; of the other kind nft notes nothing that it could read again.
const SYMMETRIC: u32 = 1;
/// `NFT_EXTHDR_OP_IPV6`
const IPV6: u32 = 0;

/// An expression that nft noted: its number, and its properties.
pub(super) fn noted_term(bytes: &[u8]) -> Option<Term> {
    let (kind, data) = (number_of(bytes, 0)?, noted(bytes, 1).unwrap_or_default());
    let byte = |which| number_of(data, which).and_then(|number| u8::try_from(number).ok());
    Some(match kind {
        PAYLOAD => payload(data)?,
        OPTION => option(data)?,
        META => Term::Meta(number_of(data, 0)?),
        SOCKET => {
            let key = number_of(data, 0)?;
            // The level is not noted.
            let level = number_of(data, 1).or((key == CONTROL_GROUP).then_some(0));
            Term::Load(Load::Socket { key, level })
        }
        FINGERPRINT => Term::Load(Load::Fingerprint { ttl: 0, version: false }),
        CONNECTION => {
            let direction = byte(1).filter(|direction| *direction < 2);
            Term::Load(Load::Ct { key: number_of(data, 0)?, direction })
        }
        CONCATENATION => {
            let parts: Option<Vec<Term>> = (0..16).map_while(|index| noted(data, index)).map(noted_term).collect();
            Term::Concat(parts.filter(|parts| !parts.is_empty())?)
        }
        NUMBER => {
            let offset = number_of(data, 2).unwrap_or_default();
            Term::Load(Load::Number { kind: number_of(data, 0)?, modulus: number_of(data, 1)?, offset })
        }
        HASH if number_of(data, 0)? == SYMMETRIC => {
            let seed = number_of(data, 3).filter(|_| number_of(data, 4).is_some_and(|given| given != 0));
            Term::Hash(None, number_of(data, 2)?, seed, number_of(data, 1)?)
        }
        ROUTE => Term::Load(Load::Route { key: number_of(data, 0)? }),
        FIB => Term::Load(Load::Fib { result: number_of(data, 0)?, flags: number_of(data, 1)? }),
        TRANSFORM => {
            let number = number_of(data, 1).unwrap_or_default();
            Term::Load(Load::Transform { key: number_of(data, 0)?, number, direction: byte(2)? })
        }
        _ => return None,
    })
}

/// A field of a header, or bytes of the packet that are none.
fn payload(data: &[u8]) -> Option<Term> {
    let number = number_of(data, 0)?;
    if number == 0 {
        // Bases of nft's own begin with one for none.
        let base = number_of(data, 2)?.checked_sub(1)?;
        return Some(Term::Raw(base, number_of(data, 3)?, number_of(data, 4)?));
    }
    let (_, header) = HEADERS.iter().find(|(known, _)| *known == number)?;
    Some(Term::Field(header::numbered(header, usize::try_from(number_of(data, 1)?).ok()?)?))
}

/// A field of an option: of which, and its number.
fn option(data: &[u8]) -> Option<Term> {
    let (of, field) = (number_of(data, 2).unwrap_or(IPV6), number_of(data, 1)?);
    let field = extension::numbered(of, number_of(data, 0)?, usize::try_from(field).ok()?)?;
    let whole = HeaderOption {
        of,
        number: field.number,
        offset: field.offset / 8,
        length: field.bits.div_ceil(8),
        present: false,
    };
    Some(if whole.field() == Some(field) { Term::Option(whole) } else { Term::OptionPart(whole, field, 0) })
}

/// A value that a set's keys are like, as nft notes it; `None` where it notes nothing that can be read again.
pub(super) fn note_of(like: &Value) -> Option<Vec<u8>> {
    match like {
        Value::Concat(parts) => {
            let mut properties = Vec::new();
            for (index, part) in (0..=u8::MAX).zip(parts) {
                note(&mut properties, index, &note_of(part)?);
            }
            Some(typed(CONCATENATION, &properties))
        }
        Value::Term(term) => note_of_term(term),
        _ => None,
    }
}

/// What nft notes of a key of several parts that was declared by their types.
pub(super) fn plain_concatenation() -> Vec<u8> {
    typed(CONCATENATION, &[])
}

/// What nft notes of a map that leads to verdicts, where its key was declared after an expression.
pub(super) fn verdicts() -> Vec<u8> {
    typed(VERDICT, &[])
}

fn typed(kind: u32, properties: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    note(&mut out, 0, &kind.to_ne_bytes());
    note(&mut out, 1, properties);
    out
}

fn note_of_term(term: &Term) -> Option<Vec<u8>> {
    let numbers: (u32, Vec<(u8, u32)>) = match term {
        Term::Meta(key) => (META, vec![(0, *key)]),
        Term::Load(load) => note_of_load(*load),
        Term::Hash(None, modulus, seed, offset) => {
            let given = u32::from(seed.is_some());
            (HASH, vec![(0, SYMMETRIC), (1, *offset), (2, *modulus), (3, seed.unwrap_or_default()), (4, given)])
        }
        Term::Raw(base, offset, bits) => {
            (PAYLOAD, vec![(0, 0), (1, 0), (2, base.checked_add(1)?), (3, *offset), (4, *bits)])
        }
        Term::Field(field) => {
            let (number, _) = HEADERS.iter().find(|(_, header)| *header == field.header)?;
            let mut numbers = vec![(0, *number), (1, u32::try_from(header::number_of(field)?).ok()?)];
            // Of a plain number nft notes the length, too.
            numbers.extend((field.kind == Kind::Integer).then_some((4, field.bits)));
            (PAYLOAD, numbers)
        }
        Term::Option(option) => option_note(*option, option.field()?)?,
        Term::OptionPart(option, field, _) => option_note(*option, field)?,
        _ => return None,
    };
    let (kind, numbers) = numbers;
    let mut properties = Vec::new();
    for (which, number) in numbers {
        note(&mut properties, which, &number.to_ne_bytes());
    }
    Some(typed(kind, &properties))
}

fn note_of_load(load: Load) -> (u32, Vec<(u8, u32)>) {
    match load {
        Load::Ct { key, direction } => (CONNECTION, vec![(0, key), (1, direction.map_or(u32::MAX, u32::from))]),
        Load::Route { key } => (ROUTE, vec![(0, key)]),
        Load::Fib { result, flags } => (FIB, vec![(0, result), (1, flags)]),
        Load::Socket { key, .. } => (SOCKET, vec![(0, key)]),
        Load::Fingerprint { .. } => (FINGERPRINT, Vec::new()),
        Load::Transform { key, direction, number } => {
            (TRANSFORM, vec![(0, key), (1, number), (2, u32::from(direction))])
        }
        Load::Number { kind, modulus, offset } => (NUMBER, vec![(0, kind), (1, modulus), (2, offset)]),
    }
}

fn option_note(option: HeaderOption, field: &extension::OptionField) -> Option<(u32, Vec<(u8, u32)>)> {
    // Whether it is there at all is asked of its first field.
    let (header, number) = extension::numbers_of(field)?;
    let mut numbers = vec![(1, number)];
    numbers.extend((option.of != IPV6).then_some((2, option.of)));
    numbers.push((0, header));
    Some((OPTION, numbers))
}

/// Bytes of the packet: where ports stand in every transport header, nft calls them so.
#[must_use]
pub fn raw(base: u32, offset: u32, bits: u32) -> Term {
    let port = (base == header::TRANSPORT).then(|| header::port(offset, bits)).flatten();
    port.map_or(Term::Raw(base, offset, bits), Term::Field)
}

#[cfg(test)]
mod tests {
    use super::super::header::LINK;
    use super::*;

    /// What is noted of a term is read as that term again.
    #[test]
    fn notes_of_terms_come_back() {
        let field = |header, name| Term::Field(header::named(header, name).expect("a field"));
        let terms = [
            Term::Meta(3),
            Term::Load(Load::Ct { key: 17, direction: None }),
            Term::Load(Load::Ct { key: 19, direction: Some(1) }),
            Term::Load(Load::Route { key: 0 }),
            Term::Load(Load::Fib { result: 3, flags: 1 }),
            Term::Load(Load::Socket { key: CONTROL_GROUP, level: Some(0) }),
            Term::Load(Load::Fingerprint { ttl: 0, version: false }),
            Term::Load(Load::Transform { key: 5, direction: 1, number: 3 }),
            Term::Load(Load::Number { kind: 1, modulus: 5, offset: 2 }),
            Term::Hash(None, 8, None, 3),
            Term::Raw(LINK, 48, 48),
            field("ip", "dscp"),
            field("ah", "spi"),
            field("vlan", "id"),
            raw(2, 16, 16),
        ];
        for term in terms {
            let bytes = note_of_term(&term).expect("a note");
            assert_eq!(noted_term(&bytes), Some(term));
        }
        for name in ["left", "right"] {
            for header in ["sack", "sack1", "sack2", "sack3"] {
                let term = super::super::option_named(1, header, Some(name)).expect("an option");
                assert_eq!(noted_term(&note_of_term(&term).expect("a note")), Some(term), "{header} {name}");
            }
        }
    }

    /// Bytes that nft 1.0.6 noted for `typeof` of the words beside them.
    #[test]
    fn notes_are_those_of_nft() {
        use crate::packet::hex;
        let cases = [
            (
                "000418000000011e000401000000010403000000020408000000030400000000040400000000",
                Term::Hash(None, 8, None, 3),
            ),
            ("000407000000011e000400000000010400000000020401000000030430000000040430000000", Term::Raw(LINK, 48, 48)),
        ];
        for (wanted, term) in cases {
            assert_eq!(hex(&note_of_term(&term).expect("a note")), wanted);
        }
    }
}
