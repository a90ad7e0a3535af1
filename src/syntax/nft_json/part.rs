//! Parts of rules in nft's JSON.

use serde_json::Value as Json;

use super::value::{item, pair, stateful, value, verdict};
use super::{number, number_or, only, text, texts};
use crate::nft::{Answer, Expression, Family, Load, Part, Term, Value, Written};
use crate::syntax::nft_text::{complete_log, log_flag, log_level, parse_rule_text, period, unit, usual_burst};

/// `NFT_EXTHDR_OP_TCPOPT`
const TCP: u32 = 1;

/// A part; what is not understood is kept as its JSON. Where nft has no JSON for a part it prints its text.
pub(super) fn written(json: &Json, family: Family, at: usize, faults: &mut Vec<(usize, String)>) -> Vec<Written> {
    if let Json::String(text) = json {
        let (rule, fault) = parse_rule_text(text, family);
        faults.extend(fault.map(|fault| (at, fault)));
        return rule.parts.into_iter().map(|part| Written { at, ..part }).collect();
    }
    let part = match part(json, family) {
        Ok(part) => part,
        Err(fault) => {
            faults.push((at, fault));
            Part::Unknown(String::new())
        }
    };
    vec![Written { part, text: json.to_string(), at }]
}

fn part(json: &Json, family: Family) -> Result<Part, String> {
    let (key, inside) = only(json)?;
    if let Some(verdict) = verdict(key, inside)? {
        return Ok(Part::Verdict(verdict));
    }
    if let Some(part) = object(key, inside, family)? {
        return Ok(part);
    }
    if let Some(expression) = plain(key, inside)? {
        return Ok(Part::Plain(expression));
    }
    Ok(match key {
        "match" => compared(inside, family)?,
        "vmap" => {
            let (key, map) = pair(inside, family)?;
            Part::VerdictMap(key, map)
        }
        "mangle" => {
            let what = value(inside.get("key").ok_or("nothing is set")?, family)?;
            let Value::Term(term) = what else { return Err("it cannot be set".to_owned()) };
            Part::Set(term, value(inside.get("value").ok_or("it is set to nothing")?, family)?)
        }
        "snat" => nat("snat", inside, family)?,
        "dnat" => nat("dnat", inside, family)?,
        "masquerade" => nat("masquerade", inside, family)?,
        "redirect" => nat("redirect", inside, family)?,
        "tproxy" => {
            let (address, port) = addresses(inside, family)?;
            Part::Tproxy(protocol_family(inside)?, address, port)
        }
        "reject" => Part::Reject(reject(inside)?),
        "set" | "map" => update(inside, family)?,
        "meter" => meter(inside, family)?,
        "reset" => match value(inside, family)? {
            Value::Term(Term::Option(option)) if option.of == TCP => {
                Part::Plain(Expression::Strip { number: option.number })
            }
            _ => return Err("an option of TCP is expected".to_owned()),
        },
        "dup" | "fwd" => {
            let part = |key: &str| inside.get(key).map(|part| value(part, family)).transpose();
            let (mut address, mut device) = (part("addr")?, part("dev")?);
            // In netdev a device alone stands where else the address does.
            if family == Family::Netdev && device.is_none() {
                std::mem::swap(&mut address, &mut device);
            }
            Part::Send { copy: key == "dup", family: protocol_family(inside)?, address, device }
        }
        _ => return Err(format!("{key:?} is no statement that is known")),
    })
}

/// A named object: by its name, or looked up in a map.
fn object(key: &str, json: &Json, family: Family) -> Result<Option<Part>, String> {
    let kind = match key {
        "counter" => 1,
        "quota" => 2,
        "ct helper" => 3,
        "limit" => 4,
        "ct timeout" => 7,
        "ct expectation" => 9,
        "synproxy" => 10,
        _ => return Ok(None),
    };
    Ok(match json {
        Json::String(name) => Some(Part::Plain(Expression::Object { kind, name: name.clone() })),
        Json::Object(object) if object.contains_key("map") => match value(json, family)? {
            Value::Map(key, map) => Some(Part::ObjectMap(kind, *key, *map)),
            _ => None,
        },
        Json::Object(_) | Json::Null if key == "synproxy" => Some(Part::Plain(super::block::synproxy(json)?)),
        _ => None,
    })
}

