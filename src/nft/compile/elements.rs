//! Sets that stand in a rule, and the elements of all sets in the form in which the kernel keeps them.

use super::super::kind::Kind;
use super::super::{Data, Element, KeyEnd, Set};
use super::declare::{DATA_ORDER, order_of};
use super::value::{Shape, text_of};
use super::{Draft, Fault, Item, ItemData, Value, note, zero_ended};

/// What the elements of a map lead to.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wanted<'a> {
    /// Verdicts.
    Verdicts,
    /// Values of these shapes; there may be fewer.
    Values(&'a [Shape]),
    /// Named objects, `NFT_OBJECT_*`.
    Objects(u32),
}

/// `NFT_SET_*`
const ANONYMOUS: u32 = 3;
const INTERVAL: u32 = 4;
const MAP: u32 = 8;
const OBJECTS: u32 = 0x40;
const CONCATENATION: u32 = 0x80;
/// `NFT_SET_ELEM_*`
const END: u32 = 1;
const CATCH_ALL: u32 = 2;

/// Devices by their numbers.
pub(super) type Devices<'a> = &'a [(u32, String)];

impl Draft<'_, '_> {
    /// The set or map behind a key: by its name, or made here; and whether its elements are ranges.
    pub(super) fn set_for(
        &mut self,
        key: &Value,
        set: &Value,
        wanted: Option<Wanted<'_>>,
    ) -> Result<(String, bool), Fault> {
        let mut shapes = self.shapes(key)?;
        if matches!(wanted, Some(Wanted::Objects(_))) {
            // Keys of objects are shifted to their place.
            shapes.iter_mut().for_each(|shape| shape.shift = 0);
        }
        match set {
            Value::Named(name) => {
                let found = self.table.sets.get(name).ok_or_else(|| format!("there is no set {name}"))?;
                Ok((name.clone(), found.is_interval()))
            }
            Value::Set(items) => {
                let set = self.anonymous(&shapes, items, wanted)?;
                let made = (set.name.clone(), set.is_interval());
                self.table.anonymous.push(set);
                Ok(made)
            }
            _ => Err("a set is expected".to_owned()),
        }
    }

    /// A set of this name for such keys, still without elements.
    pub(super) fn named_by(&self, name: &str, key: &Value) -> Result<Set, Fault> {
        let (key, key_length) = key_of(&self.shapes(key)?);
        Ok(Set { name: name.to_owned(), key, key_length, ..Set::default() })
    }

    fn anonymous(&self, shapes: &[Shape], items: &[Item], wanted: Option<Wanted<'_>>) -> Result<Set, Fault> {
        let interval = items.iter().any(|item| is_interval(&item.key, shapes));
        let mut set = Set { flags: ANONYMOUS, ..Set::default() };
        set.flags |= if interval { INTERVAL } else { 0 };
        if interval && shapes.len() > 1 {
            set.flags |= CONCATENATION;
        }
        (set.key, set.key_length) = key_of(shapes);
        let mut wanted = wanted;
        match wanted {
            None => {}
            Some(Wanted::Verdicts) => (set.flags, set.data) = (set.flags | MAP, Some(Set::VERDICT)),
            Some(Wanted::Objects(kind)) => (set.flags, set.object) = (set.flags | OBJECTS, Some(kind)),
            Some(Wanted::Values(all)) => {
                let parts = items.iter().map(|item| match &item.data {
                    Some(ItemData::Value(Value::Concat(parts))) => parts.len(),
                    _ => 1,
                });
                let found = all.get(..parts.max().unwrap_or(1)).ok_or("its values have too many parts")?;
                set.flags |= MAP;
                set.data = Some(key_of(found).0);
                note(&mut set.user_data, DATA_ORDER, &order_of(found).to_ne_bytes());
                wanted = Some(Wanted::Values(found));
            }
        }
        let word = if wanted.is_some() { "map" } else { "set" };
        set.name = format!("__{word}{}", self.table.anonymous.len());
        set.elements = elements(items, shapes, set.is_interval(), true, wanted, false, self.table.devices)?;
        set.size = u32::try_from(set.elements.len()).ok();
        Ok(set)
    }
}

/// nft's number of a key, and its bytes.
pub(super) fn key_of(shapes: &[Shape]) -> (u32, u32) {
    let kinds: Vec<Kind> = shapes.iter().map(|shape| shape.kind).collect();
    let length: usize = match shapes {
        [one] => one.bytes,
        several => several.iter().map(|shape| shape.padded()).sum(),
    };
    (Kind::key_of(&kinds), u32::try_from(length).unwrap_or_default())
}

fn is_interval(key: &Value, shapes: &[Shape]) -> bool {
    match key {
        Value::Range(..) | Value::Prefix(..) => true,
        Value::Concat(parts) => parts.iter().zip(shapes).any(|(part, shape)| is_interval(part, &[*shape])),
        Value::Text(_) | Value::Word(_) => {
            shapes.first().is_some_and(|shape| shape.kind.is_text()) && text_of(key).is_ok_and(|(_, wild)| wild)
        }
        _ => false,
    }
}

