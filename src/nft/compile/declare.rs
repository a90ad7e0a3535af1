//! Declared sets and maps, with what nft notes beside them.

use std::collections::HashMap;

use super::super::header;
use super::super::kind::{Kind, Order};
use super::super::{Family, Load, Set, Term};
use super::elements::{Wanted, elements, key_of};
use super::value::Shape;
use super::{Compiler, Draft, Fault, SetTree, Value, note, zero_ended};

/// `NFT_SET_*`
const FLAGS: [(&str, u32); 4] = [("constant", 2), ("interval", 4), ("timeout", 0x10), ("dynamic", 0x20)];
const MAP: u32 = 8;
const OBJECTS: u32 = 0x40;
const CONCATENATION: u32 = 0x80;

/// `NFTNL_UDATA_SET_*`
const KEY_ORDER: u8 = 0;
pub(super) const DATA_ORDER: u8 = 1;
const MERGE: u8 = 2;
const KEY_TYPE_OF: u8 = 3;
const DATA_TYPE_OF: u8 = 4;
const DATA_INTERVAL: u8 = 6;
const COMMENT: u8 = 7;

/// Named objects that maps lead to (`NFT_OBJECT_*`).
fn object(word: &str) -> Option<u32> {
    Some(match word {
        "counter" => 1,
        "quota" => 2,
        "ct helper" => 3,
        "limit" => 4,
        "ct timeout" => 7,
        "secmark" => 8,
        "ct expectation" => 9,
        "synproxy" => 10,
        _ => return None,
    })
}

/// A declared set in the kernel's form.
///
/// # Errors
/// A sentence that says what of it is not understood.
pub fn set(tree: &SetTree, family: Family, devices: &[(u32, String)]) -> Result<Set, String> {
    let key = shapes(&tree.key, tree.key_of.as_ref(), family)?;
    let mut set = Set {
        name: tree.name.clone(),
        handle: tree.handle,
        timeout: tree.timeout.filter(|time| *time != 0),
        collection: tree.collection.and_then(|time| u32::try_from(time).ok()),
        policy: tree.memory.then_some(1),
        size: tree.size,
        expressions: tree.expressions.clone(),
        ..Set::default()
    };
    (set.key, set.key_length) = key_of(&key);
    for word in &tree.flags {
        let known = FLAGS.iter().find(|(known, _)| known == word);
        set.flags |= known.ok_or_else(|| format!("flag {word:?} is not known"))?.1;
    }
    if set.timeout.is_some() {
        set.flags |= 0x10;
    }
    if set.is_interval() && key.len() > 1 {
        set.flags |= CONCATENATION;
    }
    let word = tree.data.join(" ");
    let data = match tree.data.as_slice() {
        _ if !tree.map => Vec::new(),
        [one] if one == "verdict" => {
            (set.flags, set.data) = (set.flags | MAP, Some(Set::VERDICT));
            Vec::new()
        }
        _ if object(&word).is_some() => {
            (set.flags, set.object) = (set.flags | OBJECTS, object(&word));
            Vec::new()
        }
        words => {
            let data = shapes(words, tree.data_of.as_ref(), family)?;
            (set.flags, set.data) = (set.flags | MAP, Some(key_of(&data).0));
            data
        }
    };
    set.user_data = notes(tree, &key, &data);
    let wanted = match (set.object, set.data) {
        (Some(kind), _) => Some(Wanted::Objects(kind)),
        (None, Some(Set::VERDICT)) => Some(Wanted::Verdicts),
        (None, Some(_)) => Some(Wanted::Values(&data)),
        (None, None) => None,
    };
    set.elements = elements(&tree.elements, &key, set.is_interval(), tree.merge, wanted, devices)?;
    if set.is_constant() {
        set.size = u32::try_from(tree.elements.len()).ok();
    }
    Ok(set)
}