fn compared(json: &Json, family: Family) -> Result<Part, String> {
    /// `NFTA_FIB_F_PRESENT`
    const PRESENT: u32 = 0x20;
    let side = |name: &str| json.get(name).ok_or_else(|| format!("a comparison without {name:?}"));
    let (mut left, right) = (value(side("left")?, family)?, side("right")?);
    let sign = match text(json, "op")? {
        "in" => "",
        "==" => "==",
        "!=" => "!=",
        "<" => "<",
        "<=" => "<=",
        ">" => ">",
        ">=" => ">=",
        "!" => "!",
        other => return Err(format!("{other:?} is no comparison that is known")),
    };
    match (&mut left, right) {
        (Value::Term(Term::Load(Load::Fib { flags, .. })), Json::Bool(_)) => *flags |= PRESENT,
        // Options without a name look alike in JSON, whether their first byte is compared or they are only asked for.
        (Value::Term(Term::Option(option)), Json::Bool(_)) if option.of == TCP && option.offset == 0 => {
            (option.length, option.present) = (1, true);
        }
        _ => {}
    }
    Ok(Part::Match(left, sign, value(right, family)?))
}

/// `NFPROTO_*`
fn protocol_family(json: &Json) -> Result<Option<u32>, String> {
    Ok(match json.get("family").and_then(Json::as_str) {
        None => None,
        Some("ip") => Some(2),
        Some("ip6") => Some(10),
        Some(other) => return Err(format!("family {other:?} is not known here")),
    })
}

fn addresses(json: &Json, family: Family) -> Result<(Option<Value>, Option<Value>), String> {
    let part = |key: &str| json.get(key).map(|part| value(part, family)).transpose();
    Ok((part("addr")?, part("port")?))
}

fn nat(word: &'static str, json: &Json, family: Family) -> Result<Part, String> {
    let (address, port) = addresses(json, family)?;
    let mut flags = 0;
    for word in texts(json.get("flags")) {
        flags |= match word {
            "netmap" => 0x40,
            "random" => 4,
            "persistent" => 8,
            "fully-random" => 16,
            other => return Err(format!("flag {other:?} is not known")),
        };
    }
    if texts(json.get("type_flags")).contains(&"prefix") {
        flags |= 0x40;
    }
    Ok(Part::Nat { word, family: protocol_family(json)?, address, port, flags })
}

fn reject(json: &Json) -> Result<Answer, String> {
    if json.is_null() {
        return Ok(Answer::Usual);
    }
    let kind = text(json, "type")?;
    if kind == "tcp reset" {
        return Ok(Answer::Reset);
    }
    let code = match json.get("expr") {
        Some(Json::Number(code)) => code.to_string(),
        _ => text(json, "expr")?.to_owned(),
    };
    let code = crate::nft::icmp_code(kind, &code).ok_or_else(|| format!("{kind} {code} is no code"))?;
    Ok(match kind {
        "icmp" => Answer::Icmp(code),
        "icmpv6" => Answer::Icmpv6(code),
        _ => Answer::Icmpx(code),
    })
}

fn update(json: &Json, family: Family) -> Result<Part, String> {
    let operation = match text(json, "op")? {
        "add" => 0,
        "update" => 1,
        "delete" => 2,
        other => return Err(format!("{other:?} is no change of a set that is known")),
    };
    let name = json.get("set").or_else(|| json.get("map")).and_then(Json::as_str).ok_or("no set is named")?;
    let mut element = item(json.get("elem").ok_or("no element is named")?, family)?;
    if let Some(data) = json.get("data") {
        element.data = Some(crate::nft::ItemData::Value(value(data, family)?));
    }
    let mut expressions = std::mem::take(&mut element.expressions);
    for part in json.get("stmt").and_then(Json::as_array).into_iter().flatten() {
        expressions.extend(stateful(part)?);
    }
    let set = name.strip_prefix('@').unwrap_or(name).to_owned();
    Ok(Part::Update { operation, set, element: Box::new(element), expressions })
}

fn meter(json: &Json, family: Family) -> Result<Part, String> {
    let mut element = item(json.get("key").ok_or("a meter without a key")?, family)?;
    let mut expressions = std::mem::take(&mut element.expressions);
    expressions.extend(stateful(json.get("stmt").ok_or("a meter that asks nothing")?)?);
    let size = json.get("size").map(|_| number(json, "size")).transpose()?;
    Ok(Part::Meter { name: text(json, "name")?.to_owned(), size, element: Box::new(element), expressions })
}

