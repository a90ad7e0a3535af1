//! What `nft -j list ruleset` prints: the same tables as in nft's text, object by object (`libnftables-json(5)`).

mod block;
mod part;
mod value;

use serde_json::Value as Json;

use super::nft_tables::{NftRead, Tables};

/// Reads nft's JSON, which must be whole.
#[must_use]
pub fn parse_nft_json(text: &str) -> NftRead {
    let mut tables = Tables::default();
    let mut faults = Vec::new();
    for (at, element) in elements(text) {
        let read = match serde_json::from_str::<Json>(element) {
            Ok(json) => block::command(&json, at, &mut tables, &mut faults),
            Err(error) => Err(error.to_string()),
        };
        faults.extend(read.err().map(|what| (at, what)));
    }
    tables.finish(text, faults)
}

/// The objects of the outermost list with their places: each is understood alone, so that no more than one is ever in memory.
fn elements(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut at = text.find('[').map_or(text.len(), |start| start + 1);
    std::iter::from_fn(move || {
        let rest = text.get(at..)?;
        let blank = rest.len() - rest.trim_start_matches([' ', '\t', '\r', '\n', ',']).len();
        let start = at + blank;
        let rest = text.get(start..)?;
        if rest.is_empty() || rest.starts_with(']') {
            return None;
        }
        at = start + end_of_value(rest);
        Some((start, text.get(start..at)?))
    })
}

/// How long the value is with which a text begins.
fn end_of_value(text: &str) -> usize {
    let (mut depth, mut quoted) = (0_usize, false);
    let mut bytes = text.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'\\' if quoted => {
                bytes.next();
            }
            b'"' => quoted = !quoted,
            _ if quoted => {}
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth <= 1 => return at + usize::from(depth == 1),
            b'}' | b']' => depth -= 1,
            b',' if depth == 0 => return at,
            _ => {}
        }
    }
    text.len()
}

/// A text within an object.
fn text<'a>(json: &'a Json, key: &str) -> Result<&'a str, String> {
    json.get(key).and_then(Json::as_str).ok_or_else(|| format!("{key:?} is missing, or no text"))
}

/// A number within an object.
fn number<T: TryFrom<u64>>(json: &Json, key: &str) -> Result<T, String> {
    let number = json.get(key).and_then(Json::as_u64).and_then(|number| T::try_from(number).ok());
    number.ok_or_else(|| format!("{key:?} is missing, or no number that fits"))
}

/// A number within an object, which may be missing.
fn number_or<T: TryFrom<u64>>(json: &Json, key: &str, usual: T) -> Result<T, String> {
    if json.get(key).is_none() { Ok(usual) } else { number(json, key) }
}

/// Texts, one or several.
fn texts(json: Option<&Json>) -> Vec<&str> {
    match json {
        Some(Json::String(one)) => vec![one],
        Some(Json::Array(several)) => several.iter().filter_map(Json::as_str).collect(),
        _ => Vec::new(),
    }
}

/// The one key of an object, and what it leads to.
fn only(json: &Json) -> Result<(&str, &Json), String> {
    let object = json.as_object().filter(|object| object.len() == 1);
    let found = object.and_then(|object| object.iter().next());
    found.map(|(key, value)| (key.as_str(), value)).ok_or_else(|| "an object with one key is expected".to_owned())
}
