//! Tables, chains, sets and objects in nft's JSON.

use serde_json::Value as Json;

use super::part::{limit, plain, synproxy, written};
use super::value::{item, set_items, value};
use super::{number, number_or, only, text, texts};
use crate::model::{Family, Policy};
use crate::nft::{Expression, FlowTable, Object, RuleTree, SetTree, all_timeouts, comment_note, timeout_number};
use crate::syntax::nft_tables::{At, Tables};
use crate::syntax::nft_text::{family, family_number, hook, transport};

/// One object of the list: what it lists, or what it adds.
pub(super) fn command(
    json: &Json,
    at: usize,
    out: &mut Tables,
    faults: &mut Vec<(usize, String)>,
) -> Result<(), String> {
    let (key, inside) = only(json)?;
    match key {
        "metainfo" => return Ok(()),
        "add" | "create" => return command(inside, at, out, faults),
        "insert" => {
            let (key, inside) = only(inside)?;
            return if key == "rule" {
                rule(inside, At::First, at, out, faults)
            } else {
                Err("only rules are inserted".to_owned())
            };
        }
        "flush" | "delete" | "destroy" => return without(key == "flush", inside, out),
        "rename" | "replace" => return Err(format!("{key} hangs on handles, which do not stand in the text")),
        _ => {}
    }
    let family = family_of(inside)?;
    let name = || text(inside, "name");
    let comment = || inside.get("comment").and_then(Json::as_str).map(str::to_owned);
    if key == "table" {
        let place = out.table(family, name()?);
        if let Some(comment) = comment() {
            out.set_comment(place, comment);
        }
        for flag in texts(inside.get("flags")) {
            // One that is not known may be any: nft 1.0.6 gives the table's own name here.
            if !out.set_flag(place, flag) {
                return Err(format!("flag {flag:?} of a table is not known"));
            }
        }
        return Ok(());
    }
    let place = out.table(family, text(inside, "table")?);
    match key {
        "chain" => {
            let at = out.chain(place, name()?);
            let Some(chain) = out.chain_mut(place, at) else { return Ok(()) };
            chain.comment = comment();
            if inside.get("hook").is_none() {
                return Ok(());
            }
            let word = text(inside, "hook")?;
            chain.hook = Some(hook(word).ok_or_else(|| format!("hook {word:?} is not known"))?);
            chain.kind = Some(text(inside, "type")?.to_owned());
            let priority = inside.get("prio").and_then(Json::as_i64);
            let priority = priority.and_then(|priority| i32::try_from(priority).ok());
            chain.priority = Some(priority.ok_or("\"prio\" is missing, or no number that fits")?);
            let drop = inside.get("policy").and_then(Json::as_str) == Some("drop");
            chain.policy = Some(if drop { Policy::Drop } else { Policy::Accept });
            chain.devices = texts(inside.get("dev")).into_iter().map(str::to_owned).collect();
        }
        "rule" => {
            return rule(inside, At::Last, at, out, faults);
        }
        "set" | "map" => {
            let mut set = declared(inside, key == "map", family)?;
            set.comment = comment();
            out.add_set(place, set, at);
        }
        "element" => {
            let elements = set_items(inside.get("elem").ok_or("no element is named")?, family)?;
            let set = out.set(place, name()?).ok_or("there is no such set")?;
            set.elements.extend(elements);
        }
        "flowtable" => {
            let priority = inside.get("prio").and_then(Json::as_i64).and_then(|prio| i32::try_from(prio).ok());
            let devices = texts(inside.get("dev")).into_iter().map(str::to_owned).collect();
            let hook = priority.map(|_| 0);
            out.add_flow_table(
                place,
                FlowTable { name: name()?.to_owned(), hook, priority, devices, ..FlowTable::default() },
            );
        }
        _ => {
            let (kind, expression) = object(key, inside, family)?;
            let user_data = comment().map(|comment| comment_note(&comment)).unwrap_or_default();
            let (name, unknown) = (name()?.to_owned(), Vec::new());
            out.add_object(place, Object { name, handle: None, kind, expression, user_data, unknown });
        }
    }
    Ok(())
}

/// A rule: behind the others, or before them; by its index where that is given.
fn rule(json: &Json, usual: At, at: usize, out: &mut Tables, faults: &mut Vec<(usize, String)>) -> Result<(), String> {
    let family = family_of(json)?;
    let place = out.table(family, text(json, "table")?);
    let chain = out.chain(place, text(json, "chain")?);
    let parts = json.get("expr").and_then(Json::as_array).ok_or("a rule without parts")?;
    let parts = parts.iter().flat_map(|part| written(part, family, at, faults)).collect();
    let comment = json.get("comment").and_then(Json::as_str).map(str::to_owned);
    let place_of = match json.get("index").and_then(Json::as_u64).and_then(|index| usize::try_from(index).ok()) {
        Some(index) => At::Before(if usual == At::First { index } else { index.saturating_add(1) }),
        None => usual,
    };
    out.rule(place, chain, RuleTree { parts, comment }, place_of);
    Ok(())
}