/// What stands alone; none where the key is that of another part.
pub(super) fn plain(key: &str, json: &Json) -> Result<Option<Expression>, String> {
    let flag = |key: &str| json.get(key).and_then(Json::as_bool).unwrap_or_default();
    Ok(Some(match key {
        "counter" if json.is_null() => Expression::Counter { packets: 0, bytes: 0 },
        "counter" => Expression::Counter { packets: number(json, "packets")?, bytes: number(json, "bytes")? },
        "limit" => limit(json)?,
        "quota" => {
            let scaled = |value: &str, word: &str| -> Result<u64, String> {
                let unit = json.get(word).and_then(Json::as_str).map_or(Some(1), unit);
                let count: u64 = number_or(json, value, 0)?;
                unit.and_then(|unit| count.checked_mul(unit)).ok_or_else(|| "so many bytes cannot be".to_owned())
            };
            let (bytes, used) = (scaled("val", "val_unit")?, scaled("used", "used_unit")?);
            Expression::Quota { bytes, used, flags: u32::from(flag("inv")) }
        }
        "ct count" => Expression::Connections { count: number(json, "val")?, over: flag("inv") },
        "notrack" => Expression::Notrack,
        "log" => log(json)?,
        "queue" => queue(json)?,
        _ => return Ok(None),
    }))
}

pub(super) fn limit(json: &Json) -> Result<Expression, String> {
    let bytes = json.get("rate_unit").and_then(Json::as_str).is_some_and(|word| word != "packets");
    let scaled = |value: &str, word: &str, usual: u64| -> Result<u64, String> {
        let unit = json.get(word).and_then(Json::as_str).filter(|word| *word != "packets").map_or(Some(1), unit);
        let count: u64 = number_or(json, value, usual)?;
        unit.and_then(|unit| count.checked_mul(unit)).ok_or_else(|| "so large a limit cannot be".to_owned())
    };
    let unit = period(text(json, "per")?).ok_or("a limit in no known time")?;
    let burst = scaled("burst", "burst_unit", usual_burst(bytes).into())?;
    Ok(Expression::Limit {
        rate: scaled("rate", "rate_unit", 0)?,
        unit,
        burst: u32::try_from(burst).map_err(|_| "so large a burst cannot be")?,
        bytes,
        over: json.get("inv").and_then(Json::as_bool).unwrap_or_default(),
    })
}

fn log(json: &Json) -> Result<Expression, String> {
    let mut flags = None;
    for word in texts(json.get("flags")) {
        // Here `tcp sequence` and `ip options` stand as one word each.
        let word = word.strip_prefix("tcp ").unwrap_or(word);
        let bit = log_flag(word).ok_or_else(|| format!("{word:?} is nothing that is logged"))?;
        flags = Some(flags.unwrap_or(0) | bit);
    }
    let level = match json.get("level").and_then(Json::as_str) {
        None => None,
        Some(word) => Some(log_level(word).ok_or_else(|| format!("level {word:?} is not known"))?),
    };
    let some = |key: &str| json.get(key).is_some();
    let prefix = json.get("prefix").and_then(Json::as_str);
    Ok(complete_log(Expression::Log {
        group: if some("group") { Some(number(json, "group")?) } else { None },
        prefix: prefix.unwrap_or_default().to_owned(),
        blank: prefix == Some(""),
        length: if some("snaplen") { Some(number(json, "snaplen")?) } else { None },
        threshold: if some("queue-threshold") { Some(number(json, "queue-threshold")?) } else { None },
        level,
        flags,
    }))
}

fn queue(json: &Json) -> Result<Expression, String> {
    let mut flags = 0;
    for word in texts(json.get("flags")) {
        flags |= match word {
            "bypass" => 1,
            "fanout" => 2,
            other => return Err(format!("flag {other:?} is not known")),
        };
    }
    let range = json.get("num").and_then(|number| number.get("range")).and_then(Json::as_array);
    let ends: Vec<u64> = match range {
        Some(range) => range.iter().filter_map(Json::as_u64).collect(),
        None => vec![number_or(json, "num", 0)?],
    };
    let (Some(first), Some(last)) = (ends.first(), ends.last()) else { return Err("no queue".to_owned()) };
    let queue = |number: u64| u16::try_from(number).map_err(|_| "no such queue".to_owned());
    let total = last.checked_sub(*first).and_then(|more| more.checked_add(1)).ok_or("a range that ends early")?;
    Ok(Expression::Queue { number: queue(*first)?, total: queue(total)?, flags })
}
