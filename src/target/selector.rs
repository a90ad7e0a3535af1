//! Label selectors, in Kubernetes' syntax: `app=web,tier!=db,env in (a,b),!canary`.

use std::collections::BTreeMap;

use thiserror::Error;

/// Requirements that a workload's labels must all meet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selector(Vec<Requirement>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Requirement {
    key: String,
    operator: Operator,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Operator {
    Exists,
    Missing,
    In(Vec<String>),
    NotIn(Vec<String>),
}

/// A text that is no selector.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("label selector {text:?}: {part:?} is none of KEY=VALUE, KEY!=VALUE, KEY in (A,B), KEY notin (A,B), KEY, !KEY")]
pub struct SelectorError {
    /// The whole text.
    text: String,
    /// What is not understood.
    part: String,
}

impl Selector {
    /// Reads a selector.
    ///
    /// # Errors
    /// A part of it is no requirement.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let read = |part: &str| {
            requirement(part.trim())
                .ok_or_else(|| SelectorError { text: text.to_owned(), part: part.trim().to_owned() })
        };
        parts(text).into_iter().map(read).collect::<Result<_, _>>().map(Self)
    }

    /// Whether labels meet every requirement. As in Kubernetes, a label that is missing meets `!=` and `notin`.
    #[must_use]
    pub fn admits(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|Requirement { key, operator }| match (operator, labels.get(key)) {
            (Operator::Exists, value) => value.is_some(),
            (Operator::Missing, value) => value.is_none(),
            (Operator::In(values), value) => value.is_some_and(|value| values.contains(value)),
            (Operator::NotIn(values), value) => value.is_none_or(|value| !values.contains(value)),
        })
    }
}

/// Divides at the commas outside of parentheses.
fn parts(text: &str) -> Vec<&str> {
    let (mut parts, mut start, mut depth) = (Vec::new(), 0, 0_usize);
    for (at, character) in text.char_indices() {
        match character {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.extend(text.get(start..at));
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.extend(text.get(start..));
    parts
}

fn requirement(part: &str) -> Option<Requirement> {
    let of = |key: &str, operator: Operator| {
        let key = key.trim();
        is_key(key).then(|| Requirement { key: key.to_owned(), operator })
    };
    if let Some(key) = part.strip_prefix('!') {
        return of(key, Operator::Missing);
    }
    if let Some(inner) = part.strip_suffix(')') {
        let (words, values) = inner.split_once('(')?;
        let mut words = words.split_whitespace();
        let (key, operator) = (words.next()?, words.next()?);
        let values: Vec<String> = values.split(',').map(|value| value.trim().to_owned()).collect();
        return match (operator, words.next()) {
            ("in", None) => of(key, Operator::In(values)),
            ("notin", None) => of(key, Operator::NotIn(values)),
            _ => None,
        };
    }
    for (sign, equal) in [("!=", false), ("==", true), ("=", true)] {
        if let Some((key, value)) = part.split_once(sign) {
            let values = vec![value.trim().to_owned()];
            return of(key, if equal { Operator::In(values) } else { Operator::NotIn(values) });
        }
    }
    of(part, Operator::Exists)
}

fn is_key(key: &str) -> bool {
    !key.is_empty() && key.chars().all(|character| character.is_ascii_alphanumeric() || "-_./".contains(character))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_kubernetes_is_read_and_means_the_same() {
        let labels =
            BTreeMap::from([("app", "web"), ("env", "b")].map(|(key, value)| (key.to_owned(), value.to_owned())));
        for (text, wanted) in [
            ("app=web", true),
            ("app==web", true),
            ("app=db", false),
            ("app!=db", true),
            ("tier!=db", true),
            ("tier=db", false),
            ("env in (a, b)", true),
            ("env in (a)", false),
            ("env notin (a,c),app=web", true),
            ("tier notin (a)", true),
            ("app", true),
            ("tier", false),
            ("!tier", true),
            ("!app", false),
            ("app=web, env=b", true),
            ("app=web,env=c", false),
            ("app.kubernetes.io/name!=x", true),
        ] {
            assert_eq!(Selector::parse(text).expect(text).admits(&labels), wanted, "{text}");
        }
    }

    #[test]
    fn what_is_no_selector_is_refused() {
        for text in ["", "=web", "app=web,", "app in web", "app within (a)", "app web", "a b in (c)", "(a)"] {
            assert!(Selector::parse(text).is_err(), "{text}");
        }
    }
}