/// The shapes of a key or of data, from words for kinds or from a value that it is like.
fn shapes(words: &[String], like: Option<&Value>, family: Family) -> Result<Vec<Shape>, Fault> {
    if let Some(like) = like {
        let sets = HashMap::new();
        let mut table = Compiler { family, sets: &sets, anonymous: Vec::new(), devices: &[] };
        return Draft::on(&mut table).shapes(like);
    }
    let kinds = words.iter().map(|word| Kind::from_word(word).ok_or_else(|| format!("type {word:?} is not known")));
    let kinds: Vec<Kind> = kinds.collect::<Result<_, _>>()?;
    if kinds.is_empty() {
        return Err("it has no type".to_owned());
    }
    Ok(kinds.into_iter().map(Shape::of).collect())
}

/// The shapes behind nft's number of a key.
pub(super) fn shapes_of(set: &Set, number: u32) -> Vec<Shape> {
    let kinds = Kind::of_key(number).unwrap_or_default();
    let mut shapes: Vec<Shape> = kinds.into_iter().map(Shape::of).collect();
    if let ([one], true) = (shapes.as_mut_slice(), number == set.key) {
        one.bytes = set.key_length as usize;
    }
    shapes
}

/// nft's number of the order in which the bytes of a lone value stand.
pub(super) fn order_of(shapes: &[Shape]) -> u32 {
    match shapes {
        [Shape { order: Order::Big, .. }] => 2,
        [Shape { order: Order::Host, .. }] => 1,
        _ => 0,
    }
}

/// What nft notes for itself beside a set.
fn notes(tree: &SetTree, key: &[Shape], data: &[Shape]) -> Vec<u8> {
    let mut out = Vec::new();
    note(&mut out, KEY_ORDER, &order_of(key).to_ne_bytes());
    if tree.map && object(&tree.data.join(" ")).is_none() {
        note(&mut out, DATA_ORDER, &order_of(data).to_ne_bytes());
    }
    if tree.merge {
        note(&mut out, MERGE, &1_u32.to_ne_bytes());
    }
    for (kind, like, shapes) in [(KEY_TYPE_OF, &tree.key_of, key), (DATA_TYPE_OF, &tree.data_of, data)] {
        let noted = match like {
            Some(like) => type_of(like),
            None if shapes.len() > 1 => Some(typed(CONCATENATED, &[])),
            None => None,
        };
        if let Some(noted) = noted {
            note(&mut out, kind, &noted);
        }
    }
    if tree.map {
        note(&mut out, DATA_INTERVAL, &0_u32.to_ne_bytes());
    }
    if let Some(comment) = &tree.comment {
        note(&mut out, COMMENT, &zero_ended(comment));
    }
    out
}

/// `EXPR_CONCAT` (nft's `enum expr_types`)
const CONCATENATED: u32 = 13;

fn typed(kind: u32, properties: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    note(&mut out, 0, &kind.to_ne_bytes());
    note(&mut out, 1, properties);
    out
}

/// A value that a set's key is like, as nft notes it.
fn type_of(like: &Value) -> Option<Vec<u8>> {
    const PAYLOAD: u32 = 7;
    const META: u32 = 9;
    const CT: u32 = 12;
    let mut properties = Vec::new();
    let mut number = |kind: u8, value: u32| note(&mut properties, kind, &value.to_ne_bytes());
    let kind = match like {
        Value::Term(Term::Meta(key)) => {
            number(0, *key);
            META
        }
        Value::Term(Term::Load(Load::Ct { key, direction })) => {
            number(0, *key);
            number(1, direction.map_or(u32::MAX, u32::from));
            CT
        }
        Value::Term(Term::Field(field)) => {
            number(0, header::description(field.header)?);
            number(1, u32::try_from(header::number_of(field)?).ok()?);
            PAYLOAD
        }
        Value::Concat(parts) => {
            for (index, part) in (0..=u8::MAX).zip(parts) {
                note(&mut properties, index, &type_of(part)?);
            }
            CONCATENATED
        }
        _ => return None,
    };
    Some(typed(kind, &properties))
}
