//! A JSON document as YAML in block style.
//!
//! Written here rather than by a library: YAML 1.2 takes every JSON text, so that only the layout is to be done, and none of the
//! libraries escapes the characters that steer a terminal.

use serde_json::{Map, Value};

use crate::report::escape::steers;

/// The document, with the line that begins one.
#[must_use]
pub fn print(document: &Map<String, Value>) -> String {
    let mut out = String::from("---\n");
    entries(document, 0, &mut out);
    out
}

fn entries(map: &Map<String, Value>, depth: usize, out: &mut String) {
    for (at, (key, value)) in map.iter().enumerate() {
        // The first one may stand behind the dash of a list.
        if at > 0 || !out.ends_with("- ") {
            indent(depth, out);
        }
        scalar(key, out);
        out.push(':');
        behind_key(value, depth, out);
    }
}

/// What stands behind a key: on its line, or below it.
fn behind_key(value: &Value, depth: usize, out: &mut String) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            out.push('\n');
            entries(map, depth + 1, out);
        }
        Value::Array(items) if !items.is_empty() => {
            out.push('\n');
            list(items, depth + 1, out);
        }
        plain => {
            out.push(' ');
            line(plain, out);
        }
    }
}

fn list(items: &[Value], depth: usize, out: &mut String) {
    for (at, item) in items.iter().enumerate() {
        if at > 0 || !out.ends_with("- ") {
            indent(depth, out);
        }
        out.push_str("- ");
        match item {
            Value::Object(map) if !map.is_empty() => entries(map, depth + 1, out),
            Value::Array(inner) if !inner.is_empty() => list(inner, depth + 1, out),
            plain => line(plain, out),
        }
    }
}

fn indent(depth: usize, out: &mut String) {
    out.extend(std::iter::repeat_n("  ", depth));
}

/// A value that takes one line.
fn line(value: &Value, out: &mut String) {
    match value {
        Value::String(text) => scalar(text, out),
        // Numbers, `true`, `null`, `[]` and `{}` are written as JSON writes them.
        other => out.push_str(&other.to_string()),
    }
    out.push('\n');
}

/// A text: bare where no reader of YAML 1.1 or 1.2 takes it for something else, otherwise in double quotes.
fn scalar(text: &str, out: &mut String) {
    if is_bare(text) {
        out.push_str(text);
        return;
    }
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\u{fffe}' | '\u{ffff}' => out.push_str(&format!("\\u{:04x}", u32::from(character))),
            harmless if !steers(harmless) => out.push(harmless),
            other if u32::from(other) <= 0xff => out.push_str(&format!("\\x{:02x}", u32::from(other))),
            other if u32::from(other) <= 0xffff => out.push_str(&format!("\\u{:04x}", u32::from(other))),
            other => out.push_str(&format!("\\U{:08x}", u32::from(other))),
        }
    }
    out.push('"');
}

/// Begins with a letter, is of harmless characters, and is none of the words that stand for something else (`no` is false in 1.1).
fn is_bare(text: &str) -> bool {
    const WORDS: [&str; 10] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan"];
    let inside = |character: char| character.is_ascii_alphanumeric() || "_-./()+*@=,→· ".contains(character);
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.chars().all(inside)
        && !text.ends_with(' ')
        && !WORDS.iter().any(|word| text.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    use super::print;

    /// Any value, texts of every kind among them.
    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
            "[-?:,\\[\\]{}#&*!|>'\"%@` ~a-z0-9.=<\n\t]{0,6}".prop_map(Value::from),
            prop_oneof![Just("no"), Just("Yes"), Just("1e3"), Just("0x1f"), Just("~"), Just("nan"), Just("2026-11-22")]
                .prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec(("[ -~]{0,5}", inner), 0..4)
                    .prop_map(|entries| Value::Object(entries.into_iter().collect::<Map<_, _>>())),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_reader_of_yaml_gets_the_same_values(value in values()) {
            let mut document = Map::new();
            document.insert("value".to_owned(), value);
            let text = print(&document);
            let read: Value = yaml_serde::from_str(&text).map_err(|error| TestCaseError::fail(format!("{error}: {text}")))?;
            prop_assert_eq!(read, Value::Object(document), "{}", text);
        }
    }

    #[test]
    fn it_looks_as_people_write_it() {
        let document = json!({
            "schema": "nslens.rules/v1", "unread": [], "number": 3, "absent": null,
            "target": {"name": "no", "pid": 7, "inner": {}},
            "rules": [{"text": "-A OUTPUT -j \"x\"", "hooks": ["a", "b"]}, [[1, "\u{202e}\n\u{e0041}"], []], "0x1: #"],
        });
        let text = print(document.as_object().expect("an object"));
        let wanted = "---\nschema: nslens.rules/v1\nunread: []\nnumber: 3\nabsent: null\ntarget:\n  name: \"no\"\n  pid: 7\n  inner: {}\n\
            rules:\n  - text: \"-A OUTPUT -j \\\"x\\\"\"\n    hooks:\n      - a\n      - b\n  - - - 1\n      - \"\\u202e\\n\\U000e0041\"\n    \
            - []\n  - \"0x1: #\"\n";
        assert_eq!(text, wanted);
    }
}
