//! Declared sets and maps, with what nft notes beside them.

use std::collections::HashMap;

use super::super::kind::{Kind, Order};
use super::super::noted::{note_of, plain_concatenation, verdicts};
use super::super::{Family, HeaderOption, Set, Term, UnknownAttribute};
use super::elements::{Wanted, elements, key_of, leads_to_ranges};
use super::value::Shape;
use super::{Compiler, Draft, Fault, Item, SetTree, Value, note, zero_ended};

/// `NFT_SET_*`
const FLAGS: [(&str, u32); 4] = [("constant", 2), ("interval", 4), ("timeout", TIMEOUT), ("dynamic", DYNAMIC)];
const TIMEOUT: u32 = 0x10;
/// Elements at most of a set that a rule writes to, where no number is given.
const USUAL_SIZE: u32 = 65535;
const DYNAMIC: u32 = 0x20;
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

/// A declared set in the kernel's form, and what of it is not understood: that is kept in it as text.
#[must_use]
pub fn set(tree: &SetTree, family: Family, devices: &[(u32, String)]) -> (Set, Option<String>) {
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
    let (key, data) = match declared(tree, family, &mut set) {
        Ok(shapes) => shapes,
        Err(fault) => {
            // Of keys of no known kind nothing is known.
            set.unknown = vec![UnknownAttribute::words(&format!("type {}", tree.key.join(" . ")))];
            set.elements = tree.elements.iter().map(Item::unknown).collect();
            return (set, Some(fault));
        }
    };
    let wanted = match (set.object, set.data) {
        (Some(kind), _) => Some(Wanted::Objects(kind)),
        (None, Some(Set::VERDICT)) => Some(Wanted::Verdicts),
        (None, Some(_)) => Some(Wanted::Values(&data)),
        (None, None) => None,
    };
    let found = |items: &[Item]| elements(items, &key, set.is_interval(), tree.merge, wanted, tree.ranges, devices);
    let (elements, fault) = match found(&tree.elements) {
        Ok(elements) => (elements, None),
        Err(fault) => {
            let alone = |item: &&Item| found(std::slice::from_ref(*item)).is_ok();
            let (known, unknown): (Vec<&Item>, Vec<&Item>) = tree.elements.iter().partition(alone);
            let known: Vec<Item> = known.into_iter().cloned().collect();
            let mut elements = found(&known).unwrap_or_default();
            elements.extend(unknown.into_iter().map(Item::unknown));
            (elements, Some(fault))
        }
    };
    set.elements = elements;
    if set.is_constant() {
        set.size = u32::try_from(tree.elements.len()).ok();
    }
    (set, fault)
}

/// Kinds, flags and notes of a set: the shapes of its keys, and of what they lead to.
fn declared(tree: &SetTree, family: Family, set: &mut Set) -> Result<(Vec<Shape>, Vec<Shape>), Fault> {
    let (key, key_like) = shapes(&tree.key, tree.key_of.as_ref(), tree.asked.as_ref(), family)?;
    (set.key, set.key_length) = key_of(&key);
    for word in &tree.flags {
        let known = FLAGS.iter().find(|(known, _)| known == word);
        set.flags |= known.ok_or_else(|| format!("flag {word:?} is not known"))?.1;
    }
    if set.timeout.is_some() {
        set.flags |= TIMEOUT;
    }
    // nft makes a set so to which a rule of the same script writes; a list says it, and how many elements it takes.
    if tree.written && !tree.map && set.flags & (DYNAMIC | TIMEOUT) == 0 && set.size.is_none() {
        set.flags |= DYNAMIC;
        set.size = Some(USUAL_SIZE);
    }
    if set.is_interval() && key.len() > 1 {
        set.flags |= CONCATENATION;
    }
    let word = tree.data.join(" ");
    let (data, data_like) = match tree.data.as_slice() {
        _ if !tree.map => (Vec::new(), None),
        _ if leads_to_verdicts(tree) => {
            (set.flags, set.data) = (set.flags | MAP, Some(Set::VERDICT));
            (Vec::new(), None)
        }
        _ if object(&word).is_some() => {
            (set.flags, set.object) = (set.flags | OBJECTS, object(&word));
            (Vec::new(), None)
        }
        words => {
            let (data, like) = shapes(words, tree.data_of.as_ref(), tree.given.as_ref(), family)?;
            (set.flags, set.data) = (set.flags | MAP, Some(key_of(&data).0));
            (data, like)
        }
    };
    set.user_data = notes(tree, (&key, key_like), (&data, data_like));
    Ok((key, data))
}

fn leads_to_verdicts(tree: &SetTree) -> bool {
    matches!(tree.data.as_slice(), [one] if one == "verdict")
}