/// Elements as the kernel keeps them.
pub(super) fn elements(
    items: &[Item],
    shapes: &[Shape],
    interval: bool,
    merge: bool,
    wanted: Option<Wanted<'_>>,
    leading: bool,
    devices: Devices<'_>,
) -> Result<Vec<Element>, Fault> {
    let mut found = Vec::with_capacity(items.len());
    let mut ranges = Vec::new();
    let leading = leading || leads_to_ranges(items);
    for item in items {
        let mut element = Element {
            timeout: item.timeout,
            expiration: item.expires,
            expressions: item.expressions.clone(),
            data: data_of(item, wanted, leading, devices)?,
            ..Element::default()
        };
        if let Some(comment) = &item.comment {
            note(&mut element.user_data, 0, &zero_ended(comment));
        }
        match (shapes, &item.key) {
            (_, Value::Any) => {
                element.flags = CATCH_ALL;
                found.push(element);
            }
            ([one], key) if interval => {
                let (from, to) = one.big().range(key, devices)?;
                if from > to {
                    return Err("a range ends before it begins".to_owned());
                }
                element.key = from;
                ranges.push((element, to));
            }
            _ => {
                let big: Vec<Shape> = shapes.iter().map(|shape| if interval { shape.big() } else { *shape }).collect();
                let (from, to) = concatenated(&item.key, &big, devices)?;
                if from != to && !interval {
                    return Err("a range in a set of single values".to_owned());
                }
                element.key = from;
                element.end = interval.then_some(KeyEnd(to));
                found.push(element);
            }
        }
    }
    if interval && shapes.len() == 1 {
        let mut all = with_ends(ranges, merge && wanted.is_none(), merge && wanted.is_some());
        all.extend(found);
        return Ok(all);
    }
    if matches!(shapes, [one] if one.kind.is_flags()) {
        // The kernel holds those that nft lists side by side the other way round.
        found.reverse();
    }
    Ok(found)
}

fn concatenated(key: &Value, shapes: &[Shape], devices: Devices<'_>) -> Result<(Vec<u8>, Vec<u8>), Fault> {
    let parts = match key {
        Value::Concat(parts) => parts.as_slice(),
        one => std::slice::from_ref(one),
    };
    if parts.len() != shapes.len() {
        return Err(format!("an element of {} parts where {} are asked", parts.len(), shapes.len()));
    }
    let (mut from, mut to) = (Vec::new(), Vec::new());
    for (part, shape) in parts.iter().zip(shapes) {
        let (first, last) = shape.range(part, devices)?;
        for (bytes, value) in [(&mut from, first), (&mut to, last)] {
            bytes.extend(value);
            if shapes.len() > 1 {
                bytes.resize(bytes.len().next_multiple_of(4), 0);
            }
        }
    }
    Ok((from, to))
}

/// Whether some of a map's elements lead to a first and a last value.
pub(super) fn leads_to_ranges(items: &[Item]) -> bool {
    let is_range = |value: &Value| matches!(value, Value::Range(..) | Value::Prefix(..));
    items.iter().any(|item| match &item.data {
        Some(ItemData::Value(Value::Concat(parts))) => parts.iter().any(is_range),
        Some(ItemData::Value(value)) => is_range(value),
        _ => false,
    })
}

fn data_of(item: &Item, wanted: Option<Wanted<'_>>, ranges: bool, devices: Devices<'_>) -> Result<Option<Data>, Fault> {
    Ok(match (wanted, &item.data) {
        (None, None) => None,
        (Some(Wanted::Verdicts), Some(ItemData::Verdict(verdict))) => Some(Data::Verdict(verdict.clone())),
        (Some(Wanted::Objects(_)), Some(ItemData::Value(Value::Text(name) | Value::Word(name)))) => {
            Some(Data::Object(name.clone()))
        }
        (Some(Wanted::Values(shapes)), Some(ItemData::Value(value))) => {
            let (from, to) = concatenated(value, shapes, devices)?;
            Some(Data::Value(if ranges { [from, to].concat() } else { from }))
        }
        _ => return Err("what an element leads to is not what the map's elements lead to".to_owned()),
    })
}

/// Ranges as elements that say where one begins and where it has ended, the last first.
fn with_ends(mut ranges: Vec<(Element, Vec<u8>)>, merge: bool, map: bool) -> Vec<Element> {
    ranges.sort_by(|(a, _), (b, _)| a.key.cmp(&b.key));
    if merge {
        let mut merged: Vec<(Element, Vec<u8>)> = Vec::with_capacity(ranges.len());
        for (element, to) in ranges {
            match merged.last_mut() {
                Some((_, last)) if element.key <= *last || after(last).is_some_and(|next| next == element.key) => {
                    *last = to.max(std::mem::take(last));
                }
                _ => merged.push((element, to)),
            }
        }
        ranges = merged;
    }
    let mut out = Vec::with_capacity(ranges.len() * 2 + 1);
    let ends = |key: Vec<u8>| Element { key, flags: END, ..Element::default() };
    let firsts: Vec<Vec<u8>> = ranges.iter().skip(1).map(|(element, _)| element.key.clone()).collect();
    if let Some((first, _)) = ranges.first().filter(|(first, _)| first.key.iter().any(|byte| *byte != 0)) {
        out.push(ends(vec![0; first.key.len()]));
    }
    for (index, (mut element, to)) in ranges.into_iter().enumerate() {
        let end = after(&to);
        if end.is_none() {
            // NFTNL_UDATA_SET_ELEM_FLAGS, SET_ELEM_F_INTERVAL_OPEN
            note(&mut element.user_data, 1, &1_u32.to_ne_bytes());
        }
        out.push(element);
        out.extend(end.filter(|end| !(map && firsts.get(index) == Some(end))).map(ends));
    }
    out.reverse();
    out
}

/// The key behind this one; `None` for the last of all.
fn after(key: &[u8]) -> Option<Vec<u8>> {
    let mut key = key.to_vec();
    for byte in key.iter_mut().rev() {
        let carry = *byte == u8::MAX;
        *byte = byte.wrapping_add(1);
        if !carry {
            return Some(key);
        }
    }
    None
}
