//! Sets, maps and objects in nft's words, as `nft list ruleset` 1.0.6 prints them.

use super::constant;
use super::kind::{Kind, Order, number};
use super::print::{plain, stateless};
use super::user_data::{note, number_of};
use super::{Data, Element, Expression, Place, Set, Slot, Term};

/// `NFTNL_UDATA_SET_*`
const KEY_ORDER: u8 = 0;
const DATA_ORDER: u8 = 1;
const MERGE: u8 = 2;
const KEY_TYPE_OF: u8 = 3;
const DATA_TYPE_OF: u8 = 4;

/// The order that nft noted for a kind which has none of its own.
fn noted_order(set: &Set, which: u8, kind: Kind) -> Order {
    const HOST: u32 = 1;
    match (kind, number_of(&set.user_data, which)) {
        (Kind::Integer, Some(HOST)) => Order::Host,
        (Kind::Integer, Some(_)) => Order::Big,
        _ => kind.order(),
    }
}

fn slot(set: &Set, which: u8, kind: Kind) -> Slot {
    Slot { kind, order: noted_order(set, which, kind), bytes: kind.bytes(), shift: 0 }
}

/// How a set's key is laid out.
fn key_slots(set: &Set) -> Option<Vec<Slot>> {
    slots_of(set, Kind::of_key(set.key)?, KEY_ORDER)
}

/// `None` where several stand behind one another and one has no length of its own: where the next one begins is not known.
fn slots_of(set: &Set, kinds: Vec<Kind>, which: u8) -> Option<Vec<Slot>> {
    let open = kinds.len() > 1 && kinds.iter().any(|kind| kind.bytes() == 0);
    (!open).then(|| kinds.into_iter().map(|kind| slot(set, which, kind)).collect())
}

/// How what a map's keys lead to is laid out.
fn data_slots(set: &Set, place: &Place<'_>) -> Option<Vec<Slot>> {
    let noted = type_of(set, DATA_TYPE_OF).filter(|_| !set.leads_to_ranges()).map(|term| term.slots(place));
    noted.or_else(|| slots_of(set, Kind::of_key(set.data?)?, DATA_ORDER))
}

/// A set's elements in nft's words, one text each; `None` where a value has none, or they were not read.
#[must_use]
pub fn elements_text(set: &Set, place: &Place<'_>) -> Option<Vec<String>> {
    elements_of(set, type_of_slots(set, place).as_deref(), place).filter(|_| !set.unread)
}

/// The same; the kinds are those of the term that is looked up, where it is known.
pub(super) fn elements_of(set: &Set, asked: Option<&[Slot]>, place: &Place<'_>) -> Option<Vec<String>> {
    let mut texts: Vec<String> = set.elements.iter().filter_map(Element::words).collect();
    if texts.len() == set.elements.len() {
        return Some(texts);
    }
    let mut slots = match (asked, key_slots(set)) {
        (Some(slots), _) if !slots.iter().any(|slot| slot.kind == Kind::Invalid) => slots.to_vec(),
        (_, known) => known?,
    };
    if set.is_interval() {
        // Ranges are kept most significant byte first, so that they can be ordered.
        slots.iter_mut().for_each(|slot| slot.order = Order::Big);
    }
    if let ([slot], true) = (slots.as_slice(), set.is_interval()) {
        for (element, to) in intervals(set)? {
            let key = one(*slot, &element.key, &to, place)?;
            texts.push(entry(set, element, key, place)?);
        }
    } else {
        let mut elements: Vec<&Element> = set.elements.iter().filter(|element| element.has_key()).collect();
        if !set.is_interval() {
            // Of equal ones the last comes first.
            elements.reverse();
            elements.sort_by_key(|element| rank(&element.key, &slots));
        }
        for element in elements {
            let end = element.end.as_ref().map(|end| end.0.as_slice());
            texts.push(entry(set, element, concatenation(&slots, &element.key, end, place)?, place)?);
        }
    }
    for element in set.elements.iter().filter(|element| element.catches_all()) {
        texts.push(entry(set, element, "*".to_owned(), place)?);
    }
    Some(texts)
}

