//! Judges a JSON document by a JSON schema (draft 7), as far as the schemas of the tests go: a keyword that is not known here is a
//! failure, never a pass.

use serde_json::Value;

/// What is wrong with a document, each with its place in it; nothing where it is valid.
pub(crate) fn faults(schema: &Value, document: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    Judge { root: schema }.judge(schema, document, "", &mut faults);
    faults
}

struct Judge<'a> {
    root: &'a Value,
}

impl Judge<'_> {
    fn judge(&self, schema: &Value, value: &Value, at: &str, faults: &mut Vec<String>) {
        let Some(keywords) = schema.as_object() else { panic!("no schema at {at}: {schema}") };
        for (keyword, wanted) in keywords {
            let fault = match keyword.as_str() {
                "$schema" | "$id" | "title" | "description" | "default" | "definitions" => None,
                "$ref" => {
                    let name = wanted.as_str().and_then(|path| path.strip_prefix("#/definitions/"));
                    let target = name.and_then(|name| self.root["definitions"].get(name));
                    self.judge(target.unwrap_or_else(|| panic!("{wanted} leads nowhere")), value, at, faults);
                    None
                }
                "properties" | "items" | "additionalProperties" => {
                    self.inside(keyword, schema, value, at, faults);
                    None
                }
                "anyOf" => (self.fitting(wanted, value) == 0).then(|| "is none of several forms".to_owned()),
                "oneOf" => (self.fitting(wanted, value) != 1).then(|| "is not just one of several forms".to_owned()),
                _ => simple(keyword, wanted, value),
            };
            faults.extend(fault.map(|fault| format!("{at}: {fault}")));
        }
    }

    /// How many of several schemas a value fits.
    fn fitting(&self, schemas: &Value, value: &Value) -> usize {
        let fits = |schema: &&Value| {
            let mut faults = Vec::new();
            self.judge(schema, value, "", &mut faults);
            faults.is_empty()
        };
        schemas.as_array().expect("schemas").iter().filter(fits).count()
    }

    /// The members of an object or a list.
    fn inside(&self, keyword: &str, schema: &Value, value: &Value, at: &str, faults: &mut Vec<String>) {
        match (keyword, value) {
            ("items", Value::Array(items)) => {
                for (index, item) in items.iter().enumerate() {
                    self.judge(&schema["items"], item, &format!("{at}/{index}"), faults);
                }
            }
            ("properties", Value::Object(members)) => {
                for (name, member) in members {
                    if let Some(schema) = schema["properties"].get(name) {
                        self.judge(schema, member, &format!("{at}/{name}"), faults);
                    }
                }
            }
            ("additionalProperties", Value::Object(members)) => {
                for (name, member) in members.iter().filter(|(name, _)| schema["properties"].get(name).is_none()) {
                    match &schema["additionalProperties"] {
                        Value::Bool(true) => {}
                        Value::Bool(false) => faults.push(format!("{at}: {name} is not known")),
                        other => self.judge(other, member, &format!("{at}/{name}"), faults),
                    }
                }
            }
            _ => {}
        }
    }
}

/// A keyword that looks at nothing but the value.
fn simple(keyword: &str, wanted: &Value, value: &Value) -> Option<String> {
    let number = wanted.as_f64().unwrap_or_default();
    let right = match (keyword, value) {
        ("type", _) => match wanted.as_str().expect("one type") {
            "object" => value.is_object(),
            "array" => value.is_array(),
            "string" => value.is_string(),
            "boolean" => value.is_boolean(),
            "integer" => value.is_i64() || value.is_u64(),
            "number" => value.is_number(),
            "null" => value.is_null(),
            other => panic!("type {other}"),
        },
        ("enum", _) => wanted.as_array().expect("values").contains(value),
        ("required", Value::Object(members)) => {
            let missing = wanted
                .as_array()
                .expect("names")
                .iter()
                .find(|name| !members.contains_key(name.as_str().unwrap_or_default()));
            return missing.map(|name| format!("{name} is missing"));
        }
        ("minimum", Value::Number(value)) => value.as_f64().is_some_and(|value| value >= number),
        ("maximum", Value::Number(value)) => value.as_f64().is_some_and(|value| value <= number),
        ("minItems", Value::Array(items)) => items.len() as f64 >= number,
        ("uniqueItems", Value::Array(items)) => items.iter().enumerate().all(|(at, item)| !items[..at].contains(item)),
        ("format", Value::String(text)) => match wanted.as_str().expect("a format") {
            "uri" => is_reference(text) && text.split(['/', '?', '#']).next().is_some_and(|first| first.contains(':')),
            "uri-reference" => is_reference(text),
            other => panic!("format {other} of {text:?} is not known here"),
        },
        ("required" | "minimum" | "maximum" | "minItems" | "uniqueItems" | "format", _) => true,
        _ => panic!("keyword {keyword} ({wanted}) is not known here"),
    };
    (!right).then(|| format!("{value} is against {keyword} {wanted}"))
}

