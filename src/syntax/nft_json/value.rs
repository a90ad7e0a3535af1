//! Values in nft's JSON.

use serde_json::Value as Json;

use super::{number, number_or, only, text, texts};
use crate::nft::{
    Expression, Family, HeaderOption, Item, ItemData, Load, Term, Value, Verdict, ct_named, field_named, meta_named,
    option_named, raw, transform_named,
};

/// A value; the family is that of its table.
pub(super) fn value(json: &Json, family: Family) -> Result<Value, String> {
    let all = |list: &[Json]| list.iter().map(|part| value(part, family)).collect::<Result<Vec<_>, _>>();
    match json {
        Json::Number(number) => Ok(Value::Word(number.to_string())),
        Json::Bool(set) => Ok(Value::Word(if *set { "exists" } else { "missing" }.to_owned())),
        Json::String(word) if word == "*" => Ok(Value::Any),
        Json::String(word) => Ok(match word.strip_prefix('@') {
            Some(name) => Value::Named(name.to_owned()),
            None => Value::Word(word.clone()),
        }),
        Json::Array(list) => Ok(Value::List(all(list)?)),
        Json::Null => Err("a value is missing".to_owned()),
        Json::Object(_) => {
            let (key, inside) = only(json)?;
            let list = || inside.as_array().map(Vec::as_slice).ok_or_else(|| format!("{key:?} must be a list"));
            Ok(match key {
                "concat" => Value::Concat(all(list()?)?),
                "set" => Value::Set(set_items(inside, family)?),
                "map" => {
                    let (key, data) = pair(inside, family)?;
                    Value::Map(Box::new(key), Box::new(data))
                }
                "prefix" => {
                    let start = inside.get("addr").ok_or("a prefix without an address")?;
                    Value::Prefix(Box::new(value(start, family)?), number(inside, "len")?)
                }
                "range" => {
                    let [from, to] = list()? else { return Err("a range has two ends".to_owned()) };
                    Value::Range(Box::new(value(from, family)?), Box::new(value(to, family)?))
                }
                "elem" => value(inside.get("val").ok_or("an element without a value")?, family)?,
                "jhash" => {
                    let of = inside.get("expr").ok_or("a hash of nothing")?;
                    let seed = inside.get("seed").map(|_| number(inside, "seed")).transpose()?;
                    let (modulus, offset) = (number(inside, "mod")?, number_or(inside, "offset", 0)?);
                    Value::Hash(Box::new(value(of, family)?), modulus, seed, offset)
                }
                "&" | "|" | "^" | "<<" | ">>" => {
                    let sign = ["&", "|", "^", "<<", ">>"].into_iter().find(|sign| *sign == key).unwrap_or("&");
                    let mut parts = all(list()?)?.into_iter();
                    let first = parts.next().ok_or("nothing to put together")?;
                    parts.fold(first, |left, right| Value::Binary(Box::new(left), sign, Box::new(right)))
                }
                _ => Value::Term(term(key, inside, family)?),
            })
        }
    }
}

/// `key` and `data` of a map.
pub(super) fn pair(json: &Json, family: Family) -> Result<(Value, Value), String> {
    let part = |name: &str| {
        let part = json.get(name).ok_or_else(|| format!("a map without {name:?}"))?;
        value(part, family)
    };
    Ok((part("key")?, part("data")?))
}

/// Something that is loaded.
fn term(key: &str, json: &Json, family: Family) -> Result<Term, String> {
    let unknown = |what: &str| format!("{key} {what:?} is not known");
    Ok(match key {
        "meta" => {
            let word = text(json, "key")?;
            Term::Meta(meta_named(word).ok_or_else(|| unknown(word))?)
        }
        "payload" => payload(json)?,
        "ct" => {
            let word = match (text(json, "key")?, json.get("family").and_then(Json::as_str), family) {
                (word @ ("saddr" | "daddr"), Some(of), _) => format!("{of} {word}"),
                (word @ ("saddr" | "daddr"), None, Family::Ip6) => format!("ip6 {word}"),
                (word @ ("saddr" | "daddr"), None, _) => format!("ip {word}"),
                (word, ..) => word.to_owned(),
            };
            let direction = match json.get("dir").and_then(Json::as_str) {
                None => None,
                Some("original") => Some(0),
                Some("reply") => Some(1),
                Some(other) => return Err(unknown(other)),
            };
            Term::Load(Load::Ct { key: ct_named(&word).ok_or_else(|| unknown(&word))?, direction })
        }
        "fib" => {
            let result = match text(json, "result")? {
                "oif" => 1,
                "oifname" => 2,
                "type" => 3,
                other => return Err(unknown(other)),
            };
            let mut flags = 0;
            for word in texts(json.get("flags")) {
                flags |= match word {
                    "saddr" => 1,
                    "daddr" => 2,
                    "mark" => 4,
                    "iif" => 8,
                    "oif" => 0x10,
                    other => return Err(unknown(other)),
                };
            }
            Term::Load(Load::Fib { result, flags })
        }
        "rt" => {
            let ipv6 = json.get("family").and_then(Json::as_str).map_or(family == Family::Ip6, |of| of == "ip6");
            let key = match text(json, "key")? {
                "classid" => 0,
                "nexthop" if ipv6 => 2,
                "nexthop" => 1,
                "mtu" => 3,
                "ipsec" => 4,
                other => return Err(unknown(other)),
            };
            Term::Load(Load::Route { key })
        }
        "socket" => {
            let key = match text(json, "key")? {
                "transparent" => 0,
                "mark" => 1,
                "wildcard" => 2,
                other => return Err(unknown(other)),
            };
            Term::Load(Load::Socket { key, level: None })
        }
        "osf" => {
            let ttl = match json.get("ttl").and_then(Json::as_str) {
                None => 0,
                Some("loose") => 1,
                Some("skip") => 2,
                Some(other) => return Err(unknown(other)),
            };
            Term::Load(Load::Fingerprint { ttl, version: text(json, "key")? == "version" })
        }
        "ipsec" => transform(json)?,
        "numgen" => {
            let kind = match text(json, "mode")? {
                "inc" => 0,
                "random" => 1,
                other => return Err(unknown(other)),
            };
            Term::Load(Load::Number { kind, modulus: number(json, "mod")?, offset: number_or(json, "offset", 0)? })
        }
        "symhash" => Term::Hash(None, number(json, "mod")?, None, number_or(json, "offset", 0)?),
        "tcp option" | "ip option" | "exthdr" | "sctp chunk" => {
            let of = match key {
                "exthdr" => 0,
                "tcp option" => 1,
                "ip option" => 2,
                _ => 3,
            };
            if json.get("base").is_some() {
                let (offset, bits): (u32, u32) = (number(json, "offset")?, number(json, "len")?);
                let (number, offset, length) = (number(json, "base")?, offset / 8, bits.div_ceil(8));
                return Ok(Term::Option(HeaderOption { of, number, offset, length, present: false }));
            }
            let name = text(json, "name")?.to_owned();
            let field = json.get("field").and_then(Json::as_str);
            option_named(of, &name, field).ok_or_else(|| unknown(&name))?
        }
        _ => return Err(format!("{key:?} is nothing that is known")),
    })
}