/// The order in which nft lists elements: by number; several parts, and texts, as one number of the machine's order.
fn rank(key: &[u8], slots: &[Slot]) -> Vec<u8> {
    let order = match slots {
        [slot] => slot.order,
        _ => Order::Host,
    };
    // Several flags stand where the lowest of them stands.
    if let [slot] = slots
        && slot.kind.is_flags()
        && let Some(bits) = number(key, slot.order)
    {
        return (bits & bits.wrapping_neg()).to_be_bytes().to_vec();
    }
    let mut bytes = key.to_vec();
    if order == Order::Host && cfg!(target_endian = "little") {
        bytes.reverse();
    }
    bytes
}

/// A value or a range of a key's part.
fn one(slot: Slot, from: &[u8], to: &[u8], place: &Place<'_>) -> Option<String> {
    if slot.kind.is_flags() && from == to {
        let bits = number(from, slot.order)?;
        return match constant::flags(slot.kind, bits) {
            Some(names) => Some(names.join(" | ")),
            None => constant::text(slot.kind, from, slot.order, place.devices),
        };
    }
    if slot.shift == 0 {
        return constant::range(slot.kind, from, to, slot.order, place.devices);
    }
    let unshifted = |bytes: &[u8]| Some(number(bytes, slot.order)?.checked_shr(slot.shift)?.to_be_bytes());
    let (from, to) = (unshifted(from)?, unshifted(to)?);
    constant::range(slot.kind, &from, &to, Order::Big, place.devices)
}

/// A key of several parts, each padded to four bytes; with the last key of a range, where there is one.
pub(super) fn concatenation(slots: &[Slot], key: &[u8], end: Option<&[u8]>, place: &Place<'_>) -> Option<String> {
    if let [slot] = slots {
        return one(*slot, key, end.unwrap_or(key), place);
    }
    let mut at = 0;
    let mut parts = Vec::new();
    for (index, slot) in slots.iter().enumerate() {
        let last = index + 1 == slots.len();
        let bytes = match slot.bytes {
            0 if last => key.len().checked_sub(at)?.min(4),
            0 => 4,
            known => known,
        };
        let part = |key: &[u8]| key.get(at..at + bytes).map(<[u8]>::to_vec);
        let (from, to) = (part(key)?, part(end.unwrap_or(key))?);
        parts.push(one(*slot, &from, &to, place)?);
        at += bytes.next_multiple_of(4);
    }
    Some(parts.join(" . "))
}

/// Ranges of a set whose elements say where one begins and where it has ended: the element that begins it, and its last key.
#[must_use]
pub fn intervals(set: &Set) -> Option<Vec<(&Element, Vec<u8>)>> {
    let mut elements: Vec<&Element> = set.elements.iter().filter(|element| element.has_key()).collect();
    // Where one ends and the next begins, the end comes first.
    elements.sort_by(|a, b| a.key.cmp(&b.key).then(b.ends().cmp(&a.ends())));
    let mut found = Vec::new();
    let mut open: Option<&Element> = None;
    for element in elements {
        if let Some(start) = open.take() {
            found.push((start, before(&element.key)?));
        }
        open = (!element.ends()).then_some(element);
    }
    found.extend(open.map(|start| (start, vec![0xff; start.key.len()])));
    Some(found)
}

/// The ranges of a set of single keys, ends included, most significant byte first where they are numbers of packets; `None` for
/// sets of other keys, and for those whose elements come and go.
#[must_use]
pub fn ranges(set: &Set) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
    // What counts asks nothing; with a limit, a quota and the like it hangs on more than the key whether an element is found.
    let asks = |part: &Expression| !matches!(part, Expression::Counter { .. } | Expression::Last(_));
    let plain = |element: &Element| !element.expressions.iter().any(asks) && !element.is_strange();
    let known = set.unknown.is_empty() && set.unknown_flags() == 0 && set.elements.iter().all(plain);
    if set.unread || set.changes() || !known || set.elements.iter().any(Element::catches_all) {
        return None;
    }
    if set.is_interval() {
        return Some(intervals(set)?.into_iter().map(|(element, to)| (element.key.clone(), to)).collect());
    }
    Some(set.elements.iter().map(|element| (element.key.clone(), element.key.clone())).collect())
}