/// What is deleted or emptied.
fn without(flush: bool, json: &Json, out: &mut Tables) -> Result<(), String> {
    let (key, inside) = only(json)?;
    if key == "ruleset" {
        match inside.get("family") {
            Some(_) => out.clear_family(family_of(inside)?),
            None => out.clear(),
        }
        return Ok(());
    }
    if key == "rule" {
        return Err("which rule has this handle does not stand in the text".to_owned());
    }
    let (family, name) = (family_of(inside)?, text(inside, "name")?);
    if key == "table" && !flush {
        out.delete_table(family, name);
        return Ok(());
    }
    let table = if key == "table" { name } else { text(inside, "table")? };
    let Some(place) = out.known(family, table) else { return Ok(()) };
    match (key, flush) {
        ("table", _) => out.flush(place, None),
        ("chain", true) => out.flush(place, Some(name)),
        ("element", _) => {
            let elements = set_items(inside.get("elem").ok_or("no element is named")?, family)?;
            out.delete_elements(place, name, &elements);
        }
        (_, true) => {
            if let Some(set) = out.set(place, name) {
                set.elements.clear();
            }
        }
        (_, false) => out.delete(place, key, name),
    }
    Ok(())
}

fn family_of(json: &Json) -> Result<Family, String> {
    let word = text(json, "family")?;
    family(word).ok_or_else(|| format!("family {word:?} is not known"))
}

fn declared(json: &Json, map: bool, family: Family) -> Result<SetTree, String> {
    // What it is like, where newer versions tell it.
    let like = |key: &str| json.get(key).filter(|kind| kind.is_object()).map(|kind| value(kind, family)).transpose();
    let words = |key: &str| -> Vec<String> {
        let all = texts(json.get(key));
        all.iter().flat_map(|word| word.split(" . ")).map(str::to_owned).collect()
    };
    let mut set = SetTree {
        name: text(json, "name")?.to_owned(),
        map,
        key: words("type"),
        key_of: like("type")?,
        data: words("map"),
        data_of: like("map")?,
        flags: texts(json.get("flags")).into_iter().map(str::to_owned).collect(),
        merge: json.get("auto-merge").and_then(Json::as_bool).unwrap_or_default(),
        memory: json.get("policy").and_then(Json::as_str) == Some("memory"),
        ..SetTree::default()
    };
    // Seconds.
    let time = |key: &str| json.get(key).and_then(Json::as_u64).and_then(|time| time.checked_mul(1000));
    (set.timeout, set.collection) = (time("timeout"), time("gc-interval"));
    if json.get("size").is_some() {
        set.size = Some(number(json, "size")?);
    }
    for part in json.get("stmt").and_then(Json::as_array).into_iter().flatten() {
        let (key, inside) = only(part)?;
        set.expressions.extend(plain(key, inside)?);
    }
    for element in json.get("elem").and_then(Json::as_array).into_iter().flatten() {
        set.elements.push(item(element, family)?);
    }
    Ok(set)
}

/// A named object: `NFT_OBJECT_*`, and what it is.
fn object(key: &str, json: &Json, seen: Family) -> Result<(u32, Expression), String> {
    Ok(match key {
        "counter" => {
            let (packets, bytes) = (number_or(json, "packets", 0)?, number_or(json, "bytes", 0)?);
            (1, Expression::Counter { packets, bytes })
        }
        "quota" => {
            let over = json.get("inv").and_then(Json::as_bool).unwrap_or_default();
            let (bytes, used) = (number(json, "bytes")?, number_or(json, "used", 0)?);
            (2, Expression::Quota { bytes, used, flags: u32::from(over) })
        }
        "limit" => (4, limit(json)?),
        "ct helper" => {
            let protocol = match text(json, "protocol")? {
                "tcp" => 6,
                "udp" => 17,
                other => return Err(format!("no helper is known for {other}")),
            };
            let of = json.get("l3proto").and_then(Json::as_str).and_then(family).unwrap_or(seen);
            (3, Expression::Helper { name: text(json, "type")?.to_owned(), family: family_number(of), protocol })
        }
        "ct timeout" | "ct expectation" => {
            let protocol = transport(text(json, "protocol")?).ok_or("no such transport protocol")?;
            let of = json.get("l3proto").and_then(Json::as_str).and_then(family).unwrap_or(seen);
            let of = family_number(of);
            if key == "ct expectation" {
                let (port, timeout) = (number(json, "dport")?, number(json, "timeout")?);
                let size = number(json, "size")?;
                return Ok((9, Expression::Expectation { family: of, protocol, port, timeout, size }));
            }
            let mut seconds = Vec::new();
            for (word, value) in json.get("policy").and_then(Json::as_object).into_iter().flatten() {
                let state = timeout_number(protocol, word).ok_or_else(|| format!("state {word:?} is not known"))?;
                let value = value.as_u64().and_then(|value| u32::try_from(value).ok()).ok_or("no number of seconds")?;
                seconds.push((state, value));
            }
            (7, Expression::Timeouts { family: of, protocol, seconds: all_timeouts(protocol, &seconds) })
        }
        "secmark" => (8, Expression::Secmark(text(json, "context")?.to_owned())),
        "synproxy" => (10, synproxy(json)?),
        _ => return Err(format!("{key:?} is nothing that is known in a table")),
    })
}