/// Only characters that a reference has, and `%` only before two digits (RFC 3986, section 2).
fn is_reference(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=%".contains(&byte);
    let escapes =
        text.split('%').skip(1).all(|rest| rest.len() >= 2 && rest.as_bytes()[..2].iter().all(u8::is_ascii_hexdigit));
    text.bytes().all(allowed) && escapes
}

/// Documents that the schemas of the manual are held to.
const ANSWERS: [(&str, &str); 11] = [
    ("check", "check ./tests/fixtures/docs/productpage.json"),
    ("check", "check ./tests/fixtures/docs/productpage-v2.json --allow RDR402=reasons"),
    ("check", "check ./tests/fixtures/docs/productpage.json --expect ./tests/fixtures/docs/expect.yaml"),
    ("check", "check ./tests/fixtures/docs/istio.rules"),
    (
        "sweep",
        "check ./tests/fixtures/docs/productpage.json ./tests/fixtures/docs/istio.rules ./tests/fixtures/docs/expect.yaml",
    ),
    ("coverage", "coverage ./tests/fixtures/docs/productpage.json"),
    ("coverage", "coverage ./tests/fixtures/docs/istio.rules"),
    ("trace", "trace ./tests/fixtures/docs/productpage.json --to 10.0.0.5:80 -v"),
    ("trace", "trace ./tests/fixtures/docs/productpage.json --to 10.0.0.5:80 --uid 1000 --follow"),
    ("trace", "trace ./tests/fixtures/docs/productpage.json --in --to 10.88.7.2:9080"),
    ("trace", "trace ./tests/fixtures/docs/istio.rules --to 10.0.0.5:80"),
];

#[test]
fn documents_are_valid_by_the_schemas_of_the_manual() {
    for (schema, line) in ANSWERS {
        let path = format!("{}/docs/schemas/{schema}.json", env!("CARGO_MANIFEST_DIR"));
        let schema: Value = serde_json::from_str(&std::fs::read_to_string(path).expect("the schema")).expect("JSON");
        let words: Vec<&str> = line.split(' ').chain(["-o", "json"]).collect();
        let answer = crate::program::nslens(&words);
        let document = serde_json::from_str(&answer.out).unwrap_or_else(|error| panic!("{line}: {error}"));
        assert_eq!(faults(&schema, &document), Vec::<String>::new(), "{line}");
    }
}

#[test]
fn what_is_against_a_schema_is_noticed() {
    let schema = serde_json::json!({
        "type": "object", "required": ["a"], "additionalProperties": false,
        "properties": {"a": {"$ref": "#/definitions/few"}, "b": {"type": "string", "format": "uri-reference"}, "c": {"enum": ["x"]}},
        "definitions": {"few": {"type": "array", "minItems": 1, "uniqueItems": true, "items": {"type": "integer", "minimum": 0}}},
    });
    let of = |text: &str| faults(&schema, &serde_json::from_str(text).expect("JSON")).len();
    assert_eq!(of(r#"{"a": [1, 2], "b": "x/%20", "c": "x"}"#), 0);
    for wrong in [
        "{}",
        "[]",
        r#"{"a": []}"#,
        r#"{"a": [1, 1]}"#,
        r#"{"a": [-1]}"#,
        r#"{"a": ["x"]}"#,
        r#"{"a": [1], "b": "a b"}"#,
        r#"{"a": [1], "b": "%2"}"#,
        r#"{"a": [1], "c": "y"}"#,
        r#"{"a": [1], "d": 1}"#,
    ] {
        assert!(of(wrong) > 0, "{wrong}");
    }
}