/// The key before this one.
fn before(key: &[u8]) -> Option<Vec<u8>> {
    let mut key = key.to_vec();
    for byte in key.iter_mut().rev() {
        let borrow = *byte == 0;
        *byte = byte.wrapping_sub(1);
        if !borrow {
            return Some(key);
        }
    }
    None
}

/// An element behind its key: what it counts, how long it stays, what it leads to.
fn entry(set: &Set, element: &Element, mut text: String, place: &Place<'_>) -> Option<String> {
    for expression in &element.expressions {
        let words = if place.counted { plain(expression) } else { stateless(expression) };
        text.push_str(&format!(" {}", words?));
    }
    for (word, time) in [("timeout", element.timeout), ("expires", element.expiration.filter(|_| place.counted))] {
        if let Some(time) = time.filter(|time| *time != 0) {
            text.push_str(&format!(" {word} {}", constant::time(time)));
        }
    }
    if let Some(comment) = element.comment() {
        text.push_str(&format!(" comment \"{comment}\""));
    }
    if element.unknown_flags() != 0 {
        text.push_str(&format!(" [ flags 0x{:x} ]", element.unknown_flags()));
    }
    for attribute in &element.unknown {
        text.push_str(&format!(" {}", attribute.text()));
    }
    if !set.is_map() {
        return Some(text);
    }
    let data = match element.data.as_ref()? {
        Data::Verdict(verdict) => verdict.text(),
        Data::Object(name) => format!("\"{name}\""),
        Data::Value(value) => {
            let slots = data_slots(set, place)?;
            let whole: usize = slots.iter().map(|slot| slot.bytes.next_multiple_of(4)).sum();
            // Where an address is changed to one of a range, its ends stand one behind the other.
            match value.split_at_checked(whole) {
                Some((from, to)) if to.len() == whole && whole > 0 => concatenation(&slots, from, Some(to), place)?,
                _ => concatenation(&slots, value, None, place)?,
            }
        }
    };
    Some(format!("{text} : {data}"))
}

/// A named set or map as nft lists it, indented as in its table; whether all of it is in nft's words.
#[must_use]
pub fn set_text(set: &Set, place: &Place<'_>) -> (String, bool) {
    let word = if set.is_map() { "map" } else { "set" };
    let mut out = format!("\t{word} {} {{\n", set.name);
    let mut line = |text: &str| out.push_str(&format!("\t\t{text}\n"));
    let declared = declaration(set, place);
    let whole = declared.is_some();
    line(&declared.unwrap_or_else(|| format!("[ type 0x{:x} ]", set.key)));
    for text in set_properties(set) {
        line(&text);
    }
    let mut complete = whole && !set.unread && set.unknown.is_empty() && set.unknown_flags() == 0;
    if set.unknown_flags() != 0 {
        line(&format!("[ flags 0x{:x} ]", set.unknown_flags()));
    }
    for attribute in &set.unknown {
        line(&attribute.text());
    }
    if set.unread {
        line("[ elements that were not read ]");
    } else if !set.elements.is_empty() {
        match elements_of(set, type_of_slots(set, place).as_deref(), place) {
            Some(elements) if !set.elements.iter().any(Element::is_strange) => {
                line(&format!("elements = {{ {} }}", wrapped(set, &elements)))
            }
            Some(elements) => {
                complete = false;
                line(&format!("elements = {{ {} }}", wrapped(set, &elements)));
            }
            None => {
                complete = false;
                line(&format!("[ {} elements ]", set.elements.len()));
            }
        }
    }
    out.push_str("\t}\n");
    (out, complete)
}