/// Shapes, and the value that they are those of, where there is one.
type Like<'a> = (Vec<Shape>, Option<&'a Value>);

/// The shapes of a key or of data, from words for kinds or from a value that it is like; where a word does not tell a length, from
/// what rules do with it.
fn shapes<'a>(
    words: &[String],
    like: Option<&'a Value>,
    used: Option<&'a Value>,
    family: Family,
) -> Result<Like<'a>, Fault> {
    if let Some(like) = like {
        return Ok((shapes_like(like, family)?, Some(like)));
    }
    let kinds = words.iter().map(|word| Kind::from_word(word).ok_or_else(|| format!("type {word:?} is not known")));
    let kinds: Vec<Kind> = kinds.collect::<Result<_, _>>()?;
    if kinds.is_empty() {
        return Err("it has no type".to_owned());
    }
    if !kinds.iter().copied().any(is_open) {
        return Ok((kinds.into_iter().map(Shape::of).collect(), None));
    }
    // nft's JSON does not tell what such numbers were declared after.
    let mut found = used.and_then(|used| shapes_like(used, family).ok()).unwrap_or_default();
    let same = |shape: &Shape, kind: Kind| shape.kind.number() == kind.number();
    let fits = |(shape, kind): (&Shape, &Kind)| is_open(*kind) || same(shape, *kind);
    if found.len() != kinds.len() || !found.iter().zip(&kinds).all(fits) {
        return Err("how long its numbers are does not stand in the text".to_owned());
    }
    let like = used.filter(|_| found.iter().zip(&kinds).all(|(shape, kind)| same(shape, *kind)));
    found.iter_mut().zip(kinds).for_each(|(shape, kind)| shape.kind = kind);
    Ok((found, like))
}

/// Its values have no length of their own.
fn is_open(kind: Kind) -> bool {
    kind.bytes() == 0 && !kind.is_text()
}

/// The shapes of what is like a value: fields that do not fill their bytes are shifted to their place.
fn shapes_like(like: &Value, family: Family) -> Result<Vec<Shape>, Fault> {
    let sets = HashMap::new();
    let mut table = Compiler { family, sets: &sets, anonymous: Vec::new(), devices: &[] };
    let draft = Draft::on(&mut table);
    let parts = match like {
        Value::Concat(parts) => parts.as_slice(),
        one => std::slice::from_ref(one),
    };
    let mut found = Vec::with_capacity(parts.len());
    for part in parts {
        let mut shape = match part {
            // Whether an extension header is there is asked of its first field.
            Value::Term(Term::Option(option)) => {
                draft.shape_of(&Term::Option(HeaderOption { present: false, ..*option }))
            }
            part => draft.shape(part)?,
        };
        let bits = match part {
            Value::Term(Term::Field(field)) => Some(field.bits),
            Value::Term(Term::OptionPart(_, field, _)) => Some(field.bits),
            Value::Term(Term::Raw(_, _, bits)) => Some(*bits),
            _ => None,
        };
        if let Some(bits) = bits {
            (shape.bytes, shape.shift) = (bits.div_ceil(8) as usize, 0);
        }
        found.push(shape);
    }
    Ok(found)
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
fn notes(
    tree: &SetTree,
    (key, key_like): (&[Shape], Option<&Value>),
    (data, data_like): (&[Shape], Option<&Value>),
) -> Vec<u8> {
    let mut out = Vec::new();
    note(&mut out, KEY_ORDER, &order_of(key).to_ne_bytes());
    if tree.map && object(&tree.data.join(" ")).is_none() {
        note(&mut out, DATA_ORDER, &order_of(data).to_ne_bytes());
    }
    if tree.merge {
        note(&mut out, MERGE, &1_u32.to_ne_bytes());
    }
    for (kind, like, shapes) in [(KEY_TYPE_OF, key_like, key), (DATA_TYPE_OF, data_like, data)] {
        let noted = match like {
            Some(like) => note_of(like),
            None if shapes.len() > 1 => Some(plain_concatenation()),
            None if kind == DATA_TYPE_OF && key_like.is_some() && leads_to_verdicts(tree) => Some(verdicts()),
            None => None,
        };
        if let Some(noted) = noted {
            note(&mut out, kind, &noted);
        }
    }
    if tree.map {
        let ranges = tree.ranges || leads_to_ranges(&tree.elements);
        note(&mut out, DATA_INTERVAL, &u32::from(ranges).to_ne_bytes());
    }
    if let Some(comment) = &tree.comment {
        note(&mut out, COMMENT, &zero_ended(comment));
    }
    out
}