/// A property of the transformation of IPsec.
fn transform(json: &Json) -> Result<Term, String> {
    let direction = match text(json, "dir")? {
        "in" => 0,
        "out" => 1,
        other => return Err(format!("ipsec {other:?} is not known")),
    };
    let word = text(json, "key")?;
    let family = json.get("family").and_then(Json::as_str).map_or(String::new(), |family| format!("{family} "));
    let key = transform_named(&format!("{family}{word}")).ok_or_else(|| format!("ipsec {word:?} is not known"))?;
    Ok(Term::Load(Load::Transform { key, direction, number: number_or(json, "spnum", 0)? }))
}

fn payload(json: &Json) -> Result<Term, String> {
    if let Some(base) = json.get("base").and_then(Json::as_str) {
        let base = ["ll", "nh", "th", "ih"].iter().position(|known| *known == base);
        let base = base.and_then(|base| u32::try_from(base).ok()).ok_or("payload of no known header")?;
        return Ok(raw(base, number(json, "offset")?, number(json, "len")?));
    }
    let (header, field) = (text(json, "protocol")?, text(json, "field")?);
    let found = field_named(header, field);
    Ok(Term::Field(found.ok_or_else(|| format!("{header} {field} is no field that is known"))?))
}

/// A verdict, where it is one.
pub(super) fn verdict(key: &str, json: &Json) -> Result<Option<Verdict>, String> {
    Ok(Some(match key {
        "accept" => Verdict::Accept,
        "drop" => Verdict::Drop,
        "return" => Verdict::Return,
        "continue" => Verdict::Continue,
        "jump" => Verdict::Jump(text(json, "target")?.to_owned()),
        "goto" => Verdict::Goto(text(json, "target")?.to_owned()),
        _ => return Ok(None),
    }))
}

/// The elements of a set or map.
pub(super) fn set_items(json: &Json, family: Family) -> Result<Vec<Item>, String> {
    match json {
        Json::Array(list) => list.iter().map(|part| item(part, family)).collect(),
        one => Ok(vec![item(one, family)?]),
    }
}

/// An element: a key alone, or in a list with what it leads to.
pub(super) fn item(json: &Json, family: Family) -> Result<Item, String> {
    if let Json::Array(pair) = json {
        let [key, data] = pair.as_slice() else { return Err("an element of a map has a key and data".to_owned()) };
        let found = match only(data) {
            Ok((key, inside)) => verdict(key, inside)?,
            Err(_) => None,
        };
        let data = match found {
            Some(verdict) => ItemData::Verdict(verdict),
            None => ItemData::Value(value(data, family)?),
        };
        return Ok(Item { data: Some(data), ..item(key, family)? });
    }
    let mut item = Item::of(value(json, family)?);
    if let Some(inside) = json.get("elem") {
        // Seconds.
        let time = |key: &str| inside.get(key).and_then(Json::as_u64).and_then(|time| time.checked_mul(1000));
        (item.timeout, item.expires) = (time("timeout"), time("expires"));
        item.comment = inside.get("comment").and_then(Json::as_str).map(str::to_owned);
        item.expressions = stateful(inside)?;
    }
    Ok(item)
}

/// Counters and the like beside an element.
pub(super) fn stateful(json: &Json) -> Result<Vec<Expression>, String> {
    let mut found = Vec::new();
    for (key, inside) in json.as_object().into_iter().flatten() {
        found.extend(super::part::plain(key, inside)?);
    }
    Ok(found)
}