/// What a set's keys are, and what they lead to, in nft's words; `None` where there are none.
#[must_use]
pub fn set_types(set: &Set, place: &Place<'_>) -> (Option<String>, Option<String>) {
    let joined = |number: u32| -> Option<String> {
        Some(Kind::of_key(number)?.into_iter().map(Kind::word).collect::<Vec<_>>().join(" . "))
    };
    let noted = |which| type_of(set, which).filter(|_| !set.leads_to_ranges()).and_then(|term| term.text(place));
    let key = noted(KEY_TYPE_OF).or_else(|| joined(set.key));
    let data = match (set.object, set.data.filter(|_| set.is_map())) {
        (Some(object), _) => super::object_text::object_word(object).map(str::to_owned),
        (None, Some(Set::VERDICT)) => Some("verdict".to_owned()),
        (None, Some(data)) => noted(DATA_TYPE_OF).or_else(|| joined(data)),
        (None, None) => None,
    };
    (key, data)
}

/// `type ipv4_addr . inet_service : verdict`
fn declaration(set: &Set, place: &Place<'_>) -> Option<String> {
    let ranges = set.leads_to_ranges();
    let word = if !ranges && type_of(set, KEY_TYPE_OF).is_some() { "typeof" } else { "type" };
    let (key, data) = set_types(set, place);
    let data =
        if set.is_map() { format!(" : {}{}", if ranges { "interval " } else { "" }, data?) } else { String::new() };
    Some(format!("{word} {}{data}", key?))
}

/// What stands between type and elements, line by line.
#[must_use]
pub fn set_properties(set: &Set) -> Vec<String> {
    const MEMORY: u32 = 1;
    let mut lines = Vec::new();
    if set.policy == Some(MEMORY) && !set.is_constant() {
        lines.push("policy memory".to_owned());
    }
    if let Some(size) = set.size.filter(|size| *size != 0 && !set.is_constant()) {
        lines.push(format!("size {size}"));
    }
    let flags = set.flag_words();
    // That elements have a time is seen from the usual one.
    let said = flags.iter().any(|flag| *flag != "timeout" || set.timeout.is_none());
    if said {
        lines.push(format!("flags {}", flags.join(",")));
    }
    let counted = set.expressions.iter().map(|part| stateless(part).unwrap_or_else(|| part.text()));
    lines.extend((!set.expressions.is_empty()).then(|| counted.collect::<Vec<_>>().join(" ")));
    if number_of(&set.user_data, MERGE).is_some_and(|merge| merge != 0) {
        lines.push("auto-merge".to_owned());
    }
    if let Some(timeout) = set.timeout.filter(|timeout| *timeout != 0) {
        lines.push(format!("timeout {}", constant::time(timeout)));
    }
    if let Some(collection) = set.collection.filter(|collection| *collection != 0) {
        lines.push(format!("gc-interval {}", constant::time(collection.into())));
    }
    lines.extend(set.comment().map(|comment| format!("comment \"{comment}\"")));
    lines
}

/// Elements behind commas; nft puts so many into a line as the kind of the key has room for.
fn wrapped(set: &Set, elements: &[String]) -> String {
    let in_line = match Kind::of_key(set.key).as_deref() {
        Some(
            [
                Kind::Nfproto
                | Kind::Integer
                | Kind::ArpOperation
                | Kind::Protocol
                | Kind::Port
                | Kind::TcpFlag
                | Kind::DccpType
                | Kind::Mark
                | Kind::Index
                | Kind::ClassId
                | Kind::Uid
                | Kind::Gid
                | Kind::CtDirection,
            ],
        ) => 5,
        Some([Kind::Ipv4 | Kind::CtState | Kind::CtStatus | Kind::PacketType]) => 2,
        _ => 1,
    };
    let lines: Vec<String> = elements.chunks(in_line).map(|line| line.join(", ")).collect();
    lines.join(",\n\t\t\t     ")
}

/// What a set was declared after (`typeof ip saddr`), as nft noted it.
fn type_of(set: &Set, which: u8) -> Option<Term> {
    super::noted::noted_term(note(&set.user_data, which)?)
}

fn type_of_slots(set: &Set, place: &Place<'_>) -> Option<Vec<Slot>> {
    type_of(set, KEY_TYPE_OF).map(|term| term.slots(place))
}
